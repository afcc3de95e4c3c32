// Bounds: whoever it is that asks for too much, with the default config the whole gateway
// stays below 300 MiB, and answers the next request.
package gateway_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

const mostMemory = 300 << 20

// boundTries is how often a bound may be missed on a busy machine.
const boundTries = 3

// attack drives one bound as far as it goes. What it returns is held while the next
// request is answered.
type attack func(t *testing.T, g *gateway, p *provider) []net.Conn

// bound is one line of the table in the README's Limits.
type bound struct {
	who, what string
	drive     attack
	settings  object // of the provider
	models    object // aliases
}

var bounds = []bound{
	{who: "no key", what: "400 heads of 30 KiB", drive: heads(400, "\r\n")},
	{who: "no key", what: "400 heads of 30 KiB without an end", drive: heads(400, "")},
	{who: "no key", what: "3,000 idle connections", drive: idleConnections},
	{who: "no key", what: "400 bodies of 32 MiB announced, 256 KiB sent", drive: bodiesOf("Authorization:")},
	{who: "key", what: "40 bodies of 32 MiB announced, 31 MiB sent", drive: trickledBodies},
	{who: "key", what: "31 MiB of [{},{},…] to the demo", drive: manyObjects("demo-fast")},
	{who: "key", what: "31 MiB of [{},{},…] to a provider", drive: manyObjects("m-1")},
	{who: "key", what: "200 bodies of 1 MiB at a time", drive: manyBodies},
	{who: "key", what: "400 clients that do not read a reply of 1 MB", drive: unreadReplies},
	{who: "key", what: "400 clients that do not read a stream", drive: unreadStreams},
	{who: "provider", what: "64 heads of 250 KiB", drive: hostile(64, chatRequest, hugeHead)},
	{who: "provider", what: "64 errors without an end", drive: hostile(64, chatRequest, endlessError)},
	{who: "provider", what: "64 errors that unpack to 1 GiB", drive: hostile(64, chatRequest, packedError)},
	{who: "provider", what: "64 heads 1xx without an end", drive: hostile(64, chatRequest, informational)},
	{who: "provider", what: "64 lines of a stream without an end", drive: hostile(64, chatStreamRequest, endlessLine)},
	{who: "provider", what: "64 streams without an end, held until complete", drive: hostile(64, strings.Replace(chatStreamRequest, "m-1", "held", 1), endlessStream),
		models: object{"held": object{"targets": list{"fake/a", "fake/b"}, "commit": "complete"}}},
	{who: "provider", what: "a list of 8 MiB of models", drive: giantList, settings: object{"models": list{"*"}}},
	{who: "operator", what: "a config of the largest size", drive: hugeConfig},
	{who: "operator", what: "queries over a log of 64 MiB", drive: wholeLog},
	{who: "operator", what: "500 followers that do not read", drive: deafFollowers},
}

func TestBounds(t *testing.T) {
	if harness.Race() || testing.Short() {
		t.Skip("the race detector takes memory of its own")
	}
	for _, b := range bounds {
		t.Run(b.who+"/"+b.what, func(t *testing.T) {
			for try := 1; ; try++ {
				peak := b.measure(t)
				t.Logf("%s: %s: %d MiB", b.who, b.what, peak>>20)
				if peak < mostMemory {
					return
				}
				if try == boundTries {
					t.Fatalf("more than %d MiB, each time", mostMemory>>20)
				}
			}
		})
	}
}

// measure drives the bound against a gateway of its own and returns the most memory it had.
func (b bound) measure(t *testing.T) int64 {
	p := harness.NewProvider(t, ok(chatReply).serve(whole))
	cfg := relayTo(p, "openai", object{"models": list{"m-*"}}, b.settings)
	providers := cfg["upstream"].(object)["providers"].(list)
	cfg["upstream"] = object{"providers": append(providers, object{"name": "demo", "type": "demo", "models": list{"demo-*"}})}
	if b.models != nil {
		cfg["upstream"].(object)["models"], cfg["upstream"].(object)["retries"] = b.models, 2
	}
	g := start(t, cfg)
	defer g.Kill()
	held := b.drive(t, g, p)
	p.Play(ok(chatReply).serve(whole))
	harness.Eventually(t, "a good request is answered", func() bool {
		r, err := g.Try(g.Request(t.Context(), "POST", "/v1/chat/completions", chatRequest, "Authorization: Bearer "+harness.AdminKey))
		return err == nil && r.Status == 200
	})
	peak := g.PeakMemory(t)
	for _, conn := range held {
		conn.Close()
	}
	return peak
}

// together runs f n times at once.
func together(n int, f func()) {
	var all sync.WaitGroup
	for range n {
		all.Go(f)
	}
	all.Wait()
}

