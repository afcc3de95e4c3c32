package http1

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// This file is a connection with its read buffer, which it has only while there is something in it or a head is
// awaited.

const readSize = 4 << 10 // of a read buffer; a longer head gets a larger one, which is not kept

var readBuffers = sync.Pool{New: func() any { return new([readSize]byte) }}

type conn struct {
	net.Conn                       // TLS, or the socket
	socket    net.Conn             // below TLS
	raw       syscall.RawConn      // of the socket; nil: what lies unread there can't be known
	peek      *peeker              // looks at raw
	state     *tls.ConnectionState // nil: no TLS
	end       *endNoting           // nil: unknown
	closeFunc func()               // close, made once

	buf    []byte // buf[r:w] is unread
	r, w   int
	pooled *[readSize]byte // buf's memory, if it is of the pool

	reused    bool
	written   atomic.Int64 // bytes of the request under way
	idleSince time.Time
}

func newConn(nc net.Conn) *conn {
	c := &conn{Conn: nc, socket: nc}
	c.closeFunc = c.close
	if secure, ok := nc.(*tls.Conn); ok {
		state := secure.ConnectionState()
		c.state = &state
	}
	for {
		layer, ok := c.socket.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c.socket = layer.NetConn()
		if c.end == nil {
			c.end, _ = c.socket.(*endNoting)
		}
	}
	if s, ok := c.socket.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			c.raw, c.peek = raw, newPeeker(raw)
		}
	}
	return c
}

// close closes the socket. TLS is not asked to, because its closing alert may wait for a peer that does not read.
func (c *conn) close() { c.socket.Close() }

// sound is what was heard on an idle connection.
type sound uint8

const (
	silent sound = iota
	ended        // or unknown: the connection can't be used
	stray        // something came that nobody has asked for
)

// listen tells what has come since the last reply.
func (c *conn) listen() sound {
	if c.Conn != c.socket { // TLS may have read more than it has passed on
		c.SetReadDeadline(longAgo)
		n, err := c.Conn.Read(c.peek.seen[:1])
		c.SetReadDeadline(time.Time{})
		switch {
		case n > 0:
			return stray
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return ended
		}
	}
	n, err := c.peek.look()
	switch {
	case err == errNothing:
		return silent
	case err != nil || n == 0:
		return ended
	case c.Conn != c.socket, isTimeoutNotice(c.peek.seen[:n]):
		return ended // of TLS it may be the closing alert
	}
	return stray
}

// longAgo is a deadline that lets nothing wait.
var longAgo = time.Unix(1, 0)

// errNothing: there is nothing to read now.
var errNothing = errors.New("http1: nothing to read")

// isTimeoutNotice tells of the beginning of unread bytes whether they are the reply with which some servers
// (HAProxy, AWS' load balancers) take leave of an idle connection.
func isTimeoutNotice(b []byte) bool {
	return bytes.HasPrefix(b, []byte("HTTP/1.1 408")) || bytes.HasPrefix(b, []byte("HTTP/1.0 408"))
}

// endNoting is a connection below TLS.
type endNoting struct {
	net.Conn
	ended bool // the peer has closed its side, before TLS reported an end by itself
}

func (e *endNoting) Read(p []byte) (int, error) {
	n, err := e.Conn.Read(p)
	if err == io.EOF {
		e.ended = true
	}
	return n, err
}

// NetConn returns the connection itself.
func (e *endNoting) NetConn() net.Conn { return e.Conn }

// truncated tells of a TLS connection whether its stream ended without TLS' own end.
func (c *conn) truncated() bool { return c.end != nil && c.end.ended }

func (c *conn) unread() []byte { return c.buf[c.r:c.w] }

// fill reads once into the buffer, which becomes larger if it is full.
func (c *conn) fill() error {
	switch {
	case c.buf == nil:
		c.pooled = readBuffers.Get().(*[readSize]byte)
		c.buf, c.r, c.w = c.pooled[:], 0, 0
	case c.w == len(c.buf):
		larger := make([]byte, 2*len(c.buf))
		n := copy(larger, c.unread())
		c.free()
		c.buf, c.w = larger, n
	}
	n, err := c.Conn.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// skip passes over the next n bytes, and gives the buffer back if they were the last.
func (c *conn) skip(n int) {
	if c.r += n; c.r == c.w {
		c.free()
	}
}

func (c *conn) free() {
	if c.pooled != nil {
		readBuffers.Put(c.pooled)
	}
	c.buf, c.pooled, c.r, c.w = nil, nil, 0, 0
}

// head returns the next head of a reply without the empty line that ends it. It is at most max bytes long.
func (c *conn) head(max int) (string, error) {
	line := 0 // where the line begins that is looked for the end of
	for from := 0; ; {
		unread := c.unread()
		if opening := "HTTP/1."; string(unread[:min(len(unread), len(opening))]) != opening[:min(len(unread), len(opening))] {
			return "", fmt.Errorf("%w: it does not begin like HTTP/1.1", ErrBadReply)
		}
		if i := bytes.IndexByte(unread[from:], '\n'); i >= 0 {
			end := from + i
			if text := unread[line:end]; len(text) == 0 || len(text) == 1 && text[0] == '\r' {
				head := string(unread[:line])
				c.skip(end + 1)
				return head, nil
			}
			line, from = end+1, end+1
			if line <= max {
				continue
			}
		}
		if from = len(unread); from >= max {
			return "", fmt.Errorf("%w: its head is longer than %d bytes", ErrBadReply, max)
		}
		if err := c.fill(); err != nil {
			return "", err
		}
	}
}
