package logs

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A line of the log, taken apart where it stands. Whoever reads lines sees one spelling
// only, that of AppendJSON: a line that is valid but spelled otherwise, as by an editor
// or a program that sorts members, is decoded and spelled anew.

// maxSeq is more than any seq: JavaScript reads no number beyond it exactly.
const maxSeq = 1 << 53

var newline = []byte{'\n'}

// field is a member of a record, numbered in the order of AppendJSON.
type field int

const (
	seqField field = iota
	timeField
	idField
	keyField
	methodField
	pathField
	endpointField
	modelField
	upstreamModelField
	providerField
	statusField
	countField
	streamField
	durationField
	ttftField
	inputField
	outputField
	cacheReadField
	cacheWriteField
	cacheWrite1hField
	reasoningField
	finishReasonField
	attemptsField
	triedField
	errorTypeField
	errorField
	droppedField
	requestBytesField
	responseBytesField
	clientField
	remoteField
	upstreamIDField
	sessionField
	traceIDField
	instanceField
	fieldCount
)

// members are the beginnings of the members of a line, each with the length of the
// value that may follow it, 0 if none does.
var members = [fieldCount]struct {
	begin  string
	length func(b []byte) int
}{
	{`{"seq":`, wholeLength}, {`,"time":`, textLength}, {`,"id":`, textLength}, {`,"key":`, textLength}, {`,"method":`, textLength},
	{`,"path":`, textLength}, {`,"endpoint":`, textLength}, {`,"model":`, textLength}, {`,"upstream_model":`, textLength},
	{`,"provider":`, textLength}, {`,"status":`, wholeLength}, {`,"count":`, wholeLength}, {`,"stream":`, boolLength},
	{`,"duration_ms":`, millisLength}, {`,"ttft_ms":`, millisLength}, {`,"input_tokens":`, wholeLength}, {`,"output_tokens":`, wholeLength},
	{`,"cache_read_tokens":`, wholeLength}, {`,"cache_write_tokens":`, wholeLength}, {`,"cache_write_1h_tokens":`, wholeLength},
	{`,"reasoning_tokens":`, wholeLength}, {`,"finish_reason":`, textLength}, {`,"attempts":`, wholeLength}, {`,"tried":`, listLength},
	{`,"error_type":`, textLength}, {`,"error":`, textLength}, {`,"dropped":`, listLength}, {`,"request_bytes":`, wholeLength},
	{`,"response_bytes":`, wholeLength}, {`,"client":`, textLength}, {`,"remote":`, textLength}, {`,"upstream_id":`, textLength},
	{`,"session":`, textLength}, {`,"trace_id":`, textLength}, {`,"instance":`, textLength},
}

func (f field) String() string {
	begin := members[f].begin
	return begin[2 : len(begin)-2]
}

// line is a record's line, taken apart. It stays good as long as the bytes that it was
// read from.
type line struct {
	seq    uint64
	text   []byte
	values [fieldCount][]byte // as they stand in text; nil: left out
}

// read takes text apart, a line without its newline. It reports whether text is a
// record, which has a seq and a status.
func (l *line) read(text []byte) bool {
	if l.readOurs(text) {
		return true
	}
	if bytes.IndexByte(text, '{') < 0 { // a torn or zeroed piece
		return false
	}
	var rec Record
	return rec.UnmarshalJSON(text) == nil && rec.Status != 0 && l.readOurs(rec.AppendJSON(nil))
}

// readOurs is read for the spelling of AppendJSON.
func (l *line) readOurs(text []byte) bool {
	l.text = text
	rest := text
	for f := range members {
		m := &members[f]
		l.values[f] = nil
		if len(rest) < len(m.begin) || string(rest[:len(m.begin)]) != m.begin {
			continue
		}
		rest = rest[len(m.begin):]
		n := m.length(rest)
		if n == 0 {
			return false
		}
		l.values[f], rest = rest[:n], rest[n:]
	}
	seq, _, ok := lineHead(text)
	l.seq = seq
	return ok && l.values[statusField] != nil && string(rest) == "}" && utf8.Valid(text)
}

// lineHead returns the seq and the time, as text in timeLayout, of a line as
// AppendJSON writes it. Any other line, even a valid one, is not ok.
func lineHead(text []byte) (seq uint64, stamp []byte, ok bool) {
	rest, ok := bytes.CutPrefix(text, []byte(members[seqField].begin))
	n := wholeLength(rest)
	seq = uint64(number(rest[:n]))
	if !ok || seq == 0 || seq >= maxSeq {
		return 0, nil, false
	}
	rest, ok = bytes.CutPrefix(rest[n:], []byte(members[timeField].begin))
	if !ok || len(rest) < len(timeLayout)+len(`""`) {
		return 0, nil, false
	}
	stamp = rest[1 : 1+len(timeLayout)]
	if rest[0] != '"' || rest[1+len(timeLayout)] != '"' || stamp[10] != 'T' || stamp[19] != '.' || stamp[23] != 'Z' {
		return 0, nil, false
	}
	return seq, stamp, true
}

