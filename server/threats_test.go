package server_test

// Threats, each as a test of what must not happen.

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"proxycast/logs"
	"proxycast/server"
)

const echoedKey = "sk-live/CANARY+0123456789abcdef"

// echoProvider answers everything with what answer gives for the credential.
func echoProvider(t *testing.T, contentType string, status int, answer func(key string) string) string {
	p := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		io.WriteString(w, answer(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")))
	}))
	t.Cleanup(p.Close)
	return p.URL
}

func providerConfig(url, key string) string {
	return fmt.Sprintf(`{"auth":{"keys":[KEYS]},"upstream":{"retries":0,"providers":[{"name":"p","type":"openai","base_url":%q,"api_key":%q,"models":["demo-*"]}]}}`, url, key)
}

// A reload that turns auth off takes effect while the listener still is on all
// addresses, because host waits for a restart.
func TestReloadOpensAuth(t *testing.T) {
	g := start(t, `{"server":{"host":"0.0.0.0"},"auth":{"keys":[KEYS]}}`)
	if res, _ := g.do("GET", "/_status", ""); res.StatusCode != 401 {
		t.Fatalf("before: %d", res.StatusCode)
	}
	err := g.server.Reload(g.load(`{"server":{"host":"127.0.0.1"},"auth":{"enabled":false,"keys":[KEYS]}}`))
	res, body := g.do("GET", "/_status", "", "Host", "localhost") // as a LAN peer may claim
	if res.StatusCode == 200 {
		t.Errorf("the listener is still 0.0.0.0 (reload: %v) and /_status without a key answers %d %.60s", err, res.StatusCode, body)
	}
}

// A plain 200 passes the credential.
func TestPlainReplyQuotesCredential(t *testing.T) {
	url := echoProvider(t, "application/json", 200, func(key string) string {
		return `{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"you sent ` + key + `"},"finish_reason":"stop"}]}`
	})
	g := start(t, providerConfig(url, echoedKey))
	if _, body := g.do("POST", "/v1/chat/completions", chat, "Authorization", "Bearer "+plainKey); strings.Contains(body, echoedKey) {
		t.Errorf("the client got %s", body)
	}
}

// An error in a 200, as some providers send.
func TestModelListQuotesCredential(t *testing.T) {
	url := echoProvider(t, "application/json", 200, func(key string) string {
		return `{"data":[{"id":"demo-x","owned_by":"` + key + `"}]}`
	})
	g := start(t, providerConfig(url, echoedKey))
	if _, body := g.do("GET", "/v1/models", "", "Authorization", "Bearer "+plainKey); strings.Contains(body, echoedKey) {
		t.Errorf("the client got %s", body)
	}
}

// JSON may write / as \/ (PHP does) and any character as \u00XX.
func TestEscapedCredential(t *testing.T) {
	for name, escape := range map[string]func(string) string{
		"slash":   func(s string) string { return strings.ReplaceAll(s, "/", `\/`) },
		"unicode": func(s string) string { return strings.ReplaceAll(s, "+", `\u002b`) },
	} {
		url := echoProvider(t, "application/json", 400, func(key string) string {
			return `{"error":{"message":"bad key ` + escape(key) + `","type":"x"}}`
		})
		g := start(t, providerConfig(url, echoedKey))
		_, body := g.do("POST", "/v1/chat/completions", chat, "Authorization", "Bearer "+plainKey)
		var answer struct{ Error struct{ Message string } }
		if json.Unmarshal([]byte(body), &answer); strings.Contains(answer.Error.Message, echoedKey) {
			t.Errorf("%s: the client reads %s", name, answer.Error.Message)
		}
	}
}

