package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"proxycast/server/config"
)

// canary must not show up in any fault or warning.
const canary = "canary-3f9c2b7d"

func configEnv(name string) (string, bool) {
	value, ok := map[string]string{
		"KEY": canary + "-0123456789", "NAME": "dev", "EMPTY": "",
		"SIZE": "1MiB", "SPAN": "1d", "TYPE": "demo",
	}[name]
	return value, ok
}

// writeConfig puts text into config.json in a folder of its own and goes there.
func writeConfig(t *testing.T, text string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	t.Chdir(dir)
	writeFile(t, "config.json", text)
	return dir
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func loadText(t *testing.T, text string) *config.Config {
	t.Helper()
	writeConfig(t, text)
	cfg, err := config.Load("config.json", configEnv)
	if err != nil {
		t.Fatalf("refused:\n%v", err)
	}
	return cfg
}

func TestLoadFaults(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		writeConfig(t, text)
		_, err := config.Load("config.json", configEnv)
		if err == nil {
			t.Errorf("%s\naccepted, want\n%s", text, want)
		} else if err.Error() != want {
			t.Errorf("%s\ngives\n%v\nwant\n%s", text, err, want)
		}
	}

	// Syntax.
	f("", `config.json:1:1: the file is empty; {} is enough`)
	f("  // nothing", `config.json:1:13: the file is empty; {} is enough`)
	f("\ufeff x", `config.json:1:2: this is not a value; a string stands in double quotes`)
	f(`{} {}`, `config.json:1:4: expected the end of the file, got {`)
	f(`{"server"`, `config.json:1:10: expected ":" after the key, got the end of the file`)
	f(`{"server":`, `config.json:1:11: expected a value, got the end of the file`)
	f("{\n  \"server\": {\n", `config.json:2:13: this { is never closed`)
	f(`{"auth": {"keys": [1`, `config.json:1:19: this [ is never closed`)
	f(`{"auth": {"keys": [,]}}`, `config.json:1:20: expected a value, got ,`)
	f(`{,}`, `config.json:1:2: expected a key in double quotes or "}", got ,`)
	f(`{server: {}}`, `config.json:1:2: expected a key in double quotes or "}", got s`)
	f(`{'server': {}}`, `config.json:1:2: expected a key in double quotes or "}", got '`)
	f(`{"server" {}}`, `config.json:1:11: expected ":" after the key, got {`)
	f(`{"server": {} "auth": {}}`, `config.json:1:15: expected "," or "}", got "`)
	f(`{"cors": {"origins": ["a" "b"]}}`, `config.json:1:27: expected "," or "]", got "`)
	f(`{"auth": {"enabled": True}}`, `config.json:1:22: this is not a value; a string stands in double quotes`)
	f(`{"server": {"port": 08}}`, `config.json:1:21: this is not a number`)
	f(`{"server": {"port": +8}}`, `config.json:1:21: expected a value, got +`)
	f(`{"server": {"host": "a}`, `config.json:1:21: this string is never closed`)
	f("{\"server\": {\"host\": \"a\n\"}}", `config.json:1:21: this string is never closed`)
	f("{\"server\": {\"host\": \"a\tb\"}}", `config.json:1:23: a control character in a string is written \u0009`)
	f(`{"logs": {"file": "C:\logs"}}`, `config.json:1:23: an escape that JSON does not have; a backslash itself is written \\`)
	f(`{} /* open`, `config.json:1:4: this comment is never closed`)
	f(`{} / x`, `config.json:1:4: expected the end of the file, got /`)
	f("{}\x00", `config.json:1:3: expected the end of the file, got '\x00'`)
	f("{\n\"a\": \"\xff\"}", `config.json:2:7: the file is not UTF-8 here`)
	f(strings.Repeat("[", 101), `config.json:1:101: nested deeper than 100 levels`)

	// Kinds.
	f(`[]`, `config.json:1:1: expected an object, got a list`)
	f(`{"server": null}`, `config.json:1:12: server: expected an object, got null`)
	f(`{"server": {"port": "9090"}}`, `config.json:1:21: server.port: expected a whole number, got a string`)
	f(`{"server": {"port": 90.5}}`, `config.json:1:21: server.port: expected a whole number, got 90.5`)
	f(`{"server": {"port": 1e3}}`, `config.json:1:21: server.port: expected a whole number, got 1e3`)
	f(`{"server": {"port": 99999999999999999999}}`, `config.json:1:21: server.port: 99999999999999999999 is out of range`)
	f(`{"server": {"host": 1}}`, `config.json:1:21: server.host: expected a string, got a number`)
	f(`{"server": {"hosts": "a.example"}}`, `config.json:1:22: server.hosts: expected a list, got a string`)
	f(`{"server": {"hosts": [true]}}`, `config.json:1:23: server.hosts[0]: expected a string, got true`)
	f(`{"auth": {"enabled": "yes"}}`, `config.json:1:22: auth.enabled: expected true or false, got a string`)
	f(`{"upstream": {"models": {"gpt-4.1": 1}}}`, `config.json:1:37: upstream.models.gpt-4.1: expected a string, a list or an object, got a number`)

	// Keys.
	f(`{"sever": {}}`, `config.json:1:2: sever: unknown field (did you mean "server"?)`)
	f(`{"server": {"Host": "::1"}}`, `config.json:1:13: server.Host: unknown field (did you mean "host"?)`)
	f(`{"server": {"maxBody": 1}}`, `config.json:1:13: server.maxBody: unknown field (did you mean "max_body"?)`)
	f(`{"server": {"prot": 1}}`, `config.json:1:13: server.prot: unknown field (did you mean "port"?)`)
	f(`{"server": {"color": 1}}`, `config.json:1:13: server.color: unknown field`)
	f(`{"server": {"a b": 1}}`, `config.json:1:13: server.a b: unknown field`)
	f(`{"server": {"port": 1, "port": 2}}`, `config.json:1:24: server.port: this key is given twice`)
	f(`{"upstream": {"models": {"a": "demo/demo-1", "\u0061": "demo/demo-1"}}}`, `config.json:1:46: upstream.models.a: this key is given twice`)

	// Forms.
	f(`{"server": {"max_body": "32M"}}`, `config.json:1:25: server.max_body: expected a size such as "32MiB" or a number of bytes, got "32M"`)
	f(`{"server": {"max_body": "-1"}}`, `config.json:1:25: server.max_body: expected a size such as "32MiB" or a number of bytes, got "-1"`)
	f(`{"server": {"max_body": "9999999TiB"}}`, `config.json:1:25: server.max_body: expected a size such as "32MiB" or a number of bytes, got "9999999TiB"`)
	f(`{"server": {"max_body": true}}`, `config.json:1:25: server.max_body: expected a size such as "32MiB" or a number of bytes, got true`)
	f(`{"server": {"drain": 30}}`, `config.json:1:22: server.drain: expected a duration such as "30s", got a number`)
	f(`{"server": {"drain": "30"}}`, `config.json:1:22: server.drain: expected a duration such as "30s", got "30"`)
	f(`{"server": {"drain": "-1s"}}`, `config.json:1:22: server.drain: must not be negative`)
	f(`{"auth": {"keys": [{"name": "a", "key": "${KEY}", "expires": "tomorrow"}]}}`,
		`config.json:1:62: auth.keys[0].expires: expected a time such as "2027-01-01T00:00:00Z", got "tomorrow"`)
	f(`{"upstream": {"providers": [{"name": "a", "type": "Demo"}]}}`,
		`config.json:1:51: upstream.providers[0].type: expected one of openai, anthropic, demo, got "Demo"`)

	// References.
	f(`{"server": {"host": "${HOST}"}}`, `config.json:1:21: server.host: the variable HOST is not set`)
	f(`{"server": {"host": "${EMPTY}"}}`, `config.json:1:21: server.host: the variable EMPTY is not set`)
	f(`{"server": {"host": "${HOST"}}`, `config.json:1:21: server.host: ${ without }; a literal dollar is written $$`)
	f(`{"server": {"host": "${HOST:-localhost}"}}`, `config.json:1:21: server.host: a reference is ${NAME}, with letters, digits and _, or ${file:path}`)
	f(`{"server": {"host": "${}"}}`, `config.json:1:21: server.host: a reference is ${NAME}, with letters, digits and _, or ${file:path}`)
	f(`{"server": {"host": "${file:}"}}`, `config.json:1:21: server.host: ${file:} names no file`)
	const noReference = `${…} is resolved in keys, headers, base_url, proxy, server.host and paths of files, not here`
	f(`{"server": {"max_body": "${SIZE}"}}`, `config.json:1:25: server.max_body: `+noReference)
	f(`{"server": {"drain": "${SPAN}"}}`, `config.json:1:22: server.drain: `+noReference)
	f(`{"server": {"hosts": ["a.example", "${NAME}"]}}`, `config.json:1:36: server.hosts[1]: `+noReference)
	f(`{"$schema": "$${NAME}"}`, `config.json:1:13: $schema: `+noReference)
	f(`{"auth": {"keys": [{"name": "${NAME}", "key": "${KEY}", "models": ["${file:/etc/shadow}"]}]}}`,
		`config.json:1:29: auth.keys[0].name: `+noReference+"\n"+`config.json:1:68: auth.keys[0].models[0]: `+noReference)
	f(`{"upstream": {"providers": [{"name": "a", "type": "${TYPE}"}]}}`, `config.json:1:51: upstream.providers[0].type: `+noReference)
	f(`{"upstream": {"models": {"a": "${NAME}/x"}}}`, `config.json:1:31: upstream.models.a: `+noReference)
	f(`{"upstream": {"models": {"${NAME}": "demo/x"}}}`, `config.json:1:26: upstream.models: `+noReference)

	// What values mean.
	f(`{"auth": {"keys": [{"name": "a", "key": "${KEY}", "tokens_per_minute": -1}]}}`,
		`config.json:1:72: auth.keys[0].tokens_per_minute: must be from 0 to 1000000000000`)
	f(`{"server": {"port": 65536}}`, `config.json:1:21: server.port: must be from 0 to 65535`)
	f(`{"server": {"port": -1}}`, `config.json:1:21: server.port: must be from 0 to 65535`)
	f(`{"server": {"host": ""}}`, `config.json:1:21: server.host: is neither an IP address nor a host name; write it without scheme, port and path`)
	f(`{"server": {"host": "http://localhost"}}`, `config.json:1:21: server.host: is neither an IP address nor a host name; write it without scheme, port and path`)
	f(`{"server": {"host": "127.0.0.256"}}`, `config.json:1:21: server.host: is neither an IP address nor a host name; write it without scheme, port and path`)
	f(`{"server": {"hosts": ["ok.example", "a.example:80"]}}`,
		`config.json:1:37: server.hosts[1]: is neither an IP address nor a host name; write it without scheme, port and path`)
	f(`{"server": {"max_body": "1023B"}}`, `config.json:1:25: server.max_body: must be from 1KiB to 1TiB`)
	f(`{"server": {"max_inflight_bytes": "1MiB"}}`, `config.json:1:35: server.max_inflight_bytes: must be at least max_body`)
	f(`{"server": {"max_connections": -1}}`, `config.json:1:32: server.max_connections: must be from 0 to 1000000`)
	f(`{"server": {"tls": {"cert": "a.pem"}}}`, `config.json:1:29: server.tls.cert: needs tls.key too`)
	f(`{"server": {"tls": {"key": "a.pem"}}}`, `config.json:1:28: server.tls.key: needs tls.cert too`)
	f(`{"server": {"host": "0.0.0.0"}, "auth": {"enabled": false}}`,
		`config.json:1:21: server.host: auth is off, so the host must be 127.0.0.1, ::1 or localhost`)
}

