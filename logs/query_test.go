package logs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"proxycast/logs"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// random returns a record within the 10 hours before noon. Many texts are such that
// a reader may stumble over them.
func random(r *rand.Rand) logs.Record {
	pick := func(texts ...string) string { return texts[r.IntN(len(texts))] }
	rec := logs.Record{
		Time:     noon.Add(-time.Duration(r.Int64N(int64(10 * time.Hour)))),
		ID:       fmt.Sprint("id", r.IntN(1000)),
		Key:      pick("", "dev", "ci", "开发环境", `a"b`, "a\\b"),
		Method:   "POST",
		Path:     pick("/v1/chat/completions", "/v1/messages", "/", "/x\n"),
		Endpoint: pick("", "chat_completions", "messages"),
		Model:    pick("", "gpt-4o", "gpt-4o-mini", "claude-3", `"status":503`, "*", "gpt\x7f"),
		Provider: pick("", "openai", "anthropic"),
		Status:   []int{200, 200, 200, 404, 429, 499, 500, 503, 599, 302}[r.IntN(10)],
		Stream:   r.IntN(2) == 0,
		Duration: time.Duration(r.Int64N(int64(3 * time.Second))),
	}
	if r.IntN(4) == 0 {
		rec.ErrorType, rec.Error = "api_error", pick("boom", "time out", `said "no"`, "a\nb", "überlastet", `"status":503`)
	}
	if r.IntN(4) == 0 {
		rec.Session, rec.TraceID, rec.Client = pick("s1", "s2"), pick("t1", "t2"), pick("curl/8", "x")
		rec.Tried = []logs.Try{{Provider: "mistral", Model: "gpt-4o", Status: 503}}
	}
	if r.IntN(4) == 0 {
		rec.UpstreamID = fmt.Sprint("id", r.IntN(1000))
	}
	return rec
}

type query struct {
	text  string
	match func(r *logs.Record) bool
}

