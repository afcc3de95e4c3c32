// OpenAI responses. https://platform.openai.com/docs/api-reference/responses

package demo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

type responsesRequest struct {
	Input              json.RawMessage `json:"input"` // a string or items
	Instructions       *string         `json:"instructions"`
	MaxOutputTokens    *int            `json:"max_output_tokens"`
	PreviousResponseID *string         `json:"previous_response_id"`
	Stream             bool            `json:"stream"`
	Tools              []responsesTool `json:"tools"`
	ToolChoice         toolChoice      `json:"tool_choice"`
	Text               struct {
		Format format `json:"format"`
	} `json:"text"`
}

type responsesTool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
}

// responsesItem is an item of the input: a message, a tool call, its output,
// or another, of which only the texts count.
type responsesItem struct {
	Type      string          `json:"type"`
	Role      string          `json:"role"`
	Content   json.RawMessage `json:"content"`
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
	Output    json.RawMessage `json:"output"`
}

func (q *responsesRequest) prompt() (*prompt, error) {
	p := &prompt{choice: q.ToolChoice, format: q.Text.Format}
	var err error
	if p.limit, err = tokenLimit("max_output_tokens", q.MaxOutputTokens); err != nil {
		return nil, err
	}
	if q.PreviousResponseID != nil {
		return nil, &fault{status: http.StatusBadRequest, param: "previous_response_id", code: "previous_response_not_found",
			message: "names a response that is not stored: the demo provider stores none"}
	}
	if q.Instructions != nil {
		p.add(*q.Instructions)
	}
	if err := q.readInput(p); err != nil {
		return nil, err
	}
	for _, t := range q.Tools {
		if t.Type != "function" {
			continue // one of the provider's own, which this model never calls
		}
		if err := p.addTool(tool{t.Name, t.Description, t.Parameters}, 64); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (q *responsesRequest) readInput(p *prompt) error {
	if absent(q.Input) {
		return missing("input")
	}
	var text string
	if json.Unmarshal(q.Input, &text) == nil {
		p.said = text
		p.add(text)
		return nil
	}
	var items []responsesItem
	if json.Unmarshal(q.Input, &items) != nil {
		return invalid("input", "must be a string or an array of items")
	}
	if len(items) == 0 {
		return invalid("input", "must not be empty")
	}
	for i, item := range items {
		if item.Type != "" && item.Type != "message" {
			p.add(item.Name)
			p.tokens += looseTokens(item.Content) + looseTokens(item.Arguments) + looseTokens(item.Output)
			continue
		}
		var c content
		if item.Content == nil || c.UnmarshalJSON(item.Content) != nil {
			return invalid(fmt.Sprintf("input[%d].content", i), "must be a string or an array of parts")
		}
		switch item.Role {
		case "user":
			if c.text != "" {
				p.said = c.text
			}
		case "system", "developer", "assistant":
		case "":
			return missing(fmt.Sprintf("input[%d].role", i))
		default:
			return invalid(fmt.Sprintf("input[%d].role", i), "has the unknown value %q", item.Role)
		}
		p.tokens += c.tokens
	}
	return nil
}

// response is a reply, and what the events of a streamed one tell of it.
type response struct {
	ID                string               `json:"id"`
	Object            string               `json:"object"`
	CreatedAt         int64                `json:"created_at"`
	Status            string               `json:"status"`
	Background        bool                 `json:"background"`
	CompletedAt       *int64               `json:"completed_at"`
	Error             *struct{}            `json:"error"`
	IncompleteDetails *responsesIncomplete `json:"incomplete_details"`
	Model             string               `json:"model"`
	Output            []responsesOutput    `json:"output"`
	Usage             *responsesUsage      `json:"usage"`
	responsesSettings
}

type responsesIncomplete struct {
	Reason string `json:"reason"`
}

// responsesSettings are the settings of the request, which a response repeats.
type responsesSettings struct {
	Instructions       json.RawMessage `json:"instructions"`
	MaxOutputTokens    json.RawMessage `json:"max_output_tokens"`
	Metadata           json.RawMessage `json:"metadata"`
	ParallelToolCalls  json.RawMessage `json:"parallel_tool_calls"`
	PreviousResponseID *string         `json:"previous_response_id"`
	Reasoning          json.RawMessage `json:"reasoning"`
	Store              json.RawMessage `json:"store"`
	Temperature        json.RawMessage `json:"temperature"`
	Text               json.RawMessage `json:"text"`
	ToolChoice         json.RawMessage `json:"tool_choice"`
	Tools              json.RawMessage `json:"tools"`
	TopP               json.RawMessage `json:"top_p"`
	Truncation         json.RawMessage `json:"truncation"`
}

func (s *responsesSettings) setDefaults() {
	for _, field := range []struct {
		value     *json.RawMessage
		otherwise string
	}{
		{&s.Instructions, `null`},
		{&s.MaxOutputTokens, `null`},
		{&s.Metadata, `{}`},
		{&s.ParallelToolCalls, `true`},
		{&s.Reasoning, `{"effort":null,"summary":null}`},
		{&s.Store, `false`},
		{&s.Temperature, `1`},
		{&s.Text, `{"format":{"type":"text"}}`},
		{&s.ToolChoice, `"auto"`},
		{&s.Tools, `[]`},
		{&s.TopP, `1`},
		{&s.Truncation, `"disabled"`},
	} {
		if *field.value == nil || string(*field.value) == "null" {
			*field.value = json.RawMessage(field.otherwise)
		}
	}
}

// responsesOutput is an item of the output: a message or a function call.
type responsesOutput struct {
	ID        string           `json:"id"`
	Type      string           `json:"type"`
	Status    string           `json:"status"`
	Role      string           `json:"role,omitempty"`
	Content   *[]responsesText `json:"content,omitempty"`
	CallID    string           `json:"call_id,omitempty"`
	Name      string           `json:"name,omitempty"`
	Arguments *string          `json:"arguments,omitempty"`
}

type responsesText struct {
	Type        string     `json:"type"`
	Text        string     `json:"text"`
	Annotations []struct{} `json:"annotations"`
	Logprobs    []struct{} `json:"logprobs"`
}

type responsesUsage struct {
	InputTokens  int `json:"input_tokens"`
	InputDetails struct {
		CachedTokens int `json:"cached_tokens"`
	} `json:"input_tokens_details"`
	OutputTokens  int `json:"output_tokens"`
	OutputDetails struct {
		ReasoningTokens int `json:"reasoning_tokens"`
	} `json:"output_tokens_details"`
	TotalTokens int `json:"total_tokens"`
}

func (c call) responses() (reply, error) {
	var q responsesRequest
	var settings responsesSettings
	if err := decode(c.body, &q, &settings); err != nil {
		return reply{}, err
	}
	settings.setDefaults()
	p, err := q.prompt()
	if err != nil {
		return reply{}, err
	}
	a, err := p.answer()
	if err != nil {
		return reply{}, err
	}
	begun := response{ID: newID("resp_"), Object: "response", CreatedAt: time.Now().Unix(), Status: "in_progress",
		Model: c.model, Output: []responsesOutput{}, responsesSettings: settings}
	item := a.responsesOutput()
	ended := begun
	ended.Status = item.Status
	ended.Output = []responsesOutput{item}
	ended.Usage = &responsesUsage{InputTokens: p.tokens, OutputTokens: len(a.tokens), TotalTokens: p.tokens + len(a.tokens)}
	if a.end == limited {
		ended.IncompleteDetails = &responsesIncomplete{"max_output_tokens"}
	} else {
		ended.CompletedAt = &ended.CreatedAt
	}
	if q.Stream {
		return reply{script: responsesScript(c.behavior.pace, begun, ended, a.tokens)}, nil
	}
	return jsonReply(ended, len(a.tokens)), nil
}

// responsesOutput gives the one item of the output, complete.
func (a answer) responsesOutput() responsesOutput {
	status := "completed"
	if a.end == limited {
		status = "incomplete"
	}
	text := a.text()
	if a.tool != "" {
		return responsesOutput{ID: newID("fc_"), Type: "function_call", Status: status,
			CallID: newID("call_"), Name: a.tool, Arguments: &text}
	}
	return responsesOutput{ID: newID("msg_"), Type: "message", Status: status, Role: "assistant",
		Content: &[]responsesText{newResponsesText(text)}}
}

func newResponsesText(text string) responsesText {
	return responsesText{"output_text", text, []struct{}{}, []struct{}{}}
}

// responsesEvent is any event of a stream.
type responsesEvent struct {
	Type         string           `json:"type"`
	Sequence     int              `json:"sequence_number"`
	Response     *response        `json:"response,omitempty"`
	OutputIndex  *int             `json:"output_index,omitempty"`
	ItemID       string           `json:"item_id,omitempty"`
	Item         *responsesOutput `json:"item,omitempty"`
	ContentIndex *int             `json:"content_index,omitempty"`
	Part         *responsesText   `json:"part,omitempty"`
	Delta        *string          `json:"delta,omitempty"`
	Text         *string          `json:"text,omitempty"`
	Name         string           `json:"name,omitempty"`
	Arguments    *string          `json:"arguments,omitempty"`
	Logprobs     *[]struct{}      `json:"logprobs,omitempty"`
}

// responsesStream writes the events of a streamed response with its one item.
type responsesStream struct {
	script
	sequence int
	index    int // of the item, and of its part: both are the first
}

func responsesScript(p pace, begun, ended response, tokens []string) *script {
	s := &responsesStream{script: script{pace: p}}
	s.add(responsesEvent{Type: "response.created", Response: &begun})
	s.add(responsesEvent{Type: "response.in_progress", Response: &begun})
	if item := ended.Output[0]; item.Type == "function_call" {
		s.call(item, tokens)
	} else {
		s.text(item, tokens)
	}
	s.add(responsesEvent{Type: "response." + ended.Status, Response: &ended})
	return &s.script
}

func (s *responsesStream) text(item responsesOutput, tokens []string) {
	begun := item
	begun.Status, begun.Content = "in_progress", &[]responsesText{}
	s.add(responsesEvent{Type: "response.output_item.added", OutputIndex: &s.index, Item: &begun})
	part, noLogprobs := newResponsesText(""), []struct{}{}
	s.add(responsesEvent{Type: "response.content_part.added", OutputIndex: &s.index, ItemID: item.ID, ContentIndex: &s.index, Part: &part})
	for _, token := range tokens {
		s.add(responsesEvent{Type: "response.output_text.delta", OutputIndex: &s.index, ItemID: item.ID, ContentIndex: &s.index,
			Delta: &token, Logprobs: &noLogprobs})
	}
	part = (*item.Content)[0]
	s.add(responsesEvent{Type: "response.output_text.done", OutputIndex: &s.index, ItemID: item.ID, ContentIndex: &s.index,
		Text: &part.Text, Logprobs: &noLogprobs})
	s.add(responsesEvent{Type: "response.content_part.done", OutputIndex: &s.index, ItemID: item.ID, ContentIndex: &s.index, Part: &part})
	s.add(responsesEvent{Type: "response.output_item.done", OutputIndex: &s.index, Item: &item})
}

func (s *responsesStream) call(item responsesOutput, tokens []string) {
	begun, empty := item, ""
	begun.Status, begun.Arguments = "in_progress", &empty
	s.add(responsesEvent{Type: "response.output_item.added", OutputIndex: &s.index, Item: &begun})
	for _, token := range tokens {
		s.add(responsesEvent{Type: "response.function_call_arguments.delta", OutputIndex: &s.index, ItemID: item.ID, Delta: &token})
	}
	s.add(responsesEvent{Type: "response.function_call_arguments.done", OutputIndex: &s.index, ItemID: item.ID,
		Name: item.Name, Arguments: item.Arguments})
	s.add(responsesEvent{Type: "response.output_item.done", OutputIndex: &s.index, Item: &item})
}

// add numbers an event; one with a delta carries a token.
func (s *responsesStream) add(e responsesEvent) {
	e.Sequence = s.sequence
	s.sequence++
	if e.Delta != nil {
		s.token(e.Type, e)
	} else {
		s.event(e.Type, e)
	}
}