// Every number of every section has its bounds from the tags of its field, which
// the decoder and the schema read alike.
func TestBounds(t *testing.T) {
	schema := configSchema(t)
	provider := func(field string) string {
		return `{"upstream": {"providers": [{"name": "p", "type": "demo", ` + field + `}]}}`
	}
	key := func(field string) string {
		return `{"auth": {"keys": [{"name": "k", "key": "${KEY}", ` + field + `}]}}`
	}
	for _, c := range []struct{ text, field, bounds string }{
		{`{"server": {"port": 65536}}`, "server.port", "0 to 65535"},
		{`{"server": {"max_connections": -1}}`, "server.max_connections", "0 to 1000000"},
		{`{"server": {"max_body": 0}}`, "server.max_body", "1KiB to 1TiB"},
		{`{"server": {"max_inflight_bytes": 9223372036854775807}}`, "server.max_inflight_bytes", "1KiB to 1TiB"},
		{`{"logs": {"max_file": 65535}}`, "logs.max_file", "64KiB to 1024TiB"},
		{`{"logs": {"max_total": 1}}`, "logs.max_total", "128KiB to 1024TiB"},
		{`{"logs": {"ring": -1}}`, "logs.ring", "1 to 1000000"},
		{`{"logs": {"ring": 1000001}}`, "logs.ring", "1 to 1000000"},
		{`{"upstream": {"retries": -1}}`, "upstream.retries", "0 to 10"},
		{`{"upstream": {"cooldown": {"after": -1}}}`, "upstream.cooldown.after", "0 to 1000000"},
		{`{"upstream": {"models": {"m": [{"to": "demo/a", "weight": -1}]}}}`, "upstream.models.m.targets[0].weight", "0 to 1000000"},
		{provider(`"max_concurrency": -1`), "upstream.providers[0].max_concurrency", "0 to 1000000"},
		{provider(`"max_concurrency": 2305843009213693952`), "upstream.providers[0].max_concurrency", "0 to 1000000"},
		{key(`"requests_per_minute": -1`), "auth.keys[0].requests_per_minute", "0 to 1000000000"},
		{key(`"tokens_per_minute": -1`), "auth.keys[0].tokens_per_minute", "0 to 1000000000000"},
		{key(`"concurrency": 1000001`), "auth.keys[0].concurrency", "0 to 1000000"},
	} {
		writeConfig(t, c.text)
		_, err := config.Load("config.json", configEnv)
		if want := c.field + ": must be from " + c.bounds; err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", c.text, err, want)
		}
		var value any
		if err := json.Unmarshal([]byte(c.text), &value); err != nil {
			t.Fatal(err)
		}
		if len(violations(schema, value, "")) == 0 {
			t.Errorf("the schema accepts %s", c.text)
		}
	}
}

