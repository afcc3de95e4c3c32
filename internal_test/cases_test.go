// The cases: recorded exchanges from the corpus and a few of our own in the same
// form, with what a record must say of each, worked out from the whole text.
package gateway_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"proxycast/internal_test/harness"
)

// corpus is where the whole recorded traffic is found; testdata holds a part of it.
const corpus = "../../shared/corpus"

// recorded is one exchange with a provider.
type recorded struct {
	Name    string            `json:"name"`
	Dialect string            `json:"dialect"` // "openai-chat", "anthropic-messages", ...
	Request json.RawMessage   `json:"request"`
	Sent    map[string]string `json:"request_headers"`
	Status  int               `json:"response_status"`
	Header  map[string]string `json:"response_headers"`
	Body    string            `json:"response_body"`
	SSE     string            `json:"response_sse"`
}

// endpoints returns the path and the record's name of each dialect of the cases.
var endpoints = map[string]struct{ path, name string }{
	"openai-chat":        {"/v1/chat/completions", "chat_completions"},
	"openai-embeddings":  {"/v1/embeddings", "embeddings"},
	"openai-responses":   {"/v1/responses", "responses"},
	"openai-completions": {"/v1/completions", "other"},
	"anthropic-messages": {"/v1/messages", "messages"},
	"anthropic-count":    {"/v1/messages/count_tokens", "count_tokens"},
}

func (c recorded) provider() string { kind, _, _ := strings.Cut(c.Dialect, "-"); return kind }

// text is the reply's body.
func (c recorded) text() string { return c.Body + c.SSE }

// reply is the case as the provider plays it, with the given headers added.
func (c recorded) reply(header ...string) canned {
	for name, value := range c.Header {
		switch strings.ToLower(name) {
		case "transfer-encoding", "content-length", "connection":
		default:
			header = append(header, name+": "+value)
		}
	}
	return canned{status: c.Status, header: header, body: c.text(), sse: c.SSE != ""}
}

// body is the request to send: the recorded one, or one that could have led to the reply.
func (c recorded) body() string {
	if len(c.Request) > 0 && string(c.Request) != "null" {
		return string(c.Request)
	}
	if c.SSE != "" {
		return `{"model": "unrecorded-1", "stream": true, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 64}`
	}
	return `{"model": "unrecorded-1", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 64}`
}

// model is the request's top-level model.
func (c recorded) model(t testing.TB) string {
	t.Helper()
	model, _ := harness.Parse(t, []byte(c.body()))["model"].(string)
	return model
}

// facts is what a reply says of itself.
type facts struct {
	input, output, cacheRead, cacheWrite, reasoning *int64
	finish                                          map[string]bool // each reason given
	failed                                          string          // type of an error in it
	finished                                        bool            // a stream's terminal event came
}

// facts reads the reply with encoding/json, event by event.
func (c recorded) facts(t testing.TB) facts {
	t.Helper()
	f := facts{finish: map[string]bool{}}
	if c.SSE == "" {
		doc := harness.Parse(t, []byte(c.Body))
		f.usage(c.Dialect, doc)
		f.ends(doc)
		f.finished = true
		return f
	}
	for _, event := range splitEvents(c.SSE) {
		for line := range strings.Lines(event) {
			data, isData := strings.CutPrefix(line, "data:")
			var doc object
			if !isData || json.Unmarshal([]byte(data), &doc) != nil {
				continue // a comment, an event's name, [DONE]
			}
			for _, part := range []any{doc, doc["message"], doc["response"]} {
				if part, ok := part.(object); ok {
					f.usage(c.Dialect, part)
				}
			}
			f.ends(doc)
		}
	}
	return f
}

// usage takes what doc's usage states; later statements replace earlier ones.
func (f *facts) usage(dialect string, doc object) {
	if dialect == "anthropic-count" {
		doc = object{"usage": doc}
	}
	if groq, ok := doc["x_groq"].(object); ok && doc["usage"] == nil {
		doc = groq
	}
	usage, ok := doc["usage"].(object)
	if !ok {
		return
	}
	set := func(to **int64, path ...string) {
		var v any = usage
		for _, name := range path {
			m, _ := v.(object)
			v = m[name]
		}
		if n, ok := v.(float64); ok {
			whole := int64(n)
			*to = &whole
		}
	}
	set(&f.input, "prompt_tokens")
	set(&f.output, "completion_tokens")
	set(&f.cacheRead, "prompt_tokens_details", "cached_tokens")
	set(&f.reasoning, "completion_tokens_details", "reasoning_tokens")
	set(&f.input, "input_tokens")
	set(&f.output, "output_tokens")
	set(&f.cacheRead, "input_tokens_details", "cached_tokens")
	set(&f.reasoning, "output_tokens_details", "reasoning_tokens")
	set(&f.reasoning, "output_tokens_details", "thinking_tokens")
	set(&f.cacheRead, "cache_read_input_tokens")
	set(&f.cacheWrite, "cache_creation_input_tokens")
}

