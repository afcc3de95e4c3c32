package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"proxycast/upstream/http1"
)

// sentBy returns the bytes of one request as a server gets them.
func sentBy(t *testing.T, req *http.Request, change func(*http1.Transport)) (head, body string) {
	t.Helper()
	got := make(chan string, 1)
	p := newPeer(t, func(_ int, c net.Conn, r *bufio.Reader) {
		var raw bytes.Buffer
		readRequest(bufio.NewReader(io.TeeReader(r, &raw)))
		got <- raw.String()
		io.WriteString(c, helloReply)
	})
	client := p.client(t)
	if change != nil {
		change(client)
	}
	if _, _, err := get(client, req); err != nil {
		t.Fatal(err)
	}
	head, body, _ = strings.Cut(<-got, "\r\n\r\n")
	return head, body
}

func TestRequestHead(t *testing.T) {
	request := func(method, body string, change func(*http.Request)) *http.Request {
		req := newRequest(t, method, body)
		if change != nil {
			change(req)
		}
		return req
	}
	for name, c := range map[string]struct {
		req  *http.Request
		on   func(*http1.Transport)
		want string // sorted, without the first line
		line string
	}{
		"GET":            {req: request("GET", "", nil), want: "Host: provider.test"},
		"empty POST":     {req: request("POST", "", nil), line: "POST /v1/x?q=1 HTTP/1.1", want: "Content-Length: 0|Host: provider.test"},
		"POST":           {req: request("POST", "hello", nil), line: "POST /v1/x?q=1 HTTP/1.1", want: "Content-Length: 5|Host: provider.test"},
		"unknown length": {req: request("POST", "hello", func(r *http.Request) { r.ContentLength = -1 }), line: "POST /v1/x?q=1 HTTP/1.1", want: "Host: provider.test|Transfer-Encoding: chunked"},
		"no length":      {req: request("POST", "hello", func(r *http.Request) { r.ContentLength = 0 }), line: "POST /v1/x?q=1 HTTP/1.1", want: "Host: provider.test|Transfer-Encoding: chunked"},
		"NoBody":         {req: request("GET", "", func(r *http.Request) { r.Body = http.NoBody }), want: "Host: provider.test"},
		"no method":      {req: request("", "", nil), want: "Host: provider.test"},
		"Host":           {req: request("GET", "", func(r *http.Request) { r.Host = "other.test:81" }), want: "Host: other.test:81"},
		"zone":           {req: request("GET", "", func(r *http.Request) { r.Host = "[fe80::1%25en0]:80" }), want: "Host: [fe80::1]:80"},
		"Close":          {req: request("GET", "", func(r *http.Request) { r.Close = true }), want: "Connection: close|Host: provider.test"},
		"escapes":        {req: request("GET", "", func(r *http.Request) { r.URL.Path = "/a b/ü"; r.URL.RawQuery = "" }), line: "GET /a%20b/%C3%BC HTTP/1.1", want: "Host: provider.test"},
		"UTF-8":          {req: request("GET", "", func(r *http.Request) { r.URL.RawQuery = "ü" }), line: "GET /v1/x?ü HTTP/1.1", want: "Host: provider.test"},
		"fields": {req: request("GET", "", func(r *http.Request) {
			r.Header = http.Header{"A": {" b ", "c"}, "User-Agent": {""}, "Host": {"x"}, "content-length": {"9"}, "Transfer-Encoding": {"gzip"}, "Trailer": {"x"}, "Utf": {"ü"}}
		}), want: "A: b|A: c|Host: provider.test|Utf: ü"},
		"proxy": {req: request("GET", "", nil), on: func(c *http1.Transport) { c.Absolute, c.ProxyAuthorization = true, "Basic eA==" },
			line: "GET http://provider.test/v1/x?q=1 HTTP/1.1", want: "Host: provider.test|Proxy-Authorization: Basic eA=="},
	} {
		head, body := sentBy(t, c.req, c.on)
		line, fields, _ := strings.Cut(head, "\r\n")
		if !strings.HasPrefix(fields, "Host: ") {
			t.Errorf("%s: Host is not first in %q", name, head)
		}
		sorted := strings.Split(fields, "\r\n")
		slices.Sort(sorted)
		if c.line == "" {
			c.line = "GET /v1/x?q=1 HTTP/1.1"
		}
		if line != c.line || strings.Join(sorted, "|") != c.want {
			t.Errorf("%s: %q", name, head)
		}
		if c.req.ContentLength > 0 && body != "hello" || strings.Contains(c.want, "chunked") && body != "5\r\nhello\r\n0\r\n\r\n" {
			t.Errorf("%s: body %q", name, body)
		}
	}
}

