// OpenAI responses. https://platform.openai.com/docs/api-reference/responses

package demo

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// response is a reply, and what the events of a streamed one tell of it. It has every member that is published, since
// clients generated from the specification refuse a response that lacks one.
type response struct {
	ID                 string            `json:"id"`
	Object             string            `json:"object"`
	CreatedAt          int64             `json:"created_at"`
	CompletedAt        *int64            `json:"completed_at"`
	Status             string            `json:"status"`
	Background         bool              `json:"background"`
	Error              *struct{}         `json:"error"`
	IncompleteDetails  json.RawMessage   `json:"incomplete_details"` // nil is null
	Model              string            `json:"model"`
	PreviousResponseID *string           `json:"previous_response_id"`
	Output             []json.RawMessage `json:"output"`
	Usage              json.RawMessage   `json:"usage"` // nil is null
	responseSettings
}

func (c call) responses() (reply, error) {
	q, p, err := c.read("input", "user", "assistant", "system", "developer")
	if err != nil {
		return reply{}, err
	}
	settings, err := readSettings(c.body)
	if err != nil {
		return reply{}, err
	}
	if q.PreviousResponseID != nil {
		return reply{}, &fault{status: http.StatusBadRequest, param: "previous_response_id", code: "previous_response_not_found",
			message: "names a response that is not stored: the demo provider stores none"}
	}
	a := p.answer()
	item := newResponsesItem(a)
	begun := response{ID: newID("resp_"), Object: "response", CreatedAt: time.Now().Unix(), Status: "in_progress",
		Model: c.model, Output: []json.RawMessage{}, responseSettings: settings}
	ended := begun
	ended.Status = item.status
	ended.Output = []json.RawMessage{item.whole}
	ended.Usage = fill(`{"input_tokens":%s,"input_tokens_details":{"cached_tokens":0},"output_tokens":%s,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":%s}`,
		p.tokens, len(a.tokens), p.tokens+len(a.tokens))
	if a.limited {
		ended.IncompleteDetails = fill(`{"reason":"max_output_tokens"}`)
	} else {
		ended.CompletedAt = &ended.CreatedAt
	}
	if !q.Stream {
		return reply{body: encode(ended), words: len(a.tokens)}, nil
	}
	s := &responsesStream{script: script{pace: c.behavior.pace}}
	s.add("response.created", `"response":%s`, begun)
	s.add("response.in_progress", `"response":%s`, begun)
	s.addItem(item, a)
	s.add("response."+ended.Status, `"response":%s`, ended)
	return reply{script: &s.script}, nil
}

// responsesItem is the one item of the output: a message or a function call.
type responsesItem struct {
	id, status   string
	begun, whole json.RawMessage // as it is added to the output, and as it is done
}

func newResponsesItem(a answer) responsesItem {
	item := responsesItem{status: "completed"}
	if a.limited {
		item.status = "incomplete"
	}
	if a.tool != "" {
		const call = `{"id":%s,"type":"function_call","status":%s,"call_id":%s,"name":%s,"arguments":%s}`
		callID := newID("call_")
		item.id = newID("fc_")
		item.begun = fill(call, item.id, "in_progress", callID, a.tool, "")
		item.whole = fill(call, item.id, item.status, callID, a.tool, a.text())
		return item
	}
	const message = `{"id":%s,"type":"message","status":%s,"role":"assistant","content":%s}`
	item.id = newID("msg_")
	item.begun = fill(message, item.id, "in_progress", fill(`[]`))
	item.whole = fill(message, item.id, item.status, fill(`[%s]`, outputText(a.text())))
	return item
}

func outputText(text string) json.RawMessage {
	return fill(`{"type":"output_text","text":%s,"annotations":[],"logprobs":[]}`, text)
}

// responsesStream numbers the events of a streamed response.
type responsesStream struct {
	script
	sequence int
}

// add adds an event with the members of a template; one whose type ends in .delta carries a token.
func (s *responsesStream) add(kind, members string, values ...any) {
	e := fill(`{"type":%s,"sequence_number":%s,`+members+`}`, append([]any{kind, s.sequence}, values...)...)
	s.sequence++
	if strings.HasSuffix(kind, ".delta") {
		s.token(kind, e)
	} else {
		s.event(kind, e)
	}
}

func (s *responsesStream) addItem(item responsesItem, a answer) {
	s.add("response.output_item.added", `"output_index":0,"item":%s`, item.begun)
	if a.tool != "" {
		for _, token := range a.tokens {
			s.add("response.function_call_arguments.delta", `"item_id":%s,"output_index":0,"delta":%s`, item.id, token)
		}
		s.add("response.function_call_arguments.done", `"item_id":%s,"output_index":0,"name":%s,"arguments":%s`, item.id, a.tool, a.text())
	} else {
		s.add("response.content_part.added", `"item_id":%s,"output_index":0,"content_index":0,"part":%s`, item.id, outputText(""))
		for _, token := range a.tokens {
			s.add("response.output_text.delta", `"item_id":%s,"output_index":0,"content_index":0,"delta":%s,"logprobs":[]`, item.id, token)
		}
		s.add("response.output_text.done", `"item_id":%s,"output_index":0,"content_index":0,"text":%s,"logprobs":[]`, item.id, a.text())
		s.add("response.content_part.done", `"item_id":%s,"output_index":0,"content_index":0,"part":%s`, item.id, outputText(a.text()))
	}
	s.add("response.output_item.done", `"output_index":0,"item":%s`, item.whole)
}