// connections sends the same bytes on n connections, waits until each has been answered
// or a moment has passed, and keeps them.
func connections(t *testing.T, g *gateway, n int, text string, wait time.Duration) (all []net.Conn) {
	t.Helper()
	var mu sync.Mutex
	together(n, func() {
		conn, err := net.Dial("tcp", g.Addr)
		if err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		all = append(all, conn)
		mu.Unlock()
		_ = conn.SetDeadline(time.Now().Add(wait))
		_, _ = io.WriteString(conn, text)
		_, _ = conn.Read(make([]byte, 1))
	})
	return all
}

// heads sends heads of one-byte fields, whose last line is end.
func heads(n int, end string) attack {
	return func(t *testing.T, g *gateway, p *provider) []net.Conn {
		var head strings.Builder
		head.WriteString("GET /livez HTTP/1.1\r\nHost: localhost\r\n")
		for i := 0; head.Len() < 30<<10; i++ {
			fmt.Fprintf(&head, "%c%c:\r\n", 'a'+i%26, 'a'+i/26%26)
		}
		return connections(t, g, n, head.String()+end, 3*time.Second)
	}
}

func idleConnections(t *testing.T, g *gateway, p *provider) []net.Conn {
	request := "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
	return append(connections(t, g, 1500, request, 5*time.Second), connections(t, g, 1500, "", 50*time.Millisecond)...)
}

// bodiesOf announces bodies of 32 MiB and sends 256 KiB of each.
func bodiesOf(header string) attack {
	return func(t *testing.T, g *gateway, p *provider) []net.Conn {
		request := wireRequest("POST", "/v1/chat/completions", "", header, "Content-Type: application/json", "Content-Length: 33554432")
		return connections(t, g, 400, request+strings.Repeat("x", 256<<10), 3*time.Second)
	}
}

// trickledBodies sends nearly all of many bodies, until the gateway takes no more.
func trickledBodies(t *testing.T, g *gateway, p *provider) []net.Conn {
	request := wireRequest("POST", "/v1/chat/completions", "", "Content-Type: application/json", "Content-Length: 33554432")
	return connections(t, g, 40, request+`{"model":"m-1","x":"`+strings.Repeat("x", 31<<20), 10*time.Second)
}

// manyObjects sends bodies of which a decoder makes many times their size, to every endpoint at once.
func manyObjects(model string) attack {
	return func(t *testing.T, g *gateway, p *provider) []net.Conn {
		objects := strings.Repeat("{},", 31<<20/3) + "{}"
		for _, path := range []string{"/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/messages/count_tokens", "/v1/embeddings"} {
			for _, field := range []string{"messages", "input", "tools", "x"} {
				r, err := g.Try(g.Request(t.Context(), "POST", path, `{"model":"`+model+`","max_tokens":1,"`+field+`":[`+objects+`]}`))
				if err != nil || r.Status >= 500 {
					t.Errorf("%s of %s: %v %d %.200s", path, field, err, r.Status, r.Body)
				}
			}
		}
		return nil
	}
}

func manyBodies(t *testing.T, g *gateway, p *provider) []net.Conn {
	body := `{"model":"m-1","x":"` + strings.Repeat("x", 1<<20) + `"}`
	p.Play(func(x *exchange) bool {
		time.Sleep(time.Second)
		return ok(chatReply).serve(whole)(x)
	})
	together(200, func() {
		r, err := g.Try(g.Request(t.Context(), "POST", "/v1/chat/completions", body))
		if err == nil && r.Status != 200 && r.Status != 503 {
			t.Errorf("%d %s", r.Status, r.Body)
		}
	})
	return nil
}

func unreadReplies(t *testing.T, g *gateway, p *provider) []net.Conn {
	p.Play(ok(strings.Replace(chatReply, "Hello!", strings.Repeat("Hello! ", 1<<17), 1)).serve(whole))
	return connections(t, g, 400, wireRequest("POST", "/v1/chat/completions", chatRequest), 10*time.Second)
}

func unreadStreams(t *testing.T, g *gateway, p *provider) []net.Conn {
	p.Play(endlessStream)
	return connections(t, g, 400, wireRequest("POST", "/v1/chat/completions", chatStreamRequest), 10*time.Second)
}

// hostile sends the request n times at once to a provider with that script, and has each
// client leave after some seconds.
func hostile(n int, request string, answer script) attack {
	return func(t *testing.T, g *gateway, p *provider) []net.Conn {
		p.Play(answer)
		return connections(t, g, n, wireRequest("POST", "/v1/chat/completions", request), 5*time.Second)
	}
}

// endless writes the same text until the connection breaks.
func endless(head, text string) script {
	return func(x *exchange) bool {
		text := []byte(strings.Repeat(text, max(1, 16<<10/len(text))))
		_, err := io.WriteString(x.Conn, head)
		for err == nil {
			_, err = x.Conn.Write(text)
		}
		return false
	}
}

