package logs

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A line is read in two ways: lineHead looks at its first two members only,
// parseLine reads all of it. Both run over a million lines for one query.

// maxSeq is more than any seq: JavaScript reads no number beyond it exactly.
const maxSeq = 1 << 53

// lineHead returns the seq and the time, as text in timeLayout, of a line as
// AppendJSON writes it. Any other line, even a valid one, is not ok.
func lineHead(line []byte) (seq uint64, stamp []byte, ok bool) {
	const before, between = `{"seq":`, `,"time":"`
	if len(line) < len(before) || string(line[:len(before)]) != before {
		return 0, nil, false
	}
	line = line[len(before):]
	n := 0
	for n < len(line) && n < 19 && '0' <= line[n] && line[n] <= '9' {
		seq = seq*10 + uint64(line[n]-'0')
		n++
	}
	line = line[n:]
	if seq == 0 || seq >= maxSeq || len(line) <= len(between)+len(timeLayout) || string(line[:len(between)]) != between {
		return 0, nil, false
	}
	line = line[len(between):]
	stamp = line[:len(timeLayout)]
	if line[len(timeLayout)] != '"' || stamp[10] != 'T' || stamp[19] != '.' || stamp[23] != 'Z' {
		return 0, nil, false
	}
	return seq, stamp, true
}

// lineSeq returns the seq of any valid line.
func lineSeq(line []byte) (seq uint64, ok bool) {
	if seq, _, ok := lineHead(line); ok {
		return seq, true
	}
	if bytes.IndexByte(line, '{') < 0 { // a torn or zeroed piece
		return 0, false
	}
	rec, ok := parseLine(string(line))
	return rec.Seq, ok && 0 < rec.Seq && rec.Seq < maxSeq
}

// parseLine reads one record. Its texts are parts of line where they can be.
func parseLine(line string) (rec Record, ok bool) {
	p := parser{text: line, ok: utf8.ValidString(line)}
	p.object(&rec)
	return rec, p.ok
}

// parser reads a flat JSON object. Its methods read at i; the first fault clears
// ok and moves i to the end, so that whoever calls them can go on.
type parser struct {
	text   string
	i      int
	ok     bool
	counts []int64 // the record's token counts, allocated together
}

func (p *parser) fail() {
	p.ok = false
	p.i = len(p.text)
}

