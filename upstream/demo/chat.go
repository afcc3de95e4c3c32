// OpenAI chat completions. https://platform.openai.com/docs/api-reference/chat

package demo

import (
	"encoding/json"
	"fmt"
	"time"
)

type chatRequest struct {
	Messages            []chatMessage `json:"messages"`
	MaxTokens           *int          `json:"max_tokens"`
	MaxCompletionTokens *int          `json:"max_completion_tokens"`
	Tools               []chatTool    `json:"tools"`
	ToolChoice          toolChoice    `json:"tool_choice"`
	ResponseFormat      format        `json:"response_format"`
}

type chatMessage struct {
	Role      string  `json:"role"`
	Content   content `json:"content"`
	ToolCalls []struct {
		Function struct{ Name, Arguments string }
	} `json:"tool_calls"`
}

type chatTool struct {
	Type     string `json:"type"`
	Function struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Parameters  json.RawMessage `json:"parameters"`
	} `json:"function"`
}

// openaiOptions are the options that chat takes.
type openaiOptions struct {
	N             *int       `json:"n"`
	Stop          stringList `json:"stop"`
	Stream        bool       `json:"stream"`
	StreamOptions *struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

const (
	maxChoices = 8
	maxStops   = 4
)

func (o openaiOptions) includeUsage() bool {
	return o.StreamOptions != nil && o.StreamOptions.IncludeUsage
}

// check gives how many choices are asked for, and reports what a provider refuses.
func (o openaiOptions) check() (choices int, err error) {
	choices = 1
	if o.N != nil {
		choices = *o.N
	}
	switch {
	case choices < 1 || choices > maxChoices:
		return 0, invalid("n", "must be 1 to %d", maxChoices)
	case o.StreamOptions != nil && !o.Stream:
		return 0, invalid("stream_options", "needs stream to be true")
	case len(o.Stop) > maxStops:
		return 0, invalid("stop", "has more than %d entries", maxStops)
	}
	for _, stop := range o.Stop {
		if stop == "" {
			return 0, invalid("stop", "must not have an empty entry")
		}
	}
	return choices, nil
}

// tokenLimit gives the limit that a field states; 0 if it is absent.
func tokenLimit(param string, n *int) (int, error) {
	if n == nil {
		return 0, nil
	}
	if *n < 1 {
		return 0, invalid(param, "must be 1 or more")
	}
	return *n, nil
}

func (q *chatRequest) prompt() (*prompt, error) {
	p := &prompt{choice: q.ToolChoice, format: q.ResponseFormat}
	var err error
	switch {
	case q.MaxTokens != nil && q.MaxCompletionTokens != nil:
		err = invalid("max_tokens", "and 'max_completion_tokens' exclude each other")
	case q.MaxCompletionTokens != nil:
		p.limit, err = tokenLimit("max_completion_tokens", q.MaxCompletionTokens)
	default:
		p.limit, err = tokenLimit("max_tokens", q.MaxTokens)
	}
	if err != nil {
		return nil, err
	}
	if q.Messages == nil {
		return nil, missing("messages")
	}
	if len(q.Messages) == 0 {
		return nil, invalid("messages", "must not be empty")
	}
	for i, m := range q.Messages {
		switch m.Role {
		case "user":
			if m.Content.text != "" {
				p.said = m.Content.text
			}
		case "system", "developer", "assistant", "tool", "function":
		case "":
			return nil, missing(fmt.Sprintf("messages[%d].role", i))
		default:
			return nil, invalid(fmt.Sprintf("messages[%d].role", i), "has the unknown value %q", m.Role)
		}
		if !m.Content.set && m.Role != "assistant" {
			return nil, missing(fmt.Sprintf("messages[%d].content", i))
		}
		p.tokens += m.Content.tokens
		for _, call := range m.ToolCalls {
			p.add(call.Function.Name)
			p.add(call.Function.Arguments)
		}
	}
	for _, t := range q.Tools {
		if t.Type != "function" {
			continue // without a schema; this model never calls it
		}
		if err := p.addTool(tool{t.Function.Name, t.Function.Description, t.Function.Parameters}, 64); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// chatCompletion is a reply, and a chunk of a streamed one.
type chatCompletion struct {
	ID                string          `json:"id"`
	Object            string          `json:"object"`
	Created           int64           `json:"created"`
	Model             string          `json:"model"`
	ServiceTier       string          `json:"service_tier"`
	SystemFingerprint string          `json:"system_fingerprint"`
	Choices           []chatChoice    `json:"choices"`
	Usage             json.RawMessage `json:"usage,omitempty"`
}

type chatChoice struct {
	Index        int         `json:"index"`
	Message      *chatAnswer `json:"message,omitempty"`
	Delta        *chatDelta  `json:"delta,omitempty"`
	Logprobs     *struct{}   `json:"logprobs"`
	FinishReason *string     `json:"finish_reason"`
}

type chatAnswer struct {
	Role        string     `json:"role"`
	Content     *string    `json:"content"`
	Refusal     *string    `json:"refusal"`
	Annotations []struct{} `json:"annotations"`
	ToolCalls   []chatCall `json:"tool_calls,omitempty"`
}

type chatDelta struct {
	Role      string          `json:"role,omitempty"`
	Content   json.RawMessage `json:"content,omitempty"` // a string or null
	Refusal   json.RawMessage `json:"refusal,omitempty"` // null, beside the role
	ToolCalls []chatCall      `json:"tool_calls,omitempty"`
}

type chatCall struct {
	Index    *int         `json:"index,omitempty"` // in chunks
	ID       string       `json:"id,omitempty"`
	Type     string       `json:"type,omitempty"`
	Function chatFunction `json:"function"`
}

type chatFunction struct {
	Name      string `json:"name,omitempty"`
	Arguments string `json:"arguments"`
}

// openaiUsage is the usage of chat.
type openaiUsage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	TotalTokens      int `json:"total_tokens"`
	PromptDetails    struct {
		CachedTokens int `json:"cached_tokens"`
		AudioTokens  int `json:"audio_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails struct {
		ReasoningTokens          int `json:"reasoning_tokens"`
		AudioTokens              int `json:"audio_tokens"`
		AcceptedPredictionTokens int `json:"accepted_prediction_tokens"`
		RejectedPredictionTokens int `json:"rejected_prediction_tokens"`
	} `json:"completion_tokens_details"`
}

func (c call) chatCompletions() (reply, error) {
	var q chatRequest
	var o openaiOptions
	if err := decode(c.body, &q, &o); err != nil {
		return reply{}, err
	}
	n, err := o.check()
	if err != nil {
		return reply{}, err
	}
	p, err := q.prompt()
	if err != nil {
		return reply{}, err
	}
	p.stops = o.Stop
	a, err := p.answer()
	if err != nil {
		return reply{}, err
	}
	out := n * len(a.tokens)
	usage := encode(openaiUsage{PromptTokens: p.tokens, CompletionTokens: out, TotalTokens: p.tokens + out})
	completion := chatCompletion{ID: newID("chatcmpl-"), Created: time.Now().Unix(), Model: c.model,
		ServiceTier: "default", SystemFingerprint: "fp_demo"}
	if o.Stream {
		completion.Object = "chat.completion.chunk"
		s := &chatStream{script: script{pace: c.behavior.pace}, chunk: completion}
		if o.includeUsage() {
			s.usage = usage
		}
		s.write(a, n)
		return reply{script: &s.script}, nil
	}
	completion.Object = "chat.completion"
	completion.Usage = usage
	for i := range n {
		completion.Choices = append(completion.Choices,
			chatChoice{Index: i, Message: a.chatAnswer(), FinishReason: a.finishReason()})
	}
	return jsonReply(completion, out), nil
}

func (a answer) chatAnswer() *chatAnswer {
	text := a.text()
	if a.tool == "" {
		return &chatAnswer{Role: "assistant", Content: &text, Annotations: []struct{}{}}
	}
	return &chatAnswer{Role: "assistant", Annotations: []struct{}{}, ToolCalls: []chatCall{
		{ID: newID("call_"), Type: "function", Function: chatFunction{a.tool, text}}}}
}

// finishReason is the one of chat.
func (a answer) finishReason() *string {
	reason := "stop"
	switch {
	case a.end == limited:
		reason = "length"
	case a.tool != "":
		reason = "tool_calls"
	}
	return &reason
}

// chatStream writes a streamed reply.
type chatStream struct {
	script
	chunk chatCompletion  // what every chunk repeats
	usage json.RawMessage // nil if it was not asked for
}

func (s *chatStream) write(a answer, n int) {
	null := json.RawMessage("null")
	if s.usage != nil {
		s.chunk.Usage = null
	}
	for i := range n {
		first := chatDelta{Role: "assistant", Content: json.RawMessage(`""`), Refusal: null}
		if a.tool != "" {
			first.Content = null
		}
		s.event("", s.delta(i, first))
		if a.tool != "" {
			s.event("", s.delta(i, callDelta(chatCall{ID: newID("call_"), Type: "function", Function: chatFunction{Name: a.tool}})))
		}
	}
	for _, token := range a.tokens {
		for i := range n {
			d := chatDelta{Content: encode(token)}
			if a.tool != "" {
				d = callDelta(chatCall{Function: chatFunction{Arguments: token}})
			}
			s.token("", s.delta(i, d))
		}
	}
	for i := range n {
		last := s.delta(i, chatDelta{})
		last.Choices[0].FinishReason = a.finishReason()
		s.event("", last)
	}
	if s.usage != nil {
		last := s.chunk
		last.Choices = []chatChoice{}
		last.Usage = s.usage
		s.event("", last)
	}
	s.event("", "[DONE]")
}

func (s *chatStream) delta(choice int, d chatDelta) chatCompletion {
	chunk := s.chunk
	chunk.Choices = []chatChoice{{Index: choice, Delta: &d}}
	return chunk
}

// callDelta is a fragment of the one tool call.
func callDelta(c chatCall) chatDelta {
	index := 0
	c.Index = &index
	return chatDelta{ToolCalls: []chatCall{c}}
}
