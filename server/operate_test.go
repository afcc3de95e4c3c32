package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"proxycast/server"
)

func TestStopAndStart(t *testing.T) {
	g := start(t, withKeys)
	service := func(verb, key string) (int, string) {
		res, body := g.do("POST", "/_service/"+verb, "{}", "X-Api-Key", key, "Content-Type", jsonType)
		return res.StatusCode, body
	}
	if status, body := service("stop", plainKey); status != 403 {
		t.Errorf("an ordinary key: %d %s", status, body)
	}
	if status, body := service("stop", adminKey); status != 200 || !strings.Contains(body, `"paused"`) {
		t.Fatalf("stop: %d %s", status, body)
	}
	res, body := g.do("POST", "/v1/messages", message, "X-Api-Key", plainKey)
	if res.StatusCode != 503 || !strings.Contains(body, `"api_error"`) || res.Header.Get("Retry-After") == "" {
		t.Errorf("while stopped: %d %s %v", res.StatusCode, body, res.Header)
	}
	if res, _ := g.do("GET", "/readyz", ""); res.StatusCode != 503 {
		t.Errorf("readyz while stopped: %d", res.StatusCode)
	}
	if res, body := g.do("GET", "/_status", "", "X-Api-Key", adminKey); res.StatusCode != 200 || !strings.Contains(body, `"state":"paused"`) {
		t.Errorf("status while stopped: %d %s", res.StatusCode, body)
	}
	service("start", adminKey)
	if res, body := g.do("POST", "/v1/messages", message, "X-Api-Key", plainKey); res.StatusCode != 200 {
		t.Errorf("after start: %d %s", res.StatusCode, body)
	}
}

func TestSession(t *testing.T) {
	g := start(t, withKeys)
	res, _ := g.do("POST", "/_ui/login", fmt.Sprintf(`{"key":%q}`, adminKey), "Content-Type", jsonType)
	cookie, _, _ := strings.Cut(res.Header.Get("Set-Cookie"), ";")
	ask := func(method, path, body string, header ...string) int {
		res, _ := g.do(method, path, body, append(header, "Cookie", cookie, "Content-Type", jsonType)...)
		return res.StatusCode
	}
	for _, c := range []struct {
		want         int
		method, path string
		header       []string
	}{
		{200, "GET", "/_status", nil},
		{200, "GET", "/_status", []string{"Sec-Fetch-Site", "same-origin"}},
		{200, "POST", "/_service/start", []string{"Sec-Fetch-Site", "same-origin"}},
		{401, "POST", "/_service/stop", []string{"Sec-Fetch-Site", "same-site"}},
		{401, "POST", "/_service/stop", []string{"Origin", "http://127.0.0.1:1"}},
		{200, "POST", "/v1/chat/completions", []string{"Sec-Fetch-Site", "same-origin"}},
		{401, "POST", "/v1/chat/completions", []string{"Sec-Fetch-Site", "same-site"}},
		{401, "POST", "/v1/chat/completions", nil},
		{200, "POST", "/v1/chat/completions", []string{"Origin", g.url}},
		{401, "POST", "/v1/chat/completions", []string{"Origin", "http://127.0.0.1:1"}},
		{200, "GET", "/v1/models", nil},
		{401, "GET", "/v1/models", []string{"Origin", "http://127.0.0.1:1"}},
		{401, "POST", "/v1/chat/completions", []string{"Sec-Fetch-Site", "same-origin", "X-Api-Key", "wrong"}},
	} {
		if got := ask(c.method, c.path, chat, c.header...); got != c.want {
			t.Errorf("%s %s %v: %d, want %d", c.method, c.path, c.header, got, c.want)
		}
	}
	for _, rec := range g.records() {
		if rec.Endpoint == "models" && rec.Status == 200 {
			t.Errorf("the dashboard's own look at the models left a record: %+v", rec)
		}
	}
}

