package http1_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"proxycast/upstream/http1"
)

// peer is a server of raw bytes.
type peer struct {
	addr  string
	conns atomic.Int32
}

// newPeer serves each connection with serve, which gets its number, from 1. The connection is closed after it.
func newPeer(t testing.TB, serve func(n int, c net.Conn, r *bufio.Reader)) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{addr: l.Addr().String()}
	var open sync.Map
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Store(c, nil)
			n := int(p.conns.Add(1))
			served.Go(func() {
				defer c.Close()
				serve(n, c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		served.Wait()
	})
	return p
}

// client returns a Transport for the peer.
func (p *peer) client(t testing.TB) *http1.Transport {
	c := &http1.Transport{Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", p.addr)
	}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// readRequest takes a request with its body from a connection; false: there is none.
func readRequest(r *bufio.Reader) (head string, body []byte, ok bool) {
	req, err := http.ReadRequest(r)
	if err != nil {
		return "", nil, false
	}
	body, err = io.ReadAll(req.Body)
	return req.Method + " " + req.RequestURI, body, err == nil
}

// answering serves every request with the same bytes.
func answering(reply string) func(int, net.Conn, *bufio.Reader) {
	return func(_ int, c net.Conn, r *bufio.Reader) {
		for {
			if _, _, ok := readRequest(r); !ok {
				return
			}
			io.WriteString(c, reply)
		}
	}
}

// once serves one request and closes the connection.
func once(reply string) func(int, net.Conn, *bufio.Reader) {
	return func(_ int, c net.Conn, r *bufio.Reader) {
		if _, _, ok := readRequest(r); ok {
			io.WriteString(c, reply)
		}
	}
}

const helloReply = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

func newRequest(t testing.TB, method, body string) *http.Request {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, "http://provider.test/v1/x?q=1", r)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// get returns status and body of a reply, and what went wrong first.
func get(client http.RoundTripper, req *http.Request) (status int, body string, err error) {
	res, err := client.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// rest lets a connection settle, so that it is used again.
func rest() { time.Sleep(22 * time.Millisecond) }

// memoryBody is a body with its parts at hand.
type memoryBody struct {
	parts  net.Buffers
	closed atomic.Int32
}

func inMemory(parts ...string) *memoryBody {
	b := &memoryBody{}
	for _, part := range parts {
		b.parts = append(b.parts, []byte(part))
	}
	return b
}

func (b *memoryBody) Buffers() net.Buffers       { return b.parts }
func (b *memoryBody) Read(p []byte) (int, error) { return b.parts.Read(p) }
func (b *memoryBody) Close() error               { b.closed.Add(1); return nil }
