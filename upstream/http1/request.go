package http1

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// This file sends a request.

// directly is how many bytes are sent on the caller's goroutine. A socket takes them although the server does not read,
// so that a server which answers first can't block us.
const directly = 32 << 10

// sentWithin is how long the end of the reply waits for the end of the request.
const sentWithin = 50 * time.Millisecond

// A pooled buffer holds the head of a request, or what is copied of its body.
const writeSize = 16 << 10

var writeBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, writeSize)
	return &b
}}

// outgoing is a request on its way.
type outgoing struct {
	head   *[]byte     // pooled
	parts  net.Buffers // what is in memory: the head, perhaps the body
	room   [6][]byte   // for parts
	size   int         // of parts
	body   io.ReadCloser
	length int64 // of body, -1: unknown
	read   bool  // body must be read
	last   bool  // the connection is not to be used again

	conn       *conn
	done       chan struct{}         // closed when all is sent; nil: it has been
	failed     error                 // of the connection
	bodyFailed atomic.Pointer[error] // of body
	closeBody  sync.Once
}

// prepare builds the head and takes the request's body over.
func (o *outgoing) prepare(t *Transport, req *http.Request) error {
	o.head = writeBuffers.Get().(*[]byte)
	if req.Body != nil {
		o.body = req.Body
	}
	o.parts = append(o.room[:0], nil)
	switch body := req.Body.(type) {
	case nil:
	case Buffers:
		for _, part := range body.Buffers() {
			o.length += int64(len(part))
			o.parts = append(o.parts, part)
		}
		if req.ContentLength > 0 && req.ContentLength != o.length {
			return fmt.Errorf("%w: its body does not have its ContentLength", ErrBadRequest)
		}
	default:
		if o.read = body != http.NoBody; o.read {
			if o.length = req.ContentLength; o.length <= 0 {
				o.length = -1
			}
		}
	}
	head, err := t.appendHead((*o.head)[:0], req, o.length)
	if err != nil {
		return err
	}
	*o.head = head
	o.parts[0] = head
	for _, part := range o.parts {
		o.size += len(part)
	}
	o.last = req.Close || hasToken(req.Header["Connection"], "close") || len(req.Header["Upgrade"]) > 0
	return nil
}

// appendHead appends the request's head to b. length is the body's, -1: unknown.
func (t *Transport) appendHead(b []byte, req *http.Request, length int64) ([]byte, error) {
	method, host, target := req.Method, req.Host, req.URL.RequestURI()
	if method == "" {
		method = http.MethodGet
	}
	if host == "" {
		host = req.URL.Host
	}
	host = withoutZone(host)
	if t.Absolute && req.URL.Opaque == "" {
		target = req.URL.Scheme + "://" + host + target
	}
	switch {
	case !isToken(method) || method == http.MethodConnect:
		return nil, fmt.Errorf("%w: method", ErrBadRequest)
	case host == "" || !isVisible(host) || strings.ContainsAny(host, "/@?#") || strings.ContainsFunc(host, isForeign):
		return nil, fmt.Errorf("%w: host", ErrBadRequest)
	case target == "" || !isVisible(target):
		return nil, fmt.Errorf("%w: target", ErrBadRequest)
	case len(req.Trailer) > 0:
		return nil, fmt.Errorf("%w: trailers are not supported", ErrBadRequest)
	case !isFieldValue(t.ProxyAuthorization):
		return nil, fmt.Errorf("%w: ProxyAuthorization", ErrBadRequest)
	}
	b = append(append(b, method...), ' ')
	b = append(append(b, target...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, host...), "\r\n"...)
	if t.ProxyAuthorization != "" {
		b = append(append(append(b, "Proxy-Authorization: "...), t.ProxyAuthorization...), "\r\n"...)
	}
	b, err := appendFields(b, req.Header)
	if err != nil {
		return nil, err
	}
	switch {
	case length < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case length > 0 || method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch:
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), length, 10), "\r\n"...)
	}
	if req.Close && !hasToken(req.Header["Connection"], "close") {
		b = append(b, "Connection: close\r\n"...)
	}
	return append(b, "\r\n"...), nil
}

// appendFields appends the header fields but for those that are ours to set.
func appendFields(b []byte, header http.Header) ([]byte, error) {
	for name, values := range header {
		if !isToken(name) {
			return nil, fmt.Errorf("%w: name of a header field", ErrBadRequest)
		}
		if isFramingField(name) || len(values) == 1 && values[0] == "" && strings.EqualFold(name, "User-Agent") {
			continue // as for net/http, an empty User-Agent is none
		}
		for _, value := range values {
			if !isFieldValue(value) {
				return nil, fmt.Errorf("%w: value of header field %s", ErrBadRequest, name)
			}
			b = append(append(b, name...), ": "...)
			b = append(append(b, strings.Trim(value, " \t")...), "\r\n"...)
		}
	}
	return b, nil
}

