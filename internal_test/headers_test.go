// Headers and paths: what passes between client and provider beside the body.
package gateway_test

import (
	"context"
	"strings"
	"testing"

	"proxycast/internal_test/harness"
)

// Headers: credentials and what speaks of the way here stay behind, all else passes.
func TestHeaders(t *testing.T) {
	for _, kind := range []string{"openai", "anthropic"} {
		t.Run(kind, func(t *testing.T) {
			path, body, answer := "/v1/chat/completions", chatRequest, chatReply
			if kind == "anthropic" {
				path, body, answer = "/v1/messages", messageRequest, messageReply
			}
			p := harness.NewProvider(t, canned{status: 200, body: answer, header: []string{
				"Content-Type: application/json", "X-Request-Id: up-1", "Anthropic-Workspace-Id: w1", "Retry-After: 3",
				"X-Ratelimit-Remaining-Tokens: 9", "Openai-Version: 2020-10-01", "X-Other: kept",
				"Set-Cookie: a=b", "Alt-Svc: h3", "Strict-Transport-Security: max-age=1", "Access-Control-Allow-Origin: https://evil.example",
				"Cf-Ray: 1", "Openai-Organization: org", "Openai-Project: proj", "Anthropic-Organization-Id: org", "Location: http://evil.example/",
				"Keep-Alive: timeout=9", "Connection: X-Hop", "X-Hop: 1",
			}}.serve(whole))
			g := start(t, relayTo(p, kind))
			req := g.Request(context.Background(), "POST", path, body,
				"anthropic-version: 2026-10-21", "anthropic-beta: a-1,b-2 , c", "openai-beta: x", "user-agent: sdk/1", "x-stainless-lang: js", "idempotency-key: i",
				"cookie: s=1", "api-key: k", "proxy-authorization: Basic eA==", "forwarded: for=1", "x-forwarded-for: 1.2.3.4", "x-forwarded-host: h", "x-real-ip: 1.2.3.4",
				"via: 1.1 x", "origin: http://localhost", "referer: http://r", "sec-fetch-mode: cors", "access-control-request-method: POST",
				"openai-organization: o", "openai-project: p", "x-proxycast-x: y", "accept-encoding: gzip", "te: trailers", "connection: x-hop", "x-hop: 1")
			r, err := g.Try(req)
			if err != nil || r.Status != 200 {
				t.Fatal(err, r.Status, string(r.Body))
			}
			x := p.Last(t)
			for name, want := range map[string]string{
				"Anthropic-Version": "2026-10-21", "Anthropic-Beta": "a-1,b-2 , c", "Openai-Beta": "x", "User-Agent": "sdk/1",
				"Idempotency-Key": "i", "Content-Type": "application/json",
			} {
				if got := x.Header.Get(name); got != want {
					t.Errorf("the provider got %s %q, want %q", name, got, want)
				}
			}
			for _, name := range []string{"Cookie", "Api-Key", "Proxy-Authorization", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via", "Origin",
				"Referer", "Sec-Fetch-Mode", "Access-Control-Request-Method", "Openai-Organization", "Openai-Project", "X-Proxycast-X", "Te", "X-Hop", "Expect"} {
				if got, present := x.Header[name]; present {
					t.Errorf("the provider got %s %q", name, got)
				}
			}
			if got := x.Header.Get("Accept-Encoding"); got != "" && got != "identity" {
				t.Errorf("the provider got accept-encoding %q", got)
			}
			credential, other := x.Header.Get("Authorization"), x.Header.Get("X-Api-Key")
			if kind == "anthropic" {
				credential, other = "Bearer "+other, credential
			}
			if credential != "Bearer "+harness.ProviderKey || other != "" {
				t.Errorf("credentials at the provider: %q and %q", credential, other)
			}
			if strings.Contains(x.Head, harness.UserKey) {
				t.Errorf("the client's key reached the provider:\n%s", x.Head)
			}

			for name, want := range map[string]string{
				"Content-Type": "application/json", "X-Request-Id": "up-1", "Anthropic-Workspace-Id": "w1", "Retry-After": "3",
				"X-Ratelimit-Remaining-Tokens": "9", "Openai-Version": "2020-10-01", "X-Other": "kept",
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("the client got %s %q, want %q", name, got, want)
				}
			}
			for _, name := range []string{"Set-Cookie", "Alt-Svc", "Strict-Transport-Security", "Cf-Ray", "Openai-Organization", "Openai-Project",
				"Anthropic-Organization-Id", "Location", "Keep-Alive", "X-Hop"} {
				if got, present := r.Header[name]; present {
					t.Errorf("the client got %s %q", name, got)
				}
			}
			if got := r.Header.Get("Access-Control-Allow-Origin"); got == "https://evil.example" {
				t.Error("the provider's CORS header reached the client")
			}
			rec := g.Next(t)
			if rec.UpstreamID != "up-1" || r.Header.Get("Request-Id") != rec.ID || rec.ID == "" {
				t.Errorf("ids: upstream_id %q, request-id %q, id %q", rec.UpstreamID, r.Header.Get("Request-Id"), rec.ID)
			}
			if rec.Client != "sdk/1" {
				t.Errorf("record: client %q", rec.Client)
			}
		})
	}

	t.Run("defaults", func(t *testing.T) {
		p := harness.NewProvider(t, events(messageStream).serve(byEvent))
		g := start(t, relayTo(p, "anthropic"))
		r := g.Send(t, "POST", "/v1/messages", messageStreamRequest)
		if got := p.Last(t).Header.Get("Anthropic-Version"); got != "2023-06-01" {
			t.Errorf("anthropic-version %q", got)
		}
		if got := r.Header.Get("Cache-Control"); got != "no-cache" {
			t.Errorf("cache-control %q", got)
		}
		if got := r.Header.Get("X-Accel-Buffering"); got != "no" {
			t.Errorf("x-accel-buffering %q", got)
		}
		if r.Header.Get("X-Request-Id") == "" || r.Header.Get("Request-Id") == "" {
			t.Errorf("no request id in %v", r.Header)
		}
	})
}

// Base URLs: what clients and configs disagree on all lead to one place.
func TestPaths(t *testing.T) {
	f := func(kind, base, path, want string) {
		t.Helper()
		answer, body := ok(chatReply), chatRequest
		if strings.Contains(path, "messages") {
			answer, body = ok(messageReply), messageRequest
		}
		p := harness.NewProvider(t, answer.serve(whole))
		g := start(t, relayTo(p, kind, object{"base_url": p.URL + base}))
		r := g.Send(t, "POST", path, body)
		if r.Status != 200 || p.Last(t).Target != want {
			t.Errorf("%s at %s%s: %d, asked for %s, want %s", path, kind, base, r.Status, p.Last(t).Target, want)
		}
	}
	f("openai", "", "/v1/chat/completions", "/v1/chat/completions")
	f("openai", "/v1", "/v1/v1/chat/completions?a=1&a=%2F", "/v1/chat/completions?a=1&a=%2F")
	f("openai", "/api/v3", "/chat/completions", "/api/v3/chat/completions")
	f("openai", "/v1beta/openai/", "/api/provider/fake/v1/chat/completions", "/v1beta/openai/chat/completions")
	f("anthropic", "", "/v1/messages?beta=true", "/v1/messages?beta=true")
	f("anthropic", "/v1", "/messages", "/v1/messages")
	f("anthropic", "/proxy", "/api/provider/fake/messages", "/proxy/v1/messages")
}