var queries = []query{
	{"", func(r *logs.Record) bool { return true }},
	{"status=503", func(r *logs.Record) bool { return r.Status == 503 }},
	{"status=5xx", func(r *logs.Record) bool { return r.Status/100 == 5 }},
	{"status=5XX,404", func(r *logs.Record) bool { return r.Status/100 == 5 || r.Status == 404 }},
	{"status=400-499", func(r *logs.Record) bool { return r.Status/100 == 4 }},
	{"status=302-429&status=500", func(r *logs.Record) bool { return r.Status >= 302 && r.Status <= 429 || r.Status == 500 }},
	{"status=error", func(r *logs.Record) bool { return r.Status >= 400 || r.ErrorType != "" }},
	{"status=error,302", func(r *logs.Record) bool { return r.Status >= 302 || r.ErrorType != "" }},
	{"status=777", func(r *logs.Record) bool { return false }},
	{"model=gpt-4o", func(r *logs.Record) bool { return r.Model == "gpt-4o" }},
	{"model=gpt-*", func(r *logs.Record) bool { return strings.HasPrefix(r.Model, "gpt-") }},
	{"model=*mini,claude*", func(r *logs.Record) bool {
		return strings.HasSuffix(r.Model, "mini") || strings.HasPrefix(r.Model, "claude")
	}},
	{"model=*4*m*i", func(r *logs.Record) bool { return r.Model == "gpt-4o-mini" }},
	{"model=*", func(r *logs.Record) bool { return true }},
	{"model=g*o*o", func(r *logs.Record) bool { return false }},
	{`model="status":503`, func(r *logs.Record) bool { return r.Model == `"status":503` }},
	{"model=gpt%7F", func(r *logs.Record) bool { return r.Model == "gpt\x7f" }},
	{"provider=openai", func(r *logs.Record) bool { return r.Provider == "openai" }},
	{"provider=mistral", func(r *logs.Record) bool { return len(r.Tried) > 0 }},
	{"key=dev&key=ci", func(r *logs.Record) bool { return r.Key == "dev" || r.Key == "ci" }},
	{"key=开发*", func(r *logs.Record) bool { return r.Key == "开发环境" }},
	{`key=a"b,a\b`, func(r *logs.Record) bool { return r.Key == `a"b` || r.Key == `a\b` }},
	{"path=/v1/*", func(r *logs.Record) bool { return strings.HasPrefix(r.Path, "/v1/") }},
	{"path=/x%0A", func(r *logs.Record) bool { return r.Path == "/x\n" }},
	{"endpoint=messages", func(r *logs.Record) bool { return r.Endpoint == "messages" }},
	{"stream=true", func(r *logs.Record) bool { return r.Stream }},
	{"stream=false", func(r *logs.Record) bool { return !r.Stream }},
	{"stream=false,true", func(r *logs.Record) bool { return true }},
	{"min_ms=2500.5", func(r *logs.Record) bool { return r.Duration >= 2500500*time.Microsecond }},
	{"min_ms=2900&min_ms=2800", func(r *logs.Record) bool { return r.Duration >= 2800*time.Millisecond }},
	{"id=id7", func(r *logs.Record) bool { return r.ID == "id7" || r.UpstreamID == "id7" }},
	{"id=id7,id8", func(r *logs.Record) bool {
		return r.ID == "id7" || r.UpstreamID == "id7" || r.ID == "id8" || r.UpstreamID == "id8"
	}},
	{"q=time+out", func(r *logs.Record) bool { return strings.Contains(r.Error, "time out") }},
	{`q="no"`, func(r *logs.Record) bool { return strings.Contains(r.Error, `"no"`) }},
	{"q=a%0Ab", func(r *logs.Record) bool { return strings.Contains(r.Error, "a\nb") }},
	{"q=über", func(r *logs.Record) bool { return strings.Contains(r.Error, "über") }},
	{"since=2h", func(r *logs.Record) bool { return !r.Time.Before(noon.Add(-2 * time.Hour)) }},
	{"until=9h30m", func(r *logs.Record) bool { return r.Time.Before(noon.Add(-9*time.Hour - 30*time.Minute)) }},
	{"since=8h&since=1h&until=7h", func(r *logs.Record) bool {
		return !r.Time.Before(noon.Add(-8*time.Hour)) && r.Time.Before(noon.Add(-7*time.Hour))
	}},
	{"since=2026-11-23T11:30:00.5%2B01:00", func(r *logs.Record) bool {
		return !r.Time.Before(time.Date(2026, 11, 23, 10, 30, 0, 5e8, time.UTC))
	}},
	{"since=2026-11-23T11:30:00+01:00", func(r *logs.Record) bool {
		return !r.Time.Before(time.Date(2026, 11, 23, 10, 30, 0, 0, time.UTC))
	}},
	{"until=2026-11-23", func(r *logs.Record) bool { return false }},
	{"since=2026-11-23", func(r *logs.Record) bool { return true }},
	{"since=1d&until=0d", func(r *logs.Record) bool { return true }},
	{"since=1w&until=today", func(r *logs.Record) bool { return false }},
	{"since=today&until=2026-11-23+10:30", func(r *logs.Record) bool { return r.Time.Before(noon.Add(-90 * time.Minute)) }},
	{"until=2026-11-23+10:30&tz=Asia/Shanghai", func(r *logs.Record) bool { return r.Time.Before(noon.Add(-9*time.Hour - 30*time.Minute)) }},
	{"since=yesterday&tz=Asia/Shanghai", func(r *logs.Record) bool { return true }},
	{"model=!gpt-*", func(r *logs.Record) bool { return !strings.HasPrefix(r.Model, "gpt-") }},
	{"model=gpt*,!gpt-4o", func(r *logs.Record) bool { return strings.HasPrefix(r.Model, "gpt") && r.Model != "gpt-4o" }},
	{"key=!dev,!ci", func(r *logs.Record) bool { return r.Key != "dev" && r.Key != "ci" }},
	{"error_type=api*", func(r *logs.Record) bool { return r.ErrorType != "" }},
	{"session=s1", func(r *logs.Record) bool { return r.Session == "s1" }},
	{"trace_id=!t1", func(r *logs.Record) bool { return r.TraceID != "t1" }},
	{"client=curl*", func(r *logs.Record) bool { return strings.HasPrefix(r.Client, "curl") }},
	{"status=!5xx", func(r *logs.Record) bool { return r.Status/100 != 5 }},
	{"status=error,!499", func(r *logs.Record) bool { return (r.Status >= 400 || r.ErrorType != "") && r.Status != 499 }},
	{"status=418", func(r *logs.Record) bool { return r.Status == 418 }},
	{"id=rare", func(r *logs.Record) bool { return r.ID == "rare" }},
	{"path=/p/o", func(r *logs.Record) bool { return r.Path == "/p/o" }},
	{"path=/p*&q=top", func(r *logs.Record) bool { return r.Path == "/p/o" && strings.Contains(r.Error, "top") }},
	{"id=!id7&q=!boom", func(r *logs.Record) bool {
		return r.ID != "id7" && r.UpstreamID != "id7" && !strings.Contains(r.Error, "boom")
	}},
	{"stream=!true&min_ms=!1000", func(r *logs.Record) bool { return !r.Stream && r.Duration < time.Second }},
	{"upstream_model=m", func(r *logs.Record) bool { return false }},
}

