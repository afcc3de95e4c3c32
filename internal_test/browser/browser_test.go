// Package browser_test drives the dashboard in a real browser, against a real
// gateway with the demo provider, and checks what keeps the dashboard safe.
//
// PROXYCAST_FULL=1 turns a missing tool into a failure.
package browser_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	adminKey = "browser-admin-key-0123456789abcdef"
	userKey  = "browser-user-key-0123456789abcdef"

	logRows = 10000 // that the log holds when the page is scrolled
)

const (
	installModules  = "(cd internal_test/browser && npm install --no-save --no-package-lock)"
	installChromium = "apt-get install -y chromium fonts-noto-cjk, or set CHROMIUM to a browser"
)

// TestModules runs the checks of the dashboard's modules that need no page.
func TestModules(t *testing.T) {
	requireNode(t)
	runScript(t, "modules.mjs")
}

// TestDashboard runs the checks of the page.
func TestDashboard(t *testing.T) {
	requireNode(t)
	for _, module := range []string{"playwright-core", "axe-core"} {
		if _, err := os.Stat(filepath.Join("node_modules", module)); err != nil {
			missing(t, "%s is not installed: %s", module, installModules)
		}
	}
	chromium := findChromium()
	if chromium == "" {
		missing(t, "there is no Chromium: %s", installChromium)
	}
	g := start(t)
	g.fillLog(t)
	runScript(t, "dashboard.mjs", "GATEWAY="+g.url, "ADMIN_KEY="+adminKey, "USER_KEY="+userKey,
		"CHROMIUM="+chromium, fmt.Sprint("LOG_ROWS=", logRows))
}

// missing skips the test for want of a tool, or fails it when all tests were asked for.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("PROXYCAST_FULL") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func requireNode(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		missing(t, "no node in PATH; install Node 20.19 or newer, then: %s", installModules)
	}
}

func findChromium() string {
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// runScript runs a script, each of whose lines is the outcome of one check.
func runScript(t *testing.T, script string, env ...string) {
	t.Helper()
	cmd := exec.Command("node", script)
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		t.Errorf("%s: %v\n%s", script, err, stderr.String())
	}
	checks := 0
	for line := range bytes.Lines(stdout) {
		var check struct {
			Name, Detail string
			OK           bool
			MS           int
		}
		if json.Unmarshal(line, &check) != nil {
			t.Errorf("%s wrote %q", script, line)
			continue
		}
		checks++
		t.Run(check.Name, func(t *testing.T) {
			t.Logf("%d ms", check.MS)
			if !check.OK {
				t.Error(check.Detail)
			} else if check.Detail != "" {
				t.Log(check.Detail)
			}
		})
	}
	if checks == 0 {
		t.Error("no check has run")
	}
}

// gateway is a running gateway, built from this tree.
type gateway struct {
	url    string // http://host:port
	config string // the path of its config
}

// binary is built once, when a test first needs it.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "proxycast-browser-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "proxycast")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// start runs the gateway with two keys and the demo provider, and ends it with the
// test.
func start(t *testing.T) *gateway {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	g := &gateway{config: filepath.Join(dir, "config.json")}
	g.writeConfig(t, adminKey)
	var stderr bytes.Buffer
	cmd := exec.Command(path, "-config", g.config)
	cmd.Dir = dir
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		for _, mark := range []string{"panic:", "fatal error:", "DATA RACE"} {
			if strings.Contains(stderr.String(), mark) {
				t.Errorf("the gateway wrote %q:\n%s", mark, stderr.String())
			}
		}
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatalf("no banner: %v\n%s", err, stderr.String())
	}
	var banner struct {
		Address string `json:"address"`
	}
	if err := json.Unmarshal(line, &banner); err != nil || banner.Address == "" {
		t.Fatalf("the banner is %q: %v", line, err)
	}
	g.url = "http://" + banner.Address
	return g
}

// configText is laid out as a person writes it; the checks look for its lines.
const configText = `{
  "server": {"host": "127.0.0.1", "port": %d, "drain": "5s"},
  "auth": {
    "keys": [
      {"name": "operator", "key": "%s", "admin": true},
      {"name": "小王", "key": "%s"}
    ]
  },
  "upstream": {
    "providers": [
      {"name": "demo", "type": "demo", "models": ["demo-*"]}
    ],
    "models": {"hello": "demo/demo-fast"},
    "retries": 0
  }
}
`

