// Routes: what each path and method answers, and that no way of writing a path or a
// host leads elsewhere.
package gateway_test

import (
	"bytes"
	"strings"
	"testing"

	"proxycast/internal_test/harness"
)

func TestRoutes(t *testing.T) {
	g, p := startBoth(t)
	f := func(dialect string, status int, method, target string, header ...string) reply {
		t.Helper()
		var r reply
		t.Run(method+" "+target, func(t *testing.T) {
			t.Helper()
			r = g.Raw(t, []byte(wireRequest(method, target, "", header...)), 0)
			if method == "HEAD" {
				if r.Status != status {
					t.Errorf("status %d, want %d", r.Status, status)
				}
			} else {
				checkError(t, r, dialect, status)
			}
			if rec := g.Next(t); rec.Status != status {
				t.Errorf("record: %+v", rec)
			}
			if status == 405 && r.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
		return r
	}
	f("openai", 404, "GET", "/v1/nothing")
	f("openai", 404, "POST", "/v2/chat/completions")
	f("openai", 404, "POST", "/v1/chat/completions/")
	f("openai", 404, "POST", "/v1/files")
	f("anthropic", 404, "POST", "/v1/messages/batches")
	f("anthropic", 404, "POST", "/api/provider/claude/v1/messages/nothing")
	f("openai", 404, "GET", "/favicon.ico")
	f("openai", 404, "GET", "/_nothing")
	f("openai", 404, "HEAD", "/v1/nothing")
	if r := f("openai", 405, "GET", "/v1/chat/completions"); !strings.Contains(r.Header.Get("Allow"), "POST") {
		t.Errorf("Allow %q", r.Header.Get("Allow"))
	}
	f("anthropic", 405, "GET", "/v1/messages")
	f("anthropic", 405, "DELETE", "/messages/count_tokens")
	f("openai", 405, "POST", "/v1/models", "Content-Length: 0")
	f("openai", 405, "PUT", "/api/provider/fake/v1/embeddings", "Content-Length: 0")
	f("openai", 405, "TRACE", "/v1/chat/completions")
	f("openai", 405, "post", "/v1/chat/completions", "Content-Length: 0")
	onlyModelLists(t, p)
	t.Run("unknown model", func(t *testing.T) {
		g := start(t, relayTo(p, "openai", object{"models": list{"gpt-*"}}))
		r := g.Send(t, "POST", "/v1/chat/completions", `{"model":"no-such-model"}`)
		checkError(t, r, "openai", 404)
		if code := harness.Parse(t, r.Body)["error"].(object)["code"]; code != "model_not_found" {
			t.Errorf("code %v", code)
		}
		if rec := g.Next(t); rec.Status != 404 || rec.Model != "no-such-model" || rec.Provider != "" {
			t.Errorf("record: %+v", rec)
		}
		checkError(t, g.Send(t, "GET", "/v1/models/no/such/model", ""), "openai", 404)
		checkError(t, g.Send(t, "GET", "/v1/models/nothing", "", "anthropic-version: 2023-06-01"), "anthropic", 404)
		g.Expect(t, 2)
		r = g.Send(t, "POST", "/api/provider/nobody/v1/messages", `{"model":"gpt-4o","max_tokens":1}`)
		checkError(t, r, "anthropic", 404)
		g.Next(t)
	})
}

// onlyModelLists fails if the provider was asked for more than its models, which a
// gateway asks for to turn a pattern into names.
func onlyModelLists(t testing.TB, p *provider) {
	t.Helper()
	for _, x := range p.Since(0) {
		if x.Method != "GET" || x.Target != "/v1/models" {
			t.Errorf("it reached the provider:\n%s", x.Head)
		}
	}
}

// No way of writing a path leads to another route.
func TestPathTricks(t *testing.T) {
	g, p := startBoth(t)
	for _, target := range []string{
		"/v1/chat%2Fcompletions", "/v1%2Fchat%2Fcompletions", "//v1/chat/completions", "/v1//chat/completions", "/v1/../v1/chat/completions", "/v1/./chat/completions",
		"/v1/chat/completions/..%2f..%2f..%2f_status", "/v1/models/..%2F..%2F_status", "/v1/models/../../_status", "/%5fstatus", "/_status%00", "/_status/", "//_status",
		"/_logs%2f", "/./_logs", "/v1/_logs", "/api/provider/../../_logs", "/api/provider/x/../../../_logs", "//evil.example/%2e%2e", "//evil.example/../", "/\\evil.example/..",
		"http://evil.example/_status", "/_ui/../_status", "/_ui/..%2f_status", "/livez/../_status", "/livez/..%2f_status", "/v1/models;/../_status", "/v1/chat/completions%3f",
	} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(method+" "+target, func(t *testing.T) {
				before := p.Count()
				body := ""
				if method == "POST" {
					body = chatRequest
				}
				r := g.Raw(t, []byte(wireRequest(method, target, body)), 0)
				location := r.Header.Get("Location")
				switch {
				case strings.HasPrefix(location, "//"), strings.HasPrefix(location, "/\\"), strings.Contains(location, "evil"):
					t.Errorf("redirected to %s", location)
				case r.Status == 200 && strings.HasPrefix(target, "/_ui/"), r.Status/100 == 3:
				case r.Status < 400:
					t.Errorf("status %d: %.200s", r.Status, r.Body)
				}
				for _, inner := range []string{`"uptime`, `"providers"`, `"in_flight"`} {
					if bytes.Contains(r.Body, []byte(inner)) {
						t.Errorf("an ordinary key sees %s", r.Body)
					}
				}
				if p.Count() != before {
					t.Errorf("it reached the provider as %s", p.Last(t).Target)
				}
			})
		}
	}
}

