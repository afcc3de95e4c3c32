// The provider of faults: it answers byte for byte as a script says, by target and model.
package failover_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"proxycast/internal_test/harness"
)

// words is how many words a whole reply has.
const words = 60

// call is one request that reached a target.
type call struct {
	*harness.Exchange
	serial  int    // numbers the requests to all targets, from 1
	target  string // the first segment of the path
	client  string // user agent: the caller's name for its request
	key     string // the credential
	model   string
	stream  bool
	dialect *dialect
}

// answer answers a call; it says whether the connection stays open for another.
type answer func(x *call) (again bool)

// provider is any number of targets, each with a path of its own.
type provider struct {
	*harness.Provider
	mu      sync.Mutex
	scripts map[[2]string][]answer // by target and model
	calls   []*call
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{scripts: map[[2]string][]answer{}}
	p.Provider = harness.NewProvider(t, func(exchange *harness.Exchange) bool {
		x := readCall(exchange)
		return p.next(x)(x)
	})
	return p
}

func readCall(exchange *harness.Exchange) *call {
	x := &call{Exchange: exchange, dialect: &openAI, client: exchange.Header.Get("User-Agent"), key: strings.TrimPrefix(exchange.Header.Get("Authorization"), "Bearer ")}
	x.target, _, _ = strings.Cut(x.Target[1:], "/")
	if strings.HasSuffix(x.Target, anthropic.path) {
		x.dialect, x.key = &anthropic, x.Header.Get("X-Api-Key")
	}
	var head struct {
		Model  string `json:"model"`
		Stream bool   `json:"stream"`
	}
	_ = json.Unmarshal(x.Body, &head) // a request without a model is the first script's
	x.model, x.stream = head.Model, head.Stream
	return x
}

// as is the provider's entry in the config: name is the target's, key its credential.
func (p *provider) as(name string, d *dialect, more object) object {
	settings := object{"name": name, "type": d.name, "base_url": p.URL + "/" + name + "/v1", "api_key": "key-of-" + name + "-0123456789"}
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

// callsOf returns the calls that a caller's request led to; of all callers if it is "".
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

// targets returns the targets of calls, in order.
func targets(calls []*call) []string {
	names := []string{}
	for _, x := range calls {
		names = append(names, x.target)
	}
	return names
}

// write sends text and reports whether the gateway still takes it.
func (x *call) write(text ...string) bool {
	_, err := io.WriteString(x.Conn, strings.Join(text, ""))
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
	if bytes.Contains(x.Body, []byte(`"include_usage":true`)) {
		end += x.dialect.usage(x.input(), words)
	}
	return end
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
	return x.write(streamHead, harness.Chunk(x.dialect.start(x.input()))) && x.write(harness.Chunk(x.events(0, 1))) &&
		x.write(harness.Chunk(x.events(1, words))) && x.write(harness.Chunk(x.ending()), harness.Chunk(x.dialect.closing), lastChunk)
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
	x.Reset()
	return false
}

// silent never answers.
func silent(x *call) bool {
	<-x.Gone
	return false
}

// after streams the start and n words, and then does as end says.
func after(n int, end answer) answer {
	return func(x *call) bool {
		if !x.write(streamHead, harness.Chunk(x.dialect.start(x.input())+x.events(0, n))) {
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
func errorEvent(x *call) bool { return x.write(harness.Chunk(x.dialect.errorEvent), lastChunk) }
