package upstream_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"proxycast/upstream"
	"proxycast/upstream/dialect"
)

const secret = "sk-provider-credential-0123456789"

// provider is a fake one: it notes what it gets and answers as it is told.
type provider struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	seen   []*http.Request
}

func newProvider(t *testing.T, answer http.HandlerFunc) *provider {
	p := &provider{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		p.bodies, p.seen = append(p.bodies, string(body)), append(p.seen, r)
		p.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) last() (*http.Request, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.seen) == 0 {
		return nil, ""
	}
	return p.seen[len(p.seen)-1], p.bodies[len(p.bodies)-1]
}

func (p *provider) config(typ string) upstream.ProviderConfig {
	return upstream.ProviderConfig{Name: typ, Type: typ, BaseURL: p.URL, APIKey: secret, Models: []string{"*"}, StreamUsage: true, Proxy: "none"}
}

func route(targets ...string) (r upstream.Route) {
	for _, to := range targets {
		r.Targets = append(r.Targets, upstream.TargetConfig{To: to, Weight: 1})
	}
	return r
}

func newProxy(t *testing.T, models map[string]string, providers ...upstream.ProviderConfig) *upstream.Proxy {
	t.Helper()
	routes := map[string]upstream.Route{}
	for name, to := range models {
		routes[name] = route(to)
	}
	return compile(t, upstream.Config{Providers: providers, Models: routes})
}

