// Limits: connections, bytes in flight, clients that stall.
package gateway_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// Over max_connections clients wait in the accept queue.
func TestMaxConnections(t *testing.T) {
	g := start(t, object{"server": object{"max_connections": 2}})
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", g.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_, _ = io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
		return conn
	}
	answered := func(conn net.Conn, within time.Duration) bool {
		_ = conn.SetReadDeadline(time.Now().Add(within))
		_, err := conn.Read(make([]byte, 1))
		return err == nil
	}
	first, second := dial(), dial()
	if !answered(first, harness.Patience) || !answered(second, harness.Patience) {
		t.Fatal("no answer below the limit")
	}
	third := dial()
	if answered(third, 300*time.Millisecond) {
		t.Error("an answer over the limit")
	}
	first.Close()
	if !answered(third, harness.Patience) {
		t.Error("no answer after a connection was closed")
	}
}

// Bodies over max_inflight_bytes get a 503 that says when to come again.
func TestMaxInflightBytes(t *testing.T) {
	release := make(chan struct{})
	p := harness.NewProvider(t, func(x *exchange) bool {
		select {
		case <-release:
		case <-x.Gone:
		}
		return ok(chatReply).serve(whole)(x)
	})
	cfg := relayTo(p, "openai")
	cfg["server"] = object{"max_body": "1MiB", "max_inflight_bytes": "1MiB"}
	g := start(t, cfg)
	body := `{"model":"m","x":"` + strings.Repeat("x", 700<<10) + `"}`
	held := make(chan reply, 1)
	go func() {
		r, _ := g.Try(g.Request(context.Background(), "POST", "/v1/chat/completions", body))
		held <- r
	}()
	harness.Eventually(t, "the first body is in flight", func() bool { return p.Count() == 1 })
	r := g.Send(t, "POST", "/v1/chat/completions", body)
	checkError(t, r, "openai", 503)
	if r.Header.Get("Retry-After") == "" {
		t.Errorf("no retry-after: %v", r.Header)
	}
	chunked := wireRequest("POST", "/v1/messages", "", "Content-Type: application/json", "Transfer-Encoding: chunked") + harness.Chunk(body) + "0\r\n\r\n"
	checkError(t, g.Raw(t, []byte(chunked), 0), "anthropic", 503)
	close(release)
	if r := <-held; r.Status != 200 {
		t.Errorf("the first: %d", r.Status)
	}
	harness.Eventually(t, "there is room again", func() bool { return g.Send(t, "POST", "/v1/chat/completions", body).Status == 200 })
}

// A client that stalls loses its connection: in the head after 10 s, in the body after 15 s.
func TestStalledClients(t *testing.T) {
	g := start(t, object{})
	f := func(name, request string, least, most time.Duration) {
		t.Run(name, func(t *testing.T) {
			harness.Slow(t)
			conn, err := net.Dial("tcp", g.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			begin := time.Now()
			_, _ = io.WriteString(conn, request)
			_ = conn.SetReadDeadline(begin.Add(time.Minute))
			_, err = io.Copy(io.Discard, conn)
			took := time.Since(begin)
			if err != nil && strings.Contains(err.Error(), "timeout") || took < least || took > most {
				t.Errorf("ended after %v in %v", took, err)
			}
		})
	}
	f("nothing", "", 5*time.Second, 20*time.Second)
	f("half a head", "POST /v1/chat/completions HTTP/1.1\r\nHost: loc", 5*time.Second, 20*time.Second)
	post := func(header ...string) string {
		return wireRequest("POST", "/v1/chat/completions", "", append(header, "Connection: keep-alive")...)
	}
	f("half a body", post("Content-Type: application/json", "Content-Length: 5000")+`{"model":`, 10*time.Second, 25*time.Second)
	f("half a chunk", post("Content-Type: application/json", "Transfer-Encoding: chunked")+"ff\r\n{", 10*time.Second, 25*time.Second)
	f("a refused body", post("Authorization: Bearer wrong-key-0123456789", "Content-Length: 5000"), 0, 25*time.Second)
}
