// Streams: keepalive comments, limits of time, and streams that are held until they are
// complete.
package failover_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// Comments stand between events, however slowly and in whatever pieces these come, and
// a client of SSE reads the same events with them as without.
func TestKeepaliveStandsBetweenEvents(t *testing.T) {
	t.Parallel()
	const every = 40 * time.Millisecond
	type stream struct {
		dialect *dialect
		model   string
		crlf    bool
	}
	var streams []stream
	for _, d := range dialects {
		for _, model := range []string{"m", "held"} {
			streams = append(streams, stream{d, model, false}, stream{d, model, true})
		}
	}
	gateways, providers := map[*dialect]*gateway{}, map[*dialect]*provider{}
	for _, d := range dialects {
		gateways[d], providers[d] = pair(t, d, object{"keepalive": every.String()}, nil)
	}
	var running sync.WaitGroup
	for _, s := range streams {
		running.Go(func() {
			d := s.dialect
			name := fmt.Sprintf("%s %s crlf=%t", d.name, s.model, s.crlf)
			model, sent := fmt.Sprint(s.model, s.crlf), make(chan string, 1)
			providers[d].play("first", model, func(x *call) bool {
				text := d.start(1) + x.events(0, 2) + d.finish(2) + d.closing
				newline := "\n"
				if s.crlf {
					newline = "\r\n"
					text = strings.ReplaceAll(text, "\n", newline)
				}
				sent <- text
				return drip(x, text, newline+newline, every+every/2)
			})
			v := gateways[d].ask(t.Context(), d, model, name, true)
			want := <-sent
			wantEvents, _, _ := parseSSE(want)
			if got := strings.ReplaceAll(string(v.raw), keepalive, ""); v.broken != nil || got != want {
				t.Errorf("%s: without comments the caller got %q, ended in %v", name, got, v.broken)
			}
			if !slices.Equal(v.events, wantEvents) {
				t.Errorf("%s: a client of SSE reads %q", name, v.events)
			}
			if v.comments == 0 {
				t.Errorf("%s: no comments", name)
			}
		})
	}
	running.Wait()
}

// drip sends text byte by byte, with silences before, in and behind the ends of its
// events.
func drip(x *call, text, end string, silence time.Duration) bool {
	x.write(streamHead)
	for at := range len(text) {
		if near := text[max(0, at-len(end)):min(len(text), at+len(end))]; strings.Contains(near, end) || at%211 == 0 {
			time.Sleep(silence)
		}
		if !x.write(harness.Chunk(text[at : at+1])) {
			return false
		}
	}
	return x.write(lastChunk)
}

// Each limit ends a call in an error of the dialect that names it, and the silent
// provider is not asked again.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // the kernel connects, nobody shakes hands
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { deaf.Close() })
	endless := func(x *call) bool {
		for x.write(harness.Chunk(x.dialect.word("word "))) {
			time.Sleep(20 * time.Millisecond)
		}
		return false
	}
	halfDocument := func(x *call) bool {
		text := document(200, "application/json", x.dialect.plain(x.text(words), 1, words))
		x.write(text[:len(text)/2])
		return silent(x)
	}
	cases := []struct {
		limit  string
		stream bool
		answer answer
		begun  bool // content had passed
	}{
		{"connect", true, nil, false},
		{"headers", true, silent, false},
		{"first_token", true, after(0, silent), false},
		{"idle", true, after(3, silent), true},
		{"idle", false, halfDocument, false},
		{"total", true, after(3, endless), true},
		{"total", true, silent, false},
		{"total", false, silent, false},
		{"total", false, halfDocument, false},
	}
	both(t, func(t *testing.T, d *dialect) {
		p := newProvider(t)
		providers := list{}
		for _, limit := range []string{"connect", "headers", "first_token", "idle", "total"} {
			timeouts := object{"connect": "8s", "headers": "8s", "first_token": "8s", "idle": "8s", "total": "8s"}
			timeouts[limit] = "250ms"
			settings := object{"timeouts": timeouts}
			if limit == "connect" {
				settings["base_url"] = "https://" + deaf.Addr().String()
			}
			providers = append(providers, p.as(limit, d, settings))
		}
		g := start(t, object{"providers": providers})
		var running sync.WaitGroup
		for i, c := range cases {
			running.Go(func() {
				model := fmt.Sprint("m", i)
				if c.answer != nil {
					p.play(c.limit, model, c.answer)
				}
				v := g.ask(t.Context(), d, c.limit+"/"+model, model, c.stream)
				name := fmt.Sprintf("%s, stream %t", c.limit, c.stream)
				kind := map[string]string{"openai": "server_error: ", "anthropic": "timeout_error: "}[d.name]
				if want := fmt.Sprintf("%sprovider %q did not answer in time (timeouts.%s = 250ms)", kind, c.limit, c.limit); v.failure != want {
					t.Errorf("%s: the caller is told %q", name, v.failure)
				}
				status := 504
				if c.begun {
					status = 200
				}
				if v.status != status || c.begun != (v.broken != nil) || v.finish != "" || v.closed || c.begun != (v.text != "") {
					t.Errorf("%s: %+v", name, v)
				}
				if rec, err := g.recordOf(model); err != nil || rec.Status != status || rec.ErrorType != "timeout" || rec.Attempts != 1 || !strings.Contains(rec.Error, "timeouts."+c.limit) {
					t.Errorf("%s: record %+v, %v", name, rec, err)
				}
				if c.answer == nil {
					return
				}
				calls := p.callsOf(model)
				if len(calls) != 1 {
					t.Errorf("%s: %d calls", name, len(calls))
					return
				}
				select {
				case <-calls[0].Gone:
				case <-time.After(harness.Patience):
					t.Errorf("%s: the provider's call goes on", name)
				}
			})
		}
		running.Wait()
	})
}

