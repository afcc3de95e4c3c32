package cors_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"proxycast/cors"
)

// defaults are those of the configuration.
func defaults() cors.Config {
	return cors.Config{Origins: []string{"*"}, Methods: []string{"GET", "POST", "OPTIONS"}, Headers: []string{"*"}}
}

// handler wraps one that answers 418, so that it shows whether it was called.
func handler(t testing.TB, cfg cors.Config) http.Handler {
	t.Helper()
	middleware, err := cors.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
	}))
}

// send sends a request whose headers are pairs of name and value.
func send(h http.Handler, method string, pairs ...string) *http.Response {
	r := httptest.NewRequest(method, "/v1/chat/completions", nil)
	for pair := range slices.Chunk(pairs, 2) {
		r.Header.Add(pair[0], pair[1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// allowed reports whether an actual request from origin is allowed.
func allowed(h http.Handler, origin string) bool {
	return send(h, "POST", "Origin", origin).Header.Get("Access-Control-Allow-Origin") != ""
}

const preflightVary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network"

func TestPreflight(t *testing.T) {
	f := func(name string, cfg cors.Config, request []string, want map[string]string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			res := send(handler(t, cfg), "OPTIONS", request...)
			if res.StatusCode != http.StatusNoContent {
				t.Errorf("status %d, want 204 and the handler not called", res.StatusCode)
			}
			want["Vary"] = preflightVary
			got := make(map[string]string)
			for name, values := range res.Header {
				got[name] = strings.Join(values, " & ")
			}
			if !maps.Equal(got, want) {
				t.Errorf("headers\n got %q\nwant %q", got, want)
			}
		})
	}
	ask := func(origin string, more ...string) []string {
		return append([]string{"Origin", origin, "Access-Control-Request-Method", "POST"}, more...)
	}
	sdk := "authorization,content-type,x-api-key,x-stainless-lang"
	listed := cors.Config{
		Origins: []string{"https://app.example.com"},
		Methods: []string{"post", "*"},
		Headers: []string{"Authorization", "content-type"},
	}

	f("default", defaults(), ask("https://any.example", "Access-Control-Request-Headers", sdk), map[string]string{
		"Access-Control-Allow-Origin":  "*",
		"Access-Control-Allow-Methods": "GET, POST, OPTIONS",
		"Access-Control-Allow-Headers": sdk,
		"Access-Control-Max-Age":       "7200",
	})
	f("no headers asked for", defaults(), ask("null"), map[string]string{
		"Access-Control-Allow-Origin":  "*",
		"Access-Control-Allow-Methods": "GET, POST, OPTIONS",
		"Access-Control-Max-Age":       "7200",
	})
	f("private network", defaults(), ask("https://any.example", "Access-Control-Request-Private-Network", "true"), map[string]string{
		"Access-Control-Allow-Origin":          "*",
		"Access-Control-Allow-Methods":         "GET, POST, OPTIONS",
		"Access-Control-Max-Age":               "7200",
		"Access-Control-Allow-Private-Network": "true",
	})
	f("listed", listed, ask("https://app.example.com", "Access-Control-Request-Headers", "x-other"), map[string]string{
		"Access-Control-Allow-Origin":  "https://app.example.com",
		"Access-Control-Allow-Methods": "POST, *",
		"Access-Control-Allow-Headers": "Authorization, content-type",
		"Access-Control-Max-Age":       "7200",
	})
	f("only origins", cors.Config{Origins: []string{"*"}}, ask("https://any.example", "Access-Control-Request-Headers", "x"), map[string]string{
		"Access-Control-Allow-Origin": "*",
		"Access-Control-Max-Age":      "7200",
	})
	f("headers on two lines", defaults(), ask("https://any.example",
		"Access-Control-Request-Headers", "a, b", "Access-Control-Request-Headers", "c"), map[string]string{
		"Access-Control-Allow-Origin":  "*",
		"Access-Control-Allow-Methods": "GET, POST, OPTIONS",
		"Access-Control-Allow-Headers": "a, b,c",
		"Access-Control-Max-Age":       "7200",
	})
	f("other origin", listed, ask("https://evil.example", "Access-Control-Request-Private-Network", "true"), map[string]string{})
	f("two origins", defaults(), ask("https://a.example", "Origin", "https://a.example"), map[string]string{})
	f("no origin configured", cors.Config{}, ask("https://app.example.com"), map[string]string{})
}

// TestPreflightHeadersRefused shows what is never named back.
func TestPreflightHeadersRefused(t *testing.T) {
	f := func(requested string) {
		t.Helper()
		res := send(handler(t, defaults()), "OPTIONS", "Origin", "https://any.example",
			"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", requested)
		if got, ok := res.Header["Access-Control-Allow-Headers"]; ok {
			t.Errorf("%.80q: named back %.80q", requested, got)
		}
		if res.StatusCode != http.StatusNoContent {
			t.Errorf("%.80q: status %d, want 204", requested, res.StatusCode)
		}
	}
	f("")
	f("a,,b")
	f("a b")
	f("x-\u00e4")
	f("a\r\nSet-Cookie: b=c")
	f(`a"b`)
	f(strings.Repeat("a,", 100) + "a")
	f(strings.Repeat("a", 5000))
}

func TestNoPreflight(t *testing.T) {
	f := func(method string, headers ...string) {
		t.Helper()
		if got := send(handler(t, defaults()), method, headers...).StatusCode; got != http.StatusTeapot {
			t.Errorf("%s %q: status %d, want the handler's", method, headers, got)
		}
	}
	f("OPTIONS")
	f("OPTIONS", "Origin", "https://a.example")
	f("OPTIONS", "Access-Control-Request-Method", "POST")
	f("POST", "Origin", "https://a.example", "Access-Control-Request-Method", "POST")
	f("POST", "Origin", "https://a.example")
	f("GET")
}

func TestActual(t *testing.T) {
	f := func(name string, cfg cors.Config, origin, wantOrigin, wantVary string) {
		t.Helper()
		var headers []string
		if origin != "" {
			headers = []string{"Origin", origin}
		}
		h := send(handler(t, cfg), "POST", headers...).Header
		if got := h.Get("Access-Control-Allow-Origin"); got != wantOrigin {
			t.Errorf("%s: allowed origin %q, want %q", name, got, wantOrigin)
		}
		if got := h.Get("Vary"); got != wantVary {
			t.Errorf("%s: Vary %q, want %q", name, got, wantVary)
		}
		if got := h.Get("Access-Control-Expose-Headers") != ""; got != (wantOrigin != "") {
			t.Errorf("%s: exposes headers: %v", name, got)
		}
		if h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: allows credentials", name)
		}
	}
	one := cors.Config{Origins: []string{"https://app.example.com"}}
	f("any", defaults(), "https://a.example", "*", "Origin")
	f("any, null", defaults(), "null", "*", "Origin")
	f("any, no origin", defaults(), "", "", "Origin")
	f("one", one, "https://app.example.com", "https://app.example.com", "Origin")
	f("one, other origin", one, "https://evil.example", "", "Origin")
	f("one, null", one, "null", "", "Origin")
	f("one, no origin", one, "", "", "Origin")
	f("none", cors.Config{}, "https://app.example.com", "", "")

	res := send(handler(t, defaults()), "POST", "Origin", "https://a.example", "Origin", "https://b.example")
	if got := res.Header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("two origins: allowed %q", got)
	}
}