// peek moves to the next byte that is no space, and returns it, or 0 at the end.
func (p *parser) peek() byte {
	for ; p.i < len(p.text); p.i++ {
		switch c := p.text[p.i]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

func (p *parser) expect(c byte) {
	if p.peek() != c {
		p.fail()
		return
	}
	p.i++
}

func (p *parser) object(r *Record) {
	p.members(func(name string) { p.member(r, name) })
	if p.peek(); p.i < len(p.text) {
		p.fail()
	}
}

// members reads an object; value reads the value of each name.
func (p *parser) members(value func(name string)) {
	p.expect('{')
	for more := p.peek() != '}'; more && p.ok; {
		name := p.str()
		p.expect(':')
		if p.peek() == 'n' {
			p.word("null")
		} else {
			value(name)
		}
		if more = p.peek() == ','; more {
			p.i++
		}
	}
	p.expect('}')
}

func (p *parser) member(r *Record, name string) {
	switch name {
	case "seq":
		r.Seq = p.uint()
	case "time":
		r.Time = p.time()
	case "id":
		r.ID = p.str()
	case "key":
		r.Key = p.str()
	case "method":
		r.Method = p.str()
	case "path":
		r.Path = p.str()
	case "endpoint":
		r.Endpoint = p.str()
	case "model":
		r.Model = p.str()
	case "upstream_model":
		r.UpstreamModel = p.str()
	case "provider":
		r.Provider = p.str()
	case "status":
		r.Status = int(p.int(math.MaxInt32))
	case "count":
		r.Count = int(p.int(math.MaxInt32))
	case "stream":
		if r.Stream = p.peek() == 't'; r.Stream {
			p.word("true")
		} else {
			p.word("false")
		}
	case "duration_ms":
		r.Duration = p.millis()
	case "ttft_ms":
		r.TTFT = p.millis()
	case "input_tokens":
		r.InputTokens = p.count()
	case "output_tokens":
		r.OutputTokens = p.count()
	case "cache_read_tokens":
		r.CacheReadTokens = p.count()
	case "cache_write_tokens":
		r.CacheWriteTokens = p.count()
	case "cache_write_1h_tokens":
		r.CacheWrite1h = p.count()
	case "reasoning_tokens":
		r.ReasoningTokens = p.count()
	case "finish_reason":
		r.FinishReason = p.str()
	case "attempts":
		r.Attempts = int(p.int(math.MaxInt32))
	case "tried":
		p.list(func() { r.Tried = append(r.Tried, p.try()) })
	case "error_type":
		r.ErrorType = p.str()
	case "error":
		r.Error = p.str()
	case "dropped":
		p.list(func() { r.Dropped = append(r.Dropped, p.str()) })
	case "request_bytes":
		r.RequestBytes = p.int(math.MaxInt64)
	case "response_bytes":
		r.ResponseBytes = p.int(math.MaxInt64)
	case "client":
		r.Client = p.str()
	case "remote":
		r.Remote = p.str()
	case "upstream_id":
		r.UpstreamID = p.str()
	case "session":
		r.Session = p.str()
	case "trace_id":
		r.TraceID = p.str()
	case "instance":
		r.Instance = p.str()
	default:
		p.skip()
	}
}

func (p *parser) word(w string) {
	if !strings.HasPrefix(p.text[p.i:], w) {
		p.fail()
		return
	}
	p.i += len(w)
}

func (p *parser) str() string {
	p.expect('"')
	from := p.i
	for ; p.i < len(p.text); p.i++ {
		switch c := p.text[p.i]; {
		case c == '"':
			p.i++
			return p.text[from : p.i-1]
		case c == '\\':
			return p.escapedStr(from)
		case c < ' ':
			p.fail()
			return ""
		}
	}
	p.fail()
	return ""
}

// escapedStr reads on at the first backslash of a text that begins at from.
func (p *parser) escapedStr(from int) (s string) {
	for ; p.i < len(p.text) && p.text[p.i] != '"'; p.i++ {
		if p.text[p.i] == '\\' {
			p.i++
		}
	}
	if p.i >= len(p.text) || json.Unmarshal([]byte(p.text[from-1:p.i+1]), &s) != nil {
		p.fail()
		return ""
	}
	p.i++
	return s
}

func (p *parser) try() (t Try) {
	p.members(func(name string) {
		switch name {
		case "provider":
			t.Provider = p.str()
		case "model":
			t.Model = p.str()
		case "status":
			t.Status = int(p.int(math.MaxInt32))
		case "error_type":
			t.ErrorType = p.str()
		case "ms":
			t.Duration = p.millis()
		default:
			p.skip()
		}
	})
	return t
}

// list reads an array; element reads each element of it.
func (p *parser) list(element func()) {
	p.expect('[')
	for more := p.peek() != ']'; more && p.ok; {
		element()
		if more = p.peek() == ','; more {
			p.i++
		}
	}
	p.expect(']')
}

// number returns the text of a JSON number; strconv, which takes more than JSON
// does, judges the rest.
func (p *parser) number() string {
	p.peek()
	from := p.i
	for ; p.i < len(p.text); p.i++ {
		if c := p.text[p.i]; (c < '0' || c > '9') && c != '-' && c != '.' && c != '+' && c != 'e' && c != 'E' {
			break
		}
	}
	num := p.text[from:p.i]
	digits := strings.TrimPrefix(num, "-")
	_, fraction, hasFraction := strings.Cut(num, ".")
	if digits == "" || digits[0] < '0' || digits[0] > '9' ||
		len(digits) > 1 && digits[0] == '0' && '0' <= digits[1] && digits[1] <= '9' ||
		hasFraction && (fraction == "" || fraction[0] < '0' || fraction[0] > '9') {
		p.fail()
	}
	return num
}

func (p *parser) uint() uint64 {
	n, err := strconv.ParseUint(p.number(), 10, 64)
	if err != nil {
		p.fail()
	}
	return n
}

// int reads a whole number of at most limit.
func (p *parser) int(limit int64) int64 {
	n, err := strconv.ParseInt(p.number(), 10, 64)
	if err != nil || n > limit {
		p.fail()
	}
	return n
}

func (p *parser) count() *int64 {
	n := p.int(math.MaxInt64)
	if len(p.counts) == cap(p.counts) {
		p.counts = make([]int64, 0, 6)
	}
	p.counts = append(p.counts, n)
	return &p.counts[len(p.counts)-1]
}

// millis reads a time in milliseconds, to the microsecond.
func (p *parser) millis() time.Duration {
	ms, err := strconv.ParseFloat(p.number(), 64)
	if err != nil || ms < 0 || ms > math.MaxInt64/1e6 {
		p.fail()
		return 0
	}
	return time.Duration(math.Round(ms*1e3)) * time.Microsecond
}

func (p *parser) time() time.Time {
	t, err := time.Parse(time.RFC3339, p.str())
	if err != nil {
		p.fail()
	}
	return t.UTC()
}

// skip passes over the value of a name that is not ours.
func (p *parser) skip() {
	d := json.NewDecoder(strings.NewReader(p.text[p.i:]))
	var value json.RawMessage
	if d.Decode(&value) != nil {
		p.fail()
		return
	}
	p.i += int(d.InputOffset())
}
