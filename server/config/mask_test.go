package config_test

import (
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
	if string(u.Text) != text || len(u.Lost("config.json")) > 0 {
		t.Errorf("came back as\n%s\n%v", u.Text, u.Lost("config.json"))
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
	faults, _, err := cfg.Check(u.Text, 0o600)
	if err != nil || len(faults) != 1 {
		t.Fatal(err, faults)
	}
	if got, want := u.Back(faults)[0].Column, strings.Index(string(shown), `"srver"`)+1; got != want {
		t.Errorf("column %d, want %d", got, want)
	}
}
