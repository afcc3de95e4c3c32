package upstream

import (
	"context"
	"errors"
	"sync"
	"time"
)

// deadline ends a call whose client has left or whose provider is too slow: one timer, moved from phase to
// phase, which cancels the call's context with the limit that was passed.
type deadline struct {
	provider string
	timeouts Timeouts
	client   context.Context
	ctx      context.Context // of the call
	cancel   context.CancelCauseFunc
	start    time.Time

	mu    sync.Mutex
	timer *time.Timer
	at    time.Time
	name  string
	limit time.Duration
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
	total := d.start.Add(d.timeouts.Total)
	if d.timeouts.Total > 0 && (limit == 0 || total.Before(at)) {
		name, limit, at = "total", d.timeouts.Total, total
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.name, d.limit, d.at = name, limit, at
	switch {
	case limit == 0 && d.timer != nil:
		d.timer.Stop()
	case limit == 0:
	case d.timer == nil:
		d.timer = time.AfterFunc(time.Until(at), d.expire)
	default:
		d.timer.Reset(time.Until(at))
	}
}

// lift takes the present limit away; the total stays.
func (d *deadline) lift() { d.by("idle", time.Now(), 0) }

func (d *deadline) expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Now().Before(d.at) { // moved on in the meantime; the timer is set again
		return
	}
	d.cancel(errTimeout(d.provider, d.name, d.limit))
}

// stop ends the watch, and the call if it still runs.
func (d *deadline) stop() {
	d.cancel(nil)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
}
