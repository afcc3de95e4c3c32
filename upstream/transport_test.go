package upstream

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"proxycast/upstream/dialect"
)

// ask relays one request to a provider and returns the client's view.
func ask(t *testing.T, cfg ProviderConfig) string {
	t.Helper()
	cfg.Name, cfg.Type, cfg.Models = "p", typeOpenAI, []string{"*"}
	p, err := New(Config{Providers: []ProviderConfig{cfg}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.providers[0].transport.(interface{ CloseIdleConnections() }).CloseIdleConnections()
	w, rep := relayText(t, p, NewBuffers(1<<20, 1<<40), dialect.Embeddings, `{"model":"m","messages":[]}`)
	if rep.Err != nil {
		return rep.Err.Message
	}
	return w.Body.String()
}

// clients runs a test with either client of providers.
func clients(t *testing.T, test func(t *testing.T, client string)) {
	for name, client := range map[string]string{"own": "", "net/http": httpTransport} {
		t.Run(name, func(t *testing.T) { test(t, client) })
	}
}

// trust returns the roots that know a test server's certificate.
func trust(s *httptest.Server) *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return roots
}

// relayText relays a chat request.
func relayText(t *testing.T, p *Proxy, buffers *Buffers, e dialect.Endpoint, text string) (*httptest.ResponseRecorder, Report) {
	t.Helper()
	body, err := buffers.Read("", strings.NewReader(text), int64(len(text)), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	q, err := dialect.Parse(e, body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	return w, p.Relay(w, httptest.NewRequest("POST", "/v1/chat/completions", nil), &q, body, "")
}

func TestTLSToProvider(t *testing.T) {
	provider := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"proto":"`+r.Proto+`"}`)
	}))
	provider.EnableHTTP2 = true
	provider.StartTLS()
	defer provider.Close()
	for client, proto := range map[string]string{"": "HTTP/1.1", httpTransport: "HTTP/2.0"} {
		if got := ask(t, ProviderConfig{BaseURL: provider.URL, Proxy: "none", HTTP: client, roots: trust(provider)}); got != `{"proto":"`+proto+`"}` {
			t.Errorf("the provider was called so: %s", got)
		}
		if got := ask(t, ProviderConfig{BaseURL: provider.URL, Proxy: "none", HTTP: client}); !strings.Contains(got, "certificate was not accepted") {
			t.Errorf("a certificate that nobody signed: %s", got)
		}
	}
}

func TestHTTPProxy(t *testing.T) {
	clients(t, func(t *testing.T, client string) {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, password, _ := (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}).BasicAuth()
			io.WriteString(w, `{"asked":"`+r.URL.String()+`","as":"`+user+":"+password+`"}`)
		}))
		defer proxy.Close()
		address := strings.Replace(proxy.URL, "http://", "http://me:secret@", 1)
		got := ask(t, ProviderConfig{BaseURL: "http://provider.example", Proxy: address, HTTP: client})
		if got != `{"asked":"http://provider.example/v1/embeddings","as":"me:secret"}` {
			t.Errorf("the proxy was asked so: %s", got)
		}
	})
}

func TestSOCKSProxy(t *testing.T) {
	clients(t, func(t *testing.T, client string) {
		provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"host":"`+r.Host+`"}`)
		}))
		defer provider.Close()
		target, err := url.Parse(provider.URL)
		if err != nil {
			t.Fatal(err)
		}
		proxy, names := socksProxy(t, target.Host)
		got := ask(t, ProviderConfig{BaseURL: "http://provider.example:8080", Proxy: "socks5://" + proxy, HTTP: client})
		if name := <-names; got != `{"host":"provider.example:8080"}` || name != "provider.example:8080" {
			t.Errorf("the proxy was asked for %s, the provider answered %s", name, got)
		}
	})
}

// serveOne gives the first connection to serve, which the test waits for.
func serveOne(t *testing.T, serve func(client net.Conn)) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		ln.Close()
		<-done
	})
	go func() {
		defer close(done)
		if client, err := ln.Accept(); err == nil {
			defer client.Close()
			serve(client)
		}
	}()
	return ln.Addr().String()
}

// socksProxy runs a SOCKS5 proxy (RFC 1928, no authentication) for one connection,
// which it leads to target. names tells what it was asked for.
func socksProxy(t *testing.T, target string) (address string, names <-chan string) {
	asked := make(chan string, 1)
	return serveOne(t, func(client net.Conn) {
		head := make([]byte, 2)
		io.ReadFull(client, head)
		io.ReadFull(client, make([]byte, head[1])) // the methods that are offered
		client.Write([]byte{5, 0})
		request := make([]byte, 5) // version, connect, reserved, name, its length
		io.ReadFull(client, request)
		name := make([]byte, int(request[4])+2)
		io.ReadFull(client, name)
		port := binary.BigEndian.Uint16(name[len(name)-2:])
		asked <- net.JoinHostPort(string(name[:len(name)-2]), strconv.Itoa(int(port)))
		provider, err := net.Dial("tcp", target)
		if err != nil {
			return
		}
		defer provider.Close()
		client.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		go io.Copy(provider, client)
		io.Copy(client, provider)
	}), asked
}

// silentPeer accepts connections and never answers.
func silentPeer(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String() // the kernel completes the handshake of TCP
}

