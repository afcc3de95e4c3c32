package upstream

import (
	"context"
	"errors"
	"sync"
	"time"
)

// deadline ends a call whose client has left or whose provider is too slow. It moves from phase to phase, and with each
// chunk of a reply, by setting a time; its one timer goes on, and when it fires too early waits for the rest.
type deadline struct {
	provider string
	timeouts Timeouts
	client   context.Context
	ctx      context.Context // of the call
	cancel   context.CancelCauseFunc
	start    time.Time

	mu    sync.Mutex
	at    time.Time // when the call ends; zero: never
	name  string    // of the limit that this is
	limit time.Duration
	timer *time.Timer
	fires time.Time // when the timer does; zero: it does not
}

func newDeadline(client context.Context, provider string, t Timeouts) *deadline {
	d := &deadline{provider: provider, timeouts: t, client: client, start: time.Now()}
	d.ctx, d.cancel = context.WithCancelCause(client)
	return d
}

// ended tells what has ended the call before its time: a limit, the client or the gateway. nil: nothing has.
func (d *deadline) ended() *Error {
	var limit *Error
	if errors.As(context.Cause(d.ctx), &limit) {
		return limit
	}
	if d.client.Err() != nil {
		return clientEnd(d.client)
	}
	return nil
}

// by sets the present limit: the call must come on by limit after from, and in
// any case end by the total. A limit of zero is none.
func (d *deadline) by(name string, from time.Time, limit time.Duration) {
	at := from.Add(limit)
	if limit == 0 {
		at = time.Time{}
	}
	if total := d.timeouts.Total; total > 0 && (limit == 0 || d.start.Add(total).Before(at)) {
		name, limit, at = "total", total, d.start.Add(total)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.name, d.limit, d.at = name, limit, at
	if !at.IsZero() && (d.fires.IsZero() || at.Before(d.fires)) {
		d.wait()
	}
}

// wait has the timer fire at the end of the call.
func (d *deadline) wait() {
	d.fires = d.at
	if d.timer == nil {
		d.timer = time.AfterFunc(time.Until(d.at), d.expire)
		return
	}
	d.timer.Reset(time.Until(d.at))
}

// lift takes the present limit away; the total stays.
func (d *deadline) lift() { d.by("idle", d.start, 0) }

func (d *deadline) expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fires = time.Time{}
	switch {
	case d.at.IsZero():
	case time.Now().Before(d.at): // it has moved on
		d.wait()
	default:
		d.cancel(errTimeout(d.provider, d.name, d.limit))
	}
}

// stop ends the watch, and the call if it still runs.
func (d *deadline) stop() {
	d.cancel(nil)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = time.Time{}
	if d.timer != nil {
		d.timer.Stop()
	}
}
