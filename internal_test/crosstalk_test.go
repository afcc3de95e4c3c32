// Cross-talk: no byte of one client's request ever reaches a provider as part of
// another's, whatever the provider does while it is being sent.
package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// hasty answers as soon as it has a request's head, or closes then, and only
// afterwards reads the body, which must consist of the one letter that its header names.
type hasty struct {
	listener net.Listener
	mu       sync.Mutex
	foreign  []string
}

func (h *hasty) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		letter := req.Header.Get("X-Letter")
		choice := rand.IntN(4)
		switch choice {
		case 0:
			return
		case 1:
			_, _ = io.WriteString(conn, strings.Join(ok(chatReply).pieces(), ""))
		case 2:
			_, _ = io.WriteString(conn, strings.Join(canned{status: 413, header: []string{"Content-Type: application/json"}, body: openaiError}.pieces(), ""))
		}
		time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
		body, err := io.ReadAll(req.Body)
		begin := []byte(`{"model":"m","x":"`)
		rest := bytes.Trim(bytes.TrimPrefix(body, begin[:min(len(begin), len(body))]), letter)
		if s := string(rest); s != "" && s != `"}` {
			h.mu.Lock()
			h.foreign = append(h.foreign, fmt.Sprintf("among %s: %.80q", letter, s))
			h.mu.Unlock()
		}
		if err != nil {
			return
		}
		if choice == 3 {
			_, _ = io.WriteString(conn, strings.Join(ok(chatReply).pieces(), ""))
		}
	}
}

func TestCrossTalk(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hasty{listener: l}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { h.serve(conn) })
		}
	})
	g := start(t, relayTo(&provider{URL: "http://" + l.Addr().String()}, "openai"))
	const clients, each = 24, 20
	var working sync.WaitGroup
	for i := range clients {
		letter := string(rune('A' + i))
		working.Go(func() {
			for j := range each {
				body := `{"model":"m","x":"` + strings.Repeat(letter, (j%5+1)*100_000) + `"}`
				ctx, cancel := context.WithCancel(context.Background())
				if j%3 == 0 {
					time.AfterFunc(time.Duration(rand.IntN(5))*time.Millisecond, cancel)
				}
				_, _ = g.Try(g.Request(ctx, "POST", "/v1/chat/completions", body, "X-Letter: "+letter)) // any end is fine here
				cancel()
			}
		})
	}
	working.Wait()
	g.Signal(t, syscall.SIGTERM)
	g.Exit(t, harness.Patience)
	l.Close()
	serving.Wait()
	for _, what := range h.foreign {
		t.Error(what)
	}
}

// No layer below repeats a request on its own, however it is marked.
func TestSentOnce(t *testing.T) {
	f := func(name string, header ...string) {
		t.Run(name, func(t *testing.T) {
			p := harness.NewProvider(t, ok(chatReply).serve(whole))
			g := start(t, relayTo(p, "openai"))
			g.Send(t, "POST", "/v1/chat/completions", chatRequest)
			p.Play(func(x *exchange) bool { return false }) // read, and closed without a word
			r := g.Send(t, "POST", "/v1/chat/completions", chatRequest, header...)
			checkError(t, r, "openai", 502)
			if n := p.Count(); n != 2 {
				t.Errorf("the provider saw %d requests, want 2", n)
			}
			if reused := p.Last(t).Reused; !reused {
				t.Log("the connection was not used again")
			}
			g.Expect(t, 2)
		})
	}
	f("plain")
	f("idempotency key", "Idempotency-Key: 1", "X-Idempotency-Key: 1")
}

// A provider that refuses a body while it is being sent is heard.
func TestEarlyRefusal(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var serving sync.WaitGroup
	defer serving.Wait()
	defer l.Close()
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(conn)
			if _, err := http.ReadRequest(in); err == nil {
				_, _ = io.WriteString(conn, strings.Join(canned{status: 413, header: []string{"Content-Type: application/json", "Connection: close"}, body: openaiError}.pieces(), ""))
				_, _ = io.CopyN(io.Discard, in, 20<<20)
			}
			conn.Close()
		}
	})
	g := start(t, relayTo(&provider{URL: "http://" + l.Addr().String()}, "openai"))
	body := `{"model":"m","x":"` + strings.Repeat("x", 20<<20) + `"}`
	for range 5 {
		if r := g.Send(t, "POST", "/v1/chat/completions", body); r.Status != 413 || string(r.Body) != openaiError {
			t.Errorf("%d %s", r.Status, r.Body)
		}
	}
	g.Expect(t, 5)
}