func TestHost(t *testing.T) {
	p := harness.NewProvider(t, ok(chatReply).serve(whole))
	cfg := relayTo(p, "openai")
	cfg["server"] = object{"hosts": list{"gateway.example"}}
	g := start(t, cfg)
	f := func(host string, status int) {
		t.Helper()
		r := g.Raw(t, []byte(wireRequest("POST", "/v1/chat/completions", chatRequest, "Host: "+host)), 0)
		if status == 403 {
			checkError(t, r, "openai", 403)
		} else if r.Status != status {
			t.Errorf("Host %s: %d %s", host, r.Status, r.Body)
		}
		if rec := g.Next(t); rec.Status != status {
			t.Errorf("Host %s: record %+v", host, rec)
		}
	}
	f("localhost", 200)
	f("localhost:9090", 200)
	f("127.9.9.9:1", 200)
	f("[::1]:9090", 200)
	f("gateway.example", 200)
	f("GATEWAY.example:8080", 200)
	f("evil.example", 403)
	f("localhost.evil.example", 403)
	f("127.0.0.1.evil.example:9090", 403)
	f("192.168.1.2", 403)
	if p.Count() != 6 {
		t.Errorf("%d requests reached the provider, want 6", p.Count())
	}
	r := g.Raw(t, []byte(wireRequest("GET", "/_status", "", "Host: evil.example", "Authorization: Bearer "+harness.AdminKey)), 0)
	checkError(t, r, "openai", 403)
}