// writeConfig writes the config with an admin key, as an editor does. The port is
// one that was free a moment ago: a restart keeps it.
func (g *gateway) writeConfig(t *testing.T, admin string) {
	t.Helper()
	port := 0
	if g.url == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port = l.Addr().(*net.TCPAddr).Port
		l.Close()
	} else if _, err := fmt.Sscanf(g.url, "http://127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(configText, port, admin, userKey)
	if err := os.WriteFile(g.config+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(g.config+".new", g.config); err != nil {
		t.Fatal(err)
	}
}

// fillLog makes traffic until the log holds logRows records, of which some failed.
func (g *gateway) fillLog(t *testing.T) {
	t.Helper()
	const workers = 8
	models := []string{"demo-fast", "demo-error-429", "demo-fast", "demo-error-500", "demo-fast", "demo-fast", "no-such-model", "demo-fast"}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	defer client.CloseIdleConnections()
	var sent, failed atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				n := sent.Add(1)
				if n > logRows {
					return
				}
				body := fmt.Sprintf(`{"model":%q,"input":"hello"}`, models[n%int64(len(models))])
				req, _ := http.NewRequest("POST", g.url+"/v1/embeddings", strings.NewReader(body))
				req.Header.Set("Authorization", "Bearer "+userKey)
				req.Header.Set("Content-Type", "application/json")
				res, err := client.Do(req)
				if err != nil {
					failed.Add(1)
					continue
				}
				res.Body.Close()
			}
		})
	}
	wg.Wait()
	if n := failed.Load(); n > 0 {
		t.Fatalf("%d of %d requests got no answer", n, logRows)
	}
}

// visitor is a browser as far as the server sees one: it keeps cookies.
func visitor(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// do sends a request and gives the answer, whose body is closed. Of the header
// lines, Host sets the request's host.
func (g *gateway) do(t *testing.T, c *http.Client, method, path, body string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequest(method, g.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			req.Host = value
		}
		req.Header.Set(name, value)
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res
}

// login gives a visitor with a session.
func (g *gateway) login(t *testing.T) *http.Client {
	t.Helper()
	c := visitor(t)
	res := g.do(t, c, "POST", "/_ui/login", `{"key":"`+adminKey+`"}`)
	if res.StatusCode != http.StatusNoContent {
		t.Fatalf("login: %s", res.Status)
	}
	return c
}

// operatorCalls are those that the page makes; a POST of them changes something.
var operatorCalls = []struct{ method, path, body string }{
	{"GET", "/_status", ""},
	{"GET", "/_logs", ""},
	{"GET", "/_logs?follow=1", ""},
	{"GET", "/_stats", ""},
	{"GET", "/_config", ""},
	{"GET", "/v1/models", ""},
	{"POST", "/_keys", `{"name":"x"}`},
	{"POST", "/_providers/demo/test", `{}`},
	{"POST", "/_service/reload", `{}`},
	{"POST", "/v1/chat/completions", `{"model":"demo-fast","messages":[{"role":"user","content":"hi"}]}`},
}

func TestSession(t *testing.T) {
	g := start(t)
	in := g.login(t)
	f := func(name string, c *http.Client, want int, header ...string) {
		t.Helper()
		for _, call := range operatorCalls {
			if res := g.do(t, c, call.method, call.path, call.body, header...); res.StatusCode != want {
				t.Errorf("%s: %s %s: %d, want %d", name, call.method, call.path, res.StatusCode, want)
			}
		}
	}
	f("with a session", in, http.StatusOK, "Origin: "+g.url, "Sec-Fetch-Site: same-origin")
	f("without a session", visitor(t), http.StatusUnauthorized)
	f("with a made-up session", visitor(t), http.StatusUnauthorized, "Cookie: "+cookieOf(t, g, in).Name+"=0123456789abcdef0123456789abcdef")
	f("under a foreign name", in, http.StatusForbidden, "Host: attacker.example")

	if res := g.do(t, in, "POST", "/_ui/logout", `{}`); res.StatusCode != http.StatusNoContent {
		t.Errorf("logout: %s", res.Status)
	}
	f("after the logout", in, http.StatusUnauthorized)
}

func cookieOf(t *testing.T, g *gateway, c *http.Client) *http.Cookie {
	t.Helper()
	req, err := http.NewRequest("GET", g.url+"/_status", nil)
	if err != nil {
		t.Fatal(err)
	}
	cookies := c.Jar.Cookies(req.URL)
	if len(cookies) != 1 {
		t.Fatalf("%d cookies, want the session's", len(cookies))
	}
	return cookies[0]
}

func TestLogin(t *testing.T) {
	g := start(t)
	f := func(body string, want int, header ...string) {
		t.Helper()
		res := g.do(t, visitor(t), "POST", "/_ui/login", body, header...)
		if res.StatusCode != want || (want != http.StatusNoContent && len(res.Cookies()) > 0) {
			t.Errorf("login with %s %v: %d with %d cookies, want %d", body, header, res.StatusCode, len(res.Cookies()), want)
		}
	}
	f(`{"key":"wrong-key-0123456789abcdef"}`, http.StatusUnauthorized)
	f(`{"key":""}`, http.StatusUnauthorized)
	f(`{"key":"`+userKey+`"}`, http.StatusForbidden) // not an admin's
	f(`{"key":"`+adminKey+`"}`, http.StatusForbidden, "Origin: https://attacker.example")
	f(`{"key":"`+adminKey+`"}`, http.StatusForbidden, "Sec-Fetch-Site: cross-site")
	f(`{"key":"`+adminKey+`"}`, http.StatusForbidden, "Host: attacker.example")

	res := g.do(t, visitor(t), "POST", "/_ui/login", `{"key":"`+adminKey+`"}`)
	for _, want := range []string{"HttpOnly", "SameSite=Strict"} {
		if got := res.Header.Get("Set-Cookie"); !strings.Contains(got, want) {
			t.Errorf("the cookie has no %s: %s", want, strings.SplitN(got, "=", 2)[0])
		}
	}
	if strings.Contains(res.Header.Get("Set-Cookie"), adminKey) {
		t.Error("the cookie holds the key")
	}
}

func TestForeignOrigin(t *testing.T) {
	g := start(t)
	in := g.login(t)
	for _, call := range operatorCalls {
		for _, header := range []string{"Origin: https://attacker.example", "Origin: null", "Sec-Fetch-Site: cross-site"} {
			res := g.do(t, in, call.method, call.path, call.body, header)
			if call.method != "GET" && res.StatusCode != http.StatusForbidden && res.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s %s with %s: %d, want 401 or 403", call.method, call.path, header, res.StatusCode)
			}
			if strings.HasPrefix(call.path, "/_") && res.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s %s with %s may be read by another site", call.method, call.path, header)
			}
		}
		if !strings.HasPrefix(call.path, "/_") {
			continue
		}
		res := g.do(t, in, "OPTIONS", call.path, "", "Origin: https://attacker.example", "Access-Control-Request-Method: "+call.method)
		if res.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("the preflight of %s %s is granted", call.method, call.path)
		}
	}
}