func TestLoadReportsEveryFaultInOrder(t *testing.T) {
	writeConfig(t, "\ufeff{\r\n"+
		`  "upstream": {"models": {"快": "演示", "慢": 7}},`+"\r\n"+
		`  "srver": 1,`+"\r\n"+
		`  "server": {"port": 70000, "host": 5, /* 注释 */ "drain": "1 hour",`+"\r\n"+
		`    "max_body": "big", "max_inflight_bytes": 1}`+"\r\n}")
	_, err := config.Load("./config.json", configEnv)
	var faults config.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("got %v, want Faults", err)
	}
	// Other packages judge the alias too; only what is decoded here counts.
	faults = slices.DeleteFunc(faults, func(f config.Fault) bool { return f.Column == 32 && f.Line == 2 })
	want := strings.Join([]string{
		`./config.json:2:43: upstream.models.慢: expected a string, a list or an object, got a number`,
		`./config.json:3:3: srver: unknown field (did you mean "server"?)`,
		`./config.json:4:22: server.port: must be from 0 to 65535`,
		`./config.json:4:37: server.host: expected a string, got a number`,
		`./config.json:4:58: server.drain: expected a duration such as "30s", got "1 hour"`,
		`./config.json:5:17: server.max_body: expected a size such as "32MiB" or a number of bytes, got "big"`,
		`./config.json:5:46: server.max_inflight_bytes: must be from 1KiB to 1TiB`,
	}, "\n")
	if faults.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", faults, want)
	}
}

