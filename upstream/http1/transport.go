// Package http1 is an HTTP/1.1 client (RFC 9110, RFC 9112) for one server, behind [http.RoundTripper].
//
// A call runs on its caller's goroutine: it takes a connection, sends head and body with one system call where it can,
// and reads the reply's head. The body is read from the connection straight into the caller's memory. Only a request
// body that may fill the socket's buffer, or is not in memory, has a goroutine that sends it.
//
// A connection with one unread byte, or in any doubt, is never used again: see [Transport.idle].
//
// What net/http's client does and this one does not: it follows no proxy and makes no connections of its own, repeats
// nothing, adds no User-Agent and no Accept-Encoding, unpacks nothing, drops trailers, and knows neither Expect nor
// upgrades.
package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"
)

// What goes wrong, for errors.Is. Other errors are those of Dial, of the request's Body, of the connection while a
// reply's body is read, and the cause of the request's context.
var (
	// ErrStale: a kept connection had ended before a byte of the request was sent. Sending it again repeats nothing.
	ErrStale = errors.New("http1: the kept connection has ended")
	// ErrClosed: the connection ended before the head of a reply was complete.
	ErrClosed = errors.New("http1: the connection ended without a reply")
	// ErrBadReply: what came is not HTTP/1.1, or its head is too large. The text quotes nothing of it.
	ErrBadReply = errors.New("http1: the reply is not valid HTTP")
	// ErrBadRequest: the request can't be sent as HTTP/1.1. Nothing of it was.
	ErrBadRequest = errors.New("http1: the request is not valid HTTP")
	// ErrShortBody: the request's Body ended before its ContentLength.
	ErrShortBody = errors.New("http1: the request's body is shorter than its ContentLength")
)

// Limits where a Transport sets none.
const (
	defaultMaxIdle     = 512
	defaultIdleTimeout = 90 * time.Second
	defaultMaxHead     = 256 << 10
)

// Transport is the client of one server. Its fields are not changed after first use; it is safe for concurrent use.
type Transport struct {
	// Dial returns a connection on which HTTP/1.1 is spoken. A TLS connection has shaken hands. Its error is passed on.
	// A connection is used again only if it, or what its NetConn method leads to, is a [syscall.Conn].
	Dial func(ctx context.Context) (net.Conn, error)

	MaxIdle     int           // connections kept for reuse; 0: 512
	IdleTimeout time.Duration // how long they are kept; 0: 90 s
	MaxHead     int           // bytes of a reply's head with all interim replies before it; 0: 256 KiB

	// Absolute sends the request's target in the absolute form, for a proxy (RFC 9112 §3.2.2).
	// ProxyAuthorization is the value of that header field for it; empty: none is sent.
	Absolute           bool
	ProxyAuthorization string

	pool pool
}

// Buffers is what a request's Body may implement to be sent without a copy: it returns all of the body, unread.
// The slices are not changed, and not used after Close.
type Buffers interface{ Buffers() net.Buffers }

// RoundTrip sends a request and returns its reply once the head is complete. The request's Body is closed exactly once,
// perhaps after RoundTrip has returned, and never while its memory is in use. A ContentLength of 0 with a Body
// other than [http.NoBody] is unknown. URL.Scheme and URL.Host do not choose a server: Dial does.
//
// When the request's context ends, the connection is closed and the context's cause returned, until the reply's body
// has come to its end. The reply's Body must be closed; closing it before its end closes the connection.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	x := &exchange{transport: t, ctx: req.Context()}
	if err := x.outgoing.prepare(t, req); err != nil {
		x.outgoing.release()
		return nil, err
	}
	if err := x.connect(); err != nil {
		x.outgoing.release()
		return nil, err
	}
	x.outgoing.send(x.conn)
	if err := x.receive(req); err != nil {
		return nil, x.fail(err)
	}
	return &x.reply, nil
}

// CloseIdleConnections closes the connections that are kept, and those in use once they are idle, until the next call.
func (t *Transport) CloseIdleConnections() { t.pool.clear() }

// TLSClient is [tls.Client], and notes how the connection ends: crypto/tls reports a truncated stream and one
// that was closed by an alert with the same io.EOF. A body that only the end of its connection ends needs
// the difference (RFC 9112 §9.8).
func TLSClient(conn net.Conn, config *tls.Config) *tls.Conn {
	return tls.Client(&endNoting{Conn: conn}, config)
}