func TestSessionDiesWithItsKey(t *testing.T) {
	g := start(t)
	in := g.login(t)
	g.writeConfig(t, "another-admin-key-0123456789abcdef")
	if res := g.do(t, visitor(t), "POST", "/_service/reload", `{}`, "Authorization: Bearer "+adminKey); res.StatusCode != http.StatusOK && res.StatusCode != http.StatusUnauthorized {
		t.Fatalf("reload: %s", res.Status) // 401: the changed file was read before
	}
	if res := g.do(t, in, "GET", "/_status", ""); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a session of a removed key: %d, want 401", res.StatusCode)
	}
}

func TestFiles(t *testing.T) {
	g := start(t)
	for _, path := range []string{"/_ui/", "/_ui/app.js", "/_ui/theme.css", "/_ui/pages/requests.js"} {
		res := g.do(t, visitor(t), "GET", path, "")
		policy := res.Header.Get("Content-Security-Policy")
		if res.StatusCode != http.StatusOK || strings.Contains(policy, "unsafe") || !strings.Contains(policy, "default-src 'none'") ||
			!strings.Contains(policy, "frame-ancestors 'none'") || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %s with the policy %q", path, res.Status, policy)
		}
		if tag := res.Header.Get("ETag"); tag == "" {
			t.Errorf("%s has no ETag", path)
		} else if res := g.do(t, visitor(t), "GET", path, "", "If-None-Match: "+tag); res.StatusCode != http.StatusNotModified {
			t.Errorf("%s again: %s, want 304", path, res.Status)
		}
	}
	for _, path := range []string{"/_ui/missing.js", "/_ui/../config.json", "/_ui/%2e%2e/config.json", "/_ui/pages/"} {
		if res := g.do(t, visitor(t), "GET", path, ""); res.StatusCode == http.StatusOK {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}
