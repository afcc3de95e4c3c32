package http1_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"proxycast/upstream/http1"
)

// TestForeignReplies: a server that sends a second response behind its reply, with it or a little later, never has one
// client's reply reach another, and no request fails for it.
func TestForeignReplies(t *testing.T) {
	second := "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nforeign"
	for _, clients := range []int{16, 64} {
		for _, way := range []string{"one write", "two writes", "later", "chunks", "no body"} {
			t.Run(fmt.Sprint(clients, " clients, ", way), func(t *testing.T) {
				p := newPeer(t, func(_ int, c net.Conn, r *bufio.Reader) {
					for {
						_, body, ok := readRequest(r)
						if !ok {
							return
						}
						reply := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
						switch way {
						case "chunks":
							reply = fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
						case "no body":
							reply = fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Echo: %s\r\nContent-Length: 0\r\n\r\n", body)
						}
						if way != "two writes" && way != "later" {
							io.WriteString(c, reply+second)
							continue
						}
						io.WriteString(c, reply)
						if way == "later" {
							time.Sleep(300 * time.Microsecond)
						}
						io.WriteString(c, second)
					}
				})
				askInParallel(t, p.client(t), clients, 20)
			})
		}
	}
}

// askInParallel has each client send requests of its own, whose replies must be its own.
func askInParallel(t *testing.T, client *http1.Transport, clients, requests int) {
	t.Helper()
	var foreign, failed atomic.Int32
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for k := range requests {
				mine := fmt.Sprintf("%d-%d", i, k)
				res, err := client.RoundTrip(newRequest(t, "POST", mine))
				if err != nil {
					failed.Add(1)
					t.Log(err)
					continue
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				switch {
				case err != nil:
					failed.Add(1)
					t.Log(err)
				case string(body)+res.Header.Get("X-Echo") != mine:
					foreign.Add(1)
				}
			}
		})
	}
	all.Wait()
	if foreign.Load() > 0 || failed.Load() > 0 {
		t.Errorf("%d foreign replies, %d failures", foreign.Load(), failed.Load())
	}
}

