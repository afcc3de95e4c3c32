package logs

import (
	"strconv"
	"time"
)

// Statistics as rows of texts, for a table.

// Table returns s as rows of texts, of which the first has the names of the columns:
// one row for each step of each group, where there are steps and groups.
func (s *Stats) Table() [][]string {
	head := []string{"time", "model", "provider", "key", "requests", "errors_4xx", "errors_5xx", "errors_499", "errors_stream", "error_rate",
		"input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens",
		"duration_p50_ms", "duration_p95_ms", "duration_p99_ms", "ttft_p50_ms", "ttft_p95_ms", "ttft_p99_ms"}
	rows := [][]string{head}
	groups := s.Groups
	if s.By == "" {
		groups = []Group{{Sum: s.Sum, Series: s.Series}}
	}
	for _, g := range groups {
		row := func(at string, sum Sum) {
			row := []string{at, g.Model.text(), g.Provider.text(), g.Key.text()}
			rows = append(rows, sum.appendTexts(row))
		}
		if s.Step == 0 {
			row("", g.Sum)
		}
		for _, p := range g.Series {
			row(p.Time.Format(time.RFC3339), p.Sum)
		}
	}
	return rows
}

func (n *Name) text() string {
	if n == nil {
		return ""
	}
	return string(*n)
}

func (s *Sum) appendTexts(row []string) []string {
	e, t := s.Errors, s.Tokens
	whole := func(numbers ...int64) {
		for _, n := range numbers {
			row = append(row, strconv.FormatInt(n, 10))
		}
	}
	fraction := func(numbers ...float64) {
		for _, n := range numbers {
			row = append(row, strconv.FormatFloat(n, 'f', -1, 64))
		}
	}
	whole(s.Requests, e.Client, e.Server, e.Left, e.Stream)
	fraction(s.ErrorRate)
	whole(t.Input, t.Output, t.CacheRead, t.CacheWrite, t.Reasoning)
	for _, p := range []*Percentiles{s.Duration, s.TTFT} {
		if p == nil {
			row = append(row, "", "", "")
		} else {
			fraction(p.P50, p.P95, p.P99)
		}
	}
	return row
}