func TestLoadDefaults(t *testing.T) {
	writeConfig(t, "{}")
	cfg, err := config.Load("config.json", configEnv)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Getwd()
	if err != nil { // as Load sees it, links resolved
		t.Fatal(err)
	}
	want := config.Settings{Host: "127.0.0.1", Port: 9090, MaxBody: 32 << 20, MaxInflightBytes: 128 << 20, Drain: 30 * time.Second}
	if !reflect.DeepEqual(cfg.Server, want) {
		t.Errorf("server is %+v, want %+v", cfg.Server, want)
	}
	if cfg.Path != filepath.Join(dir, "config.json") || cfg.Dir != dir {
		t.Errorf("path is %s, folder is %s", cfg.Path, cfg.Dir)
	}
	if want := filepath.Join(dir, "data", "admin.key"); cfg.Auth.AdminKeyFile != want {
		t.Errorf("admin key file is %s, want %s", cfg.Auth.AdminKeyFile, want)
	}
	if want := filepath.Join(dir, "data", "requests.jsonl"); cfg.Logs.File != want {
		t.Errorf("log file is %s, want %s", cfg.Logs.File, want)
	}
	if !cfg.Auth.Enabled || len(cfg.Warnings) > 0 {
		t.Errorf("auth is %v, warnings are %q", cfg.Auth.Enabled, cfg.Warnings)
	}
	if p := cfg.Upstream.Providers; len(p) != 1 || p[0].Name != "demo" || !p[0].StreamUsage || p[0].Timeouts.Total != 30*time.Minute {
		t.Errorf("providers are %+v", p)
	}

	cfg = loadText(t, `{"cors": {"origins": []}, "upstream": {"providers": [
		{"name": "a", "type": "demo", "stream_usage": false},
		{"name": "b", "type": "demo", "timeouts": {"idle": "7d"}}]}}`)
	if len(cfg.CORS.Origins) != 0 || !slices.Equal(cfg.CORS.Headers, []string{"*"}) {
		t.Errorf("cors is %+v", cfg.CORS)
	}
	p := cfg.Upstream.Providers
	if p[0].StreamUsage || p[0].Timeouts.Idle != 5*time.Minute {
		t.Errorf("first provider is %+v", p[0])
	}
	if !p[1].StreamUsage || p[1].Timeouts.Idle != 7*24*time.Hour || p[1].Timeouts.Connect != 10*time.Second {
		t.Errorf("second provider is %+v", p[1])
	}
}

