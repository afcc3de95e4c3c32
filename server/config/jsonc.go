package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	byteOrderMark = "\ufeff"
	maxJSONDepth  = 100
)

// parseJSONC reads one JSON value (RFC 8259). Beyond the standard it accepts a
// byte order mark, // and /* */ comments and trailing commas, and no more.
// The error is a *jsonSyntaxError.
func parseJSONC(text []byte) (*jsonNode, error) {
	p := &jsonParser{text: string(text)}
	for at, r := range p.text {
		if r == utf8.RuneError && !strings.HasPrefix(p.text[at:], string(utf8.RuneError)) {
			return nil, p.fail(at, "the file is not UTF-8 here")
		}
	}
	p.at = len(p.text) - len(strings.TrimPrefix(p.text, byteOrderMark))
	if err := p.space(); err != nil {
		return nil, err
	}
	if p.at == len(p.text) {
		return nil, p.fail(p.at, "the file is empty; {} is enough")
	}
	n, err := p.value(1)
	if err != nil {
		return nil, err
	}
	if err := p.space(); err != nil {
		return nil, err
	}
	if p.at < len(p.text) {
		return nil, p.unexpected("the end of the file")
	}
	n.comments = p.comments
	return n, nil
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

// find gives the node that path leads to, as in upstream.models.fast or
// auth.keys[0].key, or the last one on the way that exists. Keys may hold dots:
// the longest one that fits counts.
func (n *jsonNode) find(path string) *jsonNode {
	for path != "" {
		next, rest := n.step(path)
		if next == nil && n.kind != jsonObject && path[0] == '.' { // a short form stands for the field of that name
			if i := strings.IndexByte(path, '['); i > 0 {
				next, rest = n, path[i:]
			}
		}
		if next == nil {
			break
		}
		n, path = next, rest
	}
	return n
}

func (n *jsonNode) step(path string) (next *jsonNode, rest string) {
	if n.kind == jsonList {
		index, rest, _ := strings.Cut(strings.TrimPrefix(path, "["), "]")
		i, err := strconv.Atoi(index)
		if err != nil || i < 0 || i >= len(n.items) {
			return nil, ""
		}
		return n.items[i], rest
	}
	path = strings.TrimPrefix(path, ".")
	for _, m := range n.members {
		after, ok := strings.CutPrefix(path, m.key)
		ends := after == "" || after[0] == '.' || after[0] == '['
		if ok && ends && (next == nil || len(after) < len(rest)) {
			next, rest = m.value, after
		}
	}
	return next, rest
}

type jsonParser struct {
	text string
	at   int // offset of the next byte

	comments [][2]int
}

func (p *jsonParser) fail(at int, format string, args ...any) error {
	return &jsonSyntaxError{at, fmt.Sprintf(format, args...)}
}

// unexpected refuses what comes next, and quotes one character of it: more
// could be a secret that lacks its quotes.
func (p *jsonParser) unexpected(expected string) error {
	if p.at == len(p.text) {
		return p.fail(p.at, "expected %s, got the end of the file", expected)
	}
	r, _ := utf8.DecodeRuneInString(p.text[p.at:])
	if !strconv.IsPrint(r) {
		return p.fail(p.at, "expected %s, got %q", expected, r)
	}
	return p.fail(p.at, "expected %s, got %c", expected, r)
}

// take moves past c if it comes next.
func (p *jsonParser) take(c byte) bool {
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

// span moves past the bytes that are in set and gives them.
func (p *jsonParser) span(set string) string {
	rest := p.text[p.at:]
	taken := rest[:len(rest)-len(strings.TrimLeft(rest, set))]
	p.at += len(taken)
	return taken
}

// space moves past white space and comments.
func (p *jsonParser) space() error {
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
				return p.fail(p.at, "this comment is never closed")
			}
			p.comment(2 + end + 2)
		default:
			return nil
		}
	}
}

// comment moves past a comment of n bytes.
func (p *jsonParser) comment(n int) {
	p.comments = append(p.comments, [2]int{p.at, p.at + n})
	p.at += n
}

