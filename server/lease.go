package server

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A bound address outlives the listener that bound it: it is passed on without a moment in
// which nobody accepts.

// socket is a bound address that one listener after another accepts from, so that a
// restart refuses no connection.
type socket struct {
	*net.TCPListener
	accepting sync.Mutex // held by the lease that accepts
	passedOn  net.Conn   // accepted by a lease that had ended, for the next one; under accepting
	owner     atomic.Pointer[lease]
}

// lease is a listener's use of a socket. The socket is closed with the lease of the
// listener that has it.
type lease struct {
	socket *socket
	closed atomic.Bool
}

// newLease returns the first lease of a bound address.
func newLease(bound *net.TCPListener) *lease {
	l := &lease{socket: &socket{TCPListener: bound}}
	l.socket.owner.Store(l)
	return l
}

// take makes l the owner of the socket, and has the one before stop to accept.
func (l *lease) take() {
	if before := l.socket.owner.Swap(l); before != l {
		before.closed.Store(true)
		l.socket.SetDeadline(time.Now()) // wakes its Accept
	}
}

func (l *lease) Addr() net.Addr { return l.socket.Addr() }

// Accept returns the next connection, or net.ErrClosed once another lease has taken the
// socket. A connection that arrives between the taking and the waking of a blocked
// Accept is returned to this one by the runtime's poller, deadline or not: it belongs
// to the new owner.
func (l *lease) Accept() (net.Conn, error) {
	l.socket.accepting.Lock()
	defer l.socket.accepting.Unlock()
	l.socket.SetDeadline(time.Time{})
	if l.closed.Load() {
		return nil, net.ErrClosed
	}
	if conn := l.socket.passedOn; conn != nil {
		l.socket.passedOn = nil
		return conn, nil
	}
	conn, err := l.socket.Accept()
	switch taken := l.socket.owner.Load() != l; {
	case err != nil && l.closed.Load():
		return nil, net.ErrClosed
	case err == nil && taken:
		l.socket.passedOn = conn
		return nil, net.ErrClosed
	}
	return conn, err
}

// Close ends the lease, and closes the socket unless another lease has taken it.
func (l *lease) Close() error {
	l.closed.Store(true)
	if l.socket.owner.Load() == l {
		return l.socket.Close()
	}
	return nil
}
