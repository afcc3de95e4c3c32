package demo_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// asks returns requests for the same answer in every dialect, without their model.
func asks(text, limit string) map[string]string {
	said, _ := json.Marshal(text)
	limits := func(field string) string {
		if limit == "" {
			return ""
		}
		return fmt.Sprintf(`,%q:%s`, field, limit)
	}
	anthropic := limits("max_tokens")
	if limit == "" {
		anthropic = `,"max_tokens":100000`
	}
	return map[string]string{
		"/chat/completions": fmt.Sprintf(`{"messages":[{"role":"user","content":%s}]%s}`, said, limits("max_completion_tokens")),
		"/messages":         fmt.Sprintf(`{"messages":[{"role":"user","content":[{"type":"text","text":%s}]}]%s}`, said, anthropic),
		"/responses":        fmt.Sprintf(`{"input":[{"role":"user","content":[{"type":"input_text","text":%s}]}]%s}`, said, limits("max_output_tokens")),
	}
}

func TestAnswerIsTheSameEverywhere(t *testing.T) {
	for _, text := range []string{
		"Hello there, how are you?", "你好，介绍一下你自己。", "안녕", "  ", "e\u0301e\u0301 👩‍👩‍👧 \u202eabc\u0000\u0007 🇩🇪", "😀<&>\u2028",
		strings.Repeat("👩‍👩‍👧", 200), strings.Repeat("a\u0301", 200), strings.Repeat("word ", 5000), "\u0301\u0301",
	} {
		said := text
		if strings.TrimSpace(said) == "" {
			said = "   ."
		}
		var first *reading
		for path, body := range asks(said, "") {
			r := read(t, path, body)
			if !utf8.ValidString(r.Text) || strings.Contains(r.Text, "\ufffd") || len(r.Text) > 2000 {
				t.Errorf("%s %q: answers %q", path, said, r.Text)
			}
			r.End = ""
			if first == nil {
				first = &r
			} else if r != *first {
				t.Errorf("%s %q: answers %+v, another path %+v", path, said, r, *first)
			}
		}
	}
}

func TestWhatIsSaid(t *testing.T) {
	for _, c := range []struct{ messages, want string }{
		{`[{"role":"user","content":"one"},{"role":"assistant","content":"two"},{"role":"user","content":"thr\nee "}]`, "You said: “thr ee”."},
		{`[{"role":"user","content":[{"type":"text","text":"one"},{"type":"image_url","image_url":{"url":"data:,"}},{"type":"text","text":"two"}]}]`, "“one two”"},
		{`[{"role":"user","content":"one"},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"two"}]`, "“one”"},
		{`[{"role":"system","content":"be brief"}]`, "Hello! This is ProxyCast's demo provider, not a real model. To talk to a real one, export OPENAI_API_KEY or ANTHROPIC_API_KEY and restart ProxyCast."},
		{`[{"role":"user","content":"` + strings.Repeat("x", 500) + `end"}]`, "“…" + strings.Repeat("x", 117) + "end”"},
		{`[{"role":"user","content":"介绍 yourself"}]`, "你刚才说：“介绍 yourself”。"},
	} {
		if got := read(t, "/chat/completions", `{"messages":`+c.messages+`}`).Text; !strings.Contains(got, c.want) {
			t.Errorf("%s: answers %q, without %q", c.messages, got, c.want)
		}
	}
}

func TestFilesAreAccepted(t *testing.T) {
	for path, body := range map[string]string{
		"/chat/completions": `{"messages":[{"role":"user","content":[{"type":"text","text":"look"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},` +
			`{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}},{"type":"file","file":{"filename":"a.pdf","file_data":"AAAA"}}]}]}`,
		"/messages": `{"max_tokens":99,"messages":[{"role":"user","content":[{"type":"text","text":"look"},{"type":"image","source":{"type":"url","url":"https://example.com/a.png"}},` +
			`{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"AAAA"}}]}]}`,
		"/responses": `{"input":[{"role":"user","content":[{"type":"input_text","text":"look"},{"type":"input_image","image_url":"data:image/png;base64,AAAA","detail":"low"},` +
			`{"type":"input_file","filename":"a.pdf","file_data":"AAAA"}]}]}`,
	} {
		if r := read(t, path, body); !strings.Contains(r.Text, "“look”") || r.Input != 1 {
			t.Errorf("%s: %+v", path, r)
		}
	}
}

