//go:build unix

package http1

import "syscall"

// peeker looks at what a socket holds without taking it.
type peeker struct {
	raw  syscall.RawConn
	seen [12]byte
	n    int
	err  error
	ask  func(fd uintptr) bool // made once
}

func newPeeker(raw syscall.RawConn) *peeker {
	p := &peeker{raw: raw}
	p.ask = func(fd uintptr) bool {
		p.n, _, p.err = syscall.Recvfrom(int(fd), p.seen[:], syscall.MSG_PEEK)
		return true // the socket does not block, and it is not waited for
	}
	return p
}

// look returns how many bytes of seen it has set; 0 is the end of the stream. errNothing: none is there now.
func (p *peeker) look() (int, error) {
	if err := p.raw.Read(p.ask); err != nil {
		return 0, err
	}
	switch p.err {
	case syscall.EAGAIN:
		return 0, errNothing
	}
	return p.n, p.err
}
