// The gateway: a process that listens, and its config.
package harness

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The keys of every test's config. None of them may ever be seen in an answer of the
// gateway, its log or its output.
const (
	AdminKey    = "test-key-0123456789abcdef"
	UserKey     = "user-key-0123456789abcdef"
	ProviderKey = "sk-canary-provider-0123456789abcdef"
)

// Gateway is a running gateway that listens.
type Gateway struct {
	*Process
	URL    string // http://host:port, or https
	Addr   string // host:port
	Dir    string // of its config; data/ is below
	Banner Object
	Client *http.Client
	Seen   int // records that Next has returned
}

// WithDefaults fills in what every test's config has: a free port, the two keys.
func WithDefaults(cfg Object) Object {
	whole := Object{
		"server": Object{"port": 0, "drain": "5s"},
		"auth": Object{"keys": List{
			Object{"name": "tests", "key": AdminKey, "admin": true},
			Object{"name": "user", "key": UserKey},
		}},
	}
	for section, value := range cfg {
		if section == "server" {
			for name, v := range value.(Object) {
				whole["server"].(Object)[name] = v
			}
			continue
		}
		whole[section] = value
	}
	// One attempt, so that what a provider sees is what a client sent; failover has
	// tests of its own.
	if upstream, ok := whole["upstream"].(Object); ok && upstream["retries"] == nil {
		upstream["retries"] = 0
	}
	return whole
}

// WriteConfig puts config.json into dir, replacing it as an editor does.
func WriteConfig(t testing.TB, dir string, cfg Object) string {
	t.Helper()
	text, err := json.MarshalIndent(cfg, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return WriteFile(t, dir, "config.json", string(text))
}

// WriteFile puts a file into dir, in one step, and returns its path.
func WriteFile(t testing.TB, dir, name, text string) string {
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

// PlaceFile writes a file with that mode, and the folders to it.
func PlaceFile(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// Start runs the gateway with cfg over the tests' defaults and waits until it listens.
func Start(t testing.TB, cfg Object, env ...string) *Gateway {
	t.Helper()
	return StartIn(t, t.TempDir(), WithDefaults(cfg), env...)
}

// StartIn runs the gateway on dir/config.json, which it writes unless cfg is nil.
func StartIn(t testing.TB, dir string, cfg Object, env ...string) *Gateway {
	t.Helper()
	if cfg != nil {
		WriteConfig(t, dir, cfg)
	}
	g := &Gateway{Process: Execute(t, dir, env, "-config", filepath.Join(dir, "config.json")), Dir: dir}
	g.meet(t, g.firstLine(t))
	return g
}

// StartPiped runs the gateway as Start does, its stdout and stderr on pipes that nobody
// reads but the caller. stderr is full before it begins if full.
func StartPiped(t testing.TB, cfg Object, full bool) (g *Gateway, stdout, stderr *os.File) {
	t.Helper()
	dir := t.TempDir()
	WriteConfig(t, dir, WithDefaults(cfg))
	stdout, out := pipe(t)
	stderr, err := pipe(t)
	if full {
		_ = err.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = err.Write(make([]byte, 1<<20))
	}
	g = &Gateway{Process: execute(t, dir, nil, out, err, "-config", filepath.Join(dir, "config.json")), Dir: dir}
	out.Close()
	err.Close()
	_ = stdout.SetReadDeadline(time.Now().Add(Patience))
	line, fault := bufio.NewReader(stdout).ReadString('\n')
	if fault != nil {
		t.Fatalf("no banner: %v", fault)
	}
	g.meet(t, line)
	return g, stdout, stderr
}

func pipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// meet reads the banner, and gets ready to talk to the gateway.
func (g *Gateway) meet(t testing.TB, line string) {
	t.Helper()
	if err := json.Unmarshal([]byte(line), &g.Banner); err != nil {
		t.Fatalf("the banner is not a line of JSON: %v\n%s", err, line)
	}
	g.Addr, _ = g.Banner["address"].(string)
	g.Addr = strings.TrimPrefix(g.Addr, "http://")
	if _, _, err := net.SplitHostPort(g.Addr); err != nil {
		t.Fatalf("the banner's address is %q: %s", g.Addr, line)
	}
	g.URL = "http://" + g.Addr
	if strings.Contains(line, "https://"+g.Addr) {
		g.URL = "https://" + g.Addr
	}
	transport := &http.Transport{
		DisableCompression: true, MaxIdleConnsPerHost: 64,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}
	g.Client = &http.Client{
		Transport:     transport,
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(transport.CloseIdleConnections)
}

// firstLine waits for the first whole line on stdout.
func (g *Gateway) firstLine(t testing.TB) string {
	t.Helper()
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); {
		if line, _, whole := strings.Cut(g.Stdout.String(), "\n"); whole {
			return line
		}
		select {
		case <-g.Ended:
			t.Fatalf("the gateway ended with %d\nstdout:\n%s\nstderr:\n%s", g.cmd.ProcessState.ExitCode(), g.Stdout.String(), g.Stderr.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
	t.Fatalf("no banner within %v\nstderr:\n%s", Patience, g.Stderr.String())
	return ""
}

// Port is the one the gateway listens on, as a config states it.
func (g *Gateway) Port() json.Number { return PortOf(g.Addr) }

// PortOf is an address's port, as a config states it.
func PortOf(address string) json.Number {
	return json.Number(address[strings.LastIndexByte(address, ':')+1:])
}