func TestExposedHeaders(t *testing.T) {
	exposed := send(handler(t, defaults()), "GET", "Origin", "https://a.example").Header.Get("Access-Control-Expose-Headers")
	var want []string
	want = append(want, "x-request-id", "request-id", "retry-after", "retry-after-ms", "x-should-retry", "x-token-count",
		"openai-processing-ms", "openai-version", "anthropic-workspace-id")
	for _, what := range []string{"limit", "remaining", "reset"} {
		for _, of := range []string{"requests", "tokens"} {
			want = append(want, "x-ratelimit-"+what+"-"+of)
		}
		for _, of := range []string{"requests", "tokens", "input-tokens", "output-tokens"} {
			want = append(want, "anthropic-ratelimit-"+of+"-"+what)
		}
	}
	got := strings.Split(exposed, ", ")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("exposed\n got %q\nwant %q", got, want)
	}
}

// TestVaryIsAdded shows that neither side loses the other's Vary, and that a
// handler's own does not reach the next reply.
func TestVaryIsAdded(t *testing.T) {
	middleware, err := cors.New(defaults())
	if err != nil {
		t.Fatal(err)
	}
	h := middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept")
		w.Header().Add("Access-Control-Expose-Headers", "x-more")
	}))
	f := func(before []string, want ...string) {
		t.Helper()
		w := httptest.NewRecorder()
		w.Header()["Vary"] = before
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Origin", "https://a.example")
		h.ServeHTTP(w, r)
		if got := w.Header()["Vary"]; !slices.Equal(got, want) {
			t.Errorf("Vary %q, want %q", got, want)
		}
		if got := len(w.Header()["Access-Control-Expose-Headers"]); got != 2 {
			t.Errorf("%d values of Access-Control-Expose-Headers, want 2", got)
		}
	}
	f(nil, "Origin", "Accept")
	f([]string{"Accept-Encoding"}, "Accept-Encoding", "Origin", "Accept")
	f(nil, "Origin", "Accept")
}

