package logs_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"proxycast/logs"
)

func config(dir string) logs.Config {
	return logs.Config{File: filepath.Join(dir, "requests.jsonl"), MaxFile: 64 << 20, MaxTotal: 1 << 30, Ring: 10000}
}

func ptr(n int64) *int64 { return &n }

func sample(i int) *logs.Record {
	r := rand.New(rand.NewPCG(1, uint64(i)))
	rec := &logs.Record{
		Time: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC).Add(time.Duration(i) * 37 * time.Millisecond),
		ID:   fmt.Sprintf("req_%020d", i), Key: []string{"dev", "ci", "ops"}[r.IntN(3)], Method: "POST", Path: "/v1/chat/completions",
		Endpoint: "chat_completions", Model: []string{"gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", "demo-1"}[r.IntN(4)],
		UpstreamModel: "gpt-4o-2024-08-06", Provider: "openai", Status: 200, Stream: i%2 == 0,
		Duration: time.Duration(r.ExpFloat64() * 1e9), TTFT: time.Duration(r.ExpFloat64() * 2e8),
		InputTokens: ptr(r.Int64N(10000)), OutputTokens: ptr(r.Int64N(2000)), CacheReadTokens: ptr(0),
		FinishReason: "stop", Attempts: 1, RequestBytes: r.Int64N(50000), ResponseBytes: r.Int64N(9000),
		Client: "OpenAI/Python 1.51.0", Remote: "127.0.0.1:51234", UpstreamID: fmt.Sprintf("req_%032x", i),
	}
	if r.IntN(1000) == 0 {
		rec.Status, rec.ErrorType, rec.Error = 503, "overloaded_error", "the provider is overloaded"
	}
	return rec
}

func open(t testing.TB, cfg logs.Config) *logs.Store {
	t.Helper()
	s, err := logs.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func filter(t testing.TB, query string) logs.Filter {
	t.Helper()
	v, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	f, err := logs.ParseFilter(v, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func BenchmarkAppendJSON(b *testing.B) {
	rec, dst := sample(7), make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		dst = rec.AppendJSON(dst[:0])
	}
	b.SetBytes(int64(len(dst)))
}

func BenchmarkAdd(b *testing.B) {
	run := func(name string, cfg logs.Config) {
		b.Run(name, func(b *testing.B) {
			s := open(b, cfg)
			rec := sample(7)
			b.ReportAllocs()
			for b.Loop() {
				s.Add(rec)
			}
		})
	}
	run("file", config(b.TempDir()))
	file := filepath.Join(b.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	run("nowhere", config(file))
}

func BenchmarkQuery(b *testing.B) {
	s := open(b, config(b.TempDir()))
	for i := range 200_000 {
		s.Add(sample(i))
	}
	for _, query := range []string{"status=502", "status=503&limit=1000", "status=5xx&limit=1000", "status=error&limit=1000", "model=none*", "min_ms=100000", "since=2026-11-24", "q=no+such", "limit=100"} {
		b.Run(query, func(b *testing.B) {
			f := filter(b, query)
			b.ReportAllocs()
			for b.Loop() {
				if p, err := s.Query(f); err != nil || p.Truncated {
					b.Fatal(err, p.Truncated)
				}
			}
		})
	}
}

// BenchmarkAddFollowed adds 1,000 records a second while followers read them all,
// and reports what one Add took.
func BenchmarkAddFollowed(b *testing.B) {
	for _, followers := range []int{0, 500} {
		b.Run(fmt.Sprint(followers), func(b *testing.B) {
			s := open(b, config(b.TempDir()))
			var wait sync.WaitGroup
			for range followers {
				tail := s.Tail(logs.Filter{}, s.Last())
				wait.Go(func() {
					defer tail.Close()
					for {
						if _, _, err := tail.Next(context.Background(), time.Minute); err != nil {
							return
						}
					}
				})
			}
			rec := sample(7)
			var took []time.Duration
			for b.Loop() {
				time.Sleep(time.Millisecond)
				begin := time.Now()
				s.Add(rec)
				took = append(took, time.Since(begin))
			}
			s.Close()
			wait.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2]), "p50-ns")
			b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
		})
	}
}

func BenchmarkAddParallel(b *testing.B) {
	s := open(b, config(b.TempDir()))
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		rec := sample(7)
		for pb.Next() {
			s.Add(rec)
		}
	})
}

// BenchmarkStats adds up by few models and by 10,000 invented ones. The two must cost
// about the same.
func BenchmarkStats(b *testing.B) {
	for _, models := range []int{4, 10_000} {
		b.Run(fmt.Sprint(models), func(b *testing.B) {
			s := open(b, config(b.TempDir()))
			for i := range 200_000 {
				rec := sample(i)
				rec.Model = fmt.Sprint("model-", i%models)
				s.Add(rec)
			}
			q := logs.StatsQuery{Since: sample(0).Time.Add(-1), Until: sample(200_000).Time, Step: time.Hour, By: "model"}
			b.ReportAllocs()
			for b.Loop() {
				if stats, err := s.Stats(q); err != nil || stats.Requests != 200_000 {
					b.Fatal(err, stats.Requests)
				}
			}
		})
	}
}
