package server_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"proxycast/logs"
	"proxycast/server"
)

type running struct {
	t     *testing.T
	s     *server.Server
	dir   string
	addr  string
	stop  func()
	ended chan error
}

func (g *running) write(text string) {
	text = strings.ReplaceAll(text, "KEYS", fmt.Sprintf(`"auth":{"keys":[{"name":"a","key":%q,"admin":true}]}`, adminKey))
	if err := os.WriteFile(filepath.Join(g.dir, "config.json"), []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

func runGateway(t *testing.T, text string) *running {
	g := &running{t: t, dir: t.TempDir(), ended: make(chan error, 1)}
	g.write(text)
	cfg, err := server.Load(filepath.Join(g.dir, "config.json"), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	if g.s, err = server.Open(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	g.stop = stop
	listening := make(chan net.Addr, 1)
	go func() { g.ended <- g.s.Run(ctx, func(a net.Addr) { listening <- a }) }()
	g.addr = (<-listening).String()
	return g
}

func (g *running) end() {
	g.stop()
	<-g.ended
	g.s.Close()
}

// To open a gateway to the network is to change the host and keep the port.
func TestRestartToAnotherHostOnTheSamePort(t *testing.T) {
	port := freePort(t)
	g := runGateway(t, fmt.Sprintf(`{"server":{"port":%d},KEYS}`, port))
	defer g.end()
	g.write(fmt.Sprintf(`{"server":{"host":"0.0.0.0","port":%d},KEYS}`, port))
	if err := g.s.Restart(); err != nil {
		t.Error(err)
	}
}

// On an error all stays as it was.
func TestFailedRestartChangesNothing(t *testing.T) {
	port := freePort(t)
	g := runGateway(t, fmt.Sprintf(`{"server":{"port":%d},KEYS}`, port))
	defer g.end()
	other, err := logs.Open(logs.Config{File: filepath.Join(g.dir, "taken.jsonl"), MaxFile: 1 << 20, MaxTotal: 1 << 21, Ring: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	g.write(fmt.Sprintf(`{"server":{"port":%d},"logs":{"file":"taken.jsonl"},"auth":{"keys":[{"name":"b","key":"another-key-0123456789abcdef"}]}}`, port))
	if err := g.s.Restart(); err == nil {
		t.Fatal("a restart onto a log that another program has succeeded")
	}
	req, _ := http.NewRequest("GET", "http://"+g.addr+"/v1/models", nil)
	req.Header.Set("X-Api-Key", adminKey)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("after a failed restart the key of the old config gets %d", res.StatusCode)
	}
}

// listenerInode returns what identifies the socket that listens on port.
func listenerInode(t *testing.T, port int) uint64 {
	t.Helper()
	for fd := 3; fd < 1000; fd++ {
		sa, err := syscall.Getsockname(fd)
		if in, ok := sa.(*syscall.SockaddrInet4); err != nil || !ok || in.Port != port {
			continue
		}
		var st syscall.Stat_t
		if v, _ := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN); v == 1 && syscall.Fstat(fd, &st) == nil {
			return st.Ino
		}
	}
	t.Fatalf("nothing listens on port %d", port)
	return 0
}

// ask sends a request of a kept key with a Host header, and returns the status.
func (g *running) ask(host string) int {
	g.t.Helper()
	req, _ := http.NewRequest("GET", "http://"+g.addr+"/v1/models", nil)
	req.Host = host
	req.Header.Set("X-Api-Key", adminKey)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		g.t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

// A restart whose address cannot be had leaves the listener, the log and the config
// as they were: 1. another program has part of the address, so that letting go of
// ours does not help; 2. the machine does not have the address, so that nothing would.
func TestFailedRestartKeepsListenerAndLog(t *testing.T) {
	for _, host := range []string{"0.0.0.0", "192.0.2.1"} {
		port := freePort(t)
		g := runGateway(t, fmt.Sprintf(`{"server":{"port":%d},KEYS}`, port))
		if host == "0.0.0.0" {
			other, err := net.Listen("tcp", fmt.Sprintf("127.0.0.2:%d", port))
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
		}
		before := listenerInode(t, port)
		g.write(fmt.Sprintf(`{"server":{"host":%q,"port":%d},"logs":{"file":"new.jsonl"},KEYS}`, host, port))
		if err := g.s.ReloadFile(); err != nil {
			t.Fatal(err)
		}
		if err := g.s.Restart(); err == nil {
			t.Fatalf("a restart onto %s succeeded", host)
		}
		if host != "0.0.0.0" && listenerInode(t, port) != before {
			t.Errorf("%s: the listener was let go of", host)
		}
		if status := g.ask("127.0.0.1"); status != 200 {
			t.Errorf("%s: status %d", host, status)
		}
		old, _ := os.ReadFile(filepath.Join(g.dir, "data", "requests.jsonl"))
		if !strings.Contains(string(old), `"/v1/models"`) {
			t.Errorf("%s: the record went elsewhere", host)
		}
		if got := strings.Join(g.s.NeedRestart(), " "); got != "logs server.host" {
			t.Errorf("%s: a restart is needed for %q", host, got)
		}
		g.end()
	}
}

// A restart that fails goes back to the old address with the certificate that it had,
// though its files are gone.
func TestFailedRestartKeepsCertificate(t *testing.T) {
	certs, port := t.TempDir(), freePort(t)
	writeCertificate(t, certs)
	g := runGateway(t, fmt.Sprintf(`{"server":{"port":%d,"tls":{"cert":%q,"key":%q}},KEYS}`, port, certs+"/c.pem", certs+"/k.pem"))
	defer g.end()
	other, err := net.Listen("tcp", fmt.Sprintf("127.0.0.2:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	os.Remove(certs + "/c.pem")
	g.write(fmt.Sprintf(`{"server":{"host":"0.0.0.0","port":%d},KEYS}`, port))
	if err := g.s.Restart(); err == nil {
		t.Fatal("a restart onto an address in use succeeded")
	}
	c, err := tls.Dial("tcp", g.addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatalf("the old address is not served: %v", err)
	}
	c.Close()
}

// The Host check is about the listener that there is, not the one in the file.
func TestHostCheckFollowsTheListener(t *testing.T) {
	for _, c := range []struct {
		listens, file string
		want          int
	}{{"127.0.0.1", "0.0.0.0", 403}, {"0.0.0.0", "127.0.0.1", 200}} {
		port := freePort(t)
		g := runGateway(t, fmt.Sprintf(`{"server":{"host":%q,"port":%d},KEYS}`, c.listens, port))
		g.addr = fmt.Sprintf("127.0.0.1:%d", port)
		before := g.ask("gateway.example")
		g.write(fmt.Sprintf(`{"server":{"host":%q,"port":%d},KEYS}`, c.file, port))
		if err := g.s.ReloadFile(); err != nil {
			t.Fatal(err)
		}
		if after := g.ask("gateway.example"); before != c.want || after != c.want {
			t.Errorf("listening on %s: %d before the reload, %d after it, want %d", c.listens, before, after, c.want)
		}
		if err := g.s.Restart(); err != nil {
			t.Fatal(err)
		}
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		if status := g.ask("gateway.example"); status == c.want {
			t.Errorf("after the restart onto %s: %d", c.file, status)
		}
		g.end()
	}
}

// A restart on the same address leaves nothing behind.
func TestRestartsLeaveNothing(t *testing.T) {
	port := freePort(t)
	config := func(i int) string {
		return fmt.Sprintf(`{"server":{"port":%d,"max_connections":%d},KEYS}`, port, 100+i%2)
	}
	g := runGateway(t, config(0))
	defer g.end()
	restart := func(from, to int) {
		for i := from; i < to; i++ {
			g.write(config(i))
			if err := g.s.Restart(); err != nil {
				t.Fatal(err)
			}
		}
	}
	restart(1, 3)
	g.ask("127.0.0.1")
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	before := runtime.NumGoroutine()
	restart(3, 203)
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines before 200 restarts, %d after", before, after)
	}
}

// The drain of the config in force counts.
func TestDrainIsReloaded(t *testing.T) {
	g := runGateway(t, fmt.Sprintf(`{"server":{"port":%d,"drain":"6s"},KEYS}`, freePort(t)))
	g.write(fmt.Sprintf(`{"server":{"port":%d,"drain":"100ms"},KEYS}`, freePort(t)))
	text, _ := os.ReadFile(filepath.Join(g.dir, "config.json"))
	port := g.addr[strings.LastIndex(g.addr, ":")+1:]
	at := strings.Index(string(text), `"port":`) + 7
	end := at + strings.IndexByte(string(text[at:]), ',')
	g.write(string(text[:at]) + port + string(text[end:]))
	if err := g.s.Restart(); err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequest("POST", "http://"+g.addr+"/v1/chat/completions", strings.NewReader(`{"model":"demo-slow","stream":true,"messages":[{"role":"user","content":"hi there, tell me a long story about gateways"}]}`))
	req.Header.Set("X-Api-Key", adminKey)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	go io.Copy(io.Discard, res.Body)
	start := time.Now()
	g.end()
	t.Logf("need restart: %v; status %d; ended after %v", g.s.NeedRestart(), res.StatusCode, time.Since(start))
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("the drain took %v", d)
	}
}

// A listener that fails ends Run, restarts before it or not.
func TestRunEndsWithItsListener(t *testing.T) {
	for _, restart := range []bool{false, true} {
		port := freePort(t)
		g := runGateway(t, fmt.Sprintf(`{"server":{"port":%d},KEYS}`, port))
		if restart {
			g.write(fmt.Sprintf(`{"server":{"port":%d,"max_connections":9},KEYS}`, port))
			if err := g.s.Restart(); err != nil {
				t.Fatal(err)
			}
		}
		for fd := 3; fd < 200; fd++ {
			if sa, err := syscall.Getsockname(fd); err == nil {
				if in, ok := sa.(*syscall.SockaddrInet4); ok && in.Port == port {
					if v, _ := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN); v == 1 {
						syscall.Shutdown(fd, syscall.SHUT_RDWR)
					}
				}
			}
		}
		select {
		case err := <-g.ended:
			t.Logf("restart %v: %v", restart, err)
		case <-time.After(3 * time.Second):
			t.Errorf("restart %v: Run hangs", restart)
		}
	}
}

// A client that does not read at the end of the drain has its record all the same.
func TestStalledClientAtShutdownIsRecorded(t *testing.T) {
	lost := 0
	const rounds = 3
	for range rounds {
		provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "text/event-stream")
			event := `data: {"choices":[{"index":0,"delta":{"content":"` + strings.Repeat("x", 32<<10) + `"}}]}` + "\n\n"
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, event); err != nil {
					return
				}
			}
		}))
		g := runGateway(t, fmt.Sprintf(`{"server":{"port":%d,"drain":"100ms"},KEYS,"upstream":{"providers":[{"name":"p","type":"openai","base_url":%q,"models":["m"],"proxy":"none"}]}}`, freePort(t), provider.URL))
		const clients = 30
		for range clients {
			c, err := net.Dial("tcp", g.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.(*net.TCPConn).SetReadBuffer(4096)
			body := `{"model":"m","stream":true}`
			fmt.Fprintf(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Api-Key: %s\r\nContent-Length: %d\r\n\r\n%s", adminKey, len(body), body)
			if line, err := bufio.NewReaderSize(c, 16).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
				t.Fatal(line, err)
			}
		}
		time.Sleep(500 * time.Millisecond) // all the buffers are full
		g.end()
		text, _ := os.ReadFile(filepath.Join(g.dir, "data", "requests.jsonl"))
		if n := strings.Count(string(text), "\n"); n != clients {
			lost += clients - n
		}
		provider.CloseClientConnections()
		provider.Close()
	}
	if lost > 0 {
		t.Errorf("%d records are missing", lost)
	}
}

func writeCertificate(t *testing.T, dir string) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	k, _ := x509.MarshalPKCS8PrivateKey(key)
	os.WriteFile(filepath.Join(dir, "c.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
	os.WriteFile(filepath.Join(dir, "k.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k}), 0o600)
}

// A renewed certificate under the same name is served after a restart, to the very
// next connection.
func TestRestartTakesARenewedCertificate(t *testing.T) {
	certs := t.TempDir()
	writeCertificate(t, certs)
	g := runGateway(t, fmt.Sprintf(`{"server":{"port":%d,"tls":{"cert":%q,"key":%q}},KEYS}`, freePort(t), certs+"/c.pem", certs+"/k.pem"))
	defer g.end()
	serial := func() *big.Int {
		c, err := tls.Dial("tcp", g.addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber
	}
	for range 30 {
		before := serial()
		writeCertificate(t, certs)
		if err := g.s.Restart(); err != nil {
			t.Fatal(err)
		}
		if before.Cmp(serial()) == 0 {
			t.Fatal("the old certificate is still served")
		}
	}
}
