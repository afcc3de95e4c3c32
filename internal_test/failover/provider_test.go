// The provider of faults: a server on raw TCP that answers byte for byte as a script
// says, and logs every request.
package failover_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// words is how many words a whole reply has.
const words = 60

// call is one request that reached a target.
type call struct {
	serial  int    // numbers the requests to all targets, from 1
	target  string // the first segment of the path
	client  string // user agent: the caller's name for its request
	key     string // the credential
	model   string
	stream  bool
	body    []byte
	at      time.Time
	gone    chan struct{} // closed when the gateway has left the connection
	conn    net.Conn
	dialect *dialect
}

// answer answers a call; it says whether the connection stays open for another.
type answer func(x *call) (again bool)

// provider listens on loopback as any number of targets, each with a path of its own.
type provider struct {
	url      string
	listener net.Listener
	work     sync.WaitGroup

	mu      sync.Mutex
	scripts map[[2]string][]answer // by target and model
	calls   []*call
	open    map[net.Conn]bool
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{url: "http://" + l.Addr().String(), listener: l, scripts: map[[2]string][]answer{}, open: map[net.Conn]bool{}}
	p.work.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.hangUp()
		p.work.Wait()
	})
	return p
}

// as is the provider's entry in the config: name is the target's, key its credential.
func (p *provider) as(name string, d *dialect, more object) object {
	settings := object{"name": name, "type": d.name, "base_url": p.url + "/" + name + "/v1", "api_key": "key-of-" + name + "-0123456789"}
	for key, value := range more {
		settings[key] = value
		if key == "api_keys" {
			delete(settings, "api_key")
		}
	}
	return settings
}

// play sets what a target answers to requests for model, in turn, the last one from
// then on; "" is any other model. Without a script it answers whole.
func (p *provider) play(target, model string, answers ...answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.scripts[[2]string{target, model}] = answers
}

// next takes the answer to x from its script.
func (p *provider) next(x *call) answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, x)
	x.serial = len(p.calls)
	for _, name := range [][2]string{{x.target, x.model}, {x.target, ""}} {
		switch script := p.scripts[name]; len(script) {
		case 0:
		case 1:
			return script[0]
		default:
			p.scripts[name] = script[1:]
			return script[0]
		}
	}
	return whole
}

// callsOf gives the calls that a caller's request led to; of all callers if it is "".
func (p *provider) callsOf(client string) (calls []*call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if client == "" {
		return slices.Clone(p.calls)
	}
	for _, x := range p.calls {
		if x.client == client {
			calls = append(calls, x)
		}
	}
	return calls
}

// targets gives the targets of calls, in order.
func targets(calls []*call) []string {
	names := []string{}
	for _, x := range calls {
		names = append(names, x.target)
	}
	return names
}

// hangUp closes every connection.
func (p *provider) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.open {
		conn.Close()
	}
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
			p.serve(conn)
			conn.Close()
			p.mu.Lock()
			delete(p.open, conn)
			p.mu.Unlock()
		})
	}
}

func (p *provider) serve(conn net.Conn) {
	in := bufio.NewReader(conn)
	for {
		x, err := readCall(in)
		if err != nil {
			return
		}
		x.conn, x.at, x.gone = conn, time.Now(), make(chan struct{})
		script := p.next(x)
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			if _, err := in.Peek(1); err != nil {
				close(x.gone)
			}
		}()
		again := script(x)
		if !again {
			conn.Close()
		}
		<-watched
		if !again {
			return
		}
	}
}

func readCall(in *bufio.Reader) (*call, error) {
	req, err := http.ReadRequest(in)
	if err != nil {
		return nil, err
	}
	x := &call{dialect: &openAI, client: req.UserAgent(), key: strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")}
	x.target, _, _ = strings.Cut(req.URL.Path[1:], "/")
	if strings.HasSuffix(req.URL.Path, anthropic.path) {
		x.dialect, x.key = &anthropic, req.Header.Get("X-Api-Key")
	}
	if x.body, err = io.ReadAll(req.Body); err != nil {
		return nil, err
	}
	var head struct {
		Model  string `json:"model"`
		Stream bool   `json:"stream"`
	}
	err = json.Unmarshal(x.body, &head)
	x.model, x.stream = head.Model, head.Stream
	return x, err
}

// write sends text and reports whether the gateway still takes it.
func (x *call) write(text ...string) bool {
	_, err := io.WriteString(x.conn, strings.Join(text, ""))
	return err == nil
}

// input is what the reply to x states as its input tokens: it tells the calls apart.
func (x *call) input() int { return 1000 + x.serial }

// word is word i (from 0) of the reply to x: it tells the calls apart.
func (x *call) word(i int) string { return fmt.Sprintf("%d.%d ", x.serial, i) }

// text is the first n words of the reply to x.
func (x *call) text(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(x.word(i))
	}
	return b.String()
}

// events is a stream's words from up to, but not including, to.
func (x *call) events(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		b.WriteString(x.dialect.word(x.word(i)))
	}
	return b.String()
}

// ending is what follows the words, up to the closing marker.
func (x *call) ending() string {
	end := x.dialect.finish(words)
	if bytes.Contains(x.body, []byte(`"include_usage":true`)) {
		end += x.dialect.usage(x.input(), words)
	}
	return end
}

// chunk frames text; an empty chunk would end the reply.
func chunk(text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf("%x\r\n%s\r\n", len(text), text)
}

const (
	streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	lastChunk  = "0\r\n\r\n"
)

// document is a reply that is not a stream.
func document(status int, contentType, body string, header ...string) string {
	text := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n", status, http.StatusText(status), contentType, len(body))
	for _, line := range header {
		text += line + "\r\n"
	}
	return text + "\r\n" + body
}

// whole answers as it should be.
func whole(x *call) bool {
	if !x.stream {
		return x.write(document(200, "application/json", x.dialect.plain(x.text(words), x.input(), words)))
	}
	return x.write(streamHead, chunk(x.dialect.start(x.input()))) && x.write(chunk(x.events(0, 1))) &&
		x.write(chunk(x.events(1, words))) && x.write(chunk(x.ending()), chunk(x.dialect.closing), lastChunk)
}

// refuse answers with an error status.
func refuse(status int, header ...string) answer {
	return func(x *call) bool {
		return x.write(document(status, "application/json", x.problem(status), header...))
	}
}

// problem is the body of an error status: it tells the calls apart.
func (x *call) problem(status int) string {
	return x.dialect.problem("kind_"+strconv.Itoa(status), fmt.Sprintf("error %d of call %d", status, x.serial))
}

// reset breaks the connection with a RST.
func reset(x *call) bool {
	_ = x.conn.(*net.TCPConn).SetLinger(0)
	x.conn.Close()
	return false
}

// silent never answers.
func silent(x *call) bool {
	<-x.gone
	return false
}

// after streams the start and n words, and then does as end says.
func after(n int, end answer) answer {
	return func(x *call) bool {
		if !x.write(streamHead, chunk(x.dialect.start(x.input())+x.events(0, n))) {
			return false
		}
		return end(x)
	}
}

// hangUp ends the connection: of a stream, before its end.
func hangUp(*call) bool { return false }

// tear ends the connection in the middle of an event.
func tear(x *call) bool {
	x.write("400\r\n", x.dialect.word("half")[:20])
	return false
}

// endEarly ends a stream in good form, but for the events that are missing.
func endEarly(x *call) bool { return x.write(lastChunk) }

// errorEvent ends a stream with the provider's own error.
func errorEvent(x *call) bool { return x.write(chunk(x.dialect.errorEvent), lastChunk) }
