// The provider: a server on raw TCP that keeps the exact bytes it is sent and answers
// with the exact bytes of a script.
package harness

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Exchange is one request that reached the provider.
type Exchange struct {
	Method string
	Target string // path and query, as sent
	Head   string // request line and header lines, as sent
	Header http.Header
	Body   []byte
	At     time.Time
	Reused bool          // the connection had carried a request before
	Gone   chan struct{} // closed when the gateway has left the connection
	Conn   net.Conn
}

// Write sends b, size bytes a write (0: all in one).
func (x *Exchange) Write(b []byte, size int) { _ = writeBy(x.Conn, b, size) }

// Reset ends the connection with a RST.
func (x *Exchange) Reset() {
	_ = x.Conn.(*net.TCPConn).SetLinger(0)
	x.Conn.Close()
}

// Script answers one exchange; it says whether the connection stays open for another.
type Script func(x *Exchange) (again bool)

// Provider listens on loopback. What it answers is one script for all requests.
type Provider struct {
	URL string

	listener net.Listener
	work     sync.WaitGroup
	mu       sync.Mutex
	answer   Script
	calls    []*Exchange
	open     map[net.Conn]bool
}

// NewProvider listens. Without a script it closes what comes.
func NewProvider(t testing.TB, answer Script) *Provider {
	t.Helper()
	if answer == nil {
		answer = func(*Exchange) bool { return false }
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Provider{URL: "http://" + l.Addr().String(), listener: l, answer: answer, open: map[net.Conn]bool{}}
	p.work.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.HangUp()
		p.work.Wait()
	})
	return p
}

func (p *Provider) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.open[conn] = true
		p.mu.Unlock()
		p.work.Go(func() {
			p.serve(conn)
			conn.Close()
			p.mu.Lock()
			delete(p.open, conn)
			p.mu.Unlock()
		})
	}
}

func (p *Provider) serve(conn net.Conn) {
	in := bufio.NewReader(conn)
	for turn := 0; ; turn++ {
		x, err := readExchange(in)
		if err != nil {
			return
		}
		x.Conn, x.At, x.Reused, x.Gone = conn, time.Now(), turn > 0, make(chan struct{})
		p.mu.Lock()
		p.calls = append(p.calls, x)
		answer := p.answer
		p.mu.Unlock()
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			if _, err := in.Peek(1); err != nil {
				close(x.Gone)
			}
		}()
		again := answer(x)
		if !again {
			conn.Close()
		}
		<-watched
		if !again {
			return
		}
	}
}

// readExchange reads one request, its head byte by byte as it stands.
func readExchange(in *bufio.Reader) (*Exchange, error) {
	var head bytes.Buffer
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if head.WriteString(line); line == "\r\n" {
			break
		}
	}
	x := &Exchange{Head: head.String()}
	lines := textproto.NewReader(bufio.NewReader(&head))
	first, _ := lines.ReadLine()
	x.Method, first, _ = strings.Cut(first, " ")
	x.Target, _, _ = strings.Cut(first, " ")
	header, err := lines.ReadMIMEHeader()
	if err != nil {
		return nil, err
	}
	x.Header = http.Header(header)
	switch length := x.Header.Get("Content-Length"); {
	case strings.EqualFold(x.Header.Get("Transfer-Encoding"), "chunked"):
		if x.Body, err = io.ReadAll(httputil.NewChunkedReader(in)); err == nil {
			_, err = textproto.NewReader(in).ReadLine()
		}
	case length != "":
		n, _ := strconv.Atoi(length)
		x.Body = make([]byte, n)
		_, err = io.ReadFull(in, x.Body)
	}
	return x, err
}

// Play sets what the provider answers from now on.
func (p *Provider) Play(answer Script) {
	p.mu.Lock()
	p.answer = answer
	p.mu.Unlock()
}

// HangUp closes every connection.
func (p *Provider) HangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.open {
		conn.Close()
	}
}

// Count is how many requests there were.
func (p *Provider) Count() int { return len(p.Since(0)) }

// Since returns the requests from number n on.
func (p *Provider) Since(n int) []*Exchange {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls[n:])
}

// Last is the newest request.
func (p *Provider) Last(t testing.TB) *Exchange {
	t.Helper()
	calls := p.Since(0)
	if len(calls) == 0 {
		t.Fatal("nothing reached the provider")
	}
	return calls[len(calls)-1]
}

// Chunk frames text. Without text there is no chunk, since an empty one would end the
// body.
func Chunk(text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf("%x\r\n%s\r\n", len(text), text)
}