func TestConfigOverHTTP(t *testing.T) {
	g := start(t, `{"auth":{"keys":[KEYS]},
  // a comment stays
  "upstream":{"providers":[{"name":"p","type":"openai","base_url":"http://127.0.0.1:1","api_key":"sk-secret-0123456789","headers":{"x-token":"header-secret-01"}}]}}`)
	ask := func(method, path, body string, header ...string) (*http.Response, string) {
		return g.do(method, path, body, append(header, "X-Api-Key", adminKey)...)
	}
	res, shown := ask("GET", "/_config", "")
	tag := res.Header.Get("Etag")
	for _, secret := range []string{adminKey, plainKey, "sk-secret", "header-secret"} {
		if strings.Contains(shown, secret) {
			t.Errorf("the config shows %s:\n%s", secret, shown)
		}
	}
	if !strings.Contains(shown, "// a comment stays") || strings.Count(shown, `"***"`) != 4 || tag == "" || res.Header.Get("X-Config-Writable") != "true" {
		t.Fatalf("%v\n%s", res.Header, shown)
	}
	res, body := ask("PUT", "/_config?check=1", strings.Replace(shown, `"auth"`, `"auht"`, 1))
	if res.StatusCode != 200 || !strings.Contains(body, `"line":1`) || !strings.Contains(body, "auht") {
		t.Errorf("check: %d %s", res.StatusCode, body)
	}
	if res, _ := ask("PUT", "/_config", shown); res.StatusCode != 412 {
		t.Errorf("without If-Match: %d", res.StatusCode)
	}
	if res, body := ask("PUT", "/_config", strings.Replace(shown, `"auth"`, `"auht"`, 1), "If-Match", tag); res.StatusCode != 422 {
		t.Errorf("with a fault: %d %s", res.StatusCode, body)
	}
	if res, body := ask("PUT", "/_config", strings.Replace(shown, `"name":"root"`, `"name":"other"`, 1), "If-Match", tag); res.StatusCode != 422 {
		t.Errorf("a mask without its secret: %d %s", res.StatusCode, body)
	}
	before, err := os.ReadFile(filepath.Join(g.dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	res, body = ask("PUT", "/_config", strings.Replace(shown, "a comment", "another comment", 1), "If-Match", tag)
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != jsonType {
		t.Fatalf("put: %d %s", res.StatusCode, body)
	}
	after, _ := os.ReadFile(filepath.Join(g.dir, "config.json"))
	if string(after) != strings.Replace(string(before), "a comment", "another comment", 1) {
		t.Errorf("the file now holds\n%s", after)
	}
	if bak, _ := os.ReadFile(filepath.Join(g.dir, "config.json.bak")); string(bak) != string(before) {
		t.Errorf("the backup holds\n%s", bak)
	}
	if res, _ := ask("GET", "/v1/models", ""); res.StatusCode != 200 {
		t.Errorf("the keys were lost: %d", res.StatusCode)
	}
}

// A config that passes every check and yet cannot be put in force leaves the file, its
// mode and what is in force as they were.
func TestFailedSaveKeepsTheFile(t *testing.T) {
	g := start(t, withKeys)
	path := filepath.Join(g.dir, "config.json")
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	admin := []string{"X-Api-Key", adminKey}
	res, _ := g.do("GET", "/_config", "", admin...)
	const unusable = `{"auth":{"keys":[{"name":"x","key_file":"nowhere.key"}]}}`
	res, body := g.do("PUT", "/_config", unusable, append(admin, "If-Match", res.Header.Get("Etag"))...)
	if res.StatusCode != 422 || !strings.Contains(body, "keys[0].key_file") || !strings.Contains(body, "the file holds what it held before") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	after, err := os.ReadFile(path)
	if err != nil || string(after) != string(before) {
		t.Errorf("the file now holds\n%s\n%v", after, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("its mode: %v %v", info.Mode(), err)
	}
	if res, body := g.do("GET", "/_status", "", admin...); res.StatusCode != 200 || !strings.Contains(body, `"reload_fault":null`) {
		t.Errorf("/_status: %d %s", res.StatusCode, body)
	}
}

func TestProviderTestAndNewKey(t *testing.T) {
	g := start(t, withKeys)
	post := func(path, body string) (int, string) {
		res, text := g.do("POST", path, body, "X-Api-Key", adminKey, "Content-Type", jsonType)
		return res.StatusCode, text
	}
	if status, body := post("/_providers/demo/test", "{}"); status != 200 || !strings.Contains(body, `"models":["demo-1"]`) {
		t.Errorf("%d %s", status, body)
	}
	if status, body := post("/_providers/demo/test", `{"model":"demo-fast"}`); status != 200 || !strings.Contains(body, `"text":"`) {
		t.Errorf("%d %s", status, body)
	}
	if status, body := post("/_providers/nobody/test", "{}"); status != 200 || !strings.Contains(body, `"ok":false`) {
		t.Errorf("%d %s", status, body)
	}
	if status, body := post("/_keys", `{"name":"x"}`); status != 200 || !strings.Contains(body, "key_sha256") {
		t.Errorf("%d %s", status, body)
	}
}

// A gateway under load loses no request to reloads and restarts, on the same
// address and on a new one.
func TestRestartUnderLoad(t *testing.T) {
	dir := t.TempDir()
	here := freePort(t)
	write := func(port, connections, ring int) {
		text := fmt.Sprintf(`{"server":{"port":%d,"max_connections":%d,"drain":"5s"},"logs":{"ring":%d},"auth":{"keys":[{"name":"a","key":%q,"admin":true}]}}`, port, connections, ring, adminKey)
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(here, 0, 100)
	cfg, err := server.Load(filepath.Join(dir, "config.json"), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	listening, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() { ended <- s.Run(ctx, func(a net.Addr) { listening <- a }) }()
	<-listening

	var asked sync.WaitGroup
	done := make(chan struct{})
	address := fmt.Sprintf("127.0.0.1:%d", here)
	var requests atomic.Int64
	for range 4 {
		asked.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			for {
				select {
				case <-done:
					return
				default:
				}
				req, _ := http.NewRequest("POST", "http://"+address+"/v1/chat/completions", strings.NewReader(chat))
				req.Header.Set("X-Api-Key", adminKey)
				res, err := client.Do(req)
				if err != nil {
					t.Errorf("a request was lost: %v", err)
					return
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode != 200 {
					t.Errorf("a request failed: %v %d %s", err, res.StatusCode, body)
					return
				}
				requests.Add(1)
			}
		})
	}
	for i := range 20 {
		for range 10 {
			if err := s.ReloadFile(); err != nil {
				t.Error(err)
			}
		}
		write(here, 100+i%2, 100+i%3) // the listener and the log are made anew, the address stays
		if err := s.Restart(); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	close(done)
	asked.Wait()
	there := freePort(t)
	write(there, 0, 100)
	stream, err := http.NewRequest("POST", "http://"+address+"/v1/chat/completions", strings.NewReader(`{"model":"demo-1","stream":true,"messages":[{"role":"user","content":"hi"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	stream.Header.Set("X-Api-Key", adminKey)
	res, err := http.DefaultTransport.RoundTrip(stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	address = fmt.Sprintf("127.0.0.1:%d", there)
	if text, err := io.ReadAll(res.Body); err != nil || !strings.HasSuffix(string(text), "data: [DONE]\n\n") {
		t.Errorf("a stream was cut by the restart: %v %q", err, text)
	}
	// An address that is in use changes nothing.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	write(taken.Addr().(*net.TCPAddr).Port, 0, 100)
	if err := s.Restart(); err == nil {
		t.Error("a restart to an address in use succeeded")
	}
	if res, err := http.Get("http://" + address + "/livez"); err != nil || res.StatusCode != 200 {
		t.Errorf("after a failed restart: %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	s.Close()
	if requests.Load() < 100 {
		t.Errorf("only %d requests were made", requests.Load())
	}
}

func TestLimitsOfAKey(t *testing.T) {
	g := start(t, `{"auth":{"keys":[KEYS,{"name":"few","key":"few-key-0123456789abcdef","requests_per_minute":2,"tokens_per_minute":100000}]}}`)
	ask := func(path, body string) (*http.Response, string) {
		return g.do("POST", path, body, "X-Api-Key", "few-key-0123456789abcdef")
	}
	res, _ := ask("/v1/chat/completions", chat)
	if h := res.Header; res.StatusCode != 200 || h.Get("X-Ratelimit-Limit-Requests") != "2" || h.Get("X-Ratelimit-Remaining-Requests") != "1" || h.Get("X-Ratelimit-Limit-Tokens") != "100000" {
		t.Errorf("first: %d %v", res.StatusCode, h)
	}
	if res, _ := ask("/v1/messages", message); res.StatusCode != 200 || res.Header.Get("Anthropic-Ratelimit-Requests-Remaining") != "0" {
		t.Errorf("second: %d %v", res.StatusCode, res.Header)
	}
	res, body := ask("/v1/messages", message)
	if res.StatusCode != 429 || !strings.Contains(body, `"rate_limit_error"`) || res.Header.Get("Retry-After") == "" || res.Header.Get("Anthropic-Ratelimit-Requests-Limit") != "2" {
		t.Errorf("over the limit: %d %s %v", res.StatusCode, body, res.Header)
	}
	if res, body := ask("/v1/chat/completions", chat); res.StatusCode != 429 || !strings.Contains(body, "rate_limit_exceeded") {
		t.Errorf("over the limit: %d %s", res.StatusCode, body)
	}
	if res, _ := g.do("POST", "/v1/messages", message, "X-Api-Key", plainKey); res.StatusCode != 200 {
		t.Errorf("another key: %d", res.StatusCode)
	}
}

func TestMalformedEventsAreCounted(t *testing.T) {
	const text = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\ndata: {broken\n\n" +
		"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, text)
	}))
	defer provider.Close()
	g := start(t, fmt.Sprintf(`{"auth":{"keys":[KEYS]},"upstream":{"providers":[{"name":"p","type":"openai","base_url":%q,"models":["m"],"proxy":"none"}]}}`, provider.URL))
	if _, got := g.do("POST", "/v1/chat/completions", `{"model":"m","stream":true}`, "X-Api-Key", adminKey); got != text {
		t.Errorf("the client got %q", got)
	}
	if _, got := g.do("GET", "/metrics", "", "X-Api-Key", adminKey); !strings.Contains(got, `proxycast_malformed_events_total{provider="p"} 1`) {
		t.Errorf("metrics:\n%s", got)
	}
}
