// The two dialects: what a provider says in each, and what a caller understands of it.
package failover_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// dialect is how a provider speaks. Content is words; usage states the input
// tokens of the reply under way and one output token a word.
type dialect struct {
	name, path string
	start      func(input int) string // the events before content
	word       func(word string) string
	finish     func(output int) string // the events that end the content
	usage      func(input, output int) string
	closing    string
	errorEvent string
	problem    func(kind, message string) string // body of an error status
	plain      func(text string, input, output int) string
	tooLong    string // bodies of a 400
	refusal    string
}

var openAI = dialect{
	name: "openai", path: "/v1/chat/completions",
	start: func(int) string { return chatChunk(`{"role":"assistant","content":"","refusal":null}`, "null") },
	word:  func(word string) string { return chatChunk(`{"content":`+quote(word)+`}`, "null") },
	finish: func(int) string {
		return chatChunk(`{}`, `"stop"`)
	},
	usage: func(input, output int) string {
		return fmt.Sprintf(`data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d}}`+"\n\n", input, output)
	},
	closing:    "data: [DONE]\n\n",
	errorEvent: `data: {"error":{"message":"The server had an error","type":"server_error","param":null,"code":null}}` + "\n\n",
	problem: func(kind, message string) string {
		return fmt.Sprintf(`{"error":{"message":%q,"type":%q,"param":null,"code":null}}`, message, kind)
	},
	plain: func(text string, input, output int) string {
		return fmt.Sprintf(`{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":%s},"finish_reason":"stop"}],"usage":{"prompt_tokens":%d,"completion_tokens":%d}}`,
			quote(text), input, output)
	},
	tooLong: `{"error":{"message":"This model's maximum context length is 8192 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`,
	refusal: `{"error":{"message":"Your request was rejected by our safety system.","type":"invalid_request_error","param":null,"code":"content_policy_violation"}}`,
}

func chatChunk(delta, finish string) string {
	return `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":` + delta + `,"finish_reason":` + finish + `}]}` + "\n\n"
}

var anthropic = dialect{
	name: "anthropic", path: "/v1/messages",
	start: func(input int) string {
		return named("message_start", fmt.Sprintf(`{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":%d,"output_tokens":1}}}`, input)) +
			named("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`) +
			named("ping", `{"type":"ping"}`)
	},
	word: func(word string) string {
		return named("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":`+quote(word)+`}}`)
	},
	finish: func(output int) string {
		return named("content_block_stop", `{"type":"content_block_stop","index":0}`) +
			named("message_delta", fmt.Sprintf(`{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":%d}}`, output))
	},
	usage:      func(int, int) string { return "" },
	closing:    named("message_stop", `{"type":"message_stop"}`),
	errorEvent: named("error", `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`),
	problem: func(kind, message string) string {
		return fmt.Sprintf(`{"type":"error","error":{"type":%q,"message":%q},"request_id":"req_1"}`, kind, message)
	},
	plain: func(text string, input, output int) string {
		return fmt.Sprintf(`{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":%s}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":%d,"output_tokens":%d}}`,
			quote(text), input, output)
	},
	tooLong: `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"},"request_id":"req_1"}`,
	refusal: `{"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"},"request_id":"req_1"}`,
}

var dialects = []*dialect{&openAI, &anthropic}

func named(event, data string) string { return "event: " + event + "\ndata: " + data + "\n\n" }

func quote(text string) string { b, _ := json.Marshal(text); return string(b) }

func (d *dialect) request(model string, stream bool) string {
	return fmt.Sprintf(`{"model":%q,"stream":%t,"max_tokens":100,"messages":[{"role":"user","content":"Count."}]}`, model, stream)
}

// event is one event of a stream.
type event struct{ name, data string }

// parseSSE reads a stream as a client does (WHATWG HTML, "Server-sent events").
// comments counts them; torn tells that it ends inside an event.
func parseSSE(stream string) (events []event, comments int, torn bool) {
	var name string
	var data []string
	stream = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(stream)
	for line := range strings.Lines(stream) {
		line, whole := strings.CutSuffix(line, "\n")
		torn = !whole || line != ""
		if line == "" {
			if data != nil {
				events = append(events, event{name, strings.Join(data, "\n")})
			}
			name, data = "", nil
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "":
			comments++
		case "event":
			name = value
		case "data":
			data = append(data, value)
		}
	}
	return events, comments, torn
}

// view is all that a caller learns of one request.
type view struct {
	client    string // its name
	err       error  // no reply came at all
	status    int
	header    http.Header
	raw       []byte
	broken    error // why the body did not end cleanly
	events    []event
	comments  int
	malformed int // events that are not JSON
	text      string
	finish    string // the reason given
	closed    bool   // the closing marker came
	failure   string // of an error body or error event: its type and message
	took      time.Duration
	left      bool // before the end: it is no judge
}

func (v view) String() string {
	if v.err != nil {
		return fmt.Sprintf("no reply (%v) after %v", v.err, v.took)
	}
	return fmt.Sprintf("status %d, %d comments, %d words, finish %q, closed %t, failure %q, broken %v, after %v, x-should-retry %q, ends in %.200q", v.status, v.comments,
		len(strings.Fields(v.text)), v.finish, v.closed, v.failure, v.broken, v.took.Round(time.Millisecond), v.header.Get("X-Should-Retry"), v.raw[max(0, len(v.raw)-200):])
}

// ask makes one request and reads the reply to its end, or until ctx ends.
func (g *gateway) ask(ctx context.Context, d *dialect, model, client string, stream bool) (v view) {
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, hang)
	defer cancel()
	v.client = client
	begin := time.Now()
	defer func() { v.took, v.left = time.Since(begin), caller.Err() != nil }()
	r, err := g.Try(g.Request(ctx, "POST", d.path, d.request(model, stream), "User-Agent: "+client))
	if err != nil {
		v.err = err
		return v
	}
	v.status, v.header, v.raw, v.broken = r.Status, r.Header, r.Body, r.Cut
	v.read()
	return v
}

// read understands the body.
func (v *view) read() {
	if !strings.HasPrefix(v.header.Get("Content-Type"), "text/event-stream") {
		v.readEvent(event{data: string(bytes.TrimSpace(v.raw))})
		return
	}
	v.events, v.comments, _ = parseSSE(string(v.raw))
	for _, e := range v.events {
		v.readEvent(e)
	}
}

// readEvent takes what an event or a plain reply says, in either dialect.
func (v *view) readEvent(e event) {
	var doc struct {
		Type    string `json:"type"`
		Choices []struct {
			Delta, Message struct {
				Content string `json:"content"`
			}
			FinishReason string `json:"finish_reason"`
		} `json:"choices"`
		Delta struct {
			Text       string `json:"text"`
			StopReason string `json:"stop_reason"`
		} `json:"delta"`
		Content []struct {
			Text string `json:"text"`
		} `json:"content"`
		StopReason string `json:"stop_reason"`
		Error      *struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if e.data == "[DONE]" {
		v.closed = true
		return
	}
	if json.Unmarshal([]byte(e.data), &doc) != nil {
		v.malformed++
		return
	}
	v.closed = v.closed || doc.Type == "message_stop"
	v.text += doc.Delta.Text
	for _, block := range doc.Content {
		v.text += block.Text
	}
	v.finish += doc.Delta.StopReason + doc.StopReason
	for _, choice := range doc.Choices {
		v.text += choice.Delta.Content + choice.Message.Content
		v.finish += choice.FinishReason
	}
	if doc.Error != nil {
		v.failure = doc.Error.Type + ": " + doc.Error.Message
	}
}
