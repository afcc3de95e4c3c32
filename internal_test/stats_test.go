// Stats: what /_stats adds up, against a plain sum over the lines of the files.
package gateway_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// sum is what /_stats says of some records.
type sum struct {
	Requests  int64                            `json:"requests"`
	Errors    map[string]int64                 `json:"errors"`
	ErrorRate float64                          `json:"error_rate"`
	Tokens    map[string]int64                 `json:"tokens"`
	Duration  *struct{ P50, P95, P99 float64 } `json:"duration_ms"`
	TTFT      *struct{ P50, P95, P99 float64 } `json:"ttft_ms"`
}

type point struct {
	Time time.Time `json:"time"`
	sum
}

type statistics struct {
	Since           time.Time `json:"since"`
	Until           time.Time `json:"until"`
	By              string    `json:"by"`
	PercentileError float64   `json:"percentile_error"`
	Truncated       bool      `json:"truncated"`
	sum
	Series []point `json:"series"`
	Groups []struct {
		Name     string  `json:"name"`
		Model    *string `json:"model"`
		Provider *string `json:"provider"`
		Key      *string `json:"key"`
		sum
		Series []point `json:"series"`
	} `json:"groups"`
}

func (g *gateway) stats(t testing.TB, query string) (s statistics) {
	t.Helper()
	r := g.Send(t, "GET", "/_stats?"+query, "", "Authorization: Bearer "+harness.AdminKey)
	if r.Status != 200 || json.Unmarshal(r.Body, &s) != nil {
		t.Fatalf("/_stats?%s: %d %s", query, r.Status, r.Body)
	}
	if s.Truncated {
		t.Errorf("/_stats?%s is truncated", query)
	}
	return s
}

// check adds rows up and fails where got says otherwise. Percentiles may be off by
// the given part.
func (got sum) check(t testing.TB, what string, rows []record, part float64) {
	t.Helper()
	requests, failed := int64(len(rows)), int64(0)
	errors := map[string]int64{"4xx": 0, "5xx": 0, "499": 0, "stream": 0}
	tokens := map[string]int64{"input": 0, "output": 0, "cache_read": 0, "cache_write": 0, "reasoning": 0}
	var durations, ttfts []float64
	for _, rec := range rows {
		class := ""
		switch {
		case rec.Status == 499:
			class = "499"
		case rec.Status >= 500:
			class = "5xx"
		case rec.Status >= 400:
			class = "4xx"
		case rec.ErrorType != "":
			class = "stream"
		}
		if class != "" {
			errors[class]++
			failed++
		}
		for name, n := range map[string]*int64{"input": rec.InputTokens, "output": rec.OutputTokens, "cache_read": rec.CacheReadTokens,
			"cache_write": rec.CacheWriteTokens, "reasoning": rec.ReasoningTokens} {
			if n != nil {
				tokens[name] += *n
			}
		}
		durations = append(durations, rec.DurationMS)
		if rec.TTFTMS != nil {
			ttfts = append(ttfts, *rec.TTFTMS)
		}
	}
	if got.Requests != requests || !reflect.DeepEqual(got.Errors, errors) || !reflect.DeepEqual(got.Tokens, tokens) ||
		math.Abs(got.ErrorRate-float64(failed)/float64(max(requests, 1))) > 1e-12 {
		t.Errorf("%s: %+v, want %d requests, %v, %v", what, got, requests, errors, tokens)
	}
	percentiles := func(name string, got *struct{ P50, P95, P99 float64 }, all []float64) {
		if (got == nil) != (len(all) == 0) {
			t.Errorf("%s: %s is %v of %d values", what, name, got, len(all))
		}
		if got == nil || len(all) == 0 {
			return
		}
		slices.Sort(all)
		for _, p := range []struct{ part, got float64 }{{0.50, got.P50}, {0.95, got.P95}, {0.99, got.P99}} {
			want := all[int(math.Ceil(p.part*float64(len(all))))-1]
			if math.Abs(p.got-want) > part*want {
				t.Errorf("%s: the %v part of %s is %v, want %v", what, p.part, name, p.got, want)
			}
		}
	}
	percentiles("duration_ms", got.Duration, durations)
	percentiles("ttft_ms", got.TTFT, ttfts)
}

