package logs

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// StatsQuery says what Store.Stats adds up. The zero Step gives no series.
type StatsQuery struct {
	Since, Until time.Time     // since <= Record.Time < until
	Step         time.Duration // of a series; steps begin at its multiples in UTC
	By           Grouping      // by model is by Record.Model, as asked for
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
// are 200 groups at most; all other records are in one more, whose Name and fields
// are "other".
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

// ParseStats reads a query: window (15m, 24h, 7d; 1h if absent), step (likewise;
// no series if absent) and by (model, provider or key, or several with commas
// between, in any order). The error wraps ErrFilter.
func ParseStats(query url.Values, now time.Time) (StatsQuery, error) {
	q := StatsQuery{Until: now.UTC(), Since: now.Add(-defaultWindow).UTC()}
	for _, name := range sortedNames(query) {
		value := strings.Join(query[name], ",")
		switch name {
		case "window", "step":
			d, ok := parseAge(value)
			if !ok || d < time.Second {
				return StatsQuery{}, badValue(name, value, "a time such as 15m, 24h or 7d")
			}
			if name == "step" {
				q.Step = d
			} else {
				q.Since = q.Until.Add(-d)
			}
		case "by":
			by, ok := parseGrouping(value)
			if !ok {
				return StatsQuery{}, badValue(name, value, "model, provider or key, or several, as in model,key")
			}
			q.By = by
		default:
			return StatsQuery{}, fmt.Errorf("%w: unknown parameter %.64q; valid are window, step, by", ErrFilter, name)
		}
	}
	if q.Step > 0 && q.Until.Sub(q.Since)/q.Step > maxSteps {
		return StatsQuery{}, fmt.Errorf("%w: the window has more than %d steps; make step longer", ErrFilter, maxSteps)
	}
	return q, nil
}

// Stats adds up the records of q's time. It takes five seconds at most; then the
// answer is Truncated. An error is that of a file that cannot be read.
func (s *Store) Stats(q StatsQuery) (Stats, error) {
	f := Filter{since: q.Since, until: q.Until}
	f.sieve = newSieve(&f)
	deadline := time.Now().Add(queryTime)
	into := func(t *tally) func(uint64, []byte) bool {
		return func(_ uint64, line []byte) bool {
			if rec, ok := s.parse(line); ok && f.Match(&rec) {
				t.add(&rec)
			}
			return true
		}
	}
	all := newTally(q.Step, q.By)
	w := walk{store: s, sieve: &f.sieve, visit: into(all), goOn: func() bool { return time.Now().Before(deadline) }}

	// What a whole file adds up to does not change. One with too many groups has
	// none of its own, since another file may have room for them.
	w.whole = func(path string, rows func() (bool, error)) (end bool, err error) {
		key := tallyKey{path, q.Step, q.By}
		t, known := s.tallies.get(key)
		if !known {
			t = newTally(q.Step, q.By)
			w.visit = into(t)
			end, err = rows()
			w.visit = into(all)
			if !end {
				all.merge(t)
				return false, err
			}
			if t.overflowed {
				t = nil
			}
			s.tallies.put(key, t)
		}
		if t == nil {
			return rows()
		}
		all.merge(t)
		return true, nil
	}
	end, err := w.run()
	if err != nil {
		return Stats{}, err
	}
	stats := all.stats()
	stats.Since, stats.Until, stats.Truncated = q.Since, q.Until, !end
	return stats, nil
}
