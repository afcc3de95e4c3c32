// What the demo model says: the same answer for every dialect, plain or streamed.

package demo

import (
	"slices"
	"strings"
	"unicode"
)

// answer is what the model says: a text, or the arguments of a tool call.
type answer struct {
	tokens []string
	tool   string // the tool that is called; empty for a text
	end    end
	stop   string // the stop sequence that ended a text
}

type end uint8

const (
	finished end = iota
	limited      // by the most tokens
	stopped      // by a stop sequence
)

func (a answer) text() string { return strings.Join(a.tokens, "") }

// answer needs p to be complete. Equal prompts have equal answers.
func (p *prompt) answer() (answer, error) {
	forced, err := p.choice.pick(p.tools)
	if err != nil {
		return answer{}, err
	}
	var a answer
	switch {
	case forced != nil:
		a.tool = forced.name
		a.tokens = slices.Collect(tokens(example(forced.schema)))
	case p.format.Type == "json_schema":
		a.tokens = slices.Collect(tokens(example(p.format.schema())))
	case p.format.Type == "json_object":
		a.tokens = slices.Collect(tokens(string(encode(map[string]string{"answer": speak(p.said)}))))
	default:
		a.tokens = slices.Collect(tokens(speak(p.said)))
	}
	if p.limit > 0 && len(a.tokens) > p.limit {
		a.tokens, a.end = a.tokens[:p.limit], limited
	}
	if a.tool == "" {
		a.stopAt(p.stops)
	}
	return a, nil
}

// stopAt ends a's text before the first of stops that it holds.
func (a *answer) stopAt(stops []string) {
	text := a.text()
	first := len(text)
	for _, stop := range stops {
		if i := strings.Index(text, stop); i >= 0 && i < first {
			first, a.stop = i, stop
		}
	}
	if first < len(text) {
		a.tokens, a.end = slices.Collect(tokens(text[:first])), stopped
	}
}

// speak gives the model's one speech, about what the user said.
func speak(said string) string {
	quote := ending(said)
	var b strings.Builder
	if strings.ContainsFunc(said, func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
		b.WriteString("你好！我是 ProxyCast 内置的演示服务，不是真正的模型。")
		if quote != "" {
			b.WriteString("你刚才说：“" + quote + "”。")
		}
		b.WriteString("想用真正的模型，请设置环境变量 OPENAI_API_KEY 或 ANTHROPIC_API_KEY，然后重新启动 ProxyCast。")
		return b.String()
	}
	b.WriteString("Hello! This is ProxyCast's demo provider, not a real model. ")
	if quote != "" {
		b.WriteString("You said: “" + quote + "”. ")
	}
	b.WriteString("To talk to a real one, export OPENAI_API_KEY or ANTHROPIC_API_KEY and restart ProxyCast.")
	return b.String()
}

// maxQuote is the most characters of the user's text that are repeated.
const maxQuote = 120

// ending gives the end of text on one line, without characters that would
// change how the text around it is shown.
func ending(text string) string {
	// A character takes at most 4 bytes; white space is folded.
	if tail := len(text) - 16*maxQuote; tail > 0 {
		text = text[tail:]
	}
	text = strings.ToValidUTF8(text, "")
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, text)
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) <= maxQuote {
		return string(runes)
	}
	runes = runes[len(runes)-maxQuote:]
	for len(runes) > 0 && combines(runes[0]) {
		runes = runes[1:]
	}
	return "…" + strings.TrimSpace(string(runes))
}
