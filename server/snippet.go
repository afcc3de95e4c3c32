package server

// Settings that make a client call the gateway, ready to paste: the one source of the
// command line, the dashboard and README.md, "Clients".

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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

// Snippet returns the settings of a client, which is one of Snippets. Another is
// ErrClient, with the names of all.
func Snippet(client string, values SnippetValues) (string, error) {
	for _, s := range snippets {
		if s.client != client {
			continue
		}
		text := template.Must(template.New(client).Funcs(snippetQuotes).Parse(s.text))
		var b strings.Builder
		if err := text.Execute(&b, values); err != nil {
			return "", fmt.Errorf("server: snippet %s: %w", client, err)
		}
		return b.String(), nil
	}
	return "", fmt.Errorf("%w %q; there are %s", ErrClient, client, strings.Join(Snippets(), ", "))
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
	list := make([]shown, len(snippets))
	for i, s := range snippets {
		text, err := Snippet(s.client, values)
		if err != nil {
			panic(err) // the templates are ours, and tested with odd values
		}
		list[i] = shown{s.client, s.title, text}
	}
	x.sendJSON(http.StatusOK, map[string]any{"snippets": list})
}

// Snippets names the clients that there is a snippet for.
func Snippets() []string {
	names := make([]string, len(snippets))
	for i, s := range snippets {
		names[i] = s.client
	}
	return names
}

var snippetQuotes = template.FuncMap{
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
}

var snippets = []struct{ client, title, text string }{
	{"claude-code", "Claude Code", `export ANTHROPIC_BASE_URL={{shell .AnthropicBaseURL}}
export ANTHROPIC_AUTH_TOKEN="{{.Key}}"
unset ANTHROPIC_API_KEY
{{- if not (prefixed .AnthropicModel "claude-")}}
export ANTHROPIC_MODEL={{shell .AnthropicModel}} ANTHROPIC_DEFAULT_HAIKU_MODEL={{shell .AnthropicModel}}
{{- end}}
claude
`},
	{"codex", "Codex", `# ~/.codex/config.toml
# In the shell: export PROXYCAST_KEY="{{.Key}}"
model = {{string .OpenAIModel}}
model_provider = "proxycast"

[model_providers.proxycast]
name = "ProxyCast"
base_url = {{string .OpenAIBaseURL}}
env_key = "PROXYCAST_KEY"
wire_api = "responses"
`},
	{"openai", "OpenAI, Python", `# pip install openai
# In the shell: export PROXYCAST_KEY="{{.Key}}"
import os
from openai import OpenAI

client = OpenAI(base_url={{string .OpenAIBaseURL}}, api_key=os.environ["PROXYCAST_KEY"])
reply = client.chat.completions.create(
    model={{string .OpenAIModel}},
    messages=[{"role": "user", "content": "Hello!"}],
)
print(reply.choices[0].message.content)
`},
	{"openai-js", "OpenAI, JavaScript", `// npm install openai
// In the shell: export PROXYCAST_KEY="{{.Key}}"
import OpenAI from "openai";

const client = new OpenAI({ baseURL: {{string .OpenAIBaseURL}}, apiKey: process.env.PROXYCAST_KEY });
const reply = await client.chat.completions.create({
  model: {{string .OpenAIModel}},
  messages: [{ role: "user", content: "Hello!" }],
});
console.log(reply.choices[0].message.content);
`},
	{"anthropic", "Anthropic, Python", `# pip install anthropic
# In the shell: export PROXYCAST_KEY="{{.Key}}"
import os
from anthropic import Anthropic

client = Anthropic(base_url={{string .AnthropicBaseURL}}, api_key=os.environ["PROXYCAST_KEY"])
reply = client.messages.create(
    model={{string .AnthropicModel}},
    max_tokens=1024,
    messages=[{"role": "user", "content": "Hello!"}],
)
print(reply.content[0].text)
`},
	{"anthropic-js", "Anthropic, JavaScript", `// npm install @anthropic-ai/sdk
// In the shell: export PROXYCAST_KEY="{{.Key}}"
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ baseURL: {{string .AnthropicBaseURL}}, apiKey: process.env.PROXYCAST_KEY });
const reply = await client.messages.create({
  model: {{string .AnthropicModel}},
  max_tokens: 1024,
  messages: [{ role: "user", content: "Hello!" }],
});
console.log(reply.content[0].text);
`},
	{"ai-sdk", "AI SDK", `// npm install ai @ai-sdk/openai @ai-sdk/anthropic
// In the shell: export PROXYCAST_KEY="{{.Key}}"
import { generateText } from "ai";
import { createOpenAI } from "@ai-sdk/openai";
import { createAnthropic } from "@ai-sdk/anthropic";

const apiKey = process.env.PROXYCAST_KEY;
const openai = createOpenAI({ baseURL: {{string .OpenAIBaseURL}}, apiKey });
// With /v1, unlike Anthropic's own SDK.
const anthropic = createAnthropic({ baseURL: {{string (print .AnthropicBaseURL "/v1")}}, apiKey });

for (const model of [openai({{string .OpenAIModel}}), anthropic({{string .AnthropicModel}})]) {
  const { text } = await generateText({ model, prompt: "Hello!" });
  console.log(text);
}
`},
	{"langchain", "LangChain", `# pip install langchain-openai langchain-anthropic
# In the shell: export PROXYCAST_KEY="{{.Key}}"
import os
from langchain_openai import ChatOpenAI
from langchain_anthropic import ChatAnthropic

key = os.environ["PROXYCAST_KEY"]
gpt = ChatOpenAI(model={{string .OpenAIModel}}, base_url={{string .OpenAIBaseURL}}, api_key=key)
claude = ChatAnthropic(model={{string .AnthropicModel}}, base_url={{string .AnthropicBaseURL}}, api_key=key)
print(gpt.invoke("Hello!").content)
print(claude.invoke("Hello!").content)
`},
	// Cherry Studio adds /v1 itself, for both types.
	{"cherry-studio", "Cherry Studio", `Settings > Model Provider > Add
  Provider Type   OpenAI
  API Key         {{typed .Key}}
  API Host        {{.AnthropicBaseURL}}
  Manage          lists the models, e.g. {{.OpenAIModel}}
For Claude models a second provider: type Anthropic, the same key and host, e.g. {{.AnthropicModel}}

设置 > 模型服务 > 添加
  提供商类型      OpenAI
  API 密钥        {{typed .Key}}
  API 地址        {{.AnthropicBaseURL}}
  管理            列出模型，例如 {{.OpenAIModel}}
Claude 模型请再添加一个提供商：类型选 Anthropic，密钥和地址相同，例如 {{.AnthropicModel}}
`},
	{"cursor", "Cursor", `Cursor Settings > Models > API Keys
  OpenAI API Key             {{typed .Key}}
  Override OpenAI Base URL   {{.OpenAIBaseURL}}
  Add model                  {{.OpenAIModel}}
Cursor calls from its own servers: the gateway needs a public address and TLS.
`},
	{"curl", "curl", `KEY="{{.Key}}"
curl {{shell (print .OpenAIBaseURL "/chat/completions")}} -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' \
  -d '{"model":{{string .OpenAIModel}},"messages":[{"role":"user","content":"Hello!"}]}'
curl {{shell (print .AnthropicBaseURL "/v1/messages")}} -H "x-api-key: $KEY" -H 'Content-Type: application/json' \
  -d '{"model":{{string .AnthropicModel}},"max_tokens":200,"messages":[{"role":"user","content":"Hello!"}]}'
`},
}