func TestLimits(t *testing.T) {
	ends := map[string]string{"/chat/completions": "length", "/messages": "max_tokens", "/responses": "incomplete"}
	for limit, want := range map[string]string{"1": "Hello", "2": "Hello!", "5": "Hello! This is ProxyCast"} {
		for path, body := range asks("hi", limit) {
			r := read(t, path, body)
			if r.Text != want || r.End != ends[path] || fmt.Sprint(r.Output) != limit {
				t.Errorf("%s of %s: %+v", path, limit, r)
			}
		}
	}
	whole := map[string]string{"/chat/completions": "stop", "/messages": "end_turn", "/responses": "completed"}
	for path, body := range asks("hi", "1000") {
		if r := read(t, path, body); r.End != whole[path] || !strings.HasSuffix(r.Text, ".") {
			t.Errorf("%s: %+v", path, r)
		}
	}
}

func TestTools(t *testing.T) {
	schema := `{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}},"required":["city"]}`
	forms := []struct{ path, ask, tools, any, named, none string }{
		{"/chat/completions", `"messages":[{"role":"user","content":"hi"}]`,
			`[{"type":"custom","custom":{"name":"x"}},{"type":"function","function":{"name":"first","parameters":` + schema + `}},{"type":"function","function":{"name":"second"}}]`,
			`"required"`, `{"type":"function","function":{"name":"second"}}`, `"none"`},
		{"/responses", `"input":"hi"`,
			`[{"type":"web_search"},{"type":"function","name":"first","parameters":` + schema + `},{"type":"function","name":"second","parameters":null}]`,
			`"required"`, `{"type":"function","name":"second"}`, `"auto"`},
		{"/messages", `"max_tokens":100,"messages":[{"role":"user","content":"hi"}]`,
			`[{"type":"web_search_20250305","name":"web_search"},{"name":"first","input_schema":` + schema + `},{"type":"custom","name":"second","input_schema":{"type":"object"}}]`,
			`{"type":"any"}`, `{"type":"tool","name":"second"}`, `{"type":"none"}`},
	}
	ends := map[string]string{"/chat/completions": "tool_calls", "/responses": "completed", "/messages": "tool_use"}
	for _, f := range forms {
		ask := `{` + f.ask + `,"tools":` + f.tools
		r := read(t, f.path, ask+`,"tool_choice":`+f.any+`}`)
		if r.Tool != "first" || r.Arguments != `{"city":"demo"}` || r.Text != "" || r.End != ends[f.path] || r.Output != 9 {
			t.Errorf("%s: a forced call is %+v", f.path, r)
		}
		r = read(t, f.path, ask+`,"tool_choice":`+f.named+`}`)
		if r.Tool != "second" || r.Arguments != "{}" {
			t.Errorf("%s: a named call is %+v", f.path, r)
		}
		for _, free := range []string{`}`, `,"tool_choice":null}`, `,"tool_choice":` + f.none + `}`} {
			if r := read(t, f.path, ask+free); r.Tool != "" || r.Text == "" {
				t.Errorf("%s%s: a free choice is %+v", f.path, free, r)
			}
		}
	}
}

