package upstream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// ErrBodyTooLarge and ErrMemoryFull are what Buffers.Read refuses a body with.
var (
	ErrBodyTooLarge = errors.New("upstream: the request body is larger than max_body")
	ErrMemoryFull   = errors.New("upstream: the bodies under way have reached max_inflight_bytes")
)

// Sizes of the pooled buffers. A larger body gets a buffer of its own. What lies in
// the pools goes with the next collections of garbage: a burst of large prompts does
// not stay resident.
var bodySizes = [...]int{4 << 10, 16 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20}

// Buffers holds the request bodies under way: it admits them by bytes and
// reuses the memory of the small ones. Safe for concurrent use.
type Buffers struct {
	limit int64
	inUse atomic.Int64
	pools [len(bodySizes)]sync.Pool
}

// NewBuffers returns Buffers that hold at most limit bytes at a time.
func NewBuffers(limit int64) *Buffers {
	b := &Buffers{limit: limit}
	for i, size := range bodySizes {
		b.pools[i].New = func() any { return &Body{buffers: b, class: i, buf: make([]byte, 0, size)} }
	}
	return b
}

// InUse returns the bytes that bodies hold now.
func (b *Buffers) InUse() int64 { return b.inUse.Load() }

func (b *Buffers) reserve(n int64) bool {
	if b.inUse.Add(n) > b.limit {
		b.inUse.Add(-n)
		return false
	}
	return true
}

// get returns an empty body with room for at least size bytes, or nil when the
// memory is full.
func (b *Buffers) get(size int64) *Body {
	size = max(size, int64(bodySizes[0]))
	if !b.reserve(size) {
		return nil
	}
	class := 0
	for class < len(bodySizes) && int64(bodySizes[class]) < size {
		class++
	}
	var body *Body
	if class < len(bodySizes) {
		body = b.pools[class].Get().(*Body)
		body.buf = body.buf[:0]
	} else {
		body = &Body{buffers: b, class: class, buf: make([]byte, 0, size)}
	}
	body.reserved = size
	body.refs.Store(1)
	return body
}

// Read reads a whole body from src into one buffer. size is the declared
// length, or -1: then the buffer grows by doubling. More than max bytes is
// ErrBodyTooLarge; a full memory is ErrMemoryFull; other errors are src's.
// The caller releases the body.
func (b *Buffers) Read(src io.Reader, size, max int64) (*Body, error) {
	if size > max {
		return nil, ErrBodyTooLarge
	}
	body := b.get(size)
	if body == nil {
		return nil, ErrMemoryFull
	}
	for {
		if int64(len(body.buf)) == body.reserved && int64(len(body.buf)) != size {
			larger := b.get(min(2*body.reserved, max+1))
			if larger == nil {
				body.Release()
				return nil, ErrMemoryFull
			}
			larger.buf = append(larger.buf, body.buf...)
			body.Release()
			body = larger
		}
		room := body.buf[len(body.buf):body.reserved]
		if len(room) == 0 { // all of a declared size is here; what follows is the end
			room = make([]byte, 1)
		}
		n, err := src.Read(room)
		if int64(len(body.buf)+n) > body.reserved {
			err = fmt.Errorf("upstream: the body is longer than its Content-Length")
			n = 0
		}
		body.buf = body.buf[:len(body.buf)+n]
		if int64(len(body.buf)) > max {
			err = ErrBodyTooLarge
		}
		if err == io.EOF {
			return body, nil
		}
		if err != nil {
			body.Release()
			return nil, err
		}
	}
}

// Body is a request body in memory. It is counted: the buffer is reused only
// after Release and after every reader of it has been closed, because
// http.Transport may read a request's body after RoundTrip has returned.
type Body struct {
	buffers  *Buffers
	class    int
	buf      []byte
	reserved int64
	refs     atomic.Int32
}

// Bytes returns the body. It must not be used after Release.
func (b *Body) Bytes() []byte { return b.buf }

// Release returns up the caller's hold on the body.
func (b *Body) Release() {
	switch refs := b.refs.Add(-1); {
	case refs > 0:
		return
	case refs < 0:
		panic("upstream: a body was released twice")
	}
	b.buffers.inUse.Add(-b.reserved)
	if b.class < len(bodySizes) {
		b.buffers.pools[b.class].Put(b)
	}
}

// reader returns a reader of parts, which are slices of the body or of fresh memory. It holds the body until it is
// closed.
func (b *Body) reader(parts net.Buffers) io.ReadCloser {
	b.refs.Add(1)
	return &bodyReader{body: b, parts: parts}
}

type bodyReader struct {
	mu    sync.Mutex // a transport may close while its writer still reads
	body  *Body
	parts net.Buffers
}

func (r *bodyReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.body == nil {
		return 0, errors.New("upstream: read of a closed request body")
	}
	return r.parts.Read(p)
}

func (r *bodyReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.body != nil {
		r.body.Release()
		r.body, r.parts = nil, nil
	}
	return nil
}
