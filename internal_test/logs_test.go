// The log as operators read it: GET /_logs and the file tell the same.
package gateway_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// page reads a page of GET /_logs.
func (g *gateway) page(t testing.TB, query string) (rows []record, next string) {
	t.Helper()
	r := g.Send(t, "GET", "/_logs?"+query, "", "Authorization: Bearer "+harness.AdminKey)
	if r.Status != 200 || r.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("/_logs?%s: %d %s", query, r.Status, r.Body)
	}
	var page struct {
		Data      []record
		Next      string
		Truncated bool
	}
	if err := json.Unmarshal(r.Body, &page); err != nil {
		t.Fatal(err)
	}
	if page.Truncated {
		t.Errorf("/_logs?%s is truncated", query)
	}
	return page.Data, page.Next
}

func TestLogQueries(t *testing.T) {
	p := harness.NewProvider(t, nil)
	cfg := relayTo(p, "openai", object{"models": list{"m-*", "n-*"}})
	cfg["logs"] = object{"ring": 10} // most rows come from the file
	g := start(t, cfg)
	begin := time.Now().Add(-time.Second).UTC().Format(time.RFC3339)
	for i := range 40 {
		status := []int{200, 200, 429, 500}[i%4]
		if p.Play(canned{status: status, header: []string{"Content-Type: application/json"}, body: openaiError}.serve(whole)); status == 200 {
			p.Play(ok(chatReply).serve(whole))
		}
		g.Send(t, "POST", "/v1/chat/completions", fmt.Sprintf(`{"model":"%c-%d"}`, 'm'+i%2, i))
	}
	g.Send(t, "GET", "/v1/nothing", "")
	all := g.Expect(t, 41)

	matches := func(keep func(rec record) bool) string {
		seqs := ""
		for i := len(all) - 1; i >= 0; i-- {
			if keep(all[i]) {
				seqs += fmt.Sprint(all[i].Seq, " ")
			}
		}
		return seqs
	}
	f := func(query string, keep func(rec record) bool) {
		t.Helper()
		for _, limit := range []string{"1000", "7"} {
			got, cursor := "", ""
			for range 50 {
				rows, next := g.page(t, query+"&limit="+limit+cursor)
				for _, rec := range rows {
					got += fmt.Sprint(rec.Seq, " ")
				}
				if next == "" {
					break
				}
				cursor = "&cursor=" + url.QueryEscape(next)
			}
			if want := matches(keep); got != want {
				t.Errorf("%s by %s: rows %s, want %s", query, limit, got, want)
			}
		}
	}
	f("", func(rec record) bool { return true })
	f("status=429", func(rec record) bool { return rec.Status == 429 })
	f("status=5xx,404", func(rec record) bool { return rec.Status >= 500 || rec.Status == 404 })
	f("status=400-499&model=m-*", func(rec record) bool { return rec.Status/100 == 4 && strings.HasPrefix(rec.Model, "m-") })
	f("status=error", func(rec record) bool { return rec.Status >= 400 })
	f("model=n-1,n-3*", func(rec record) bool { return rec.Model == "n-1" || strings.HasPrefix(rec.Model, "n-3") })
	f("provider=fake&endpoint=chat*", func(rec record) bool { return rec.Provider == "fake" })
	f("key=user&path=/v1/chat/*", func(rec record) bool { return rec.Path == "/v1/chat/completions" })
	f("key=tests", func(rec record) bool { return false })
	f("since="+url.QueryEscape(begin), func(rec record) bool { return true })
	f("since=15m", func(rec record) bool { return true })
	f("until=15m", func(rec record) bool { return false })
	f("id="+all[3].ID, func(rec record) bool { return rec.Seq == all[3].Seq })
	f("stream=false", func(rec record) bool { return true })
	f("min_ms=100000", func(rec record) bool { return false })

	for _, query := range []string{"stauts=500", "status=abc", "limit=0", "limit=5000", "since=tomorrow", "cursor=!", "stream=maybe", "min_ms=-1"} {
		r := g.Send(t, "GET", "/_logs?"+query, "", "Authorization: Bearer "+harness.AdminKey)
		checkError(t, r, "openai", 400)
	}
	r := g.Send(t, "GET", "/_logs?stauts=500", "", "Authorization: Bearer "+harness.AdminKey)
	if !strings.Contains(string(r.Body), "min_ms") {
		t.Errorf("it does not list the parameters: %s", r.Body)
	}
}

