// Queries: what /_logs chooses from a long log in memory and files, against what
// jq chooses from the same files.
package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// longLog is a gateway on a long log, and what is in it.
type longLog struct {
	*gateway
	begin time.Time
	rows  []record // newest first
}

func newLongLog(t *testing.T) *longLog {
	rows := 5_000
	if harness.Full() {
		rows = 100_000
	}
	if harness.Race() { // which makes all of it ten times as slow
		rows /= 10
	}
	l := &longLog{begin: time.Now()}
	l.gateway = history{rows: rows, files: 5, until: l.begin}.startOn(t, t.TempDir(), 60)
	l.rows = harness.OnDisk(t, harness.LogFiles(t, filepath.Dir(l.LogFile()))...)
	slices.Reverse(l.rows)
	if want := rows + 60; len(l.rows) != want || l.rows[0].Seq != uint64(want) {
		t.Fatalf("%d rows up to %d, want %d", len(l.rows), l.rows[0].Seq, want)
	}
	return l
}

// TestLongLog has one log for all its parts, since it takes a while to make.
func TestLongLog(t *testing.T) {
	if harness.Full() {
		t.Parallel()
	}
	l := newLongLog(t)
	t.Run("exports", l.testExports) // first, while the process has not seen more than its start
	t.Run("filters", l.testFilters)
	t.Run("stats", l.testStats)
	t.Run("restart", l.testRestart)
}

// export begins GET /_logs?query in a format that streams.
func (g *gateway) export(t testing.TB, query string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	res, err := g.Client.Do(g.Request(ctx, "GET", "/_logs?"+query, "", "Authorization: Bearer "+harness.AdminKey))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 {
		text, _ := io.ReadAll(res.Body)
		t.Fatalf("/_logs?%s: %d %s", query, res.StatusCode, text)
	}
	return res
}

// chosen returns the seqs of the rows that query chooses, from the export.
func (g *gateway) chosen(t testing.TB, query string) (seqs []uint64) {
	t.Helper()
	res := g.export(t, query+"&format=jsonl")
	in := bufio.NewScanner(res.Body)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var row struct{ Seq uint64 }
		if text, isPlain := bytes.CutPrefix(in.Bytes(), []byte(`{"seq":`)); isPlain {
			digits, _, _ := bytes.Cut(text, []byte(","))
			row.Seq, _ = strconv.ParseUint(string(digits), 10, 64)
		} else if err := json.Unmarshal(in.Bytes(), &row); err != nil {
			t.Fatalf("%v: %s", err, in.Bytes())
		}
		seqs = append(seqs, row.Seq)
	}
	if in.Err() != nil {
		t.Fatal(in.Err())
	}
	return seqs
}

// paged returns the same from pages.
func (g *gateway) paged(t testing.TB, query string, limit int) (seqs []uint64) {
	t.Helper()
	for cursor := ""; ; {
		rows, next := g.page(t, fmt.Sprintf("%s&limit=%d%s", query, limit, cursor))
		for _, rec := range rows {
			seqs = append(seqs, rec.Seq)
		}
		if next == "" {
			return seqs
		}
		if len(rows) != limit {
			t.Fatalf("%s: a page of %d rows is followed by another", query, len(rows))
		}
		cursor = "&cursor=" + url.QueryEscape(next)
	}
}

// condition is one value of one parameter, and the same in jq.
type condition struct{ name, value, jq string }