// TestRefusedRequests: what can't be sent safely is not, and its body is closed.
func TestRefusedRequests(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"CRLF in a value":    func(r *http.Request) { r.Header = http.Header{"A": {"b\r\nC: d"}} },
		"LF in a value":      func(r *http.Request) { r.Header = http.Header{"A": {"b\nc"}} },
		"NUL in a value":     func(r *http.Request) { r.Header = http.Header{"A": {"b\x00c"}} },
		"name":               func(r *http.Request) { r.Header = http.Header{"A: b\r\nC": {"d"}} },
		"empty name":         func(r *http.Request) { r.Header = http.Header{"": {"d"}} },
		"space in a name":    func(r *http.Request) { r.Header = http.Header{"A ": {"d"}} },
		"method":             func(r *http.Request) { r.Method = "GET /x HTTP/1.1\r\nA:" },
		"CONNECT":            func(r *http.Request) { r.Method = "CONNECT" },
		"host":               func(r *http.Request) { r.Host = "a\r\nB: c" },
		"host with a path":   func(r *http.Request) { r.Host = "a/b" },
		"foreign host":       func(r *http.Request) { r.Host = "ü.test" },
		"no host":            func(r *http.Request) { r.Host, r.URL.Host = "", "" },
		"space in the query": func(r *http.Request) { r.URL.RawQuery = "a=b c" },
		"CRLF in the query":  func(r *http.Request) { r.URL.RawQuery = "a HTTP/1.1\r\nB: c" },
		"opaque":             func(r *http.Request) { r.URL = &url.URL{Opaque: "/x y"} },
		"trailers":           func(r *http.Request) { r.Trailer = http.Header{"A": nil} },
		"other length":       func(r *http.Request) { r.ContentLength = 7 },
	} {
		body := inMemory("he", "llo")
		req := newRequest(t, "POST", "")
		req.Body = body
		change(req)
		client := &http1.Transport{Dial: func(context.Context) (net.Conn, error) { return nil, errors.New("dialed") }}
		if _, err := client.RoundTrip(req); !errors.Is(err, http1.ErrBadRequest) {
			t.Errorf("%s: %v", name, err)
		}
		if n := body.closed.Load(); n != 1 {
			t.Errorf("%s: the body was closed %d times", name, n)
		}
	}
}

// readBody is a body that must be read.
type readBody struct {
	io.Reader
	closed atomic.Int32
}

func (b *readBody) Close() error { b.closed.Add(1); return nil }

