package upstream

import (
	"context"
	"sync"
	"time"
)

// limits ends a call whose provider is too slow: one timer, moved from phase to
// phase, which cancels the call's context with the limit that was passed.
type limits struct {
	provider string
	timeouts Timeouts
	cancel   context.CancelCauseFunc
	start    time.Time

	mu       sync.Mutex
	timer    *time.Timer
	deadline time.Time
	name     string
	limit    time.Duration
}

func newLimits(provider string, t Timeouts, cancel context.CancelCauseFunc) *limits {
	return &limits{provider: provider, timeouts: t, cancel: cancel, start: time.Now()}
}

// by sets the present limit: the call must come on by limit after from, and in
// any case end by the total. A limit of zero is none.
func (l *limits) by(name string, from time.Time, limit time.Duration) {
	deadline := from.Add(limit)
	total := l.start.Add(l.timeouts.Total)
	if l.timeouts.Total > 0 && (limit == 0 || total.Before(deadline)) {
		name, limit, deadline = "total", l.timeouts.Total, total
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.name, l.limit, l.deadline = name, limit, deadline
	switch {
	case limit == 0 && l.timer != nil:
		l.timer.Stop()
	case limit == 0:
	case l.timer == nil:
		l.timer = time.AfterFunc(time.Until(deadline), l.expire)
	default:
		l.timer.Reset(time.Until(deadline))
	}
}

func (l *limits) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Now().Before(l.deadline) { // moved on in the meantime; the timer is set again
		return
	}
	l.cancel(errTimeout(l.provider, l.name, l.limit))
}

// stop ends the watch.
func (l *limits) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
}
