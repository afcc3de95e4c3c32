package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"proxycast/upstream/http1"
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

// TestIdleStreamsHoldLittle: a stream whose reader waits, or does not read, has no buffer.
func TestIdleStreamsHoldLittle(t *testing.T) {
	const streams = 500
	server, begun := make(chan struct{}), make(chan struct{}, streams)
	client := &http1.Transport{Dial: func(context.Context) (net.Conn, error) {
		return &silentStream{head: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", end: server}, nil
	}}
	var all sync.WaitGroup
	before := heap()
	for range streams {
		all.Go(func() {
			res, err := client.RoundTrip(newRequest(t, "POST", ""))
			if err != nil {
				t.Error(err)
				return
			}
			buf := make([]byte, 512)
			res.Body.Read(buf)
			begun <- struct{}{}
			res.Body.Read(buf)
			res.Body.Close()
		})
	}
	for range streams {
		<-begun
	}
	if each := (heap() - before) / streams; each > 4<<10 {
		t.Errorf("%d bytes for each stream", each)
	} else {
		t.Logf("%d bytes for each stream, of which 512 are the reader's", each)
	}
	close(server)
	all.Wait()
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// silentStream is a connection on which nothing comes after the beginning of a reply.
type silentStream struct {
	net.Conn
	head string
	end  chan struct{}
}

func (s *silentStream) Read(p []byte) (int, error) {
	if s.head == "" {
		<-s.end
		return 0, io.EOF
	}
	n := copy(p, s.head)
	s.head = s.head[n:]
	return n, nil
}
func (s *silentStream) Write(p []byte) (int, error) { return len(p), nil }
func (s *silentStream) Close() error                { return nil }