// The placeholder keys of local providers are words, and vanish from streams.
func TestPlaceholderKeyCorruptsStream(t *testing.T) {
	const event = `data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"run ollama serve"},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"
	url := echoProvider(t, "text/event-stream", 200, func(string) string { return event })
	for _, key := range []string{"ollama", "x"} {
		g := start(t, providerConfig(url, key))
		body := strings.Replace(chat, "{", `{"stream":true,"stream_options":null,`, 1)
		if _, got := g.do("POST", "/v1/chat/completions", body, "Authorization", "Bearer "+plainKey); got != event {
			t.Errorf("api_key %q: got %q", key, got)
		}
	}
}

// GET /_config shows secrets that the decoder does not find whole.
func TestConfigShowsSecrets(t *testing.T) {
	const text = `{
  "auth":{"keys":[KEYS]},
  "upstream":{"providers":[
    {"name":"demo","type":"demo","models":["demo-*"]},
    {"name":"a","type":"openai","base_url":"http://127.0.0.1:1/v1?key=CANARY-url-0123456789","api_key":"CANARY7"},
    {"name":"b","type":"openai","base_url":"http://127.0.0.1:1","proxy":"http://user:CANARY-proxy@${PROXY_HOST}:1",
     "headers":{"X-Api-Key":"CANARY-header-0123456789${SUFFIX}"}}]}}`
	t.Setenv("PROXY_HOST", "127.0.0.1")
	g := start(t, `{"auth":{"keys":[KEYS]}}`)
	keys := fmt.Sprintf(`{"name":"root","key":%q,"admin":true}`, adminKey)
	path := filepath.Join(g.dir, "config.json")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "KEYS", keys)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, body := g.do("GET", "/_config", "", "Authorization", "Bearer "+adminKey)
	for _, canary := range []string{"CANARY-proxy", "CANARY-header", "CANARY7", "CANARY-url"} {
		if strings.Contains(body, canary) {
			t.Errorf("shows %s", canary)
		}
	}
	// What is not valid is as secret: a list where one text belongs, a mistyped name, a key given twice.
	for _, faulty := range []string{`"api_keys":"CANARY-0123456789"`, `"api_kye":"CANARY-0123456789"`, `"api_key":"CANARY-0","api_key":"CANARY-0123456789"`, `"api_key":["CANARY-0123456789"]`} {
		os.WriteFile(path, []byte(`{"upstream":{"providers":[{"name":"a","type":"openai",`+faulty+`}]}}`), 0o600)
		if _, body := g.do("GET", "/_config", "", "Authorization", "Bearer "+adminKey); strings.Contains(body, "CANARY-0123456789") {
			t.Errorf("%s: shows it", faulty)
		}
	}
}

// OPTIONS * reaches neither the Host check nor a deadline.
func TestOptionsAsterisk(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	os.WriteFile(path, []byte(`{"server":{"port":0}}`), 0o600)
	cfg, err := server.Load(path, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	at, done := make(chan net.Addr, 1), make(chan error, 1)
	go func() { done <- s.Run(ctx, func(a net.Addr) { at <- a }) }()
	defer func() { cancel(); <-done }()
	conn, err := net.Dial("tcp", (<-at).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "OPTIONS * HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 403 {
		t.Errorf("OPTIONS * for a foreign Host: %d, want 403", res.StatusCode)
	}
}

// Model names of a megabyte stay in the health table.
func TestHealthKeepsLongNames(t *testing.T) {
	url := echoProvider(t, "application/json", 500, func(string) string { return `{"error":{"message":"no","type":"server_error"}}` })
	g := start(t, providerConfig(url, echoedKey))
	for i := range 3 {
		body, _ := json.Marshal(map[string]any{"model": fmt.Sprintf("demo-%d%s", i, strings.Repeat("x", 1<<20)), "messages": []any{}})
		g.do("POST", "/v1/chat/completions", string(body), "Authorization", "Bearer "+plainKey)
	}
	if _, body := g.do("GET", "/_status", "", "Authorization", "Bearer "+adminKey); len(body) > 100<<10 {
		t.Errorf("/_status has %d bytes", len(body))
	}
}

// A key with concurrency 1 holds all of max_inflight_bytes.
func TestLimitedKeyHoldsMemory(t *testing.T) {
	g := start(t, fmt.Sprintf(`{"server":{"max_body":"1MiB","max_inflight_bytes":"4MiB"},"auth":{"keys":[KEYS,{"name":"ci","key":%q,"concurrency":1}]}}`, "ci-key-0123456789abcdef"))
	for range 4 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ci-key-0123456789abcdef\r\nContent-Type: application/json\r\nContent-Length: 1048576\r\n\r\n{")
	}
	time.Sleep(300 * time.Millisecond)
	if res, body := g.do("POST", "/v1/chat/completions", chat, "Authorization", "Bearer "+plainKey); res.StatusCode != 200 {
		t.Errorf("another key gets %d %s", res.StatusCode, body)
	}
}

// A log file that is something else is written to, and its last line cut off.
func TestLogIntoForeignFile(t *testing.T) {
	g := &gateway{t: t, dir: t.TempDir()}
	foreign := filepath.Join(g.dir, "profile")
	const text = "# mine\nexport A=1"
	os.WriteFile(foreign, []byte(text), 0o600)
	for _, file := range []string{"profile", "config.json"} {
		cfg := g.load(`{"logs":{"file":"` + file + `"},"auth":{"keys":[KEYS]}}`)
		before, _ := os.ReadFile(cfg.Logs.File)
		store, err := logs.Open(cfg.Logs)
		if err != nil {
			continue
		}
		store.Add(&logs.Record{Path: "/$(id)"})
		store.Close()
		if after, _ := os.ReadFile(cfg.Logs.File); string(after) != string(before) {
			t.Errorf("%s was %q and is %.120q", file, before, after)
		}
	}
}

// A live tail outlives its key.
func TestTailOutlivesKey(t *testing.T) {
	const second = "second-admin-0123456789abcdef"
	with := fmt.Sprintf(`{"auth":{"keys":[KEYS,{"name":"b","key":%q,"admin":true}]}}`, second)
	g := start(t, with)
	req, _ := http.NewRequest("GET", g.url+"/_logs?follow=1&limit=1", nil)
	req.Header.Set("Authorization", "Bearer "+second)
	g.do("GET", "/before", "")
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := g.server.Reload(g.load(withKeys)); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(res.Body); scan.Scan(); {
			lines <- scan.Text()
		}
	}()
	g.do("GET", "/after-removal", "")
	deadline := time.After(time.Second)
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return
			}
			if strings.Contains(line, "/after-removal") {
				t.Fatal("a removed key still reads the log")
			}
		case <-deadline:
			return
		}
	}
}

// What the log escapes comes back in the table and in CSV.
func TestTableAndCSVControls(t *testing.T) {
	g := start(t, withKeys)
	body := strings.Replace(chat, "demo-fast", `demo-\u202egnp\u2066\u001b]0;x\u0007`, 1)
	g.do("POST", "/v1/chat/completions", body, "Authorization", "Bearer "+plainKey)
	cfg := g.load(withKeys)
	u, _ := url.Parse(g.url)
	cfg.Server.Port = 0
	fmt.Sscan(u.Port(), &cfg.Server.Port)
	var table strings.Builder
	if err := server.NewClient(cfg).Logs(t.Context(), &table, url.Values{}, false, true); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(table.String(), "\u202e\u2066") {
		t.Errorf("the table has a direction override: %q", table.String())
	}
	if _, text := g.do("GET", "/_logs?format=csv", "", "Authorization", "Bearer "+adminKey); strings.ContainsAny(text, "\x1b\x07\u202e") {
		t.Errorf("the CSV has control characters: %q", text)
	}
}

// A page of another port on this host ends the owner's session.
func TestLogoutCrossOrigin(t *testing.T) {
	g := start(t, withKeys)
	res, _ := g.do("POST", "/_ui/login", `{"key":"`+adminKey+`"}`)
	cookie, _, _ := strings.Cut(res.Header.Get("Set-Cookie"), ";")
	g.do("POST", "/_ui/logout", "", "Cookie", cookie, "Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:3000")
	if res, _ := g.do("GET", "/_status", "", "Cookie", cookie); res.StatusCode != 200 {
		t.Errorf("the session is gone: %d", res.StatusCode)
	}
}

// Config.json.bak keeps the mode of a file that was there.
func TestBackupMode(t *testing.T) {
	g := start(t, withKeys)
	bak := filepath.Join(g.dir, "config.json.bak")
	os.WriteFile(bak, nil, 0o644)
	res, text := g.do("GET", "/_config", "", "Authorization", "Bearer "+adminKey)
	if res, body := g.do("PUT", "/_config", text, "Authorization", "Bearer "+adminKey, "If-Match", res.Header.Get("Etag")); res.StatusCode != 200 {
		t.Fatal(res.Status, body)
	}
	if info, _ := os.Stat(bak); info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v and it holds the keys", info.Mode().Perm())
	}
}