func TestOperatorRoutes(t *testing.T) {
	g, _ := startBoth(t)
	for _, route := range []string{"GET /_logs", "GET /_status", "GET /metrics"} {
		method, path, _ := strings.Cut(route, " ")
		t.Run("ordinary key "+route, func(t *testing.T) {
			r := g.Raw(t, []byte(wireRequest(method, path, "", "Content-Length: 0", "Origin: http://localhost:3000")), 0)
			checkError(t, r, "openai", 403)
			if !bytes.Contains(r.Body, []byte("admin")) {
				t.Errorf("it does not say where the admin key is: %s", r.Body)
			}
			noCORS(t, r)
			if rec := g.Next(t); rec.Status != 403 || rec.Key != "user" {
				t.Errorf("record: %+v", rec)
			}
		})
		t.Run("preflight "+route, func(t *testing.T) {
			r := g.Raw(t, []byte(wireRequest("OPTIONS", path, "", "Authorization:", "Origin: http://localhost:3000", "Access-Control-Request-Method: "+method)), 0)
			noCORS(t, r)
			g.Seen = len(g.Records(t)) // a preflight that is none to this route may be recorded
		})
	}
	for _, path := range []string{"/_logs", "/_status"} {
		r := g.Send(t, "GET", path, "", "Authorization: Bearer "+harness.AdminKey, "Origin: http://localhost:3000")
		if r.Status != 200 {
			t.Errorf("%s: %d %s", path, r.Status, r.Body)
		}
		noCORS(t, r)
		for _, secret := range []string{harness.AdminKey, harness.UserKey, harness.ProviderKey} {
			if bytes.Contains(r.Body, []byte(secret)) {
				t.Errorf("%s shows %s", path, secret)
			}
		}
	}
	g.Expect(t, 0) // successful operator calls are not recorded
	noCORS(t, g.Send(t, "OPTIONS", "/_nothing", "", "Origin: http://localhost:3000", "Access-Control-Request-Method: GET"))
	g.SecretFree(t)
}

func noCORS(t testing.TB, r reply) {
	t.Helper()
	for name := range r.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("%s on an operator route", name)
		}
	}
}

func TestPreflight(t *testing.T) {
	g, p := startBoth(t)
	for _, path := range []string{"/v1/chat/completions", "/v1/messages", "/v1/models"} {
		r := g.Raw(t, []byte(wireRequest("OPTIONS", path, "", "Authorization:", "Origin: https://app.example", "Access-Control-Request-Method: POST",
			"Access-Control-Request-Headers: authorization,content-type,x-stainless-os")), 0)
		allowed := strings.ToLower(r.Header.Get("Access-Control-Allow-Headers"))
		if r.Status != 204 || r.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(allowed, "authorization") || !strings.Contains(allowed, "x-stainless-os") ||
			!strings.Contains(r.Header.Get("Access-Control-Allow-Methods"), "POST") {
			t.Errorf("%s: %d %v", path, r.Status, r.Header)
		}
		if r.Header.Get("Access-Control-Allow-Credentials") != "" || !strings.Contains(strings.Join(r.Header.Values("Vary"), ","), "Access-Control-Request-Headers") {
			t.Errorf("%s: %v", path, r.Header)
		}
	}
	g.Expect(t, 0)
	r := g.Send(t, "POST", "/v1/chat/completions", chatRequest, "Origin: https://app.example")
	if r.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(strings.ToLower(r.Header.Get("Access-Control-Expose-Headers")), "x-request-id") {
		t.Errorf("%v", r.Header)
	}
	r = g.Send(t, "POST", "/v1/chat/completions", chatRequest, "Authorization: Bearer wrong-key-0123456789", "Origin: https://app.example")
	if r.Status != 401 || r.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("a browser cannot read our 401: %d %v", r.Status, r.Header)
	}
	g.Expect(t, 2)
	if p.Count() != 1 {
		t.Errorf("%d requests reached the provider", p.Count())
	}
}

// The open routes answer without a key and leave no record.
func TestOpenRoutes(t *testing.T) {
	g, p := startBoth(t)
	for _, route := range []string{"GET /livez", "GET /health", "GET /healthz", "GET /readyz", "GET /", "HEAD /", "GET /api/hello", "POST /api/event_logging/batch"} {
		method, path, _ := strings.Cut(route, " ")
		body := ""
		if method == "POST" {
			body = "{}"
		}
		if r := g.Raw(t, []byte(wireRequest(method, path, body, "Authorization:")), 0); r.Status != 200 && r.Status != 204 {
			t.Errorf("%s: %d %s", route, r.Status, r.Body)
		}
	}
	g.Expect(t, 0)
	if p.Count() != 0 {
		t.Error("an open route asked a provider")
	}
}

