package http1_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// newFastPeer answers every request after its body, of a length that the requests declare, with as little work as it can.
func newFastPeer(b testing.TB, reply string) *peer {
	return newPeer(b, func(_ int, c net.Conn, r *bufio.Reader) {
		for {
			length := 0
			for {
				line, err := r.ReadSlice('\n')
				if err != nil {
					return
				}
				if digits, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
					for _, c := range bytes.TrimSpace(digits) {
						length = 10*length + int(c-'0')
					}
				}
				if len(line) == 2 {
					break
				}
			}
			r.Discard(length)
			io.WriteString(c, reply)
		}
	})
}

func BenchmarkRequest(b *testing.B) {
	for _, size := range []int{1 << 10, 100 << 10, 1 << 20} {
		text := strings.Repeat("x", size)
		reply := "HTTP/1.1 200 OK\r\nDate: Wed, 25 Nov 2026 14:51:11 GMT\r\nContent-Type: application/json\r\nX-Request-Id: 123\r\nServer: x\r\nContent-Length: 1024\r\n\r\n" + strings.Repeat("y", 1024)
		benchmark(b, fmt.Sprint(size>>10, "KB"), reply, text)
	}
}

func BenchmarkStream(b *testing.B) {
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 150, strings.Repeat("y", 150))
	benchmark(b, "200chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+strings.Repeat(chunk, 200)+"0\r\n\r\n", "x")
}

func benchmark(b *testing.B, name, reply, text string) {
	p := newFastPeer(b, reply)
	for client, transport := range map[string]http.RoundTripper{"http1": p.client(b), "net/http": oracle(b, p.addr)} {
		b.Run(name+"/"+client, func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 4<<10)
			body := inMemory(text)
			for b.Loop() {
				req := &http.Request{Method: "POST", URL: benchURL, Host: "provider.test", Header: benchHeader, ContentLength: int64(len(text))}
				if client == "http1" {
					req.Body = body
				} else {
					req.Body = io.NopCloser(strings.NewReader(text))
				}
				res, err := transport.RoundTrip(req.WithContext(b.Context()))
				if err != nil {
					b.Fatal(err)
				}
				for err == nil {
					_, err = res.Body.Read(buf)
				}
				res.Body.Close()
				if err != io.EOF {
					b.Fatal(err)
				}
			}
		})
	}
}

var (
	benchURL    = mustRequest().URL
	benchHeader = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer x"}, "User-Agent": {"test/1"}, "Accept": {"*/*"}}
)

func mustRequest() *http.Request {
	req, err := http.NewRequest("POST", "http://provider.test/v1/chat/completions", nil)
	if err != nil {
		panic(err)
	}
	return req
}

// TestReadingAllocatesNothing: not a byte for each chunk, whatever its framing.
func TestReadingAllocatesNothing(t *testing.T) {
	for _, framing := range []string{"Transfer-Encoding: chunked\r\n", "Content-Length: 1000000\r\n", ""} {
		chunk := []byte("5\r\nhello\r\n")
		next := make(chan struct{})
		p := newPeer(t, func(_ int, c net.Conn, r *bufio.Reader) {
			readRequest(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n"+framing+"\r\n")
			for range next {
				c.Write(chunk)
			}
		})
		res, err := p.client(t).RoundTrip(newRequest(t, "GET", ""))
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4<<10)
		read := func() {
			next <- struct{}{}
			if n, err := res.Body.Read(buf); n == 0 || err != nil {
				t.Fatal(n, err)
			}
		}
		read()
		time.Sleep(time.Millisecond)
		if n := testing.AllocsPerRun(200, read); n > 0 {
			t.Errorf("%q: %v allocations", framing, n)
		}
		close(next)
		res.Body.Close()
	}
}
