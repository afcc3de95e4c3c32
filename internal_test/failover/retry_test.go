// Retries: what leads to another attempt, when, and what the caller gets when nothing
// is left.
package failover_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// pair is a gateway whose models lead to the targets first and second, in order.
// more goes into the upstream section, settings into both providers.
func pair(t *testing.T, d *dialect, more, settings object) (*gateway, *provider) {
	t.Helper()
	p := newProvider(t)
	upstream := object{
		"providers": list{p.as("first", d, settings), p.as("second", d, settings)},
		"models":    object{"only": "first/only", "held*": object{"targets": list{"first/*", "second/*"}, "commit": "complete"}, "*": list{"first/*", "second/*"}},
	}
	for name, value := range more {
		upstream[name] = value
	}
	return start(t, upstream), p
}

// both runs f in either dialect.
func both(t *testing.T, f func(t *testing.T, d *dialect)) {
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			f(t, d)
		})
	}
}

// What fails before content leads on: to the same target, to the next, or nowhere.
func TestWhatIsRetried(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d *dialect) {
		g, p := pair(t, d, object{"cooldown": object{"after": 100}}, nil)
		var running sync.WaitGroup
		defer running.Wait()
		f := func(name string, first answer, stream bool, want ...string) {
			running.Go(func() {
				p.play("first", name, first)
				v := g.ask(t.Context(), d, name, name, stream)
				calls := p.callsOf(name)
				if got := targets(calls); !slices.Equal(got, want) {
					t.Errorf("%s: called %v, want %v", name, got, want)
					return
				}
				last := calls[len(calls)-1]
				if last.target == "second" && (v.status != 200 || v.text != last.text(words) || v.failure != "" || v.broken != nil) {
					t.Errorf("%s: %+v", name, v)
				}
				if last.target == "first" && v.status < 400 {
					t.Errorf("%s: status %d", name, v.status)
				}
				if rec, err := g.recordOf(name); err != nil || rec.Attempts != len(want) || rec.Provider != last.target {
					t.Errorf("%s: record %+v, %v", name, rec, err)
				}
			})
		}
		for _, status := range []int{408, 429, 500, 502, 503, 504, 529} {
			f(fmt.Sprint(status), refuse(status), status%2 == 0, "first", "first", "second")
		}
		for _, status := range []int{401, 402, 404} { // the credential's, the account's or the model's fault
			f(fmt.Sprint(status), refuse(status), true, "first", "second")
		}
		for _, status := range []int{400, 403, 409, 413, 422} {
			f(fmt.Sprint(status), refuse(status), true, "first")
		}
		f("too long", tooLong, false, "first", "second")
		f("refusal", refusal, false, "first")
		f("redirect", func(x *call) bool {
			return x.write(document(302, "text/plain", "", "Location: "+p.URL))
		}, true, "first", "second")

		f("error event before content", after(0, errorEvent), true, "first", "first", "second")
		f("end before content", after(0, endEarly), true, "first", "first", "second")
		f("cut before content", after(0, hangUp), true, "first", "first", "second")
		f("empty stream", func(x *call) bool { return x.write(streamHead, lastChunk) }, true, "first", "first", "second")
		f("head only", func(x *call) bool { x.write("HTTP/1.1 200 OK\r\nContent-"); return false }, true, "first", "first", "second")
		f("not HTTP", func(x *call) bool { x.write("220 ready\r\n"); return false }, true, "first", "first", "second")

		plain := func(x *call) string { return x.dialect.plain(x.text(words), x.input(), words) }
		f("HTML under 200", func(x *call) bool { return x.write(document(200, "text/html", "<html>busy</html>")) }, false, "first", "second")
		f("HTML under 200 for a stream", func(x *call) bool { return x.write(document(200, "text/html", "<html>busy</html>")) }, true, "first", "second")
		f("error under 200", func(x *call) bool { return x.write(document(200, "application/json", x.problem(200))) }, false, "first", "first", "second")
		f("half a document", func(x *call) bool { return x.write(document(200, "application/json", plain(x)[:200])) }, false, "first", "second")
		f("shorter than its length", func(x *call) bool {
			text := document(200, "application/json", plain(x))
			x.write(text[:len(text)-9])
			return false
		}, false, "first", "first", "second")
		f("cut chunk", func(x *call) bool {
			x.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", harness.Chunk(plain(x)[:100]), "ffff\r\n", plain(x)[100:])
			return false
		}, false, "first", "first", "second")
		f("no last chunk", func(x *call) bool {
			x.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", harness.Chunk(plain(x)))
			return false
		}, false, "first", "first", "second")
		f("bad chunk size", func(x *call) bool {
			x.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", harness.Chunk(plain(x)[:100]), "xyz\r\n")
			return false
		}, false, "first", "first", "second")
	})
}

