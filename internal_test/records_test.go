// Records: the request log as the tests read it.
package gateway_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// record is a line of the request log.
type record struct {
	Seq              uint64   `json:"seq"`
	Time             string   `json:"time"`
	ID               string   `json:"id"`
	Key              string   `json:"key,omitempty"`
	Method           string   `json:"method"`
	Path             string   `json:"path"`
	Endpoint         string   `json:"endpoint,omitempty"`
	Model            string   `json:"model,omitempty"`
	UpstreamModel    string   `json:"upstream_model,omitempty"`
	Provider         string   `json:"provider,omitempty"`
	Status           int      `json:"status"`
	Stream           bool     `json:"stream"`
	DurationMS       float64  `json:"duration_ms"`
	TTFTMS           *float64 `json:"ttft_ms,omitempty"`
	InputTokens      *int64   `json:"input_tokens,omitempty"`
	OutputTokens     *int64   `json:"output_tokens,omitempty"`
	CacheReadTokens  *int64   `json:"cache_read_tokens,omitempty"`
	CacheWriteTokens *int64   `json:"cache_write_tokens,omitempty"`
	ReasoningTokens  *int64   `json:"reasoning_tokens,omitempty"`
	FinishReason     string   `json:"finish_reason,omitempty"`
	Attempts         int      `json:"attempts"`
	ErrorType        string   `json:"error_type,omitempty"`
	Error            string   `json:"error,omitempty"`
	Dropped          []string `json:"dropped,omitempty"`
	RequestBytes     int64    `json:"request_bytes"`
	ResponseBytes    int64    `json:"response_bytes"`
	Client           string   `json:"client,omitempty"`
	Remote           string   `json:"remote,omitempty"`
	UpstreamID       string   `json:"upstream_id,omitempty"`
}

// readLog reads every record of the JSONL file at path, strictly: a torn line, an
// unknown name or a gap in seq fails the test.
func readLog(t testing.TB, path string) []record {
	t.Helper()
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		t.Fatalf("the log ends in a torn line: %q", text[max(0, len(text)-200):])
	}
	var all []record
	for line := range bytes.Lines(text) {
		var rec record
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&rec); err != nil {
			t.Fatalf("record: %v\n%s", err, line)
		}
		if n := len(all); n > 0 && rec.Seq != all[n-1].Seq+1 {
			t.Fatalf("seq %d follows %d", rec.Seq, all[n-1].Seq)
		}
		all = append(all, rec)
	}
	return all
}

func readText(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (g *gateway) logFile() string { return filepath.Join(g.Dir, "data", "requests.jsonl") }

// records gives every record on disk.
func (g *gateway) records(t testing.TB) []record {
	t.Helper()
	return readLog(t, g.logFile())
}

// expect waits for n records beyond those already given out, and fails on more.
func (g *gateway) expect(t testing.TB, n int) []record {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		all := g.records(t)[g.seen:]
		if len(all) > n {
			t.Fatalf("%d records, expected %d: %+v", len(all), n, all)
		}
		if len(all) == n {
			g.seen += n
			return all
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d records after %v, expected %d", len(all), patience, n)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// next waits for the one record that has come since the last call.
func (g *gateway) next(t testing.TB) record {
	t.Helper()
	return g.expect(t, 1)[0]
}

// secretFree fails if any of the canaries stands in what the gateway has written.
func (g *gateway) secretFree(t testing.TB, canaries ...string) {
	t.Helper()
	logged, _ := os.ReadFile(g.logFile())
	for _, canary := range append(canaries, adminKey, userKey, providerKey) {
		for place, text := range map[string]string{
			"log": string(logged), "stdout": g.stdout.String(), "stderr": g.stderr.String(),
		} {
			if strings.Contains(text, canary) {
				t.Errorf("%q stands in the gateway's %s", canary, place)
			}
		}
	}
}
