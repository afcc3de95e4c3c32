// Framing: what clients may do within HTTP, and what nobody may.
package gateway_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// wireRequest is a request as bytes, with the ordinary key and a JSON body. A header
// "Name: value" replaces, "Name:" removes, "+Name: value" comes as a second one.
func wireRequest(method, target, body string, header ...string) string {
	lines := []string{"Host: localhost", "Authorization: Bearer " + harness.UserKey, "Connection: close"}
	if body != "" {
		lines = append(lines, "Content-Type: application/json", fmt.Sprintf("Content-Length: %d", len(body)))
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ":")
		lines = slices.DeleteFunc(lines, func(line string) bool {
			had, _, _ := strings.Cut(line, ":")
			return strings.EqualFold(had, name)
		})
		if value != "" {
			lines = append(lines, strings.TrimPrefix(h, "+"))
		}
	}
	return method + " " + target + " HTTP/1.1\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

// Two framings in one request are refused, or read as one request and framed anew.
func TestSmuggling(t *testing.T) {
	g, p := startBoth(t)
	hidden := "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
	f := func(name, request string, statuses ...int) {
		t.Run(name, func(t *testing.T) {
			before := p.Count()
			r := g.Raw(t, []byte(request), 0)
			allowed := false
			for _, status := range statuses {
				allowed = allowed || r.Status == status
			}
			if !allowed {
				t.Errorf("status %d: %s", r.Status, r.Body)
			}
			for _, x := range p.Since(before) {
				sameBytes(t, "request", x.Body, []byte(chatRequest))
				if x.Header.Get("Transfer-Encoding") != "" && x.Header.Get("Content-Length") != "" {
					t.Errorf("both framings reached the provider:\n%s", x.Head)
				}
			}
			if n := p.Count() - before; n > 1 {
				t.Errorf("%d requests reached the provider", n)
			}
		})
	}
	chunked := harness.Chunk(chatRequest) + "0\r\n\r\n"
	post := func(header ...string) string {
		return wireRequest("POST", "/v1/chat/completions", "", append([]string{"Content-Type: application/json"}, header...)...)
	}
	f("CL.TE", post("Content-Length: 6", "Transfer-Encoding: chunked")+chunked+hidden, 200, 400)
	f("TE.CL", post("Transfer-Encoding: chunked", "Content-Length: 6")+chunked+hidden, 200, 400)
	f("two lengths", post("Content-Length: 6", "+Content-Length: 60")+chatRequest, 400)
	f("a list of lengths", post("Content-Length: 6, 60")+chatRequest, 400)
	f("two encodings", post("Transfer-Encoding: chunked", "+Transfer-Encoding: identity")+chunked, 400, 501)
	f("an unknown encoding", post("Transfer-Encoding: xchunked")+chunked, 400, 501)
	f("a space before the colon", post("Transfer-Encoding : chunked")+chunked, 400)
	f("a folded header", post("X-A: 1\r\n Transfer-Encoding: chunked", "Content-Length: "+fmt.Sprint(len(chatRequest)))+chatRequest, 200, 400)
	f("a signed length", post("Content-Length: +6")+chatRequest, 400)
	f("a bare chunk line end", post("Transfer-Encoding: chunked")+strings.ReplaceAll(chunked, "\r\n", "\n"), 200, 400)
	f("a chunk size too large", post("Transfer-Encoding: chunked")+"fffffffffffffffff\r\n"+chatRequest, 400)
	f("no host", strings.Replace(post("Content-Length: 2"), "Host: localhost\r\n", "", 1)+"{}", 400)
	f("two hosts", post("Content-Length: 2", "+Host: localhost")+"{}", 400)
	f("a trailer", post("Transfer-Encoding: chunked", "Trailer: X-Api-Key")+harness.Chunk(chatRequest)+"0\r\nX-Api-Key: smuggled\r\n\r\n", 200)
	for _, x := range p.Since(0) {
		if strings.Contains(x.Head, "smuggled") || x.Header.Get("Trailer") != "" {
			t.Errorf("a trailer reached the provider:\n%s", x.Head)
		}
	}
}

// A client that leaves in the middle of its body is one record and costs nothing else.
func TestBodyCut(t *testing.T) {
	g, p := startBoth(t)
	conn, err := net.Dial("tcp", g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, wireRequest("POST", "/v1/chat/completions", "", "Content-Type: application/json", "Content-Length: 500")+`{"model":`)
	time.Sleep(50 * time.Millisecond)
	conn.Close()
	if rec := g.Next(t); rec.Status != 499 && rec.Status != 400 {
		t.Errorf("record: %+v", rec)
	}
	if p.Count() != 0 {
		t.Error("it reached the provider")
	}
}

// What clients may do within HTTP and some do.
func TestClientHabits(t *testing.T) {
	g, p := startBoth(t)
	f := func(name, request string) {
		t.Run(name, func(t *testing.T) {
			r := g.Raw(t, []byte(request), 0)
			if r.Status != 200 {
				t.Fatalf("%d %s", r.Status, r.Body)
			}
			sameBytes(t, "reply", r.Body, []byte(chatReply))
			sameBytes(t, "request", p.Last(t).Body, []byte(chatRequest))
			g.Next(t)
		})
	}
	const path = "/v1/chat/completions"
	f("a charset", wireRequest("POST", path, chatRequest, "Content-Type: application/json; charset=utf-8"))
	f("upper case", wireRequest("POST", path, chatRequest, "Content-Type: Application/JSON"))
	f("identity", wireRequest("POST", path, chatRequest, "Content-Encoding: identity"))
	f("expect", wireRequest("POST", path, chatRequest, "Expect: 100-continue"))
	f("HTTP/1.0", strings.Replace(wireRequest("POST", path, chatRequest), "HTTP/1.1", "HTTP/1.0", 1))
	f("chunks of a byte", wireRequest("POST", path, "", "Content-Type: application/json", "Transfer-Encoding: chunked")+oneByteChunks(chatRequest))
	f("large headers", wireRequest("POST", path, chatRequest, "X-Large: "+strings.Repeat("x", 30<<10)))
	f("many headers", strings.Replace(wireRequest("POST", path, chatRequest), "\r\n\r\n", "\r\n"+strings.Repeat("X-Many: x\r\n", 90)+"\r\n", 1))

	t.Run("pipelined", func(t *testing.T) {
		before := p.Count()
		one := wireRequest("POST", path, chatRequest, "Connection: keep-alive")
		conn, err := net.Dial("tcp", g.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(harness.Patience))
		_, _ = io.WriteString(conn, one+one+wireRequest("POST", path, chatRequest))
		text, err := io.ReadAll(conn)
		if n := bytes.Count(text, []byte(chatReply)); err != nil || n != 3 || p.Count()-before != 3 {
			t.Errorf("%d replies, %d requests, %v", n, p.Count()-before, err)
		}
		g.Expect(t, 3)
	})
}

func oneByteChunks(body string) string {
	var b strings.Builder
	for i := range len(body) {
		b.WriteString(harness.Chunk(body[i : i+1]))
	}
	return b.String() + "0\r\n\r\n"
}
