package http1_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"proxycast/upstream/http1"
)

// TestCancel ends a request's context at each stage: the call returns its cause within 100 ms, the body is
// closed once and the server sees the end of the connection.
func TestCancel(t *testing.T) {
	large := strings.Repeat("x", 32<<20)
	quit := errors.New("quit")
	for _, c := range []struct {
		stage string
		body  string
		serve func(c net.Conn, r *bufio.Reader)
	}{
		{"before", "x", func(net.Conn, *bufio.Reader) {}},
		{"dial", "x", func(net.Conn, *bufio.Reader) {}},
		{"write", large, func(net.Conn, *bufio.Reader) { time.Sleep(300 * time.Millisecond) }},
		{"head", "x", func(c net.Conn, r *bufio.Reader) { readRequest(r) }},
		{"cut head", "x", func(c net.Conn, r *bufio.Reader) { readRequest(r); io.WriteString(c, "HTTP/1.1 200 O") }},
		{"body", "x", func(c net.Conn, r *bufio.Reader) { readRequest(r); io.WriteString(c, helloReply[:len(helloReply)-1]) }},
		{"idle body", "x", func(c net.Conn, r *bufio.Reader) {
			readRequest(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		}},
	} {
		t.Run(c.stage, func(t *testing.T) {
			gone := make(chan time.Time, 1)
			p := newPeer(t, func(_ int, conn net.Conn, r *bufio.Reader) {
				c.serve(conn, r)
				if c.stage != "write" {
					io.Copy(io.Discard, r)
				}
				gone <- time.Now()
			})
			client := p.client(t)
			if c.stage == "dial" {
				client.Dial = func(ctx context.Context) (net.Conn, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			body := inMemory(c.body)
			req := newRequest(t, "POST", "").WithContext(ctx)
			req.Body, req.ContentLength = body, int64(len(c.body))
			var ended time.Time
			end := func() { ended = time.Now(); cancel(quit) }
			if c.stage == "before" {
				end()
			} else {
				time.AfterFunc(60*time.Millisecond, end)
			}
			res, err := client.RoundTrip(req)
			if err == nil {
				_, err = io.ReadAll(res.Body)
				res.Body.Close()
			}
			if !errors.Is(err, quit) || time.Since(ended) > 100*time.Millisecond {
				t.Errorf("%v, after %v", err, time.Since(ended))
			}
			if n := body.closed.Load(); n != 1 {
				t.Errorf("the body was closed %d times", n)
			}
			if c.stage != "before" && c.stage != "dial" && c.stage != "write" {
				select {
				case at := <-gone:
					if d := at.Sub(ended); d > 100*time.Millisecond {
						t.Errorf("the server saw the end after %v", d)
					}
				case <-time.After(time.Second):
					t.Error("the connection stays open")
				}
			}
			client.CloseIdleConnections()
		})
	}
}

// TestCancelIsSeenWithoutARead: the server's call ends although nobody reads its reply.
func TestCancelIsSeenWithoutARead(t *testing.T) {
	gone := make(chan struct{})
	p := newPeer(t, func(_ int, c net.Conn, r *bufio.Reader) {
		readRequest(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nx")
		io.Copy(io.Discard, r)
		close(gone)
	})
	ctx, cancel := context.WithCancel(t.Context())
	res, err := p.client(t).RoundTrip(newRequest(t, "GET", "").WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case <-gone:
	case <-time.After(time.Second):
		t.Error("the connection stays open")
	}
	if _, err := io.ReadAll(res.Body); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	res.Body.Close()
}

// TestCancelAfterTheEnd leaves the connection alone, which may serve another by then.
func TestCancelAfterTheEnd(t *testing.T) {
	p := newPeer(t, answering(helloReply))
	client := p.client(t)
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		if _, body, err := get(client, newRequest(t, "GET", "").WithContext(ctx)); body != "hello" || err != nil {
			t.Fatal(body, err)
		}
		rest()
		cancel()
	}
	if n := p.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestDialError passes the dialer's error on.
func TestDialError(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: errors.New("refused")}
	body := inMemory("x")
	req := newRequest(t, "POST", "")
	req.Body = body
	client := &http1.Transport{Dial: func(context.Context) (net.Conn, error) { return nil, refused }}
	if _, err := client.RoundTrip(req); err != error(refused) {
		t.Error(err)
	}
	if body.closed.Load() != 1 {
		t.Error("the body is open")
	}
}

var _ http.RoundTripper = (*http1.Transport)(nil)
