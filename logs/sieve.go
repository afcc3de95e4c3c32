package logs

import (
	"bytes"
	"slices"
	"strconv"
)

// sieve tells from the bytes of lines that they cannot match a filter, so that most
// need not be looked at, let alone decoded. It lets too much pass, never too little,
// of lines whose members stand as AppendJSON writes them.
type sieve struct {
	earliest, last string // bounds of the time, in timeLayout; empty: none
	minMillis      float64
	groups         [][][]byte // of each group, one must be there
}

func newSieve(f *Filter) (s sieve) {
	if !f.since.IsZero() {
		s.earliest = f.since.Format(timeLayout)
	}
	if !f.until.IsZero() {
		s.last = f.until.Format(timeLayout)
	}
	s.minMillis = f.minDuration.Seconds() * 1000
	s.require(statusNeedles(f))
	for _, t := range f.texts {
		s.require(textNeedles(`"`+t.field.name+`":"`, t.is))
	}
	s.require(partNeedles(f.ids))
	s.require(partNeedles(f.inError))
	if len(f.stream) > 0 && !slices.Contains(f.stream, false) {
		s.require([][]byte{[]byte(`"stream":true`)})
	}
	return s
}

func (s *sieve) require(group [][]byte) {
	if len(group) > 0 {
		s.groups = append(s.groups, group)
	}
}

// passes tells whether the needles are in lines, be it one or many.
func (s *sieve) passes(lines []byte) bool {
	for _, group := range s.groups {
		if !slices.ContainsFunc(group, func(needle []byte) bool { return bytes.Contains(lines, needle) }) {
			return false
		}
	}
	return true
}

// passesLine tells whether line, the time of which is stamp, may match.
func (s *sieve) passesLine(stamp, line []byte) bool {
	return (s.earliest == "" || string(stamp) >= s.earliest) && (s.last == "" || string(stamp) <= s.last) &&
		s.passesDuration(line) && s.passes(line)
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

// The makers of needles return none if a match may show in a line in more ways than
// they can tell.

func statusNeedles(f *Filter) (group [][]byte) {
	const name = `"status":`
	classes := func(from, to int) {
		for class := from; class <= to; class++ {
			group = append(group, strconv.AppendInt([]byte(name), int64(class), 10))
		}
	}
	if f.failed {
		classes(4, 9)
		group = append(group, []byte(`"error_type":"`))
	}
	for _, r := range f.status {
		if r.from == r.to {
			classes(r.from, r.to)
		} else {
			classes(r.from/100, r.to/100)
		}
	}
	return group
}

func textNeedles(name string, patterns globs) (group [][]byte) {
	for _, p := range patterns {
		text := p[0]
		if text == "" || !isPlain(text) {
			return nil
		}
		if len(p) == 1 {
			text += `"`
		}
		group = append(group, []byte(name+text))
	}
	return group
}

func partNeedles(texts []string) (group [][]byte) {
	for _, text := range texts {
		if !isPlain(text) {
			return nil
		}
		group = append(group, []byte(text))
	}
	return group
}
