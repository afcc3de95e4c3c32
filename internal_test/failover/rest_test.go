// Rest: when a target or a credential is left alone, and what does not count.
package failover_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// A resting target stays so over a reload.
func TestRestSurvivesReload(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	upstream := object{
		"providers": list{p.as("first", &openAI, nil), p.as("second", &openAI, nil)},
		"models":    object{"m": list{"first/m", "second/m"}},
		"cooldown":  object{"after": 2, "for": "1h"},
	}
	g := start(t, upstream)
	p.play("first", "", refuse(503))
	g.ask(t.Context(), &openAI, "m", "before", true)
	const resting = "failing m:2"
	if got := g.state(t, "first"); got != resting {
		t.Fatalf("state %q, want %q", got, resting)
	}
	upstream["models"].(object)["new"] = "second/m"
	harness.WriteConfig(t, g.Dir, config(upstream))
	g.Signal(t, syscall.SIGHUP)
	harness.Eventually(t, "the new config", func() bool { return strings.Contains(g.Stderr.String(), "config reloaded") })
	if v := g.ask(t.Context(), &openAI, "new", "new", true); v.status != 200 {
		t.Fatalf("the new alias: %+v", v)
	}
	if got := g.state(t, "first"); got != resting {
		t.Errorf("after the reload: state %q, want %q", got, resting)
	}
	g.ask(t.Context(), &openAI, "m", "after", true)
	if got := targets(p.callsOf("after")); !slices.Equal(got, []string{"second"}) {
		t.Errorf("after the reload: called %v", got)
	}
}

// When the rest is over one request tries the target; those beside it do not.
func TestProbeIsOneRequest(t *testing.T) {
	t.Parallel()
	const rest = 800 * time.Millisecond
	g, p := pair(t, &openAI, object{"cooldown": object{"after": 2, "for": rest.String()}}, nil)
	p.play("first", "m", refuse(503))
	g.ask(t.Context(), &openAI, "m", "falls", true)

	round := func(name string, answer answer) (probes int) {
		probe := make(chan struct{})
		p.play("first", "m", func(x *call) bool { <-probe; return answer(x) })
		time.Sleep(rest + rest/8)
		var callers sync.WaitGroup
		ask := func(i int) {
			v := g.ask(t.Context(), &openAI, "m", fmt.Sprint(name, i), true)
			if v.status != 200 || v.failure != "" || !v.closed {
				t.Errorf("%s %d: %+v", name, i, v)
			}
		}
		const n = 12
		for i := range n {
			callers.Go(func() { ask(i) })
		}
		harness.Eventually(t, "every caller to reach a target", func() bool {
			probes = 0
			second := 0
			for i := range n {
				for _, target := range targets(p.callsOf(fmt.Sprint(name, i))) {
					if target == "first" {
						probes++
					} else {
						second++
					}
				}
			}
			return probes+second == n
		})
		close(probe)
		callers.Wait()
		return probes
	}
	if n := round("bad", refuse(503)); n != 1 {
		t.Errorf("%d requests to the target while its probe was under way", n)
	}
	// The probe has failed: the target rests anew.
	g.ask(t.Context(), &openAI, "m", "between", true)
	if got := targets(p.callsOf("between")); !slices.Equal(got, []string{"second"}) {
		t.Errorf("after a failed probe: called %v", got)
	}
	if n := round("good", whole); n != 1 {
		t.Errorf("%d requests to the target while its probe was under way", n)
	}
	g.ask(t.Context(), &openAI, "m", "recovered", true)
	if got := targets(p.callsOf("recovered")); !slices.Equal(got, []string{"first"}) || g.state(t, "first") != "ready" {
		t.Errorf("after a good probe: called %v, state %q", got, g.state(t, "first"))
	}
}

