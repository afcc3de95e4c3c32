// Secrets: what a provider does with the credential it was given, and what a config
// holds, never comes back out: not to a client, not into the log, not onto a screen.
package gateway_test

import (
	"fmt"
	"strings"
	"testing"

	"proxycast/internal_test/harness"
)

func TestProviderQuotesCredential(t *testing.T) {
	const second, custom = "sk-canary-second-0123456789abcdef", "canary-custom-header-0123456789"
	p := harness.NewProvider(t, nil)
	g := start(t, relayTo(p, "openai", object{"api_key": "", "api_keys": list{harness.ProviderKey, second}, "headers": object{"X-Tenant-Secret": custom}}))
	quoted := harness.ProviderKey + " " + second
	f := func(name, request string, answer script) {
		t.Run(name, func(t *testing.T) {
			p.Play(answer)
			r := g.Send(t, "POST", "/v1/chat/completions", request)
			got, rec := fmt.Sprint(r.Header, string(r.Body)), fmt.Sprintf("%+v", g.Next(t))
			for _, canary := range []string{harness.ProviderKey, second} {
				if at := strings.Index(got, canary); at >= 0 {
					t.Errorf("the client got %d %.150q", r.Status, got[max(0, at-40):])
				}
				if strings.Contains(rec, canary) {
					t.Errorf("record: %s", rec)
				}
			}
		})
	}
	json := "Content-Type: application/json"
	errorWith := func(message, kind string) string {
		return `{"error":{"message":"` + message + `","type":"` + kind + `","param":null,"code":"` + kind + `"}}`
	}
	plain := func(status int, body string, header ...string) canned {
		return canned{status: status, header: append(header, json), body: body}
	}
	stream := func(text string) canned { return events(text) }
	f("header of a 200", chatRequest, plain(200, chatReply, "X-Echo: "+quoted, "X-Request-Id: "+quoted, "X-"+harness.ProviderKey+": 1").serve(whole))
	f("header of an error", chatRequest, plain(400, errorWith("no", "x"), "X-Echo: Bearer "+quoted).serve(whole))
	f("message", chatRequest, plain(400, errorWith("bad "+quoted, "x")).serve(whole))
	f("message a byte at a time", chatRequest, plain(400, errorWith("bad "+quoted, "x")).serve(1))
	f("type", chatRequest, plain(400, errorWith("no", quoted)).serve(whole))
	f("bare string", chatRequest, plain(403, `{"error":"`+quoted+`"}`).serve(whole))
	f("key of the object", chatRequest, plain(422, `{"`+quoted+`":{"error":true}}`).serve(whole))
	f("repeated", chatRequest, plain(400, errorWith(strings.Repeat(harness.ProviderKey, 1000), "x")).serve(1000))
	f("a large error", chatRequest, plain(400, errorWith(strings.Repeat("x", 3<<20)+quoted, "x")).serve(whole))
	f("a 429 to a stream", chatStreamRequest, plain(429, errorWith("slow "+quoted, "x")).serve(whole))
	failed := "data: " + errorWith("died with "+quoted, "server_error") + "\n\n"
	for name, size := range map[string]int{"whole": whole, "event by event": byEvent, "a byte at a time": 1} {
		f("error event "+name, chatStreamRequest, stream(chatStart+chatDelta+failed).serve(size))
		f("first error event "+name, strings.TrimSuffix(chatStreamRequest, "}")+`,"stream_options":null}`, stream(failed).serve(size))
	}
	f("text", chatRequest, canned{status: 500, header: []string{"Content-Type: text/plain"}, body: quoted}.serve(whole))
	f("reason phrase", chatRequest, func(x *exchange) bool {
		x.Write([]byte("HTTP/1.1 500 "+harness.ProviderKey+"\r\nContent-Length: 0\r\n\r\n"), whole)
		return true
	})
	f("redirect", chatRequest, canned{status: 307, header: []string{"Location: http://127.0.0.1/?" + harness.ProviderKey}}.serve(whole))
	f("garbage", chatRequest, func(x *exchange) bool { x.Write([]byte(quoted+"\r\n\r\n"), whole); return false })

	g.SecretFree(t, second, custom)
	status := g.Send(t, "GET", "/_status", "", "Authorization: Bearer "+harness.AdminKey)
	rows := g.Send(t, "GET", "/_logs", "", "Authorization: Bearer "+harness.AdminKey)
	for _, canary := range []string{harness.ProviderKey, second, custom, harness.AdminKey, harness.UserKey} {
		if strings.Contains(string(status.Body)+string(rows.Body), canary) {
			t.Errorf("%s is shown to the operator", canary)
		}
	}
	if x := p.Last(t); x.Header.Get("X-Tenant-Secret") != custom {
		t.Errorf("the configured header did not reach the provider:\n%s", x.Head)
	}
}

