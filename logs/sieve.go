package logs

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// sieve tells from the bytes of lines that they cannot match a filter, so that most
// need not be looked at, let alone decoded. It lets too much pass, never too little,
// of lines whose members stand as AppendJSON writes them.
type sieve struct {
	earliest, last string // bounds of the time, in timeLayout; empty: none
	minMillis      float64
	status         []statusRange
	failed         bool
	groups         [][]needle // of each group, one must be there
}

// needle is a text to look for, by that byte of it which is rarest in lines.
type needle struct {
	text []byte
	rare int
}

func newNeedle(text string) needle {
	const common = `",:_0123456789eotansirpdmcl` // the most common first, about
	n := needle{text: []byte(text)}
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

func (n needle) in(lines []byte) bool {
	for at := n.rare; at < len(lines); at++ {
		i := bytes.IndexByte(lines[at:], n.text[n.rare])
		if i < 0 {
			return false
		}
		at += i
		if bytes.HasPrefix(lines[at-n.rare:], n.text) {
			return true
		}
	}
	return false
}

func newSieve(f *Filter) (s sieve) {
	if !f.since.IsZero() {
		s.earliest = f.since.Format(timeLayout)
	}
	if !f.until.IsZero() {
		s.last = f.until.Format(timeLayout)
	}
	s.minMillis = f.minDuration.Seconds() * 1000
	s.status, s.failed = f.status, f.failed
	s.require(statusNeedles(f))
	for _, t := range f.texts {
		s.require(textNeedles(`"`+t.field.name+`":"`, t.is))
	}
	s.require(partNeedles(f.ids))
	s.require(partNeedles(f.inError))
	if len(f.stream) > 0 && !slices.Contains(f.stream, false) {
		s.require([]needle{newNeedle(`"stream":true`)})
	}
	return s
}

func (s *sieve) require(group []needle) {
	if len(group) > 0 {
		s.groups = append(s.groups, group)
	}
}

// passes tells whether the needles are in lines, be it one or many.
func (s *sieve) passes(lines []byte) bool {
	for _, group := range s.groups {
		if !slices.ContainsFunc(group, func(n needle) bool { return n.in(lines) }) {
			return false
		}
	}
	return true
}

// passesLine tells whether line, the time of which is stamp, may match.
func (s *sieve) passesLine(stamp, line []byte) bool {
	return (s.earliest == "" || string(stamp) >= s.earliest) && (s.last == "" || string(stamp) <= s.last) &&
		s.passesDuration(line) && s.passesStatus(line) && s.passes(line)
}

func (s *sieve) passesDuration(line []byte) bool {
	if s.minMillis <= 0 {
		return true
	}
	_, rest, _ := bytes.Cut(line, []byte(`"duration_ms":`))
	end := bytes.IndexByte(rest, ',')
	if end < 0 {
		return true
	}
	ms, err := strconv.ParseFloat(string(rest[:end]), 64)
	return err != nil || ms > s.minMillis-0.002 // the record rounds to the microsecond
}

func (s *sieve) passesStatus(line []byte) bool {
	if len(s.status) == 0 && !s.failed {
		return true
	}
	_, rest, _ := bytes.Cut(line, []byte(`"status":`))
	if len(rest) < 4 || rest[3] != ',' {
		return true
	}
	status, err := strconv.Atoi(string(rest[:3]))
	return err != nil || slices.ContainsFunc(s.status, func(r statusRange) bool { return r.from <= status && status <= r.to }) ||
		s.failed && (status >= 400 || bytes.Contains(rest, []byte(`"error_type":"`)))
}

// The makers of needles return none if a match may show in a line in more ways than
// they can tell.

// statusNeedles asks for one status or class only: of more, one is in every block.
func statusNeedles(f *Filter) []needle {
	const name = `"status":`
	if f.failed || len(f.status) != 1 {
		return nil
	}
	from, to := f.status[0].from, f.status[0].to
	switch {
	case from == to:
		return []needle{newNeedle(name + strconv.Itoa(from))}
	case from/100 == to/100:
		return []needle{newNeedle(name + strconv.Itoa(from/100))}
	}
	return nil
}

func textNeedles(name string, patterns globs) (group []needle) {
	for _, p := range patterns {
		text := p[0]
		if text == "" || !isPlain(text) {
			return nil
		}
		if len(p) == 1 {
			text += `"`
		}
		group = append(group, newNeedle(name+text))
	}
	return group
}

func partNeedles(texts []string) (group []needle) {
	for _, text := range texts {
		if !isPlain(text) {
			return nil
		}
		group = append(group, newNeedle(text))
	}
	return group
}
