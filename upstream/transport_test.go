package upstream

import (
	"crypto/x509"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"proxycast/upstream/dialect"
)

// ask relays one request to a provider and gives the client's view. change, if not
// nil, prepares the provider's transport.
func ask(t *testing.T, cfg ProviderConfig, change func(*http.Transport)) string {
	t.Helper()
	cfg.Name, cfg.Type, cfg.Models = "p", typeOpenAI, []string{"*"}
	p, err := New(Config{Providers: []ProviderConfig{cfg}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := p.providers[0].transport.(*http.Transport)
	defer transport.CloseIdleConnections()
	if change != nil {
		change(transport)
	}
	const text = `{"model":"m","messages":[]}`
	body, err := NewBuffers(1<<20).Read(strings.NewReader(text), int64(len(text)), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	q, err := dialect.Parse(dialect.ChatCompletions, body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	rep := p.Relay(w, httptest.NewRequest("POST", "/v1/chat/completions", nil), &q, body, "")
	if rep.Err != nil {
		return rep.Err.Message
	}
	return w.Body.String()
}

func TestHTTP2ToProvider(t *testing.T) {
	provider := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"proto":"`+r.Proto+`"}`)
	}))
	provider.EnableHTTP2 = true
	provider.StartTLS()
	defer provider.Close()
	trust := func(tr *http.Transport) {
		tr.TLSClientConfig.RootCAs = x509.NewCertPool()
		tr.TLSClientConfig.RootCAs.AddCert(provider.Certificate())
	}
	if got := ask(t, ProviderConfig{BaseURL: provider.URL, Proxy: "none"}, trust); got != `{"proto":"HTTP/2.0"}` {
		t.Errorf("the provider was called so: %s", got)
	}
	if got := ask(t, ProviderConfig{BaseURL: provider.URL, Proxy: "none"}, nil); !strings.Contains(got, "certificate was not accepted") {
		t.Errorf("a certificate that nobody signed: %s", got)
	}
}

func TestHTTPProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}).BasicAuth()
		io.WriteString(w, `{"asked":"`+r.URL.String()+`","as":"`+user+":"+password+`"}`)
	}))
	defer proxy.Close()
	address := strings.Replace(proxy.URL, "http://", "http://me:secret@", 1)
	got := ask(t, ProviderConfig{BaseURL: "http://provider.example", Proxy: address}, nil)
	if got != `{"asked":"http://provider.example/v1/chat/completions","as":"me:secret"}` {
		t.Errorf("the proxy was asked so: %s", got)
	}
}

func TestSOCKSProxy(t *testing.T) {
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"host":"`+r.Host+`"}`)
	}))
	defer provider.Close()
	target, err := url.Parse(provider.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy, names := socksProxy(t, target.Host)
	got := ask(t, ProviderConfig{BaseURL: "http://provider.example:8080", Proxy: "socks5://" + proxy}, nil)
	if name := <-names; got != `{"host":"provider.example:8080"}` || name != "provider.example:8080" {
		t.Errorf("the proxy was asked for %s, the provider answered %s", name, got)
	}
}

// socksProxy runs a SOCKS5 proxy (RFC 1928, no authentication) for one connection,
// which it leads to target. names tells what it was asked for.
func socksProxy(t *testing.T, target string) (address string, names <-chan string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 1)
	done := make(chan struct{})
	t.Cleanup(func() {
		ln.Close()
		<-done
	})
	go func() {
		defer close(done)
		client, err := ln.Accept()
		if err != nil {
			return
		}
		defer client.Close()
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
	}()
	return ln.Addr().String(), asked
}