func TestArgumentsThatDoNotFit(t *testing.T) {
	tool := `{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}`
	_, text := post(t, "/messages", `{"model":"demo-fast","max_tokens":2,"messages":[{"role":"user","content":"hi"}],`+
		`"tools":[{"name":"f","input_schema":`+tool+`}],"tool_choice":{"type":"any"}}`)
	if r := readPlain(t, text); r.Arguments != "{}" || r.End != "max_tokens" || r.Output != 2 {
		t.Errorf("a message has %+v", r)
	}
	r := read(t, "/chat/completions", `{"max_tokens":2,"messages":[{"role":"user","content":"hi"}],`+
		`"tools":[{"type":"function","function":{"name":"f","parameters":`+tool+`}}],"tool_choice":"required"}`)
	if r.Arguments != `{"` || r.End != "length" {
		t.Errorf("a chat completion has %+v", r)
	}
}

func TestInputTokens(t *testing.T) {
	const user = `{"role":"user","content":"one two, three"}`
	count := func(body string) int {
		t.Helper()
		var counted struct {
			InputTokens int `json:"input_tokens"`
		}
		body = `{"model":"demo-fast","messages":` + body + `}`
		ok(t, "/messages/count_tokens", body, &counted)
		var used anyReply
		ok(t, "/messages", strings.TrimSuffix(body, "}")+`,"max_tokens":1}`, &used)
		if used.Usage.InputTokens != counted.InputTokens {
			t.Errorf("%s: counted %d, used %d", body, counted.InputTokens, used.Usage.InputTokens)
		}
		return counted.InputTokens
	}
	for body, want := range map[string]int{
		`[` + user + `]`:                                              4,
		`[` + user + `,` + user + `]`:                                 8,
		`[` + user + `],"system":"be brief"`:                          6,
		`[` + user + `],"system":[{"type":"text","text":"be brief"}]`: 6,
		`[{"role":"user","content":"日本語 ok"}]`:                        4,
		`[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}},{"type":"text","text":"what"}]}]`: 1,
		`[{"role":"user","content":[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"one two"}}]}]`:                          2,
		`[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"one two"}]}]`:                                                     2,
		`[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"one"}]}]}]`:                                1,
		`[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{}}]},` + user + `]`:                                             7,
		`[` + user + `],"tools":[{"name":"f","description":"do it","input_schema":{}}]`:                                                                  9,
	} {
		if got := count(body); got != want {
			t.Errorf("%s: %d tokens, want %d", body, got, want)
		}
	}
	chat := read(t, "/chat/completions", `{"messages":[{"role":"system","content":"be brief"},`+user+`]}`)
	response := read(t, "/responses", `{"instructions":"be brief","input":[`+user+`]}`)
	if chat.Input != 6 || response.Input != 6 {
		t.Errorf("a chat has %d, a response %d", chat.Input, response.Input)
	}
	calls := read(t, "/responses", `{"input":[`+user+`,{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},`+
		`{"type":"function_call_output","call_id":"c","output":"one"},{"type":"computer_call_output","output":{"type":"x"}}]}`)
	if calls.Input != 8 {
		t.Errorf("a response after a call has %d", calls.Input)
	}
}

func TestFormats(t *testing.T) {
	const hi = `"messages":[{"role":"user","content":"hi"}]`
	const schema = `{"type":"object","properties":{"a":{"type":"boolean"}},"required":["a"]}`
	for _, c := range []struct{ path, body string }{
		{"/chat/completions", hi + `,"response_format":{"type":"json_schema","json_schema":{"name":"o","strict":true,"schema":` + schema + `}}`},
		{"/responses", `"input":"hi","text":{"format":{"type":"json_schema","name":"o","schema":` + schema + `}}`},
		{"/messages", hi + `,"max_tokens":50,"output_config":{"format":{"type":"json_schema","schema":` + schema + `}}`},
	} {
		if r := read(t, c.path, `{`+c.body+`}`); r.Text != `{"a": true}` {
			t.Errorf("%s: %+v", c.path, r)
		}
	}
	r := read(t, "/chat/completions", `{`+hi+`,"response_format":{"type":"json_object"}}`)
	var object map[string]string
	if err := json.Unmarshal([]byte(r.Text), &object); err != nil || !strings.Contains(object["answer"], "“hi”") {
		t.Errorf("json_object: %q, %v", r.Text, err)
	}
}
