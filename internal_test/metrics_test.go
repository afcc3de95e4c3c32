// Metrics: what /metrics says, as Prometheus reads it.
package gateway_test

import (
	"strconv"
	"strings"
	"testing"
)

// exposed reads GET /metrics.
func (g *gateway) exposed(t testing.TB) string {
	t.Helper()
	r := g.send(t, "GET", "/metrics", "", "Authorization: Bearer "+adminKey)
	if r.status != 200 || !strings.HasPrefix(r.header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("/metrics: %d %v %s", r.status, r.header, r.body)
	}
	return string(r.body)
}

// metric adds up the samples whose lines begin with prefix.
func (g *gateway) metric(t testing.TB, prefix string) (sum float64) {
	t.Helper()
	for line := range strings.Lines(g.exposed(t)) {
		if strings.HasPrefix(line, prefix) {
			value, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' ')+1:]), 64)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			sum += value
		}
	}
	return sum
}
