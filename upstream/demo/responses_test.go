package demo_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// responseSettings are the members of a response that repeat the request, as they are where it states none.
const responseSettings = `"frequency_penalty":0,"instructions":null,"max_output_tokens":null,"max_tool_calls":null,"metadata":{},"parallel_tool_calls":true,` +
	`"presence_penalty":0,"prompt_cache_key":null,"prompt_cache_retention":null,"reasoning":{"effort":null,"summary":null},"safety_identifier":null,` +
	`"service_tier":"default","store":false,"temperature":1,"text":{"format":{"type":"text"},"verbosity":"medium"},` +
	`"tool_choice":"auto","tools":[],"top_logprobs":0,"top_p":1,"truncation":"disabled","user":null`

// A response has every member that OpenAI publishes, with the value of the request where that states one.
func TestResponseIsWhole(t *testing.T) {
	for _, c := range []struct{ fields, want string }{
		{``, `{}`},
		{`"temperature":null,"metadata":null,"tools":null,"tool_choice":null,"text":null,"reasoning":null,"store":null,"user":null,"instructions":null`, `{}`},
		{`"text":{"verbosity":"low"},"reasoning":{"effort":"high"}`,
			`{"text":{"format":{"type":"text"},"verbosity":"low"},"reasoning":{"effort":"high","summary":null}}`},
		{`"text":{"format":{"type":"json_schema","name":"o","schema":{"type":"object"}}}`,
			`{"text":{"format":{"type":"json_schema","name":"o","schema":{"type":"object"},"description":null,"strict":false},"verbosity":"medium"}}`},
		{`"tools":[{"type":"function","name":"f"},{"type":"function","name":"g","description":"d","parameters":{"type":"object"},"strict":true},{"type":"web_search"}]`,
			`{"tools":[{"type":"function","name":"f","description":null,"parameters":null,"strict":false},` +
				`{"type":"function","name":"g","description":"d","parameters":{"type":"object"},"strict":true},{"type":"web_search"}]}`},
		{`"frequency_penalty":0.5,"instructions":"be brief","max_output_tokens":9,"max_tool_calls":2,"metadata":{"a":"b"},"parallel_tool_calls":false,` +
			`"presence_penalty":-1,"prompt_cache_key":"k","prompt_cache_retention":"24h","safety_identifier":"s","service_tier":"flex","store":true,` +
			`"temperature":0,"tool_choice":"none","top_logprobs":3,"top_p":0.1,"truncation":"auto","user":"u"`, `same`},
	} {
		var want map[string]any
		decode(t, json.RawMessage(`{`+responseSettings+`}`), &want)
		if c.want == "same" {
			c.want = `{` + c.fields + `}`
		}
		decode(t, json.RawMessage(c.want), &want)
		for _, response := range responsesOf(t, c.fields) {
			for _, name := range []string{"id", "object", "created_at", "completed_at", "status", "background", "error",
				"incomplete_details", "model", "previous_response_id", "output", "usage"} {
				if _, ok := response[name]; !ok {
					t.Errorf("%s: a response has no %s", c.fields, name)
				}
				delete(response, name)
			}
			if !reflect.DeepEqual(response, want) {
				t.Errorf("%s: a response has the settings\n%v\nwant\n%v", c.fields, response, want)
			}
		}
	}
}

// responsesOf returns every Response object of the plain answer and of the stream to a request.
func responsesOf(t *testing.T, fields string) (all []map[string]any) {
	t.Helper()
	body := `{"model":"demo-fast","input":"hi"` + strings.TrimSuffix(","+fields, ",")
	_, text := post(t, "/responses", body+`}`)
	_, events := post(t, "/responses", body+`,"stream":true}`)
	for data := range strings.SplitSeq(text+"\n"+events, "\n") {
		if data = strings.TrimPrefix(data, "data: "); !strings.HasPrefix(data, "{") {
			continue
		}
		var object map[string]any
		decode(t, json.RawMessage(data), &object)
		if response, ok := object["response"].(map[string]any); ok {
			object = response
		}
		if object["object"] == "response" {
			all = append(all, object)
		}
	}
	if len(all) != 4 {
		t.Errorf("%s: %d responses in a plain answer and a stream: %s", fields, len(all), events)
	}
	return all
}
