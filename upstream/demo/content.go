// Content: the forms that text takes in requests.

package demo

import (
	"encoding/json"
	"fmt"
	"strings"
)

// content is what a message holds: a string, or an array of parts.
type content struct {
	text   string // of its text parts, one a line
	tokens int    // of all its parts that are text to the model
	set    bool   // not absent or null
	filled bool   // nor "" or []
}

func (c *content) UnmarshalJSON(raw []byte) error {
	*c = content{}
	var parts []part
	switch raw[0] {
	case 'n':
	case '"':
		if err := json.Unmarshal(raw, &c.text); err != nil {
			return err
		}
		c.tokens = countTokens(c.text)
	case '[':
		if err := json.Unmarshal(raw, &parts); err != nil {
			return err
		}
	default:
		return wrongType(raw)
	}
	c.set = raw[0] != 'n'
	c.filled = c.text != "" || len(parts) > 0
	var lines []string
	for _, p := range parts {
		if p.Type == "" {
			return missing("content.type")
		}
		if p.Text != "" {
			lines = append(lines, p.Text)
		}
		c.tokens += p.tokens()
	}
	if len(lines) > 0 {
		c.text = strings.Join(lines, "\n")
	}
	return nil
}

// part is one part of a message, or one block: text, a tool call, a tool's
// result, a document. Images and audio count for nothing.
type part struct {
	Type     string
	Text     string
	Refusal  string
	Thinking string
	Name     string
	Input    json.RawMessage // of a tool call
	Content  json.RawMessage // of a tool's result
	Source   json.RawMessage // of a document
}

func (p part) tokens() int {
	n := countTokens(p.Text) + countTokens(p.Refusal) + countTokens(p.Thinking) + countTokens(p.Name) +
		countTokens(string(p.Input)) + looseTokens(p.Content)
	var source struct{ Type, Data string }
	if p.Source != nil && json.Unmarshal(p.Source, &source) == nil && source.Type == "text" {
		n += countTokens(source.Data)
	}
	return n
}

// looseTokens counts a value that is a string or an array of texts, and takes
// any other for nothing. It looks no deeper, so that nested values cost no more.
func looseTokens(raw json.RawMessage) int {
	var text string
	if raw == nil || json.Unmarshal(raw, &text) == nil {
		return countTokens(text)
	}
	var parts []struct{ Text string }
	if json.Unmarshal(raw, &parts) != nil {
		return 0
	}
	n := 0
	for _, p := range parts {
		n += countTokens(p.Text)
	}
	return n
}

// absent reports whether a field is not there, or null.
func absent(raw json.RawMessage) bool { return raw == nil || string(raw) == "null" }

// stringList is a field that is a string, an array of strings, or null.
type stringList []string

func (l *stringList) UnmarshalJSON(raw []byte) error {
	switch raw[0] {
	case 'n':
		return nil
	case '"':
		*l = make(stringList, 1)
		return json.Unmarshal(raw, &(*l)[0])
	case '[':
		return json.Unmarshal(raw, (*[]string)(l))
	}
	return wrongType(raw)
}

// inputs is a field that is a text, an array of texts, an array of token
// numbers, or an array of such arrays.
type inputs []input

type input struct {
	text   string // token numbers stand in it as words
	tokens int
}

func (in *inputs) UnmarshalJSON(raw []byte) error {
	var (
		texts stringList
		ids   []int
		lists [][]int
	)
	*in = nil
	switch {
	case json.Unmarshal(raw, &texts) == nil:
		for _, text := range texts {
			*in = append(*in, input{text, countTokens(text)})
		}
		return nil
	case json.Unmarshal(raw, &ids) == nil:
		lists = [][]int{ids}
	case json.Unmarshal(raw, &lists) != nil:
		return wrongType(raw)
	}
	for _, ids := range lists {
		*in = append(*in, input{strings.Trim(fmt.Sprint(ids), "[]"), len(ids)})
	}
	return nil
}

// check reports inputs that a provider refuses.
func (in inputs) check(param string) error {
	if len(in) == 0 {
		return invalid(param, "must not be empty")
	}
	if len(in) > maxInputs {
		return invalid(param, "has more than %d entries", maxInputs)
	}
	for _, one := range in {
		if one.text == "" {
			return invalid(param, "must not have an empty entry")
		}
	}
	return nil
}

// maxInputs is the most entries of one request.
const maxInputs = 2048

// tokens counts all entries.
func (in inputs) tokens() int {
	n := 0
	for _, one := range in {
		n += one.tokens
	}
	return n
}