func compile(t *testing.T, cfg upstream.Config) *upstream.Proxy {
	t.Helper()
	p, err := upstream.New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// relay sends body through p. It returns what the client saw and the report.
func relay(t *testing.T, p *upstream.Proxy, e dialect.Endpoint, body string, change ...func(*http.Request)) (*httptest.ResponseRecorder, upstream.Report) {
	t.Helper()
	buffers := upstream.NewBuffers(1<<20, 1<<40)
	b, err := buffers.Read("", strings.NewReader(body), int64(len(body)), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	q, err := dialect.Parse(e, b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/v1"+e.Path()+"?beta=true", nil)
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	rep := p.Relay(w, r, &q, b, r.PathValue("provider"))
	for deadline := time.Now().Add(5 * time.Second); buffers.InUse() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes of the request's body were never released", buffers.InUse())
		}
	}
	return w, rep
}

const chat = `{"model":"m","messages":[{"role":"user","content":"hi"}]}`

func TestRoutes(t *testing.T) {
	answer := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{}`) }
	a, b := newProvider(t, answer), newProvider(t, answer)
	first, second := a.config("openai"), b.config("openai")
	first.Models, second.Name, second.Models = []string{"gpt-*", "both"}, "second", []string{"both", "only-*-b"}
	hidden := a.config("openai")
	hidden.Name, hidden.Models = "hidden", nil
	off := upstream.ProviderConfig{Name: "off", Type: "openai", Models: []string{"off-*"}, Missing: "OFF_KEY"}
	p := newProxy(t, map[string]string{
		"fast": "second/small", "claude-*": "openai/*", "claude-opus*": "second/big",
	}, first, second, hidden, off)

	check := func(model, pin, wantProvider, wantModel, wantError string) {
		t.Helper()
		_, rep := relay(t, p, dialect.Embeddings, fmt.Sprintf(`{"model":%q}`, model), func(r *http.Request) { r.SetPathValue("provider", pin) })
		if wantError != "" {
			if rep.Status != 0 || rep.Err == nil || rep.Err.Status != 404 || !strings.Contains(rep.Err.Message, wantError) {
				t.Errorf("%s: want a 404 with %q, got %+v", model, wantError, rep.Err)
			}
			return
		}
		if rep.Err != nil || rep.Provider != wantProvider || rep.Model != wantModel {
			t.Errorf("%s: want %s/%s, got %s/%s %v", model, wantProvider, wantModel, rep.Provider, rep.Model, rep.Err)
		}
	}
	check("gpt-4", "", "openai", "gpt-4", "")
	check("both", "", "openai", "both", "")
	check("only-x-b", "", "second", "only-x-b", "")
	check("fast", "", "second", "small", "")
	check("claude-haiku", "", "openai", "claude-haiku", "")
	check("claude-opus-5", "", "second", "big", "")
	check("second/anything/else", "", "second", "anything/else", "")
	check("hidden/x", "", "hidden", "x", "")
	check("both", "second", "second", "both", "")
	check("fast", "openai", "openai", "fast", "")
	check("gpt4", "", "", "", "the nearest names are gpt-*")
	check("off-1", "", "", "", "OFF_KEY is not set")
	check("off/x", "", "", "", "OFF_KEY is not set")
	check("x", "nobody", "", "", `no provider "nobody"`)
}

func TestRequestReachesProviderUnchanged(t *testing.T) {
	a := newProvider(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{}`) })
	cfg := a.config("anthropic")
	cfg.Headers = map[string]string{"x-team": "blue"}
	p := newProxy(t, map[string]string{"alias": "anthropic/real"}, cfg)
	body := "{ \"x\": 1.0, \"model\" : \"m\",\"big\":12345678901234567890, \"s\":\"\\u00e9\\ud800\", \"max_tokens\":1}\n"
	relay(t, p, dialect.Messages, body, func(r *http.Request) {
		for name, value := range map[string]string{
			"Authorization": "Bearer client", "X-Api-Key": "client", "Cookie": "a=b", "Accept-Encoding": "gzip", "X-Forwarded-For": "1.2.3.4",
			"Connection": "close, X-Hop", "X-Hop": "1", "Sec-Fetch-Mode": "cors", "Origin": "https://a", "X-Proxycast-A": "1", "Openai-Project": "p",
			"Anthropic-Beta": "a,b", "X-Stainless-Os": "Linux", "User-Agent": "test/1",
		} {
			r.Header.Set(name, value)
		}
	})
	r, got := a.last()
	if got != body {
		t.Errorf("the provider got %q", got)
	}
	if r.URL.String() != "/v1/messages?beta=true" {
		t.Errorf("the provider was asked for %s", r.URL)
	}
	want := http.Header{"X-Api-Key": {secret}, "Anthropic-Version": {"2023-06-01"}, "Anthropic-Beta": {"a,b"}, "X-Stainless-Os": {"Linux"},
		"Accept-Encoding": {"identity"}, "User-Agent": {"test/1"}, "X-Team": {"blue"}, "Content-Length": {fmt.Sprint(len(body))}}
	for name, values := range r.Header {
		if fmt.Sprint(want[name]) != fmt.Sprint(values) {
			t.Errorf("header %s: %q, want %q", name, values, want[name])
		}
	}
	if len(r.Header) != len(want) {
		t.Errorf("headers: %v", r.Header)
	}

	_, rep := relay(t, p, dialect.Messages, strings.Replace(body, `"m"`, `"alias"`, 1))
	if _, got := a.last(); got != strings.Replace(body, `"m"`, `"real"`, 1) || rep.Model != "real" {
		t.Errorf("with an alias the provider got %q", got)
	}
}

const (
	chunk  = `data: {"id":"1","choices":[{"index":0,"delta":{"content":"hi"}}],"usage":null}` + "\n\n"
	finish = `data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}` + "\n\n"
	usage  = `data: {"id":"1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}` + "\n\n"
	done   = "data: [DONE]\n\n"
)

func stream(parts ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, part := range parts {
			io.WriteString(w, part)
			w.(http.Flusher).Flush()
		}
	}
}