// A caller who leaves gives the probe back: the target does not rest for ever.
func TestProbeOfACallerWhoLeaves(t *testing.T) {
	t.Parallel()
	const rest = 200 * time.Millisecond
	g, p := pair(t, &openAI, object{"cooldown": object{"after": 1, "for": rest.String()}}, nil)
	p.play("first", "m", refuse(503))
	g.ask(t.Context(), &openAI, "m", "falls", true)
	p.play("first", "m", silent)
	time.Sleep(rest + rest/3)
	leaver(t, g, p, "m")
	p.play("first", "m", whole)
	v := g.ask(t.Context(), &openAI, "m", "next", true)
	if got := targets(p.callsOf("next")); !slices.Equal(got, []string{"first"}) || v.text == "" {
		t.Errorf("called %v: %+v", got, v)
	}
}

// leaver makes a request and leaves when it has reached a provider.
func leaver(t *testing.T, g *gateway, p *provider, model string) {
	t.Helper()
	client := fmt.Sprint("leaver ", len(p.callsOf("")))
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	done := make(chan struct{})
	go func() { defer close(done); g.ask(ctx, &openAI, model, client, true) }()
	harness.Eventually(t, "the call", func() bool { return len(p.callsOf(client)) == 1 })
	leave()
	<-done
	if rec, err := g.recordOf(client); err != nil || rec.Status != 499 || rec.Attempts != 1 {
		t.Errorf("record %+v, %v", rec, err)
	}
}

// Callers who leave, errors of theirs and limits of our own say nothing about a target.
func TestWhatDoesNotCount(t *testing.T) {
	t.Parallel()
	g, p := pair(t, &openAI, object{"cooldown": object{"after": 1, "for": "1h"}}, nil)
	expectReady := func(what string) {
		t.Helper()
		if got := g.state(t, "first"); got != "ready" && got != "untested" {
			t.Fatalf("after %s: state %q", what, got)
		}
	}
	p.play("first", "m", silent)
	leaver(t, g, p, "m")
	expectReady("a caller who left before the head")
	p.play("first", "m", after(20, silent))
	leaver(t, g, p, "m")
	expectReady("a caller who left in mid-stream")
	for _, answer := range []answer{refuse(400), refuse(403), refuse(404), refuse(413), refuse(422), tooLong, refusal} {
		p.play("first", "m", answer)
		g.ask(t.Context(), &openAI, "m", "wrong", true)
		expectReady("an error of the caller's")
	}
	p.play("first", "m", refuse(500))
	g.ask(t.Context(), &openAI, "m", "right", true)
	if got := g.state(t, "first"); got != "failing m:1" {
		t.Errorf("after an error of the provider's: state %q", got)
	}
}

// The only target never rests.
func TestOnlyTargetNeverRests(t *testing.T) {
	t.Parallel()
	g, p := pair(t, &openAI, object{"retries": 0, "cooldown": object{"after": 1, "for": "1h"}}, nil)
	p.play("first", "only", refuse(503))
	for range 5 {
		g.ask(t.Context(), &openAI, "only", "again", true)
	}
	if n := len(p.callsOf("again")); n != 5 {
		t.Errorf("%d of 5 requests reached it", n)
	}
	// Nor do all targets of a route rest at once.
	p.play("first", "m", refuse(503))
	p.play("second", "m", refuse(503))
	for range 5 {
		g.ask(t.Context(), &openAI, "m", "all", true)
	}
	if n := len(p.callsOf("all")); n != 5 {
		t.Errorf("%d of 5 requests reached a target", n)
	}
}

// A credential that is refused or at its limit rests alone; the provider goes on with
// the others.
func TestKeysRest(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d *dialect) {
		keys := list{"key-refused-0123456789", "key-good-one-0123456789", "key-limited-0123456789", "key-good-two-0123456789"}
		p := newProvider(t)
		g := start(t, object{
			"providers": list{p.as("first", d, object{"api_keys": keys}), p.as("second", d, nil)},
			"models":    object{"m": list{"first/m", "second/m"}},
			"cooldown":  object{"after": 1, "for": "1h"},
		})
		p.play("first", "m", func(x *call) bool {
			switch {
			case strings.Contains(x.key, "refused"):
				return refuse(401)(x)
			case strings.Contains(x.key, "limited"):
				return refuse(429, "Retry-After: 60")(x)
			}
			return whole(x)
		})
		const n = 16
		for i := range n {
			v := g.ask(t.Context(), d, "m", "tests", true)
			if v.status != 200 || !v.closed {
				t.Errorf("request %d: %+v", i, v)
			}
		}
		used := map[string]int{}
		for _, x := range p.callsOf("tests") {
			used[x.target+" "+x.key]++
		}
		for name, most := range map[string]int{"key-refused-0123456789": 1, "key-limited-0123456789": 1, "key-good-one-0123456789": n, "key-good-two-0123456789": n} {
			if got := used["first "+name]; got < 1 || got > most {
				t.Errorf("%s was used %d times", name, got)
			}
		}
		if len(used) != len(keys) {
			t.Errorf("used: %v", used)
		}
		if got := g.state(t, "first"); got != "ready" {
			t.Errorf("the provider's state is %q", got)
		}
	})
}

