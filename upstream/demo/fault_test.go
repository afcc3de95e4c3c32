package demo_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestFaultShapes(t *testing.T) {
	for _, c := range []struct{ path, body, want string }{
		{"/chat/completions", `{"model":"demo-1"}`,
			`{"error":{"message":"'messages' must have at least one entry","type":"invalid_request_error","param":"messages","code":null}}`},
		{"/embeddings", `{"model":"gpt-4o"}`,
			`{"error":{"message":"'model' \"gpt-4o\" does not exist at the demo provider; it serves demo-1 and every other demo-*","type":"invalid_request_error","param":"model","code":"model_not_found"}}`},
		{"/nothing", `{}`,
			`{"error":{"message":"the demo provider has no endpoint POST /v1/nothing; it serves chat/completions, messages, messages/count_tokens, responses, embeddings and models","type":"invalid_request_error","param":null,"code":"unknown_url"}}`},
		{"/messages", `{"model":"demo-1","messages":[{"role":"user","content":"hi"}]}`,
			`{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: is required"},"request_id":"req_ID"}`},
		{"/messages/nothing", `{}`,
			`{"type":"error","error":{"type":"not_found_error","message":"the demo provider has no endpoint POST /v1/messages/nothing; it serves chat/completions, messages, messages/count_tokens, responses, embeddings and models"},"request_id":"req_ID"}`},
	} {
		res, text := post(t, c.path, c.body)
		if got := mask(text); got != c.want+"\n" {
			t.Errorf("%s: got\n%s\nwant\n%s", c.path, got, c.want)
		}
		if id := res.Header.Get("Request-Id"); id != "" && !strings.Contains(text, id) {
			t.Errorf("%s: the header says %s, the body %s", c.path, id, text)
		}
		if res.ContentLength != int64(len(text)) || res.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d bytes of %s", c.path, res.ContentLength, res.Header.Get("Content-Type"))
		}
	}
}