// TestBodies sends bodies of any size, in memory or not, and has them come unchanged and closed once.
func TestBodies(t *testing.T) {
	p := newPeer(t, func(_ int, c net.Conn, r *bufio.Reader) {
		for {
			_, body, ok := readRequest(r)
			if !ok {
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body))
			c.Write(body)
		}
	})
	client := p.client(t)
	for _, size := range []int{1, 100, 16 << 10, 32<<10 - 1, 32 << 10, 100 << 10, 1 << 20, 5 << 20} {
		text := strings.Repeat("0123456789abcde\n", size/16+1)[:size]
		memory := inMemory(text[:size/3], text[size/3:size/2], "", text[size/2:])
		known, unknown := &readBody{Reader: strings.NewReader(text)}, &readBody{Reader: strings.NewReader(text)}
		for kind, body := range map[string]io.ReadCloser{"memory": memory, "known": known, "unknown": unknown} {
			req := newRequest(t, "POST", "")
			req.Body = body
			if kind != "unknown" {
				req.ContentLength = int64(size)
			}
			if _, got, err := get(client, req); got != text || err != nil {
				t.Errorf("%s of %d: %d bytes came back, %v", kind, size, len(got), err)
			}
			rest()
		}
		if memory.closed.Load() != 1 || known.closed.Load() != 1 || unknown.closed.Load() != 1 {
			t.Errorf("%d: closed %d, %d, %d times", size, memory.closed.Load(), known.closed.Load(), unknown.closed.Load())
		}
		if len(memory.parts) != 4 || len(memory.parts[3]) != size-size/2 {
			t.Error("the parts were changed")
		}
	}
	if n := p.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestFailingBodies(t *testing.T) {
	failure := errors.New("body failed")
	for name, c := range map[string]struct {
		body   io.Reader
		length int64
		want   error
	}{
		"short":           {strings.NewReader("hello"), 6, http1.ErrShortBody},
		"failing":         {io.MultiReader(strings.NewReader("hello"), failingReader{failure}), 9, failure},
		"failing, chunks": {io.MultiReader(strings.NewReader("hello"), failingReader{failure}), -1, failure},
	} {
		p := newPeer(t, answering(helloReply))
		body := &readBody{Reader: c.body}
		req := newRequest(t, "POST", "")
		req.Body, req.ContentLength = body, c.length
		if _, _, err := get(p.client(t), req); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		time.Sleep(5 * time.Millisecond)
		if n := body.closed.Load(); n != 1 {
			t.Errorf("%s: closed %d times", name, n)
		}
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// TestEarlyReplies: a server that answers before it has read the request, and then closes, resets or keeps silent. The
// reply arrives, the body is closed, the connection is not used again.
func TestEarlyReplies(t *testing.T) {
	const reply = "HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge"
	for _, end := range []string{"close", "half-close", "silent"} {
		for _, size := range []int{100, 100 << 10, 8 << 20} {
			for _, inMemoryBody := range []bool{true, false} {
				t.Run(fmt.Sprint(end, size, inMemoryBody), func(t *testing.T) {
					hold := make(chan struct{})
					p := newPeer(t, func(_ int, c net.Conn, r *bufio.Reader) {
						r.ReadString('\n')
						io.WriteString(c, reply)
						switch end {
						case "half-close":
							c.(*net.TCPConn).CloseWrite()
							<-hold
						case "silent":
							<-hold
						}
					})
					defer close(hold)
					client := p.client(t)
					text := strings.Repeat("x", size)
					body, closed := io.ReadCloser(nil), (*atomic.Int32)(nil)
					if inMemoryBody {
						b := inMemory(text)
						body, closed = b, &b.closed
					} else {
						b := &readBody{Reader: strings.NewReader(text)}
						body, closed = b, &b.closed
					}
					req := newRequest(t, "POST", "")
					req.Body, req.ContentLength = body, int64(size)
					start := time.Now()
					status, got, err := get(client, req)
					if status != 413 || got != "large" || err != nil {
						t.Error(status, got, err)
					}
					if d := time.Since(start); d > time.Second {
						t.Error("it took", d)
					}
					for i := 0; closed.Load() == 0 && i < 100; i++ {
						time.Sleep(time.Millisecond)
					}
					if n := closed.Load(); n != 1 {
						t.Errorf("closed %d times", n)
					}
				})
			}
		}
	}
}

// TestEarlyReplyToABodyThatWaits: nobody sends the rest of the body any more. Its Read is ended by Close.
func TestEarlyReplyToABodyThatWaits(t *testing.T) {
	p := newPeer(t, func(_ int, c net.Conn, r *bufio.Reader) {
		r.ReadString('\n')
		io.WriteString(c, helloReply)
		io.Copy(io.Discard, r)
	})
	body, input := io.Pipe()
	req := newRequest(t, "POST", "")
	req.Body = body
	if _, got, err := get(p.client(t), req); got != "hello" || err != nil {
		t.Error(got, err)
	}
	written := make(chan error)
	go func() {
		_, err := io.WriteString(input, "x")
		written <- err
	}()
	select {
	case <-written:
	case <-time.After(time.Second):
		t.Error("the body was not closed")
	}
}

// TestStreamsBothWays: the reply may be read while the request is still being sent.
func TestStreamsBothWays(t *testing.T) {
	p := newPeer(t, func(_ int, c net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
		io.Copy(c, req.Body)
	})
	body, input := io.Pipe()
	req := newRequest(t, "POST", "")
	req.Body = body
	res, err := p.client(t).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for range 3 {
		io.WriteString(input, "ping")
		got := make([]byte, 4)
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != "ping" {
			t.Fatal(string(got), err)
		}
	}
	input.Close()
	if rest, err := io.ReadAll(res.Body); len(rest) > 0 || err != nil {
		t.Error(rest, err)
	}
}

// TestBodyMemoryIsFreeAfterClose: a body's memory may be reused once it is closed. What the server gets never
// holds what was put there then.
func TestBodyMemoryIsFreeAfterClose(t *testing.T) {
	p := newPeer(t, func(n int, c net.Conn, r *bufio.Reader) {
		r.ReadString('\n')
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
		if rest, _ := io.ReadAll(r); bytes.Contains(rest, []byte("#")) {
			t.Error("the memory of a closed body was sent")
		}
	})
	client := p.client(t)
	for range 10 {
		body := &reusedBody{text: bytes.Repeat([]byte("x"), 2<<20)}
		req := newRequest(t, "POST", "")
		req.Body, req.ContentLength = body, int64(len(body.text))
		get(client, req)
	}
}

type reusedBody struct{ text []byte }

func (b *reusedBody) Buffers() net.Buffers     { return net.Buffers{b.text} }
func (b *reusedBody) Read([]byte) (int, error) { return 0, errors.New("read") }
func (b *reusedBody) Close() error {
	for i := range b.text {
		b.text[i] = '#'
	}
	return nil
}
