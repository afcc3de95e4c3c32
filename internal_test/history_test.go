// History: a log of many rows as it could have grown over a day, written straight
// into files, and a gateway that finds it there.
package gateway_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// history is how a log is made up.
type history struct {
	rows  int
	files int // the last of which is the current one
	rare  int // one row in as many has the status 418
	until time.Time
}

// The names that rows have. Some need escaping, some look like patterns.
var (
	someModels = []string{"gpt-4o", "gpt-4o-mini", "gpt-4.1", "claude-sonnet-4-5", "o3", "模型-1", `a"b\c`, "<b>x</b>&amp;", "=1+1", "-2", "@x", "+3", "a:b/c d", ""}
	someErrors = []string{"the provider is overloaded", `rate limit "tier 1" reached`, "connection reset by peer", "zu langsam: 5 Fälle <&>", "=cmd|' /C calc'!A0"}
	someAgents = []string{"OpenAI/Python 1.51.0", "claude-cli/1.0 (external, cli)", "curl/8.0", `"quoted", agent`, "-dash", ""}
)

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func number(n int64) *int64 { return &n }

// row makes the i-th row; r decides.
func (h history) row(r *rand.Rand, i int) record {
	rec := record{
		Seq: uint64(i + 1), ID: fmt.Sprintf("req_%026d", i), Key: pick(r, []string{"dev", "dev-2", "ci", "开发环境"}), Method: "POST",
		Path: "/v1/chat/completions", Endpoint: "chat_completions", Model: pick(r, someModels), Status: 200, Attempts: 1,
		RequestBytes: r.Int64N(50000), ResponseBytes: r.Int64N(9000), Client: pick(r, someAgents), Remote: "127.0.0.1",
		DurationMS: micros(math.Exp(r.Float64()*15) * 20), Stream: r.IntN(2) == 0,
	}
	// The time is when a request began, so that it is not quite in the order of seq.
	age := time.Duration(h.rows-i)*20*time.Hour/time.Duration(h.rows) + time.Duration(r.IntN(120))*time.Second
	if age > 6*time.Hour-5*time.Minute { // no row is about six hours old, so that no clock decides
		age += 10 * time.Minute
	}
	rec.Time = h.until.Add(-age).UTC().Format("2006-01-02T15:04:05.000Z")
	switch r.IntN(4) {
	case 0:
		rec.Path, rec.Endpoint, rec.Provider = "/v1/messages", "messages", "anthropic"
	case 1:
		rec.Path, rec.Endpoint, rec.Provider = "/api/provider/eu/v1/embeddings", "embeddings", "eu"
	default:
		rec.Provider = "openai"
	}
	rec.UpstreamModel = rec.Model
	if r.IntN(3) > 0 {
		rec.InputTokens, rec.OutputTokens = number(r.Int64N(100000)), number(r.Int64N(4000))
		rec.FinishReason, rec.UpstreamID = "stop", fmt.Sprintf("up_%d", i)
		if r.IntN(2) == 0 {
			rec.CacheReadTokens, rec.CacheWriteTokens, rec.ReasoningTokens = number(r.Int64N(1000)), number(0), number(r.Int64N(500))
		}
	}
	if rec.Stream {
		ttft := micros(rec.DurationMS * 500)
		rec.TTFTMS = &ttft
	}
	switch n := r.IntN(100); {
	case h.rare > 0 && r.IntN(h.rare) == 0:
		rec.Status, rec.ErrorType, rec.Error = 418, "teapot", "short and stout"
	case n < 4:
		rec.Status, rec.ErrorType, rec.Error = pick(r, []int{500, 502, 503, 529}), "overloaded_error", pick(r, someErrors)
	case n < 8:
		rec.Status, rec.ErrorType, rec.Error = pick(r, []int{400, 401, 404, 429}), "invalid_request", pick(r, someErrors)
	case n < 9:
		rec.Status, rec.ErrorType = 499, "client_closed"
	case n < 10:
		rec.ErrorType, rec.Error = "stream_cut", pick(r, someErrors)
	case n < 11:
		rec.Dropped = []string{"seed", "logit_bias"}
	case n < 12:
		rec.Path, rec.Endpoint, rec.Model, rec.Provider, rec.Status = "/v1/none", "", "", "", 404
	}
	return rec
}

// micros rounds microseconds to whole ones, and gives milliseconds.
func micros(us float64) float64 { return math.Max(math.Round(us), 1) / 1000 }

// write makes the files in dir.
func (h history) write(t testing.TB, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(7, uint64(h.rows)))
	for file := range h.files {
		from, to := h.rows*file/h.files, h.rows*(file+1)/h.files
		name := "requests.jsonl"
		if file < h.files-1 {
			stamp := h.until.Add(-time.Duration(h.files-file) * time.Hour).UTC().Format("20060102T150405.000Z")
			name = fmt.Sprintf("requests-%s-%020d.jsonl", stamp, from+1)
		}
		out, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		buffered := bufio.NewWriterSize(out, 1<<20)
		lines := json.NewEncoder(buffered)
		lines.SetEscapeHTML(false) // as the gateway writes
		for i := from; i < to; i++ {
			rec := h.row(r, i)
			if i%1000 == 999 { // one that a program has rewritten with spaces
				text, _ := json.MarshalIndent(rec, "", " ")
				buffered.Write(append(bytes.ReplaceAll(text, []byte("\n"), nil), '\n'))
				continue
			}
			if err := lines.Encode(rec); err != nil {
				t.Fatal(err)
			}
		}
		if err := buffered.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// startOn runs a gateway on dir, whose data is a history, and sends it a few live
// requests, so that the newest rows are its own.
func (h history) startOn(t testing.TB, dir string, live int) *gateway {
	t.Helper()
	h.write(t, filepath.Join(dir, "data"))
	cfg := relayTo(harness.NewProvider(t, kindly), "openai")
	cfg["logs"] = object{"ring": max(h.rows/50, 1)}
	g := startIn(t, dir, harness.WithDefaults(cfg))
	for range live / len(kinds) {
		g.crowdOnce(t)
	}
	return g
}
