package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"proxycast/upstream/demo"
)

// roundTrip sends one request. path is below demo://demo/v1.
func roundTrip(ctx context.Context, method, path, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "demo://demo/v1"+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	return demo.Transport{}.RoundTrip(req)
}

// post returns the reply to a request that must be answered, and its whole body.
func post(t *testing.T, path, body string) (*http.Response, string) {
	t.Helper()
	res, err := roundTrip(t.Context(), http.MethodPost, path, body)
	if err != nil {
		t.Fatalf("POST %s %s: %v", path, body, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("POST %s %s: read the reply: %v", path, body, err)
	}
	return res, string(text)
}

// ok is post for a request that must succeed; it decodes a plain reply into v.
func ok(t *testing.T, path, body string, v any) {
	t.Helper()
	res, text := post(t, path, body)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("POST %s %s: %s %s", path, body, res.Status, text)
	}
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("POST %s %s: %v in %s", path, body, err, text)
	}
}

var (
	ids   = regexp.MustCompile(`"(chatcmpl-|call_|msg_|toolu_|resp_|fc_|req_)[A-Z2-7]{26}"`)
	times = regexp.MustCompile(`"(created|created_at|completed_at)":[0-9]{10}\b`)
)

// mask replaces what differs between two replies to the same request.
func mask(text string) string {
	return times.ReplaceAllString(ids.ReplaceAllString(text, `"${1}ID"`), `"$1":0`)
}