// total is the input as a record counts it: Anthropic's excludes what the cache held.
func (f facts) total(dialect string) *int64 {
	if f.input == nil || dialect != "anthropic-messages" {
		return f.input
	}
	sum := *f.input
	for _, part := range []*int64{f.cacheRead, f.cacheWrite} {
		if part != nil {
			sum += *part
		}
	}
	return &sum
}

// ends notes how the reply says that it ended.
func (f *facts) ends(doc object) {
	reason := func(of any, name string) {
		if part, ok := of.(object); ok {
			if s, ok := part[name].(string); ok {
				f.finish[s], f.finished = true, true
			}
		}
	}
	choices, _ := doc["choices"].([]any)
	for _, choice := range choices {
		reason(choice, "finish_reason")
	}
	reason(doc["delta"], "stop_reason")
	if doc["type"] == "message" {
		reason(doc, "stop_reason")
	}
	if doc["object"] == "response" {
		reason(doc, "status")
	}
	switch doc["type"] {
	case "response.completed", "response.incomplete", "response.failed":
		reason(doc["response"], "status")
	}
	if response, ok := doc["response"].(object); ok {
		doc = response
	}
	switch fault := doc["error"].(type) {
	case string:
		f.failed = "error"
	case object:
		if f.failed, _ = fault["type"].(string); f.failed == "" {
			f.failed = "error"
		}
	}
}

// readCorpus reads the recorded cases of testdata, and those of the whole corpus
// where it is present.
func readCorpus(t testing.TB) []recorded {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join("testdata", "*.json"))
	if len(files) < 30 {
		t.Fatalf("testdata holds %d recorded cases, fewer than 30", len(files))
	}
	more, _ := filepath.Glob(filepath.Join(corpus, "*.json"))
	if len(more) == 0 {
		t.Logf("SKIPPED: the whole corpus, none in %s; the %d cases of testdata run", corpus, len(files))
	}
	known := map[string]bool{}
	var all []recorded
	for _, file := range append(files, more...) {
		if known[filepath.Base(file)] {
			continue
		}
		known[filepath.Base(file)] = true
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c recorded
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, c)
	}
	return all
}

