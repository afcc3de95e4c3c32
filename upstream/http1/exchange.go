package http1

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// This file is one request with its reply: from the connection that it takes until the connection is given back.

const (
	// smallRead is the length below which a read from a chunked body goes through a buffer.
	smallRead = 512
)

// exchange is the Body of its reply as well.
type exchange struct {
	transport *Transport
	ctx       context.Context
	conn      *conn
	stop      func() bool // stops watching ctx
	outgoing  outgoing
	reply     http.Response

	reading sync.Mutex // a call of Read or Close
	framing framing
	keep    bool  // the connection may be used again
	err     error // what Read returns from now on

	ending sync.Mutex // guards what follows: Close may come while a Read waits
	ended  bool       // the connection is no longer ours
	broken bool       // Close has closed it
}

// connect takes a kept connection or makes one, and has it closed when ctx ends.
func (x *exchange) connect() error {
	if x.ctx.Err() != nil {
		return context.Cause(x.ctx)
	}
	if x.conn = x.transport.idle(); x.conn == nil {
		nc, err := x.transport.Dial(x.ctx)
		if err != nil && x.ctx.Err() != nil {
			return context.Cause(x.ctx)
		}
		if err != nil {
			return err
		}
		x.conn = newConn(nc)
	}
	x.conn.written.Store(0)
	if x.ctx.Done() != nil {
		x.stop = context.AfterFunc(x.ctx, x.conn.closeFunc)
	}
	return nil
}

// receive reads the head of the reply.
func (x *exchange) receive(req *http.Request) error {
	left := cmp.Or(x.transport.MaxHead, defaultMaxHead)
	for interim := 0; ; interim++ {
		head, err := x.conn.head(left)
		if err != nil {
			return err
		}
		if err := parseHead(head, &x.reply); err != nil {
			return err
		}
		if x.reply.StatusCode >= 200 || x.reply.StatusCode == http.StatusSwitchingProtocols {
			break
		}
		if left -= len(head); interim == maxInterim {
			return badReply("too many interim replies")
		}
	}
	var err error
	if x.framing, x.keep, err = frame(&x.reply, req.Method); err != nil {
		return err
	}
	x.keep = x.keep && !x.outgoing.last
	x.reply.Request, x.reply.TLS = req, x.conn.state
	if x.framing.kind == empty {
		x.reply.Body = http.NoBody
		x.finish(io.EOF)
	} else {
		x.reply.Body = x
	}
	return nil
}

// fail ends an exchange without a reply and tells why there is none.
func (x *exchange) fail(err error) error {
	fresh := len(x.conn.unread()) == 0 && x.reply.StatusCode == 0
	x.finish(err)
	stale := x.conn.reused && fresh && x.conn.written.Load() == 0
	if x.ctx.Err() != nil {
		return context.Cause(x.ctx)
	}
	if bodyErr := x.outgoing.bodyFailed.Load(); bodyErr != nil {
		return *bodyErr
	}
	switch {
	case errors.Is(err, ErrBadReply):
		return err
	case stale:
		x.transport.pool.clear() // the others have ended as well, as likely as not; sending again must not meet one
		return fmt.Errorf("%w: %w", ErrStale, err)
	}
	return fmt.Errorf("%w: %w", ErrClosed, err)
}

// finish gives the connection back, or closes it unless the reply is whole. It is called once.
func (x *exchange) finish(err error) {
	x.err = err
	x.ending.Lock()
	x.ended = true
	keep := x.keep && err == io.EOF && !x.broken
	x.ending.Unlock()
	if extra := len(x.conn.unread()) > 0; extra {
		keep = false
		if err == io.EOF {
			x.transport.pool.distrust(time.Now())
		}
	}
	x.conn.free()
	if x.stop != nil && !x.stop() || keep && !x.outgoing.sent() {
		keep = false
	}
	if keep {
		x.transport.keep(x.conn)
		return
	}
	x.conn.close()
	x.outgoing.abandon()
}

// Read reads from the reply's body.
func (x *exchange) Read(p []byte) (n int, err error) {
	x.reading.Lock()
	defer x.reading.Unlock()
	for n == 0 && len(p) > 0 && x.err == nil {
		if n, err = x.next(p); err != nil {
			x.finish(err)
		}
	}
	if x.err != nil && x.err != io.EOF && x.ctx.Err() != nil && !errors.Is(x.err, http.ErrBodyReadAfterClose) {
		x.err = context.Cause(x.ctx)
	}
	return n, x.err
}

// next reads from the connection at most once. Where nothing is in the connection's buffer it reads into p, and takes
// the chunks' framing out there: an idle stream has no buffer, and no byte is read ahead of the caller.
func (x *exchange) next(p []byte) (n int, err error) {
	c := x.conn
	if len(c.unread()) > 0 {
		n, used, err := x.framing.decode(p, c.unread())
		c.skip(used)
		return n, err
	}
	if x.framing.kind == chunked && len(p) < smallRead {
		return 0, x.ends(c.fill())
	}
	if x.framing.kind == counted {
		p = p[:min(uint64(len(p)), x.framing.left)]
	}
	read, failed := c.Conn.Read(p)
	n, used, err := x.framing.decode(p, p[:read])
	if used < read {
		x.keep = false
		if err == io.EOF {
			x.transport.pool.distrust(time.Now())
		}
	}
	if err == nil {
		err = x.ends(failed)
	}
	return n, err
}

// ends tells what the end of the connection means for the body.
func (x *exchange) ends(err error) error {
	if err == io.EOF && (x.framing.kind != untilClose || x.conn.truncated()) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Close ends the reading. A Read that waits returns.
func (x *exchange) Close() error {
	if !x.reading.TryLock() {
		x.breakOff()
		x.reading.Lock()
	}
	defer x.reading.Unlock()
	if x.err == nil && len(x.conn.unread()) > 0 { // the end may be here already
		x.drain()
	}
	if x.err == nil {
		x.finish(http.ErrBodyReadAfterClose)
	}
	x.err = http.ErrBodyReadAfterClose
	return nil
}

// drain drops what is in the buffer.
func (x *exchange) drain() {
	rest := make([]byte, smallRead)
	for x.err == nil && len(x.conn.unread()) > 0 {
		if _, err := x.next(rest); err != nil {
			x.finish(err)
		}
	}
}

// breakOff closes the connection, if it is still ours.
func (x *exchange) breakOff() {
	x.ending.Lock()
	defer x.ending.Unlock()
	if !x.ended {
		x.broken = true
		x.conn.close()
	}
}
