// Package gateway_test tests the gateway from outside: it builds the binary, runs
// it with a config of its own, and talks to it as clients and providers do.
//
// PROXYCAST_FULL=1 adds the slow tests and turns a missing tool into a failure.
package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The keys of every test's config. None of them may ever be seen in an answer of
// the gateway, its log or its output.
const (
	adminKey    = "test-key-0123456789abcdef"
	userKey     = "user-key-0123456789abcdef"
	providerKey = "sk-canary-provider-0123456789abcdef"
)

// patience bounds every wait for something that should happen at once.
const patience = 10 * time.Second

type (
	object = map[string]any
	list   = []any
)

// binary is the built gateway; TestMain sets it.
var binary string

func TestMain(m *testing.M) {
	switch os.Getenv(benchRole) {
	case "provider":
		serveBenchProvider()
	case "reverseproxy":
		serveReverseProxy()
	default:
		os.Exit(buildAndTest(m))
	}
}

func buildAndTest(m *testing.M) int {
	dir, err := os.MkdirTemp("", "proxycast-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "proxycast")
	args := []string{"build", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, ".")...)
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func full() bool { return os.Getenv("PROXYCAST_FULL") == "1" }

// slow skips the test unless all tests were asked for, and else lets it run
// beside other slow ones.
func slow(t *testing.T) {
	t.Helper()
	if !full() {
		t.Skip("slow; PROXYCAST_FULL=1 runs it")
	}
	t.Parallel()
}

// missing skips the test for want of a tool, or fails it when all tests were asked for.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if full() {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// output collects what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// process is one run of the binary.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr output
	ended          chan struct{}
}

// execute starts the binary in dir. At the test's end it is killed, and the test
// fails if it reported a panic or a data race.
func execute(t testing.TB, dir string, env []string, args ...string) *process {
	t.Helper()
	p := &process{ended: make(chan struct{})}
	p.cmd = exec.Command(binary, args...)
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), "OPENAI_API_KEY=", "ANTHROPIC_API_KEY=", "HTTP_PROXY=", "http_proxy=")
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // exit codes are read from ProcessState
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		for _, mark := range []string{"panic:", "fatal error:", "DATA RACE"} {
			if strings.Contains(p.stderr.String(), mark) {
				t.Errorf("the gateway wrote %q:\n%s", mark, p.stderr.String())
			}
		}
	})
	return p
}

// exit waits for the process to end by itself and gives its exit code.
func (p *process) exit(t testing.TB, within time.Duration) int {
	t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		t.Fatalf("still running after %v\nstderr:\n%s", within, p.stderr.String())
		return -1
	}
}

