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
		var group []needle
		for _, t := range c.is {
			if len(t.needles) == 0 {
				group = nil
				break
			}
			group = append(group, t.needles...)
		}
		if len(group) > 0 {
			s.groups = append(s.groups, group)
		}
	}
	return s
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
		escape := lines[i:min(i+5, len(lines))]
		if escape[1] == '/' || len(escape) == 5 && string(escape[1:4]) == "u00" && '2' <= escape[4] && escape[4] <= '7' {
			return true
		}
		lines = lines[i+2:]
	}
}

// needle is a text to look for, of printable ASCII that needs no escape.
type needle struct {
	text   string
	rare   int   // index of the byte that is rarest in lines, to look for first
	number *span // what the number of the member that text names must be in; nil: anything may follow
}

// partNeedle returns none for a text that may be escaped.
func partNeedle(text string) []needle {
	if text == "" || !isPlain(text) {
		return nil
	}
	return []needle{newNeedle(text)}
}

// textNeedle is for a text that begins with the first part of g. The name of its member
// is left out, since there may be spaces behind it.
func textNeedle(g glob) []needle {
	begin := string(g[0])
	switch {
	case !isPlain(begin) || begin == "":
		return nil
	case len(g) == 1:
		return []needle{newNeedle(`"` + begin + `"`)}
	}
	return []needle{newNeedle(`"` + begin)}
}

func statusNeedle(s span) needle {
	n := newNeedle(`"status"`)
	n.number = &s
	return n
}

func newNeedle(text string) needle {
	const common = `",:_0123456789eotansirpdmcl` // the most common first, about
	n := needle{text: text}
	best := -1
	for i := range len(text) {
		rank := strings.IndexByte(common, text[i])
		if rank < 0 {
			rank = len(common)
		}
		if rank > best {
			n.rare, best = i, rank
		}
	}
	return n
}

// in reports whether n is in lines.
func (n *needle) in(lines []byte) bool {
	for at := n.rare; at < len(lines); at++ {
		i := bytes.IndexByte(lines[at:], n.text[n.rare])
		if i < 0 {
			return false
		}
		at += i
		rest := lines[at-n.rare:]
		if len(rest) >= len(n.text) && string(rest[:len(n.text)]) == n.text && n.followed(rest[len(n.text):]) {
			return true
		}
	}
	return false
}

// followed reports whether rest, behind the text, begins with a number as n wants it.
func (n *needle) followed(rest []byte) bool {
	if n.number == nil {
		return true
	}
	const space = " \t\r"
	rest = bytes.TrimLeft(rest, space+":")
	var number int64
	for i := range min(digits(rest), 9) {
		number = 10*number + int64(rest[i]-'0')
	}
	return n.number.has(number)
}
