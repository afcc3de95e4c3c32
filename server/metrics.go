package server

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"proxycast/logs"
)

// Metrics in the Prometheus text format (version 0.0.4), counted from finished
// records. Every label has a bounded number of values: models are the first
// maxModelNames that were routed, then "other".

const (
	maxModelNames = 200
	maxModelLabel = 128 // bytes
)

// Upper bounds of the histograms' buckets, in seconds.
var secondBounds = [...]float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800}

type metrics struct {
	mu       sync.Mutex
	models   map[string]bool
	requests map[requestLabels]int64
	attempts map[[2]string]int64 // provider, outcome
	tokens   map[[3]string]int64 // provider, model, type
	duration map[[2]string]*histogram
	ttft     map[[2]string]*histogram // endpoint, provider
	errors   map[string]providerError // the latest, by provider
	bad      map[string]int64         // events that were passed on although they are not JSON, by provider
}

// providerError is a request that a provider failed.
type providerError struct {
	Time time.Time `json:"time"`
	Type string    `json:"error_type"`
	Text string    `json:"error"`
}

// lastError returns the latest of a provider, nil if there was none.
func (m *metrics) lastError(provider string) *providerError {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.errors[provider]; ok {
		return &e
	}
	return nil
}

type requestLabels struct {
	endpoint, provider, model string
	code                      int
}

type histogram struct {
	buckets [len(secondBounds)]int64 // not cumulative; what is beyond is in count only
	count   int64
	sum     float64
}

func newMetrics() *metrics {
	return &metrics{
		models:   map[string]bool{},
		requests: map[requestLabels]int64{},
		attempts: map[[2]string]int64{},
		tokens:   map[[3]string]int64{},
		duration: map[[2]string]*histogram{},
		ttft:     map[[2]string]*histogram{},
		errors:   map[string]providerError{},
		bad:      map[string]int64{},
	}
}

// observe counts one finished request.
func (m *metrics) observe(rec *logs.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	model := m.model(rec)
	m.requests[requestLabels{rec.Endpoint, rec.Provider, model, rec.Status}]++
	place := [2]string{rec.Endpoint, rec.Provider}
	observe(m.duration, place, rec.Duration)
	if rec.TTFT > 0 {
		observe(m.ttft, place, rec.TTFT)
	}
	if rec.ErrorType != "" && rec.Provider != "" && rec.Status != statusClientGone {
		m.errors[rec.Provider] = providerError{rec.Time.UTC(), rec.ErrorType, rec.Error}
	}
	if rec.Attempts > 0 {
		m.attempts[[2]string{rec.Provider, outcome(rec)}] += int64(rec.Attempts)
	}
	for _, t := range [...]struct {
		typ string
		n   *int64
	}{
		{"input", rec.InputTokens}, {"output", rec.OutputTokens}, {"cache_read", rec.CacheReadTokens},
		{"cache_write", rec.CacheWriteTokens}, {"reasoning", rec.ReasoningTokens},
	} {
		if t.n != nil && rec.UsedTokens() {
			m.tokens[[3]string{rec.Provider, model, t.typ}] += *t.n
		}
	}
}

// malformed counts events of a provider's stream that are not valid JSON.
func (m *metrics) malformed(provider string, events int) {
	if events == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bad[provider] += int64(events)
}

// model returns the label of the record's model: only names that were routed to a
// provider count, so that a client cannot fill the table with invented ones.
func (m *metrics) model(rec *logs.Record) string {
	name := printable(strings.ToValidUTF8(rec.Model, "\uFFFD")) // now, lest two names become one series twice
	switch {
	case rec.Provider == "":
		return ""
	case m.models[name]:
		return name
	case len(m.models) >= maxModelNames, len(name) > maxModelLabel:
		return "other"
	}
	m.models[name] = true
	return name
}

// outcome is how the provider's side of a call ended.
func outcome(rec *logs.Record) string {
	switch {
	case rec.Status == statusClientGone:
		return "client_gone"
	case rec.Status >= 500:
		return "5xx"
	case rec.Status >= 400:
		return "4xx"
	case rec.ErrorType != "":
		return "failed_stream"
	}
	return "success"
}

func observe(series map[[2]string]*histogram, labels [2]string, d time.Duration) {
	h := series[labels]
	if h == nil {
		h = &histogram{}
		series[labels] = h
	}
	seconds := d.Seconds()
	h.count++
	h.sum += seconds
	if i, _ := slices.BinarySearch(secondBounds[:], seconds); i < len(secondBounds) {
		h.buckets[i]++
	}
}

// showMetrics answers GET /metrics.
func showMetrics(x *exchange, r *http.Request) {
	var p exposition
	x.server.metrics.expose(&p)
	x.server.exposeState(&p)
	exposeProcess(&p)
	x.send(http.StatusOK, "text/plain; version=0.0.4; charset=utf-8", p.text.Bytes())
}

