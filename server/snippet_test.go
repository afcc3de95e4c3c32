package server_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"proxycast/internal_test/harness"
	"proxycast/server"
)

// Names that a snippet could misread.
const (
	oddGPT    = `gpt's "5" \ 模型`
	oddClaude = `it's $HOME "x" \`
)

var snippetValues = server.SnippetValues{
	OpenAIBaseURL:    "http://127.0.0.1:9090/v1",
	AnthropicBaseURL: "http://127.0.0.1:9090",
	Key:              "$(cat '/srv/proxy cast/data/admin.key')",
	OpenAIModel:      "gpt-5",
	AnthropicModel:   "claude-sonnet-4-5",
}

func oddValues() server.SnippetValues {
	v := snippetValues
	v.OpenAIModel, v.AnthropicModel = oddGPT, oddClaude
	return v
}

func snippet(t *testing.T, client string, values server.SnippetValues) string {
	t.Helper()
	text, err := server.Snippet(client, values)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestSnippetFacts(t *testing.T) {
	covered := map[string]bool{}
	check := func(client string, want ...string) {
		covered[client] = true
		text := snippet(t, client, snippetValues)
		if !strings.Contains(text, snippetValues.Key) {
			t.Errorf("%s: the key is missing", client)
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: %q is missing in\n%s", client, w, text)
			}
		}
	}
	check("claude-code", "ANTHROPIC_BASE_URL='http://127.0.0.1:9090'\n", "ANTHROPIC_AUTH_TOKEN=")
	check("codex", `base_url = "http://127.0.0.1:9090/v1"`, `wire_api = "responses"`, `env_key = "PROXYCAST_KEY"`, `model = "gpt-5"`)
	check("openai", `base_url="http://127.0.0.1:9090/v1"`, `model="gpt-5"`)
	check("openai-js", `baseURL: "http://127.0.0.1:9090/v1"`, `model: "gpt-5"`)
	check("anthropic", `base_url="http://127.0.0.1:9090"`, `model="claude-sonnet-4-5"`)
	check("anthropic-js", `baseURL: "http://127.0.0.1:9090"`, `model: "claude-sonnet-4-5"`)
	check("ai-sdk", `createOpenAI({ baseURL: "http://127.0.0.1:9090/v1"`, `createAnthropic({ baseURL: "http://127.0.0.1:9090/v1"`)
	check("langchain", `ChatOpenAI(model="gpt-5", base_url="http://127.0.0.1:9090/v1"`, `ChatAnthropic(model="claude-sonnet-4-5", base_url="http://127.0.0.1:9090",`)
	check("cherry-studio", "API Host        http://127.0.0.1:9090\n", "API 地址        http://127.0.0.1:9090\n", "API 密钥")
	check("cursor", "Override OpenAI Base URL   http://127.0.0.1:9090/v1\n")
	check("curl", "'http://127.0.0.1:9090/v1/chat/completions'", "'http://127.0.0.1:9090/v1/messages'")
	for _, client := range server.Snippets() {
		if !covered[client] {
			t.Errorf("%s is not checked", client)
		}
	}

	key := snippetValues
	key.Key = "pc_placeholder"
	if text := snippet(t, "cherry-studio", key); !strings.Contains(text, "API Key         pc_placeholder\n") {
		t.Errorf("a key to type is not shown as it is:\n%s", text)
	}
}

func TestSnippetUnknown(t *testing.T) {
	_, err := server.Snippet("emacs", snippetValues)
	if !errors.Is(err, server.ErrClient) {
		t.Fatalf("got %v, want ErrClient", err)
	}
	for _, want := range []string{`"emacs"`, "claude-code", "cherry-studio", "curl"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
}

// A shell runs the snippets for shells, with the client replaced by a program
// that shows what it was given.
func TestSnippetShell(t *testing.T) {
	sh := harness.NeedTool(t, "sh", "a POSIX shell")
	dir := t.TempDir()
	harness.PlaceFile(t, filepath.Join(dir, "key"), "secret-key\n", 0o600)
	harness.PlaceFile(t, filepath.Join(dir, "curl"), "#!/bin/sh\nprintf '%s\\n' \"$@\"\n", 0o755)
	harness.PlaceFile(t, filepath.Join(dir, "claude"), "#!/bin/sh\nenv | grep ^ANTHROPIC_ | sort\n", 0o755)
	values := oddValues()
	values.Key = "$(cat '" + filepath.Join(dir, "key") + "')"
	run := func(client string, values server.SnippetValues) string {
		cmd := exec.Command(sh, "-eu", "-c", snippet(t, client, values))
		cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "ANTHROPIC_API_KEY=old"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", client, err, out)
		}
		return string(out)
	}

	const settings = "ANTHROPIC_AUTH_TOKEN=secret-key\nANTHROPIC_BASE_URL=http://127.0.0.1:9090\n"
	want := settings + "ANTHROPIC_DEFAULT_HAIKU_MODEL=" + oddClaude + "\nANTHROPIC_MODEL=" + oddClaude + "\n"
	if got := run("claude-code", values); got != want {
		t.Errorf("Claude Code got\n%swant\n%s", got, want)
	}
	values.AnthropicModel = "claude-sonnet-4-5"
	if got := run("claude-code", values); got != settings {
		t.Errorf("Claude Code got\n%swant\n%s", got, settings)
	}

	values.AnthropicModel = oddClaude
	var models []string
	for line := range strings.Lines(run("curl", values)) {
		switch line = strings.TrimSuffix(line, "\n"); {
		case strings.HasPrefix(line, "{"):
			var body struct{ Model string }
			if err := json.Unmarshal([]byte(line), &body); err != nil {
				t.Errorf("%s: %v", line, err)
			}
			models = append(models, body.Model)
		case strings.HasSuffix(line, "secret-key"):
			models = append(models, line)
		}
	}
	if want := []string{"Authorization: Bearer secret-key", oddGPT, "x-api-key: secret-key", oddClaude}; !slices.Equal(models, want) {
		t.Errorf("curl got %q, want %q", models, want)
	}
}

// Every quoted text of the TOML is one in JSON too, and so are its escapes.
func TestSnippetTOML(t *testing.T) {
	line := regexp.MustCompile(`^([a-z_]+) = (".*")$`)
	got := map[string]string{}
	for text := range strings.Lines(snippet(t, "codex", oddValues())) {
		text = strings.TrimSuffix(text, "\n")
		if text == "" || text[0] == '#' || text == "[model_providers.proxycast]" {
			continue
		}
		pair := line.FindStringSubmatch(text)
		var value string
		if pair == nil || json.Unmarshal([]byte(pair[2]), &value) != nil {
			t.Fatalf("not TOML: %s", text)
		}
		got[pair[1]] = value
	}
	if got["model"] != oddGPT || got["model_provider"] != "proxycast" || got["wire_api"] != "responses" {
		t.Errorf("got %q", got)
	}
}

// Python and Node parse the snippets in their languages.
func TestSnippetSyntax(t *testing.T) {
	for _, c := range []struct{ language, install, file, client string }{
		{"python3", "apt-get install python3", "a.py", "openai"},
		{"python3", "apt-get install python3", "a.py", "anthropic"},
		{"python3", "apt-get install python3", "a.py", "langchain"},
		{"node", "apt-get install nodejs", "a.mjs", "openai-js"},
		{"node", "apt-get install nodejs", "a.mjs", "anthropic-js"},
		{"node", "apt-get install nodejs", "a.mjs", "ai-sdk"},
	} {
		t.Run(c.client, func(t *testing.T) {
			t.Parallel()
			program := harness.NeedTool(t, c.language, c.install)
			file := filepath.Join(t.TempDir(), c.file)
			harness.PlaceFile(t, file, snippet(t, c.client, oddValues()), 0o644)
			args := []string{"--check", file}
			if c.language == "python3" {
				args = []string{"-c", "import ast, sys; ast.parse(open(sys.argv[1], encoding='utf-8').read())", file}
			}
			if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// The page shows what the command prints.
func TestSnippetsOfThePage(t *testing.T) {
	g := start(t, withKeys)
	if res, _ := g.do("GET", "/_snippets", "", "X-Api-Key", plainKey); res.StatusCode != 403 {
		t.Errorf("an ordinary key: %d", res.StatusCode)
	}
	_, body := g.do("GET", "/_snippets?model=m%27x", "", "X-Api-Key", adminKey)
	var answer struct {
		Snippets []struct{ Client, Title, Text string }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || len(answer.Snippets) != len(server.Snippets()) {
		t.Fatal(err, body)
	}
	values := server.SnippetValuesOf(g.load(withKeys))
	values.OpenAIModel, values.AnthropicModel = "m'x", "m'x"
	for i, client := range server.Snippets() {
		s := answer.Snippets[i]
		if want := snippet(t, client, values); s.Client != client || s.Title == "" || s.Text != want {
			t.Errorf("%s: %q\n%s\nwant\n%s", s.Client, s.Title, s.Text, want)
		}
	}
}
