package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"proxycast/logs"
	"proxycast/server"
)

const (
	adminKey = "admin-key-0123456789abcdef"
	plainKey = "plain-key-0123456789abcdef"
)

// gateway is a Server behind a listener on loopback, with its log.
type gateway struct {
	t      *testing.T
	server *server.Server
	url    string
	dir    string
}

// start runs a gateway with config, in which KEYS stands for the two test keys.
func start(t *testing.T, config string) *gateway {
	t.Helper()
	g := &gateway{t: t, dir: t.TempDir()}
	cfg := g.load(config)
	store, err := logs.Open(cfg.Logs)
	if err != nil {
		t.Fatal(err)
	}
	if g.server, err = server.New(cfg, store); err != nil {
		t.Fatal(err)
	}
	g.serve(store)
	return g
}

// serve has the server listen until the test ends.
func (g *gateway) serve(store *logs.Store) {
	listener := httptest.NewServer(g.server)
	g.url = listener.URL
	g.t.Cleanup(func() {
		listener.Close()
		store.Close()
	})
}

func (g *gateway) load(config string) *server.Config {
	g.t.Helper()
	keys := fmt.Sprintf(`{"name":"root","key":%q,"admin":true},{"name":"user","key":%q,"models":["demo-*"]}`, adminKey, plainKey)
	path := filepath.Join(g.dir, "config.json")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(config, "KEYS", keys)), 0o600); err != nil {
		g.t.Fatal(err)
	}
	cfg, err := server.Load(path, func(string) (string, bool) { return "", false })
	if err != nil {
		g.t.Fatal(err)
	}
	return cfg
}

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// do sends one request. header is name, value, name, value…
func (g *gateway) do(method, path, body string, header ...string) (*http.Response, string) {
	g.t.Helper()
	req, err := http.NewRequest(method, g.url+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return res, string(text)
}

// records returns what the log file holds now.
func (g *gateway) records() (records []logs.Record) {
	g.t.Helper()
	text, err := os.ReadFile(filepath.Join(g.dir, "data", "requests.jsonl"))
	if err != nil {
		g.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var rec logs.Record
		if err := json.Unmarshal([]byte(line), &rec); err != nil {
			g.t.Fatalf("%v in %q", err, line)
		}
		records = append(records, rec)
	}
	return records
}

const (
	withKeys = `{"auth":{"keys":[KEYS]}}`
	chat     = `{"model":"demo-fast","messages":[{"role":"user","content":"hi"}]}`
	message  = `{"model":"demo-fast","max_tokens":50,"messages":[{"role":"user","content":"hi"}]}`
	jsonType = "application/json"
)

func TestRecordIsWrittenBeforeTheReplyEnds(t *testing.T) {
	g := start(t, withKeys)
	for i, c := range []struct{ path, body string }{
		{"/v1/chat/completions", chat},
		{"/v1/messages", message},
		{"/v1/chat/completions", strings.Replace(chat, "{", `{"stream":true,`, 1)},
		{"/v1/embeddings", `{"model":"demo-fast","input":"x"}`},
		{"/v1/chat/completions", `{`},
		{"/nothing", ""},
	} {
		res, _ := g.do("POST", c.path, c.body, "Authorization", "Bearer "+plainKey)
		records := g.records()
		if len(records) != i+1 {
			t.Fatalf("%s: %d records after %d replies", c.path, len(records), i+1)
		}
		rec := records[i]
		if rec.Status != res.StatusCode || rec.Path != c.path || rec.RequestBytes != int64(len(c.body)) {
			t.Errorf("%s: status %d, record %+v", c.path, res.StatusCode, rec)
		}
		if res.Header.Get("X-Request-Id") != rec.ID && res.Header.Get("Request-Id") != rec.ID {
			t.Errorf("%s: the reply does not carry the record's id: %v", c.path, res.Header)
		}
		if rec.Status == 200 && (rec.InputTokens == nil || *rec.InputTokens < 1 || rec.Key != "user" || rec.Provider != "demo") {
			t.Errorf("%s: %+v", c.path, rec)
		}
	}
}

func TestErrorsSpeakTheDialectOfThePath(t *testing.T) {
	g := start(t, withKeys)
	check := func(method, path string, anthropic bool, status int, header ...string) {
		t.Helper()
		res, body := g.do(method, path, "{}", header...)
		var answer struct {
			Type  string
			Error struct{ Type, Message string }
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Error.Message == "" || res.Header.Get("Content-Type") != jsonType {
			t.Errorf("%s %s: %s", method, path, body)
		}
		if res.StatusCode != status || (answer.Type == "error") != anthropic {
			t.Errorf("%s %s: status %d, %s", method, path, res.StatusCode, body)
		}
		if (status == 401) != (res.Header.Get("Www-Authenticate") != "") || (status == 405) != (res.Header.Get("Allow") != "") {
			t.Errorf("%s %s: headers %v", method, path, res.Header)
		}
	}
	for _, base := range []string{"/v1", "/v1/v1", "", "/api/provider/demo/v1", "/api/provider/demo"} {
		check("POST", base+"/chat/completions", false, 401)
		check("POST", base+"/messages", true, 401)
		check("POST", base+"/messages/count_tokens", true, 401)
		check("PUT", base+"/messages", true, 405)
		check("DELETE", base+"/chat/completions", false, 405)
		check("GET", base+"/messages/nothing", true, 404)
		check("GET", base+"/models", true, 401, "anthropic-version", "2023-06-01")
	}
	check("POST", "//v1/messages", false, 404)
	check("POST", "/v1%2fmessages", true, 404)
	check("POST", "/v1/chat%2Fcompletions", false, 404)
	check("POST", "/x/../v1/chat/completions", false, 404)
	check("GET", "/_logs", false, 401)
	check("GET", "/_logs", false, 403, "X-Api-Key", plainKey)
	check("GET", "/_status", false, 403, "X-Api-Key", plainKey)
	check("GET", "/_logs?colour=red", false, 400, "X-Api-Key", adminKey)
	check("POST", "/v1/chat/completions", false, 415, "X-Api-Key", adminKey, "Content-Type", "multipart/form-data")
	check("POST", "/v1/chat/completions", false, 415, "X-Api-Key", adminKey, "Content-Encoding", "gzip")
	check("POST", "/v1/chat/completions", false, 400, "X-Api-Key", adminKey)
}

func TestModelPolicyOfAKey(t *testing.T) {
	g := start(t, `{"auth":{"keys":[KEYS]},"upstream":{"models":{"alias":"demo/demo-fast"}}}`)
	res, body := g.do("POST", "/v1/chat/completions", strings.Replace(chat, "demo-fast", "alias", 1), "X-Api-Key", plainKey)
	if res.StatusCode != 403 || !strings.Contains(body, "model_not_allowed") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if _, body := g.do("GET", "/v1/models", "", "X-Api-Key", plainKey); strings.Contains(body, "alias") || !strings.Contains(body, "demo-1") {
		t.Errorf("models of a narrow key: %s", body)
	}
	if _, body := g.do("GET", "/v1/models", "", "X-Api-Key", adminKey); !strings.Contains(body, "alias") {
		t.Errorf("models of the admin: %s", body)
	}
	if res, body := g.do("GET", "/v1/models/alias", "", "X-Api-Key", plainKey); res.StatusCode != 404 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if res, body := g.do("GET", "/v1/models/demo-1", "", "X-Api-Key", plainKey, "anthropic-version", "2023-06-01"); res.StatusCode != 200 || !strings.Contains(body, `"type":"model"`) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

func TestWithoutKeysForeignPagesAreRefused(t *testing.T) {
	g := start(t, `{"auth":{"enabled":false},"cors":{"origins":["*","https://good.example"]}}`)
	check := func(want int, header ...string) {
		t.Helper()
		res, body := g.do("POST", "/v1/chat/completions", chat, header...)
		if res.StatusCode != want {
			t.Errorf("%v: %d %s", header, res.StatusCode, body)
		}
	}
	check(200, "Content-Type", jsonType)
	check(415)
	check(415, "Content-Type", "text/plain")
	check(403, "Content-Type", jsonType, "Origin", "https://evil.example")
	check(403, "Content-Type", jsonType, "Sec-Fetch-Site", "cross-site")
	check(200, "Content-Type", jsonType, "Origin", "https://good.example")
	res, _ := g.do("GET", "/v1/models", "", "Origin", "https://evil.example")
	if res.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a foreign page may read: %v", res.Header)
	}
}

// A reload that panics leaves the old config in force and says so.
func TestReloadPanics(t *testing.T) {
	g := start(t, withKeys)
	if err := g.server.Reload(nil); err == nil {
		t.Fatal("a config that is none was put in force")
	}
	if res, _ := g.do("POST", "/v1/chat/completions", chat, "Authorization", "Bearer "+plainKey); res.StatusCode != 200 {
		t.Errorf("after it: status %d", res.StatusCode)
	}
	if _, status := g.do("GET", "/_status", "", "Authorization", "Bearer "+adminKey); !strings.Contains(status, "cannot be put in force") {
		t.Errorf("/_status does not tell: %s", status)
	}
}

// A file with a number out of its bounds changes nothing, whichever way it is told.
func TestReloadOutOfBounds(t *testing.T) {
	g := start(t, withKeys)
	const bad = `{"auth":{"keys":[]},"upstream":{"providers":[{"name":"demo","type":"demo","models":["demo-*"],"max_concurrency":-1}]}}`
	path := filepath.Join(g.dir, "config.json")
	shown, text := g.do("GET", "/_config", "", "Authorization", "Bearer "+adminKey)
	before, _ := os.ReadFile(path)
	if res, body := g.do("PUT", "/_config?check=1", bad, "Authorization", "Bearer "+adminKey); !strings.Contains(body, "max_concurrency") {
		t.Errorf("check: %d %s", res.StatusCode, body)
	}
	res, body := g.do("PUT", "/_config", bad, "Authorization", "Bearer "+adminKey, "If-Match", shown.Header.Get("Etag"))
	if after, _ := os.ReadFile(path); res.StatusCode != 422 || !strings.Contains(body, "max_concurrency") || string(after) != string(before) {
		t.Errorf("PUT: %d %s (shown: %s)", res.StatusCode, body, text)
	}
	if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := g.server.ReloadFile(); err == nil || !strings.Contains(err.Error(), "max_concurrency") {
		t.Errorf("reload: %v", err)
	}
	if res, _ := g.do("POST", "/v1/chat/completions", chat, "Authorization", "Bearer "+plainKey); res.StatusCode != 200 {
		t.Errorf("after it: status %d", res.StatusCode)
	}
}

func TestReload(t *testing.T) {
	g := start(t, withKeys)
	if err := g.server.Reload(g.load(`{"server":{"port":1234},"auth":{"keys":[{"name":"new","key":"new-key-0123456789abcdef","admin":true}]}}`)); err != nil {
		t.Fatal(err)
	}
	if res, _ := g.do("GET", "/v1/models", "", "X-Api-Key", adminKey); res.StatusCode != 401 {
		t.Errorf("the old key still works: %d", res.StatusCode)
	}
	status := func() string {
		_, body := g.do("GET", "/_status", "", "X-Api-Key", "new-key-0123456789abcdef")
		return body
	}
	if body := status(); !strings.Contains(body, `"need_restart":["server.port"]`) || !strings.Contains(body, `"reload_fault":null`) || strings.Contains(body, "new-key") {
		t.Errorf("status: %s", body)
	}
	bad := g.load(`{"auth":{"keys":[{"name":"x","key_file":"/nowhere/at/all"}]}}`)
	if err := g.server.Reload(bad); err == nil {
		t.Fatal("a key file that cannot be read was accepted")
	}
	if body := status(); !strings.Contains(body, `"reload_fault":"`) {
		t.Errorf("status after a bad reload: %s", body)
	}
}
