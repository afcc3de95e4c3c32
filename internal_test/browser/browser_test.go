// Package browser_test drives the dashboard in a real browser, against a real gateway with
// the demo provider, and checks what keeps the dashboard safe.
package browser_test

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"proxycast/internal_test/harness"
)

const logRows = 10000 // that the log holds when the page is scrolled

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// TestModules runs the checks of the dashboard's modules that need no page.
func TestModules(t *testing.T) {
	harness.NeedTool(t, "node", "install Node 20.19 or newer")
	runChecks(t, "modules.mjs")
}

// TestDashboard runs the checks of the page.
func TestDashboard(t *testing.T) {
	harness.NeedModule(t, "internal_test/browser", "playwright-core")
	harness.NeedModule(t, "internal_test/browser", "axe-core")
	chromium := findChromium()
	if chromium == "" {
		harness.Missing(t, "there is no Chromium: apt-get install -y chromium fonts-noto-cjk, or set CHROMIUM to a browser")
	}
	g := start(t)
	g.fillLog(t)
	runChecks(t, "dashboard.mjs", "GATEWAY="+g.URL, "ADMIN_KEY="+harness.AdminKey, "USER_KEY="+harness.UserKey,
		"CHROMIUM="+chromium, fmt.Sprint("LOG_ROWS=", logRows))
}

func findChromium() string {
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func runChecks(t *testing.T, script string, env ...string) {
	t.Helper()
	for _, c := range harness.Checks(t, ".", env, script) {
		t.Run(c.Name, c.Judge)
	}
}

// gateway is a running gateway.
type gateway struct{ *harness.Gateway }

// start runs the gateway with two keys and the demo provider. Its port is one that was
// free a moment ago: a restart keeps it.
func start(t *testing.T) *gateway {
	t.Helper()
	dir := t.TempDir()
	harness.WriteFile(t, dir, "config.json", config(harness.FreeAddress(t), harness.AdminKey))
	return &gateway{harness.StartIn(t, dir, nil)}
}

// configText is laid out as a person writes it; the checks look for its lines.
const configText = `{
  "server": {"host": "127.0.0.1", "port": %s, "drain": "5s"},
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

func config(address, admin string) string {
	return fmt.Sprintf(configText, harness.PortOf(address), admin, harness.UserKey)
}

// fillLog makes traffic until the log holds logRows records, of which some failed.
func (g *gateway) fillLog(t *testing.T) {
	t.Helper()
	models := []string{"demo-fast", "demo-error-429", "demo-fast", "demo-error-500", "demo-fast", "demo-fast", "no-such-model", "demo-fast"}
	var sent, failed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for n := sent.Add(1); n <= logRows; n = sent.Add(1) {
				body := fmt.Sprintf(`{"model":%q,"input":"hello"}`, models[n%int64(len(models))])
				if _, err := g.Try(g.Request(t.Context(), "POST", "/v1/embeddings", body)); err != nil {
					failed.Add(1)
				}
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
	return &http.Client{Jar: jar, Timeout: harness.Patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// do sends a visitor's request, which has no key unless a header states one, and returns
// the answer, whose body is closed.
func (g *gateway) do(t *testing.T, c *http.Client, method, path, body string, header ...string) *http.Response {
	t.Helper()
	res, err := c.Do(g.Request(t.Context(), method, path, body, append([]string{"Authorization:"}, header...)...))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res
}

// login returns a visitor with a session.
func (g *gateway) login(t *testing.T) *http.Client {
	t.Helper()
	c := visitor(t)
	res := g.do(t, c, "POST", "/_ui/login", `{"key":"`+harness.AdminKey+`"}`)
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
	f("with a session", in, http.StatusOK, "Origin: "+g.URL, "Sec-Fetch-Site: same-origin")
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
	req, err := http.NewRequest("GET", g.URL+"/_status", nil)
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
	f(`{"key":"`+harness.UserKey+`"}`, http.StatusForbidden) // not an admin's
	f(`{"key":"`+harness.AdminKey+`"}`, http.StatusForbidden, "Origin: https://attacker.example")
	f(`{"key":"`+harness.AdminKey+`"}`, http.StatusForbidden, "Sec-Fetch-Site: cross-site")
	f(`{"key":"`+harness.AdminKey+`"}`, http.StatusForbidden, "Host: attacker.example")

	res := g.do(t, visitor(t), "POST", "/_ui/login", `{"key":"`+harness.AdminKey+`"}`)
	for _, want := range []string{"HttpOnly", "SameSite=Strict"} {
		if got := res.Header.Get("Set-Cookie"); !strings.Contains(got, want) {
			t.Errorf("the cookie has no %s: %s", want, strings.SplitN(got, "=", 2)[0])
		}
	}
	if strings.Contains(res.Header.Get("Set-Cookie"), harness.AdminKey) {
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
	harness.WriteFile(t, g.Dir, "config.json", config(g.Addr, "another-admin-key-0123456789abcdef"))
	if res := g.do(t, visitor(t), "POST", "/_service/reload", `{}`, "Authorization: Bearer "+harness.AdminKey); res.StatusCode != http.StatusOK && res.StatusCode != http.StatusUnauthorized {
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
	for _, path := range []string{"/_ui", "/"} {
		if res := g.do(t, visitor(t), "GET", path, "", "Accept: text/html,*/*"); res.StatusCode != http.StatusFound || res.Header.Get("Location") != "/_ui/" {
			t.Errorf("a browser at %s: %s to %s", path, res.Status, res.Header.Get("Location"))
		}
	}
	for _, path := range []string{"/_ui/missing.js", "/_ui/../config.json", "/_ui/%2e%2e/config.json", "/_ui/pages/"} {
		if res := g.do(t, visitor(t), "GET", path, ""); res.StatusCode == http.StatusOK {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}
