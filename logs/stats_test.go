package logs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"proxycast/logs"
)

// sum adds up plainly, with true percentiles.
func sum(recs []logs.Record) (s logs.Sum) {
	var duration, ttft []time.Duration
	for _, r := range recs {
		s.Requests++
		switch {
		case r.Status == 499:
			s.Errors.Left++
		case r.Status >= 500:
			s.Errors.Server++
		case r.Status >= 400:
			s.Errors.Client++
		case r.ErrorType != "":
			s.Errors.Stream++
		}
		if r.InputTokens != nil {
			s.Tokens.Input += *r.InputTokens
		}
		if r.ReasoningTokens != nil {
			s.Tokens.Reasoning += *r.ReasoningTokens
		}
		duration = append(duration, r.Duration)
		if r.TTFT > 0 {
			ttft = append(ttft, r.TTFT)
		}
	}
	s.ErrorRate = float64(s.Errors.Left+s.Errors.Server+s.Errors.Client+s.Errors.Stream) / float64(max(s.Requests, 1))
	percentiles := func(list []time.Duration) *logs.Percentiles {
		if len(list) == 0 {
			return nil
		}
		slices.Sort(list)
		at := func(part float64) float64 {
			i := int(math.Ceil(part*float64(len(list)))) - 1
			return float64(list[i]) / float64(time.Millisecond)
		}
		return &logs.Percentiles{P50: at(0.50), P95: at(0.95), P99: at(0.99)}
	}
	s.Duration, s.TTFT = percentiles(duration), percentiles(ttft)
	return s
}

// sameSum tells whether got is want, with percentiles off by the part allowed.
func sameSum(got, want logs.Sum, part float64) bool {
	near := func(got, want *logs.Percentiles) bool {
		if got == nil || want == nil {
			return got == want
		}
		for _, p := range [][2]float64{{got.P50, want.P50}, {got.P95, want.P95}, {got.P99, want.P99}} {
			if math.Abs(p[0]-p[1]) > part*p[1]+0.001 {
				return false
			}
		}
		return true
	}
	ok := near(got.Duration, want.Duration) && near(got.TTFT, want.TTFT)
	got.Duration, got.TTFT, want.Duration, want.TTFT = nil, nil, nil, nil
	return ok && reflect.DeepEqual(got, want)
}

func TestStats(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	s := open(t, small(t.TempDir()))
	var recs []logs.Record
	for i := range 5000 {
		rec := random(r)
		rec.Time = noon.Add(-10*time.Hour + time.Duration(i)*7200*time.Millisecond - time.Duration(r.IntN(300))*time.Second).Truncate(time.Millisecond)
		rec.Duration = time.Duration(math.Exp(r.Float64()*16) * 1000).Round(time.Microsecond)
		if r.IntN(2) == 0 {
			rec.TTFT = rec.Duration/2 + time.Microsecond
			rec.InputTokens = ptr(r.Int64N(1000))
			rec.ReasoningTokens = ptr(r.Int64N(1000))
		}
		add(t, s, rec)
		recs = append(recs, rec)
	}
	f := func(text string, by func(r *logs.Record) string) {
		t.Helper()
		values, _ := url.ParseQuery(text)
		q, err := logs.ParseStats(values, noon)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Stats(q)
		if err != nil {
			t.Fatal(err)
		}
		if got.Truncated || got.PercentileError != 0.05 {
			t.Error(got.Truncated, got.PercentileError)
		}
		var chosen []logs.Record
		groups := map[string][]logs.Record{}
		points := map[string]map[time.Time][]logs.Record{}
		for _, r := range recs {
			if r.Time.Before(q.Since) || !r.Time.Before(q.Until) || r.Key == "" && r.Status >= 400 && !strings.Contains(text, "&key=") {
				continue // what was refused without a key is left out, unless asked for
			}
			chosen = append(chosen, r)
			for _, name := range []string{"all", "g" + by(&r)} {
				if points[name] == nil {
					points[name] = map[time.Time][]logs.Record{}
				}
				at := r.Time.Truncate(max(q.Step, 1))
				points[name][at] = append(points[name][at], r)
				groups[name] = append(groups[name], r)
			}
		}
		if want := sum(chosen); !sameSum(got.Sum, want, 0.05) {
			t.Errorf("%s: got %+v, want %+v", text, got.Sum, want)
		}
		series := func(name string, got []logs.Point) {
			t.Helper()
			if q.Step == 0 && len(got) == 0 {
				return
			}
			if len(got) != len(points[name]) {
				t.Errorf("%s %s: %d points, want %d", text, name, len(got), len(points[name]))
			}
			for i, p := range got {
				if !sameSum(p.Sum, sum(points[name][p.Time]), 0.05) || i > 0 && !got[i-1].Time.Before(p.Time) {
					t.Errorf("%s %s: wrong point %+v", text, name, p)
				}
			}
		}
		series("all", got.Series)
		if q.By == "" && got.Groups == nil {
			return
		}
		if want := max(len(groups)-1, 0); len(got.Groups) != want {
			t.Errorf("%s: %d groups, want %d", text, len(got.Groups), want)
		}
		for i, g := range got.Groups {
			if !sameSum(g.Sum, sum(groups["g"+string(g.Name)]), 0.05) || i > 0 && got.Groups[i-1].Requests < g.Requests {
				t.Errorf("%s: wrong group %+v", text, g)
			}
			series("g"+string(g.Name), g.Series)
		}
	}
	none := func(r *logs.Record) string { return "" }
	model := func(r *logs.Record) string { return r.Model }
	f("", none)
	f("window=24h", none)
	f("window=3h&step=5m", none)
	f("window=9h&step=1h&by=model", model)
	f("window=9h&by=model", model)
	f("window=9h&step=1h&by=key", func(r *logs.Record) string { return r.Key })
	f("window=9h&by=provider", func(r *logs.Record) string { return r.Provider })
	f("window=9h&step=1h&by=key,provider", func(r *logs.Record) string { return r.Provider + ", " + r.Key })
	f("window=9h&by=key,model", func(r *logs.Record) string { return r.Model + ", " + r.Key })
	f("window=9h&by=provider&key=*", func(r *logs.Record) string { return r.Provider })
	f("window=2s&by=provider", func(r *logs.Record) string { return r.Provider })
	add(t, s, logs.Record{Time: noon.Add(-time.Second)})
	recs = append(recs, logs.Record{Time: noon.Add(-time.Second)})
	f("window=9h&step=1h&by=model", model)
}