// written makes a log file of recs, and returns the config for it. If foreign, 50 of
// each 500 lines are as others would spell them.
func written(t testing.TB, recs []logs.Record, foreign bool) logs.Config {
	t.Helper()
	cfg := small(t.TempDir())
	cfg.MaxFile = 16 << 20
	var text []byte
	for i, rec := range recs {
		line := rec.AppendJSON(nil)
		if foreign && i%500 < 50 && i > 0 {
			line = respelled(line, i/500)
		}
		text = append(append(text, line...), '\n')
	}
	if err := os.WriteFile(cfg.File, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// respelled returns the same record in another spelling.
func respelled(line []byte, way int) []byte {
	switch way % 5 {
	case 0: // members sorted, spaces
		var members map[string]any
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		d.Decode(&members)
		line, _ = json.MarshalIndent(members, "", " ")
		return bytes.ReplaceAll(line, []byte("\n"), nil)
	case 1: // a space behind each colon
		return regexp.MustCompile(`([{,]"\w+":)`).ReplaceAll(line, []byte("$1 "))
	case 2: // one value edited
		return bytes.Replace(line, []byte(`"status":`), []byte("\"status\" :\t"), 1)
	case 3: // plain characters escaped
		return regexp.MustCompile(`[/op]`).ReplaceAllFunc(line, func(c []byte) []byte { return fmt.Appendf(nil, "\\u%04x", c[0]) })
	}
	return bytes.ReplaceAll(line, []byte("/"), []byte(`\/`))
}

// record reads a row.
func record(t testing.TB, row logs.Row) (rec logs.Record) {
	t.Helper()
	if err := json.Unmarshal(row.Line, &rec); err != nil || rec.Seq != row.Seq {
		t.Fatalf("%v: row %d is %s", err, row.Seq, row.Line)
	}
	return rec
}

// requests returns how many records statistics add up, with those that had no key.
func requests(t testing.TB, s *logs.Store, values url.Values) uint64 {
	t.Helper()
	values.Add("window", "24h")
	if !values.Has("key") {
		values.Add("key", "*")
	}
	q, err := logs.ParseStats(values, noon)
	if err != nil {
		t.Fatal(err)
	}
	stats, err := s.Stats(q)
	if err != nil {
		t.Fatal(err)
	}
	return uint64(stats.Requests)
}

// Every filter, and every two of them together, choose what a plain look at each
// record does, from files and from the ring, however the lines are spelled.
func TestFilters(t *testing.T) {
	for _, foreign := range []bool{false, true} {
		t.Run(map[bool]string{false: "ours", true: "foreign"}[foreign], func(t *testing.T) { testFilters(t, foreign) })
	}
}

func testFilters(t *testing.T, foreign bool) {
	r := rand.New(rand.NewPCG(1, 2))
	var recs []logs.Record
	for i := range 5000 {
		rec := random(r)
		rec.Seq = uint64(i + 1)
		if i%500 == 25 {
			rec.Status, rec.ID, rec.Path, rec.Error = 418, "rare", "/p/o", "stop"
		}
		if err := json.Unmarshal(rec.AppendJSON(nil), &rec); err != nil {
			t.Fatal(err)
		}
		recs = append(recs, rec)
	}
	s := open(t, written(t, recs, foreign))
	slices.Reverse(recs) // newest first, as they are read back
	f := func(text string, match func(r *logs.Record) bool) {
		t.Helper()
		values, err := url.ParseQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		filter, err := logs.ParseFilter(values, noon)
		if err != nil {
			t.Fatal(err)
		}
		var want, scanned []uint64
		for i := range recs {
			if match(&recs[i]) {
				want = append(want, recs[i].Seq)
			}
		}
		if err := s.Scan(context.Background(), filter, func(row logs.Row) bool {
			scanned = append(scanned, row.Seq)
			return true
		}); err != nil {
			t.Fatal(err)
		}
		same(t, text+" by Scan", scanned, want)
		if len(want) > 0 {
			same(t, text+" by Stats", []uint64{requests(t, s, values)}, []uint64{uint64(len(want))})
		}
		filter.Limit = 37
		page, err := s.Query(filter)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Data) != min(len(want), 37) || (page.Next != "") != (len(want) > 37) || page.Truncated {
			t.Fatalf("%s: a page of %d of %d, next %q", text, len(page.Data), len(want), page.Next)
		}
		for i, row := range page.Data {
			if row.Seq != want[i] || !reflect.DeepEqual(record(t, row), recs[len(recs)-int(row.Seq)]) {
				t.Fatalf("%s: row %d is %s, want %d", text, i, row.Line, want[i])
			}
		}
	}
	for _, q := range queries {
		f(q.text, q.match)
	}
	same(t, "pages", all(t, s, "status=418&limit=3"), []uint64{4526, 4026, 3526, 3026, 2526, 2026, 1526, 1026, 526, 26})
	for range 15 {
		a, b := queries[r.IntN(len(queries))], queries[r.IntN(len(queries))]
		names, _ := url.ParseQuery(a.text)
		if others, _ := url.ParseQuery(b.text); slices.ContainsFunc(slices.Collect(maps.Keys(names)), others.Has) {
			continue // the same parameter twice means or
		}
		f(a.text+"&"+b.text, func(r *logs.Record) bool { return a.match(r) && b.match(r) })
	}
}

func TestParseFilterErrors(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		values, err := url.ParseQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := logs.ParseFilter(values, noon); !errors.Is(err, logs.ErrFilter) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
	f("stauts=500", "valid are since, until, status, model")
	f("status=", "empty")
	f("status=500,", "empty")
	f("status=50", "5xx")
	f("status=6000", "5xx")
	f("status=0xx", "5xx")
	f("status=499-400", "400-499")
	f("since=tomorrow", "24h")
	f("tz=Mars/Olympus", "Europe/Berlin")
	f("since=-1h", "24h")
	f("until=1e9d", "24h")
	f("status=!50", "5xx")
	f("since=!today", "24h")
	f("stream=yes", "true or false")
	f("min_ms=-1", "milliseconds")
	f("min_ms=NaN", "milliseconds")
	f("min_ms=1e99", "milliseconds")
	f("limit=0", "1 to 1000")
	f("limit=1001", "1 to 1000")
	f("limit=5&limit=6", "1 to 1000")
	f("cursor=abc", "next")
	f("cursor=AQAAAAAAAAAA", "next")
	f("model="+strings.Repeat("*", 300), "longer")
	f("model="+strings.Repeat("*,", 100)+"*", "more than")
}

// Pages hold each row once, while rows are added and files rotated.
func TestPagesWhileWriting(t *testing.T) {
	s := open(t, small(t.TempDir()))
	for range 2000 {
		add(t, s, logs.Record{})
	}
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() {
			for range 2000 {
				s.Add(&logs.Record{Error: strings.Repeat("x", 256)})
			}
		})
	}
	for range 3 {
		rows := all(t, s, "limit=171")
		if len(rows) < 2000 {
			t.Errorf("%d rows", len(rows))
		}
		same(t, "rows", rows, down(upTo(len(rows))))
	}
	wait.Wait()
}