// lineSeq returns the seq of any valid line.
func lineSeq(text []byte) (seq uint64, ok bool) {
	if seq, _, ok := lineHead(text); ok {
		return seq, true
	}
	var l line
	ok = l.read(text)
	return l.seq, ok
}

// textLength returns the length of the text at the beginning of b, quotes included.
func textLength(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return 0
	}
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			n := escapeLength(b[i:])
			if n == 0 {
				return 0
			}
			i += n - 1
		case c < ' ':
			return 0
		}
	}
	return 0
}

// escapeLength returns the length of one of our escapes.
func escapeLength(b []byte) int {
	if len(b) >= 2 && strings.IndexByte(`"\nrt`, b[1]) >= 0 {
		return 2
	}
	if len(b) >= 6 && b[1] == 'u' {
		if c, err := strconv.ParseUint(string(b[2:6]), 16, 16); err == nil && escaped(rune(c)) {
			return 6
		}
	}
	return 0
}

func digits(b []byte) (n int) {
	for n < len(b) && '0' <= b[n] && b[n] <= '9' {
		n++
	}
	return n
}

// wholeLength is for numbers without a fraction; what does not fit an int64 for sure is
// none.
func wholeLength(b []byte) int {
	sign := 0
	if len(b) > 0 && b[0] == '-' {
		sign = 1
	}
	n := digits(b[sign:])
	if n == 0 || n > 18 || n > 1 && b[sign] == '0' {
		return 0
	}
	return sign + n
}

// millisLength is for milliseconds, to the microsecond.
func millisLength(b []byte) int {
	n := wholeLength(b)
	if n == 0 || b[0] == '-' || n == len(b) || b[n] != '.' {
		return n
	}
	fraction := digits(b[n+1:])
	if fraction == 0 || fraction > 3 {
		return 0
	}
	return n + 1 + fraction
}

func boolLength(b []byte) int {
	switch {
	case bytes.HasPrefix(b, []byte("true")):
		return len("true")
	case bytes.HasPrefix(b, []byte("false")):
		return len("false")
	}
	return 0
}

// listLength is for arrays, which few lines have.
func listLength(b []byte) int {
	d := json.NewDecoder(bytes.NewReader(b))
	var list []any
	if d.Decode(&list) != nil {
		return 0
	}
	return int(d.InputOffset())
}

// stamp returns the time as it stands, in timeLayout.
func (l *line) stamp() []byte {
	value := l.values[timeField]
	return value[1 : len(value)-1]
}

// textOf returns the text of a field, which is not to be changed; it is empty for one
// that was left out.
func (l *line) textOf(f field) []byte {
	return unquoted(l.values[f])
}

func unquoted(quoted []byte) []byte {
	if len(quoted) == 0 {
		return nil
	}
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var text string
	_ = json.Unmarshal(quoted, &text) // it was looked at when it was read
	return []byte(text)
}

// numberOf returns the number of a field that has no fraction, 0 for one that was left
// out.
func (l *line) numberOf(f field) int64 { return number(l.values[f]) }

// microsOf returns a field that is in milliseconds in microseconds.
func (l *line) microsOf(f field) int64 { return micros(l.values[f]) }

// micros returns milliseconds, of which millisLength has told the length, in
// microseconds.
func micros(text []byte) int64 {
	whole, fraction, _ := bytes.Cut(text, []byte("."))
	us := number(whole)
	for i := range 3 {
		us *= 10
		if i < len(fraction) {
			us += int64(fraction[i] - '0')
		}
	}
	return us
}

// number returns a whole number, of which wholeLength has told the length.
func number(text []byte) (n int64) {
	digits, negative := bytes.CutPrefix(text, []byte("-"))
	for _, c := range digits {
		n = 10*n + int64(c-'0')
	}
	if negative {
		return -n
	}
	return n
}

// hasError reports whether the record has an error type.
func (l *line) hasError() bool { return len(l.values[errorTypeField]) > len(`""`) }

// tried returns the attempts before the last.
func (l *line) tried() (list []Try) {
	if l.values[triedField] != nil {
		_ = json.Unmarshal(l.values[triedField], &list) // what is no attempt is passed over
	}
	return list
}

// Fields returns the names of a record's fields, in the order of AppendTexts.
func Fields() []string {
	names := make([]string, fieldCount)
	for f := range names {
		names[f] = field(f).String()
	}
	return names
}

// AppendTexts appends the text of each field of a row's line, for a table; what is
// unknown is empty.
func AppendTexts(dst []string, text []byte) []string {
	var l line
	l.read(text)
	for f, value := range l.values {
		switch {
		case field(f) == droppedField && value != nil:
			var list []string
			_ = json.Unmarshal(value, &list)
			dst = append(dst, strings.Join(list, " "))
		case len(value) > 0 && value[0] == '"':
			dst = append(dst, string(unquoted(value)))
		default:
			dst = append(dst, string(value))
		}
	}
	return dst
}
