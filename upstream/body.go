package upstream

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Why Buffers.Read refuses a body.
var (
	ErrBodyTooLarge = errors.New("upstream: the request body is larger than max_body")
	ErrMemoryFull   = errors.New("upstream: the bodies under way have reached max_inflight_bytes")
	ErrShareFull    = errors.New("upstream: the bodies of one key have reached its share of max_inflight_bytes")
)

// Sizes of the pooled buffers. A larger body gets a buffer of its own. What lies in
// the pools goes with the next collections of garbage: a burst of large prompts does
// not stay resident.
var bodySizes = [...]int64{4 << 10, 16 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20}

// maxAnnounced is how much room a body gets on its Content-Length alone. More comes as it arrives.
const maxAnnounced = 1 << 20

// Buffers is the memory for what is held of requests under way: their bodies, and replies until they commit. It admits
// by bytes, in all and for each holder, and reuses the buffers of small bodies. Safe for concurrent use.
type Buffers struct {
	limit, share int64
	pools        [len(bodySizes)]sync.Pool

	mu      sync.Mutex
	inUse   int64
	holders map[string]int64
}

// NewBuffers returns Buffers that hold at most limit bytes at a time, and at most share bytes for one holder.
func NewBuffers(limit, share int64) *Buffers {
	b := &Buffers{limit: limit, share: share, holders: map[string]int64{}}
	for i, size := range bodySizes {
		b.pools[i].New = func() any { return &Body{class: i, buf: make([]byte, 0, size)} }
	}
	return b
}

// InUse returns the bytes that are held now.
func (b *Buffers) InUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.inUse
}

// reserve counts n more bytes for a holder; the empty name has no share to keep to. The error is ErrMemoryFull or
// ErrShareFull.
func (b *Buffers) reserve(holder string, n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch held := b.holders[holder]; {
	case b.inUse+n > b.limit:
		return ErrMemoryFull
	case holder != "" && held+n > b.share:
		return ErrShareFull
	default:
		b.inUse += n
		b.holders[holder] = held + n
		return nil
	}
}

// free gives n reserved bytes back.
func (b *Buffers) free(holder string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inUse -= n
	if b.holders[holder] -= n; b.holders[holder] == 0 {
		delete(b.holders, holder)
	}
}

// get returns a body that begins with the bytes of smaller, which is released, and has room for at least size bytes.
// smaller may be nil.
func (b *Buffers) get(holder string, size int64, smaller *Body) (*Body, error) {
	class := 0
	for class < len(bodySizes) && bodySizes[class] < size {
		class++
	}
	pooled := class < len(bodySizes)
	if pooled {
		size = bodySizes[class]
	}
	more := size
	if smaller != nil {
		more -= int64(cap(smaller.buf)) // the two are together for the time of a copy only
	}
	if err := b.reserve(holder, more); err != nil {
		return nil, err
	}
	var body *Body
	if pooled {
		body = b.pools[class].Get().(*Body)
	} else {
		body = &Body{class: class, buf: make([]byte, 0, size)}
	}
	body.buf, body.buffers, body.holder = body.buf[:0], b, holder
	body.refs.Store(1)
	if smaller != nil {
		body.buf = append(body.buf, smaller.buf...)
		smaller.recycle()
	}
	return body, nil
}

// Read reads a whole body from src into one buffer. holder is whose share it counts in. size is the declared
// length, or -1; the buffer has at most maxAnnounced bytes to begin with and grows by doubling. More than max bytes is
// ErrBodyTooLarge; ErrMemoryFull and ErrShareFull leave no room; other errors are src's.
// The caller releases the body.
func (b *Buffers) Read(holder string, src io.Reader, size, max int64) (*Body, error) {
	if size > max {
		return nil, ErrBodyTooLarge
	}
	most := max + 1 // bytes that are ever held: one more than are allowed shows that there are too many
	if size >= 0 {
		most = size
	}
	body, err := b.get(holder, min(size, maxAnnounced), nil)
	if err != nil {
		return nil, err
	}
	for {
		if len(body.buf) == cap(body.buf) && int64(len(body.buf)) < most {
			larger, err := b.get(holder, min(2*int64(cap(body.buf)), most), body)
			if err != nil {
				body.Release()
				return nil, err
			}
			body = larger
		}
		room := body.buf[len(body.buf):cap(body.buf)]
		if len(room) == 0 { // all of a declared size is here; what follows is the end
			room = make([]byte, 1)
		}
		n, err := src.Read(room)
		if int64(len(body.buf)+n) > most && size >= 0 {
			err, n = errors.New("upstream: the body is longer than its Content-Length"), 0
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

// Body is a body in memory: a request's, or that of a provider's error. It is counted: the buffer is reused only after
// Release and after every reader of it has been closed, because http.Transport may read a request's body after
// RoundTrip has returned.
type Body struct {
	buffers *Buffers
	holder  string
	class   int    // of its size, in bodySizes
	buf     []byte // its capacity is what is reserved
	refs    atomic.Int32
}

// Bytes returns the body. It must not be used after Release.
func (b *Body) Bytes() []byte { return b.buf }

// Release gives up the caller's hold on the body.
func (b *Body) Release() {
	switch refs := b.refs.Add(-1); {
	case refs > 0:
		return
	case refs < 0:
		panic("upstream: a body was released twice")
	}
	b.buffers.free(b.holder, int64(cap(b.buf)))
	b.recycle()
}

// recycle keeps the buffer for another body, if it is one of the pooled sizes.
func (b *Body) recycle() {
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

// Buffers returns what is left of the parts, for http1 to send them where they stand.
func (r *bodyReader) Buffers() net.Buffers {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.parts
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
