// The prompt: what a request asks of the model, whatever its dialect.

package demo

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// prompt is what an answer depends on.
type prompt struct {
	said   string          // the text of the last user message
	tokens int             // of everything that the model reads
	limit  int             // the most tokens of the answer; 0 is no limit
	tool   string          // the function that must be called; empty lets the model talk
	schema json.RawMessage // of the function's arguments
	format format          // of what the model says
}

// request holds the fields of a request for an answer. What two dialects name alike means the same in both.
type request struct {
	Messages            []message  `json:"messages"`              // chat, messages
	Input               input      `json:"input"`                 // responses
	System              content    `json:"system"`                // messages
	Instructions        content    `json:"instructions"`          // responses
	MaxTokens           *int       `json:"max_tokens"`            // chat, messages
	MaxCompletionTokens *int       `json:"max_completion_tokens"` // chat
	MaxOutputTokens     *int       `json:"max_output_tokens"`     // responses
	Tools               []tool     `json:"tools"`
	ToolChoice          toolChoice `json:"tool_choice"`
	ResponseFormat      format     `json:"response_format"` // chat
	Text                formatted  `json:"text"`            // responses
	OutputConfig        formatted  `json:"output_config"`   // messages
	Stream              bool       `json:"stream"`
	StreamOptions       struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"` // chat
	PreviousResponseID *string `json:"previous_response_id"` // responses
}

// read returns a request and what it asks for. Its messages are those of field; each needs one of roles.
func (c call) read(field string, roles ...string) (q request, p *prompt, err error) {
	if err := decode(c.body, &q); err != nil {
		return q, nil, err
	}
	messages := q.Messages
	if field == "input" {
		messages = q.Input
	}
	p = &prompt{tokens: q.System.tokens + q.Instructions.tokens}
	for _, f := range []format{q.ResponseFormat, q.Text.Format, q.OutputConfig.Format} {
		if f.Type != "" {
			p.format = f
		}
	}
	return q, p, cmp.Or(
		p.setLimit("max_tokens", q.MaxTokens),
		p.setLimit("max_completion_tokens", q.MaxCompletionTokens),
		p.setLimit("max_output_tokens", q.MaxOutputTokens),
		p.readMessages(field, messages, roles),
		p.readTools(q.Tools, q.ToolChoice),
	)
}

// message is a message of any dialect, or an item of a Responses input, which may also be a tool call, its output, or
// another of which only the texts count.
type message struct {
	Type      string  `json:"type"`
	Role      string  `json:"role"`
	Content   content `json:"content"`
	ToolCalls []struct {
		Function struct{ Name, Arguments string }
	} `json:"tool_calls"`
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
	Output    json.RawMessage `json:"output"`
}

func (m *message) tokens() int {
	n := m.Content.tokens + countTokens(m.Name) + textTokens(m.Arguments) + textTokens(m.Output)
	for _, call := range m.ToolCalls {
		n += countTokens(call.Function.Name) + countTokens(call.Function.Arguments)
	}
	return n
}

func (p *prompt) readMessages(field string, messages []message, roles []string) error {
	if len(messages) == 0 {
		return noEntry(field)
	}
	for i, m := range messages {
		p.tokens += m.tokens()
		if m.Type != "" && m.Type != "message" {
			continue
		}
		if !slices.Contains(roles, m.Role) {
			return invalid(fmt.Sprintf("%s[%d].role", field, i), "must be one of %s", strings.Join(roles, ", "))
		}
		if !m.Content.set && m.Role != "assistant" {
			return invalid(fmt.Sprintf("%s[%d].content", field, i), "must be a string or an array of parts")
		}
		// Anthropic's results of tools are messages of the user that say nothing.
		if m.Role == "user" && m.Content.text != "" {
			p.said = m.Content.text
		}
	}
	return nil
}

// setLimit sets the most tokens of the answer to n, the value of a field; nil if the request lacks it.
func (p *prompt) setLimit(field string, n *int) error {
	if n == nil {
		return nil
	}
	if *n < 1 {
		return invalid(field, "must be 1 or more")
	}
	p.limit = *n
	return nil
}

// format is the form that an answer must have. Chat states its schema a level deeper.
type format struct {
	Type       string          `json:"type"`
	Schema     json.RawMessage `json:"schema"`
	JSONSchema *format         `json:"json_schema"`
}

type formatted struct {
	Format format `json:"format"`
}

func (f format) schema() json.RawMessage {
	if f.JSONSchema != nil {
		return f.JSONSchema.Schema
	}
	return f.Schema
}
