// Streams: a reply is written down first as a script of steps, and the body plays it as it is read.

package demo

import (
	"context"
	"io"
	"net/http"
	"time"
)

// script is a streamed reply before it is sent. With a pace of pauses the first step holds what comes before the first
// token, and each other a token.
type script struct {
	pace  pace
	steps []step
}

// step is what a body sends at once, after a pause.
type step struct {
	pause time.Duration
	data  []byte
}

// pace is how long a model takes for its tokens.
type pace struct {
	first, word time.Duration // before the first token, and before each other
}

// total is how long it takes for a reply of so many tokens.
func (p pace) total(words int) time.Duration {
	return p.first + time.Duration(max(0, words-1))*p.word
}

// event adds an event that follows the one before at once. The events of chat completions have no name.
func (s *script) event(name string, data []byte) {
	if len(s.steps) == 0 {
		s.steps = []step{{}}
	}
	if name != "" {
		name = "event: " + name + "\n"
	}
	last := &s.steps[len(s.steps)-1]
	last.data = append(last.data, name+"data: "...)
	last.data = append(last.data, data...)
	last.data = append(last.data, "\n\n"...)
}

// token adds an event that carries a token, after a pause.
func (s *script) token(name string, data []byte) {
	pause := s.pace.word
	if len(s.steps) == 1 {
		pause = s.pace.first
	}
	if pause > 0 {
		s.steps = append(s.steps, step{pause: pause})
	}
	s.event(name, data)
}

// half returns the steps of half of the tokens, or half of the only step.
func half(steps []step) []step {
	if len(steps) > 1 {
		return steps[:(len(steps)+1)/2]
	}
	data := steps[0].data
	return []step{{data: data[:len(data)/2]}}
}

// body is the body of a reply. Its Read waits until the next step is due; between reads nothing runs.
type body struct {
	ctx   context.Context
	close context.CancelCauseFunc
	data  []byte // what is still to be read of the step that has come
	steps []step // those still to come
	due   time.Time
	end   error // what follows the last step
}

// newBody returns a body of steps; end, such as io.EOF, follows the last.
func newBody(ctx context.Context, end error, steps ...step) io.ReadCloser {
	ctx, cancel := context.WithCancelCause(ctx)
	return &body{ctx: ctx, close: cancel, steps: steps, due: time.Now(), end: end}
}

func (b *body) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, context.Cause(b.ctx)
	}
	if len(b.data) == 0 {
		if len(b.steps) == 0 {
			return 0, b.end
		}
		next := b.steps[0]
		b.steps = b.steps[1:]
		// Counted from when the last step was due, a slow reader does not slow the provider down.
		b.due = b.due.Add(next.pause)
		if err := wait(b.ctx, time.Until(b.due)); err != nil {
			return 0, err
		}
		b.data = next.data
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, nil
}

// Close ends a Read that waits.
func (b *body) Close() error {
	b.close(http.ErrBodyReadAfterClose)
	return nil
}

// wait lets d pass. It fails with ctx's cause when that is done first.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