func (l *longLog) testStats(t *testing.T) {
	values := func(rec record, by string) string {
		var parts []string
		for _, name := range strings.Split(by, ",") {
			parts = append(parts, map[string]string{"": "", "model": rec.Model, "provider": rec.Provider, "key": rec.Key}[name])
		}
		return strings.Join(parts, ", ")
	}
	f := func(query, by string, step time.Duration) {
		t.Helper()
		begin := time.Now()
		got := l.stats(t, query)
		took := time.Since(begin)
		if got.By != by || got.PercentileError != 0.05 {
			t.Errorf("%s: by %q, error %v", query, got.By, got.PercentileError)
		}
		var chosen []record
		groups, points := map[string][]record{}, map[string]map[time.Time][]record{}
		for _, rec := range l.rows {
			at, err := time.Parse(time.RFC3339, rec.Time)
			if err != nil {
				t.Fatal(err)
			}
			if at.Before(got.Since) || !at.Before(got.Until) || rec.Key == "" && rec.Status >= 400 {
				continue // what was refused without a key is left out
			}
			chosen = append(chosen, rec)
			name := values(rec, by)
			groups[name] = append(groups[name], rec)
			for _, name := range []string{"all", "of " + name} {
				if points[name] == nil {
					points[name] = map[time.Time][]record{}
				}
				begins := at.Truncate(max(step, 1))
				points[name][begins] = append(points[name][begins], rec)
			}
		}
		series := func(what string, got []point, want map[time.Time][]record) {
			t.Helper()
			if step == 0 {
				want = nil
			}
			if len(got) != len(want) {
				t.Errorf("%s: %d points, want %d", what, len(got), len(want))
			}
			for _, p := range got {
				p.check(t, what+fmt.Sprint(" at ", p.Time), want[p.Time], 0.05)
			}
		}
		got.check(t, query, chosen, 0.05)
		series(query, got.Series, points["all"])
		if by == "" {
			groups = nil
		}
		if len(got.Groups) != len(groups) {
			t.Errorf("%s: %d groups, want %d", query, len(got.Groups), len(groups))
		}
		for _, group := range got.Groups {
			field := func(name string, value *string) string {
				if (value != nil) != strings.Contains(by, name) {
					t.Errorf("%s: group %q has the field %s: %v", query, group.Name, name, value != nil)
				}
				if value == nil {
					return ""
				}
				return *value
			}
			name := values(record{Model: field("model", group.Model), Provider: field("provider", group.Provider), Key: field("key", group.Key)}, by)
			if name != group.Name {
				t.Errorf("%s: group %q has the fields %q", query, group.Name, name)
			}
			group.check(t, query+" of "+name, groups[name], 0.05)
			series(query+" of "+name, group.Series, points["of "+name])
		}
		t.Logf("%s: %d requests in %d groups in %v", query, got.Requests, len(got.Groups), took.Round(time.Millisecond))
	}
	f("window=30h", "", 0)
	f("", "", 0)
	f("window=15m&step=1m", "", time.Minute)
	f("window=7h&step=30m&by=model", "model", 30*time.Minute)
	f("window=30h&by=provider", "provider", 0)
	f("window=30h&by=key&step=2h", "key", 2*time.Hour)
	f("window=30h&by=model,provider", "model,provider", 0)
	f("window=9h&by=key,model", "model,key", 0)
	r := l.Send(t, "GET", "/_stats?window=30h&by=model,key&step=1d&tz=Asia/Shanghai&format=csv", "", "Authorization: Bearer "+harness.AdminKey)
	table, err := csv.NewReader(bytes.NewReader(r.Body)).ReadAll()
	if err != nil || len(table) < 3 || table[0][4] != "requests" || !strings.HasSuffix(table[1][0], "T00:00:00+08:00") {
		t.Errorf("%v: %s", err, r.Body)
	}
	for _, query := range []string{"by=path", "by=", "by=model,", "by=key,key", "by=model,provider,key", "window=0s", "step=1ms", "window=7d&step=1s", "limit=5", "format=xml", "status=!6xxx", "tz=Moon"} {
		checkError(t, l.Send(t, "GET", "/_stats?"+query, "", "Authorization: Bearer "+harness.AdminKey), "openai", 400)
	}
}

// After a restart all is as it was.
func (l *longLog) testRestart(t *testing.T) {
	const query = "window=30h&step=2h&by=model,key"
	told := func(g *gateway) string {
		s := g.stats(t, query)
		s.Since, s.Until = time.Time{}, time.Time{}
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	rows, stats := l.chosen(t, ""), told(l.gateway)
	l.Signal(t, syscall.SIGTERM)
	if code := l.Exit(t, harness.Patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	begin := time.Now()
	g := startIn(t, l.Dir, nil)
	t.Logf("started on %d rows in %v", len(rows), time.Since(begin).Round(time.Millisecond))
	if again := told(g); again != stats {
		t.Errorf("stats before:\n%s\nafter:\n%s", stats, again)
	}
	if again := g.chosen(t, ""); !slices.Equal(again, rows) {
		t.Errorf("%d rows before, %d after", len(rows), len(again))
	}
	g.crowdOnce(t)
	if newest, _ := g.page(t, "limit=1"); newest[0].Seq != rows[0]+uint64(len(kinds)) {
		t.Errorf("seq went on from %d to %d", rows[0], newest[0].Seq)
	}
}
