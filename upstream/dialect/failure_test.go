package dialect_test

import (
	"encoding/json"
	"strings"
	"testing"

	"proxycast/upstream/dialect"
)

func TestFailureBody(t *testing.T) {
	f := func(name string, failure dialect.Failure, openAI, anthropic string) {
		t.Helper()
		if got := string(failure.Body(dialect.OpenAI)); got != openAI+"\n" {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, openAI)
		}
		if got := string(failure.Body(dialect.Anthropic)); got != anthropic+"\n" {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, anthropic)
		}
	}
	f("all fields", dialect.Failure{Status: 400, Code: "unsupported_value", Param: "n", Message: "n is 1", RequestID: "req_1"},
		`{"error":{"message":"n is 1","type":"invalid_request_error","param":"n","code":"unsupported_value"}}`,
		`{"type":"error","error":{"type":"invalid_request_error","message":"n is 1"},"request_id":"req_1"}`)
	f("no fields", dialect.Failure{Status: 500, Message: "m"},
		`{"error":{"message":"m","type":"server_error","param":null,"code":null}}`,
		`{"type":"error","error":{"type":"api_error","message":"m"},"request_id":null}`)
	f("strings that need care", dialect.Failure{Status: 400, Message: "<a & \"b\">\n\x00\x1b\xff\r"},
		`{"error":{"message":"<a & \"b\">\n\u0000\u001b\ufffd\r","type":"invalid_request_error","param":null,"code":null}}`,
		`{"type":"error","error":{"type":"invalid_request_error","message":"<a & \"b\">\n\u0000\u001b\ufffd\r"},"request_id":null}`)
}

func TestFailureTypes(t *testing.T) {
	f := func(status int, code, wantType, wantCode, wantAnthropic string) {
		t.Helper()
		failure := dialect.Failure{Status: status, Code: code, Message: "m"}
		var openAI struct{ Error struct{ Type, Code string } }
		var anthropic struct{ Error struct{ Type string } }
		if err := json.Unmarshal(failure.Body(dialect.OpenAI), &openAI); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(failure.Body(dialect.Anthropic), &anthropic); err != nil {
			t.Fatal(err)
		}
		if got := openAI.Error; got.Type != wantType || got.Code != wantCode {
			t.Errorf("%d %s in OpenAI's form: %q, code %q; want %q, %q", status, code, got.Type, got.Code, wantType, wantCode)
		}
		if got := anthropic.Error.Type; got != wantAnthropic {
			t.Errorf("%d %s in Anthropic's form: %q, want %q", status, code, got, wantAnthropic)
		}
	}
	f(400, "", "invalid_request_error", "", "invalid_request_error")
	f(401, "", "invalid_request_error", "invalid_api_key", "authentication_error")
	f(402, "", "insufficient_quota", "insufficient_quota", "billing_error")
	f(403, "", "invalid_request_error", "", "permission_error")
	f(404, "", "invalid_request_error", "model_not_found", "not_found_error")
	f(404, "unknown_url", "invalid_request_error", "unknown_url", "not_found_error")
	f(405, "", "invalid_request_error", "", "invalid_request_error")
	f(409, "", "invalid_request_error", "", "conflict_error")
	f(413, "", "invalid_request_error", "request_too_large", "request_too_large")
	f(422, "", "invalid_request_error", "", "invalid_request_error")
	f(429, "", "requests", "rate_limit_exceeded", "rate_limit_error")
	f(429, "insufficient_quota", "insufficient_quota", "insufficient_quota", "rate_limit_error")
	f(500, "", "server_error", "", "api_error")
	f(502, "", "server_error", "", "api_error")
	f(503, "slow_down", "server_error", "slow_down", "api_error")
	f(504, "", "server_error", "", "timeout_error")
	f(529, "", "server_error", "overloaded", "overloaded_error")
}

func TestFailureEvent(t *testing.T) {
	failure := dialect.Failure{Status: 502, Code: "stream_cut", Message: "a\n\nb\r", RequestID: "req_1"}
	f := func(e dialect.Endpoint, want string) {
		t.Helper()
		if got := string(failure.Event(e)); got != want {
			t.Errorf("%s:\ngot  %q\nwant %q", e, got, want)
		}
	}
	body := `{"error":{"message":"a\n\nb\r","type":"server_error","param":null,"code":"stream_cut"}}`
	f(dialect.ChatCompletions, "data: "+body+"\n\n")
	f(dialect.Completions, "data: "+body+"\n\n")
	f(dialect.Messages, "event: error\n"+`data: {"type":"error","error":{"type":"api_error","message":"a\n\nb\r"},"request_id":"req_1"}`+"\n\n")
	f(dialect.Responses, "event: error\n"+`data: {"type":"error","sequence_number":0,"code":"stream_cut","message":"a\n\nb\r","param":null,`+
		strings.TrimPrefix(body, "{")+"\n\n")
}

// A Sniffer hears the events that we write as the errors that they are.
func TestFailureEventIsHeard(t *testing.T) {
	for e, want := range map[dialect.Endpoint]string{
		dialect.ChatCompletions: "requests", dialect.Messages: "rate_limit_error", dialect.Responses: "requests",
	} {
		event := dialect.Failure{Status: 429, Message: "slow down"}.Event(e)
		if got := hear(e, true, []string{string(event)}); !got.Failed || got.ErrorType != want || !got.Boundary || got.Malformed != 0 {
			t.Errorf("%s: %+v, want a failure of type %s", e, got, want)
		}
	}
}