func TestUsageIsMeteredAndNotLeaked(t *testing.T) {
	a := newProvider(t, stream(chunk, finish, usage, done))
	p := newProxy(t, nil, a.config("openai"))
	check := func(body, wantSent, wantSeen string) {
		t.Helper()
		w, rep := relay(t, p, dialect.ChatCompletions, body)
		if _, sent := a.last(); sent != wantSent {
			t.Errorf("sent %s, want %s", sent, wantSent)
		}
		if w.Body.String() != wantSeen {
			t.Errorf("seen %q, want %q", w.Body, wantSeen)
		}
		if rep.Err != nil || rep.Usage.Input == nil || *rep.Usage.Input != 7 || *rep.Usage.Output != 3 || rep.FinishReason != "stop" || rep.FirstContent.IsZero() {
			t.Errorf("report %+v", rep)
		}
	}
	check(`{"model":"m","stream":true}`, `{"model":"m","stream":true,"stream_options":{"include_usage":true}}`, chunk+finish+done)
	own := `{"model":"m","stream":true,"stream_options":{"include_usage":true}}`
	check(own, own, chunk+finish+usage+done)

	cfg := a.config("openai")
	cfg.StreamUsage = false
	p = newProxy(t, nil, cfg)
	check(`{"model":"m","stream":true}`, `{"model":"m","stream":true}`, chunk+finish+usage+done)
}

func TestErrors(t *testing.T) {
	var answer atomic.Pointer[http.HandlerFunc]
	a := newProvider(t, func(w http.ResponseWriter, r *http.Request) { (*answer.Load())(w, r) })
	play := func(h http.HandlerFunc) { answer.Store(&h) }
	p := newProxy(t, nil, a.config("openai"))
	reply := func(status int, header http.Header, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for name, values := range header {
				w.Header()[name] = values
			}
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}

	play(reply(429, http.Header{"Retry-After": {"3"}, "X-Echo": {secret}, "Set-Cookie": {"a=b"}, "Openai-Organization": {"org"}, "X-Request-Id": {"up-1"}},
		`{"error":{"message":"limit for `+secret+`","type":"requests"}}`))
	w, rep := relay(t, p, dialect.ChatCompletions, chat)
	if w.Code != 429 || w.Body.String() != `{"error":{"message":"limit for ***","type":"requests"}}` || rep.Err.Code != "requests" || rep.Status != 429 {
		t.Errorf("429: %d %s %+v", w.Code, w.Body, rep)
	}
	if h := w.Header(); h.Get("Retry-After") != "3" || h.Get("X-Echo") != "***" || h.Get("Set-Cookie")+h.Get("Openai-Organization") != "" || rep.UpstreamID != "up-1" {
		t.Errorf("429: headers %v, id %q", h, rep.UpstreamID)
	}

	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	io.WriteString(z, `{"error":{"message":"`+secret+`"}}`)
	z.Close()
	play(reply(400, http.Header{"Content-Encoding": {"gzip"}}, packed.String()))
	if w, _ := relay(t, p, dialect.ChatCompletions, chat); w.Body.String() != `{"error":{"message":"***"}}` || w.Header().Get("Content-Encoding") != "" {
		t.Errorf("packed error: %s", w.Body)
	}

	unsent := func(name string, handler http.HandlerFunc, status int, code string) {
		t.Helper()
		play(handler)
		w, rep := relay(t, p, dialect.ChatCompletions, chat)
		if rep.Status != 0 || rep.Err == nil || rep.Err.Status != status || rep.Err.Code != code || w.Body.Len() != 0 {
			t.Errorf("%s: %+v %v", name, rep, rep.Err)
		}
		if rep.Err != nil && strings.Contains(rep.Err.Error(), secret) {
			t.Errorf("%s: the error quotes the credential", name)
		}
	}
	unsent("401", reply(401, nil, `{"error":{"message":"Incorrect key `+secret+`"}}`), 502, "provider_credential")
	unsent("redirect", reply(302, http.Header{"Location": {"http://127.0.0.1:1/"}}, ""), 502, "provider_redirect")
	unsent("html", reply(503, http.Header{"Content-Type": {"text/html"}}, "<html>"), 503, "provider_error")
	unsent("empty", reply(500, nil, ""), 500, "provider_error")
	unsent("torn JSON", reply(500, nil, `{"error":`), 500, "provider_error")
	unsent("large", reply(500, nil, `{"error":"`+strings.Repeat("x", 2<<20)+`"}`), 500, "provider_error")
	unsent("reset", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, 502, "provider_unreachable")

	a.Close()
	unsent("refused", nil, 502, "provider_unreachable")
}