func TestLoadForms(t *testing.T) {
	cfg := loadText(t, "\ufeff// before\n"+`{ /**/ "server": /* a "comment" { */ {
		"host": "::1", // not the end: */ "
		"hosts": ["gateway.example", "10.0.0.7", "my_box",],
		"max_body": "10MB", "max_inflight_bytes": 1073741824, "drain": "1m30s",
	}, "auth": {"keys": [{"name": "t\u00e9st // no comment", "key": "${KEY}", "expires": "2999-01-01T00:00:00+02:00",
		"requests_per_minute": 60, "tokens_per_minute": 9000000000, "concurrency": 8},]},
	} /* after */ //`)
	if s := cfg.Server; s.Host != "::1" || len(s.Hosts) != 3 || s.MaxBody != 10e6 || s.MaxInflightBytes != 1<<30 || s.Drain != 90*time.Second {
		t.Errorf("server is %+v", s)
	}
	k := cfg.Auth.Keys[0]
	if k.Name != "tést // no comment" || !k.Expires.Equal(time.Date(2998, 12, 31, 22, 0, 0, 0, time.UTC)) {
		t.Errorf("key is %+v", k)
	}
	if k.RequestsPerMinute != 60 || k.TokensPerMinute != 9_000_000_000 || k.Concurrency != 8 {
		t.Errorf("limits of the key are %+v", k)
	}
}

func TestLoadHosts(t *testing.T) {
	f := func(host string, auth bool, ok bool) {
		t.Helper()
		text, err := json.Marshal(map[string]any{"server": map[string]any{"host": host}, "auth": map[string]any{"enabled": auth}})
		if err != nil {
			t.Fatal(err)
		}
		writeConfig(t, string(text))
		if _, err := config.Load("config.json", configEnv); (err == nil) != ok {
			t.Errorf("host %q with auth %v: %v", host, auth, err)
		}
	}
	for _, loopback := range []string{"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "localhost"} {
		f(loopback, true, true)
		f(loopback, false, true)
	}
	for _, open := range []string{"0.0.0.0", "::", "192.168.1.4", "gateway.example", "gateway.example.", "fe80::1%eth0", "localhost.example"} {
		f(open, true, true)
		f(open, false, false)
	}
	for _, wrong := range []string{"[::1]", "a b", "a..b", "-a", ".", "1.2.3", "*", "a/b", "bücher.example", strings.Repeat("a", 64)} {
		f(wrong, true, false)
	}
}

func TestLoadExpandsReferences(t *testing.T) {
	dir := writeConfig(t, "")
	writeFile(t, "secret.txt", "from-a-file\r\n\n")
	f := func(text, want string) {
		t.Helper()
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, "config.json", `{"server": {"tls": {"cert": `+string(quoted)+`, "key": "x"}}}`)
		cfg, err := config.Load("config.json", configEnv)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := cfg.Server.TLS.Cert; got != want {
			t.Errorf("%s gives %q, want %q", text, got, want)
		}
	}
	f(`/plain`, "/plain")
	f(`/${NAME}`, "/dev")
	f(`/<${NAME}|${NAME}>`, "/<dev|dev>")
	f(`/$`, "/$")
	f(`/a$b$`, "/a$b$")
	f(`/$$`, "/$")
	f(`/$${NAME}`, "/${NAME}")
	f(`/$$${NAME}`, "/$dev")
	f(`/${file:secret.txt}`, "/from-a-file\r\n")
	f(`/a ${file:`+filepath.Join(dir, "secret.txt")+`}`, "/a from-a-file\r\n")
}

// Where no reference is resolved, a dollar is a dollar.
func TestLoadKeepsDollars(t *testing.T) {
	cfg := loadText(t, `{"auth": {"keys": [{"name": "$", "key": "${KEY}", "models": ["a$b", "$$", "$NAME", "{x}$"]}]}, "upstream": {"models": {"$$": "demo/$$"}}}`)
	k := cfg.Auth.Keys[0]
	if k.Name != "$" || !slices.Equal(k.Models, []string{"a$b", "$$", "$NAME", "{x}$"}) || targetsOf(cfg, "$$") != "demo/$$×1" {
		t.Errorf("the key is %+v, the aliases are %v", k, cfg.Upstream.Models)
	}
}

