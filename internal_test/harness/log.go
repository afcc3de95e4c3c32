// The request log, as the tests read it.
package harness

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Record is a line of the request log.
type Record struct {
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
	Count            int64    `json:"count,omitempty"` // of refusals added up
}

// String is the record as it stands in the log.
func (r Record) String() string {
	text, _ := json.Marshal(r)
	return string(text)
}

// ReadRecords reads every record of the files, strictly: a torn line, an unknown name or
// a seq that does not grow is an error.
func ReadRecords(files ...string) ([]Record, error) {
	var all []Record
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			var rec Record
			d := json.NewDecoder(strings.NewReader(line))
			d.DisallowUnknownFields()
			if err := d.Decode(&rec); err != nil || d.More() || !strings.HasSuffix(line, "\n") {
				return nil, fmt.Errorf("%s: a bad or torn line: %v\n%q", file, err, line)
			}
			if n := len(all); n > 0 && rec.Seq <= all[n-1].Seq {
				return nil, fmt.Errorf("%s: seq %d follows %d", file, rec.Seq, all[n-1].Seq)
			}
			all = append(all, rec)
		}
	}
	return all, nil
}

// OnDisk is ReadRecords of files that must be good.
func OnDisk(t testing.TB, files ...string) []Record {
	t.Helper()
	all, err := ReadRecords(files...)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// LogFiles returns the files of the log in dir, the rotated ones first, in the order of
// their rows.
func LogFiles(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "requests-*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	current := filepath.Join(dir, "requests.jsonl")
	if _, err := os.Lstat(current); err == nil {
		files = append(files, current)
	}
	return files
}

// LogFile is the log's current file.
func (g *Gateway) LogFile() string { return filepath.Join(g.Dir, "data", "requests.jsonl") }

// Records returns the records on disk but those of what operators did; a gap in seq fails the test.
func (g *Gateway) Records(t testing.TB) []Record {
	t.Helper()
	all, err := ReadRecords(g.LogFile())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if n := len(all); n > 0 && all[n-1].Seq != all[0].Seq+uint64(n-1) {
		t.Fatalf("%d records from seq %d to %d", n, all[0].Seq, all[n-1].Seq)
	}
	return slices.DeleteFunc(all, func(r Record) bool { return r.Endpoint == "operator" })
}

// Expect waits for n records beyond those already returned, and fails on more.
func (g *Gateway) Expect(t testing.TB, n int) []Record {
	t.Helper()
	for deadline := time.Now().Add(Patience); ; time.Sleep(5 * time.Millisecond) {
		all := g.Records(t)[g.Seen:]
		switch {
		case len(all) > n:
			t.Fatalf("%d records, expected %d: %+v", len(all), n, all)
		case len(all) == n:
			g.Seen += n
			return all
		case time.Now().After(deadline):
			t.Fatalf("%d records after %v, expected %d", len(all), Patience, n)
		}
	}
}

// Next waits for the one record that has come since the last call.
func (g *Gateway) Next(t testing.TB) Record {
	t.Helper()
	return g.Expect(t, 1)[0]
}

// SecretFree fails if any of the canaries stands in what the gateway has written.
func (g *Gateway) SecretFree(t testing.TB, canaries ...string) {
	t.Helper()
	logged, _ := os.ReadFile(g.LogFile())
	for _, canary := range append(canaries, AdminKey, UserKey, ProviderKey) {
		for place, text := range map[string]string{
			"log": string(logged), "stdout": g.Stdout.String(), "stderr": g.Stderr.String(),
		} {
			if strings.Contains(text, canary) {
				t.Errorf("%q stands in the gateway's %s", canary, place)
			}
		}
	}
}