func TestDialectMismatchIsRefused(t *testing.T) {
	a := newProvider(t, func(w http.ResponseWriter, r *http.Request) { t.Error("the provider was called") })
	_, rep := relay(t, newProxy(t, nil, a.config("anthropic")), dialect.ChatCompletions, chat)
	if rep.Err == nil || rep.Err.Status != 400 || !strings.Contains(rep.Err.Message, "/v1/messages") {
		t.Errorf("%+v", rep.Err)
	}
	_, rep = relay(t, newProxy(t, nil, a.config("openai")), dialect.Messages, chat)
	if rep.Err == nil || rep.Err.Status != 400 {
		t.Errorf("%+v", rep.Err)
	}
	w, rep := relay(t, newProxy(t, nil, a.config("openai")), dialect.CountTokens, chat)
	var count struct {
		Tokens int `json:"input_tokens"`
	}
	if json.Unmarshal(w.Body.Bytes(), &count); rep.Err != nil || count.Tokens < 1 || w.Header().Get("X-Token-Count") != "estimate" || rep.Usage.Input != nil {
		t.Errorf("count_tokens: %s %+v", w.Body, rep)
	}
}

func TestUnfinishedStreamNeverLooksFinished(t *testing.T) {
	cut := func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }
	check := func(name string, handler http.HandlerFunc, want string, wantEvent bool, code string) {
		t.Helper()
		a := newProvider(t, handler)
		cfg := a.config("openai")
		cfg.StreamUsage = false
		w, rep := relay(t, newProxy(t, nil, cfg), dialect.ChatCompletions, `{"model":"m","stream":true}`)
		got, event := w.Body.String(), ""
		if i := strings.Index(got, `data: {"error"`); i >= 0 {
			got, event = got[:i], got[i:]
		}
		if got != want || (event != "") != wantEvent {
			t.Errorf("%s: got %q, then %q", name, got, event)
		}
		if (code == "") != (rep.Err == nil) || rep.Err != nil && rep.Err.Code != code || rep.Aborted != (code != "" && code != "server_error") {
			t.Errorf("%s: %+v %v", name, rep, rep.Err)
		}
	}
	then := func(h ...http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for _, f := range h {
				f(w, r)
			}
		}
	}
	check("whole", stream(chunk, finish, done), chunk+finish+done, false, "")
	check("no [DONE]", stream(chunk, finish), chunk+finish, false, "")
	check("clean end too early", stream(chunk), chunk, true, "reply_cut")
	check("cut at a boundary", then(stream(chunk), cut), chunk, true, "reply_cut")
	check("cut in an event", then(stream(chunk, `data: {"id"`), cut), chunk+`data: {"id"`, false, "reply_cut")
	w, rep := relay(t, newProxy(t, nil, newProvider(t, stream()).config("openai")), dialect.ChatCompletions, `{"model":"m","stream":true}`)
	if w.Body.Len() > 0 || rep.Status != 0 || rep.Aborted || rep.Err == nil || rep.Err.Status != 502 || rep.Err.Code != "reply_cut" {
		t.Errorf("nothing at all: got %q, %+v", w.Body, rep) // the caller can still answer
	}
	failed := `data: {"error":{"message":"x","type":"server_error"}}` + "\n\n"
	check("provider's own error", stream(chunk, failed), chunk, true, "server_error")
}

func TestShutdownIsToldToTheClient(t *testing.T) {
	ctx, end := context.WithCancelCause(t.Context())
	a := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
		stream(chunk)(w, r)
		time.Sleep(50 * time.Millisecond) // the gateway has read it by then
		end(&upstream.Error{Status: 503, Code: "shutting_down", Message: "bye"})
		<-r.Context().Done()
	})
	w, rep := relay(t, newProxy(t, nil, a.config("openai")), dialect.ChatCompletions, `{"model":"m","stream":true}`,
		func(r *http.Request) { *r = *r.WithContext(ctx) })
	if rep.Err.Code != "shutting_down" || !rep.Aborted || !strings.Contains(w.Body.String(), "bye") {
		t.Errorf("%+v %s", rep, w.Body)
	}
}