func TestFaults(t *testing.T) {
	const hi = `"messages":[{"role":"user","content":"hi"}]`
	const tool = `"tools":[{"type":"function","function":{"name":"f"}}]`
	long := strings.Repeat("x", 129)
	for _, c := range []struct {
		path, body string
		status     int
		want       string // in the message
	}{
		{"/chat/completions", ``, 400, "not valid JSON"},
		{"/chat/completions", `{`, 400, "not valid JSON"},
		{"/chat/completions", `{} {}`, 400, "not valid JSON"},
		{"/chat/completions", `[]`, 400, "not a JSON object"},
		{"/chat/completions", `null`, 400, "'model' is required"},
		{"/chat/completions", `{"model":7}`, 400, "'model' cannot be a JSON number"},
		{"/chat/completions", `{"model":"demo-` + long + `"}`, 400, "'model' is longer"},
		{"/chat/completions", `{"model":"demo"}`, 404, "'model'"},
		{"/chat/completions", "{\"model\":\"\xff\"}", 404, "'model'"},
		{"/chat/completions", `{"model":"demo-1","messages":null}`, 400, "'messages' must have at least one entry"},
		{"/chat/completions", `{"model":"demo-1","messages":[]}`, 400, "'messages' must have at least one entry"},
		{"/chat/completions", `{"model":"demo-1","messages":"hi"}`, 400, "'messages' cannot be a JSON string"},
		{"/chat/completions", `{"model":"demo-1","messages":[null]}`, 400, "'messages[0].role' must be one of user, assistant"},
		{"/chat/completions", `{"model":"demo-1","messages":[{"role":"user","content":7}]}`, 400, "'messages[0].content' must be a string or an array"},
		{"/chat/completions", `{"model":"demo-1","messages":[{"role":"user"}]}`, 400, "'messages[0].content' must be a string or an array"},
		{"/chat/completions", `{"model":"demo-1","messages":[{"role":"user","content":["hi"]}]}`, 400, "'messages.content' cannot be a JSON string"},
		{"/chat/completions", `{"model":"demo-1",` + hi + `,"max_tokens":0}`, 400, "'max_tokens' must be 1 or more"},
		{"/chat/completions", `{"model":"demo-1",` + hi + `,"max_completion_tokens":-1}`, 400, "'max_completion_tokens' must be 1 or more"},
		{"/chat/completions", `{"model":"demo-1",` + hi + `,"max_tokens":"1"}`, 400, "'max_tokens' cannot be a JSON string"},
		{"/chat/completions", `{"model":"demo-1",` + hi + `,"tool_choice":"required"}`, 400, "'tool_choice'"},
		{"/chat/completions", `{"model":"demo-1",` + hi + `,` + tool + `,"tool_choice":{"type":"function","function":{"name":"g"}}}`, 400, "'tool_choice'"},
		{"/chat/completions", `{"model":"demo-1",` + hi + `,` + tool + `,"tool_choice":7}`, 400, "'tool_choice' cannot be a JSON number"},
		{"/chat/completions", `{"model":"demo-1",` + hi + `,"tools":[{"type":"function","function":{}}]}`, 400, "'tools.name'"},
		{"/messages", `{"model":"demo-1",` + hi + `}`, 400, "max_tokens: is required"},
		{"/messages", `{"model":"demo-1",` + hi + `,"max_tokens":0}`, 400, "max_tokens: must be 1 or more"},
		{"/messages", `{"model":"demo-1","max_tokens":1,"messages":["hi"]}`, 400, "messages: cannot be a JSON string"},
		{"/messages", `{"model":"demo-1","max_tokens":1,"messages":[{"role":"tool","content":"hi"}]}`, 400, "messages[0].role: must be one of user, assistant, system"},
		{"/messages", `{"model":"demo-1","max_tokens":1,` + hi + `,"tool_choice":{"type":"any"}}`, 400, "tool_choice"},
		{"/messages/count_tokens", `{"model":"demo-1"}`, 400, "messages: must have"},
		{"/responses", `{"model":"demo-1"}`, 400, "'input' must have"},
		{"/responses", `{"model":"demo-1","input":[{"role":"tool","content":"hi"}]}`, 400, "'input[0].role' must be one of"},
		{"/responses", `{"model":"demo-1","input":[{"role":"user"}]}`, 400, "'input[0].content'"},
		{"/responses", `{"model":"demo-1","input":"hi","temperature":"1"}`, 400, "'temperature' cannot be a JSON string"},
		{"/responses", `{"model":"demo-1","input":"hi","previous_response_id":"resp_1"}`, 400, "'previous_response_id'"},
		{"/completions", `{"model":"demo-1"}`, 404, "it serves chat/completions"},
		{"/chat/completions", `{"model":"demo-1","messages":[` + strings.Repeat(`{},`, 350_000) + `{}]}`, 413, "1 MiB"},
		{"/messages", strings.Repeat(" ", 1<<20+1), 413, "1 MiB"},
		{"/embeddings", `{"model":"demo-1"}`, 400, "'input' must have"},
		{"/embeddings", `{"model":"demo-1","input":[]}`, 400, "'input' must have"},
		{"/embeddings", `{"model":"demo-1","input":["a",1]}`, 400, "'input' cannot be a JSON number"},
		{"/embeddings", `{"model":"demo-1","input":"a","dimensions":0}`, 400, "'dimensions' must be 1 to 4096"},
		{"/embeddings", `{"model":"demo-1","input":"a","dimensions":4097}`, 400, "'dimensions' must be 1 to 4096"},
		{"/embeddings", `{"model":"demo-1","input":["a"` + strings.Repeat(`,"a"`, 300) + `],"dimensions":4096}`, 400, "'dimensions' times"},
		{"/embeddings", `{"model":"demo-1","input":"a","encoding_format":"hex"}`, 400, "'encoding_format'"},
	} {
		res, text := post(t, c.path, c.body)
		message := faultMessage(t, text)
		if res.StatusCode != c.status || !strings.Contains(message, c.want) {
			t.Errorf("%s %.120s: %d %s, want %d %s", c.path, c.body, res.StatusCode, message, c.status, c.want)
		}
	}
}

// faultMessage returns the message of an error body of either dialect.
func faultMessage(t *testing.T, text string) string {
	t.Helper()
	var body struct {
		Error struct{ Message, Type string }
	}
	if err := json.Unmarshal([]byte(text), &body); err != nil || body.Error.Type == "" || body.Error.Message == "" {
		t.Fatalf("%v in %s", err, text)
	}
	return body.Error.Message
}

