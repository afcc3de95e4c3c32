package server

// Settings that make a client call the gateway, ready to paste: the one source of the
// command line, the dashboard and README.md, "Clients".

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"text/template"
)

// ErrClient is a client that there is no snippet for.
var ErrClient = errors.New("server: unknown client")

// SnippetValues is what a snippet tells a client.
type SnippetValues struct {
	OpenAIBaseURL    string // ends in /v1
	AnthropicBaseURL string // does not
	Key              string // as it stands between double quotes in a shell: a key, or $(cat '…')
	OpenAIModel      string // what to ask for in OpenAI's dialect
	AnthropicModel   string // and in Anthropic's
}

// SnippetValuesOf returns what the settings of a client take from c: the addresses, a
// shell expression for a key, and a model of each dialect.
func SnippetValuesOf(c *Config) SnippetValues {
	v := SnippetValues{
		OpenAIBaseURL: c.Server.URL() + "/v1", AnthropicBaseURL: c.Server.URL(), Key: "$PROXYCAST_KEY",
		OpenAIModel: "demo-1", AnthropicModel: "demo-1",
	}
	if c.Auth.GeneratesClientKey() {
		v.Key = "$(cat '" + c.Auth.ClientKeyFile + "')"
	}
	for _, p := range c.Upstream.Providers {
		for _, model := range p.Models {
			if p.Missing != "" || strings.Contains(model, "*") {
				continue
			}
			switch {
			case p.Type == "openai" && v.OpenAIModel == "demo-1":
				v.OpenAIModel = model
			case p.Type == "anthropic" && v.AnthropicModel == "demo-1":
				v.AnthropicModel = model
			}
		}
	}
	return v
}

// Snippet returns the settings of a client, which is one of Snippets. Another is
// ErrClient, with the names of all.
func Snippet(client string, values SnippetValues) (string, error) {
	if !slices.Contains(Snippets(), client) {
		return "", fmt.Errorf("%w %q; there are %s", ErrClient, client, strings.Join(Snippets(), ", "))
	}
	var b strings.Builder
	if err := snippetTemplates.ExecuteTemplate(&b, client, values); err != nil {
		return "", fmt.Errorf("server: snippet %s: %w", client, err)
	}
	return b.String(), nil
}

// showSnippets answers GET /_snippets: the settings of every client, with the model of
// the query where it names one.
func showSnippets(x *exchange, r *http.Request) {
	base := x.server.baseURL()
	values := SnippetValuesOf(x.gateway.config)
	values.OpenAIBaseURL, values.AnthropicBaseURL = base+"/v1", base
	if model := r.URL.Query().Get("model"); model != "" {
		values.OpenAIModel, values.AnthropicModel = model, model
	}
	type shown struct {
		Client string `json:"client"`
		Title  string `json:"title"`
		Text   string `json:"text"`
	}
	list := make([]shown, len(clients))
	for i, c := range clients {
		text, err := Snippet(c.name, values)
		if err != nil {
			panic(err) // the templates are ours, and tested with odd values
		}
		list[i] = shown{c.name, c.title, text}
	}
	x.sendJSON(http.StatusOK, map[string]any{"snippets": list})
}

// Snippets names the clients that there is a snippet for.
func Snippets() []string {
	names := make([]string, len(clients))
	for i, c := range clients {
		names[i] = c.name
	}
	return names
}

//go:embed snippets.txt
var snippetTexts string

var snippetTemplates = template.Must(template.New("").Funcs(template.FuncMap{
	// string quotes for JSON, JavaScript, Python and TOML, also within '…' of a shell.
	"string": func(text string) (string, error) {
		quoted, err := json.Marshal(text)
		return strings.ReplaceAll(string(quoted), "'", `\u0027`), err
	},
	// shell quotes for a POSIX shell.
	"shell": func(text string) string {
		return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
	},
	// typed is a key for a form that is filled in by hand.
	"typed": func(key string) string {
		if strings.HasPrefix(key, "$") {
			return `what this prints: echo "` + key + `"`
		}
		return key
	},
	"prefixed": strings.HasPrefix,
}).Parse(snippetTexts))

// clients are those that there is a snippet for, as the dashboard orders and titles them.
var clients = []struct{ name, title string }{
	{"claude-code", "Claude Code"},
	{"codex", "Codex"},
	{"openai", "OpenAI, Python"},
	{"openai-js", "OpenAI, JavaScript"},
	{"anthropic", "Anthropic, Python"},
	{"anthropic-js", "Anthropic, JavaScript"},
	{"ai-sdk", "AI SDK"},
	{"langchain", "LangChain"},
	{"cherry-studio", "Cherry Studio"},
	{"cursor", "Cursor"},
	{"curl", "curl"},
}
