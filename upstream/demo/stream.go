// Streams: a reply is written down first as a script of events and pauses, and
// the body plays it as it is read.

package demo

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// script is a streamed reply before it is sent.
type script struct {
	events bytes.Buffer
	beats  []beat
	ends   []int // where each event that carries a token ends
	pace   pace
}

// pace is how long a model takes for its tokens.
type pace struct {
	first, word time.Duration // before the first token, and before each other
}

// total is how long it takes for a reply of so many tokens.
func (p pace) total(words int) time.Duration {
	return p.first + time.Duration(max(0, words-1))*p.word
}

// beat is a pause before the byte at start.
type beat struct {
	start int
	pause time.Duration
}

// event adds an event that follows the one before at once: v as JSON, or as it
// is if it is a string. The events of OpenAI's completions have no name.
func (s *script) event(name string, v any) {
	if name != "" {
		s.events.WriteString("event: " + name + "\n")
	}
	s.events.WriteString("data: ")
	if text, ok := v.(string); ok {
		s.events.WriteString(text)
	} else {
		s.events.Write(encode(v))
	}
	s.events.WriteString("\n\n")
}

// token adds an event that carries a token, after a pause.
func (s *script) token(name string, v any) {
	pause := s.pace.word
	if len(s.ends) == 0 {
		pause = s.pace.first
	}
	if pause > 0 {
		s.beats = append(s.beats, beat{s.events.Len(), pause})
	}
	s.event(name, v)
	s.ends = append(s.ends, s.events.Len())
}

// half gives the events up to the middle of the tokens; none without tokens.
func (s *script) half() []byte {
	if len(s.ends) == 0 {
		return nil
	}
	return s.events.Bytes()[:s.ends[(len(s.ends)-1)/2]]
}

// body is the body of a reply. Its Read waits until the next bytes are due,
// and returns as soon as they are; between reads nothing runs.
type body struct {
	ctx    context.Context
	data   []byte // what is still to be read
	read   int    // what was read
	beats  []beat // those still to be waited for
	due    time.Time
	end    error // what follows the data
	closed chan struct{}
	close  func()
}

// newBody gives a body of data with the pauses of beats; end, such as io.EOF,
// follows the last byte.
func newBody(ctx context.Context, data []byte, beats []beat, end error) io.ReadCloser {
	closed := make(chan struct{})
	return &body{ctx: ctx, data: data, beats: beats, due: time.Now(), end: end,
		closed: closed, close: sync.OnceFunc(func() { close(closed) })}
}

func (b *body) Read(p []byte) (int, error) {
	select {
	case <-b.closed:
		return 0, http.ErrBodyReadAfterClose
	case <-b.ctx.Done():
		return 0, context.Cause(b.ctx)
	default:
	}
	if len(b.data) == 0 {
		return 0, b.end
	}
	if len(b.beats) > 0 && b.beats[0].start == b.read {
		// Counted from when the last event was due, a slow reader does not
		// slow the provider down.
		b.due = b.due.Add(b.beats[0].pause)
		b.beats = b.beats[1:]
		if err := wait(b.ctx, b.closed, time.Until(b.due)); err != nil {
			return 0, err
		}
	}
	ready := b.data
	if len(b.beats) > 0 {
		ready = ready[:min(len(ready), b.beats[0].start-b.read)]
	}
	n := copy(p, ready)
	b.data = b.data[n:]
	b.read += n
	return n, nil
}

// Close ends a Read that waits.
func (b *body) Close() error {
	b.close()
	return nil
}

// wait lets d pass. It fails with ctx's cause when that is done first, and when
// closed, which may be nil, is.
func wait(ctx context.Context, closed <-chan struct{}, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-closed:
		return http.ErrBodyReadAfterClose
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
