// Package failover_test puts the gateway before providers that fail, and scores what its
// callers get and what its providers are asked.
//
// PROXYCAST_FULL=1 makes the long test longer.
package failover_test

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

type (
	object = harness.Object
	list   = harness.List
	record = harness.Record
)

// hang is when a caller gives up.
const hang = 20 * time.Second

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// gateway is a running gateway, with what the tests ask of it.
type gateway struct{ *harness.Gateway }

// start runs the gateway with this upstream section until the test's end.
func start(t *testing.T, upstream object) *gateway {
	t.Helper()
	return &gateway{harness.StartIn(t, t.TempDir(), config(upstream))}
}

func config(upstream object) object {
	cfg := harness.WithDefaults(nil)
	cfg["upstream"] = upstream
	return cfg
}

// status is what GET /_status says about failover and resources.
type status struct {
	Goroutines int   `json:"goroutines"`
	InFlight   int   `json:"in_flight"`
	BodyBytes  int64 `json:"body_bytes"`
	Providers  []struct {
		Name    string `json:"name"`
		State   string `json:"state"`
		Targets []struct {
			Model    string     `json:"model"`
			Failures int        `json:"failures"`
			Rests    *time.Time `json:"rests_until"`
		} `json:"targets"`
	} `json:"providers"`
}

func (g *gateway) status(t *testing.T) (s status) {
	t.Helper()
	r := g.Send(t, "GET", "/_status", "", "Authorization: Bearer "+harness.AdminKey)
	if err := json.Unmarshal(r.Body, &s); err != nil || r.Status != 200 {
		t.Fatalf("GET /_status: %d, %v", r.Status, err)
	}
	return s
}

// state is "ready" or "failing", with the failures in a row of the targets that rest.
func (g *gateway) state(t *testing.T, provider string) string {
	t.Helper()
	for _, p := range g.status(t).Providers {
		if p.Name != provider {
			continue
		}
		text := p.State
		for _, target := range p.Targets {
			if target.Rests != nil {
				text += fmt.Sprintf(" %s:%d", target.Model, target.Failures)
			}
		}
		return text
	}
	t.Fatalf("no provider %q in /_status", provider)
	return ""
}

// records returns the records on disk by client, which is the caller's name for its
// request.
func (g *gateway) records() (map[string][]record, error) {
	all, err := harness.ReadRecords(g.LogFile())
	byClient := map[string][]record{}
	for _, rec := range all {
		byClient[rec.Client] = append(byClient[rec.Client], rec)
	}
	return byClient, err
}

// recordOf returns the one record of a request, for which it waits: a caller that leaves
// is not waited for.
func (g *gateway) recordOf(client string) (record, error) {
	for deadline := time.Now().Add(harness.Patience); ; time.Sleep(10 * time.Millisecond) {
		all, err := g.records()
		recs := all[client]
		switch {
		case len(recs) == 1:
			return recs[0], nil
		case len(recs) > 1:
			return record{}, fmt.Errorf("%d records", len(recs))
		case time.Now().After(deadline):
			return record{}, fmt.Errorf("no record: %v", err)
		}
	}
}