// value reads the value that begins at the next byte.
func (p *jsonParser) value(depth int) (*jsonNode, error) {
	if p.at == len(p.text) {
		return nil, p.unexpected("a value")
	}
	if depth > maxJSONDepth {
		return nil, p.fail(p.at, "nested deeper than %d levels", maxJSONDepth)
	}
	n := &jsonNode{at: p.at}
	defer func() { n.end = p.at }()
	var err error
	switch c := p.text[p.at]; {
	case c == '{':
		n.kind = jsonObject
		n.members, err = p.object(depth)
	case c == '[':
		n.kind = jsonList
		n.items, err = p.list(depth)
	case c == '"':
		n.kind = jsonString
		n.text, err = p.quoted()
	case c == '-' || '0' <= c && c <= '9':
		n.kind, n.text = jsonNumber, p.span("+-.0123456789eE")
		if !json.Valid([]byte(n.text)) {
			err = p.fail(n.at, "this is not a number")
		}
	default:
		n.text = p.span("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
		switch n.text {
		case "true", "false":
			n.kind = jsonBool
		case "null":
			n.kind = jsonNull
		case "":
			err = p.unexpected("a value")
		default:
			err = p.fail(n.at, "this is not a value; a string stands in double quotes")
		}
	}
	return n, err
}

func (p *jsonParser) object(depth int) (members []jsonMember, err error) {
	begin := p.at
	p.at++
	for {
		if err := p.space(); err != nil {
			return nil, err
		}
		if p.take('}') {
			return members, nil
		}
		if p.at == len(p.text) {
			return nil, p.fail(begin, "this { is never closed")
		}
		m := jsonMember{at: p.at}
		if p.text[p.at] != '"' {
			return nil, p.unexpected(`a key in double quotes or "}"`)
		}
		if m.key, err = p.quoted(); err != nil {
			return nil, err
		}
		if err := p.space(); err != nil {
			return nil, err
		}
		if !p.take(':') {
			return nil, p.unexpected(`":" after the key`)
		}
		if err := p.space(); err != nil {
			return nil, err
		}
		if m.value, err = p.value(depth + 1); err != nil {
			return nil, err
		}
		members = append(members, m)
		if err := p.comma('}'); err != nil {
			return nil, err
		}
	}
}

func (p *jsonParser) list(depth int) (items []*jsonNode, err error) {
	begin := p.at
	p.at++
	for {
		if err := p.space(); err != nil {
			return nil, err
		}
		if p.take(']') {
			return items, nil
		}
		if p.at == len(p.text) {
			return nil, p.fail(begin, "this [ is never closed")
		}
		item, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
		if err := p.comma(']'); err != nil {
			return nil, err
		}
	}
}

// comma moves past the comma after a value. None is needed before closer and
// at the end of the text, which the caller meets next.
func (p *jsonParser) comma(closer byte) error {
	if err := p.space(); err != nil {
		return err
	}
	if p.take(',') || p.at == len(p.text) || p.text[p.at] == closer {
		return nil
	}
	return p.unexpected(fmt.Sprintf(`"," or "%c"`, closer))
}

// quoted reads the string whose opening quote comes next.
func (p *jsonParser) quoted() (string, error) {
	begin := p.at
	for p.at++; p.at < len(p.text) && p.text[p.at] >= ' '; p.at++ {
		switch p.text[p.at] {
		case '\\':
			p.at++
		case '"':
			p.at++
			return p.unquote(begin)
		}
	}
	if p.at >= len(p.text) || p.text[p.at] == '\n' || p.text[p.at] == '\r' {
		return "", p.fail(begin, "this string is never closed")
	}
	return "", p.fail(p.at, `a control character in a string is written \u%04x`, p.text[p.at])
}

// unquote gives the string between begin and the next byte its value.
func (p *jsonParser) unquote(begin int) (value string, err error) {
	err = json.Unmarshal([]byte(p.text[begin:p.at]), &value)
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		return "", p.fail(begin+int(syntax.Offset)-1, `an escape that JSON does not have; a backslash itself is written \\`)
	}
	return value, err
}