func (p *process) signal(t testing.TB, sig os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// gateway is a running gateway that listens.
type gateway struct {
	*process
	URL    string // http://host:port
	Addr   string // host:port
	Dir    string // of its config; data/ is below
	banner object
	client *http.Client
	seen   int // records that next has given out
}

// withDefaults fills in what every test's config has: a free port, the two keys.
func withDefaults(cfg object) object {
	whole := object{
		"server": object{"port": 0, "drain": "5s"},
		"auth": object{"keys": list{
			object{"name": "tests", "key": adminKey, "admin": true},
			object{"name": "user", "key": userKey},
		}},
	}
	for section, value := range cfg {
		if section == "server" {
			for name, v := range value.(object) {
				whole["server"].(object)[name] = v
			}
			continue
		}
		whole[section] = value
	}
	// One attempt, so that what a provider sees is what a client sent; failover has
	// tests of its own.
	if upstream, ok := whole["upstream"].(object); ok && upstream["retries"] == nil {
		upstream["retries"] = 0
	}
	return whole
}

// writeConfig puts config.json into dir, replacing it as an editor does.
func writeConfig(t testing.TB, dir string, cfg object) string {
	t.Helper()
	text, err := json.MarshalIndent(cfg, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, dir, "config.json", string(text))
}

func writeFile(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

// start runs the gateway with cfg over the tests' defaults and waits until it listens.
func start(t testing.TB, cfg object, env ...string) *gateway {
	t.Helper()
	return startIn(t, t.TempDir(), withDefaults(cfg), env...)
}

// startIn runs the gateway on dir/config.json, which it writes unless cfg is nil.
func startIn(t testing.TB, dir string, cfg object, env ...string) *gateway {
	t.Helper()
	path := filepath.Join(dir, "config.json")
	if cfg != nil {
		writeConfig(t, dir, cfg)
	}
	g := &gateway{process: execute(t, dir, env, "-config", path), Dir: dir}
	line := g.firstLine(t)
	if err := json.Unmarshal([]byte(line), &g.banner); err != nil {
		t.Fatalf("the banner is not a line of JSON: %v\n%s", err, line)
	}
	address, _ := g.banner["address"].(string)
	address = strings.TrimPrefix(address, "http://")
	if _, _, err := net.SplitHostPort(address); err != nil {
		t.Fatalf("the banner's address is %q: %s", address, line)
	}
	g.Addr, g.URL = address, "http://"+address
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	g.client = &http.Client{
		Transport:     transport,
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(transport.CloseIdleConnections)
	return g
}

// firstLine waits for the first whole line on stdout.
func (g *gateway) firstLine(t testing.TB) string {
	t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if line, _, whole := strings.Cut(g.stdout.String(), "\n"); whole {
			return line
		}
		select {
		case <-g.ended:
			t.Fatalf("the gateway ended with %d\nstdout:\n%s\nstderr:\n%s",
				g.cmd.ProcessState.ExitCode(), g.stdout.String(), g.stderr.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
	t.Fatalf("no banner within %v\nstderr:\n%s", patience, g.stderr.String())
	return ""
}

// reply is an answer as a client saw it.
type reply struct {
	status int
	header http.Header
	body   []byte
	cut    error // why the body did not end cleanly; nil: it did
}

// request makes a request with the ordinary key and a JSON content type. Each
// header is "Name: value" and replaces; "Name:" removes.
func (g *gateway) request(t testing.TB, ctx context.Context, method, path, body string, header ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, g.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+userKey)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ":")
		if value = strings.TrimSpace(value); value == "" {
			req.Header.Del(name)
			continue
		}
		req.Header.Set(name, value)
	}
	return req
}

// send makes a request and reads its answer to the end.
func (g *gateway) send(t testing.TB, method, path, body string, header ...string) reply {
	t.Helper()
	r, err := g.try(g.request(t, context.Background(), method, path, body, header...))
	if err != nil {
		t.Fatalf("%s %s: %v\nstderr:\n%s", method, path, err, g.stderr.String())
	}
	return r
}

func (g *gateway) try(req *http.Request) (reply, error) {
	res, err := g.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, body, err}, nil
}

// asAdmin reads a route of the operator API into a JSON object.
func (g *gateway) asAdmin(t testing.TB, path string) object {
	t.Helper()
	r := g.send(t, "GET", path, "", "Authorization: Bearer "+adminKey)
	if r.status != 200 {
		t.Fatalf("GET %s: %d %s", path, r.status, r.body)
	}
	return parse(t, r.body)
}

// raw sends bytes on a connection of their own, size bytes a write (0: all in
// one), and reads one answer. The writing goes on beside the reading, since a
// server may answer before it has read all.
func (g *gateway) raw(t testing.TB, request []byte, size int) reply {
	t.Helper()
	conn, err := net.Dial("tcp", g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if size == 0 {
		size = max(len(request), 1)
	}
	var writing sync.WaitGroup
	defer writing.Wait()
	defer conn.Close()
	writing.Go(func() {
		for rest := request; len(rest) > 0; {
			n := min(size, len(rest))
			if _, err := conn.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
	})
	in, method := bufio.NewReader(conn), string(bytes.SplitN(request, []byte(" "), 2)[0])
	for {
		res, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("no answer to %.80q: %v", request, err)
		}
		body, err := io.ReadAll(res.Body)
		if res.StatusCode/100 != 1 {
			return reply{res.StatusCode, res.Header, body, err}
		}
	}
}

func parse(t testing.TB, text []byte) object {
	t.Helper()
	var doc object
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatalf("not a JSON object: %v\n%.300s", err, text)
	}
	return doc
}

// eventually waits until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
