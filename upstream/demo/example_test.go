package demo_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// structured returns what the model answers to a request for JSON of a schema.
func structured(t *testing.T, schema string) string {
	t.Helper()
	return read(t, "/chat/completions", `{"messages":[{"role":"user","content":"hi"}],`+
		`"response_format":{"type":"json_schema","json_schema":{"schema":`+schema+`}}}`).Text
}

func TestExamples(t *testing.T) {
	for schema, want := range map[string]string{
		`{"type":"string"}`:                           `"demo"`,
		`{"type":"integer"}`:                          `1`,
		`{"type":"number"}`:                           `1`,
		`{"type":"boolean"}`:                          `true`,
		`{"type":"null"}`:                             `null`,
		`{"type":"array","items":{"type":"integer"}}`: `[]`,
		`{"type":"object","required":["b"]}`:          `{}`,
		`{"type":["string","null"]}`:                  `"demo"`,
		`{"type":"string","enum":["b","a"]}`:          `"b"`,
		`{"enum":[{"k": [1]}]}`:                       `{"k": [1]}`,
		`{"$ref":"#"}`:                                `"demo"`,
		`{"type":7,"enum":[]}`:                        `"demo"`,
		`{}`:                                          `"demo"`,
		`true`:                                        `"demo"`,
		`[1]`:                                         `"demo"`,
	} {
		object := `{"type":"object","properties":{"z":{"type":"null"},"a":` + schema + `},"required":["a"]}`
		if got := structured(t, object); got != `{"a": `+want+`}` {
			t.Errorf("%s: %s, want %s", schema, got, want)
		}
	}
	for schema, want := range map[string]string{
		`{"properties":{"b":{"type":"integer"},"<":{"type":"boolean"}},"required":["b","<","c"]}`: `{"b": 1, "<": true, "c": "demo"}`,
		`{"type":"object"}`:                     `{}`,
		`{"type":"array"}`:                      `{}`,
		`{"properties":7,"required":["a"]}`:     `{}`,
		`{"properties":{},"required":{"a":{}}}`: `{}`,
		`null`:                                  `{}`,
		`"x"`:                                   `{}`,
	} {
		if got := structured(t, schema); got != want {
			t.Errorf("%s: %s, want %s", schema, got, want)
		}
	}
}

func TestExamplesOfHugeSchemas(t *testing.T) {
	for _, schema := range []string{
		`{"required":["a"` + strings.Repeat(`,"a"`, 100_000) + `]}`,
		`{"required":["` + strings.Repeat("a ", 100_000) + `"]}`,
		`{"properties":{"a":{"enum":[` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `]}},"required":["a"]}`,
		`{"properties":{"a":` + strings.Repeat(`{"properties":{"a":`, 4000) + `{}` + strings.Repeat("}}", 4000) + `},"required":["a"]}`,
	} {
		if got := structured(t, schema); !json.Valid([]byte(got)) || len(got) > 8<<10 {
			t.Errorf("%.50s: %d bytes", schema, len(got))
		}
	}
}