// What a client writes into names cannot forge a line or hide a control character.
func TestLogInjection(t *testing.T) {
	g := start(t, relayTo(harness.NewProvider(t, ok(chatReply).serve(whole)), "openai"))
	evil := `a\nb\r\u0000\u001b[31m\u007f\u0085\u2028\u2029` + strings.Repeat("世", 200)
	g.Send(t, "POST", "/v1/chat/completions", `{"model":"`+evil+`"}`, "User-Agent: x\"} "+strings.Repeat("é", 300))
	g.Send(t, "GET", "/v1/%0a%1b%7f%c2%85"+strings.Repeat("x", 1000), "")
	for _, rec := range g.Expect(t, 2) {
		if len(rec.Model) > 256 || len(rec.Path) > 256 || len([]rune(rec.Client)) > 120 || len(rec.Error) > 256 {
			t.Errorf("not capped: %+v", rec)
		}
	}
	text := readText(t, g.LogFile())
	for _, r := range text {
		if r != '\n' && (r < 0x20 || r == 0x7f || 0x80 <= r && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\ufffd') {
			t.Errorf("%U stands in the log", r)
		}
	}
}

// The record stands on disk before the answer has ended, whatever its form.
func TestRecordBeforeEnd(t *testing.T) {
	p := harness.NewProvider(t, nil)
	g := start(t, relayTo(p, "openai"))
	f := func(name string, answer canned, status int, request string) {
		t.Run(name, func(t *testing.T) {
			p.Play(answer.serve(whole))
			for range 50 {
				r := g.Send(t, "POST", "/v1/chat/completions", request)
				all := g.Records(t)
				if r.Status != status || len(all) != g.Seen+1 {
					t.Fatalf("%d: %d records at the end of request %d", r.Status, len(all), g.Seen+1)
				}
				g.Seen++
			}
		})
	}
	f("plain", ok(chatReply), 200, chatRequest)
	f("stream", events(chatStream), 200, chatStreamRequest)
	f("empty", ok(""), 502, chatRequest)
	f("one byte", ok("1"), 502, chatRequest)
	f("large", ok(`{"x":"`+strings.Repeat("x", 1<<20)+`"}`), 200, chatRequest)
	f("provider's error", canned{status: 429, header: []string{"Content-Type: application/json"}, body: openaiError}, 429, chatRequest)
	f("own error", ok(""), 400, "{")
}

// Exports hold every row that matches, whatever their number.
func TestLogExport(t *testing.T) {
	p := harness.NewProvider(t, ok(chatReply).serve(whole))
	cfg := relayTo(p, "openai")
	cfg["logs"] = object{"ring": 5}
	g := start(t, cfg)
	g.Send(t, "POST", "/v1/chat/completions", `{"model":"=1+1\",\nx"}`)
	for range 29 {
		g.Send(t, "POST", "/v1/chat/completions", chatRequest)
	}
	g.Expect(t, 30)
	export := func(format string) string {
		t.Helper()
		r := g.Send(t, "GET", "/_logs?limit=1000&format="+format, "", "Authorization: Bearer "+harness.AdminKey)
		if r.Status != 200 || r.Cut != nil {
			t.Fatalf("%s: %d %v", format, r.Status, r.Cut)
		}
		return string(r.Body)
	}
	lines := strings.Split(strings.TrimSpace(export("jsonl")), "\n")
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Errorf("jsonl: %q", line)
		}
	}
	rows, err := csv.NewReader(strings.NewReader(export("csv"))).ReadAll()
	if err != nil || len(rows) != 31 || len(lines) != 30 {
		t.Fatalf("%d lines, %d rows, %v", len(lines), len(rows), err)
	}
	for _, row := range rows {
		for _, cell := range row {
			if strings.HasPrefix(cell, "=") {
				t.Errorf("a formula: %q", cell)
			}
		}
	}
}