func TestOrigins(t *testing.T) {
	f := func(pattern, origin string, want bool) {
		t.Helper()
		if got := allowed(handler(t, cors.Config{Origins: []string{pattern}}), origin); got != want {
			t.Errorf("%s allows %q: %v, want %v", pattern, origin, got, want)
		}
	}
	f("https://app.example.com", "https://app.example.com", true)
	f("HTTPS://App.Example.COM:443", "https://app.example.com", true)
	f("http://localhost:3000", "http://localhost:3000", true)
	f("http://localhost:80", "http://localhost", true)
	f("http://[0:0::1]:3000", "http://[::1]:3000", true)
	f("http://127.0.0.1:5173", "http://127.0.0.1:5173", true)
	f("app://obsidian.md", "app://obsidian.md", true)
	f("tauri://localhost", "tauri://localhost", true)
	f("capacitor://localhost", "capacitor://localhost", true)
	f("vscode-webview://0abc1def", "vscode-webview://0abc1def", true)
	f("chrome-extension://gphandlahdpffmccakmbngmbjnjiiahp", "chrome-extension://gphandlahdpffmccakmbngmbjnjiiahp", true)
	f("moz-extension://6c1d4f8e-2b5a-4f6b-9d5e-1f2a3b4c5d6e", "moz-extension://6c1d4f8e-2b5a-4f6b-9d5e-1f2a3b4c5d6e", true)

	f("https://app.example.com", "http://app.example.com", false)
	f("https://app.example.com", "https://app.example.com:8443", false)
	f("https://app.example.com", "https://app.example.com.evil.example", false)
	f("https://app.example.com", "https://evil-app.example.com", false)
	f("https://app.example.com", "https://appXexample.com", false)
	f("https://app.example.com", "null", false)
	f("https://app.example.com", "", false)

	f("https://*.example.com", "https://a.example.com", true)
	f("https://*.example.com", "https://a.b-c.example.com", true)
	f("https://*.example.com:8443", "https://a.example.com:8443", true)
	f("http://*.localhost:3000", "http://app.localhost:3000", true)
	f("https://*.uk.example", "https://a.uk.example", true)
	f("https://*.example.com", "https://example.com", false)
	f("https://*.example.com", "https://.example.com", false)
	f("https://*.example.com", "https://a..example.com", false)
	f("https://*.example.com", "https://evilexample.com", false)
	f("https://*.example.com", "https://a.example.com.evil.example", false)
	f("https://*.example.com", "https://evil.example/.example.com", false)
	f("https://*.example.com", "https://evil.example?.example.com", false)
	f("https://*.example.com", "https://evil.example#.example.com", false)
	f("https://*.example.com", "https://evil.example\\.example.com", false)
	f("https://*.example.com", "https://u:p@a.example.com", false)
	f("https://*.example.com", "https://a.example.com:8443", false)
	f("https://*.example.com:8443", "https://a.example.com", false)
	f("https://*.example.com", "http://a.example.com", false)
	f("https://*.example.com", "null", false)
}