// A ring of one row must not come between the rows of a batch and the files.
func TestSmallestRing(t *testing.T) {
	cfg := small(t.TempDir())
	cfg.Ring = 1
	s := open(t, cfg)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 200 {
				s.Add(&logs.Record{})
			}
		})
	}
	for range 20 {
		rows := all(t, s, "limit=1000")
		same(t, "rows", rows, down(upTo(len(rows))))
	}
	wait.Wait()
	same(t, "rows", all(t, s, "limit=1000"), down(upTo(1600)))
}

// Rows are in the order of their end; a file must not be skipped for the time of
// its neighbours.
func TestTimeOutOfOrder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, small(dir))
	for i := range 3000 {
		rec := logs.Record{Time: noon.Add(time.Duration(i) * time.Second)}
		if i%700 == 350 {
			rec.Time = noon.Add(-30 * time.Minute) // a long request
		}
		add(t, s, rec)
	}
	same(t, "before", all(t, s, "until=2026-11-23T12:00:00Z"), []uint64{2451, 1751, 1051, 351})
	same(t, "first", all(t, s, "since=2026-11-23T12:00:00Z&until=2026-11-23T12:00:03Z"), []uint64{3, 2, 1})
	same(t, "last", all(t, s, "since=2026-11-23T12:49:57Z"), []uint64{3000, 2999, 2998})
}

