// Metrics: what GET /metrics says of requests that failed over.
package failover_test

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"

	"proxycast/internal_test/harness"
)

// The counters add up with the records, and the attempts with the calls of the providers.
func TestMetricsAddUp(t *testing.T) {
	t.Parallel()
	g, p := pair(t, &openAI, object{"cooldown": object{"after": 100}}, nil)
	for model, answers := range map[string][2]answer{
		"good": {whole, whole}, "rescued": {refuse(503), whole}, "refused": {refuse(400), whole},
		"lost": {refuse(503), refuse(500)}, "cut": {after(20, hangUp), whole},
	} {
		p.play("first", model, answers[0])
		p.play("second", model, answers[1])
		for range 2 {
			g.ask(t.Context(), &openAI, model, model, true)
			g.ask(t.Context(), &openAI, model, model, false)
		}
	}
	want, attempts := map[string]float64{}, 0
	for _, rec := range g.Expect(t, 20) {
		want[fmt.Sprintf("proxycast_requests_total{endpoint=%q,provider=%q,model=%q,code=\"%d\"}", rec.Endpoint, rec.Provider, rec.Model, rec.Status)]++
		for kind, n := range map[string]*int64{"input": rec.InputTokens, "output": rec.OutputTokens} {
			if n != nil {
				want[fmt.Sprintf("proxycast_tokens_total{provider=%q,model=%q,type=%q}", rec.Provider, rec.Model, kind)] += float64(*n)
			}
		}
		attempts += rec.Attempts
	}
	if n := len(p.callsOf("")); attempts != n {
		t.Errorf("the records say %d attempts of %d calls", attempts, n)
	}
	for _, x := range p.callsOf("") {
		want["attempts of "+x.target]++
	}
	got := map[string]float64{}
	for line := range strings.Lines(string(g.Send(t, "GET", "/metrics", "", "Authorization: Bearer "+harness.AdminKey).Body)) {
		at := strings.LastIndexByte(line, ' ')
		series := line[:at]
		name, _, _ := strings.Cut(series, "{")
		switch value, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64); {
		case name == "proxycast_upstream_attempts_total" && err == nil:
			_, provider, _ := strings.Cut(series, `provider="`)
			provider, _, _ = strings.Cut(provider, `"`)
			got["attempts of "+provider] += value
		case name == "proxycast_requests_total" || name == "proxycast_tokens_total":
			got[series] = value
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("the metrics say\n%v\nand the records\n%v", got, want)
	}
}
