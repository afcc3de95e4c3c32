// What the demo model says: the same answer for every dialect, plain or streamed.

package demo

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// answer is what the model says: a text, or the arguments of a tool call. It has at least one token.
type answer struct {
	tokens  []string
	tool    string // the tool that is called; empty for a text
	limited bool   // by the most tokens
}

func (a answer) text() string { return strings.Join(a.tokens, "") }

// arguments returns the arguments of the tool call as an object, empty where the most tokens cut them off.
func (a answer) arguments() json.RawMessage {
	if text := []byte(a.text()); json.Valid(text) {
		return text
	}
	return json.RawMessage("{}")
}

// answer needs p to be complete. Equal prompts have equal answers.
func (p *prompt) answer() answer {
	var text string
	switch {
	case p.tool != "":
		text = example(p.schema)
	case p.format.Type == "json_schema":
		text = example(p.format.schema())
	case p.format.Type == "json_object":
		text = string(fill(`{"answer": %s}`, speak(p.said)))
	default:
		text = speak(p.said)
	}
	a := answer{tokens: slices.Collect(tokens(text)), tool: p.tool}
	if p.limit > 0 && len(a.tokens) > p.limit {
		a.tokens, a.limited = a.tokens[:p.limit], true
	}
	return a
}

// speak returns the model's one speech, about what the user said.
func speak(said string) string {
	hello, quote, advice := "Hello! This is ProxyCast's demo provider, not a real model. ", "You said: “%s”. ",
		"To talk to a real one, export OPENAI_API_KEY or ANTHROPIC_API_KEY and restart ProxyCast."
	if strings.ContainsFunc(said, func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
		hello, quote, advice = "你好！我是 ProxyCast 内置的演示服务，不是真正的模型。", "你刚才说：“%s”。",
			"想用真正的模型，请设置环境变量 OPENAI_API_KEY 或 ANTHROPIC_API_KEY，然后重新启动 ProxyCast。"
	}
	if end := ending(said); end != "" {
		hello += fmt.Sprintf(quote, end)
	}
	return hello + advice
}

// maxQuote is the most characters of the user's text that are repeated.
const maxQuote = 120

// ending returns the end of text on one line, without characters that would change how the text around it is shown.
func ending(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
	})
	runes := []rune(strings.Join(words, " "))
	if len(runes) > maxQuote {
		return "…" + strings.TrimSpace(string(runes[len(runes)-maxQuote:]))
	}
	return string(runes)
}
