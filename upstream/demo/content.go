// Content: the forms that text takes in requests.

package demo

import (
	"encoding/json"
	"strings"
)

// content is what a message holds: a string, or an array of parts. Any other value is taken for none.
type content struct {
	text   string // of its text parts, one a line
	tokens int    // of all its parts that are text to the model
	set    bool
}

func (c *content) UnmarshalJSON(raw []byte) error {
	*c = content{}
	var err error
	parts := make([]part, 1)
	switch raw[0] {
	case '"':
		err = json.Unmarshal(raw, &parts[0].Text)
	case '[':
		err = json.Unmarshal(raw, &parts)
	default:
		return nil
	}
	c.set = true
	var lines []string
	for _, p := range parts {
		if p.Text != "" {
			lines = append(lines, p.Text)
		}
		c.tokens += p.tokens()
	}
	c.text = strings.Join(lines, "\n")
	return err
}

// part is one part of a message, or one block: text, a tool call, a tool's result, a document. Images, audio and other
// files count for nothing.
type part struct {
	Text    string
	Name    string          // of a tool that is called
	Input   json.RawMessage // of a tool call
	Content json.RawMessage // of a tool's result
	Source  struct{ Type, Data string }
}

func (p part) tokens() int {
	n := countTokens(p.Text) + countTokens(p.Name) + countTokens(string(p.Input)) + textTokens(p.Content)
	if p.Source.Type == "text" {
		n += countTokens(p.Source.Data)
	}
	return n
}

// textTokens counts a value that is a string or an array of parts, and takes any other for nothing. It looks no deeper,
// so that nested values cost no more.
func textTokens(raw json.RawMessage) (n int) {
	var text string
	var parts []struct{ Text string }
	switch {
	case raw == nil:
	case json.Unmarshal(raw, &text) == nil:
		n = countTokens(text)
	case json.Unmarshal(raw, &parts) == nil:
		for _, p := range parts {
			n += countTokens(p.Text)
		}
	}
	return n
}

// input is the input of a response: a text, which stands for a message of the user, or items.
type input []message

func (in *input) UnmarshalJSON(raw []byte) error {
	if raw[0] != '"' {
		return json.Unmarshal(raw, (*[]message)(in))
	}
	*in = input{{Role: "user"}}
	return (*in)[0].Content.UnmarshalJSON(raw)
}

// stringList is a field that is a string, an array of strings, or null.
type stringList []string

func (l *stringList) UnmarshalJSON(raw []byte) error {
	if raw[0] != '"' {
		return json.Unmarshal(raw, (*[]string)(l))
	}
	*l = make(stringList, 1)
	return json.Unmarshal(raw, &(*l)[0])
}
