//go:build unix

// Signals, pipes and files: what surrounds the process may die, block or lie, and the
// gateway serves on, reloads, and ends when it is told to.
package gateway_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// aKey is one that a reload adds.
const aKey = "added-key-0123456789abcdef"

// admits reports whether the gateway takes a key.
func (g *gateway) admits(t testing.TB, key string) bool {
	t.Helper()
	return g.Send(t, "GET", "/v1/models", "", "Authorization: Bearer "+key).Status == 200
}

// addKey adds a key to the config file. From then on cfg has it, too.
func (g *gateway) addKey(t testing.TB, cfg object, key string) {
	t.Helper()
	cfg = harness.WithDefaults(cfg)
	cfg["server"].(object)["port"] = g.Port()
	cfg["auth"].(object)["keys"] = append(cfg["auth"].(object)["keys"].(list), object{"name": "added", "key": key})
	harness.WriteConfig(t, g.Dir, cfg)
}

// certify writes a new self-signed certificate and its key into dir.
func certify(t testing.TB, dir string, serial int64) object {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return object{
		"cert": harness.WriteFile(t, dir, "cert.pem", block("CERTIFICATE", cert)),
		"key":  harness.WriteFile(t, dir, "key.pem", block("PRIVATE KEY", private)),
	}
}