func TestLoadReferencedFileFaults(t *testing.T) {
	provider := func(name string) string {
		return `{"name": "p` + name + `", "type": "demo", "proxy": "none", "headers": {"x": "${file:` + name + `}"}}`
	}
	writeConfig(t, `{"upstream": {"providers": [`+provider("gone")+", "+provider("empty")+", "+provider("big")+", "+provider("two\\nlines")+`]}, "server": {"host": "${file:bad}"}}`)
	writeFile(t, "empty", "\n")
	writeFile(t, "big", strings.Repeat(canary, 64<<10/len(canary)+1))
	writeFile(t, "bad", canary+" \n")
	_, err := config.Load("config.json", configEnv)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"upstream.providers[0].headers.x: the file of ${file:…} cannot be read: no such file", "providers[1].headers.x: the file of ${file:…} is empty",
		"providers[2].headers.x: the file of ${file:…} is larger than 64 KiB", "server.host: is neither",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	var faults config.Faults
	if !errors.As(err, &faults) || len(faults) != strings.Count(err.Error(), "\n")+1 {
		t.Errorf("not one fault a line:\n%v", err)
	}
}

func TestLoadPaths(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "key.pem")
	quoted, err := json.Marshal(outside)
	if err != nil {
		t.Fatal(err)
	}
	cfg := loadText(t, `{"server": {"tls": {"cert": "tls/cert.pem", "key": `+string(quoted)+`}}}`)
	if want := filepath.Join(cfg.Dir, "tls", "cert.pem"); cfg.Server.TLS.Cert != want || cfg.Server.TLS.Key != outside {
		t.Errorf("tls is %+v, want %s and %s", cfg.Server.TLS, want, outside)
	}
}

func TestLoadUnsetCredential(t *testing.T) {
	cfg := loadText(t, `{"upstream": {"providers": [
  {"name": "a", "type": "openai", "base_url": "https://a.example", "api_key": "${A_KEY}"},
  {"name": "b", "type": "openai", "base_url": "https://b.example", "api_keys": ["${KEY}", "x ${EMPTY}", "${B_KEY}"]},
  {"name": "c", "type": "openai", "base_url": "https://c.example", "api_key": "${KEY}"}]}}`)
	p := cfg.Upstream.Providers
	if p[0].Missing != "A_KEY" || p[0].APIKey != "" {
		t.Errorf("first provider is %+v", p[0])
	}
	if p[1].Missing != "EMPTY" || len(p[1].APIKeys) != 3 || p[1].APIKeys[1] != "" {
		t.Errorf("second provider is %+v", p[1])
	}
	if p[2].Missing != "" || !strings.HasPrefix(p[2].APIKey, canary) {
		t.Errorf("third provider is %+v", p[2])
	}
	const want = `config.json:2:79: upstream.providers[0].api_key: the variable A_KEY is not set; this entry is disabled`
	if len(cfg.Warnings) < 3 || cfg.Warnings[0] != want {
		t.Errorf("warnings are %q, want first %q", cfg.Warnings, want)
	}
}

func TestLoadWarnsOfReadableSecrets(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("file modes mean nothing on Windows")
	}
	f := func(mode os.FileMode, key string, want bool) {
		t.Helper()
		writeConfig(t, `{"auth": {"keys": [
  {"name": "a", "key": "`+key+`"}]},
  "upstream": {"providers": [{"name": "p", "type": "demo", "proxy": "none"},
    {"name": "q", "type": "demo", "proxy": "socks5://127.0.0.1:1080"}]}}`)
		if err := os.Chmod("config.json", mode); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load("config.json", configEnv)
		if err != nil {
			t.Fatal(err)
		}
		found := slices.ContainsFunc(cfg.Warnings, func(w string) bool {
			return strings.HasPrefix(w, "config.json:2:24: auth.keys[0].key: a secret is written out here")
		})
		if found != want {
			t.Errorf("mode %o, key %s: warnings are %q", mode, key, cfg.Warnings)
		}
		if strings.Contains(strings.Join(cfg.Warnings, "\n"), canary) {
			t.Errorf("a warning shows the secret: %q", cfg.Warnings)
		}
	}
	f(0o600, canary+"-0123", false)
	f(0o640, canary+"-0123", true)
	f(0o604, canary+"-0123", true)
	f(0o644, "${KEY}", false)
}