func TestModels(t *testing.T) {
	var calls atomic.Int64
	a := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		io.WriteString(w, `{"data":[{"id":"gpt-5","object":"model","created":1700000000,"owned_by":"x"},{"id":"other"}]}`)
	})
	broken := newProvider(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) })
	one, two, open := a.config("openai"), broken.config("openai"), a.config("openai")
	one.Models, two.Name, two.Models = []string{"gpt-*", "named"}, "two", []string{"two-1"}
	open.Name, open.Models = "open", nil
	p := newProxy(t, map[string]string{"fast": "openai/gpt-5", "w-*": "two/*"}, one, two, open)
	ids := func(pin string, allows func(string) bool) string {
		models, err := p.Models(t.Context(), pin, allows)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, m := range models {
			names = append(names, m.ID)
		}
		return strings.Join(names, " ")
	}
	all := func(string) bool { return true }
	if got := ids("", all); got != "fast named gpt-5 two-1 open/gpt-5 open/other" {
		t.Errorf("models: %s", got)
	}
	if got := ids("open", all); got != "gpt-5 other" {
		t.Errorf("models of one provider: %s", got)
	}
	if got := ids("", func(m string) bool { return m == "two-1" }); got != "two-1" {
		t.Errorf("models of a narrow key: %s", got)
	}
	if calls.Load() != 2 { // one for each provider at that address: the lists are cached
		t.Errorf("%d fetches", calls.Load())
	}
	m, err := p.Model(t.Context(), "", "fast")
	if err != nil || m.ID != "fast" || m.OwnedBy != "x" || m.Created.Unix() != 1700000000 {
		t.Errorf("%+v %v", m, err)
	}
	if m, err := p.Model(t.Context(), "", "w-1"); err != nil || m.OwnedBy != "two" || m.Created.Unix() != 0 {
		t.Errorf("%+v %v", m, err)
	}
}

func TestConfigFaults(t *testing.T) {
	check := func(cfg upstream.Config, want ...string) {
		t.Helper()
		var got []string
		cfg.Check(func(path, message string) { got = append(got, path+": "+message) }, func(string, string) {})
		for i, w := range want {
			if i >= len(got) || !strings.HasPrefix(got[i], w) {
				t.Errorf("fault %d: want %q, got %q", i, w, got)
				return
			}
		}
		if len(got) != len(want) {
			t.Errorf("faults: %q", got)
		}
	}
	one := func(p upstream.ProviderConfig) upstream.Config {
		return upstream.Config{Providers: []upstream.ProviderConfig{p}}
	}
	check(upstream.Config{})
	check(one(upstream.ProviderConfig{Name: "a b", Type: "openai", APIKey: "k"}), "providers[0].name: ")
	check(one(upstream.ProviderConfig{Name: "a", Type: "google"}), "providers[0].type: ")
	check(one(upstream.ProviderConfig{Name: "a", Type: "openai", BaseURL: "ftp://x"}), "providers[0].base_url: ")
	check(one(upstream.ProviderConfig{Name: "a", Type: "openai", BaseURL: "http://u:p@x"}), "providers[0].base_url: ")
	check(one(upstream.ProviderConfig{Name: "a", Type: "demo", BaseURL: "http://x"}), "providers[0].base_url: ")
	check(one(upstream.ProviderConfig{Name: "a", Type: "openai", APIKey: "k\n"}), "providers[0].api_key: ")
	check(one(upstream.ProviderConfig{Name: "a", Type: "openai", APIKey: "k", APIKeys: []string{"l"}}), "providers[0].api_keys: ")
	check(one(upstream.ProviderConfig{Name: "a", Type: "openai", APIKey: "k", Proxy: "gopher://x"}), "providers[0].proxy: ")
	check(one(upstream.ProviderConfig{Name: "a", Type: "openai", APIKey: "k", Headers: map[string]string{"a b": "c"}}), "providers[0].headers.a b: ")
	two := one(upstream.ProviderConfig{Name: "a", Type: "demo"})
	two.Providers = append(two.Providers, two.Providers[0])
	check(two, "providers[1].name: two providers are named")
	alias := one(upstream.ProviderConfig{Name: "a", Type: "demo"})
	alias.Models = map[string]upstream.Route{"x": route("y"), "z": route("b/c"), "w": route("a/d-*")}
	check(alias, "models.w: ", "models.x: ", `models.z: unknown provider "b"; there are: a`)
}