// conditions of every filter there is.
func (l *longLog) conditions() []condition {
	at := func(age time.Duration) string { return l.begin.Add(-age).UTC().Format("2006-01-02T15:04:05.000Z") }
	day := l.begin.Add(-10 * time.Hour).UTC().Format("2006-01-02")
	offset := l.begin.Add(-3 * time.Hour).In(time.FixedZone("", 5*3600)).Format("2006-01-02T15:04:05Z07:00")
	middle := l.rows[len(l.rows)/2]
	text := func(field string) string { return "(." + field + " // \"\")" }
	all := []condition{
		{"since", at(4 * time.Hour), ".time >= \"" + at(4*time.Hour) + "\""},
		{"since", "6h", ".time >= \"" + at(6*time.Hour) + "\""},
		{"since", "7d", "true"},
		{"since", offset, ".time >= \"" + l.begin.Add(-3*time.Hour).Truncate(time.Second).UTC().Format("2006-01-02T15:04:05.000Z") + "\""},
		{"since", day, ".time >= \"" + day + "T00:00:00.000Z\""},
		{"until", at(time.Hour), ".time < \"" + at(time.Hour) + "\""},
		{"until", "6h", ".time < \"" + at(6*time.Hour) + "\""},
		{"until", middle.Time, ".time < \"" + middle.Time + "\""},
		{"until", day, ".time < \"" + day + "T00:00:00.000Z\""},
		{"status", "500", ".status == 500"},
		{"status", "200", ".status == 200"},
		{"status", "404", ".status == 404"},
		{"status", "5xx", ".status >= 500 and .status <= 599"},
		{"status", "4XX", ".status >= 400 and .status <= 499"},
		{"status", "401-429", ".status >= 401 and .status <= 429"},
		{"status", "error", ".status >= 400 or has(\"error_type\")"},
		{"stream", "true", ".stream"},
		{"stream", "false", ".stream | not"},
		{"min_ms", "250", ".duration_ms >= 250"},
		{"min_ms", "0.5", ".duration_ms >= 0.5"},
		{"min_ms", fmt.Sprint(middle.DurationMS), fmt.Sprint(".duration_ms >= ", middle.DurationMS)},
		{"id", middle.ID, ".id == " + quoted(middle.ID)},
		{"id", l.rows[5].ID, ".id == " + quoted(l.rows[5].ID)},
		{"id", "up_1234", ".upstream_id == \"up_1234\""},
		{"id", "none", "false"},
		{"q", "overloaded", text("error") + ` | contains("overloaded")`},
		{"q", `"tier 1"`, text("error") + ` | contains("\"tier 1\"")`},
		{"q", "Fälle <&>", text("error") + ` | contains("Fälle <&>")`},
		{"q", "=cmd|' /C", text("error") + ` | contains("=cmd|' /C")`},
		{"endpoint", "messages", text("endpoint") + ` == "messages"`},
		{"endpoint", "chat*", text("endpoint") + ` | startswith("chat")`},
		{"endpoint", "*", "true"},
		{"provider", "openai", text("provider") + ` == "openai"`},
		{"provider", "*e*", text("provider") + ` | contains("e")`},
		{"key", "dev", text("key") + ` == "dev"`},
		{"key", "dev*", text("key") + ` | startswith("dev")`},
		{"key", "开发*", text("key") + ` | startswith("开发")`},
		{"path", "/v1/messages", `.path == "/v1/messages"`},
		{"path", "/v1/*", `.path | startswith("/v1/")`},
		{"path", "/api/*/v1/*", `.path | test("^/api/.*/v1/")`},
		{"model", "gpt-4o", text("model") + ` == "gpt-4o"`},
		{"model", "gpt-*", text("model") + ` | startswith("gpt-")`},
		{"model", "*-mini", text("model") + ` | endswith("-mini")`},
		{"model", "*4*o*", text("model") + ` | test("4.*o")`},
		{"model", "模型-1", text("model") + ` == "模型-1"`},
		{"model", "模*", text("model") + ` | startswith("模")`},
		{"model", `a"b\c`, text("model") + ` == "a\"b\\c"`},
		{"model", `<b>*`, text("model") + ` | startswith("<b>")`},
		{"model", "=1+1", text("model") + ` == "=1+1"`},
		{"model", "GPT-4o", "false"},
	}
	return all
}

func quoted(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}