func TestLoadShowsNoSecret(t *testing.T) {
	f := func(text string) {
		t.Helper()
		writeConfig(t, text)
		cfg, err := config.Load("config.json", configEnv)
		said := ""
		if err != nil {
			said = err.Error()
		} else {
			said = strings.Join(cfg.Warnings, "\n")
		}
		if strings.Contains(said, canary) {
			t.Errorf("%s\nsays\n%s", text, said)
		}
	}
	f(`{"auth": {"keys": [{"name": "a", "key": ` + canary + `}]}}`)
	f(`{"auth": {"keys": [{"name": "a", "key": "${` + canary + `}"}]}}`)
	f(`{"auth": {"keys": [{"name": "a", "key": ["` + canary + `"]}]}}`)
	f(`{"auth": {"keys": [{"name": "a", "key": "` + canary + ` ${KEY} ${NONE}"}]}}`)
	f(`{"auth": {"keys": [{"name": "a", "key": "` + canary + `", "key_sha256": "${KEY}"}]}}`)
	f(`{"server": {"host": "${KEY}/", "hosts": ["${KEY}:1"]}}`)
	f(`{"server": {"drain": "${KEY}", "max_body": "${KEY}"}, "auth": {"keys": [{"expires": "${KEY}"}]}}`)
	f(`{"upstream": {"providers": [{"type": "${KEY}", "api_key": "` + canary + `\u0000", "proxy": "` + canary + `"}]}}`)
}

func TestLoadRefusesTheFile(t *testing.T) {
	dir := t.TempDir()
	gone := filepath.Join(dir, "gone.json")
	_, err := config.Load(gone, configEnv)
	if !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), gone+": ") || !strings.Contains(err.Error(), "write {} into it") {
		t.Errorf("missing file: %v", err)
	}
	if _, err := config.Load(dir, configEnv); err == nil {
		t.Error("a folder is accepted")
	}
	big := filepath.Join(dir, "big.json")
	writeFile(t, big, "{}"+strings.Repeat(" ", 4<<20-1))
	if _, err := config.Load(big, configEnv); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("big file: %v", err)
	}
}

func TestShippedConfig(t *testing.T) {
	text, err := os.ReadFile("../../config.json")
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(text) {
		t.Error("it is not plain JSON")
	}
	cfg, err := config.Load("../../config.json", configEnv)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range cfg.Warnings {
		if !strings.Contains(w, "API_KEY is not set") {
			t.Errorf("warning: %s", w)
		}
	}

	// Apart from providers and aliases it says what {} means.
	defaults := loadText(t, "{}")
	if cfg.Server.Hosts = nil; !reflect.DeepEqual(cfg.Server, defaults.Server) {
		t.Errorf("server is %+v, the default is %+v", cfg.Server, defaults.Server)
	}
	if !reflect.DeepEqual(cfg.CORS, defaults.CORS) {
		t.Errorf("cors is %+v, the default is %+v", cfg.CORS, defaults.CORS)
	}
	if cfg.Logs.File = defaults.Logs.File; !reflect.DeepEqual(cfg.Logs, defaults.Logs) {
		t.Errorf("logs is %+v, the default is %+v", cfg.Logs, defaults.Logs)
	}
	if got, want := cfg.Upstream.Providers[0].Timeouts, defaults.Upstream.Providers[0].Timeouts; got != want {
		t.Errorf("timeouts are %+v, the default is %+v", got, want)
	}
}

// jsoncToken matches what has to be seen whole to find comments and trailing commas.
var jsoncToken = regexp.MustCompile(`(?s)"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/|,(?:\s|//[^\n]*(?:\n|$)|/\*.*?\*/)*[}\]]`)

// plainJSON is text without comments, trailing commas and byte order mark.
func plainJSON(text []byte) []byte {
	text = []byte(strings.TrimPrefix(string(text), "\ufeff"))
	return jsoncToken.ReplaceAllFunc(text, func(token []byte) []byte {
		switch token[0] {
		case '/':
			return []byte(" ")
		case ',':
			return token[len(token)-1:]
		}
		return token
	})
}