// A 403 goes to the caller, since it may be about the request, and its key rests.
func TestForbiddenKeyRests(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	g := start(t, object{"providers": list{p.as("first", &openAI, object{"api_keys": list{"key-one-0123456789", "key-two-0123456789"}})}, "models": object{"m": "first/m"}})
	p.play("first", "m", func(x *call) bool {
		if strings.Contains(x.key, "one") {
			return refuse(403)(x)
		}
		return whole(x)
	})
	ends := map[int]int{}
	for range 8 {
		ends[g.ask(t.Context(), &openAI, "m", "tests", true).status]++
	}
	if ends[403] != 1 || ends[200] != 7 {
		t.Errorf("statuses %v", ends)
	}
}

// The only credential never rests.
func TestOnlyKeyNeverRests(t *testing.T) {
	t.Parallel()
	g, p := pair(t, &openAI, object{"retries": 0}, nil)
	for _, status := range []int{401, 403, 429} {
		client := fmt.Sprint(status)
		p.play("first", "only", refuse(status))
		g.ask(t.Context(), &openAI, "only", client, true)
		p.play("first", "only", whole)
		if v := g.ask(t.Context(), &openAI, "only", client, true); v.status != 200 || len(p.callsOf(client)) != 2 {
			t.Errorf("after a %d: %+v", status, v)
		}
	}
}

// A provider gets at most max_concurrency calls at a time. Some more wait; the rest goes
// elsewhere, or is refused where there is no elsewhere.
func TestMaxConcurrency(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	first := p.as("first", &openAI, object{"max_concurrency": 2})
	g := start(t, object{
		"providers": list{first, p.as("second", &openAI, nil)},
		"models":    object{"only": "first/m", "m": list{"first/m", "second/m"}},
		"retries":   1, "cooldown": object{"after": 1, "for": "1h"},
	})
	for _, model := range []string{"only", "m"} {
		var now, most atomic.Int64
		more := make(chan struct{})
		p.play("first", "m", func(x *call) bool {
			n := now.Add(1)
			defer now.Add(-1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			<-more
			return whole(x)
		})
		const n = 16 // 2 under way and 8 waiting
		var callers sync.WaitGroup
		var good, busy, answered atomic.Int64
		for i := range n {
			callers.Go(func() {
				v := g.ask(t.Context(), &openAI, model, fmt.Sprint(model, i), true)
				answered.Add(1)
				switch {
				case v.status == 200 && v.closed:
					good.Add(1)
				case v.status == 503 && strings.Contains(v.failure, "max_concurrency") && v.header.Get("Retry-After") != "":
					busy.Add(1)
				default:
					t.Errorf("%+v", v)
				}
			})
		}
		harness.Eventually(t, "six to find no place", func() bool { return answered.Load() == n-10 })
		close(more)
		callers.Wait()
		want := map[string][2]int64{"only": {10, 6}, "m": {16, 0}}[model]
		if got := [2]int64{good.Load(), busy.Load()}; got != want || most.Load() != 2 {
			t.Errorf("%s: %v answered and refused, want %v; %d at a time", model, got, want, most.Load())
		}
		if got := g.state(t, "first"); got != "ready" {
			t.Errorf("%s: a limit of ours counts against the target: %q", model, got)
		}
	}
}