// judged asks jq which rows fulfil each condition: verdicts[i][k] is about the i-th
// newest row and the k-th condition.
func (l *longLog) judged(t testing.TB, conditions []condition) [][]bool {
	t.Helper()
	program := "[.seq"
	for _, c := range conditions {
		program += ", (" + c.jq + ")"
	}
	files := harness.LogFiles(t, filepath.Dir(l.LogFile()))
	verdicts := make([][]bool, len(l.rows))
	var jqs sync.WaitGroup
	for _, file := range files { // beside one another, for speed
		jqs.Go(func() {
			cmd := exec.Command("jq", "-c", program+"]", file)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("jq: %v", err)
				return
			}
			for line := range bytes.Lines(out) {
				var row []any
				if err := json.Unmarshal(line, &row); err != nil {
					t.Errorf("jq: %v: %s", err, line)
					return
				}
				verdict := make([]bool, len(conditions))
				for k := range conditions {
					verdict[k] = row[k+1].(bool)
				}
				verdicts[len(l.rows)-int(row[0].(float64))] = verdict
			}
		})
	}
	jqs.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return verdicts
}

// Every filter alone, then a few hundred of them combined at random.
func (l *longLog) testFilters(t *testing.T) {
	harness.NeedTool(t, "jq", "apt-get install jq")
	conditions := l.conditions()
	begin := time.Now()
	verdicts := l.judged(t, conditions)
	t.Logf("jq judged %d rows by %d conditions in %v", len(l.rows), len(conditions), time.Since(begin).Round(time.Millisecond))
	want := func(keep func(verdict []bool) bool) (seqs []uint64) {
		for i, rec := range l.rows {
			if keep(verdicts[i]) {
				seqs = append(seqs, rec.Seq)
			}
		}
		return seqs
	}
	same := func(query, how string, got, want []uint64) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s by %s: %d rows, want %d; they begin with %v, want %v",
				query, how, len(got), len(want), got[:min(5, len(got))], want[:min(5, len(want))])
		}
	}
	for k, c := range conditions {
		query := c.name + "=" + url.QueryEscape(c.value)
		wanted := want(func(v []bool) bool { return v[k] })
		same(query, "jsonl", l.chosen(t, query), wanted)
		if len(wanted) < 10_000 {
			same(query, "pages of 1000", l.paged(t, query, 1000), wanted)
		}
		if len(wanted) < 300 {
			same(query, "pages of 7", l.paged(t, query, 7), wanted)
		}
	}

	combinations := 30
	if harness.Full() {
		combinations = 200
	}
	if harness.Race() {
		combinations /= 3
	}
	r := rand.New(rand.NewPCG(20, 26))
	found := 0
	begin = time.Now()
	for range combinations {
		chosen := map[string][]int{} // conditions by parameter: or within one, and between them
		for range 2 + r.IntN(4) {
			k := r.IntN(len(conditions))
			if name := conditions[k].name; !slices.Contains(chosen[name], k) && len(chosen[name]) < 3 {
				chosen[name] = append(chosen[name], k)
			}
		}
		query := url.Values{}
		for name, ks := range chosen {
			var values []string
			for _, k := range ks {
				values = append(values, conditions[k].value)
			}
			query.Set(name, strings.Join(values, ","))
		}
		wanted := want(func(v []bool) bool {
			for _, ks := range chosen {
				if !slices.ContainsFunc(ks, func(k int) bool { return v[k] }) {
					return false
				}
			}
			return true
		})
		if len(wanted) > 0 {
			found++
		}
		same(query.Encode(), "jsonl", l.chosen(t, query.Encode()), wanted)
		if len(wanted) < 5000 {
			same(query.Encode(), "pages", l.paged(t, query.Encode(), 200+r.IntN(800)), wanted)
		}
	}
	t.Logf("%d combined filters, of which %d choose rows, in %v", combinations, found, time.Since(begin).Round(time.Millisecond))
}