func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		`{}`, ``, "\ufeff{}", `{"server": {"port": 0,},}`, `{"server": {"Port": "a", "port": 1, "port": null}}`,
		"{\r\n// 注释\r\n\"auth\": {\"keys\": [{\"name\": \"开发\", \"kye\": \"${KEY}\"}]}}",
		`{"upstream": {"providers": [{"name": "a", "type": "openai", "api_keys": ["${NONE}"], "headers": {"a.b": "$${x}"}}]}}`,
		`{"upstream": {"models": {"a.b[0]": "demo/demo-1", "": "x"}}}`,
		`{"server": {"hosts": ["${file:nowhere}"], "drain": "7d", "max_body": "1KiB"}} /* end */`,
		`{"server": {"host": "${file:a\nb}"}, "upstream": {"models": {"a\nb": 1}}}`,
		`{"a": "\ud800\u0000", "b": -1.5e+3, "c": [[[true, false, null]]]}`, "{\"a\": \"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "config.json")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(path, configEnv)
		if err == nil {
			if cfg == nil || !json.Valid(plainJSON(text)) {
				t.Errorf("%q is accepted and gives %v", text, cfg)
			}
			return
		}
		var faults config.Faults
		if !errors.As(err, &faults) || len(faults) == 0 {
			t.Fatalf("%q: not Faults: %v", text, err)
		}
		if lines := strings.Count(err.Error(), "\n") + 1; lines != len(faults) {
			t.Errorf("%q: %d faults on %d lines", text, len(faults), lines)
		}
		lines := strings.Split(string(text), "\n")
		for i, fault := range faults {
			if fault.Line < 1 || fault.Line > len(lines) || fault.Column < 1 || fault.Column > utf8.RuneCountInString(lines[fault.Line-1])+1 {
				t.Errorf("%q: fault outside of the file: %v", text, fault)
			}
			if i > 0 && (fault.Line < faults[i-1].Line || fault.Line == faults[i-1].Line && fault.Column < faults[i-1].Column) {
				t.Errorf("%q: faults out of order:\n%v", text, err)
			}
		}
	})
}

// targetsOf shows where an alias leads.
func targetsOf(cfg *config.Config, alias string) string {
	var targets []string
	for _, t := range cfg.Upstream.Models[alias].Targets {
		targets = append(targets, fmt.Sprintf("%s×%d", t.To, t.Weight))
	}
	return strings.Join(targets, " ")
}

func TestShortForms(t *testing.T) {
	const models = `{"upstream":{"models":{
		"one": "demo/demo-1",
		"list": ["demo/demo-1", {"to": "demo/demo-2", "weight": 3}],
		"object": {"to": "demo/demo-1"},
		"whole": {"targets": [{"to": "demo/demo-1"}, "demo/demo-2"], "strategy": "weighted", "commit": "complete"},
		"single": {"targets": "demo/demo-1"}}}}`
	path := filepath.Join(t.TempDir(), "config.json")
	load := func(text string) (*config.Config, error) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return config.Load(path, func(string) (string, bool) { return "", false })
	}
	if _, err := load(models); err == nil || !strings.Contains(err.Error(), `upstream.models.object.to: unknown field`) {
		t.Errorf("an object of the wrong kind: %v", err)
	}
	cfg, err := load(strings.Replace(models, `"object": {"to": "demo/demo-1"},`, "", 1))
	if err != nil {
		t.Fatal(err)
	}
	for alias, want := range map[string]string{
		"one": "demo/demo-1×1", "list": "demo/demo-1×1 demo/demo-2×3", "whole": "demo/demo-1×1 demo/demo-2×1", "single": "demo/demo-1×1",
	} {
		if got := targetsOf(cfg, alias); got != want {
			t.Errorf("%s: %s, want %s", alias, got, want)
		}
	}
	if r := cfg.Upstream.Models["one"]; r.Strategy != "order" || r.Commit != "first_content" {
		t.Errorf("the defaults of a short form: %+v", r)
	}
	for text, want := range map[string]string{
		`{"upstream":{"models":{"a":7}}}`:                              `config.json:1:28: upstream.models.a: expected a string, a list or an object, got a number`,
		`{"upstream":{"models":{"a":null}}}`:                           `config.json:1:28: upstream.models.a: expected a string, a list or an object, got null`,
		`{"upstream":{"models":{"a":{"targets":7}}}}`:                  `config.json:1:39: upstream.models.a.targets: expected a string, an object or a list, got a number`,
		`{"upstream":{"models":{"a":["demo/x",7]}}}`:                   `config.json:1:38: upstream.models.a.targets[1]: expected a string or an object, got a number`,
		`{"upstream":{"models":{"a":["demo/x",["demo/y"]]}}}`:          `config.json:1:38: upstream.models.a.targets[1]: expected a string or an object, got a list`,
		`{"upstream":{"models":{"a":[{"to":"demo/x","weight":"2"}]}}}`: `config.json:1:53: upstream.models.a.targets[0].weight: expected a whole number, got a string`,
		`{"upstream":{"models":{"a":"nobody/x"}}}`:                     `config.json:1:28: upstream.models.a: unknown provider "nobody"; there are: demo`,
		`{"upstream":{"models":{"a":{"targets":["demo/x","x/y"]}}}}`:   `config.json:1:49: upstream.models.a.targets[1]: unknown provider "x"; there are: demo`,
	} {
		if _, err := load(text); err == nil || !strings.HasSuffix(strings.TrimSpace(err.Error()), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