func TestFaults(t *testing.T) {
	f := func(cfg cors.Config, wantPath string) {
		t.Helper()
		var paths, texts []string
		cfg.Check(func(path, message string) {
			paths = append(paths, path)
			texts = append(texts, "cors: "+path+": "+message)
		}, func(path, message string) {
			t.Errorf("%+v: warning %s: %s", cfg, path, message)
		})
		if !slices.Equal(paths, []string{wantPath}) {
			t.Errorf("%+v: faults at %q, want %q", cfg, paths, wantPath)
		}
		if _, err := cors.New(cfg); err == nil || err.Error() != strings.Join(texts, "\n") {
			t.Errorf("%+v: New says %v, Check %q", cfg, err, texts)
		}
	}
	for _, origin := range []string{
		"", "null", "NULL", "app.example.com", "//app.example.com", "*://app.example.com", "1http://a.example",
		"https://", "https:///", "https://app.example.com/", "https://app.example.com/chat", "https://a.example?x", "https://a.example#x",
		"https://u:secret@a.example", "https://a.example\\b", "https://a example.com", " https://a.example", "https://a.example ",
		"https://a.example:", "https://a.example:0", "https://a.example:65536", "https://a.example:x", "https://a.example:+1", "https://:80",
		"https://a..example", "https://.example.com", "https://example.com.", "https://b\u00fccher.example", "https://%61.example",
		"http://::1", "http://[::1", "http://[::1%25eth0]", "http://[127.0.0.1]", "http://[::1]x",
		"https://*", "https://*:8443", "https://*.", "https://*.com", "https://*.co.uk", "https://*.com.cn:8443", "https://*.local*",
		"https://*.*.example.com", "https://a.*.example.com", "https://*a.example.com", "https://a*.example.com", "https://**.example.com",
		"https://app.example.*", "https://*.[::1]", "app://*.obsidian.md", "chrome-extension://*", "file://",
	} {
		f(cors.Config{Origins: []string{"https://fine.example", origin}}, "origins[1]")
	}
	f(cors.Config{Methods: []string{"GET", ""}}, "methods[1]")
	f(cors.Config{Methods: []string{"GET, POST"}}, "methods[0]")
	f(cors.Config{Headers: []string{"*", "x y"}}, "headers[1]")
	f(cors.Config{Headers: []string{"x\r\ny"}}, "headers[0]")
}

// TestFaultsTogether shows that New reports all faults and quotes no password.
func TestFaultsTogether(t *testing.T) {
	_, err := cors.New(cors.Config{
		Origins: []string{"null", "https://user:canary@a.example"}, Methods: []string{"a b"}, Headers: []string{"c d"},
	})
	for _, path := range []string{"origins[0]", "origins[1]", "methods[0]", "headers[0]"} {
		if err == nil || !strings.Contains(err.Error(), "cors: "+path+": ") {
			t.Errorf("no fault of %s in:\n%v", path, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), "canary") {
		t.Errorf("the password is quoted in:\n%v", err)
	}
}

func TestNoOriginAllocatesNothing(t *testing.T) {
	middleware, err := cors.New(defaults())
	if err != nil {
		t.Fatal(err)
	}
	h := middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil)
	if got := testing.AllocsPerRun(100, func() {
		clear(w.Header())
		h.ServeHTTP(w, r)
	}); got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
}

func BenchmarkActual(b *testing.B) {
	f := func(name string, cfg cors.Config, origin string) {
		b.Run(name, func(b *testing.B) {
			middleware, err := cors.New(cfg)
			if err != nil {
				b.Fatal(err)
			}
			h := middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil)
			if origin != "" {
				r.Header.Set("Origin", origin)
			}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.Header())
				h.ServeHTTP(w, r)
			}
		})
	}
	f("no origin", defaults(), "")
	f("any", defaults(), "https://a.example")
	f("wildcard", cors.Config{Origins: []string{"https://*.example.com"}}, "https://a.example.com")
}