// isForeign tells of a host's letter that it needs Punycode, which is the caller's part.
func isForeign(r rune) bool { return r >= utf8.RuneSelf }

func isFramingField(name string) bool {
	switch len(name) {
	case len("Host"):
		return strings.EqualFold(name, "Host")
	case len("Trailer"):
		return strings.EqualFold(name, "Trailer")
	case len("Content-Length"):
		return strings.EqualFold(name, "Content-Length")
	case len("Transfer-Encoding"):
		return strings.EqualFold(name, "Transfer-Encoding")
	}
	return false
}

// withoutZone returns host without the zone of an IPv6 address, which is of no use to others (RFC 6874 §4).
func withoutZone(host string) string {
	address, rest, ok := strings.Cut(host, "]")
	if before, _, zone := strings.Cut(address, "%"); ok && zone && address[0] == '[' {
		return before + "]" + rest
	}
	return host
}

// send sends the request on a connection, or has it sent.
func (o *outgoing) send(c *conn) {
	o.conn = c
	if !o.read && o.size <= directly {
		o.write()
		return
	}
	o.done = make(chan struct{})
	go func() {
		defer close(o.done)
		o.write()
	}()
}

func (o *outgoing) write() {
	o.failed = o.conn.write(&o.parts)
	if o.read && o.failed == nil {
		o.failed = o.copyBody()
	}
	o.release()
}

// release lets go of the head and the body.
func (o *outgoing) release() {
	if o.head != nil && cap(*o.head) <= writeSize {
		writeBuffers.Put(o.head)
	}
	o.head, o.parts, o.room = nil, nil, [6][]byte{}
	if o.body != nil {
		o.closeBody.Do(func() { o.body.Close() })
	}
}

// sent tells whether all was sent. The reply to all of it may be here before the sender has noticed: it is waited for.
func (o *outgoing) sent() bool {
	if o.done != nil {
		limit := time.NewTimer(sentWithin)
		defer limit.Stop()
		select {
		case <-o.done:
		case <-limit.C:
			return false
		}
	}
	return o.failed == nil && o.bodyFailed.Load() == nil
}

// abandon ends the sending. The connection has been closed, so that what is in memory is soon let go of. Another body
// may be waited for in a Read, which its Close should end.
func (o *outgoing) abandon() {
	switch {
	case o.done == nil:
	case o.read:
		go o.closeBody.Do(func() { o.body.Close() })
	default:
		<-o.done
	}
}

// copyBody sends what it reads of the body: ContentLength bytes, or all in chunks.
func (o *outgoing) copyBody() error {
	pooled := writeBuffers.Get().(*[]byte)
	defer writeBuffers.Put(pooled)
	buf := (*pooled)[:writeSize]
	for left := o.length; left != 0; {
		if left > 0 {
			buf = buf[:min(int64(len(buf)), left)]
		}
		n, err := o.body.Read(buf)
		if n > 0 {
			if failed := o.writeData(buf[:n]); failed != nil {
				return failed
			}
		}
		switch {
		case left > 0:
			left -= int64(n)
			if err == io.EOF && left > 0 {
				err = ErrShortBody
			}
		case err == io.EOF:
			return o.conn.write(&net.Buffers{[]byte("0\r\n\r\n")})
		}
		if err != nil && err != io.EOF {
			o.bodyFailed.Store(&err)
			o.conn.close() // the reply is not waited for
			return err
		}
	}
	return nil
}

func (o *outgoing) writeData(data []byte) error {
	if o.length >= 0 {
		return o.conn.write(&net.Buffers{data})
	}
	size := append(strconv.AppendInt(nil, int64(len(data)), 16), "\r\n"...)
	return o.conn.write(&net.Buffers{size, data, []byte("\r\n")})
}

// write writes all parts, with one system call if the connection is a TCP socket. Elsewhere they are copied
// together, because each write would be a TLS record and a packet of its own.
func (c *conn) write(parts *net.Buffers) error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		n, err := parts.WriteTo(tcp)
		c.written.Add(n)
		return err
	}
	pooled := writeBuffers.Get().(*[]byte)
	defer writeBuffers.Put(pooled)
	buf := (*pooled)[:writeSize]
	for {
		n := 0
		for n < len(buf) && len(*parts) > 0 {
			k, _ := parts.Read(buf[n:])
			n += k
		}
		if n == 0 {
			return nil
		}
		sent, err := c.Conn.Write(buf[:n])
		c.written.Add(int64(sent))
		if err != nil {
			return err
		}
	}
}