// The 200 largest groups of the window are told apart, wherever their records stand;
// invented names, of which there may be any number, are in the group of the others.
func TestStatsKeepsTheLargestGroups(t *testing.T) {
	s := open(t, small(t.TempDir()))
	record := func(model string) {
		add(t, s, logs.Record{Time: noon.Add(-time.Minute), Model: model})
	}
	for i := range 600 {
		record(fmt.Sprint("model", i%200))
	}
	for i := range 10_000 {
		record(fmt.Sprint("invented", i))
	}
	got, err := s.Stats(logs.StatsQuery{Since: noon.Add(-time.Hour), Until: noon, Step: time.Hour, By: "model"})
	if err != nil || got.Requests != 10_600 || len(got.Groups) != 201 || got.Groups[0].Name != "other" || got.Groups[0].Requests != 10_000 {
		t.Fatalf("%v, %d groups, %+v", err, len(got.Groups), got.Groups[0])
	}
	for _, group := range got.Groups[1:] {
		if !strings.HasPrefix(string(group.Name), "model") || group.Requests != 3 || group.Series[0].Requests != 3 {
			t.Errorf("group %+v", group)
		}
	}
}

// Of several fields, each group names its own values.
func TestStatsGroupFields(t *testing.T) {
	s := open(t, small(t.TempDir()))
	for i := range 300 {
		add(t, s, logs.Record{Time: noon.Add(-time.Minute), Model: fmt.Sprint("m", i%3), Key: fmt.Sprint("k", i/3), Provider: "p"})
	}
	add(t, s, logs.Record{Time: noon.Add(-time.Minute), Status: 404})
	groups := func(by string) string {
		t.Helper()
		q, err := logs.ParseStats(url.Values{"by": {by}, "key": {"*"}}, noon)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Stats(q)
		if err != nil {
			t.Fatal(err)
		}
		type group struct {
			Name, Model, Provider, Key *string `json:",omitempty"`
			Requests                   int64
		}
		var answer struct {
			By     string
			Groups []group
		}
		text, _ := json.Marshal(got)
		if err := json.Unmarshal(text, &answer); err != nil {
			t.Fatal(err)
		}
		answer.Groups = append(answer.Groups[:min(1, len(answer.Groups))], answer.Groups[len(answer.Groups)-1])
		text, _ = json.Marshal(answer)
		return string(text)
	}
	for by, want := range map[string]string{
		"model":          `{"By":"model","Groups":[{"Name":"m0","Model":"m0","Requests":100},{"Name":"","Model":"","Requests":1}]}`,
		"provider,model": `{"By":"model,provider","Groups":[{"Name":"m0, p","Model":"m0","Provider":"p","Requests":100},{"Name":", ","Model":"","Provider":"","Requests":1}]}`,
		"key,model":      `{"By":"model,key","Groups":[{"Name":"other","Model":"other","Key":"other","Requests":101},{"Name":"m1, k98","Model":"m1","Key":"k98","Requests":1}]}`,
	} {
		if got := groups(by); got != want {
			t.Errorf("by %s\n got %s\nwant %s", by, got, want)
		}
	}
}