// A body takes room as it arrives, whatever length it announces, and one holder has no more than its share.
func TestBuffersOfOneHolder(t *testing.T) {
	buffers := upstream.NewBuffers(64<<20, 8<<20)
	var writers []*io.PipeWriter
	done := make(chan error)
	for range 9 {
		r, w := io.Pipe()
		writers = append(writers, w)
		go func() {
			body, err := buffers.Read("greedy", r, 32<<20, 32<<20)
			if body != nil {
				body.Release()
			}
			r.CloseWithError(io.ErrClosedPipe)
			done <- err
		}()
	}
	if err := <-done; err != upstream.ErrShareFull { // of nine that announce 32 MiB, eight have 1 MiB each
		t.Errorf("a ninth body: %v", err)
	}
	for _, w := range writers {
		w.Write([]byte("{")) // the ninth is refused
	}
	if n := buffers.InUse(); n != 8<<20 {
		t.Errorf("eight bodies of a byte hold %d bytes", n)
	}
	other, err := buffers.Read("other", strings.NewReader("{}"), 2, 32<<20)
	if err != nil {
		t.Fatalf("another holder: %v", err)
	}
	other.Release()
	for _, w := range writers {
		w.CloseWithError(io.ErrUnexpectedEOF)
	}
	for range 8 {
		if err := <-done; err != io.ErrUnexpectedEOF {
			t.Error(err)
		}
	}
	for _, size := range []int64{8 << 20, 8<<20 + 1} {
		body, err := buffers.Read("greedy", strings.NewReader(strings.Repeat("x", int(size))), size, 32<<20)
		if full := size > 8<<20; full != (err == upstream.ErrShareFull) {
			t.Errorf("a body of %d bytes: %v", size, err)
		}
		if body != nil {
			body.Release()
		}
	}
	if n := buffers.InUse(); n != 0 {
		t.Errorf("%d bytes were not given back", n)
	}
}

func TestBuffers(t *testing.T) {
	buffers := upstream.NewBuffers(300<<10, 1<<40)
	check := func(src string, size, max int64, want error) {
		t.Helper()
		b, err := buffers.Read("", io.MultiReader(strings.NewReader(src)), size, max)
		if want != nil {
			if err != want {
				t.Errorf("want %v, got %v", want, err)
			}
			return
		}
		if err != nil || string(b.Bytes()) != src {
			t.Errorf("%d bytes, size %d: %v", len(src), size, err)
			return
		}
		b.Release()
	}
	for _, n := range []int{0, 1, 4095, 4096, 4097, 16 << 10, 64 << 10, 64<<10 + 1, 100 << 10} {
		src := strings.Repeat("x", n)
		check(src, int64(n), 1<<20, nil)
		check(src, -1, 1<<20, nil)
		check(src, -1, int64(n), nil)
		if n > 0 {
			check(src, -1, int64(n-1), upstream.ErrBodyTooLarge)
			check(src, int64(n), int64(n-1), upstream.ErrBodyTooLarge)
		}
	}
	check(strings.Repeat("x", 301<<10), 301<<10, 1<<20, upstream.ErrMemoryFull)
	check(strings.Repeat("x", 301<<10), -1, 1<<20, upstream.ErrMemoryFull)
	if n := buffers.InUse(); n != 0 {
		t.Errorf("%d bytes were not given back", n)
	}
}
