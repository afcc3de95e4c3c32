// The fake provider: a server on raw TCP that keeps the exact bytes it is sent and
// answers with the exact bytes of a script.
package gateway_test

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

// exchange is one request that reached the provider.
type exchange struct {
	Method string
	Target string // path and query, as sent
	Head   string // request line and header lines, as sent
	Header http.Header
	Body   []byte
	Reused bool          // the connection had carried a request before
	Gone   chan struct{} // closed when the gateway has left the connection
	conn   net.Conn
}

// write sends b, size bytes a write (0: all in one).
func (x *exchange) write(b []byte, size int) {
	if size == 0 {
		size = max(len(b), 1)
	}
	for len(b) > 0 {
		n := min(size, len(b))
		if _, err := x.conn.Write(b[:n]); err != nil {
			return
		}
		b = b[n:]
	}
}

// reset ends the connection with a RST.
func (x *exchange) reset() {
	_ = x.conn.(*net.TCPConn).SetLinger(0)
	x.conn.Close()
}

// script answers one exchange; it says whether the connection stays open for another.
type script func(x *exchange) (again bool)

// provider listens on loopback. What it answers is one script for all requests.
type provider struct {
	URL string

	listener net.Listener
	work     sync.WaitGroup
	mu       sync.Mutex
	answer   script
	calls    []*exchange
	open     map[net.Conn]bool
}

// newProvider listens. Without a script it closes what comes.
func newProvider(t testing.TB, answer script) *provider {
	t.Helper()
	if answer == nil {
		answer = func(*exchange) bool { return false }
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{URL: "http://" + l.Addr().String(), listener: l, answer: answer, open: map[net.Conn]bool{}}
	p.work.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.hangUp()
		p.work.Wait()
	})
	return p
}

func (p *provider) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.open[conn] = true
		p.mu.Unlock()
		p.work.Go(func() {
			defer func() {
				conn.Close()
				p.mu.Lock()
				delete(p.open, conn)
				p.mu.Unlock()
			}()
			p.serve(conn)
		})
	}
}

func (p *provider) serve(conn net.Conn) {
	in := bufio.NewReader(conn)
	for turn := 0; ; turn++ {
		x, err := readExchange(in)
		if err != nil {
			return
		}
		x.conn, x.Reused, x.Gone = conn, turn > 0, make(chan struct{})
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
func readExchange(in *bufio.Reader) (*exchange, error) {
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
	x := &exchange{Head: head.String()}
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

// play sets what the provider answers from now on.
func (p *provider) play(answer script) {
	p.mu.Lock()
	p.answer = answer
	p.mu.Unlock()
}

// hangUp closes every connection.
func (p *provider) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.open {
		conn.Close()
	}
}

// count is the number of requests that have come so far.
func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.calls)
}

// since gives the requests that came after the first n.
func (p *provider) since(n int) []*exchange {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls[n:])
}

// last is the newest request.
func (p *provider) last(t testing.TB) *exchange {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.calls) == 0 {
		t.Fatal("nothing reached the provider")
	}
	return p.calls[len(p.calls)-1]
}

// canned is a reply to play byte for byte.
type canned struct {
	status int
	header []string // "name: value"
	body   string
	sse    bool // sent chunked, an event a chunk; else with its length
}

// Sizes of a write, beside a number of bytes.
const (
	whole   = 0
	byEvent = -1
)

func (c canned) head() string {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", c.status, http.StatusText(c.status))
	for _, line := range c.header {
		b.WriteString(line + "\r\n")
	}
	if c.sse {
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
	} else {
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", len(c.body))
	}
	return b.String()
}

// pieces is the reply on the wire: its head, its events or body, its end.
func (c canned) pieces() []string {
	if !c.sse {
		return []string{c.head(), c.body}
	}
	all := []string{c.head()}
	for _, event := range splitEvents(c.body) {
		all = append(all, chunk(event))
	}
	return append(all, "0\r\n\r\n")
}

// serve answers every request with c, size bytes a write, or whole, or byEvent.
func (c canned) serve(size int) script {
	return func(x *exchange) bool {
		if size == byEvent {
			for _, piece := range c.pieces() {
				x.write([]byte(piece), whole)
			}
			return true
		}
		x.write([]byte(strings.Join(c.pieces(), "")), size)
		return true
	}
}

func chunk(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }

// splitEvents cuts an SSE text behind each blank line.
func splitEvents(text string) []string {
	var events []string
	for text != "" {
		end := len(text)
		for _, blank := range []string{"\n\n", "\r\n\r\n"} {
			if i := strings.Index(text, blank); i >= 0 {
				end = min(end, i+len(blank))
			}
		}
		events = append(events, text[:end])
		text = text[end:]
	}
	return events
}

func ok(body string) canned {
	return canned{status: 200, header: []string{"Content-Type: application/json"}, body: body}
}

func events(body string) canned {
	return canned{status: 200, header: []string{"Content-Type: text/event-stream; charset=utf-8"}, body: body, sse: true}
}

// relayTo is a config with p as the one provider, of the given type and for every
// model. Extra settings go into the provider.
func relayTo(p *provider, kind string, extra ...object) object {
	settings := object{"name": "fake", "type": kind, "base_url": p.URL, "api_key": providerKey, "models": list{"*"}}
	for _, more := range extra {
		for name, value := range more {
			settings[name] = value
		}
	}
	return object{"upstream": object{"providers": list{settings}}}
}

// relayBoth is a config with p as two providers: claude, for claude-*, speaks
// Anthropic, and fake, for every other model, OpenAI.
func relayBoth(p *provider) object {
	cfg := relayTo(p, "openai")
	upstream := cfg["upstream"].(object)
	claude := object{"name": "claude", "type": "anthropic", "base_url": p.URL, "api_key": providerKey, "models": list{"claude-*"}}
	upstream["providers"] = append(list{claude}, upstream["providers"].(list)...)
	return cfg
}

func startBoth(t *testing.T) (*gateway, *provider) {
	t.Helper()
	p := newProvider(t, ok(chatReply).serve(whole))
	return start(t, relayBoth(p)), p
}

// wait fails unless done is closed in time.
func wait(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("not within %v: %s", patience, what)
	}
}