// A record says what failed, never what was said: prompts come back in error texts.
func TestNoContentInLog(t *testing.T) {
	const canary = "CANARY-PROMPT"
	p := harness.NewProvider(t, nil)
	g := start(t, relayTo(p, "openai"))
	request := `{"model":"m","messages":[{"role":"user","content":"` + canary + `"}]`
	clean := func(n int) {
		t.Helper()
		for _, rec := range g.Expect(t, n) {
			if strings.Contains(fmt.Sprintf("%+v", rec), canary) {
				t.Errorf("record: %+v", rec)
			}
		}
	}
	for _, answer := range []canned{
		{status: 400, header: []string{"Content-Type: application/json"}, body: `{"error":{"message":"cannot process: ` + canary + `","type":"invalid_request_error"}}`},
		{status: 400, header: []string{"Content-Type: application/json"}, body: `{"error":"` + canary + `"}`},
		{status: 500, header: []string{"Content-Type: text/html"}, body: canary},
		events(chatStart + `data: {"error":{"message":"` + canary + `","type":"server_error"}}` + "\n\n"),
		ok(strings.Replace(chatReply, "Hello!", canary, 1)),
	} {
		p.Play(answer.serve(whole))
		g.Send(t, "POST", "/v1/chat/completions?q="+canary, request+"}", "X-Note: "+canary)
		g.Send(t, "POST", "/v1/chat/completions", request+`,"stream":true}`)
		clean(2)
	}
	g.Send(t, "POST", "/v1/chat/completions", request+canary)
	g.Send(t, "POST", "/v1/chat/completions", `{"messages":["`+canary+`"]}`)
	clean(2)
	g.SecretFree(t, canary)
}

// A config's faults name keys and places, never values of secrets.
func TestConfigFaultsHideSecrets(t *testing.T) {
	const canary = "canary-secret-in-config-0123456789"
	dir := t.TempDir()
	harness.WriteFile(t, dir, "key.txt", canary+"\n")
	for _, text := range []string{
		`{"auth": {"keys": [{"name": "a", "key": "` + canary + `", "kye": 1}, {"name": "b", "key": "` + canary + `"}]}}`,
		`{"auth": {"keys": [{"name": "a", "key": ["` + canary + `"]}, {"name": "c", "key": "` + canary + ` x"}, {"name": "d", "key_sha256": "` + canary + `"}]}}`,
		`{"upstream": {"providers": [{"name": "p", "type": "openai", "base_url": "http://user:` + canary + `@127.0.0.1 :x", "proxy": "ftp://u:` + canary + `@h", "api_key": "` + canary + `\n"}]}}`,
		`{"auth": {"keys": [{"name": "${file:key.txt}", "key": "${file:key.txt}", "kye": 1}]}, "server": {"host": "${SECRET_VARIABLE} x"}}`,
		`{"auth": {"keys": [{"name": "a", "key": "` + canary + `" "x"}]}}`,
	} {
		harness.WriteFile(t, dir, "config.json", text)
		p := harness.Execute(t, dir, []string{"SECRET_VARIABLE=" + canary}, "check")
		code := p.Exit(t, harness.Patience)
		if said := p.Stdout.String() + p.Stderr.String(); code != 2 || strings.Contains(said, canary) {
			t.Errorf("exit code %d for %s\n%s", code, text, said)
		}
	}
}