// served returns the serial number of the certificate that a new connection gets.
func (g *gateway) served(t testing.TB) int64 {
	t.Helper()
	conn, err := tls.Dial("tcp", g.Addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// Whoever read stdout and stderr is gone: what is said then goes nowhere.
func TestDeadReaders(t *testing.T) {
	cfg := object{"server": object{"tls": certify(t, t.TempDir(), 1)}}
	piped, stdout, stderr := harness.StartPiped(t, cfg, false)
	g := &gateway{piped}
	stdout.Close()
	stderr.Close()
	for range 3 {
		conn, err := net.Dial("tcp", g.Addr) // a failed handshake is told of
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
		conn.Close()
	}
	g.addKey(t, cfg, aKey)
	g.Signal(t, syscall.SIGHUP)
	harness.Eventually(t, "the reload", func() bool { return g.admits(t, aKey) })
	if err := os.RemoveAll(filepath.Join(g.Dir, "data")); err != nil { // the log is told of
		t.Fatal(err)
	}
	g.admits(t, aKey)
	g.Signal(t, syscall.SIGTERM)
	if code := g.Exit(t, harness.Patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A reader of stderr that does not read holds nothing up.
func TestFullPipe(t *testing.T) {
	p := harness.NewProvider(t, ok(chatReply).serve(whole))
	cfg := relayTo(p, "openai")
	piped, _, _ := harness.StartPiped(t, cfg, true)
	g := &gateway{piped}
	for range 200 {
		if r := g.Send(t, "GET", "/_status", "", "Authorization: Bearer wrong"); r.Status != 401 {
			t.Fatalf("%d %s", r.Status, r.Body)
		}
	}
	for i := range 3 {
		key := fmt.Sprint(aKey, i)
		g.addKey(t, cfg, key)
		g.Signal(t, syscall.SIGHUP)
		harness.Eventually(t, "a reload", func() bool { return g.admits(t, key) })
	}
	if r := g.Send(t, "POST", "/v1/chat/completions", chatRequest); r.Status != 200 {
		t.Errorf("%d %s", r.Status, r.Body)
	}
	g.Signal(t, syscall.SIGTERM)
	if code := g.Exit(t, harness.Patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// streams begins n streams and returns how each of them ends.
func (g *gateway) streams(t *testing.T, n int) (ended func() (texts []string, errs []error)) {
	t.Helper()
	all := make([]*bufio.Reader, n)
	for i := range all {
		_, all[i] = g.stream(t)
	}
	return func() (texts []string, errs []error) {
		for _, in := range all {
			text, err := io.ReadAll(in)
			texts, errs = append(texts, string(text)), append(errs, err)
		}
		return texts, errs
	}
}

// Ctrl-C on `proxycast 2>&1 | tee` ends tee at once, and the gateway when its streams are
// through.
func TestInterruptedPipeline(t *testing.T) {
	const n = 10
	more := make(chan struct{})
	p := harness.NewProvider(t, heldStream(more))
	piped, stdout, stderr := harness.StartPiped(t, relayTo(p, "openai"), false)
	g := &gateway{piped}
	ended := g.streams(t, n)
	stdout.Close()
	stderr.Close()
	g.Signal(t, syscall.SIGINT)
	time.Sleep(300 * time.Millisecond)
	close(more)
	texts, errs := ended()
	for i := range texts {
		if errs[i] != nil || !strings.HasSuffix(texts[i], chatFinish+chatDone) {
			t.Errorf("a stream ended in %v: %q", errs[i], texts[i])
		}
	}
	if code := g.Exit(t, harness.Patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, rec := range g.Expect(t, n) {
		if rec.Status != 200 || rec.FinishReason != "stop" || rec.ErrorType != "" {
			t.Errorf("record: %+v", rec)
		}
	}
}

// After the second signal the streams are told, and recorded, at once.
func TestSecondSignalTellsStreams(t *testing.T) {
	const n = 20
	p := harness.NewProvider(t, heldStream(nil))
	cfg := relayTo(p, "openai")
	cfg["server"] = object{"drain": "60s"}
	g := start(t, cfg)
	ended := g.streams(t, n)
	g.Signal(t, syscall.SIGTERM)
	harness.Eventually(t, "it stops", func() bool { return strings.Contains(g.Stderr.String(), "stopping") })
	begin := time.Now()
	g.Signal(t, syscall.SIGTERM)
	texts, errs := ended()
	for i := range texts {
		if errs[i] == nil || !strings.Contains(texts[i], `data: {"error":`) || !strings.Contains(texts[i], "shutting_down") {
			t.Errorf("a stream ended in %v: %q", errs[i], texts[i])
		}
	}
	code := g.Exit(t, harness.Patience)
	t.Logf("ended %v after the second signal", time.Since(begin))
	if took := time.Since(begin); code != 1 || took > 5*time.Second {
		t.Errorf("exit code %d after %v", code, took)
	}
	for _, rec := range g.Expect(t, n) {
		if rec.Status != 200 || rec.ErrorType != "shutting_down" {
			t.Errorf("record: %+v", rec)
		}
	}
}

// A file that would be waited for is refused: at the start, by check, and at a reload,
// which holds up no signal.
func TestFilesThatHang(t *testing.T) {
	dir := t.TempDir()
	hangs := filepath.Join(dir, "hangs")
	if err := syscall.Mkfifo(hangs, 0o600); err != nil {
		harness.Missing(t, "no FIFO can be made here: %v", err)
	}
	named := func(section string, value any) object {
		cfg := harness.WithDefaults(object{})
		switch section {
		case "key_file":
			cfg["auth"].(object)["keys"] = append(cfg["auth"].(object)["keys"].(list), object{"name": "f", "key_file": value})
		case "logs":
			cfg["logs"] = object{"file": value}
		case "cert":
			cfg["server"].(object)["tls"] = object{"cert": value, "key": value}
		case "reference":
			cfg["auth"].(object)["keys"] = append(cfg["auth"].(object)["keys"].(list), object{"name": "f", "key": fmt.Sprintf("${file:%s}", value)})
		}
		return cfg
	}
	for _, place := range []string{"key_file", "logs", "cert", "reference"} {
		harness.WriteConfig(t, dir, named(place, hangs))
		for _, args := range [][]string{{"check"}, nil} {
			if code, _, stderr := harness.Command(t, dir, args...); code != 2 || !strings.Contains(stderr, "regular file") {
				t.Errorf("%v with a FIFO as %s: exit code %d\n%s", args, place, code, stderr)
			}
		}
	}
	if code, _, stderr := harness.Command(t, dir, "-config", hangs); code != 2 {
		t.Errorf("a FIFO as the config: exit code %d\n%s", code, stderr)
	}

	for _, place := range []string{"key_file", "reference", "config"} {
		g := startIn(t, t.TempDir(), harness.WithDefaults(object{}))
		if place == "config" {
			if err := os.Rename(hangs, filepath.Join(g.Dir, "config.json")); err != nil {
				t.Fatal(err)
			}
		} else {
			harness.WriteConfig(t, g.Dir, named(place, hangs))
		}
		g.Signal(t, syscall.SIGHUP)
		harness.Eventually(t, "the refusal of a FIFO as "+place, func() bool {
			return g.AsAdmin(t, "/_status")["reload_fault"] != nil && g.admits(t, harness.UserKey)
		})
		g.Signal(t, syscall.SIGHUP)
		g.Signal(t, syscall.SIGTERM)
		if code := g.Exit(t, harness.Patience); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}

// To a client of HTTP/1.0 the end of the connection is the end of the reply: only a reset
// tells that it was cut.
func TestCutReplyOfHTTP10(t *testing.T) {
	p := harness.NewProvider(t, nil)
	for name, secure := range map[string]object{"plain": nil, "TLS": certify(t, t.TempDir(), 1)} {
		cfg := relayTo(p, "openai")
		if secure != nil {
			cfg["server"] = object{"tls": secure}
		}
		g := start(t, cfg)
		f := func(kind, request string, answer script, cut bool) {
			t.Run(name+"/"+kind, func(t *testing.T) {
				p.Play(answer)
				conn, err := net.Dial("tcp", g.Addr)
				if err != nil {
					t.Fatal(err)
				}
				if secure != nil {
					conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(harness.Patience))
				head := wireRequest("POST", "/v1/chat/completions", request)
				_, _ = io.WriteString(conn, strings.Replace(head, "HTTP/1.1", "HTTP/1.0", 1))
				text, err := io.ReadAll(conn)
				if reset := err != nil && !os.IsTimeout(err); reset != cut {
					t.Errorf("it ended in %v: %q", err, text)
				}
				if rec := g.Next(t); cut && (rec.ErrorType == "" || rec.Status != 200) {
					t.Errorf("record: %+v", rec)
				}
			})
		}
		long := strings.Replace(chatReply, "Hello!", strings.Repeat("Hello! ", 1<<15), 1)
		f("cut stream", chatStreamRequest, func(x *exchange) bool {
			x.Write([]byte(events("").head()+harness.Chunk(chatStart+chatDelta)), whole)
			return false
		}, true)
		f("cut plain reply", chatRequest, func(x *exchange) bool {
			x.Write([]byte(ok(long).head()+long[:len(long)/2]), whole)
			return false
		}, true)
		f("cut chunked reply", chatRequest, func(x *exchange) bool {
			x.Write([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"+harness.Chunk(long)), whole)
			return false
		}, true)
		f("whole stream", chatStreamRequest, events(chatStream).serve(byEvent), false)
		f("whole plain reply", chatRequest, ok(long).serve(whole), false)
	}
}

// A certificate that was renewed under its name is served after a reload; one that is
// broken is not.
func TestRenewedCertificate(t *testing.T) {
	dir := t.TempDir()
	g := start(t, object{"server": object{"tls": certify(t, dir, 1)}})
	if n := g.served(t); n != 1 {
		t.Fatalf("certificate %d", n)
	}
	certify(t, dir, 2)
	g.Signal(t, syscall.SIGHUP)
	harness.Eventually(t, "the renewed certificate", func() bool { return g.served(t) == 2 })
	harness.WriteFile(t, dir, "cert.pem", "no certificate")
	g.Signal(t, syscall.SIGHUP)
	harness.Eventually(t, "the fault", func() bool { return g.AsAdmin(t, "/_status")["reload_fault"] != nil })
	if n := g.served(t); n != 2 {
		t.Errorf("certificate %d", n)
	}
}

// A config that was replaced by one of the same size and time is another config.
func TestReloadSameSizeAndTime(t *testing.T) {
	cfg := harness.WithDefaults(object{})
	cfg["auth"].(object)["keys"] = append(cfg["auth"].(object)["keys"].(list), object{"name": "added", "key": aKey})
	g := startIn(t, t.TempDir(), cfg)
	path := filepath.Join(g.Dir, "config.json")
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	another := strings.ToUpper(aKey)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text, _ := io.ReadAll(file)
	_, _ = file.WriteAt([]byte(strings.Replace(string(text), aKey, another, 1)), 0)
	if err := os.Chtimes(path, before.ModTime(), before.ModTime()); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the other key", func() bool { return g.admits(t, another) && !g.admits(t, aKey) })
}

// What root saves stays its owner's.
func TestSavedConfigKeepsOwner(t *testing.T) {
	if os.Getuid() != 0 {
		harness.Missing(t, "only root can give a file away")
	}
	const owner, group = 12345, 12346
	g := start(t, object{})
	path := filepath.Join(g.Dir, "config.json")
	if err := os.Chown(path, owner, group); err != nil {
		t.Fatal(err)
	}
	admin := "Authorization: Bearer " + harness.AdminKey
	shown := g.Send(t, "GET", "/_config", "", admin)
	r := g.Send(t, "PUT", "/_config", string(shown.Body), admin, "If-Match: "+shown.Header.Get("Etag"))
	if r.Status != 200 {
		t.Fatalf("%d %s", r.Status, r.Body)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if is := info.Sys().(*syscall.Stat_t); is.Uid != owner || is.Gid != group {
		t.Errorf("the config belongs to %d:%d", is.Uid, is.Gid)
	}
}

// What a provider does not name a type for is not guessed to be a page.
func TestNoSniffing(t *testing.T) {
	p := harness.NewProvider(t, canned{status: 200, body: "<html><script>alert(1)</script>"}.serve(whole))
	g := start(t, relayTo(p, "openai"))
	for _, path := range []string{"/v1/chat/completions", "/v1/audio/speech", "/v1/images/generations"} {
		r := g.Send(t, "POST", path, chatRequest)
		if kind := r.Header.Get("Content-Type"); strings.Contains(kind, "html") || r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d, content-type %q, %v", path, r.Status, kind, r.Header)
		}
	}
}

// A head has 32 KiB and 100 fields at most.
func TestLargeHeads(t *testing.T) {
	g := start(t, object{})
	fields := func(n int, value string) string {
		var b strings.Builder
		b.WriteString("GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + harness.UserKey + "\r\n")
		for i := range n - 1 {
			fmt.Fprintf(&b, "X-%d: %s\r\n", i, value)
		}
		return b.String() + "\r\n"
	}
	for request, status := range map[string]int{
		fields(100, "1"):                       200,
		fields(101, "1"):                       431,
		fields(2, strings.Repeat("x", 40<<10)): 431,
		fields(90, strings.Repeat("x", 512)):   431,
		fields(50, strings.Repeat("x", 512)):   200,
	} {
		if r := g.Raw(t, []byte(request), 0); r.Status != status {
			t.Errorf("%d bytes in %d lines: %d %s", len(request), strings.Count(request, "\r\n"), r.Status, r.Body)
		}
	}
}
