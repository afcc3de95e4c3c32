// Commands: the command line, its exit codes, and what a config does at the start.
package gateway_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"proxycast/internal_test/harness"
)

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	harness.WriteConfig(t, dir, harness.WithDefaults(object{}))
	f := func(want int, args ...string) {
		t.Helper()
		code, _, stderr := harness.Command(t, dir, args...)
		if code != want || (want != 0 && strings.TrimSpace(stderr) == "") {
			t.Errorf("proxycast %s: exit code %d, want %d\n%s", strings.Join(args, " "), code, want, stderr)
		}
	}
	f(2, "-no-such-flag")
	f(2, "no-such-command")
	f(2, "-config", "missing.json")
	f(2, "check", "-config", "missing.json")
	f(2, "genkey")
	f(0, "check", "-h")
	f(0, "check")
	f(0, "check", "-config", "config.json")
}

func TestConfigFaults(t *testing.T) {
	dir := t.TempDir()
	harness.WriteFile(t, dir, "config.json", `{
  "server": {"prot": 1, "host": "0.0.0.0", "max_body": "lots"},
  "auth": {"enabled": false, "keys": [{"name": "开发", "kye": "x"}, {"name": "b", "key": "changeme"}]},
  "cors": {"origins": ["https://*"]},
  "upstream": {"providers": [{"name": "p", "type": "grpc"}], "models": {}},
  "nonsense": true
}`)
	for _, args := range [][]string{{"-config", "config.json"}, {"check", "-config", "config.json"}} {
		code, stdout, stderr := harness.Command(t, dir, args...)
		if code != 2 {
			t.Errorf("%v: exit code %d", args, code)
		}
		for _, fault := range []string{
			`config.json:2:14: server.prot`, `config.json:2:`, `server.max_body`, `config.json:3:54: auth.keys[0].kye: unknown`, `"key"`, `auth.keys[1].key`,
			`cors.origins[0]`, `upstream.providers[0].type`, `config.json:6:3: nonsense`,
		} {
			if !strings.Contains(stdout+stderr, fault) {
				t.Errorf("%v: no word of %q in\n%s%s", args, fault, stdout, stderr)
			}
		}
	}
	harness.WriteFile(t, dir, "config.json", "{\n  \"server\": {\n    \"port\": 1,,\n")
	code, _, stderr := harness.Command(t, dir, "-config", "config.json")
	if code != 2 || !strings.Contains(stderr, "config.json:3:15:") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	harness.WriteFile(t, dir, "config.json", `{"upstream": {"providers": [{"name": "p", "type": "openai", "base_url": "http://127.0.0.1:1", "api_key": "${NO_SUCH_VARIABLE}", "models": ["gpt-*"]}]}}`)
	if code, _, stderr := harness.Command(t, dir, "check", "-config", "config.json"); code != 0 || !strings.Contains(stderr, "NO_SUCH_VARIABLE") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// A provider whose variable is unset is off; asking for its models names the variable.
func TestUnsetVariable(t *testing.T) {
	g := start(t, object{"upstream": object{"providers": list{
		object{"name": "p", "type": "openai", "base_url": "http://127.0.0.1:1", "api_key": "${NO_SUCH_VARIABLE}", "models": list{"gpt-*"}},
	}}})
	r := g.Send(t, "POST", "/v1/chat/completions", `{"model":"gpt-4o"}`)
	checkError(t, r, "openai", 404)
	if !strings.Contains(string(r.Body), "NO_SUCH_VARIABLE") {
		t.Errorf("%s", r.Body)
	}
}

func TestSubcommands(t *testing.T) {
	dir := t.TempDir()
	code, stdout, _ := harness.Command(t, dir, "genkey", "alice")
	key := regexp.MustCompile(`pc_[0-9A-Za-z]{32}`).FindString(stdout)
	digest := sha256.Sum256([]byte(key))
	if code != 0 || key == "" || !strings.Contains(stdout, hex.EncodeToString(digest[:])) || !strings.Contains(stdout, "alice") {
		t.Fatalf("genkey: %d\n%s", code, stdout)
	}
	cfg := harness.WithDefaults(object{})
	keys := cfg["auth"].(object)["keys"].(list)
	cfg["auth"] = object{"keys": append(keys, object{"name": "alice", "key_sha256": hex.EncodeToString(digest[:])})}
	g := startIn(t, dir, cfg)
	if r := g.Send(t, "GET", "/v1/models", "", "Authorization: Bearer "+key); r.Status != 200 {
		t.Errorf("the made key: %d", r.Status)
	}
	if rec := g.Next(t); rec.Key != "alice" {
		t.Errorf("record: %+v", rec)
	}

	code, stdout, _ = harness.Command(t, dir, "schema")
	shipped, err := os.ReadFile("../server/config.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if code != 0 || stdout != string(shipped) || !json.Valid(shipped) {
		t.Errorf("schema: %d, %d bytes; server/config.schema.json has %d", code, len(stdout), len(shipped))
	}
	if code, stdout, _ = harness.Command(t, dir, "version"); code != 0 || !strings.Contains(stdout, runtime.Version()) {
		t.Errorf("version: %d %s", code, stdout)
	}

	known := t.TempDir() // healthcheck finds the gateway through the config's port
	cfg["server"] = object{"port": g.Port()}
	harness.WriteConfig(t, known, cfg)
	if code, _, stderr := harness.Command(t, known, "healthcheck"); code != 0 {
		t.Errorf("healthcheck of a running gateway: %d %s", code, stderr)
	}
	g.Signal(t, syscall.SIGTERM)
	g.Exit(t, harness.Patience)
	if code, _, _ := harness.Command(t, known, "healthcheck"); code != 1 {
		t.Errorf("healthcheck of none: %d", code)
	}
}

// An empty config makes an admin key of its own, says it once, and keeps it.
func TestGeneratedAdminKey(t *testing.T) {
	dir := t.TempDir()
	g := startIn(t, dir, object{"server": object{"port": 0}})
	file := filepath.Join(dir, "data", "admin.key")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSpace(string(text))
	if !regexp.MustCompile(`^pc_[0-9A-Za-z]{32}$`).MatchString(key) {
		t.Errorf("the key is %q", key)
	}
	if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	works := func(g *gateway) {
		t.Helper()
		if r := g.Send(t, "GET", "/_status", "", "Authorization: Bearer "+key); r.Status != 200 {
			t.Errorf("the generated key: %d %s", r.Status, r.Body)
		} else if strings.Contains(string(r.Body), key) {
			t.Error("/_status shows the key")
		}
		r := g.Send(t, "POST", "/v1/messages", `{"model":"demo-1","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`, "Authorization: Bearer "+key)
		if r.Status != 200 {
			t.Errorf("demo-1: %d %s", r.Status, r.Body)
		}
	}
	works(g)
	if n := strings.Count(g.Stdout.String()+g.Stderr.String(), key); n != 1 {
		t.Errorf("the key was printed %d times", n)
	}
	g.Signal(t, syscall.SIGTERM)
	g.Exit(t, harness.Patience)

	again := startIn(t, dir, nil)
	works(again)
	if strings.Contains(again.Stdout.String()+again.Stderr.String(), key) {
		t.Error("the second start printed the key")
	}
}

// The shipped config answers on a fresh machine.
func TestShippedConfig(t *testing.T) {
	text, err := os.ReadFile("../config.json")
	if err != nil {
		t.Fatal(err)
	}
	port := regexp.MustCompile(`"port": *9090`)
	if !port.Match(text) {
		t.Fatal("config.json does not state port 9090")
	}
	dir := t.TempDir()
	harness.WriteFile(t, dir, "config.json", string(port.ReplaceAll(text, []byte(`"port": 0`))))
	g := startIn(t, dir, nil)
	key, err := os.ReadFile(filepath.Join(dir, "data", "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	r := g.Send(t, "POST", "/v1/chat/completions", `{"model":"demo-1","messages":[{"role":"user","content":"hi"}]}`, "Authorization: Bearer "+strings.TrimSpace(string(key)))
	if r.Status != 200 {
		t.Errorf("%d %s", r.Status, r.Body)
	}
}

// With auth off only loopback is served, and no web page can post.
func TestAuthOff(t *testing.T) {
	dir := t.TempDir()
	harness.WriteConfig(t, dir, object{"server": object{"host": "0.0.0.0", "port": 0}, "auth": object{"enabled": false}})
	if code, _, stderr := harness.Command(t, dir, "-config", "config.json"); code != 2 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	g := startIn(t, t.TempDir(), object{"server": object{"port": 0}, "auth": object{"enabled": false}})
	post := func(header ...string) reply {
		return g.Raw(t, []byte(wireRequest("POST", "/v1/chat/completions", `{"model":"demo-1","messages":[{"role":"user","content":"hi"}]}`, append([]string{"Authorization:"}, header...)...)), 0)
	}
	if r := post(); r.Status != 200 {
		t.Errorf("%d %s", r.Status, r.Body)
	}
	if rec := g.Next(t); rec.Key != "anonymous" {
		t.Errorf("record: %+v", rec)
	}
	r := post("Origin: https://evil.example", "Sec-Fetch-Site: cross-site")
	checkError(t, r, "openai", 403)
	if r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%v", r.Header)
	}
	checkError(t, post("Content-Type: text/plain"), "openai", 415)
	if r := g.Raw(t, []byte(wireRequest("GET", "/_status", "", "Authorization:")), 0); r.Status != 200 {
		t.Errorf("/_status: %d", r.Status)
	}
}

// check refuses whatever would keep the gateway from starting, and waits for no pipe.
func TestCheckOpensFiles(t *testing.T) {
	noSleep(t)
	dir := t.TempDir()
	for name, text := range map[string]string{"note.txt": "# mine\n", "empty": "", "short.key": "x y"} {
		harness.WriteFile(t, dir, name, text)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"folder", "data"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	key := func(form string) string { return `{"auth": {"keys": [{"name": "k", ` + form + `}]}}` }
	tls := func(cert, key string) string {
		return `{"server": {"tls": {"cert": "` + cert + `", "key": "` + key + `"}}}`
	}
	f := func(text, says string) {
		t.Helper()
		harness.WriteFile(t, dir, "config.json", text)
		code, stdout, stderr := harness.Command(t, dir, "check")
		if code != 2 || stdout != "" || !strings.Contains(stderr, says) {
			t.Errorf("%s: exit code %d, no word of %q\n%s%s", text, code, says, stdout, stderr)
		}
	}
	for file, says := range map[string]string{"gone": "no such file", "pipe": "not a regular file", "folder": "not a regular file", "empty": "is empty", "short.key": "white space"} {
		f(key(`"key_file": "`+file+`"`), says)
	}
	for file, says := range map[string]string{"gone": "no such file", "pipe": "not a regular file", "folder": "not a regular file", "empty": "is empty"} {
		f(key(`"key": "${file:`+file+`}"`), says)
	}
	f(tls("gone", "gone"), "tls.cert")
	f(tls("note.txt", "gone"), "tls.key")
	f(tls("pipe", "pipe"), "not a regular file")
	f(tls("note.txt", "note.txt"), "tls")
	for file, says := range map[string]string{"folder": "not a regular file", "pipe": "not a regular file", "note.txt": "note.txt", "note.txt/log": "not a directory"} {
		f(`{"logs": {"file": "`+file+`"}}`, says)
	}
	harness.WriteFile(t, dir, "data/admin.key", "not a key")
	f(`{}`, "admin.key does not hold it")
	if err := os.Remove(filepath.Join(dir, "data", "admin.key")); err != nil {
		t.Fatal(err)
	}
	harness.WriteFile(t, dir, "config.json", `{}`)
	if code, _, stderr := harness.Command(t, dir, "check"); code != 0 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "admin.key")); err == nil {
		t.Error("check made a key")
	}
}