// Model lists name what the key may ask for, in the dialect of the header.
func TestModelLists(t *testing.T) {
	p := harness.NewProvider(t, nil)
	cfg := relayTo(p, "openai", object{"models": list{"gpt-x", "gpt-*", "team/model"}})
	cfg["upstream"].(object)["models"] = object{"fast": "fake/gpt-x", "any-*": "fake/gpt-x"}
	cfg["auth"] = object{"keys": list{
		object{"name": "tests", "key": harness.AdminKey, "admin": true},
		object{"name": "user", "key": harness.UserKey, "models": list{"gpt-*", "team/*"}},
	}}
	g := start(t, cfg)
	ids := func(r reply) string {
		t.Helper()
		if r.Status != 200 {
			t.Fatalf("%d %s", r.Status, r.Body)
		}
		all := ""
		for _, model := range harness.Parse(t, r.Body)["data"].([]any) {
			all += model.(object)["id"].(string) + " "
		}
		return all
	}
	r := g.Send(t, "GET", "/v1/models", "")
	if got := ids(r); !strings.Contains(got, "gpt-x ") || !strings.Contains(got, "team/model ") || strings.ContainsAny(got, "*") || strings.Contains(got, "fast") {
		t.Errorf("the ordinary key sees %s", got)
	}
	if got := ids(g.Send(t, "GET", "/v1/models", "", "Authorization: Bearer "+harness.AdminKey)); !strings.Contains(got, "fast ") || strings.Contains(got, "*") {
		t.Errorf("the admin sees %s", got)
	}
	r = g.Send(t, "GET", "/v1/models", "", "anthropic-version: 2023-06-01")
	if doc := harness.Parse(t, r.Body); doc["has_more"] != false || ids(r) == "" || doc["data"].([]any)[0].(object)["type"] != "model" {
		t.Errorf("the Anthropic list: %s", r.Body)
	}
	r = g.Send(t, "GET", "/v1/models/team/model", "")
	if doc := harness.Parse(t, r.Body); r.Status != 200 || doc["id"] != "team/model" || doc["object"] != "model" {
		t.Errorf("%d %s", r.Status, r.Body)
	}
	for _, rec := range g.Expect(t, 4) {
		if rec.Endpoint != "models" || rec.Status != 200 {
			t.Errorf("record: %+v", rec)
		}
	}
	checkError(t, g.Send(t, "POST", "/v1/chat/completions", `{"model":"fast"}`), "openai", 403)
	if rec := g.Next(t); rec.Status != 403 || rec.Model != "fast" {
		t.Errorf("record: %+v", rec)
	}
	onlyModelLists(t, p)
}

// Tokens are counted by the provider where it can, else estimated and marked so.
func TestCountTokens(t *testing.T) {
	p := harness.NewProvider(t, ok(`{"input_tokens":42}`).serve(whole))
	g := start(t, object{"upstream": object{"providers": list{
		object{"name": "claude", "type": "anthropic", "base_url": p.URL, "api_key": harness.ProviderKey, "models": list{"claude-*"}},
		object{"name": "other", "type": "openai", "base_url": p.URL, "api_key": harness.ProviderKey, "models": list{"*"}},
	}}})
	r := g.Send(t, "POST", "/v1/messages/count_tokens?beta=true", messageRequest)
	if r.Status != 200 || string(r.Body) != `{"input_tokens":42}` || r.Header.Get("X-Token-Count") != "" || p.Last(t).Target != "/v1/messages/count_tokens?beta=true" {
		t.Errorf("%d %v %s", r.Status, r.Header, r.Body)
	}
	r = g.Send(t, "POST", "/v1/messages/count_tokens", strings.Replace(messageRequest, "claude-1", "gpt-x", 1))
	if n, _ := harness.Parse(t, r.Body)["input_tokens"].(float64); r.Status != 200 || n < 1 || r.Header.Get("X-Token-Count") != "estimate" {
		t.Errorf("%d %v %s", r.Status, r.Header, r.Body)
	}
	all := g.Expect(t, 2)
	if all[1].InputTokens != nil {
		t.Errorf("an estimate is stored as a fact: %+v", all[1])
	}
	if p.Count() != 1 {
		t.Errorf("%d requests reached providers", p.Count())
	}
}