// A provider that reports an error in its stream and then goes silent is left at once.
func TestErrorEventThenSilence(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d *dialect) {
		g, p := pair(t, d, nil, nil)
		thenSilent := func(x *call) bool { x.write(harness.Chunk(d.errorEvent)); return silent(x) }
		p.play("first", "m", after(0, thenSilent))
		p.play("first", "held", after(30, thenSilent))
		for model, want := range map[string][]string{"m": {"first", "first", "second"}, "held": {"first", "second"}} {
			v := g.ask(t.Context(), d, model, model, true)
			calls := p.callsOf(model)
			if got := targets(calls); !slices.Equal(got, want) || v.text != calls[len(calls)-1].text(words) || v.failure != "" {
				t.Errorf("%s: called %v, caller: %+v", model, got, v)
			}
		}
	})
}

// A wait beyond ten seconds is not kept: the next target is asked at once.
func TestLongRetryAfter(t *testing.T) {
	t.Parallel()
	in := func(d time.Duration, layout string) string { return time.Now().Add(d).UTC().Format(layout) }
	for _, c := range []struct {
		dialect *dialect
		status  int
		header  []string
	}{
		{&openAI, 429, []string{"Retry-After: 11"}},
		{&openAI, 503, []string{"Retry-After: 600"}},
		{&openAI, 429, []string{"Retry-After-Ms: 10500", "Retry-After: 1"}},
		{&openAI, 429, []string{"Retry-After: " + in(time.Minute, http.TimeFormat)}},
		{&openAI, 429, []string{"X-Ratelimit-Remaining-Requests: 0", "X-Ratelimit-Reset-Requests: 6m0s"}},
		{&openAI, 429, []string{"X-Ratelimit-Remaining-Tokens: 0", "X-Ratelimit-Reset-Tokens: 11s"}},
		{&anthropic, 429, []string{"Retry-After: 60"}},
		{&anthropic, 529, []string{"Retry-After: 60"}},
		{&anthropic, 429, []string{"Anthropic-Ratelimit-Tokens-Remaining: 0", "Anthropic-Ratelimit-Tokens-Reset: " + in(time.Minute, time.RFC3339)}},
	} {
		t.Run(c.dialect.name+" "+strings.Join(c.header, ", "), func(t *testing.T) {
			t.Parallel()
			g, p := pair(t, c.dialect, nil, nil)
			p.play("first", "m", refuse(c.status, c.header...))
			p.play("first", "only", refuse(c.status, c.header...))
			v := g.ask(t.Context(), c.dialect, "m", "two", true)
			calls := p.callsOf("two")
			if got := targets(calls); !slices.Equal(got, []string{"first", "second"}) || v.text != calls[1].text(words) {
				t.Errorf("called %v, caller: %+v", got, v)
			}
			if v.took > 5*time.Second {
				t.Errorf("after %v", v.took)
			}
			// With nobody else to ask, the caller gets to know the time itself.
			v = g.ask(t.Context(), c.dialect, "only", "one", true)
			calls = p.callsOf("one")
			if len(calls) != 1 || v.status != c.status || string(v.raw) != calls[0].problem(c.status) {
				t.Errorf("called %v, caller: %+v", targets(calls), v)
			}
			for _, line := range c.header {
				if name, value, _ := strings.Cut(line, ": "); v.header.Get(name) != value {
					t.Errorf("%s: %q, want %q", name, v.header.Get(name), value)
				}
			}
			if v.header.Get("X-Should-Retry") == "false" {
				t.Error("the caller is told not to retry, although nothing was retried for it")
			}
		})
	}
}

// A short wait is kept, in whichever header it stands.
func TestShortRetryAfter(t *testing.T) {
	t.Parallel()
	g, p := pair(t, &openAI, nil, nil)
	var running sync.WaitGroup
	for i, header := range [][]string{
		{"Retry-After: 0.6"}, {"Retry-After-Ms: 600"}, {"Retry-After-Ms: 600", "Retry-After: 60"},
		{"X-Ratelimit-Remaining-Tokens: 0", "X-Ratelimit-Reset-Tokens: 600ms"},
	} {
		running.Go(func() {
			model := fmt.Sprintf("m%d", i)
			p.play("first", model, refuse(429, header...), whole)
			g.ask(t.Context(), &openAI, model, model, false)
			calls := p.callsOf(model)
			if got := targets(calls); !slices.Equal(got, []string{"first", "first"}) {
				t.Errorf("%v: called %v", header, got)
			} else if wait := calls[1].At.Sub(calls[0].At); wait < 600*time.Millisecond {
				t.Errorf("%v: repeated after %v", header, wait)
			}
		})
	}
	running.Wait()
}