func (m *metrics) expose(p *exposition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p.family("proxycast_requests_total", "counter", "Finished requests.")
	for _, l := range sortedKeys(m.requests, func(a, b requestLabels) int {
		return cmp.Or(strings.Compare(a.endpoint, b.endpoint), strings.Compare(a.provider, b.provider), strings.Compare(a.model, b.model), a.code-b.code)
	}) {
		p.sample("", float64(m.requests[l]), "endpoint", l.endpoint, "provider", l.provider, "model", l.model, "code", strconv.Itoa(l.code))
	}
	p.family("proxycast_request_duration_seconds", "histogram", "From the arrival of a request to the last byte of its answer.")
	p.histograms(m.duration)
	p.family("proxycast_time_to_first_token_seconds", "histogram", "From the arrival of a request to the first content of its stream.")
	p.histograms(m.ttft)
	p.family("proxycast_tokens_total", "counter", "Tokens as the providers report them. input includes cached ones.")
	for _, l := range sortedKeys(m.tokens, func(a, b [3]string) int { return slices.Compare(a[:], b[:]) }) {
		p.sample("", float64(m.tokens[l]), "provider", l[0], "model", l[1], "type", l[2])
	}
	p.family("proxycast_upstream_attempts_total", "counter", "Calls of providers, by how they ended.")
	for _, l := range sortedKeys(m.attempts, comparePairs) {
		p.sample("", float64(m.attempts[l]), "provider", l[0], "outcome", l[1])
	}
	p.family("proxycast_malformed_events_total", "counter", "Events of streams that were passed on although they are not valid JSON.")
	for _, provider := range slices.Sorted(maps.Keys(m.bad)) {
		p.sample("", float64(m.bad[provider]), "provider", provider)
	}
}

func (s *Server) exposeState(p *exposition) {
	p.family("proxycast_requests_in_flight", "gauge", "API requests being answered.")
	p.sample("", float64(s.inFlight.Load()))
	p.family("proxycast_provider_up", "gauge", "1: the provider takes requests. 0: it is disabled.")
	for _, provider := range s.gateway.Load().proxy.Providers() {
		up := 0.0
		if provider.State == "ready" {
			up = 1
		}
		p.sample("", up, "provider", provider.Name)
	}
	p.family("proxycast_log_dropped_total", "counter", "Records that did not reach the disk.")
	p.sample("", float64(s.log().Dropped()))
	p.family("proxycast_config_reload_success", "gauge", "1: the last reload put its config in force. 0: it failed, and the old one stays.")
	good := 1.0
	if s.reloadFault.Load() != nil {
		good = 0
	}
	p.sample("", good)
	p.family("proxycast_build_info", "gauge", "Always 1; the labels tell the build.")
	p.sample("", 1, "version", Version, "go", runtime.Version())
}

// exposeProcess tells the metrics that Prometheus clients give of a process. CPU
// and memory come from Linux's /proc and are absent elsewhere.
func exposeProcess(p *exposition) {
	p.family("go_goroutines", "gauge", "Goroutines that exist.")
	p.sample("", float64(runtime.NumGoroutine()))
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return
	}
	// proc(5): the fields after the name, which ends in the last parenthesis.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 22 {
		return
	}
	const ticksPerSecond = 100 // of every Linux that Go runs on
	number := func(i int) float64 {
		n, _ := strconv.ParseFloat(fields[i], 64)
		return n
	}
	p.family("process_cpu_seconds_total", "counter", "CPU time of the process.")
	p.sample("", (number(11)+number(12))/ticksPerSecond)
	p.family("process_resident_memory_bytes", "gauge", "Memory of the process that is resident.")
	p.sample("", number(21)*float64(os.Getpagesize()))
}

// exposition writes the text format.
type exposition struct {
	text bytes.Buffer
	name string
}

func (p *exposition) family(name, typ, help string) {
	p.name = name
	fmt.Fprintf(&p.text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, typ)
}

// sample writes one value of the family. labels is name, value, name, value…
func (p *exposition) sample(suffix string, value float64, labels ...string) {
	p.text.WriteString(p.name + suffix)
	for i := 0; i < len(labels); i += 2 {
		p.text.WriteByte("{,"[min(i, 1)])
		fmt.Fprintf(&p.text, `%s="%s"`, labels[i], labelEscaper.Replace(labels[i+1]))
	}
	if len(labels) > 0 {
		p.text.WriteByte('}')
	}
	p.text.WriteByte(' ')
	p.text.WriteString(strconv.FormatFloat(value, 'g', -1, 64))
	p.text.WriteByte('\n')
}

var labelEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func (p *exposition) histograms(series map[[2]string]*histogram) {
	for _, l := range sortedKeys(series, comparePairs) {
		h, total := series[l], int64(0)
		for i, bound := range secondBounds {
			total += h.buckets[i]
			p.sample("_bucket", float64(total), "endpoint", l[0], "provider", l[1], "le", strconv.FormatFloat(bound, 'g', -1, 64))
		}
		p.sample("_bucket", float64(h.count), "endpoint", l[0], "provider", l[1], "le", "+Inf")
		p.sample("_sum", h.sum, "endpoint", l[0], "provider", l[1])
		p.sample("_count", float64(h.count), "endpoint", l[0], "provider", l[1])
	}
}

func comparePairs(a, b [2]string) int { return slices.Compare(a[:], b[:]) }

func sortedKeys[K comparable, V any](m map[K]V, compare func(a, b K) int) []K {
	return slices.SortedFunc(maps.Keys(m), compare)
}
