package server

import (
	"bytes"
	"fmt"
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

// Metrics for Prometheus, counted from finished records. Every label has a bounded number of values: models are the
// first maxModelNames that were routed, then "other".

const (
	maxModelNames = 200
	maxModelLabel = 128 // bytes
)

// Upper bounds of the histograms' buckets, in seconds.
var secondBounds = [...]float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800}

// labels are the values of a series' labels, in the order of their names.
type labels [4]string

// counter is a family of counts.
type counter struct {
	name, help string
	labels     []string
	values     map[labels]int64
}

func newCounter(name, help string, labelNames ...string) counter {
	return counter{name, help, labelNames, map[labels]int64{}}
}

// metrics are the counts of what was finished since the start.
type metrics struct {
	mu       sync.Mutex
	models   map[string]bool // that are labels
	requests counter
	tokens   counter
	attempts counter
	notJSON  counter               // events
	duration map[labels]*histogram // by endpoint and provider
	ttft     map[labels]*histogram
	errors   map[string]providerError // the latest, by provider
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

type histogram struct {
	buckets [len(secondBounds)]int64 // not cumulative; what is beyond is in count only
	count   int64
	sum     float64
}

func newMetrics() *metrics {
	return &metrics{
		models:   map[string]bool{},
		requests: newCounter("proxycast_requests_total", "Finished requests.", "endpoint", "provider", "model", "code"),
		tokens:   newCounter("proxycast_tokens_total", "Tokens as the providers report them. input includes cached ones.", "provider", "model", "type"),
		attempts: newCounter("proxycast_upstream_attempts_total", "Calls of providers, by how they ended.", "provider", "outcome"),
		notJSON:  newCounter("proxycast_malformed_events_total", "Events of streams that were passed on although they are not valid JSON.", "provider"),
		duration: map[labels]*histogram{},
		ttft:     map[labels]*histogram{},
		errors:   map[string]providerError{},
	}
}

// observe counts one finished request. configured tells that its model is a name of the config.
func (m *metrics) observe(rec *logs.Record, configured bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	model := m.model(rec, configured)
	m.requests.values[labels{rec.Endpoint, rec.Provider, model, strconv.Itoa(rec.Status)}]++
	place := labels{rec.Endpoint, rec.Provider}
	observe(m.duration, place, rec.Duration)
	if rec.TTFT > 0 {
		observe(m.ttft, place, rec.TTFT)
	}
	for _, t := range rec.Tried {
		m.attempts.values[labels{t.Provider, outcome(t.Status, t.ErrorType)}]++
		text := fmt.Sprintf("an attempt ended with status %d; another one followed", t.Status)
		m.errors[t.Provider] = providerError{rec.Time.UTC(), t.ErrorType, text}
	}
	if rec.ErrorType != "" && rec.Provider != "" && rec.Status != statusClientGone {
		m.errors[rec.Provider] = providerError{rec.Time.UTC(), rec.ErrorType, rec.Error}
	}
	if rec.Attempts > 0 {
		m.attempts.values[labels{rec.Provider, outcome(rec.Status, rec.ErrorType)}]++
	}
	for _, t := range [...]struct {
		typ string
		n   *int64
	}{
		{"input", rec.InputTokens}, {"output", rec.OutputTokens}, {"cache_read", rec.CacheReadTokens},
		{"cache_write", rec.CacheWriteTokens}, {"reasoning", rec.ReasoningTokens},
	} {
		if t.n != nil && rec.UsedTokens() {
			m.tokens.values[labels{rec.Provider, model, t.typ}] += *t.n
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
	m.notJSON.values[labels{provider}] += int64(events)
}

// model returns the label of the record's model: only names that were routed to a
// provider count, so that a client cannot fill the table with invented ones; those of the config always do.
func (m *metrics) model(rec *logs.Record, configured bool) string {
	switch {
	case rec.Provider == "":
		return ""
	case len(rec.Model) > maxModelLabel:
		return "other"
	}
	name := printable(strings.ToValidUTF8(rec.Model, "\uFFFD")) // now, lest two names become one series twice
	switch {
	case m.models[name], configured:
		return name
	case len(m.models) >= maxModelNames, len(name) > maxModelLabel:
		return "other"
	}
	m.models[name] = true
	return name
}

// outcome is how a call of a provider ended.
func outcome(status int, errorType string) string {
	switch {
	case status == statusClientGone:
		return "client_gone"
	case status >= 500:
		return "5xx"
	case status >= 400:
		return "4xx"
	case errorType != "":
		return "failed_stream"
	}
	return "success"
}

// observe adds d to the histogram of l.
func observe(series map[labels]*histogram, l labels, d time.Duration) {
	h := series[l]
	if h == nil {
		h = &histogram{}
		series[l] = h
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
	p.counter(m.requests)
	p.histograms("proxycast_request_duration_seconds", "From the arrival of a request to the last byte of its answer.", m.duration)
	p.histograms("proxycast_time_to_first_token_seconds", "From the arrival of a request to the first content of its stream.", m.ttft)
	p.counter(m.tokens)
	p.counter(m.attempts)
	p.counter(m.notJSON)
}

// exposeState tells the state of the gateway at this moment.
func (s *Server) exposeState(p *exposition) {
	p.family("proxycast_requests_in_flight", "gauge", "API requests being answered.")
	p.sample("", float64(s.inFlight.Load()))
	p.family("proxycast_provider_up", "gauge", "1: the provider takes requests. 0: it is disabled.")
	for _, provider := range s.gateway.Load().proxy.Providers() {
		up := 1.0
		if provider.State == "disabled" {
			up = 0
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

// exposeProcess writes the metrics that Prometheus's client libraries have of a process. CPU
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
	field := func(i int) float64 {
		n, _ := strconv.ParseFloat(fields[i], 64)
		return n
	}
	p.family("process_cpu_seconds_total", "counter", "CPU time of the process.")
	p.sample("", (field(11)+field(12))/ticksPerSecond)
	p.family("process_resident_memory_bytes", "gauge", "Memory of the process that is resident.")
	p.sample("", field(21)*float64(os.Getpagesize()))
}
