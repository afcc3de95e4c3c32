package http1

import (
	"cmp"
	"sync"
	"time"
)

// This file keeps idle connections and decides which of them may be used again.

const (
	// settle is how long a connection rests before it is used again: what a server sends behind its reply shows
	// within that time. It costs a busy client a few more connections. The first connections of a server rest for
	// as long as probation, until that many were found silent.
	settle      = time.Millisecond
	probation   = 20 * time.Millisecond
	firstSilent = 16
	// distrust is how long a server that sent what nobody asked for gets a new connection for each request.
	distrust = time.Minute
)

// pool is a stack of idle connections. One timer watches all of them, while there are any.
type pool struct {
	mu        sync.Mutex
	idle      []*conn // the longest idle first
	timer     *time.Timer
	watched   bool      // the timer runs
	closed    bool      // by clear, until the next take
	silent    int       // connections on which nothing came while they rested, as far as firstSilent
	untrusted time.Time // until then nothing is kept
}

// idle returns the connection last used on which nothing has come since its reply, nil if there is none. Nothing: no
// byte is unread in our buffer, in TLS records read ahead, or at the socket; a byte there may be the reply to
// another client's request.
func (t *Transport) idle() *conn {
	for {
		c := t.pool.take(time.Now(), cmp.Or(t.IdleTimeout, defaultIdleTimeout))
		if c == nil {
			return nil
		}
		switch c.listen() {
		case silent:
			t.pool.trust()
			return c
		case stray:
			t.pool.distrust(time.Now())
		}
		c.close()
	}
}

// keep takes a connection whose reply has been read to its end, or closes it.
func (t *Transport) keep(c *conn) {
	if !t.pool.put(c, time.Now(), cmp.Or(t.MaxIdle, defaultMaxIdle), cmp.Or(t.IdleTimeout, defaultIdleTimeout)) {
		c.close()
	}
}

func (p *pool) put(c *conn, now time.Time, limit int, lifetime time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.raw == nil || p.closed || len(p.idle) >= limit || now.Before(p.untrusted) {
		return false
	}
	c.idleSince, c.reused = now, true
	p.idle = append(p.idle, c)
	if !p.watched {
		p.watched = true
		p.watch(lifetime, lifetime)
	}
	return true
}

// take removes the connection that was put last, among those that have settled and are not out of time.
func (p *pool) take(now time.Time, lifetime time.Duration) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = false
	settled := settle
	if p.silent < firstSilent {
		settled = probation
	}
	for i := len(p.idle) - 1; i >= 0; i-- {
		switch rest := now.Sub(p.idle[i].idleSince); {
		case rest < settled:
			continue
		case rest > lifetime: // and so are all before it; the timer is about to close them
			return nil
		}
		c := p.idle[i]
		copy(p.idle[i:], p.idle[i+1:])
		p.shorten(len(p.idle) - 1)
		return c
	}
	return nil
}

func (p *pool) shorten(n int) {
	clear(p.idle[n:])
	p.idle = p.idle[:n]
}

// watch sets the timer, which runs as long as there are idle connections.
func (p *pool) watch(next, lifetime time.Duration) {
	if p.timer != nil {
		p.timer.Reset(next)
		return
	}
	p.timer = time.AfterFunc(next, func() { p.expire(lifetime) })
}

func (p *pool) expire(lifetime time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, old := time.Now(), 0
	for old < len(p.idle) && now.Sub(p.idle[old].idleSince) >= lifetime {
		p.idle[old].close()
		old++
	}
	p.shorten(copy(p.idle, p.idle[old:]))
	if p.watched = len(p.idle) > 0; p.watched {
		p.watch(lifetime-now.Sub(p.idle[0].idleSince), lifetime)
	}
}

func (p *pool) trust() {
	p.mu.Lock()
	p.silent = min(p.silent+1, firstSilent)
	p.mu.Unlock()
}

func (p *pool) distrust(now time.Time) {
	p.mu.Lock()
	p.untrusted, p.silent = now.Add(distrust), 0
	p.mu.Unlock()
	p.clear()
}

func (p *pool) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		c.close()
	}
	p.shorten(0)
}