func TestParseStatsErrors(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		values, _ := url.ParseQuery(text)
		if _, err := logs.ParseStats(values, noon); !errors.Is(err, logs.ErrFilter) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
	f("windows=1h", "valid are window, step, by, format, since")
	f("window=", "15m")
	f("window=1h,2h", "15m")
	f("step=1ms", "15m")
	f("by=path", "model, provider or key")
	f("by=", "model, provider or key")
	f("by=model,", "model, provider or key")
	f("by=model,model", "model, provider or key")
	f("by=model,provider,key", "two of them")
	f("limit=5", "unknown parameter")
	f("since=2026-11-23T11:50:00Z&until=2026-11-23T11:40:00Z", "before")
	f("window=7d&step=1m", "500 steps")
}

func TestStatsJSON(t *testing.T) {
	s := open(t, small(t.TempDir()))
	add(t, s, logs.Record{Time: noon.Add(-time.Second), Status: 499, Model: "m", InputTokens: ptr(5)})
	got, err := s.Stats(logs.StatsQuery{Since: noon.Add(-time.Hour), Until: noon, Step: time.Hour, By: "model"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(got)
	const sum = `"requests":1,"errors":{"4xx":0,"5xx":0,"499":1,"stream":0},"error_rate":1,` +
		`"tokens":{"input":5,"output":0,"cache_read":0,"cache_write":0,"reasoning":0},"duration_ms":{"p50":0.001,"p95":0.001,"p99":0.001}`
	const series = `"series":[{"time":"2026-11-23T11:00:00Z",` + sum + `}]`
	const want = `{"since":"2026-11-23T11:00:00Z","until":"2026-11-23T12:00:00Z","step_seconds":3600,"by":"model","percentile_error":0.05,"truncated":false,` +
		sum + `,` + series + `,"groups":[{"name":"m","model":"m",` + sum + `,` + series + `}]}`
	if err != nil || string(text) != want {
		t.Errorf("%v\n got %s\nwant %s", err, text, want)
	}
}

// Days begin at midnight of the zone, over a change of its clocks too.
func TestStatsDays(t *testing.T) {
	s := open(t, small(t.TempDir()))
	begin := time.Date(2026, 10, 23, 22, 30, 0, 0, time.UTC) // 00:30 in Berlin, whose clocks go back on the 25th
	for i := range 4 * 24 {
		add(t, s, logs.Record{Time: begin.Add(time.Duration(i) * time.Hour), Key: "dev", Model: "m"})
	}
	add(t, s, logs.Record{Time: begin, Endpoint: "operator", Key: "admin", Model: "o"})
	f := func(text, want string) {
		t.Helper()
		values, _ := url.ParseQuery("since=2026-10-23&until=2026-10-29&step=1d&" + text)
		q, err := logs.ParseStats(values, noon)
		if err != nil {
			t.Fatal(err)
		}
		stats, err := s.Stats(q)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, row := range stats.Table()[1:] {
			got = append(got, strings.Join(row[:5], " "))
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("%s:\n got %s\nwant %s", text, text, want)
		}
	}
	f("tz=Europe/Berlin", "2026-10-24T00:00:00+02:00    24, 2026-10-25T00:00:00+02:00    25, 2026-10-26T00:00:00+01:00    24, 2026-10-27T00:00:00+01:00    23")
	f("by=model", "2026-10-23T00:00:00Z m   2, 2026-10-24T00:00:00Z m   24, 2026-10-25T00:00:00Z m   24, 2026-10-26T00:00:00Z m   24, 2026-10-27T00:00:00Z m   22")
	f("by=key&endpoint=operator", "2026-10-23T00:00:00Z   admin 1")
}
