package dialect_test

import (
	"encoding/json"
	"strings"

	"proxycast/upstream/dialect"
)

// expect finds what a Sniffer should say of a recorded reply, with encoding/json over the whole text.
func expect(e dialect.Endpoint, body, sse string) (h heard) {
	counts := map[string]int64{}
	if sse == "" {
		doc := decode(body)
		h.Content, h.Finished = true, doc != nil
		learnCommon(&h, counts, e, doc)
		h.Usage = expectUsage(e, counts)
		return h
	}
	parsed, boundary := parseStream(sse)
	h.Boundary = boundary
	done := map[string]bool{} // by choice
	for _, ev := range parsed {
		switch {
		case !ev.hasData:
			continue
		case ev.data == "[DONE]":
			h.Finished = true
			continue
		}
		doc := decode(ev.data)
		if doc == nil {
			h.Malformed++
			continue
		}
		learnCommon(&h, counts, e, doc)
		kind, _ := doc["type"].(string)
		switch e {
		case dialect.Messages:
			h.Known = true
			h.Content = h.Content || messageContent(kind, doc)
			h.Finished = h.Finished || kind == "message_delta" && at(doc, "delta", "stop_reason") != nil
		case dialect.Responses:
			h.Known = true
			h.Content = h.Content || strings.HasSuffix(kind, ".delta") && doc["delta"] != ""
			h.Finished = h.Finished || kind == "response.completed" || kind == "response.incomplete" || kind == "response.failed"
		default:
			choices, known := doc["choices"].([]any)
			h.Known = h.Known || known
			for _, c := range choices {
				h.Content = h.Content || choiceContent(c)
				index := string(at(c, "index").(json.Number))
				done[index] = done[index] || at(c, "finish_reason") != nil
			}
		}
	}
	all := len(done) > 0
	for _, d := range done {
		all = all && d
	}
	h.Finished = h.Finished || all
	h.Usage = expectUsage(e, counts)
	return h
}

func learnCommon(h *heard, counts map[string]int64, e dialect.Endpoint, doc map[string]any) {
	for _, path := range [][]string{{"x_groq", "usage"}, {"message", "usage"}, {"response", "usage"}, {"usage"}} {
		flatten(counts, "", at(doc, path...))
	}
	if e == dialect.CountTokens {
		flatten(counts, "", doc)
	}
	for _, c := range list(doc["choices"]) {
		setWord(&h.Finish, at(c, "finish_reason"))
	}
	setWord(&h.Finish, at(doc, "delta", "stop_reason"))
	setWord(&h.Finish, doc["stop_reason"])
	if e == dialect.Responses {
		for _, status := range []any{doc["status"], at(doc, "response", "status")} {
			if status != "in_progress" {
				setWord(&h.Finish, status)
			}
		}
	}
	failure := doc["error"]
	if doc["type"] == "response.failed" {
		failure = at(doc, "response", "error")
	}
	if failure == nil {
		return
	}
	h.Failed = true
	for _, word := range []any{at(failure, "type"), at(failure, "code")} {
		if h.ErrorType == "" {
			setWord(&h.ErrorType, word)
		}
	}
}

func expectUsage(e dialect.Endpoint, counts map[string]int64) string {
	first := func(names ...string) *int64 {
		for _, name := range names {
			if n, ok := counts[name]; ok {
				return &n
			}
		}
		return nil
	}
	if e.Dialect() == dialect.OpenAI {
		return usageText(
			first("prompt_tokens", "input_tokens"), first("completion_tokens", "output_tokens"),
			first("prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens", "prompt_cache_hit_tokens"),
			first("prompt_tokens_details.cache_write_tokens", "input_tokens_details.cache_write_tokens"),
			first("completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens"))
	}
	input := first("input_tokens")
	if input != nil {
		*input += counts["cache_read_input_tokens"] + counts["cache_creation_input_tokens"]
	}
	return usageText(input, first("output_tokens"), first("cache_read_input_tokens"), first("cache_creation_input_tokens"),
		first("output_tokens_details.thinking_tokens"))
}

func messageContent(kind string, doc map[string]any) bool {
	switch kind {
	case "content_block_delta":
		for _, name := range []string{"text", "thinking", "partial_json"} {
			if text, _ := at(doc, "delta", name).(string); text != "" {
				return true
			}
		}
	case "content_block_start":
		kind, _ := at(doc, "content_block", "type").(string)
		return kind == "redacted_thinking" || strings.HasSuffix(kind, "_result")
	}
	return false
}

func choiceContent(choice any) bool {
	for _, name := range []string{"content", "reasoning", "reasoning_content", "refusal"} {
		if text, _ := at(choice, "delta", name).(string); text != "" {
			return true
		}
	}
	text, _ := at(choice, "text").(string)
	return text != "" || len(list(at(choice, "delta", "tool_calls"))) > 0
}

// decode returns a JSON object, nil if the text is none.
func decode(text string) (doc map[string]any) {
	if !json.Valid([]byte(text)) {
		return nil
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	d.Decode(&doc)
	return doc
}

// at returns the value on the path of keys, nil if there is none.
func at(v any, path ...string) any {
	for _, key := range path {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// flatten sets the non-negative integers in v by their dotted names.
func flatten(into map[string]int64, name string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			flatten(into, strings.TrimPrefix(name+"."+key, "."), value)
		}
	case json.Number:
		if n, err := v.Int64(); err == nil && n >= 0 {
			into[name] = n
		}
	}
}

func setWord(word *string, v any) {
	switch v := v.(type) {
	case string:
		*word = v
	case json.Number:
		*word = v.String()
	}
}