// A query that runs out of time says so and goes on where it stood.
func TestBudget(t *testing.T) {
	s := open(t, small(t.TempDir()))
	for i := range 5000 {
		add(t, s, logs.Record{Status: 200 + i%1000/999})
	}
	f := filter(t, "status=201")
	f.Budget = 1
	var got []uint64
	truncated := 0
	for {
		page, err := s.Query(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range page.Data {
			got = append(got, rec.Seq)
		}
		if page.Next == "" {
			break
		}
		if page.Truncated {
			truncated++
		}
		f.Before = filter(t, "cursor="+page.Next).Before
	}
	same(t, "rows", got, []uint64{5000, 4000, 3000, 2000, 1000})
	if truncated < 15 {
		t.Errorf("truncated %d times", truncated)
	}
}

func TestScanEnds(t *testing.T) {
	s := open(t, small(t.TempDir()))
	for range 1000 {
		add(t, s, logs.Record{})
	}
	count := func(ctx context.Context, f logs.Filter, yield func(n int) bool) (n int, err error) {
		err = s.Scan(ctx, f, func(row logs.Row) bool {
			n++
			rec := record(t, row)
			if want := string(rec.AppendJSON(nil)); string(row.Line) != want {
				t.Fatalf("line %s, want %s", row.Line, want)
			}
			return yield(n)
		})
		return n, err
	}
	always := func(int) bool { return true }
	if n, err := count(t.Context(), logs.Filter{}, always); n != 1000 || err != nil {
		t.Error(n, err)
	}
	if n, err := count(t.Context(), logs.Filter{Limit: 10}, always); n != 10 || err != nil {
		t.Error(n, err)
	}
	if n, err := count(t.Context(), logs.Filter{}, func(n int) bool { return n < 5 }); n != 5 || err != nil {
		t.Error(n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if n, err := count(ctx, logs.Filter{}, func(int) bool { cancel(); return true }); n == 1000 || !errors.Is(err, context.Canceled) {
		t.Error(n, err)
	}
}

func TestPageJSON(t *testing.T) {
	s := open(t, small(t.TempDir()))
	f := func(want string) {
		t.Helper()
		page, err := s.Query(logs.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(page); err != nil || string(got) != want {
			t.Errorf("%v, got %s, want %s", err, got, want)
		}
	}
	f(`{"data":[],"truncated":false}`)
	rec := logs.Record{ID: "x"}
	add(t, s, rec)
	rec.Seq = 1
	f(`{"data":[` + string(rec.AppendJSON(nil)) + `],"truncated":false}`)
}
