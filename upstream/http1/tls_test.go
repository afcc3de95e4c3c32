package http1_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"proxycast/upstream/http1"
)

// newTLSPeer is a peer behind TLS, with a certificate for example.com. It tells the name it was asked for.
func newTLSPeer(t testing.TB, names chan<- string, serve func(n int, c *tls.Conn, r *bufio.Reader)) (*peer, *tls.Config) {
	authority := httptest.NewUnstartedServer(nil)
	authority.StartTLS()
	t.Cleanup(authority.Close)
	config := &tls.Config{
		Certificates: authority.TLS.Certificates,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if names != nil {
				names <- hello.ServerName
			}
			return nil, nil
		},
	}
	p := newPeer(t, func(n int, c net.Conn, r *bufio.Reader) {
		secure := tls.Server(c, config)
		serve(n, secure, bufio.NewReader(secure))
	})
	return p, authority.Client().Transport.(*http.Transport).TLSClientConfig
}

func (p *peer) tlsClient(t testing.TB, config *tls.Config, name string) *http1.Transport {
	c := &http1.Transport{Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", p.addr)
		if err != nil {
			return nil, err
		}
		config := config.Clone()
		config.ServerName = name
		secure := http1.TLSClient(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		return secure, nil
	}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func TestTLS(t *testing.T) {
	names := make(chan string, 9)
	p, config := newTLSPeer(t, names, func(n int, c *tls.Conn, r *bufio.Reader) { answering(helloReply)(n, c, r) })
	client := p.tlsClient(t, config, "example.com")
	for range 3 {
		req := newRequest(t, "POST", strings.Repeat("x", 100<<10))
		res, err := client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); string(body) != "hello" || err != nil || res.TLS == nil || res.TLS.ServerName != "example.com" {
			t.Errorf("%q, %v, %+v", body, err, res.TLS)
		}
		rest()
	}
	if name := <-names; name != "example.com" || p.conns.Load() != 1 {
		t.Errorf("asked for %q over %d connections", name, p.conns.Load())
	}
	var invalid *tls.CertificateVerificationError
	if _, _, err := get(p.tlsClient(t, config, "other.test"), newRequest(t, "GET", "")); !errors.As(err, &invalid) {
		t.Errorf("wrong name: %v", err)
	}
	if _, _, err := get(p.tlsClient(t, &tls.Config{}, "example.com"), newRequest(t, "GET", "")); !errors.As(err, &invalid) {
		t.Errorf("unknown authority: %v", err)
	}
}

// TestTLSTruncation: without TLS' own end, a body that only the end of its connection ends is not whole.
func TestTLSTruncation(t *testing.T) {
	for _, cut := range []bool{false, true} {
		p, config := newTLSPeer(t, nil, func(_ int, c *tls.Conn, r *bufio.Reader) {
			readRequest(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nhello")
			if !cut {
				c.Close()
			}
		})
		_, body, err := get(p.tlsClient(t, config, "example.com"), newRequest(t, "GET", ""))
		if want := map[bool]error{false: nil, true: io.ErrUnexpectedEOF}[cut]; body != "hello" || err != want {
			t.Errorf("cut %v: %q, %v", cut, body, err)
		}
	}
}

// TestTLSReadAhead: what TLS holds beyond the reply ends the connection, however records are cut.
func TestTLSReadAhead(t *testing.T) {
	second := "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nforeign"
	for _, writes := range [][]string{{helloReply + second}, {helloReply, second}, {helloReply[:40], helloReply[40:] + second}} {
		p, config := newTLSPeer(t, nil, func(_ int, c *tls.Conn, r *bufio.Reader) {
			for {
				if _, _, ok := readRequest(r); !ok {
					return
				}
				for _, text := range writes {
					io.WriteString(c, text)
				}
			}
		})
		client := p.tlsClient(t, config, "example.com")
		for range 10 {
			if _, body, err := get(client, newRequest(t, "GET", "")); body != "hello" || err != nil {
				t.Error(body, err)
			}
			rest()
		}
		if n := p.conns.Load(); n != 10 {
			t.Errorf("%q: %d connections", writes, n)
		}
	}
}

// TestTLSInTLS: a connection through an https:// proxy is kept as well.
func TestTLSInTLS(t *testing.T) {
	inner := make(chan *tls.Config, 1)
	p, config := newTLSPeer(t, nil, func(n int, c *tls.Conn, r *bufio.Reader) {
		secure := tls.Server(c, <-inner)
		answering(helloReply)(n, secure, bufio.NewReader(secure))
	})
	authority := httptest.NewTLSServer(nil)
	defer authority.Close()
	inner <- &tls.Config{Certificates: authority.TLS.Certificates}
	client := p.tlsClient(t, config, "example.com")
	dial := client.Dial
	client.Dial = func(ctx context.Context) (net.Conn, error) {
		outer, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		config := config.Clone()
		config.ServerName = "example.com"
		return http1.TLSClient(outer, config), nil
	}
	for range 3 {
		if _, body, err := get(client, newRequest(t, "GET", "")); body != "hello" || err != nil {
			t.Fatal(body, err)
		}
		rest()
	}
	if n := p.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestIPv6(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil && os.Getenv("PROXYCAST_FULL") == "1" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip("needs IPv6: ", err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) }))
	server.Listener.Close()
	server.Listener = l
	server.Start()
	defer server.Close()
	client := (&peer{addr: l.Addr().String()}).client(t)
	req, _ := http.NewRequest("GET", server.URL, nil)
	if _, body, err := get(client, req); body != l.Addr().String() || err != nil {
		t.Error(body, err)
	}
	client.CloseIdleConnections()
}
