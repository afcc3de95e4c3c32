// Anthropic messages, and their count. https://platform.claude.com/docs/en/api/messages

package demo

import (
	"encoding/json"
	"fmt"
	"strings"
)

type messagesRequest struct {
	Messages []struct {
		Role    string  `json:"role"`
		Content content `json:"content"`
	} `json:"messages"`
	System        content        `json:"system"`
	MaxTokens     *int           `json:"max_tokens"`
	StopSequences []string       `json:"stop_sequences"`
	Stream        bool           `json:"stream"`
	Tools         []messagesTool `json:"tools"`
	ToolChoice    toolChoice     `json:"tool_choice"`
	OutputConfig  struct {
		Format format `json:"format"`
	} `json:"output_config"`
}

type messagesTool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	InputSchema json.RawMessage `json:"input_schema"`
}

func (q *messagesRequest) prompt() (*prompt, error) {
	p := &prompt{stops: q.StopSequences, choice: q.ToolChoice, format: q.OutputConfig.Format}
	if q.Messages == nil {
		return nil, missing("messages")
	}
	if len(q.Messages) == 0 {
		return nil, invalid("messages", "must not be empty")
	}
	p.tokens = q.System.tokens
	for i, m := range q.Messages {
		switch m.Role {
		case "user":
			// Results of tools are messages of the user too, and say nothing.
			if m.Content.text != "" {
				p.said = m.Content.text
			}
		case "assistant", "system":
		case "":
			return nil, missing(fmt.Sprintf("messages.%d.role", i))
		default:
			return nil, invalid(fmt.Sprintf("messages.%d.role", i), "has the unknown value %q", m.Role)
		}
		if !m.Content.filled && !(m.Role == "assistant" && i == len(q.Messages)-1) {
			return nil, invalid(fmt.Sprintf("messages.%d.content", i), "must not be empty")
		}
		p.tokens += m.Content.tokens
	}
	for _, stop := range q.StopSequences {
		if strings.TrimSpace(stop) == "" {
			return nil, invalid("stop_sequences", "must not have a blank entry")
		}
	}
	for i, t := range q.Tools {
		if t.Type != "" && t.Type != "custom" {
			continue // one of the provider's own, which this model never calls
		}
		if absent(t.InputSchema) {
			return nil, missing(fmt.Sprintf("tools.%d.input_schema", i))
		}
		if err := p.addTool(tool{t.Name, t.Description, t.InputSchema}, 128); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// message is a reply, and the beginning of a streamed one.
type message struct {
	ID           string         `json:"id"`
	Type         string         `json:"type"`
	Role         string         `json:"role"`
	Model        string         `json:"model"`
	Content      []messageBlock `json:"content"`
	StopReason   *string        `json:"stop_reason"`
	StopSequence *string        `json:"stop_sequence"`
	Usage        messageUsage   `json:"usage"`
}

type messageBlock struct {
	Type  string          `json:"type"`
	Text  *string         `json:"text,omitempty"`
	ID    string          `json:"id,omitempty"`
	Name  string          `json:"name,omitempty"`
	Input json.RawMessage `json:"input,omitempty"`
}

type messageUsage struct {
	InputTokens              int    `json:"input_tokens"`
	CacheCreationInputTokens int    `json:"cache_creation_input_tokens"`
	CacheReadInputTokens     int    `json:"cache_read_input_tokens"`
	OutputTokens             int    `json:"output_tokens"`
	ServiceTier              string `json:"service_tier,omitempty"`
}

// messageEvent is any event of a stream.
type messageEvent struct {
	Type         string        `json:"type"`
	Message      *message      `json:"message,omitempty"`
	Index        *int          `json:"index,omitempty"`
	ContentBlock *messageBlock `json:"content_block,omitempty"`
	Delta        any           `json:"delta,omitempty"`
	Usage        *messageUsage `json:"usage,omitempty"`
}

// blockDelta is a fragment of a block.
type blockDelta struct {
	Type        string  `json:"type"`
	Text        *string `json:"text,omitempty"`
	PartialJSON *string `json:"partial_json,omitempty"`
}

// stopDelta is how a message ended.
type stopDelta struct {
	StopReason   *string `json:"stop_reason"`
	StopSequence *string `json:"stop_sequence"`
}

func (c call) messages() (reply, error) {
	var q messagesRequest
	if err := decode(c.body, &q); err != nil {
		return reply{}, err
	}
	if q.MaxTokens == nil {
		return reply{}, missing("max_tokens")
	}
	p, err := q.prompt()
	if err != nil {
		return reply{}, err
	}
	if p.limit, err = tokenLimit("max_tokens", q.MaxTokens); err != nil {
		return reply{}, err
	}
	a, err := p.answer()
	if err != nil {
		return reply{}, err
	}
	m := message{ID: newID("msg_"), Type: "message", Role: "assistant", Model: c.model,
		Content: []messageBlock{}, Usage: messageUsage{InputTokens: p.tokens, ServiceTier: "standard"}}
	if q.Stream {
		return reply{script: messageScript(c.behavior.pace, m, a)}, nil
	}
	switch text := a.text(); {
	case a.tool != "":
		m.Content = append(m.Content, messageBlock{Type: "tool_use", ID: newID("toolu_"), Name: a.tool, Input: a.input()})
	case text != "":
		m.Content = append(m.Content, messageBlock{Type: "text", Text: &text})
	}
	m.StopReason, m.StopSequence = a.stopReason()
	m.Usage.OutputTokens = len(a.tokens)
	return jsonReply(m, len(a.tokens)), nil
}

// input gives a tool call's arguments as an object, also when the most tokens
// cut them off.
func (a answer) input() json.RawMessage {
	if text := []byte(a.text()); json.Valid(text) {
		return text
	}
	return json.RawMessage("{}")
}

func (a answer) stopReason() (reason, sequence *string) {
	r := "end_turn"
	switch {
	case a.end == limited:
		r = "max_tokens"
	case a.end == stopped:
		r = "stop_sequence"
		sequence = &a.stop
	case a.tool != "":
		r = "tool_use"
	}
	return &r, sequence
}

// messageScript streams a after m, the message as it begins. A text without
// tokens has no block.
func messageScript(p pace, m message, a answer) *script {
	s := &script{pace: p}
	s.message(messageEvent{Type: "message_start", Message: &m})
	index := 0
	if a.tool != "" || len(a.tokens) > 0 {
		empty := ""
		block := messageBlock{Type: "text", Text: &empty}
		if a.tool != "" {
			block = messageBlock{Type: "tool_use", ID: newID("toolu_"), Name: a.tool, Input: json.RawMessage("{}")}
		}
		s.message(messageEvent{Type: "content_block_start", Index: &index, ContentBlock: &block})
		s.message(messageEvent{Type: "ping"})
		if a.tool != "" {
			s.message(messageEvent{Type: "content_block_delta", Index: &index,
				Delta: blockDelta{Type: "input_json_delta", PartialJSON: &empty}})
		}
		for _, token := range a.tokens {
			d := blockDelta{Type: "text_delta", Text: &token}
			if a.tool != "" {
				d = blockDelta{Type: "input_json_delta", PartialJSON: &token}
			}
			s.token("content_block_delta", messageEvent{Type: "content_block_delta", Index: &index, Delta: d})
		}
		s.message(messageEvent{Type: "content_block_stop", Index: &index})
	}
	m.Usage.OutputTokens, m.Usage.ServiceTier = len(a.tokens), ""
	var end stopDelta
	end.StopReason, end.StopSequence = a.stopReason()
	s.message(messageEvent{Type: "message_delta", Delta: end, Usage: &m.Usage})
	s.message(messageEvent{Type: "message_stop"})
	return s
}

// message adds an event under its type's name.
func (s *script) message(e messageEvent) { s.event(e.Type, e) }

func (c call) countTokens() (reply, error) {
	var q messagesRequest
	if err := decode(c.body, &q); err != nil {
		return reply{}, err
	}
	p, err := q.prompt()
	if err != nil {
		return reply{}, err
	}
	return jsonReply(struct {
		InputTokens int `json:"input_tokens"`
	}{p.tokens}, 0), nil
}
