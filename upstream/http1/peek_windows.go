package http1

import (
	"syscall"
	"unsafe"
)

const fionread = 0x4004667f // winsock2.h: how many bytes can be read

// peeker tells how much a socket holds. It can't see what, nor the end of the stream.
type peeker struct {
	raw  syscall.RawConn
	seen [12]byte
}

func newPeeker(raw syscall.RawConn) *peeker { return &peeker{raw: raw} }

// look returns how many bytes there are, at most as many as seen has. errNothing: none is there now.
func (p *peeker) look() (int, error) {
	var waiting, written uint32
	var err error
	control := p.raw.Control(func(fd uintptr) {
		err = syscall.WSAIoctl(syscall.Handle(fd), fionread, nil, 0, (*byte)(unsafe.Pointer(&waiting)), 4, &written, nil, 0)
	})
	switch {
	case control != nil:
		return 0, control
	case err == nil && waiting == 0:
		return 0, errNothing
	}
	return min(int(waiting), len(p.seen)), err
}
