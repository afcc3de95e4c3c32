// Package gateway_test tests the gateway from outside: it runs the binary with a config
// of its own, and talks to it as clients and providers do.
package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"proxycast/internal_test/harness"
)

// What nearly every test names.
type (
	object   = harness.Object
	list     = harness.List
	exchange = harness.Exchange
	script   = harness.Script
	provider = harness.Provider
	reply    = harness.Reply
	record   = harness.Record
)

// gateway is a running gateway, with what the tests ask of it.
type gateway struct{ *harness.Gateway }

func start(t testing.TB, cfg object, env ...string) *gateway {
	t.Helper()
	return &gateway{harness.Start(t, cfg, env...)}
}

func startIn(t testing.TB, dir string, cfg object, env ...string) *gateway {
	t.Helper()
	return &gateway{harness.StartIn(t, dir, cfg, env...)}
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
		all = append(all, harness.Chunk(event))
	}
	return append(all, "0\r\n\r\n")
}

// serve answers every request with c, size bytes a write, or whole, or byEvent.
func (c canned) serve(size int) script {
	return func(x *exchange) bool {
		if size == byEvent {
			for _, piece := range c.pieces() {
				x.Write([]byte(piece), whole)
			}
			return true
		}
		x.Write([]byte(strings.Join(c.pieces(), "")), size)
		return true
	}
}

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
	settings := object{"name": "fake", "type": kind, "base_url": p.URL, "api_key": harness.ProviderKey, "models": list{"*"}}
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
	claude := object{"name": "claude", "type": "anthropic", "base_url": p.URL, "api_key": harness.ProviderKey, "models": list{"claude-*"}}
	upstream["providers"] = append(list{claude}, upstream["providers"].(list)...)
	return cfg
}

func startBoth(t *testing.T) (*gateway, *provider) {
	t.Helper()
	p := harness.NewProvider(t, ok(chatReply).serve(whole))
	return start(t, relayBoth(p)), p
}