// The exports of the whole log say the same as the files, in little memory.
func (l *longLog) testExports(t *testing.T) {
	before := l.PeakMemory(t)
	lines := bufio.NewScanner(l.export(t, "format=jsonl").Body)
	lines.Buffer(nil, 1<<20)
	table := csv.NewReader(l.export(t, "format=csv").Body)
	names, err := table.Read()
	if err != nil {
		t.Fatal(err)
	}
	formulas := 0
	for i, want := range l.rows {
		if !lines.Scan() {
			t.Fatalf("jsonl ends at row %d of %d: %v", i, len(l.rows), lines.Err())
		}
		var got map[string]any
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.UseNumber()
		if err := d.Decode(&got); err != nil {
			t.Fatalf("%v: %s", err, lines.Bytes())
		}
		if got["seq"] != json.Number(fmt.Sprint(want.Seq)) {
			t.Fatalf("jsonl: row %d is %v, want %d", i, got["seq"], want.Seq)
		}
		cells, err := table.Read()
		if err != nil {
			t.Fatalf("csv, row %d of %d: %v", i, len(l.rows), err)
		}
		for k, name := range names {
			text := ""
			if value, known := got[name]; known {
				text = fmt.Sprint(value)
				if parts, isList := value.([]any); isList {
					text = strings.Trim(fmt.Sprint(parts), "[]")
				}
			}
			if text != "" && strings.ContainsRune("=+-@\t\r\n", rune(text[0])) {
				formulas++
				text = "'" + text
			}
			if cells[k] != text {
				t.Fatalf("row %d: %s is %q in csv and %q in jsonl", want.Seq, name, cells[k], text)
			}
			delete(got, name)
		}
		if len(got) > 0 {
			t.Fatalf("row %d: csv lacks %v", want.Seq, got)
		}
	}
	if lines.Scan() {
		t.Errorf("jsonl goes on: %s", lines.Bytes())
	}
	if row, err := table.Read(); err != io.EOF {
		t.Errorf("csv goes on: %q %v", row, err)
	}
	if formulas == 0 {
		t.Error("no cell was a formula")
	}
	after := l.PeakMemory(t)
	t.Logf("two exports of %d rows: the peak of memory went from %d to %d MiB; %d cells were kept from being formulas", len(l.rows), before>>20, after>>20, formulas)
	if after-before > 64<<20 {
		t.Errorf("memory grew by %d MiB", (after-before)>>20)
	}
}

// Pages visit each row once, newest first, though rows come and files are rotated.
func TestPagesWhileWriting(t *testing.T) {
	cfg := relayTo(harness.NewProvider(t, kindly), "openai")
	cfg["logs"] = object{"ring": 50, "max_file": "64KiB"}
	g := start(t, cfg)
	for range 40 {
		g.crowdOnce(t)
	}
	f := func(query string, limit int) {
		t.Helper()
		files := harness.LogFiles(t, filepath.Dir(g.LogFile()))
		before, last := len(files), uint64(0)
		var want []uint64 // of the rows there are now
		for _, rec := range harness.OnDisk(t, files...) {
			if last = rec.Seq; query == "" || rec.Status >= 400 {
				want = append(want, rec.Seq)
			}
		}
		slices.Reverse(want)
		crowd := g.crowded(t, fmt.Sprint("beside", query, limit), 4)
		defer crowd.wait()
		var got []uint64
		cursor := ""
		for {
			rows, next := g.page(t, fmt.Sprintf("%s&limit=%d%s", query, limit, cursor))
			for _, rec := range rows {
				got = append(got, rec.Seq)
			}
			if next == "" {
				break
			}
			cursor = "&cursor=" + url.QueryEscape(next)
			for page := len(got) / limit; page%8 == 1 && len(harness.LogFiles(t, filepath.Dir(g.LogFile()))) < before+1+page/8; {
				time.Sleep(time.Millisecond) // there is a rotation between these pages
			}
		}
		newer := 0 // that came before the first page
		for newer < len(got) && got[newer] > last {
			newer++
		}
		if !slices.IsSortedFunc(got, func(a, b uint64) int { return int(b) - int(a) }) || !slices.Equal(got[newer:], want) {
			t.Errorf("%s by %d: %d rows, want %d and what came meanwhile", query, limit, len(got), len(want))
		}
	}
	f("", 7)
	f("", 100)
	f("status=error", 13)
}
