package logs

import (
	"bytes"
	"strings"
	"time"
)

// sieve tells from the bytes of lines that no record of a filter is among them, so that
// most need not be taken apart. It lets too much pass, never too little, however the
// lines are spelled.
type sieve struct {
	since, until string     // bounds of the time in timeLayout, which sort as text; empty: none
	groups       [][]needle // of each group, one must be there
}

func newSieve(f *Filter) *sieve {
	s := &sieve{since: bound(f.since), until: bound(f.until)}
	for _, c := range f.choices {
		s.require(needlesOf(c.is))
		for _, t := range c.not {
			s.require(t.unless)
		}
	}
	return s
}

// needlesOf returns the needles of which a line has one if one of the tests holds, none
// if that cannot be told.
func needlesOf(tests []test) (group []needle) {
	for _, t := range tests {
		if len(t.needles) == 0 {
			return nil
		}
		group = append(group, t.needles...)
	}
	return group
}

func (s *sieve) require(group []needle) {
	if len(group) > 0 {
		s.groups = append(s.groups, group)
	}
}

// bound returns the first time that a record can have and that is not before t.
func bound(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	switch t = t.UTC().Add(time.Millisecond - 1); {
	case t.Year() > 9999:
		return "after all"
	case t.Year() < 0:
		return "-"
	}
	return t.Format(timeLayout)
}

// timed reports whether the sieve has bounds of the time.
func (s *sieve) timed() bool { return s.since != "" || s.until != "" }

// inTime reports whether a record began within the bounds.
func (s *sieve) inTime(stamp []byte) bool {
	return (s.since == "" || string(stamp) >= s.since) && (s.until == "" || string(stamp) < s.until)
}

// pass reports whether the needles are in text, which is one line or many.
func (s *sieve) pass(text []byte) bool {
	for _, group := range s.groups {
		found := false
		for i := range group {
			if found = group[i].in(text); found {
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}

// passLines appends to dst the lines of a block, the oldest first, that may be chosen.
func (s *sieve) passLines(dst [][]byte, block []byte) [][]byte {
	every := len(s.groups) == 0 || hides(block)
	if !every && !s.pass(block) {
		return dst
	}
	for len(block) > 0 {
		text, rest, _ := bytes.Cut(block, newline)
		block = rest
		if s.timed() {
			if _, stamp, ours := lineHead(text); ours && !s.inTime(stamp) {
				continue
			}
		}
		if !every && !s.pass(text) {
			continue
		}
		dst = append(dst, text)
	}
	return dst
}

// hides reports whether lines have an escape that may stand for a character of a
// needle. Those of AppendJSON do not, but others write \/ and \u002d.
func hides(lines []byte) bool {
	for {
		i := bytes.IndexByte(lines, '\\')
		if i < 0 || i+1 >= len(lines) {
			return false
		}
		escape := string(lines[i+1 : min(i+6, len(lines))])
		if escape[0] == '/' || "u0020" <= escape && escape < "u007f" {
			return true
		}
		lines = lines[i+2:]
	}
}

// needle is a text to look for, of printable ASCII that needs no escape. It may be the
// name of a member, in its quotes, whose value must then be as wanted.
type needle struct {
	text   string
	rare   int                     // index of the byte that is rarest in lines, to look for first
	wanted func(value []byte) bool // is given the value, and what follows; nil: anything may follow
	end    string                  // what stands behind the value if the line has no other of that name; empty: nothing tells
}

// partNeedle returns none for a text that may be escaped.
func partNeedle(text string) []needle {
	if text == "" || !isPlain(text) {
		return nil
	}
	return []needle{newNeedle(text)}
}

// textNeedle is for a text of a member that begins with the first part of g.
func textNeedle(f field, g glob) []needle {
	begin := string(g[0])
	if begin == "" || !isPlain(begin) {
		return nil
	}
	begin = `"` + begin
	if len(g) == 1 {
		begin += `"`
	}
	value, name := newNeedle(begin), memberNeedle(f, func(value []byte) bool { return bytes.HasPrefix(value, []byte(begin)) })
	if value.often() < name.often() {
		return []needle{value}
	}
	return []needle{name}
}

func statusNeedle(wanted func(status int64) bool) needle {
	n := memberNeedle(statusField, func(value []byte) bool { return wanted(number(value[:wholeLength(value)])) })
	n.end = members[streamField].begin // those of tried are followed by other members
	return n
}

// durationNeedle is for durations of at least so many microseconds.
func durationNeedle(least int64) needle {
	return memberNeedle(durationField, func(value []byte) bool {
		n := millisLength(value)
		exact := n > 0 && n < len(value) && (value[n] == ',' || value[n] == '}') // and not 1e3
		return !exact || micros(value[:n]) >= least
	})
}

func memberNeedle(f field, wanted func(value []byte) bool) needle {
	n := newNeedle(`"` + f.String() + `"`)
	n.wanted = wanted
	return n
}

// usual is what most lines look like, to tell which bytes are rare in them.
const usual = `{"seq":20518,"time":"2026-11-23T10:20:30.045Z","id":"req_7F3A90C2E15B4D68","key":"dev","method":"POST",` +
	`"path":"/v1/chat/completions","endpoint":"chat_completions","model":"gpt-4o","upstream_model":"gpt-4o","provider":"openai",` +
	`"status":200,"stream":true,"duration_ms":1234.567,"ttft_ms":250.5,"input_tokens":1900,"output_tokens":28,` +
	`"cache_read_tokens":900,"reasoning_tokens":16,"finish_reason":"stop","attempts":1,"request_bytes":8512,"response_bytes":4096,` +
	`"client":"OpenAI/Python 1.51.0","remote":"127.0.0.1","upstream_id":"req_0c1e8d5f2b7a4963"}`

func newNeedle(text string) needle {
	n := needle{text: text}
	for i := range text {
		if strings.Count(usual, text[i:i+1]) < n.often() {
			n.rare = i
		}
	}
	return n
}

// often is how often the rarest byte of n is in a line.
func (n *needle) often() int { return strings.Count(usual, n.text[n.rare:n.rare+1]) }

// in reports whether n is in lines.
func (n *needle) in(lines []byte) bool {
	for at := n.rare; at < len(lines); at++ {
		i := bytes.IndexByte(lines[at:], n.text[n.rare])
		if i < 0 {
			return false
		}
		at += i
		rest := lines[at-n.rare:]
		if len(rest) < len(n.text) || string(rest[:len(n.text)]) != n.text {
			continue
		}
		if n.wanted == nil {
			return true
		}
		value := afterColon(rest[len(n.text):])
		if n.wanted(value) {
			return true
		}
		if n.end != "" && bytes.HasPrefix(value[digits(value):], []byte(n.end)) {
			line := bytes.IndexByte(lines[at:], '\n')
			if line < 0 {
				return false
			}
			at += line
		}
	}
	return false
}

// afterColon returns what stands behind a colon and spaces.
func afterColon(rest []byte) []byte {
	for i, c := range rest {
		if c != ':' && c != ' ' && c != '\t' && c != '\r' {
			return rest[i:]
		}
	}
	return nil
}