// timeouts.connect covers the whole way to a usable connection: TCP, the proxy's part and TLS under one limit.
func TestConnectIsOneLimit(t *testing.T) {
	const limit = 300 * time.Millisecond
	for _, c := range []struct{ name, base, proxy string }{
		{"TLS", "https://" + silentPeer(t), "none"},
		{"SOCKS", "http://provider.example", "socks5://" + silentPeer(t)},
		{"SOCKS, then TLS", "https://provider.example", "socks5://" + silentPeer(t)},
		{"CONNECT", "https://provider.example", "http://" + silentPeer(t)},
		{"TLS to the proxy", "https://provider.example", "https://" + silentPeer(t)},
		{"TLS to the proxy of a plain call", "http://provider.example", "https://" + silentPeer(t)},
	} {
		clients(t, func(t *testing.T, client string) {
			start := time.Now()
			got := ask(t, ProviderConfig{BaseURL: c.base, Proxy: c.proxy, HTTP: client, Timeouts: Timeouts{Connect: limit, Total: 3 * time.Second}})
			if took := time.Since(start); took < limit || took > 2*limit || !strings.Contains(got, "timeouts.connect") {
				t.Errorf("%s: after %v: %s", c.name, took, got)
			}
		})
	}
}

// A proxy that is slow within the limit leaves only the rest of it to TLS.
func TestConnectLimitIsShared(t *testing.T) {
	const limit = 300 * time.Millisecond
	proxy := connectProxy(t, "HTTP/1.1 200 OK\r\n\r\n", 200*time.Millisecond)
	start := time.Now()
	got := ask(t, ProviderConfig{BaseURL: "https://provider.example", Proxy: proxy, Timeouts: Timeouts{Connect: limit, Total: 3 * time.Second}})
	if took := time.Since(start); took > 450*time.Millisecond || !strings.Contains(got, "timeouts.connect") {
		t.Errorf("after %v: %s", took, got)
	}
}

func TestConnectRefused(t *testing.T) {
	proxy := connectProxy(t, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", 0)
	if got := ask(t, ProviderConfig{BaseURL: "https://provider.example", Proxy: proxy}); !strings.Contains(got, "through its proxy") {
		t.Error(got)
	}
}

// connectProxy runs an HTTP proxy that answers one CONNECT with answer and is silent from then on.
func connectProxy(t *testing.T, answer string, after time.Duration) string {
	return "http://" + serveOne(t, func(client net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(client)); err != nil {
			return
		}
		time.Sleep(after)
		io.WriteString(client, answer)
		client.SetReadDeadline(time.Now().Add(3 * time.Second))
		io.Copy(io.Discard, client)
	})
}

// An HTTPS provider behind an HTTP proxy, over HTTP/2 too.
func TestConnectTunnel(t *testing.T) {
	provider := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"proto":"`+r.Proto+`"}`)
	}))
	provider.EnableHTTP2 = true
	provider.StartTLS()
	defer provider.Close()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}).BasicAuth(); r.Method != "CONNECT" || user != "me" || password != "secret" {
			t.Errorf("%s as %s:%s", r.Method, user, password)
		}
		to, err := net.Dial("tcp", r.Host)
		if err != nil {
			t.Error(err)
			return
		}
		defer to.Close()
		from, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer from.Close()
		io.WriteString(from, "HTTP/1.1 200 Connection established\r\n\r\n")
		go io.Copy(to, from)
		io.Copy(from, to)
	}))
	defer proxy.Close()
	through := strings.Replace(proxy.URL, "http://", "http://me:secret@", 1)
	for client, proto := range map[string]string{"": "HTTP/1.1", httpTransport: "HTTP/2.0"} {
		got := ask(t, ProviderConfig{BaseURL: provider.URL, Proxy: through, HTTP: client, roots: trust(provider)})
		if got != `{"proto":"`+proto+`"}` {
			t.Error(got)
		}
	}
}

// The texts of net/http, as the Go of go.mod writes them.
func TestClassify(t *testing.T) {
	for text, want := range map[string]cause{
		"http: server closed idle connection":                                                 closedWhileIdle,
		"net/http: HTTP/1.x transport connection broken: http: server closed idle connection": closedWhileIdle,
		"proxyconnect tcp: EOF":                                                               badProxy,
		"remote error: tls: bad certificate":                                                  badTLS,
		"x509: certificate signed by unknown authority":                                       badTLS,
		`net/http: HTTP/1.x transport connection broken: malformed HTTP response "hello"`:     badHTTP,
		"net/http: HTTP/1.x transport connection broken: malformed MIME header line: x":       badHTTP,
		"net/http: server response headers exceeded 262144 bytes; aborted":                    badHTTP,
		"EOF":            closedEarly,
		"unexpected EOF": closedEarly,
		"read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer":                                                                                                             closedEarly,
		"http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR":                                                                                         closedEarly,
		"http2: Transport: cannot retry err [http2: Transport received Server's graceful shutdown GOAWAY] after Request.Body was written; define Request.GetBody to avoid this error":   closedWhileIdle,
		"http2: Transport: cannot retry err [stream error: stream ID 1; REFUSED_STREAM; received from peer] after Request.Body was written; define Request.GetBody to avoid this error": closedWhileIdle,
		"something else": unexplained,
	} {
		if got := classify(errors.New(text)); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
	for _, c := range []struct {
		err  error
		want cause
	}{
		{&net.DNSError{Err: "no such host", IsNotFound: true}, unresolved},
		{&connectError{unreachable, syscall.ECONNREFUSED}, unreachable},
		{&net.OpError{Op: "proxyconnect", Net: "tcp", Err: &connectError{badTLS, io.EOF}}, badProxy},
		{&net.OpError{Op: "proxyconnect", Net: "tcp", Err: &connectError{badTLS, context.DeadlineExceeded}}, connectTimeout},
		{&connectError{badProxy, os.ErrDeadlineExceeded}, connectTimeout},
	} {
		if got := classify(c.err); got != c.want {
			t.Errorf("%v: got %d, want %d", c.err, got, c.want)
		}
	}
}
