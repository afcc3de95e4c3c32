package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// JSON with comments, as nodes that know their place in the text.

const (
	byteOrderMark = "\ufeff"
	maxJSONDepth  = 100
)

// parseJSONC reads one JSON value (RFC 8259). Beyond the standard it accepts a
// byte order mark, // and /* */ comments and trailing commas, and no more.
// The error is a *jsonSyntaxError; the root then has what stands before it, and is an object whatever the text is.
func parseJSONC(text []byte) (root *jsonNode, err error) {
	root = &jsonNode{}
	defer func() { // the parser panics with the first error
		if p := recover(); p != nil {
			syntax, ok := p.(*jsonSyntaxError)
			if !ok {
				panic(p)
			}
			root.kind, err = jsonObject, syntax
		}
	}()
	p := &jsonParser{text: string(text)}
	for at, r := range p.text {
		if r == utf8.RuneError && !strings.HasPrefix(p.text[at:], string(utf8.RuneError)) {
			p.fail(at, "the file is not UTF-8 here")
		}
	}
	p.at = len(p.text) - len(strings.TrimPrefix(p.text, byteOrderMark))
	p.space()
	if p.at == len(p.text) {
		p.fail(p.at, "the file is empty; {} is enough")
	}
	p.value(root, 1)
	p.space()
	if p.at < len(p.text) {
		p.unexpected("the end of the file")
	}
	root.comments = p.comments
	return root, nil
}

// jsonSyntaxError is where the text stops being JSON.
type jsonSyntaxError struct {
	at      int
	message string
}

func (e *jsonSyntaxError) Error() string { return e.message }

// jsonKind says what a value is, in the words of a message.
type jsonKind string

const (
	jsonNull   jsonKind = "null"
	jsonBool   jsonKind = "true or false"
	jsonNumber jsonKind = "a number"
	jsonString jsonKind = "a string"
	jsonList   jsonKind = "a list"
	jsonObject jsonKind = "an object"
)

// jsonNode is a JSON value and its place in the text.
type jsonNode struct {
	kind    jsonKind
	at, end int          // offsets of its first byte, and after its last
	text    string       // a string unquoted; a number, true and false as written
	items   []*jsonNode  // of a list
	members []jsonMember // of an object, as written: a key may come twice

	comments [][2]int // of the whole text, by their offsets; on the root only
}

type jsonMember struct {
	at    int // offset of the key
	key   string
	value *jsonNode
}

// describe says what n is where something else was expected.
func (n *jsonNode) describe() string {
	if n.kind == jsonBool {
		return n.text
	}
	return string(n.kind)
}

// jsonParser reads a text from at on. What it cannot read is a panic with a
// *jsonSyntaxError, which parseJSONC returns.
type jsonParser struct {
	text     string
	at       int // offset of the next byte
	comments [][2]int
}

func (p *jsonParser) fail(at int, format string, args ...any) {
	panic(&jsonSyntaxError{at, fmt.Sprintf(format, args...)})
}

// unexpected refuses what comes next, and quotes one character of it: more
// could be a secret that lacks its quotes.
func (p *jsonParser) unexpected(expected string) {
	if p.at == len(p.text) {
		p.fail(p.at, "expected %s, got the end of the file", expected)
	}
	r, _ := utf8.DecodeRuneInString(p.text[p.at:])
	if !strconv.IsPrint(r) {
		p.fail(p.at, "expected %s, got %q", expected, r)
	}
	p.fail(p.at, "expected %s, got %c", expected, r)
}

// take moves past c if it comes next.
func (p *jsonParser) take(c byte) bool {
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

// span moves past the bytes that are in set and returns them.
func (p *jsonParser) span(set string) string {
	rest := p.text[p.at:]
	taken := rest[:len(rest)-len(strings.TrimLeft(rest, set))]
	p.at += len(taken)
	return taken
}

// space moves past white space and comments.
func (p *jsonParser) space() {
	for {
		p.span(" \t\r\n")
		rest := p.text[p.at:]
		switch {
		case strings.HasPrefix(rest, "//"):
			line, _, _ := strings.Cut(rest, "\n")
			p.comment(len(line))
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest[2:], "*/")
			if end < 0 {
				p.fail(p.at, "this comment is never closed")
			}
			p.comment(2 + end + 2)
		default:
			return
		}
	}
}

// comment moves past a comment of n bytes.
func (p *jsonParser) comment(n int) {
	p.comments = append(p.comments, [2]int{p.at, p.at + n})
	p.at += n
}

// value reads the value that begins at the next byte, depth levels deep, into n.
func (p *jsonParser) value(n *jsonNode, depth int) {
	if p.at == len(p.text) {
		p.unexpected("a value")
	}
	if depth > maxJSONDepth {
		p.fail(p.at, "nested deeper than %d levels", maxJSONDepth)
	}
	n.at = p.at
	switch c := p.text[p.at]; {
	case c == '{':
		n.kind = jsonObject
		p.sequence('}', func() { p.member(n, depth+1) })
	case c == '[':
		n.kind = jsonList
		p.sequence(']', func() {
			item := &jsonNode{}
			n.items = append(n.items, item)
			p.value(item, depth+1)
		})
	case c == '"':
		n.kind, n.text = jsonString, p.quoted()
	case c == '-' || '0' <= c && c <= '9':
		n.kind, n.text = jsonNumber, p.span("+-.0123456789eE")
		if !json.Valid([]byte(n.text)) {
			p.fail(n.at, "this is not a number")
		}
	default:
		n.text = p.span("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
		switch n.text {
		case "true", "false":
			n.kind = jsonBool
		case "null":
			n.kind = jsonNull
		case "":
			p.unexpected("a value")
		default:
			p.fail(n.at, "this is not a value; a string stands in double quotes")
		}
	}
	n.end = p.at
}

// sequence reads what stands between the bracket that comes next and closer: elements
// with commas between them. No comma is needed after the last one.
func (p *jsonParser) sequence(closer byte, element func()) {
	begin := p.at
	p.at++
	for {
		p.space()
		if p.take(closer) {
			return
		}
		if p.at == len(p.text) {
			p.fail(begin, "this %c is never closed", p.text[begin])
		}
		element()
		p.space()
		if !p.take(',') && p.at < len(p.text) && p.text[p.at] != closer {
			p.unexpected(fmt.Sprintf(`"," or "%c"`, closer))
		}
	}
}

// member reads a key of n and its value.
func (p *jsonParser) member(n *jsonNode, depth int) {
	m := jsonMember{at: p.at, value: &jsonNode{}}
	if p.text[p.at] != '"' {
		p.unexpected(`a key in double quotes or "}"`)
	}
	m.key = p.quoted()
	p.space()
	if !p.take(':') {
		p.unexpected(`":" after the key`)
	}
	p.space()
	n.members = append(n.members, m)
	p.value(m.value, depth)
}

// quoted reads the string whose opening quote comes next.
func (p *jsonParser) quoted() (value string) {
	begin := p.at
	for p.at++; p.at < len(p.text) && p.text[p.at] >= ' '; p.at++ {
		switch p.text[p.at] {
		case '\\':
			p.at++
		case '"':
			p.at++
			err := json.Unmarshal([]byte(p.text[begin:p.at]), &value)
			if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
				p.fail(begin+int(syntax.Offset)-1, `an escape that JSON does not have; a backslash itself is written \\`)
			}
			return value
		}
	}
	if p.at >= len(p.text) || p.text[p.at] == '\n' || p.text[p.at] == '\r' {
		p.fail(begin, "this string is never closed")
	}
	p.fail(p.at, `a control character in a string is written \u%04x`, p.text[p.at])
	return ""
}
