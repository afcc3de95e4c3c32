// Credentials: who may come in.
package gateway_test

import (
	"bytes"
	"strings"
	"testing"
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
				p.play(answer.serve(whole))
				before := p.count()
				r := g.raw(t, []byte(wireRequest("POST", path, body, header...)), 0)
				rec := g.next(t)
				if status == 200 {
					if r.status != 200 || rec.Key == "" {
						t.Errorf("%s: %d %s (key %q)", dialect, r.status, r.body, rec.Key)
					}
					continue
				}
				checkError(t, r, dialect, status)
				if bytes.Contains(r.body, []byte(wrong)) || bytes.Contains(r.body, []byte(userKey)) {
					t.Errorf("the answer quotes a key: %s", r.body)
				}
				if rec.Status != status || rec.Key != "" || p.count() != before {
					t.Errorf("%d reached the provider; record: %+v", p.count()-before, rec)
				}
			}
		})
	}
	f("bearer", 200)
	f("lower-case scheme", 200, "Authorization: bearer "+userKey)
	f("x-api-key", 200, "Authorization:", "x-api-key: "+userKey)
	f("both the same", 200, "x-api-key: "+userKey)
	f("a stale x-api-key", 200, "x-api-key: "+wrong)
	f("a stale bearer", 200, "Authorization: Bearer "+wrong, "x-api-key: "+userKey)
	f("two valid", 401, "x-api-key: "+adminKey)
	f("none", 401, "Authorization:")
	f("wrong", 401, "Authorization: Bearer "+wrong)
	f("both wrong", 401, "Authorization: Bearer "+wrong, "x-api-key: "+wrong)
	f("repeated bearer", 401, "+Authorization: Bearer "+userKey)
	f("repeated bearer, wrong last", 401, "+Authorization: Bearer "+wrong)
	f("repeated bearer, wrong first", 401, "Authorization: Bearer "+wrong, "+Authorization: Bearer "+userKey)
	f("repeated x-api-key", 401, "Authorization:", "x-api-key: "+userKey, "+x-api-key: "+userKey)
	f("basic", 401, "Authorization: Basic "+userKey)
	f("no scheme", 401, "Authorization: "+userKey)
	f("two words", 401, "Authorization: Bearer "+userKey+" "+userKey)
	f("two in a list", 401, "Authorization: Bearer "+userKey+", Bearer "+userKey)
	f("a prefix", 401, "Authorization: Bearer "+userKey[:len(userKey)-1])
	f("one more", 401, "Authorization: Bearer "+userKey+"0")
	f("upper case", 401, "Authorization: Bearer "+strings.ToUpper(userKey))
	f("api-key", 401, "Authorization:", "api-key: "+userKey)
	f("cookie", 401, "Authorization:", "Cookie: key="+userKey)
	f("forwarded for loopback", 401, "Authorization:", "X-Forwarded-For: 127.0.0.1")

	t.Run("query", func(t *testing.T) {
		for _, name := range []string{"key", "api_key", "api-key", "x-api-key", "access_token", "authorization"} {
			r := g.raw(t, []byte(wireRequest("POST", "/v1/chat/completions?"+name+"="+userKey, chatRequest, "Authorization:")), 0)
			checkError(t, r, "openai", 401)
			g.next(t)
		}
	})
	t.Run("trailer", func(t *testing.T) {
		request := wireRequest("POST", "/v1/chat/completions", "", "Authorization:", "Content-Type: application/json", "Transfer-Encoding: chunked", "Trailer: Authorization") +
			chunk(chatRequest) + "0\r\nAuthorization: Bearer " + userKey + "\r\n\r\n"
		checkError(t, g.raw(t, []byte(request), 0), "openai", 401)
		g.next(t)
	})
	t.Run("default deny", func(t *testing.T) {
		for _, target := range []string{"/v1/models", "/_logs", "/_status", "/api/provider/fake/v1/models"} {
			r := g.raw(t, []byte(wireRequest("GET", target, "", "Authorization:")), 0)
			checkError(t, r, "openai", 401)
			if rec := g.next(t); rec.Status != 401 {
				t.Errorf("record: %+v", rec)
			}
		}
	})
	g.secretFree(t, wrong)
}
