// Package failover_test puts the built gateway before providers that fail, and scores
// what its callers get and what its providers are asked.
//
// PROXYCAST_FULL=1 makes the long test longer.
package failover_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

type (
	object = map[string]any
	list   = []any
)

const (
	adminKey = "test-key-0123456789abcdef"

	// patience bounds every wait for something that should happen at once.
	patience = 10 * time.Second
	// hang is when a caller gives up.
	hang = 20 * time.Second
)

// binary is the built gateway; TestMain sets it.
var binary string

func TestMain(m *testing.M) { os.Exit(buildAndTest(m)) }

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
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func full() bool { return os.Getenv("PROXYCAST_FULL") == "1" }

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

// gateway is a running gateway.
type gateway struct {
	url    string
	dir    string // of config.json; data/ is below
	cmd    *exec.Cmd
	stderr output
	client *http.Client
}

// start runs the gateway with this upstream section until the test's end. The test
// fails if it reports a panic or a data race.
func start(t *testing.T, upstream object) *gateway {
	t.Helper()
	g := &gateway{dir: t.TempDir()}
	g.configure(t, upstream)
	g.cmd = exec.Command(binary, "-config", filepath.Join(g.dir, "config.json"))
	g.cmd.Env = append(os.Environ(), "HTTP_PROXY=", "http_proxy=", "HTTPS_PROXY=", "https_proxy=")
	g.cmd.Stderr = &g.stderr
	stdout, err := g.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = g.cmd.Process.Kill()
		_ = g.cmd.Wait()
		for _, mark := range []string{"panic:", "fatal error:", "DATA RACE"} {
			if strings.Contains(g.stderr.String(), mark) {
				t.Errorf("the gateway wrote %q:\n%s", mark, g.stderr.String())
			}
		}
	})
	var banner struct {
		Address string `json:"address"`
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &banner)
	}
	if err != nil {
		t.Fatalf("the gateway did not start: %v\n%s%s", err, line, g.stderr.String())
	}
	g.url = "http://" + strings.TrimPrefix(banner.Address, "http://")
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	g.client = &http.Client{Transport: transport}
	return g
}

// configure writes the config with this upstream section, as an editor does.
func (g *gateway) configure(t *testing.T, upstream object) {
	t.Helper()
	text, err := json.Marshal(object{
		"server":   object{"port": 0},
		"auth":     object{"keys": list{object{"name": "tests", "key": adminKey, "admin": true}}},
		"upstream": upstream,
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(g.dir, "config.json")
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// do makes a request with the test's key.
func (g *gateway) do(ctx context.Context, method, path, body, userAgent string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, g.url+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+adminKey)
	req.Header.Set("User-Agent", userAgent)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return g.client.Do(req)
}

// status is what GET /_status says about failover and resources.
type status struct {
	Goroutines int   `json:"goroutines"`
	InFlight   int   `json:"in_flight"`
	BodyBytes  int64 `json:"body_bytes"`
	Providers  []struct {
		Name    string `json:"name"`
		State   string `json:"state"`
		Targets []struct {
			Model    string     `json:"model"`
			Failures int        `json:"failures"`
			Rests    *time.Time `json:"rests_until"`
		} `json:"targets"`
	} `json:"providers"`
}

func (g *gateway) status(t *testing.T) (s status) {
	t.Helper()
	res, err := g.do(t.Context(), "GET", "/_status", "", "tests")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil || res.StatusCode != 200 {
		t.Fatalf("GET /_status: %d, %v", res.StatusCode, err)
	}
	return s
}

// state is "ready" or "failing", with the failures in a row of the targets that rest.
func (g *gateway) state(t *testing.T, provider string) string {
	t.Helper()
	for _, p := range g.status(t).Providers {
		if p.Name != provider {
			continue
		}
		text := p.State
		for _, target := range p.Targets {
			if target.Rests != nil {
				text += fmt.Sprintf(" %s:%d", target.Model, target.Failures)
			}
		}
		return text
	}
	t.Fatalf("no provider %q in /_status", provider)
	return ""
}

// record is a line of the request log, as far as failover goes.
type record struct {
	Model        string `json:"model"`
	Provider     string `json:"provider"`
	Status       int    `json:"status"`
	InputTokens  int64  `json:"input_tokens"` // 0: absent
	OutputTokens int64  `json:"output_tokens"`
	FinishReason string `json:"finish_reason"`
	Attempts     int    `json:"attempts"`
	ErrorType    string `json:"error_type"`
	Error        string `json:"error"`
	Client       string `json:"client"` // user agent: the caller's name for the request
}

// records gives the records on disk by client.
func (g *gateway) records() (map[string][]record, error) {
	text, err := os.ReadFile(filepath.Join(g.dir, "data", "requests.jsonl"))
	if err != nil {
		return nil, err
	}
	all := map[string][]record{}
	for line := range bytes.Lines(text) {
		if line[len(line)-1] != '\n' {
			break // it is being written
		}
		var rec record
		if err := json.Unmarshal(line, &rec); err != nil {
			return nil, fmt.Errorf("%w: %s", err, line)
		}
		all[rec.Client] = append(all[rec.Client], rec)
	}
	return all, nil
}

// recordOf gives the one record of a request, for which it waits: a caller that
// leaves is not waited for.
func (g *gateway) recordOf(client string) (record, error) {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		all, err := g.records()
		recs := all[client]
		switch {
		case len(recs) == 1:
			return recs[0], nil
		case len(recs) > 1:
			return record{}, fmt.Errorf("%d records", len(recs))
		case time.Now().After(deadline):
			return record{}, fmt.Errorf("no record: %v", err)
		}
	}
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// drain reads a body to its end, and closes it.
func drain(body io.ReadCloser) ([]byte, error) {
	defer body.Close()
	return io.ReadAll(body)
}
