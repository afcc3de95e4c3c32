// OpenAI chat completions. https://platform.openai.com/docs/api-reference/chat

package demo

import (
	"encoding/json"
	"time"
)

// chatCompletion is a reply, and a chunk of a streamed one.
type chatCompletion struct {
	ID      string            `json:"id"`
	Object  string            `json:"object"`
	Created int64             `json:"created"`
	Model   string            `json:"model"`
	Choices []json.RawMessage `json:"choices"`
	Usage   json.RawMessage   `json:"usage,omitempty"`
}

func (c call) chatCompletions() (reply, error) {
	q, p, err := c.read("messages", "user", "assistant", "system", "developer", "tool", "function")
	if err != nil {
		return reply{}, err
	}
	a := p.answer()
	completion := chatCompletion{ID: newID("chatcmpl-"), Object: "chat.completion", Created: time.Now().Unix(), Model: c.model,
		Usage: fill(`{"prompt_tokens":%s,"completion_tokens":%s,"total_tokens":%s}`, p.tokens, len(a.tokens), p.tokens+len(a.tokens))}
	if q.Stream {
		return reply{script: chatScript(c.behavior.pace, completion, a, q.StreamOptions.IncludeUsage)}, nil
	}
	message := fill(`{"role":"assistant","content":%s,"refusal":null}`, a.text())
	if a.tool != "" {
		message = fill(`{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":%s,"type":"function","function":{"name":%s,"arguments":%s}}]}`,
			newID("call_"), a.tool, a.text())
	}
	completion.Choices = []json.RawMessage{
		fill(`{"index":0,"message":%s,"logprobs":null,"finish_reason":%s}`, message, a.finishReason())}
	return reply{body: encode(completion), words: len(a.tokens)}, nil
}

func (a answer) finishReason() string {
	switch {
	case a.limited:
		return "length"
	case a.tool != "":
		return "tool_calls"
	}
	return "stop"
}

// chatScript streams a as chunks of whole, whose usage comes last if it was asked for, and otherwise not at all.
func chatScript(p pace, whole chatCompletion, a answer, includeUsage bool) *script {
	s := &script{pace: p}
	chunk := whole
	chunk.Object, chunk.Usage = "chat.completion.chunk", nil
	if includeUsage {
		chunk.Usage = json.RawMessage("null")
	}
	with := func(delta json.RawMessage, finishReason any) json.RawMessage {
		chunk.Choices = []json.RawMessage{fill(`{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s}`, delta, finishReason)}
		return encode(chunk)
	}
	delta := `{"content":%s}`
	if a.tool == "" {
		s.event("", with(fill(`{"role":"assistant","content":"","refusal":null}`), nil))
	} else {
		delta = `{"tool_calls":[{"index":0,"function":{"arguments":%s}}]}`
		s.event("", with(fill(`{"role":"assistant","content":null,"refusal":null,`+
			`"tool_calls":[{"index":0,"id":%s,"type":"function","function":{"name":%s,"arguments":""}}]}`, newID("call_"), a.tool), nil))
	}
	for _, token := range a.tokens {
		s.token("", with(fill(delta, token), nil))
	}
	s.event("", with(fill(`{}`), a.finishReason()))
	if includeUsage {
		chunk.Choices, chunk.Usage = []json.RawMessage{}, whole.Usage
		s.event("", encode(chunk))
	}
	s.event("", []byte("[DONE]"))
	return s
}