func TestModels(t *testing.T) {
	res, err := roundTrip(t.Context(), http.MethodGet, "/models", "")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(res.Body)
	want := `{"object":"list","data":[{"id":"demo-1","object":"model","created":1750000000,"owned_by":"proxycast"}]}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}

func TestHead(t *testing.T) {
	const chat = `{"model":"demo-fast","messages":[{"role":"user","content":"hi"}]`
	const messages = chat + `,"max_tokens":5`
	for _, c := range []struct{ path, body, contentType, id string }{
		{"/chat/completions", chat + `}`, "application/json", "X-Request-Id"},
		{"/chat/completions", chat + `,"stream":true}`, "text/event-stream; charset=utf-8", "X-Request-Id"},
		{"/messages", messages + `}`, "application/json", "Request-Id"},
		{"/messages", messages + `,"stream":true}`, "text/event-stream; charset=utf-8", "Request-Id"},
		{"/messages/count_tokens", chat + `}`, "application/json", "Request-Id"},
	} {
		res, text := post(t, c.path, c.body)
		if res.StatusCode != 200 || res.Status != "200 OK" {
			t.Errorf("%s: %q %s", c.body, res.Status, text)
		}
		if got := res.Header.Get("Content-Type"); got != c.contentType {
			t.Errorf("%s: Content-Type %q, want %q", c.path, got, c.contentType)
		}
		if got := res.Header.Get(c.id); !strings.HasPrefix(got, "req_") {
			t.Errorf("%s: %s %q", c.path, c.id, got)
		}
		if strings.Contains(c.body, `"stream":true`) {
			if res.ContentLength != -1 || res.Header.Get("Content-Length") != "" {
				t.Errorf("%s: a stream has the length %d", c.path, res.ContentLength)
			}
		} else if res.ContentLength != int64(len(text)) {
			t.Errorf("%s: length %d of %d bytes", c.path, res.ContentLength, len(text))
		}
	}
}

// Every reply is written out here; a changed shape must change this test.
func TestShapes(t *testing.T) {
	const hi = `"messages":[{"role":"user","content":"hi"}]`
	const tools = `"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}}}],"tool_choice":"required"`
	const claude = `"tools":[{"name":"f","input_schema":{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}}],"tool_choice":{"type":"any"}`
	const respond = `"tools":[{"type":"function","name":"f","parameters":{"type":"object"}}],"tool_choice":"required"`
	const chunk = `data: {"id":"chatcmpl-ID","object":"chat.completion.chunk","created":0,"model":"demo-fast","choices":[`
	limited := strings.Replace(responseSettings, `"max_output_tokens":null`, `"max_output_tokens":1`, 1)
	begun := `"response":{"id":"resp_ID","object":"response","created_at":0,"completed_at":null,"status":"in_progress","background":false,"error":null,` +
		`"incomplete_details":null,"model":"demo-fast","previous_response_id":null,"output":[],"usage":null,` + limited + "}}\n\n"
	ended := `{"id":"resp_ID","object":"response","created_at":0,"completed_at":null,"status":"incomplete","background":false,"error":null,` +
		`"incomplete_details":{"reason":"max_output_tokens"},"model":"demo-fast","previous_response_id":null,` +
		`"output":[{"id":"msg_ID","type":"message","status":"incomplete","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[],"logprobs":[]}]}],` +
		`"usage":{"input_tokens":1,"input_tokens_details":{"cached_tokens":0},"output_tokens":1,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":2},` + limited + `}`
	const item = `,"item_id":"msg_ID","output_index":0`

	for _, c := range []struct{ name, path, body, want string }{
		{"chat", "/chat/completions", hi + `,"max_tokens":2`,
			`{"id":"chatcmpl-ID","object":"chat.completion","created":0,"model":"demo-fast",` +
				`"choices":[{"index":0,"message":{"role":"assistant","content":"Hello!","refusal":null},"logprobs":null,"finish_reason":"length"}],` +
				`"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}`},
		{"chat tool", "/chat/completions", hi + `,` + tools,
			`{"id":"chatcmpl-ID","object":"chat.completion","created":0,"model":"demo-fast",` +
				`"choices":[{"index":0,"message":{"role":"assistant","content":null,"refusal":null,` +
				`"tool_calls":[{"id":"call_ID","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}}]},"logprobs":null,"finish_reason":"tool_calls"}],` +
				`"usage":{"prompt_tokens":41,"completion_tokens":7,"total_tokens":48}}`},
		{"chat stream", "/chat/completions", hi + `,"max_tokens":2,"stream":true`,
			chunk + `{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]}` + "\n\n" +
				chunk + `{"index":0,"delta":{"content":"Hello"},"logprobs":null,"finish_reason":null}]}` + "\n\n" +
				chunk + `{"index":0,"delta":{"content":"!"},"logprobs":null,"finish_reason":null}]}` + "\n\n" +
				chunk + `{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}]}` + "\n\n" +
				"data: [DONE]\n\n"},
		{"chat stream with usage", "/chat/completions", hi + `,"max_tokens":1,"stream":true,"stream_options":{"include_usage":true}`,
			chunk + `{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}` + "\n\n" +
				chunk + `{"index":0,"delta":{"content":"Hello"},"logprobs":null,"finish_reason":null}],"usage":null}` + "\n\n" +
				chunk + `{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}],"usage":null}` + "\n\n" +
				chunk + `],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}` + "\n\n" +
				"data: [DONE]\n\n"},
		{"chat tool stream", "/chat/completions", hi + `,"max_tokens":2,"stream":true,` + tools,
			chunk + `{"index":0,"delta":{"role":"assistant","content":null,"refusal":null,` +
				`"tool_calls":[{"index":0,"id":"call_ID","type":"function","function":{"name":"f","arguments":""}}]},"logprobs":null,"finish_reason":null}]}` + "\n\n" +
				chunk + `{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]},"logprobs":null,"finish_reason":null}]}` + "\n\n" +
				chunk + `{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\""}}]},"logprobs":null,"finish_reason":null}]}` + "\n\n" +
				chunk + `{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}]}` + "\n\n" +
				"data: [DONE]\n\n"},
		{"message", "/messages", hi + `,"max_tokens":2`,
			`{"id":"msg_ID","type":"message","role":"assistant","model":"demo-fast","content":[{"type":"text","text":"Hello!"}],"stop_reason":"max_tokens","stop_sequence":null,` +
				`"usage":{"input_tokens":1,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":2}}`},
		{"message tool", "/messages", hi + `,"max_tokens":99,` + claude,
			`{"id":"msg_ID","type":"message","role":"assistant","model":"demo-fast","content":[{"type":"tool_use","id":"toolu_ID","name":"f","input":{"a":1}}],"stop_reason":"tool_use","stop_sequence":null,` +
				`"usage":{"input_tokens":41,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":7}}`},
		{"message stream", "/messages", hi + `,"max_tokens":1,"stream":true`,
			`event: message_start` + "\n" +
				`data: {"type":"message_start","message":{"id":"msg_ID","type":"message","role":"assistant","model":"demo-fast","content":[],"stop_reason":null,"stop_sequence":null,` +
				`"usage":{"input_tokens":1,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}` + "\n\n" +
				`event: content_block_start` + "\n" + `data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}` + "\n\n" +
				`event: ping` + "\n" + `data: {"type":"ping"}` + "\n\n" +
				`event: content_block_delta` + "\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}` + "\n\n" +
				`event: content_block_stop` + "\n" + `data: {"type":"content_block_stop","index":0}` + "\n\n" +
				`event: message_delta` + "\n" + `data: {"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},` +
				`"usage":{"input_tokens":1,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}` + "\n\n" +
				`event: message_stop` + "\n" + `data: {"type":"message_stop"}` + "\n\n"},
		{"message tool stream", "/messages", hi + `,"max_tokens":1,"stream":true,` + claude,
			`event: message_start` + "\n" +
				`data: {"type":"message_start","message":{"id":"msg_ID","type":"message","role":"assistant","model":"demo-fast","content":[],"stop_reason":null,"stop_sequence":null,` +
				`"usage":{"input_tokens":41,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}` + "\n\n" +
				`event: content_block_start` + "\n" + `data: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"toolu_ID","name":"f","input":{}}}` + "\n\n" +
				`event: ping` + "\n" + `data: {"type":"ping"}` + "\n\n" +
				`event: content_block_delta` + "\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{"}}` + "\n\n" +
				`event: content_block_stop` + "\n" + `data: {"type":"content_block_stop","index":0}` + "\n\n" +
				`event: message_delta` + "\n" + `data: {"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},` +
				`"usage":{"input_tokens":41,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}` + "\n\n" +
				`event: message_stop` + "\n" + `data: {"type":"message_stop"}` + "\n\n"},
		{"count", "/messages/count_tokens", hi, `{"input_tokens":1}`},
		{"response", "/responses", `"input":"hi","max_output_tokens":1`, ended},
		{"response stream", "/responses", `"input":"hi","max_output_tokens":1,"stream":true`,
			"event: response.created\n" + `data: {"type":"response.created","sequence_number":0,` + begun +
				"event: response.in_progress\n" + `data: {"type":"response.in_progress","sequence_number":1,` + begun +
				"event: response.output_item.added\n" + `data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,` +
				`"item":{"id":"msg_ID","type":"message","status":"in_progress","role":"assistant","content":[]}}` + "\n\n" +
				"event: response.content_part.added\n" + `data: {"type":"response.content_part.added","sequence_number":3` + item + `,"content_index":0,` +
				`"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}` + "\n\n" +
				"event: response.output_text.delta\n" + `data: {"type":"response.output_text.delta","sequence_number":4` + item + `,"content_index":0,"delta":"Hello","logprobs":[]}` + "\n\n" +
				"event: response.output_text.done\n" + `data: {"type":"response.output_text.done","sequence_number":5` + item + `,"content_index":0,"text":"Hello","logprobs":[]}` + "\n\n" +
				"event: response.content_part.done\n" + `data: {"type":"response.content_part.done","sequence_number":6` + item + `,"content_index":0,` +
				`"part":{"type":"output_text","text":"Hello","annotations":[],"logprobs":[]}}` + "\n\n" +
				"event: response.output_item.done\n" + `data: {"type":"response.output_item.done","sequence_number":7,"output_index":0,` +
				`"item":{"id":"msg_ID","type":"message","status":"incomplete","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[],"logprobs":[]}]}}` + "\n\n" +
				"event: response.incomplete\n" + `data: {"type":"response.incomplete","sequence_number":8,"response":` + ended + "}\n\n"},
		{"response tool stream", "/responses", `"input":"hi","stream":true,` + respond, strings.NewReplacer(
			`"max_output_tokens":1`, `"max_output_tokens":null`, `"tool_choice":"auto"`, `"tool_choice":"required"`,
			`"tools":[]`, `"tools":[{"description":null,"name":"f","parameters":{"type":"object"},"strict":false,"type":"function"}]`).Replace(
			"event: response.created\n" + `data: {"type":"response.created","sequence_number":0,` + begun +
				"event: response.in_progress\n" + `data: {"type":"response.in_progress","sequence_number":1,` + begun +
				"event: response.output_item.added\n" + `data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,` +
				`"item":{"id":"fc_ID","type":"function_call","status":"in_progress","call_id":"call_ID","name":"f","arguments":""}}` + "\n\n" +
				"event: response.function_call_arguments.delta\n" + `data: {"type":"response.function_call_arguments.delta","sequence_number":3,"item_id":"fc_ID","output_index":0,"delta":"{"}` + "\n\n" +
				"event: response.function_call_arguments.delta\n" + `data: {"type":"response.function_call_arguments.delta","sequence_number":4,"item_id":"fc_ID","output_index":0,"delta":"}"}` + "\n\n" +
				"event: response.function_call_arguments.done\n" + `data: {"type":"response.function_call_arguments.done","sequence_number":5,"item_id":"fc_ID","output_index":0,"name":"f","arguments":"{}"}` + "\n\n" +
				"event: response.output_item.done\n" + `data: {"type":"response.output_item.done","sequence_number":6,"output_index":0,` +
				`"item":{"id":"fc_ID","type":"function_call","status":"completed","call_id":"call_ID","name":"f","arguments":"{}"}}` + "\n\n" +
				"event: response.completed\n" + `data: {"type":"response.completed","sequence_number":7,"response":{"id":"resp_ID","object":"response","created_at":0,"completed_at":0,"status":"completed",` +
				`"background":false,"error":null,"incomplete_details":null,"model":"demo-fast","previous_response_id":null,` +
				`"output":[{"id":"fc_ID","type":"function_call","status":"completed","call_id":"call_ID","name":"f","arguments":"{}"}],` +
				`"usage":{"input_tokens":11,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":13},` +
				limited + "}}\n\n")},
		{"embedding", "/embeddings", `"input":"hi","dimensions":1`,
			`{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1]}],"model":"demo-fast","usage":{"prompt_tokens":1,"total_tokens":1}}`},
		{"embedding in base64", "/embeddings", `"input":"hi","dimensions":1,"encoding_format":"base64"`,
			`{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AACAPw=="}],"model":"demo-fast","usage":{"prompt_tokens":1,"total_tokens":1}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, got := post(t, c.path, `{"model":"demo-fast",`+c.body+`}`)
			if got = mask(got); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestRequestIsReadClosedAndKept(t *testing.T) {
	for _, path := range []string{"/v1/chat/completions", "/v1/nothing", "/v1/models"} {
		for _, body := range []string{`{"model":"demo-1","messages":[{"role":"user","content":"hi"}]}`, `{`, ``} {
			b := &requestBody{Reader: strings.NewReader(body)}
			req, err := http.NewRequest(http.MethodPost, "demo://demo"+path+"?beta=true", b)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer any")
			before := req.Clone(t.Context())
			res, err := demo.Transport{}.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if !b.closed {
				t.Errorf("%s %s: the body was not closed", path, body)
			}
			if res.Request != req || req.URL.String() != before.URL.String() || len(req.Header) != 1 || req.Body != b {
				t.Errorf("%s %s: the request was changed", path, body)
			}
		}
	}
}

func TestRequestThatCannotBeRead(t *testing.T) {
	broken := errors.New("broken")
	b := &requestBody{Reader: io.MultiReader(strings.NewReader("{"), readerFunc(func([]byte) (int, error) { return 0, broken }))}
	req, err := http.NewRequest(http.MethodPost, "demo://demo/v1/embeddings", b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (demo.Transport{}).RoundTrip(req); !errors.Is(err, broken) {
		t.Errorf("got the error %v", err)
	}
	if !b.closed {
		t.Error("the body was not closed")
	}
}

func TestAsTheTransportOfAClient(t *testing.T) {
	client := http.Client{Transport: demo.Transport{}}
	res, err := client.Post("demo://demo/v1/embeddings", "application/json", bytes.NewBufferString(`{"model":"demo-1","input":"hi"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 {
		t.Error(res.Status)
	}
}

type requestBody struct {
	io.Reader
	closed bool
}

func (b *requestBody) Close() error {
	b.closed = true
	return nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
