package dialect

import "io"

// maxHeld is how many bytes of an unfinished event a Stripper holds. A larger event is never the usage event.
const maxHeld = 16 << 10

// A Stripper takes out of a stream the one event that an added stream_options.include_usage causes: its choices are
// empty (or null), its usage is not null. All other bytes pass unchanged, those of an event when it is complete. The
// output is the same however the input is split. It is for one stream and one goroutine.
type Stripper struct {
	sniffer *Sniffer
	w       io.Writer
	held    []byte // bytes of the unfinished event that have not passed
	size    int    // bytes of the unfinished event so far
	found   bool   // the usage event has been taken out
	newline bool   // it ended in '\r': a '\n' that comes next is its last byte
}

// NewStripper passes what is written to w, except the usage event. It feeds s, which must be new.
func NewStripper(s *Sniffer, w io.Writer) *Stripper { return &Stripper{sniffer: s, w: w} }

// Write takes the next bytes of the stream. n counts the bytes of p that were taken, held ones included. The error
// is w's; no more is to be written after one.
func (t *Stripper) Write(p []byte) (n int, err error) {
	if t.found || !t.sniffer.sse {
		return t.pass(p)
	}
	ready := 0 // p[:ready] is to pass: it ends between events, or inside an event that is too large to hold
	for at := 0; at < len(p); {
		taken, token := t.sniffer.step(p[at:])
		at += taken
		t.size += taken
		switch {
		case token == sseEvent && t.sniffer.usageOnly && t.size <= maxHeld:
			t.found, t.newline = true, t.sniffer.framer.afterCR
			if n, err = t.release(p[:ready]); err != nil {
				return n, err
			}
			t.held = nil
			n, err = t.pass(p[at:])
			return at + n, err
		case t.sniffer.AtBoundary():
			ready, t.size = at, 0
		case t.size > maxHeld:
			ready = at
		}
	}
	if n, err = t.release(p[:ready]); err != nil {
		return n, err
	}
	t.held = append(t.held, p[ready:]...)
	return len(p), nil
}

// Close passes what is held, an event that the stream's end has cut. It does not close w.
func (t *Stripper) Close() error {
	if len(t.held) == 0 {
		return nil
	}
	_, err := t.w.Write(t.held)
	t.held = nil
	return err
}

// release passes what is held and p after it. An empty p ends nothing that is held, so that nothing passes.
func (t *Stripper) release(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(t.held) > 0 {
		if _, err = t.w.Write(t.held); err != nil {
			return 0, err
		}
		t.held = t.held[:0]
	}
	return t.w.Write(p)
}

// pass passes p whole, but for the last byte of the usage event.
func (t *Stripper) pass(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	t.sniffer.Write(p)
	skip := 0
	if t.newline && p[0] == '\n' {
		skip = 1
	}
	t.newline = false
	if skip == len(p) {
		return skip, nil
	}
	n, err = t.w.Write(p[skip:])
	return skip + n, err
}
