// OpenAI text completions. https://platform.openai.com/docs/api-reference/completions

package demo

import (
	"encoding/json"
	"time"
)

// completion is a reply, and a chunk of a streamed one.
type completion struct {
	ID      string             `json:"id"`
	Object  string             `json:"object"`
	Created int64              `json:"created"`
	Model   string             `json:"model"`
	Choices []completionChoice `json:"choices"`
	Usage   json.RawMessage    `json:"usage,omitempty"`
}

type completionChoice struct {
	Text         string    `json:"text"`
	Index        int       `json:"index"`
	Logprobs     *struct{} `json:"logprobs"`
	FinishReason *string   `json:"finish_reason"`
}

// completions answers every prompt n times.
func (c call) completions() (reply, error) {
	var q struct {
		Prompt    inputs `json:"prompt"`
		MaxTokens *int   `json:"max_tokens"`
	}
	var o openaiOptions
	if err := decode(c.body, &q, &o); err != nil {
		return reply{}, err
	}
	n, err := o.check()
	if err != nil {
		return reply{}, err
	}
	limit, err := tokenLimit("max_tokens", q.MaxTokens)
	if err != nil {
		return reply{}, err
	}
	if err := q.Prompt.check("prompt"); err != nil {
		return reply{}, err
	}
	if n*len(q.Prompt) > maxChoices {
		return reply{}, invalid("prompt", "asks for more than %d choices", maxChoices)
	}
	var answers []answer
	out := 0
	for _, in := range q.Prompt {
		p := prompt{said: in.text, limit: limit, stops: o.Stop}
		a, err := p.answer()
		if err != nil {
			return reply{}, err
		}
		for range n {
			answers = append(answers, a)
			out += len(a.tokens)
		}
	}
	in := q.Prompt.tokens()
	usage := encode(openaiUsage{PromptTokens: in, CompletionTokens: out, TotalTokens: in + out})
	whole := completion{ID: newID("cmpl-"), Object: "text_completion", Created: time.Now().Unix(), Model: c.model}
	if o.Stream {
		if !o.includeUsage() {
			usage = nil
		}
		return reply{script: completionScript(c.behavior.pace, whole, answers, usage)}, nil
	}
	whole.Usage = usage
	for i, a := range answers {
		whole.Choices = append(whole.Choices, completionChoice{Text: a.text(), Index: i, FinishReason: a.finishReason()})
	}
	return jsonReply(whole, out), nil
}

// completionScript streams answers one after the other; usage is nil if it was not asked for.
func completionScript(p pace, chunk completion, answers []answer, usage json.RawMessage) *script {
	s := &script{pace: p}
	if usage != nil {
		chunk.Usage = json.RawMessage("null")
	}
	for i, a := range answers {
		for _, token := range a.tokens {
			chunk.Choices = []completionChoice{{Text: token, Index: i}}
			s.token("", chunk)
		}
		chunk.Choices = []completionChoice{{Index: i, FinishReason: a.finishReason()}}
		s.event("", chunk)
	}
	if usage != nil {
		chunk.Choices, chunk.Usage = []completionChoice{}, usage
		s.event("", chunk)
	}
	s.event("", "[DONE]")
	return s
}
