package demo_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// reading is what a client gets out of a reply, streamed or not.
type reading struct {
	Text, Tool, End string
	Arguments       string // without spaces
	Input, Output   int
}

// read asks for the same answer plain and as a stream, and fails unless both
// say the same. body lacks its model.
func read(t *testing.T, path, body string) reading {
	t.Helper()
	body = `{"model":"demo-fast",` + strings.TrimPrefix(body, "{")
	_, whole := post(t, path, body)
	stream := `,"stream":true}`
	if strings.HasSuffix(path, "/completions") {
		stream = `,"stream":true,"stream_options":{"include_usage":true}}`
	}
	res, events := post(t, path, strings.TrimSuffix(body, "}")+stream)
	if res.StatusCode != 200 {
		t.Fatalf("%s %s: %s", path, body, events)
	}
	want, got := readPlain(t, whole), readStream(t, events)
	if got != want {
		t.Errorf("%s %s: the stream says\n%+v\nthe plain reply\n%+v", path, body, got, want)
	}
	return want
}

// anyReply holds the fields of every dialect's replies and events.
type anyReply struct {
	Type    string
	Choices []struct {
		Message struct {
			Content   string
			ToolCalls []anyCall `json:"tool_calls"`
		}
		Delta struct {
			Content   string
			ToolCalls []anyCall `json:"tool_calls"`
		}
		FinishReason string `json:"finish_reason"`
	}
	Content []struct {
		Type, Text, Name string
		Input            json.RawMessage
	}
	StopReason   string `json:"stop_reason"`
	Usage        anyUsage
	Message      struct{ Usage anyUsage }
	ContentBlock struct{ Name string } `json:"content_block"`
	Delta        json.RawMessage
	Status       string
	Response     json.RawMessage
	Output       []struct {
		Name, Arguments string
		Content         []struct{ Text string }
	}
}

type anyCall struct {
	Function struct{ Name, Arguments string }
}

type anyUsage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	InputTokens      int `json:"input_tokens"`
	OutputTokens     int `json:"output_tokens"`
}

func (r *reading) count(u anyUsage) {
	r.Input += u.PromptTokens + u.InputTokens
	r.Output += u.CompletionTokens + u.OutputTokens
}

func readPlain(t *testing.T, text string) (r reading) {
	t.Helper()
	var a anyReply
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	for _, c := range a.Choices {
		r.Text += c.Message.Content
		r.End += c.FinishReason
		for _, call := range c.Message.ToolCalls {
			r.Tool, r.Arguments = call.Function.Name, call.Function.Arguments
		}
	}
	for _, b := range a.Content {
		r.Text += b.Text
		r.Tool = b.Name
		r.Arguments = string(b.Input)
	}
	for _, o := range a.Output {
		r.Tool, r.Arguments = o.Name, o.Arguments
		for _, c := range o.Content {
			r.Text += c.Text
		}
	}
	r.End += a.StopReason + a.Status
	r.Arguments = strings.ReplaceAll(r.Arguments, " ", "")
	r.count(a.Usage)
	return r
}

func readStream(t *testing.T, text string) (r reading) {
	t.Helper()
	for _, event := range strings.Split(strings.TrimSuffix(text, "\n\n"), "\n\n") {
		_, data, _ := strings.Cut(event, "data: ")
		if data == "[DONE]" {
			continue
		}
		var a anyReply
		if err := json.Unmarshal([]byte(data), &a); err != nil {
			t.Fatalf("%v in %s", err, event)
		}
		r.addEvent(t, a)
	}
	r.Arguments = strings.ReplaceAll(r.Arguments, " ", "")
	return r
}

func (r *reading) addEvent(t *testing.T, a anyReply) {
	t.Helper()
	for _, c := range a.Choices {
		r.Text += c.Delta.Content
		r.End += c.FinishReason
		for _, call := range c.Delta.ToolCalls {
			r.Tool += call.Function.Name
			r.Arguments += call.Function.Arguments
		}
	}
	switch a.Type {
	case "content_block_start":
		r.Tool = a.ContentBlock.Name
	case "content_block_delta":
		var d struct {
			Text    string
			Partial string `json:"partial_json"`
		}
		decode(t, a.Delta, &d)
		r.Text += d.Text
		r.Arguments += d.Partial
	case "message_delta":
		var d struct {
			StopReason string `json:"stop_reason"`
		}
		decode(t, a.Delta, &d)
		r.End = d.StopReason
		r.count(a.Usage)
	case "response.output_text.delta", "response.function_call_arguments.delta":
		var fragment string
		decode(t, a.Delta, &fragment)
		r.Text += fragment
	case "response.completed", "response.incomplete":
		last := readPlain(t, string(a.Response))
		if r.Text != last.Text && strings.ReplaceAll(r.Text, " ", "") != last.Arguments {
			t.Errorf("the deltas say %q, the last event %+v", r.Text, last)
		}
		*r = last
	case "":
		r.count(a.Usage)
	}
}

func decode(t *testing.T, raw json.RawMessage, v any) {
	t.Helper()
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
}