// TestConcurrentReuse: a well-behaved server is reached over few connections.
func TestConcurrentReuse(t *testing.T) {
	p := newPeer(t, func(_ int, c net.Conn, r *bufio.Reader) {
		for {
			_, body, ok := readRequest(r)
			if !ok {
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	})
	askInParallel(t, p.client(t), 16, 200)
	if n := p.conns.Load(); n > 400 {
		t.Errorf("%d connections for 3,200 requests of 16 clients", n)
	}
}

// TestStaleConnections: when a server has closed a kept connection, the call succeeds, on another one.
func TestStaleConnections(t *testing.T) {
	for _, reset := range []bool{false, true} {
		p := newPeer(t, func(_ int, c net.Conn, r *bufio.Reader) {
			if _, _, ok := readRequest(r); ok {
				io.WriteString(c, helloReply)
			}
			if reset {
				c.(*net.TCPConn).SetLinger(0)
			}
		})
		client := p.client(t)
		for i := range 30 {
			_, body, err := get(client, newRequest(t, "POST", "x"))
			if errors.Is(err, http1.ErrStale) {
				_, body, err = get(client, newRequest(t, "POST", "x"))
			}
			if err != nil || body != "hello" {
				t.Fatalf("request %d: %q, %v", i, body, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// TestNoReplyIsNotStale: a kept connection that ends when the server has its second request. The server may have been at
// work on it, however soon that is.
func TestNoReplyIsNotStale(t *testing.T) {
	for _, reset := range []bool{false, true} {
		p := newPeer(t, func(n int, c net.Conn, r *bufio.Reader) {
			readRequest(r)
			io.WriteString(c, helloReply)
			readRequest(r)
			if reset {
				c.(*net.TCPConn).SetLinger(0)
			}
		})
		client := p.client(t)
		get(client, newRequest(t, "GET", ""))
		rest()
		body := inMemory(strings.Repeat("x", 100))
		req := newRequest(t, "POST", "")
		req.Body, req.ContentLength = body, 100
		if _, _, err := get(client, req); !errors.Is(err, http1.ErrClosed) || errors.Is(err, http1.ErrStale) {
			t.Errorf("reset %v: %v", reset, err)
		}
		if body.closed.Load() != 1 {
			t.Errorf("the body was closed %d times", body.closed.Load())
		}
	}
}

func TestFreshConnectionIsNotStale(t *testing.T) {
	p := newPeer(t, func(_ int, c net.Conn, r *bufio.Reader) { readRequest(r) })
	if _, _, err := get(p.client(t), newRequest(t, "GET", "")); !errors.Is(err, http1.ErrClosed) || errors.Is(err, http1.ErrStale) {
		t.Error(err)
	}
}

// TestIdleNotice: a server's farewell to an idle connection is no reply, and costs it no trust.
func TestIdleNotice(t *testing.T) {
	p := newPeer(t, func(n int, c net.Conn, r *bufio.Reader) {
		readRequest(r)
		io.WriteString(c, helloReply)
		if n == 1 {
			time.Sleep(time.Millisecond)
			io.WriteString(c, "HTTP/1.1 408 Request Time-out\r\nConnection: close\r\n\r\n")
			return
		}
		answering(helloReply)(n, c, r)
	})
	client := p.client(t)
	for range 4 {
		if status, _, err := get(client, newRequest(t, "GET", "")); status != 200 || err != nil {
			t.Error(status, err)
		}
		rest()
	}
	if n := p.conns.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

func TestIdleLimits(t *testing.T) {
	p := newPeer(t, func(_ int, c net.Conn, r *bufio.Reader) {
		for {
			if _, _, ok := readRequest(r); !ok {
				return
			}
			time.Sleep(20 * time.Millisecond)
			io.WriteString(c, helloReply)
		}
	})
	var open atomic.Int32
	client := p.client(t)
	dial := client.Dial
	client.Dial = func(ctx context.Context) (net.Conn, error) {
		open.Add(1)
		c, err := dial(ctx)
		return &counted{c.(*net.TCPConn), &open, sync.Once{}}, err
	}
	client.MaxIdle, client.IdleTimeout = 3, 100*time.Millisecond
	before := runtime.NumGoroutine()
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if _, body, err := get(client, newRequest(t, "GET", "")); body != "hello" || err != nil {
				t.Error(body, err)
			}
		})
	}
	all.Wait()
	if n := open.Load(); n != 3 {
		t.Errorf("%d connections are kept, not 3", n)
	}
	if n := runtime.NumGoroutine() - before; n > 10+3 { // the peer's
		t.Errorf("%d goroutines more", n)
	}
	time.Sleep(300 * time.Millisecond)
	if n := open.Load(); n != 0 {
		t.Errorf("%d connections are kept after the limit", n)
	}
	get(client, newRequest(t, "GET", ""))
	if open.Load() != 1 {
		t.Error("no connection is kept any more")
	}
	client.CloseIdleConnections()
	if open.Load() != 0 {
		t.Error("CloseIdleConnections closed nothing")
	}
}

// counted is a connection that is counted while it is open.
type counted struct {
	*net.TCPConn
	open *atomic.Int32
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.TCPConn.Close()
}

// TestUnknownConnection: what can't be looked into is not used again.
func TestUnknownConnection(t *testing.T) {
	p := newPeer(t, answering(helloReply))
	client := p.client(t)
	dial := client.Dial
	client.Dial = func(ctx context.Context) (net.Conn, error) {
		c, err := dial(ctx)
		return struct{ net.Conn }{c}, err
	}
	for range 3 {
		if _, body, err := get(client, newRequest(t, "GET", "")); body != "hello" || err != nil {
			t.Error(body, err)
		}
		rest()
	}
	if n := p.conns.Load(); n != 3 {
		t.Errorf("%d connections", n)
	}
}

// TestRequestsThatEndTheConnection: so does the request's own wish.
func TestRequestsThatEndTheConnection(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"Close":      func(r *http.Request) { r.Close = true },
		"Connection": func(r *http.Request) { r.Header.Set("Connection", "close") },
		"Upgrade":    func(r *http.Request) { r.Header.Set("Upgrade", "websocket") },
	} {
		p := newPeer(t, answering(helloReply))
		client := p.client(t)
		for range 2 {
			req := newRequest(t, "GET", "")
			change(req)
			if _, _, err := get(client, req); err != nil {
				t.Error(name, err)
			}
			rest()
		}
		if n := p.conns.Load(); n != 2 {
			t.Errorf("%s: %d connections", name, n)
		}
	}
}