// A comment has begun the reply of a held stream: what then fails is told by an event
// and a broken connection, and nothing else is written into the stream.
func TestHeldStreamFailsAfterKeepalive(t *testing.T) {
	t.Parallel()
	const every = 50 * time.Millisecond
	slowly := func(n int, end answer) answer {
		return after(n, func(x *call) bool { time.Sleep(5 * every); return end(x) })
	}
	both(t, func(t *testing.T, d *dialect) {
		g, p := pair(t, d, object{"retries": 1, "keepalive": every.String(), "cooldown": object{"after": 100}}, object{"timeouts": object{"headers": "1s"}})
		var running sync.WaitGroup
		defer running.Wait()
		held := func(name string, second answer, check func(v view, last *call)) {
			running.Go(func() {
				model := "held " + name
				p.play("first", model, slowly(20, hangUp))
				p.play("second", model, second)
				v := g.ask(t.Context(), d, model, model, true)
				calls := p.callsOf(model)
				if got := targets(calls); !slices.Equal(got, []string{"first", "second"}) {
					t.Errorf("%s: called %v", name, got)
					return
				}
				check(v, calls[1])
				if v.status != 200 || v.comments == 0 || v.malformed > 0 {
					t.Errorf("%s: %+v", name, v)
				}
				if _, _, torn := parseSSE(string(v.raw)); torn {
					t.Errorf("%s: the stream ends in %q", name, v.raw[max(0, len(v.raw)-200):])
				}
				rec, err := g.recordOf(model)
				if err != nil || rec.Status != 200 || rec.Attempts != 2 || rec.Provider != "second" || (rec.ErrorType == "") != v.closed {
					t.Errorf("%s: record %+v, %v", name, rec, err)
				}
			})
		}
		told := func(n int, says string) func(v view, last *call) {
			return func(v view, last *call) {
				if v.text != last.text(n) || !strings.Contains(v.failure, says) || v.broken == nil || v.finish != "" || v.closed {
					t.Errorf("want %d words, %q and a broken connection: %+v", n, says, v)
				}
			}
		}
		held("whole", whole, func(v view, last *call) {
			if v.text != last.text(words) || v.failure != "" || !v.closed || v.broken != nil {
				t.Errorf("%+v", v)
			}
		})
		held("cut", after(30, hangUp), told(30, "ended before it was finished"))
		held("cut before content", after(0, hangUp), told(0, "ended before it was finished"))
		held("500", refuse(500), told(0, "500"))
		held("reset", reset, told(0, `provider "second"`))
		held("silent", silent, told(0, "timeouts.headers"))
		held("not a stream", func(x *call) bool {
			return x.write(document(200, "application/json", x.dialect.plain(x.text(words), 1, words)))
		}, told(0, `provider "second"`))
		held("its own error", after(30, errorEvent), func(v view, last *call) {
			if v.text != last.text(30) || !strings.Contains(d.errorEvent, strings.Split(v.failure, ": ")[1]) || v.finish != "" || v.closed {
				t.Errorf("%+v", v)
			}
		})
	})
}

// A stream beyond what is held passes as it comes, and its memory is given back.
func TestHeldStreamTooLargeToHold(t *testing.T) {
	t.Parallel()
	g, p := pair(t, &openAI, nil, nil)
	piece := strings.Repeat("x", 100<<10)
	const pieces = 90 // 8 MiB and more
	begun := make(chan struct{})
	p.play("first", "held", func(x *call) bool {
		x.write(streamHead, harness.Chunk(x.dialect.start(1)))
		for range pieces {
			x.write(harness.Chunk(x.dialect.word(piece)))
		}
		<-begun
		return x.write(harness.Chunk(x.dialect.finish(1)+x.dialect.closing), lastChunk)
	})
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	res, err := g.Client.Do(g.Request(ctx, "POST", openAI.path, openAI.request("held", true), "User-Agent: large"))
	close(begun)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	v := view{header: res.Header}
	v.raw, v.broken = io.ReadAll(res.Body)
	if v.read(); v.broken != nil || !v.closed || len(v.text) != pieces*len(piece) || len(p.callsOf("large")) != 1 {
		t.Errorf("%d bytes of text: %v", len(v.text), v)
	}
	if n := g.status(t).BodyBytes; n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
}
