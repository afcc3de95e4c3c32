// Credentials: who may come in.
package gateway_test

import (
	"bytes"
	"strings"
	"testing"

	"proxycast/internal_test/harness"
)

func TestCredentials(t *testing.T) {
	g, p := startBoth(t)
	const wrong = "wrong-key-0123456789"
	f := func(name string, status int, header ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			for dialect, path := range map[string]string{"openai": "/v1/chat/completions", "anthropic": "/v1/messages"} {
				body, answer := chatRequest, ok(chatReply)
				if dialect == "anthropic" {
					body, answer = messageRequest, ok(messageReply)
				}
				p.Play(answer.serve(whole))
				before := p.Count()
				r := g.Raw(t, []byte(wireRequest("POST", path, body, header...)), 0)
				rec := g.Next(t)
				if status == 200 {
					if r.Status != 200 || rec.Key == "" {
						t.Errorf("%s: %d %s (key %q)", dialect, r.Status, r.Body, rec.Key)
					}
					continue
				}
				checkError(t, r, dialect, status)
				if bytes.Contains(r.Body, []byte(wrong)) || bytes.Contains(r.Body, []byte(harness.UserKey)) {
					t.Errorf("the answer quotes a key: %s", r.Body)
				}
				if rec.Status != status || rec.Key != "" || p.Count() != before {
					t.Errorf("%d reached the provider; record: %+v", p.Count()-before, rec)
				}
			}
		})
	}
	f("bearer", 200)
	f("lower-case scheme", 200, "Authorization: bearer "+harness.UserKey)
	f("x-api-key", 200, "Authorization:", "x-api-key: "+harness.UserKey)
	f("both the same", 200, "x-api-key: "+harness.UserKey)
	f("a stale x-api-key", 200, "x-api-key: "+wrong)
	f("a stale bearer", 200, "Authorization: Bearer "+wrong, "x-api-key: "+harness.UserKey)
	f("two valid", 401, "x-api-key: "+harness.AdminKey)
	f("none", 401, "Authorization:")
	f("wrong", 401, "Authorization: Bearer "+wrong)
	f("both wrong", 401, "Authorization: Bearer "+wrong, "x-api-key: "+wrong)
	f("repeated bearer", 401, "+Authorization: Bearer "+harness.UserKey)
	f("repeated bearer, wrong last", 401, "+Authorization: Bearer "+wrong)
	f("repeated bearer, wrong first", 401, "Authorization: Bearer "+wrong, "+Authorization: Bearer "+harness.UserKey)
	f("repeated x-api-key", 401, "Authorization:", "x-api-key: "+harness.UserKey, "+x-api-key: "+harness.UserKey)
	f("basic", 401, "Authorization: Basic "+harness.UserKey)
	f("no scheme", 401, "Authorization: "+harness.UserKey)
	f("two words", 401, "Authorization: Bearer "+harness.UserKey+" "+harness.UserKey)
	f("two in a list", 401, "Authorization: Bearer "+harness.UserKey+", Bearer "+harness.UserKey)
	f("a prefix", 401, "Authorization: Bearer "+harness.UserKey[:len(harness.UserKey)-1])
	f("one more", 401, "Authorization: Bearer "+harness.UserKey+"0")
	f("upper case", 401, "Authorization: Bearer "+strings.ToUpper(harness.UserKey))
	f("api-key", 401, "Authorization:", "api-key: "+harness.UserKey)
	f("cookie", 401, "Authorization:", "Cookie: key="+harness.UserKey)
	f("forwarded for loopback", 401, "Authorization:", "X-Forwarded-For: 127.0.0.1")

	t.Run("query", func(t *testing.T) {
		for _, name := range []string{"key", "api_key", "api-key", "x-api-key", "access_token", "authorization"} {
			r := g.Raw(t, []byte(wireRequest("POST", "/v1/chat/completions?"+name+"="+harness.UserKey, chatRequest, "Authorization:")), 0)
			checkError(t, r, "openai", 401)
			g.Next(t)
		}
	})
	t.Run("trailer", func(t *testing.T) {
		request := wireRequest("POST", "/v1/chat/completions", "", "Authorization:", "Content-Type: application/json", "Transfer-Encoding: chunked", "Trailer: Authorization") +
			harness.Chunk(chatRequest) + "0\r\nAuthorization: Bearer " + harness.UserKey + "\r\n\r\n"
		checkError(t, g.Raw(t, []byte(request), 0), "openai", 401)
		g.Next(t)
	})
	t.Run("default deny", func(t *testing.T) {
		for _, target := range []string{"/v1/models", "/_logs", "/_status", "/api/provider/fake/v1/models"} {
			r := g.Raw(t, []byte(wireRequest("GET", target, "", "Authorization:")), 0)
			checkError(t, r, "openai", 401)
			if rec := g.Next(t); rec.Status != 401 {
				t.Errorf("record: %+v", rec)
			}
		}
	})
	g.SecretFree(t, wrong)
}