func TestWrongMethod(t *testing.T) {
	for method, path := range map[string]string{http.MethodGet: "/chat/completions", http.MethodPost: "/models", http.MethodDelete: "/messages"} {
		res, err := roundTrip(t.Context(), method, path, `{}`)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != http.StatusNotFound {
			t.Errorf("%s %s: %s", method, path, res.Status)
		}
	}
}

func TestErrorModels(t *testing.T) {
	types := map[int]string{401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error", 409: "conflict_error",
		413: "request_too_large", 429: "rate_limit_error", 504: "timeout_error", 529: "overloaded_error"}
	for status := 400; status <= 599; status++ {
		want := "invalid_request_error"
		if status >= 500 {
			want = "api_error"
		}
		if types[status] != "" {
			want = types[status]
		}
		for _, path := range []string{"/messages", "/chat/completions"} {
			res, text := post(t, path, fmt.Sprintf(`{"model":"demo-error-%d","stream":true}`, status))
			if faultMessage(t, text); res.StatusCode != status {
				t.Errorf("%s %d: %s", path, status, res.Status)
			}
			if path == "/messages" && !strings.Contains(text, `"error":{"type":"`+want+`"`) {
				t.Errorf("%d: %s, want %s", status, text, want)
			}
			retry := res.Header.Get("Retry-After")
			if want := status == 429 || status == 503 || status == 529; want != (retry == "1") {
				t.Errorf("%s %d: Retry-After %q", path, status, retry)
			}
		}
	}
	for _, model := range []string{"demo-error-399", "demo-error-600", "demo-error-x"} {
		if res, text := post(t, "/embeddings", `{"model":"`+model+`","input":"a"}`); res.StatusCode != 200 {
			t.Errorf("%s: %d %s", model, res.StatusCode, text)
		}
	}
}

// Whatever the body, the reply is well formed or a refusal.
func FuzzRequest(f *testing.F) {
	paths := []string{"/chat/completions", "/responses", "/messages", "/messages/count_tokens", "/embeddings", "/models"}
	for i, fields := range []string{
		`"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],"tools":[{"type":"function","function":{"name":"f","parameters":{"$ref":"#"}}}],"tool_choice":"required"`,
		`"input":[{"role":"user","content":"hi"},{"type":"function_call_output","output":[{"text":"x"}]}],"text":{"format":{"type":"json_schema","schema":{"type":["array"],"items":{}}}},"stream":true`,
		`"max_tokens":3,"system":[{"type":"text","text":"x"}],"messages":[{"role":"user","content":[{"type":"document","source":{"type":"text","data":"x"}}]}],"stream":true`,
		`"messages":[{"role":"user","content":"hi"}],"tools":[{"name":"f","input_schema":{"type":"object"}}]`,
		`"input":["a","b"],"dimensions":3,"encoding_format":"base64"`,
		`"input":"a","tools":[null,{"type":"function","name":"f","parameters":null}],"metadata":{"a":"b"}`,
		`"messages":[{"role":"user","content":"hi"}],"response_format":{"type":"json_schema","json_schema":{"schema":{"required":["a"],"properties":{"a":{"enum":[[]]}}}}},"stream":true,"stream_options":{"include_usage":true}`,
		``,
	} {
		f.Add(i, `{"model":"demo-fast",`+fields+`}`)
	}
	f.Fuzz(func(t *testing.T, path int, body string) {
		var head struct{ Model string }
		if path < 0 || json.Unmarshal([]byte(body), &head) == nil && strings.HasPrefix(head.Model, "demo-") && head.Model != "demo-fast" {
			t.Skip("the model may take its time, or fail")
		}
		res, text := post(t, paths[path%len(paths)], body)
		switch res.Header.Get("Content-Type") {
		case "application/json":
			if !json.Valid([]byte(text)) {
				t.Errorf("not JSON: %s", text)
			}
			if res.StatusCode != 200 {
				faultMessage(t, text)
			}
		default:
			for _, event := range strings.Split(strings.TrimSuffix(text, "\n\n"), "\n\n") {
				_, data, _ := strings.Cut(event, "data: ")
				if data != "[DONE]" && !json.Valid([]byte(data)) {
					t.Errorf("not JSON: %s", event)
				}
			}
		}
		if res.StatusCode != 200 && res.StatusCode != 400 && res.StatusCode != 404 {
			t.Errorf("%s: %s", res.Status, text)
		}
	})
}
