package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"proxycast/logs"
	"proxycast/server"
)

// What a config holds of secrets, and takes from elsewhere by its references, is told nowhere.

// asAdmin is the header of the operator.
var asAdmin = []string{"X-Api-Key", adminKey}

// loudly returns what the standard logger says from now on.
func loudly(t *testing.T) *bytes.Buffer {
	var said bytes.Buffer
	log.SetOutput(&said)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	return &said
}

// put saves text over HTTP.
func (g *gateway) put(text string) (*http.Response, string) {
	g.t.Helper()
	res, _ := g.do("GET", "/_config", "", asAdmin...)
	return g.do("PUT", "/_config", text, append(asAdmin, "If-Match", res.Header.Get("Etag"))...)
}

// A secret in a place that is not for it is quoted by no fault, wherever that is told.
func TestMisplacedSecretsAreNotQuoted(t *testing.T) {
	const openAIKey = "sk-proj-Ab12Cd34Ef56Gh78Ij90Kl12"
	provider := func(fields string) string {
		return `{"upstream":{"providers":[{"name":"p","type":"openai",` + fields + `}]}}`
	}
	key := func(fields string) string { return `{"auth":{"keys":[{"name":"k",` + fields + `}]}}` }
	places := []string{
		`SECRET`, `"SECRET"`, `{"server":SECRET}`, `{SECRET: 1}`, `{"a" SECRET}`, `{"a": 1} SECRET`, `{"a": "SECRET`, `/* SECRET`, `{"SECRET`,
		`{"SECRET": 1}`, `{"SECRET": {}, "SECRET": {}}`, `{"server":{"SECRET":1}}`, `{"server":{"port":1,"SECRET":"SECRET","SECRET":2}}`,
		`{"server":{"host":"SECRET/"}}`, `{"server":{"host":["SECRET"]}}`, `{"server":{"hosts":"SECRET"}}`, `{"server":{"hosts":["SECRET:1"]}}`,
		`{"server":{"port":"SECRET"}}`, `{"server":{"drain":"SECRET"}}`, `{"server":{"max_body":"SECRET"}}`, `{"server":{"trusted_proxies":["SECRET"]}}`,
		`{"server":{"tls":{"cert":"SECRET"}}}`, `{"server":{"tls":"SECRET"}}`, `{"auth":"SECRET"}`, `{"auth":{"enabled":"SECRET"}}`, `{"auth":{"keys":["SECRET"]}}`,
		`{"auth":{"keys":[{"name":"SECRET"}]}}`, `{"auth":{"keys":[{"name":"SECRET","key":"SECRET"},{"name":"SECRET","key":"SECRET"}]}}`,
		key(`"key":"SECRET SECRET"`), key(`"key_sha256":"SECRET"`), key(`"key":["SECRET"]`), key(`"key":"${SECRET}"`), key(`"key":"${SECRET:-SECRET}"`),
		key(`"key":"${file:SECRET}"`), key(`"key":"${file:/SECRET/SECRET}"`), key(`"key":"${SECRET"`), key(`"expires":"SECRET","key":"SECRET"`),
		key(`"models":"SECRET","key":"SECRET"`), key(`"models":["${SECRET}"],"key":"SECRET"`), key(`"key_file":"SECRET"`), key(`"SECRET":true`),
		key(`"requests_per_minute":"SECRET"`), key(`"admin":"SECRET"`), `{"cors":{"origins":["SECRET"]}}`, `{"cors":{"origins":["https://*.SECRET/SECRET"]}}`,
		`{"cors":{"methods":["SECRET SECRET"]}}`, `{"cors":{"headers":["SECRET:"]}}`, `{"logs":{"max_file":"SECRET"}}`, `{"logs":{"ring":"SECRET"}}`, `{"logs":{"file":["SECRET"]}}`,
		`{"upstream":{"providers":[{"name":"SECRET","type":"grpc"},{"name":"SECRET","type":"demo"}]}}`, `{"upstream":{"providers":[{"name":"SECRET SECRET"}]}}`,
		`{"upstream":{"providers":[{"name":"SECRET","type":"demo"}],"models":{"a":"nobody/x"}}}`,
		`{"upstream":{"providers":[{"name":"p","type":"SECRET"}]}}`, provider(`"base_url":"SECRET"`), provider(`"base_url":"http://u:SECRET@h"`),
		provider(`"base_url":"http://h:SECRET/"`), provider(`"base_url":"http://h/#SECRET"`), provider(`"proxy":"SECRET://h"`), provider(`"proxy":"SECRET"`),
		provider(`"api_key":["SECRET"]`), provider(`"api_key":" SECRET"`), provider(`"api_key":"${SECRET}"`), provider(`"api_key":"${FILE:SECRET}"`), provider(`"api_keys":"SECRET"`), provider(`"api_keys":[["SECRET"]]`),
		provider(`"api_key":"SECRET","api_keys":["SECRET"]`), provider(`"headers":{"SECRET\n":"SECRET"}`), provider(`"headers":{"SECRET":1}`), provider(`"headers":["SECRET"]`),
		provider(`"headers":{"SECRET":"a","SECRET":"b"}`), provider(`"models":["SECRET"],"timeouts":{"idle":"SECRET"}`), provider(`"stream_usage":"SECRET"`), provider(`"models":"SECRET"`),
		`{"upstream":{"models":{"SECRET":1}}}`, `{"upstream":{"models":{"SECRET":"demo"}}}`, `{"upstream":{"models":{"a":"SECRET"}}}`, `{"upstream":{"models":{"a":"SECRET/x"}}}`, `{"upstream":{"models":{"a":"demo/SECRET*"}}}`,
		`{"upstream":{"models":{"a":{"targets":"demo/x","strategy":"SECRET"}}}}`, `{"upstream":{"models":{"a":{"targets":"demo/x","commit":"SECRET"}}}}`, `{"upstream":{"models":{"a":["demo/x",{"to":"SECRET","weight":"SECRET"}]}}}`,
		`{"upstream":{"models":{"a":"demo/x","a":"SECRET"}}}`, `{"upstream":{"retries":"SECRET"}}`, `{"upstream":{"keepalive":"SECRET"}}`, `{"$schema":"${SECRET}"}`, `{"$schema":["SECRET"]}`,
	}
	g := start(t, withKeys)
	said := loudly(t)
	path := filepath.Join(g.dir, "config.json")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{openAIKey, "CANARY0123456789abcdef", "hunter2-3f9c2b7d-Tr0ub4dor", "pc_0123456789abcdefghijABCDEFGHIJ01"} {
		for _, place := range places {
			said.Reset()
			text := strings.ReplaceAll(place, "SECRET", secret)
			_, answer := g.put(text)
			_, checked := g.do("PUT", "/_config?check=1", text, asAdmin...)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			res, reloaded := g.do("POST", "/_service/reload", "", asAdmin...)
			if res.StatusCode == 200 {
				t.Fatalf("%s: is in force", place)
			}
			if _, err := server.Load(path, func(string) (string, bool) { return "", false }); err != nil {
				fmt.Fprintln(said, err)
			}
			_, status := g.do("GET", "/_status", "", asAdmin...)
			for where, told := range map[string]string{"PUT": answer, "check": checked, "reload": reloaded, "stderr": said.String(), "/_status": status} {
				if at := strings.Index(told, secret); at >= 0 {
					t.Errorf("%s: %s says …%s", place, where, told[max(0, at-60):])
				}
			}
			if err := os.WriteFile(path, good, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// startWith is start, with an environment.
func startWith(t *testing.T, text string, env map[string]string) *gateway {
	t.Helper()
	g := &gateway{t: t, dir: t.TempDir()}
	g.load(`{}`)
	path := filepath.Join(g.dir, "config.json")
	keys := fmt.Sprintf(`{"name":"root","key":%q,"admin":true}`, adminKey)
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "KEYS", keys)), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := server.Load(path, func(name string) (string, bool) { value, ok := env[name]; return value, ok })
	if err != nil {
		t.Fatal(err)
	}
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

// What a reference stands for is shown nowhere, only how it is written.
func TestReferencesStayReferences(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "canary")
	if err := os.WriteFile(file, []byte("CANARY-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := `{"auth":{"keys":[KEYS]},"server":{"host":"${HOST}"},"logs":{"file":"` + dir + `/${LOG}.jsonl"},
		"upstream":{"retries":0,"providers":[{"name":"p","type":"openai","base_url":"http://${ADDRESS}/v1","api_key":"${KEY}","headers":{"X-A":"${file:` + file + `}"},"models":["demo-*"]}]}}`
	said := loudly(t)
	g := startWith(t, text, map[string]string{"HOST": "127.0.0.1", "LOG": "CANARY-log", "ADDRESS": "127.0.0.1:1", "KEY": "CANARY-key-0123456789", "PEM": "CANARY-pem-0123456789"})
	g.do("POST", "/v1/chat/completions", chat, asAdmin...)
	_, status := g.do("GET", "/_status", "", asAdmin...)
	var shown struct {
		Config struct {
			Server   struct{ Host string }
			Logs     struct{ File string }
			Upstream struct {
				Providers []struct {
					BaseURL string `json:"base_url"`
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(status), &shown); err != nil {
		t.Fatal(err)
	}
	if c := shown.Config; c.Server.Host != "${HOST}" || c.Logs.File != dir+"/${LOG}.jsonl" || c.Upstream.Providers[0].BaseURL != "http://${ADDRESS}/v1" {
		t.Errorf("it shows as %+v", c)
	}
	_, answer := g.do("POST", "/_providers/p/test", "{}", asAdmin...)
	_, config := g.do("GET", "/_config", "", asAdmin...)
	certificate := strings.Replace(text, `"host":"${HOST}"`, `"host":"${HOST}","tls":{"cert":"${PEM}","key":"${PEM}"}`, 1)
	path := filepath.Join(g.dir, "config.json")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(certificate, "KEYS", fmt.Sprintf(`{"name":"root","key":%q,"admin":true}`, adminKey))), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := server.Load(path, func(name string) (string, bool) { return "CANARY-pem-0123456789", name == "PEM" })
	if err == nil {
		fmt.Fprintln(said, server.Check(cfg))
	}
	for where, told := range map[string]string{"/_status": status, "test": answer, "/_config": config, "stderr": said.String()} {
		for _, resolved := range []string{"CANARY-", "http://127.0.0.1:1/", "dial tcp 127.0.0.1:1:"} {
			if strings.Contains(told, resolved) {
				t.Errorf("%s shows %s: %s", where, resolved, told)
			}
		}
	}
}

// A mask stands for its secret only as long as that goes where it went.
func TestMasksAreBoundToTheirAddress(t *testing.T) {
	const file = `{"auth":{"keys":[KEYS]},"upstream":{"providers":[
		{"name":"a","type":"openai","base_url":"http://127.0.0.1:1/v1","api_key":"secret-of-a-0123456789","headers":{"X-T":"header-of-a-0123"},"proxy":"http://u:proxy-of-a-0123@127.0.0.1:1"},
		{"name":"b","type":"openai","base_url":"http://127.0.0.1:2/v1?key=query-of-b-0123","api_keys":["first-of-b-0123456789","second-of-b-0123456789"]},
		{"name":"c","type":"anthropic","api_key":"secret-of-c-0123456789"}]}}`
	f := func(name string, lost int, change ...string) {
		t.Run(name, func(t *testing.T) {
			g := start(t, file)
			_, shown := g.do("GET", "/_config", "", asAdmin...)
			text := strings.NewReplacer(change...).Replace(shown)
			if text == shown {
				t.Fatalf("nothing changes in %s", shown)
			}
			res, answer := g.put(text)
			after, _ := os.ReadFile(filepath.Join(g.dir, "config.json"))
			if got := strings.Count(answer, "write the value"); lost > 0 && (res.StatusCode != 422 || got != 2*lost+lost) {
				t.Errorf("%d, %d masks are refused, want %d: %s", res.StatusCode, got, 3*lost, answer)
			}
			if lost == 0 && (res.StatusCode != 200 || strings.Contains(string(after), "***")) {
				t.Errorf("%d %s\n%s", res.StatusCode, answer, after)
			}
		})
	}
	a := `"base_url":"http://127.0.0.1:1/v1","api_key":"***","headers":{"X-T":"***"},"proxy":"***"`
	f("new base_url", 2, `http://127.0.0.1:1/v1`, `http://127.0.0.1:9/v1`)
	f("new base_url, keys written", 0, a, `"base_url":"http://127.0.0.1:9/v1","api_key":"new-0123456789abcdef","headers":{},"proxy":"***"`)
	f("new proxy", 2, a, strings.Replace(a, `"proxy":"***"`, `"proxy":"http://127.0.0.1:9"`, 1))
	f("no proxy", 2, a, strings.Replace(a, `,"proxy":"***"`, ``, 1))
	f("proxy beside a query", 3, `"api_keys"`, `"proxy":"http://127.0.0.1:9","api_keys"`)
	f("query to another host", 2, `"name":"b","type":"openai","base_url":"***"`, `"name":"b","type":"openai","base_url":"http://127.0.0.1:9"`)
	f("new type", 1, `"anthropic","api_key"`, `"openai","api_key"`)
	f("an address where there was none", 1, `"anthropic","api_key"`, `"anthropic","base_url":"http://127.0.0.1:9","api_key"`)
	f("renamed", 3, `"name":"a"`, `"name":"d"`)
	f("names swapped", 6, `"name":"a"`, `"name":"b"`, `"name":"b"`, `"name":"a"`)
	f("header renamed", 1, `"X-T"`, `"X-U"`)
	f("provider added", 0, `"providers":[`, `"providers":[{"name":"new","type":"demo"},`)
	f("provider removed", 0, `,
		{"name":"c","type":"anthropic","api_key":"***"}`, ``)
	f("reordered", 0, `{"name":"c","type":"anthropic","api_key":"***"}`, `{"name":"d","type":"demo"}`, `"providers":[`, `"providers":[{"name":"c","type":"anthropic","api_key":"***"},`)
	f("models changed", 0, `"anthropic",`, `"anthropic","models":["m"],`)
}

// PUT cannot have a file shown.
func TestReferenceToAnyFile(t *testing.T) {
	g := start(t, withKeys)
	said := loudly(t)
	file := filepath.Join(g.dir, "shadow")
	if err := os.WriteFile(file, []byte("root:CANARY\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	keys := fmt.Sprintf(`{"name":"root","key":%q,"admin":true}`, adminKey)
	for _, text := range []string{
		`{"auth":{"keys":[{"name":"root","key":"***","admin":true,"models":["${file:` + file + `}"]}]}}`,
		`{"auth":{"keys":[` + keys + `]},"cors":{"headers":["${file:` + file + `}"]}}`,
		`{"auth":{"keys":[` + keys + `]},"upstream":{"providers":[{"name":"p","type":"demo","models":["${file:` + file + `}"]}]}}`,
		`{"auth":{"keys":[` + keys + `]},"upstream":{"models":{"a":"demo/${file:` + file + `}"}}}`,
	} {
		res, body := g.put(text)
		_, status := g.do("GET", "/_status", "", asAdmin...)
		if res.StatusCode != 422 || !strings.Contains(body, "not here") || strings.Contains(body+status+said.String(), "CANARY") {
			t.Errorf("%s: %d %s", text, res.StatusCode, body)
		}
	}
}

// What should not be is told at every reload.
func TestWarningsAreTold(t *testing.T) {
	g := start(t, withKeys)
	said := loudly(t)
	_, status := g.do("GET", "/_status", "", asAdmin...)
	if !strings.Contains(status, `"warnings":[]`) {
		t.Errorf("/_status: %s", status)
	}
	const odd = `{"auth":{"keys":[KEYS]},"upstream":{"providers":[{"name":"p","type":"openai","api_key":"${NO_SUCH_VARIABLE}"}]}}`
	path := filepath.Join(g.dir, "config.json")
	text := strings.ReplaceAll(odd, "KEYS", fmt.Sprintf(`{"name":"root","key":%q,"admin":true}`, adminKey))
	told := func(where, answer string) {
		t.Helper()
		_, status := g.do("GET", "/_status", "", asAdmin...)
		for name, text := range map[string]string{where: answer, "stderr": said.String(), "/_status": status} {
			if !strings.Contains(text, "NO_SUCH_VARIABLE is not set") {
				t.Errorf("%s: %s says %s", where, name, text)
			}
		}
		said.Reset()
	}
	_, answer := g.put(text)
	told("PUT", answer)
	_, answer = g.do("POST", "/_service/reload", "", asAdmin...)
	told("reload", answer)
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := g.server.ReloadFor("FILE"); err != nil {
		t.Error(err)
	}
	told("file", "NO_SUCH_VARIABLE is not set")
}