// Our own replies, one of each shape.
const (
	chatRequest = `{"model": "m-1", "messages": [{"role": "user", "content": "Say h\u00e9llo 世界"}], "big": 12345678901234567890, "one": 1.0}`
	chatReply   = `{"id":"c1","object":"chat.completion","created":1,"model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":"Hello!","refusal":null},"logprobs":null,"finish_reason":"stop"}],` +
		`"usage":{"prompt_tokens":11,"completion_tokens":3,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2}}}`

	chatStreamRequest = `{"model":"m-1","stream":true,"messages":[{"role":"user","content":"hi"}]}`
	chatStart         = `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m-1","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}],"usage":null}` + "\n\n"
	chatDelta         = `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m-1","choices":[{"index":0,"delta":{"content":"Hello 世界"},"finish_reason":null}],"usage":null}` + "\n\n"
	chatFinish        = `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}` + "\n\n"
	chatUsage         = `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m-1","choices":[],"usage":{"prompt_tokens":11,"completion_tokens":3,"total_tokens":14}}` + "\n\n"
	chatDone          = "data: [DONE]\n\n"
	chatStream        = chatStart + chatDelta + chatFinish + chatDone

	messageRequest = `{"model":"claude-1","max_tokens":64,"messages":[{"role":"user","content":"hi"}]}`
	messageReply   = `{"id":"msg_1","type":"message","role":"assistant","model":"claude-1","content":[{"type":"text","text":"Hello!"}],"stop_reason":"end_turn","stop_sequence":null,` +
		`"usage":{"input_tokens":7,"cache_read_input_tokens":5,"cache_creation_input_tokens":2,"output_tokens":3}}`

	messageStreamRequest = `{"model":"claude-1","max_tokens":64,"stream":true,"messages":[{"role":"user","content":"hi"}]}`
	messageStart         = "event: message_start\n" + `data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-1","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":7,"cache_read_input_tokens":5,"cache_creation_input_tokens":2,"output_tokens":1}}}` + "\n\n"
	messageBlock         = "event: content_block_start\n" + `data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}` + "\n\n" +
		"event: ping\n" + `data: {"type":"ping"}` + "\n\n"
	messageDelta  = "event: content_block_delta\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello 世界"}}` + "\n\n"
	messageFinish = "event: content_block_stop\n" + `data: {"type":"content_block_stop","index":0}` + "\n\n" +
		"event: message_delta\n" + `data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":9}}` + "\n\n"
	messageStop   = "event: message_stop\n" + `data: {"type":"message_stop"}` + "\n\n"
	messageStream = messageStart + messageBlock + messageDelta + messageFinish + messageStop

	responsesRequest = `{"model":"m-1","stream":true,"input":"hi"}`
	responsesStart   = "event: response.created\n" + `data: {"type":"response.created","sequence_number":0,"response":{"id":"r1","object":"response","status":"in_progress","output":[]}}` + "\n\n" +
		"event: response.output_text.delta\n" + `data: {"type":"response.output_text.delta","sequence_number":1,"item_id":"i1","output_index":0,"content_index":0,"delta":"Hello"}` + "\n\n"
	responsesEnd = "event: response.completed\n" + `data: {"type":"response.completed","sequence_number":2,"response":{"id":"r1","object":"response","status":"completed","output":[],` +
		`"usage":{"input_tokens":8,"input_tokens_details":{"cached_tokens":3},"output_tokens":4,"output_tokens_details":{"reasoning_tokens":1},"total_tokens":12}}}` + "\n\n"

	embeddingRequest = `{"model":"e-1","input":"hi","encoding_format":"base64"}`
	embeddingReply   = `{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AACAPwAAAAA="}],"model":"e-1","usage":{"prompt_tokens":5,"total_tokens":5}}`

	openaiError    = `{"error":{"message":"You exceeded your quota.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`
	anthropicError = `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}`
)

// ownCases run everywhere.
func ownCases() []recorded {
	plain := map[string]string{"content-type": "application/json", "x-request-id": "req-up-1"}
	message := map[string]string{"content-type": "application/json", "request-id": "req-up-2"}
	sse := map[string]string{"content-type": "text/event-stream"}
	return []recorded{
		{Name: "own-chat", Dialect: "openai-chat", Request: json.RawMessage(chatRequest), Status: 200, Header: plain, Body: chatReply},
		{Name: "own-chat-stream", Dialect: "openai-chat", Request: json.RawMessage(chatStreamRequest), Status: 200, Header: sse, SSE: chatStart + chatDelta + chatFinish + chatUsage + chatDone},
		{Name: "own-chat-crlf", Dialect: "openai-chat", Request: json.RawMessage(chatStreamRequest), Status: 200, Header: sse, SSE: strings.ReplaceAll(": hi\n\n"+chatStream, "\n", "\r\n")},
		{Name: "own-chat-429", Dialect: "openai-chat", Request: json.RawMessage(chatRequest), Status: 429, Header: map[string]string{"content-type": "application/json", "retry-after": "7", "x-ratelimit-remaining-requests": "0"}, Body: openaiError},
		{Name: "own-message", Dialect: "anthropic-messages", Request: json.RawMessage(messageRequest), Status: 200, Header: message, Body: messageReply},
		{Name: "own-message-stream", Dialect: "anthropic-messages", Request: json.RawMessage(messageStreamRequest), Status: 200, Header: sse, SSE: messageStream},
		{Name: "own-message-529", Dialect: "anthropic-messages", Request: json.RawMessage(messageRequest), Status: 529, Header: message, Body: anthropicError},
		{Name: "own-count", Dialect: "anthropic-count", Request: json.RawMessage(messageRequest), Status: 200, Header: message, Body: `{"input_tokens":42}`},
		{Name: "own-responses", Dialect: "openai-responses", Request: json.RawMessage(responsesRequest), Status: 200, Header: sse, SSE: responsesStart + responsesEnd},
		{Name: "own-embedding", Dialect: "openai-embeddings", Request: json.RawMessage(embeddingRequest), Status: 200, Header: plain, Body: embeddingReply},
	}
}