// When nothing is left the caller gets the last provider's own error, byte for byte,
// and is told not to multiply the attempts.
func TestLastError(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d *dialect) {
		g, p := pair(t, d, object{"cooldown": object{"after": 100}}, object{"timeouts": object{"headers": "1s"}})
		var running sync.WaitGroup
		defer running.Wait()
		f := func(name string, first, second answer, check func(v view, calls []*call)) {
			running.Go(func() {
				p.play("first", name, first)
				p.play("second", name, second)
				v := g.ask(t.Context(), d, name, name, true)
				calls := p.callsOf(name)
				check(v, calls)
				if v.header.Get("X-Should-Retry") != "false" {
					t.Errorf("%s: x-should-retry %q after %d attempts", name, v.header.Get("X-Should-Retry"), len(calls))
				}
				rec, err := g.recordOf(name)
				if err != nil || rec.Status != v.status || rec.Attempts != len(calls) || rec.ErrorType == "" || rec.Provider != "second" || rec.OutputTokens != nil {
					t.Errorf("%s: record %+v, %v", name, rec, err)
				}
			})
		}
		own := func(status int) func(v view, calls []*call) {
			return func(v view, calls []*call) {
				if last := calls[len(calls)-1]; v.status != status || string(v.raw) != last.problem(status) || last.target != "second" {
					t.Errorf("caller: %+v", v)
				}
			}
		}
		ours := func(status int, says string) func(v view, calls []*call) {
			return func(v view, calls []*call) {
				if v.status != status || !strings.Contains(v.failure, says) {
					t.Errorf("caller: %+v", v)
				}
			}
		}
		f("503, 500", refuse(503), refuse(500), own(500))
		f("reset, 429", reset, refuse(429, "Retry-After: 3"), own(429))
		f("silence, 400", silent, refuse(400), own(400))
		f("500, reset", refuse(500), reset, ours(502, `provider "second"`))
		f("500, silence", refuse(500), silent, ours(504, "timeouts.headers"))
	})
}

// A provider's own word on whether to retry stands, but its yes only where the gateway has not tried again itself: the
// client's attempts would multiply ours. A no ends the attempts at that target.
func TestShouldRetry(t *testing.T) {
	t.Parallel()
	g, p := pair(t, &anthropic, nil, nil)
	f := func(model, first, second, want string, calls int) {
		t.Helper()
		for target, word := range map[string]string{"first": first, "second": second} {
			p.play(target, model, refuse(503, "X-Should-Retry: "+word))
		}
		v := g.ask(t.Context(), &anthropic, model, model, true)
		if got := v.header.Get("X-Should-Retry"); got != want {
			t.Errorf("%s: %q, want %q", model, got, want)
		}
		if n := len(p.callsOf(model)); n != calls {
			t.Errorf("%s: %d calls, want %d", model, n, calls)
		}
	}
	f("both yes", "true", "true", "false", 3)
	f("both no", "false", "false", "false", 2)
	p.play("first", "once", refuse(400, "X-Should-Retry: true"))
	if v := g.ask(t.Context(), &anthropic, "once", "once", true); v.header.Get("X-Should-Retry") != "true" {
		t.Errorf("a yes after one attempt: %+v", v)
	}
}

// A caller who leaves while the gateway waits ends the attempts, and its record says so.
func TestCallerLeavesBetweenAttempts(t *testing.T) {
	t.Parallel()
	g, p := pair(t, &openAI, nil, nil)
	p.play("first", "m", refuse(503, "Retry-After: 2"))
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan view)
	go func() { done <- g.ask(ctx, &openAI, "m", "leaves", true) }()
	harness.Eventually(t, "the first call", func() bool { return len(p.callsOf("leaves")) == 1 })
	time.Sleep(50 * time.Millisecond) // the wait begins
	leave()
	<-done
	rec, err := g.recordOf("leaves")
	if err != nil || rec.Status != 499 || rec.Attempts != 1 || rec.ErrorType != "client_closed" {
		t.Errorf("record %+v, %v", rec, err)
	}
	if n := len(p.callsOf("leaves")); n != 1 {
		t.Errorf("%d calls", n)
	}
}

// Under the strategy weighted the targets share by weight, and stand in for each other.
func TestWeights(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	g := start(t, object{
		"providers": list{p.as("a", &openAI, nil), p.as("b", &openAI, nil), p.as("c", &openAI, nil), p.as("never", &openAI, nil)},
		"models": object{"*": object{"strategy": "weighted", "targets": list{
			object{"to": "a/*", "weight": 6}, object{"to": "b/*", "weight": 3}, object{"to": "c/*", "weight": 1}, object{"to": "never/*", "weight": 0}}}},
	})
	const n = 400
	for i := range n {
		if v := g.ask(t.Context(), &openAI, "m", "drawn", false); v.status != 200 {
			t.Fatalf("request %d: %+v", i, v)
		}
	}
	got := map[string]float64{}
	for _, name := range targets(p.callsOf("drawn")) {
		got[name]++
	}
	var chi float64
	for name, share := range map[string]float64{"a": 0.6, "b": 0.3, "c": 0.1} {
		want := share * n
		chi += (got[name] - want) * (got[name] - want) / want
	}
	if t.Logf("%v, chi² %.1f", got, chi); chi > 30 || got["never"] > 0 { // once in 3 million
		t.Errorf("shares %v", got)
	}
	for _, name := range []string{"a", "b", "c"} {
		p.play(name, "", refuse(404))
	}
	v := g.ask(t.Context(), &openAI, "m", "fallback", false)
	if got := targets(p.callsOf("fallback")); len(got) != 3 || v.status != 404 && v.status != 200 {
		t.Errorf("called %v: %+v", got, v)
	}
}
