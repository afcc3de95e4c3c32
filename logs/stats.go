package logs

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// StatsQuery says what Store.Stats adds up. Without a Step there is no series.
type StatsQuery struct {
	Since, Until time.Time      // since <= Record.Time < until
	Step         time.Duration  // of a series; steps begin at its multiples in UTC, whole days at midnight
	Zone         *time.Location // of midnight; nil: UTC
	By           string         // model (as asked for), provider or key, or two of them with a comma between
	Filter       Filter         // chooses among the records of that time; its own times are passed over
}

// Stats is what the records of a time add up to.
type Stats struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	Step  float64   `json:"step_seconds,omitempty"`
	By    string    `json:"by,omitempty"`

	PercentileError float64 `json:"percentile_error"` // a percentile may be off by this part of it
	Truncated       bool    `json:"truncated"`        // time ran out; the oldest records are missing

	Sum
	Series []Point `json:"series,omitempty"`
	Groups []Group `json:"groups,omitempty"` // the one with most requests first
}

// Group is the sum of the records that have the same values in the fields of By,
// and only these fields are set; the value of records without one is empty. There
// are the 200 largest groups at most; all other records are in one more, whose Name
// and fields are "other".
type Group struct {
	Name     Name  `json:"name"` // the value; of several fields, the values with ", " between
	Model    *Name `json:"model,omitempty"`
	Provider *Name `json:"provider,omitempty"`
	Key      *Name `json:"key,omitempty"`
	Sum
	Series []Point `json:"series,omitempty"`
}

// Name is the value of a record's field. As JSON it has the escapes of
// Record.AppendJSON.
type Name string

func (n Name) MarshalJSON() ([]byte, error) {
	return append(appendEscaped([]byte{'"'}, string(n), len(n), len(n)), '"'), nil
}

// Point is the sum of one step. A series has no point for a step without records.
type Point struct {
	Time time.Time `json:"time"` // when the step begins, which may be before Since
	Sum
}

// Sum is what some records add up to.
type Sum struct {
	Requests  int64        `json:"requests"`
	Errors    Errors       `json:"errors"`
	ErrorRate float64      `json:"error_rate"` // all errors by requests
	Tokens    Tokens       `json:"tokens"`
	Duration  *Percentiles `json:"duration_ms,omitempty"`
	TTFT      *Percentiles `json:"ttft_ms,omitempty"` // of the records that have one
}

// Errors counts each failed request in one class.
type Errors struct {
	Client int64 `json:"4xx"` // without 499
	Server int64 `json:"5xx"`
	Left   int64 `json:"499"`    // the client left
	Stream int64 `json:"stream"` // failed after a good status was sent
}

// Tokens adds up what providers reported; requests without a report add nothing.
type Tokens struct {
	Input      int64 `json:"input"`
	Output     int64 `json:"output"`
	CacheRead  int64 `json:"cache_read"`
	CacheWrite int64 `json:"cache_write"`
	Reasoning  int64 `json:"reasoning"`
}

// Percentiles are in milliseconds.
type Percentiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

const (
	defaultWindow = time.Hour
	maxSteps      = 500
	maxGroups     = 200
	otherGroups   = "other"
)

// ParseStats reads a query: window (15m, 24h, 7d; 1h if absent), step (likewise, 1d for
// days of tz; no series if absent), by (model, provider or key, or two of them with a
// comma between, in any order), and the filters of ParseFilter, of which since and until
// move the ends of the window. What operators did, and what was refused without a key,
// is left out unless the query names an endpoint, or a key. It passes over format. The
// error wraps ErrFilter.
func ParseStats(query url.Values, now time.Time) (StatsQuery, error) {
	now, err := inZone(query, now)
	if err != nil {
		return StatsQuery{}, err
	}
	q := StatsQuery{Zone: now.Location()}
	window := defaultWindow
	for _, name := range slices.Sorted(maps.Keys(query)) {
		value := strings.Join(query[name], ",")
		switch name {
		case "window":
			window, err = parseLength(name, value)
		case "step":
			q.Step, err = parseLength(name, value)
		case "by":
			q.By, err = parseBy(value)
		case "format":
		default:
			if !slices.Contains(strings.Split(filters, ", "), name) {
				return StatsQuery{}, unknownParameter(name, "window, step, by, format, "+filters)
			}
			err = q.Filter.take(name, query[name], now)
		}
		if err != nil {
			return StatsQuery{}, err
		}
	}
	if !query.Has("endpoint") {
		q.Filter.leaveOut(func(l *line) bool { return string(l.textOf(endpointField)) == "operator" })
	}
	if !query.Has("key") {
		q.Filter.leaveOut(func(l *line) bool { return l.values[keyField] == nil && l.numberOf(statusField) >= 400 })
	}
	q.Until, q.Since = cmp.Or(q.Filter.until, now.UTC()), q.Filter.since
	if q.Since.IsZero() {
		q.Since = q.Until.Add(-window)
	}
	switch {
	case !q.Since.Before(q.Until):
		return StatsQuery{}, fmt.Errorf("%w: since must be before until", ErrFilter)
	case q.Step > 0 && q.Until.Sub(q.Since)/q.Step > maxSteps:
		return StatsQuery{}, fmt.Errorf("%w: the window has more than %d steps; make step longer", ErrFilter, maxSteps)
	}
	return q, nil
}

// parseLength reads the length of a window or step.
func parseLength(name, value string) (time.Duration, error) {
	d, ok := parseAge(value)
	if !ok || d < time.Second {
		return 0, badValue(name, value, "a time such as 15m, 24h or 7d")
	}
	return d, nil
}

// Stats adds up the records of q. It takes five seconds at most; then the answer is
// Truncated. An error is that of a file that cannot be read.
func (s *Store) Stats(q StatsQuery) (Stats, error) {
	f := q.Filter
	f.Before, f.since, f.until = 0, q.Since, q.Until
	deadline := time.Now().Add(queryTime)
	t := newTally(steps{q.Step, cmp.Or(q.Zone, time.UTC)}, fieldsOf(q.By))
	w := s.walk(&f)
	w.goOn = func() bool { return time.Now().Before(deadline) }
	w.visit = func(l *line) bool {
		t.add(l)
		return true
	}
	end, err := w.run()
	if err != nil {
		return Stats{}, err
	}
	stats := t.stats()
	stats.Since, stats.Until, stats.Truncated = q.Since, q.Until, !end
	stats.Step, stats.By, stats.PercentileError = q.Step.Seconds(), q.By, percentileError
	return stats, nil
}

// groupFields are the fields that make groups.
var groupFields = []field{modelField, providerField, keyField}

// fieldsOf returns the fields that by names, in one order.
func fieldsOf(by string) (fields []field) {
	names := strings.Split(by, ",")
	for _, f := range groupFields {
		if slices.Contains(names, f.String()) {
			fields = append(fields, f)
		}
	}
	return fields
}

// parseBy returns the names that text has, one or two with a comma between, in the order
// of fieldsOf.
func parseBy(text string) (by string, err error) {
	fields := fieldsOf(text)
	if n := strings.Count(text, ",") + 1; n > 2 || len(fields) != n {
		return "", badValue("by", text, "model, provider or key, or two of them, as in model,key")
	}
	by = fields[0].String()
	if len(fields) == 2 {
		by += "," + fields[1].String()
	}
	return by, nil
}
