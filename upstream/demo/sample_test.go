package demo_test

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestSamples(t *testing.T) {
	for _, c := range []struct{ schema, want string }{
		{`{"type":"string"}`, `"demo"`},
		{`{"type":"string","minLength":6}`, `"demode"`},
		{`{"type":"string","maxLength":2}`, `"de"`},
		{`{"type":"string","format":"date"}`, `"2026-01-01"`},
		{`{"type":"string","enum":["b","a"]}`, `"b"`},
		{`{"const":{"k":[1]}}`, `{"k":[1]}`},
		{`{"type":["null","integer"]}`, `1`},
		{`{"type":"integer","minimum":3}`, `3`},
		{`{"type":"integer","exclusiveMinimum":3}`, `4`},
		{`{"type":"integer","maximum":-2}`, `-2`},
		{`{"type":"integer","minimum":1.5}`, `2`},
		{`{"type":"integer","minimum":4,"multipleOf":5}`, `5`},
		{`{"type":"number","exclusiveMinimum":0,"maximum":1}`, `1`},
		{`{"type":"number","minimum":1e308,"multipleOf":1e-308}`, `1`},
		{`{"type":"boolean"}`, `true`},
		{`{"type":"null"}`, `null`},
		{`{"type":"array","items":{"type":"integer"}}`, `[1]`},
		{`{"type":"array","items":{"type":"integer"},"minItems":3}`, `[1,1,1]`},
		{`{"type":"array","items":{"type":"integer"},"maxItems":0}`, `[]`},
		{`{"prefixItems":[{"type":"integer"},{"type":"boolean"}]}`, `[1,true]`},
		{`{"type":"object"}`, `{}`},
		{`{"type":"object","properties":{"b":{"type":"integer"},"a":{"type":"object","properties":{"c":{"type":"null"}},"required":["c"]},"z":{}},"required":["b","a"]}`, `{"b":1,"a":{"c":null}}`},
		{`{"anyOf":[{"type":"null"},{"type":"integer"}]}`, `1`},
		{`{"oneOf":[{"type":"boolean"}]}`, `true`},
		{`{"allOf":[{"$ref":"#/$defs/x~1y"}],"$defs":{"x/y":{"type":"integer"}}}`, `1`},
		{`{"$ref":"#/nowhere"}`, `"demo"`},
		{`{"$ref":"https://example.com/s"}`, `"demo"`},
		{`{"$ref":"#"}`, `null`},
		{`{}`, `"demo"`},
		{`true`, `"demo"`},
		{`[1]`, `"demo"`},
		{`{"type":7,"enum":[],"anyOf":{},"minimum":"x"}`, `"demo"`},
		{`{"type":[]}`, `"demo"`},
	} {
		r := read(t, "/chat/completions", `{"messages":[{"role":"user","content":"hi"}],"response_format":{"type":"json_schema","json_schema":{"schema":`+c.schema+`}}}`)
		var got, want any
		if err := json.Unmarshal([]byte(r.Text), &got); err != nil {
			t.Errorf("%s: %v in %s", c.schema, err, r.Text)
		}
		decode(t, json.RawMessage(c.want), &want)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %s, want %s", c.schema, r.Text, c.want)
		}
	}
}

// Schemas that would describe endless or huge values give bounded ones.
func TestHugeSamples(t *testing.T) {
	for _, schema := range []string{
		`{"type":"object","properties":{"a":{"$ref":"#"},"b":{"$ref":"#"}},"required":["a","b"]}`,
		`{"type":"array","items":{"$ref":"#"},"minItems":9}`,
		`{"type":"array","items":{"type":"string","minLength":1e9},"minItems":1e9}`,
		`{"allOf":[{"$ref":"#"},{"$ref":"#"}]}`,
		`{"type":"array","minItems":1e300,"maxItems":1e300}`,
	} {
		_, text := post(t, "/chat/completions", `{"model":"demo-fast","messages":[{"role":"user","content":"hi"}],`+
			`"response_format":{"type":"json_schema","json_schema":{"schema":`+schema+`}}}`)
		r := readPlain(t, text)
		if !json.Valid([]byte(r.Text)) || len(r.Text) > 32<<10 {
			t.Errorf("%s: %d bytes", schema, len(r.Text))
		}
	}
}