var (
	endlessError  = endless("HTTP/1.1 500 No\r\nContent-Type: application/json\r\n\r\n{\"error\":\"", "x")
	informational = endless("", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
	endlessLine   = endless("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"", "x")
	endlessStream = endless("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"+chatStart, chatDelta)
)

func hugeHead(x *exchange) bool {
	var head strings.Builder
	head.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n")
	for i := 0; head.Len() < 250<<10; i++ {
		fmt.Fprintf(&head, "%x:\r\n", i)
	}
	x.Write([]byte(head.String()+"\r\n{}"), whole)
	return true
}

func packedError(x *exchange) bool {
	x.Write([]byte("HTTP/1.1 500 No\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"), whole)
	packed := gzip.NewWriter(x.Conn)
	zeros, err := make([]byte, 1<<20), error(nil)
	for i := 0; i < 1<<10 && err == nil; i++ {
		_, err = packed.Write(zeros)
	}
	packed.Close()
	return false
}

func giantList(t *testing.T, g *gateway, p *provider) []net.Conn {
	var body bytes.Buffer
	body.WriteString(`{"object":"list","data":[{"id":"m-0"}`)
	for i := 0; body.Len() < 8<<20-100; i++ {
		fmt.Fprintf(&body, `,{"id":"m-%d"}`, i)
	}
	body.WriteString("]}")
	p.Play(ok(body.String()).serve(whole))
	together(20, func() {
		if r, err := g.Try(g.Request(t.Context(), "GET", "/v1/models", "")); err != nil || r.Status != 200 {
			t.Errorf("%v %d %.100s", err, r.Status, r.Body)
		}
	})
	return nil
}

// maxConfig is the largest config that is read.
const maxConfig = 1 << 20

func hugeConfig(t *testing.T, g *gateway, p *provider) []net.Conn {
	var models strings.Builder
	for i := 0; models.Len() < maxConfig-200; i++ {
		fmt.Fprintf(&models, `"%x":"p/m",`, i)
	}
	for _, text := range []string{
		`{"upstream":{"models":{` + strings.TrimSuffix(models.String(), ",") + `}}}`,
		`{"x":` + strings.Repeat("[", maxConfig-100),
		`{"x":[` + strings.Repeat("{},", maxConfig/3-10) + `]}`,
	} {
		together(4, func() {
			r, err := g.Try(g.Request(t.Context(), "PUT", "/_config?check=1", text, "Authorization: Bearer "+harness.AdminKey))
			if err != nil || r.Status >= 500 {
				t.Errorf("%v %d %.200s", err, r.Status, r.Body)
			}
		})
	}
	return nil
}

// wholeLog asks for all that a log of one full file has.
func wholeLog(t *testing.T, g *gateway, p *provider) []net.Conn {
	fillLog(t, g)
	for _, path := range []string{"/_logs?q=nothing&limit=1000", "/_stats?by=model,key&window=30d&step=1d", "/_logs?format=csv", "/_logs?format=jsonl"} {
		together(4, func() {
			req := g.Request(t.Context(), "GET", path, "", "Authorization: Bearer "+harness.AdminKey)
			res, err := g.Client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if n, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 {
				t.Errorf("%s: %d, %d bytes, %v", path, res.StatusCode, n, err)
			}
		})
	}
	return nil
}

// fillLog puts a rotated file of 64 MiB before the log, each of its rows another model.
func fillLog(t *testing.T, g *gateway) {
	var text bytes.Buffer
	at := time.Now().Add(-time.Hour).UTC()
	for seq := 1; text.Len() < 64<<20; seq++ {
		fmt.Fprintf(&text, `{"seq":%d,"time":%q,"id":"req_%d","key":"user","method":"POST","path":"/v1/chat/completions","endpoint":"chat","model":"m-%d","status":200,"stream":false,"duration_ms":1,"attempts":1,"request_bytes":1,"response_bytes":1}`+"\n",
			seq, at.Format("2006-01-02T15:04:05.000Z"), seq, seq)
	}
	g.Signal(t, os.Interrupt)
	g.Exit(t, harness.Patience)
	harness.PlaceFile(t, filepath.Join(g.Dir, "data", "requests.jsonl"), text.String(), 0o600)
	*g = *startIn(t, g.Dir, nil)
}

func deafFollowers(t *testing.T, g *gateway, p *provider) []net.Conn {
	request := wireRequest("GET", "/_logs?follow=1&limit=1000", "", "Authorization: Bearer "+harness.AdminKey)
	all := connections(t, g, 500, request, 10*time.Second)
	together(8, func() {
		for range 200 {
			if _, err := g.Try(g.Request(t.Context(), "POST", "/v1/chat/completions", chatRequest)); err != nil {
				t.Error(err)
			}
		}
	})
	return all
}
