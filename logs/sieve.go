package logs

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// sieve tells from the bytes of a line that it cannot match a filter, so that most
// lines need not be parsed. It lets too much pass, never too little, of lines of
// lineHead's kind: their members stand as AppendJSON writes them.
type sieve struct {
	earliest, last string     // bounds of the time, in timeLayout; empty: none
	groups         [][]needle // of each group, one must be there
}

// needle is a text that is followed by one of some bytes, or by anything if next
// is empty.
type needle struct {
	text string
	next string
	rare int // index of the byte of text to look for first
}

// usual is what most lines look like, to tell which bytes are rare in them.
const usual = `{"seq":20518,"time":"2026-11-23T10:20:30.045Z","id":"req_7f3a90c2e15b4d68","key":"dev","method":"POST",` +
	`"path":"/v1/chat/completions","endpoint":"chat_completions","model":"gpt-4o","upstream_model":"gpt-4o","provider":"openai",` +
	`"status":200,"stream":true,"duration_ms":1234.567,"ttft_ms":250.5,"input_tokens":1900,"output_tokens":28,` +
	`"cache_read_tokens":900,"reasoning_tokens":16,"finish_reason":"stop","attempts":1,"request_bytes":8512,"response_bytes":4096,` +
	`"client":"OpenAI/Python 1.51.0","remote":"127.0.0.1","upstream_id":"req_0c1e8d5f2b7a4963"}`

func newNeedle(text, next string) needle {
	n := needle{text: text, next: next}
	for i := range len(text) {
		if strings.Count(usual, text[i:i+1]) < strings.Count(usual, text[n.rare:n.rare+1]) {
			n.rare = i
		}
	}
	return n
}

func newSieve(f *Filter) (s sieve) {
	if !f.since.IsZero() {
		s.earliest = f.since.Format(timeLayout)
	}
	if !f.until.IsZero() {
		s.last = f.until.Format(timeLayout)
	}
	s.require(statusNeedles(f))
	s.require(textNeedles(`"model":"`, f.model))
	s.require(textNeedles(`"provider":"`, f.provider))
	s.require(textNeedles(`"key":"`, f.key))
	s.require(textNeedles(`"path":"`, f.path))
	s.require(textNeedles(`"endpoint":"`, f.endpoint))
	s.require(partNeedles(f.ids))
	s.require(partNeedles(f.inError))
	if len(f.stream) > 0 && !slices.Contains(f.stream, false) {
		s.require([]needle{newNeedle(`"stream":true`, "")})
	}
	return s
}

func (s *sieve) require(group []needle) {
	if len(group) > 0 {
		s.groups = append(s.groups, group)
	}
}

// passes tells whether line, the time of which is stamp, may match.
func (s *sieve) passes(stamp, line []byte) bool {
	if s.earliest != "" && string(stamp) < s.earliest || s.last != "" && string(stamp) > s.last {
		return false
	}
	for _, group := range s.groups {
		if !slices.ContainsFunc(group, func(n needle) bool { return n.in(line) }) {
			return false
		}
	}
	return true
}

// passesSome tells whether a time within sp may pass.
func (s *sieve) passesSome(sp span) bool {
	return (s.earliest == "" || string(sp.greatest[:]) >= s.earliest) &&
		(s.last == "" || string(sp.least[:]) <= s.last)
}

// passesAll tells whether the filter chooses every time within sp.
func (s *sieve) passesAll(sp span) bool {
	return (s.earliest == "" || string(sp.least[:]) > s.earliest) &&
		(s.last == "" || string(sp.greatest[:]) < s.last)
}

// in tells whether n stands anywhere in line.
func (n needle) in(line []byte) bool {
	for at := n.rare; at < len(line); at++ {
		i := bytes.IndexByte(line[at:], n.text[n.rare])
		if i < 0 {
			return false
		}
		at += i
		rest := line[at-n.rare:]
		if len(rest) < len(n.text) {
			return false
		}
		if string(rest[:len(n.text)]) != n.text {
			continue
		}
		rest = rest[len(n.text):]
		if n.next == "" || len(rest) > 0 && strings.IndexByte(n.next, rest[0]) >= 0 {
			return true
		}
	}
	return false
}

// The makers of needles give none if a match may show in a line in more ways than
// they can tell.

func statusNeedles(f *Filter) (group []needle) {
	const name = `"status":`
	if f.failed {
		group = append(group, newNeedle(name, "456789"), newNeedle(`"error_type":"`, ""))
	}
	for _, r := range f.status {
		if r.from == r.to {
			group = append(group, newNeedle(name+strconv.Itoa(r.from), ""))
		} else {
			group = append(group, newNeedle(name, "0123456789"[r.from/100:r.to/100+1]))
		}
	}
	return group
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
		group = append(group, newNeedle(name+text, ""))
	}
	return group
}

func partNeedles(texts []string) (group []needle) {
	for _, text := range texts {
		if !isPlain(text) {
			return nil
		}
		group = append(group, newNeedle(text, ""))
	}
	return group
}
