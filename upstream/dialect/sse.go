package dialect

import "bytes"

// An sseFramer splits a text/event-stream (WHATWG HTML, "Server-sent events") that comes in pieces of any size.
// It buffers nothing. The zero value stands at a stream's start.
type sseFramer struct {
	mark    uint8    // bytes of the byte order mark seen so far; markDone: past the place where it can stand
	afterCR bool     // the last byte was a '\r' that ended a line: a '\n' now belongs to it
	field   sseField // of the line under way
	space   bool     // the one space that may follow the colon can come next
	inLine  bool     // some of the line has been seen
	inEvent bool     // a line of the event other than a comment has ended
	hasData bool     // the event has a data line
	name    shortText
	event   shortText // value of the event line; stands until the next event's first line
}

type sseField uint8

const (
	fieldUnknown sseField = iota // the name is not complete
	fieldComment
	fieldData
	fieldEvent
	fieldOther
)

// An sseToken is what the bytes that next took were.
type sseToken uint8

const (
	sseNone     sseToken = iota // nothing to read
	sseData                     // part of an event's data
	sseDataLine                 // the start of a further data line: a newline in the event's data
	sseEvent                    // the end of an event that has data
)

const (
	byteOrderMark = "\xEF\xBB\xBF"
	markDone      = uint8(len(byteOrderMark))
)

// atBoundary reports whether the stream stands between two events.
func (f *sseFramer) atBoundary() bool {
	return !f.inEvent && !f.inLine && (f.mark == 0 || f.mark == markDone)
}

// next takes n bytes of p, at least one, and says what they were; data is the part of them that sseData tells of.
// p must not be empty.
func (f *sseFramer) next(p []byte) (n int, token sseToken, data []byte) {
	if f.afterCR {
		f.afterCR = false
		if p[0] == '\n' {
			return 1, sseNone, nil
		}
	}
	if f.mark < markDone && !f.inLine {
		if p[0] == byteOrderMark[f.mark] {
			f.mark++
			return 1, sseNone, nil
		}
		if f.mark > 0 { // not a mark after all, but the start of some name
			f.inLine = true
			f.name.set([]byte(byteOrderMark[:f.mark]))
		}
		f.mark = markDone
	}
	end := lineEnd(p)
	if end == 0 {
		f.afterCR = p[0] == '\r'
		return f.endLine()
	}
	f.inLine = true
	if f.field == fieldUnknown {
		return f.readName(p[:end])
	}
	return f.readValue(p[:end])
}

// readName takes the name of the line's field up to the colon, or as much as there is.
func (f *sseFramer) readName(line []byte) (int, sseToken, []byte) {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		f.name.add(line)
		return len(line), sseNone, nil
	}
	f.name.add(line[:colon])
	return colon + 1, f.beginField(), nil
}

// beginField settles the field by its name.
func (f *sseFramer) beginField() sseToken {
	f.space = true
	if !f.inEvent {
		f.event.n = 0
	}
	switch string(f.name.bytes()) {
	case "":
		f.field = fieldComment
	case "data":
		f.field = fieldData
		if f.hasData {
			return sseDataLine
		}
		f.hasData = true
	case "event":
		f.field = fieldEvent
		f.event.n = 0
	default:
		f.field = fieldOther
	}
	return sseNone
}

func (f *sseFramer) readValue(value []byte) (int, sseToken, []byte) {
	n := len(value)
	if f.space && value[0] == ' ' {
		value = value[1:]
	}
	f.space = false
	switch f.field {
	case fieldData:
		return n, sseData, value
	case fieldEvent:
		f.event.add(value)
	}
	return n, sseNone, nil
}

// endLine takes the one byte that ends a line. A line without a colon is a name with an empty value.
func (f *sseFramer) endLine() (int, sseToken, []byte) {
	if !f.inLine {
		token := sseNone
		if f.hasData {
			token = sseEvent
		}
		f.inEvent, f.hasData = false, false
		return 1, token, nil
	}
	token := sseNone
	if f.field == fieldUnknown {
		token = f.beginField()
	}
	f.inEvent = f.inEvent || f.field != fieldComment
	f.inLine, f.field, f.name.n = false, fieldUnknown, 0
	return 1, token, nil
}

// lineEnd finds the first '\n' or '\r' of p; len(p) if there is none. It looks at a window at a time, so that a
// stream without any '\n' is not searched to its end for each line.
func lineEnd(p []byte) int {
	const window = 1024
	for at := 0; at < len(p); at += window {
		w := p[at:min(at+window, len(p))]
		n := bytes.IndexByte(w, '\n')
		if n >= 0 {
			w = w[:n]
		}
		if r := bytes.IndexByte(w, '\r'); r >= 0 {
			return at + r
		}
		if n >= 0 {
			return at + n
		}
	}
	return len(p)
}
