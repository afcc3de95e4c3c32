// The budget: thousands of calls under mixed faults.
package failover_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// mixed answers a call with a random fault, or none.
func mixed(x *call) bool {
	faults := []answer{
		whole, whole, whole, whole, reset, refuse(429), refuse(429, "Retry-After-Ms: 50"), refuse(429, "Retry-After: 60"), refuse(500), refuse(503), refuse(529),
		refuse(400), refuse(401), refuse(403), refuse(404), tooLong, refusal,
		after(0, errorEvent), after(0, hangUp), after(0, endEarly), after(20, errorEvent), after(20, hangUp), after(20, tear), after(20, endEarly), after(20, reset),
	}
	switch n := rand.IntN(200); {
	case n == 0:
		return silent(x)
	case n == 1:
		return after(0, silent)(x)
	case n == 2:
		return after(30, silent)(x)
	default:
		return faults[rand.IntN(len(faults))](x)
	}
}

// However the providers fail: no request takes more attempts than the budget, no caller
// gets content twice, mixed or cut without being told, each leaves one true record, and
// nothing is left over.
func TestMixedFaults(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	providers, route := list{}, list{}
	for i, name := range []string{"a", "b", "c"} {
		settings := object{"timeouts": object{"headers": "1s", "first_token": "1s", "idle": "1s"}}
		if i == 1 {
			settings["api_keys"] = list{"key-one-0123456789", "key-two-0123456789", "key-three-0123456789"}
		}
		providers, route = append(providers, p.as(name, &openAI, settings)), append(route, name+"/*")
		p.play(name, "", mixed)
	}
	const retries = 2
	g := start(t, object{
		"providers": providers, "retries": retries, "keepalive": "50ms", "cooldown": object{"after": 3, "for": "50ms"},
		"models": object{"m": route, "held": object{"targets": route, "commit": "complete"}, "alone": "a/alone"},
	})
	models := []string{"m", "held", "m", "alone"}
	calls := 1000
	if harness.Full() {
		calls = 5000
	}
	const warmUp, atOnce = 150, 64
	faultyCalls(g, models, "warm", warmUp, atOnce, nil)
	before := g.usage(t, p)

	var mu sync.Mutex
	outcomes := map[string]*outcome{}
	faultyCalls(g, models, "call", calls, atOnce, func(v view) {
		mu.Lock()
		defer mu.Unlock()
		outcomes[v.client] = &outcome{view: v}
	})
	for _, x := range p.callsOf("") {
		if o := outcomes[x.client]; o != nil {
			o.calls = append(o.calls, x)
		}
	}
	harness.Eventually(t, "all to be settled", func() bool { return g.status(t).InFlight == 0 })
	records, err := g.records()
	if err != nil {
		t.Fatal(err)
	}
	checkOutcomes(t, outcomes, records, 1+retries)

	const slack = 3
	var now usage
	for deadline := time.Now().Add(harness.Patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if now = g.usage(t, p); now.goroutines <= before.goroutines+slack && now.files <= before.files+slack && now.inFlight == 0 && now.bodyBytes == 0 {
			break
		}
	}
	t.Logf("usage %+v → %+v", before, now)
	if now.goroutines > before.goroutines+slack || now.files > before.files+slack || now.inFlight > 0 || now.bodyBytes > 0 {
		t.Error("something is left over")
	}
}

// checkOutcomes judges each request by itself.
func checkOutcomes(t *testing.T, outcomes map[string]*outcome, records map[string][]record, budget int) {
	t.Helper()
	seen := map[string]int{}
	for name, o := range outcomes {
		if n := len(o.calls); n > budget {
			t.Errorf("%s: %d calls", name, n)
		}
		switch recs := records[name]; {
		case o.left && len(recs) == 0: // before the gateway had the request
			continue
		case len(recs) != 1:
			t.Errorf("%s: %d records", name, len(recs))
			continue
		default:
			o.record = recs[0]
		}
		// A provider under load may log a call later than the one that replaced it.
		slices.SortStableFunc(o.calls, func(a, b *call) int { return o.answered(a) - o.answered(b) })
		seen[fmt.Sprintf("%d %s", o.record.Status, o.record.ErrorType)]++
		if lie := o.lie(); lie != "" && !o.left {
			t.Error(o.explain(failed, name+": "+lie))
		}
		if o.left && (o.record.ErrorType == "client_closed") != (o.record.Status == 499) {
			t.Errorf("%s: record %+v of a caller who left", name, o.record)
		}
	}
	t.Logf("ends: %v", seen)
}

// answered is 1 for a call that the answer can be of, by the record and by its words.
func (o *outcome) answered(x *call) int {
	if x.target == o.record.Provider && strings.HasPrefix(x.text(words), o.text) {
		return 1
	}
	return 0
}

// faultyCalls makes n requests, of which some are left by their callers, and tells of
// each.
func faultyCalls(g *gateway, models []string, name string, n, atOnce int, tell func(view)) {
	var next atomic.Int64
	var callers sync.WaitGroup
	for range atOnce {
		callers.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				ctx, cancel := context.WithCancel(context.Background())
				if i%20 == 0 {
					time.AfterFunc(time.Duration(rand.IntN(60))*time.Millisecond, cancel)
				}
				v := g.ask(ctx, &openAI, models[i%len(models)], fmt.Sprint(name, i), true)
				cancel()
				if tell != nil {
					tell(v)
				}
			}
		})
	}
	callers.Wait()
}

// usage is what the gateway holds.
type usage struct {
	goroutines, files, inFlight int
	bodyBytes                   int64
}

func (g *gateway) usage(t *testing.T, p *provider) usage {
	t.Helper()
	g.Client.CloseIdleConnections()
	p.HangUp() // kept connections are no leak
	time.Sleep(20 * time.Millisecond)
	s := g.status(t)
	files, _ := g.OpenFiles() // none elsewhere than on Linux
	return usage{s.Goroutines, files, s.InFlight, s.BodyBytes}
}
