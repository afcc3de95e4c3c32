package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"proxycast/server/config"
)

// What a comment hides does not show, and comes back unless the comment was edited.
func TestMaskedComments(t *testing.T) {
	const text = `{
  // "api_key": "sk-CANARY-one", "name": "stays", "models": ["claude-sonnet-4-5-20250929"]
  "auth": {"keys": [{"name": "ci", "key": "CANARY-two-0123456789"}]}, // was CANARY-two-0123456789
  /* {"name": "old", "key": "CANARY-three",
      "headers": {"x-token": "CANARY-four"}} */ "server": {"port": 1},
  // "CANARY-five",
  // sk-proj-CANARY6abcdefghijk and CANARY7abcdefghijklmnopqrst
  // "api_key": "${OPENAI_API_KEY}" stays, see https://api.example/v1/chat/completions
  "logs": {"ring": 5}
}`
	shown, err := config.Mask([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(shown), "CANARY") {
		t.Errorf("a secret shows:\n%s", shown)
	}
	for _, stays := range []string{`"name": "stays"`, "claude-sonnet-4-5-20250929", `"${OPENAI_API_KEY}" stays, see https://api.example/v1/chat/completions`, `"port": 1`} {
		if !strings.Contains(string(shown), stays) {
			t.Errorf("%s does not show:\n%s", stays, shown)
		}
	}
	u := config.Unmask(shown, []byte(text))
	if string(u.Text) != text {
		t.Errorf("came back as\n%s", u.Text)
	}
	if faults, _ := loadText(t, "{}").Check(u, 0o600); strings.Contains(faults.Error(), "hides nothing") {
		t.Errorf("a mask lost its secret:\n%v", faults)
	}
	edited := strings.Replace(string(shown), `"stays"`, `"edited"`, 1)
	if got := string(config.Unmask([]byte(edited), []byte(text)).Text); got != strings.Replace(text, `"api_key": "sk-CANARY-one", "name": "stays"`, `"api_key": "***", "name": "edited"`, 1) {
		t.Errorf("edited, it came back as\n%s", got)
	}
}

// A fault behind a comment that came back has the column that the page shows.
func TestFaultsBehindMaskedComment(t *testing.T) {
	const text = `{/* "key": "CANARY-0123456789-0123456789" */ "srver": {}}`
	writeConfig(t, `{}`)
	cfg := loadText(t, `{}`)
	shown, err := config.Mask([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := config.Unmask(shown, []byte(text))
	faults, _ := cfg.Check(u, 0o600)
	if len(faults) != 1 {
		t.Fatal(faults)
	}
	if got, want := faults[0].Column, strings.Index(string(shown), `"srver"`)+1; got != want {
		t.Errorf("column %d, want %d", got, want)
	}
}

// The config in force and the file's text hide the same values, whatever form they are
// written in, and no others.
func TestBothViewsMaskTheSame(t *testing.T) {
	const text = `{
  "auth": {"keys": [
    {"name": "plain", "key": "CANARY-key-0123456789", "admin": true},
    {"name": "hashed", "key_sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "expires": "2099-01-01T00:00:00Z"}]},
  "upstream": {
    "providers": [
      {"name": "one", "type": "openai", "base_url": "https://example.com/v1", "api_key": "CANARY-api-0123456789", "headers": {"x-token": "CANARY-header"}, "proxy": "http://user:CANARY@127.0.0.1:1"},
      {"name": "two", "type": "anthropic", "base_url": "https://example.com", "api_keys": ["CANARY-first-0123456789", "CANARY-second-0123456789"]}],
    "models": {
      "short": "one/m",
      "list": ["one/m", {"to": "two/m", "weight": 2}],
      "long": {"targets": {"to": "one/m"}, "strategy": "order"},
      "strings": {"targets": ["one/m", "two/m"]}}}
}`
	shown, err := config.Mask([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	inFile := maskedPaths(t, shown)
	inForce := maskedPaths(t, loadText(t, text).Shown())
	want := []string{
		".auth.keys.0.key", ".upstream.providers.0.api_key", ".upstream.providers.0.headers.x-token", ".upstream.providers.0.proxy",
		".upstream.providers.1.api_keys.0", ".upstream.providers.1.api_keys.1",
	}
	if !slices.Equal(inFile, want) || !slices.Equal(inForce, want) {
		t.Errorf("masked in the file:\n%q\nin force:\n%q\nwant:\n%q", inFile, inForce, want)
	}
}

// maskedPaths returns the paths of the values in text, which is JSON, that are masks.
// A canary that shows fails the test.
func maskedPaths(t *testing.T, text []byte) (paths []string) {
	t.Helper()
	if bytes.Contains(text, []byte("CANARY")) {
		t.Errorf("a secret shows:\n%s", text)
	}
	var root any
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case string:
			if v == "***" {
				paths = append(paths, path)
			}
		case []any:
			for i, item := range v {
				walk(fmt.Sprint(path, ".", i), item)
			}
		case map[string]any:
			for key, value := range v {
				walk(path+"."+key, value)
			}
		}
	}
	walk("", root)
	slices.Sort(paths)
	return paths
}

// What a variable holds is a secret even where it is written like a reference.
func TestShownReferences(t *testing.T) {
	writeConfig(t, `{"auth": {"keys": [{"name": "a", "key": "${KEY}", "admin": true}]}}`)
	cfg, err := config.Load("config.json", func(string) (string, bool) { return "${CANARY_0123456789}", true })
	if err != nil {
		t.Fatal(err)
	}
	if shown := string(cfg.Shown()); strings.Contains(shown, "CANARY") || !strings.Contains(shown, `"key":"***"`) {
		t.Errorf("it shows as %s", shown)
	}
}

// A credential between the braces of a reference is one all the same.
func TestMaskedReferences(t *testing.T) {
	const text = `{"upstream": {"providers": [{"name": "p", "type": "demo", "api_keys": ["${sk_live_CANARY0123456789}", "${OPENAI_API_KEY}", "${file:keys/openai.txt}"]}]}}`
	shown, err := config.Mask([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(text, "${sk_live_CANARY0123456789}", "***", 1); string(shown) != want {
		t.Errorf("it shows as\n%s", shown)
	}
	if u := config.Unmask(shown, []byte(text)); string(u.Text) != text {
		t.Errorf("came back as\n%s", u.Text)
	}
}
