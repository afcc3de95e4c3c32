package http1

import (
	"io"
	"math"
)

// This file finds a reply's body in the bytes of its connection, wherever those are cut.

// maxOverhead bounds what a chunked body may have beside its data: extensions and trailers. Each chunk may use 16
// bytes and twice its size without being counted.
const maxOverhead = 4 << 10

type kind uint8

const (
	empty kind = iota
	counted
	chunked
	untilClose
)

// framing is how a body is delimited, and the state of reading it.
type framing struct {
	kind     kind
	state    state  // of chunked
	left     uint64 // bytes of the body or of the chunk still to come; of a chunk's size, as far as it was read
	digits   int    // of the chunk's size
	overhead int
}

// decode moves the data in src to the beginning of dst, which may be the same memory. It returns the bytes of data,
// and of src those that it has used: all of them if dst is as long as src. io.EOF is the end of the body.
func (f *framing) decode(dst, src []byte) (n, used int, err error) {
	switch f.kind {
	case empty:
		return 0, 0, io.EOF
	case counted:
		if n = copy(dst, src[:min(uint64(len(src)), f.left)]); uint64(n) == f.left {
			err = io.EOF
		}
		f.left -= uint64(n)
		return n, n, err
	case untilClose:
		n = copy(dst, src)
		return n, n, nil
	}
	for used < len(src) {
		if f.state == inData {
			k := copy(dst[n:], src[used:used+int(min(uint64(len(src)-used), f.left))])
			n, used = n+k, used+k
			if f.left -= uint64(k); f.left > 0 {
				return n, used, nil
			}
			f.state = dataCR
			continue
		}
		if err = f.step(src[used]); err != nil && err != io.EOF {
			return n, used, err
		}
		if used++; err == io.EOF {
			return n, used, err
		}
	}
	return n, used, nil
}

// state is what the next byte of a chunked body belongs to (RFC 9112 §7.1).
type state uint8

const (
	inSize      state = iota
	afterSize         // spaces
	inExtension       // ignored
	sizeLF
	inData
	dataCR
	dataLF
	lineStart // of a trailer, or of the empty line at the end
	inName    // of a trailer, which is dropped
	inValue
	trailerLF
	endLF
)

// step takes a byte that is not data. io.EOF: it was the last.
func (f *framing) step(c byte) error {
	if f.overhead++; f.overhead > maxOverhead {
		return badReply("chunks with too much beside their data")
	}
	next, ok := f.state, false
	switch f.state {
	case inSize:
		switch digit := hexDigit(c); {
		case digit < 16:
			f.digits++
			f.left = f.left<<4 | uint64(digit)
			ok = f.digits < 16 // so that it fits
		case f.digits > 0:
			next, ok = afterSizeBy(c)
		}
	case afterSize:
		next, ok = afterSizeBy(c)
	case inExtension:
		next, ok = textUntilCR(c, inExtension, sizeLF)
	case sizeLF:
		next, ok = f.begin(), c == '\n'
	case dataCR:
		next, ok = dataLF, c == '\r'
	case dataLF:
		next, ok = inSize, c == '\n'
	case lineStart:
		if next, ok = inName, isTokenByte[c]; c == '\r' {
			next, ok = endLF, true
		}
	case inName:
		if ok = isTokenByte[c]; c == ':' {
			next, ok = inValue, true
		}
	case inValue:
		next, ok = textUntilCR(c, inValue, trailerLF)
	case trailerLF:
		next, ok = lineStart, c == '\n'
	case endLF:
		if c == '\n' {
			return io.EOF
		}
	}
	if !ok {
		return badReply("chunks")
	}
	f.state = next
	return nil
}

// begin begins a chunk whose size is known, or the trailers.
func (f *framing) begin() state {
	f.digits = 0
	if f.left == 0 {
		return lineStart
	}
	f.overhead = max(0, f.overhead-16-2*int(min(f.left, math.MaxInt32/4)))
	return inData
}

func afterSizeBy(c byte) (state, bool) {
	switch c {
	case ' ', '\t':
		return afterSize, true
	case ';':
		return inExtension, true
	}
	return sizeLF, c == '\r'
}

func textUntilCR(c byte, same, next state) (state, bool) {
	if c == '\r' {
		return next, true
	}
	return same, c >= ' ' && c != 0x7f || c == '\t'
}

// hexDigit returns the value of a hexadecimal digit, 16 for any other byte.
func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}
