// Durability: what the log holds after the gateway was killed, and what becomes of
// requests when the log's file is not what it was.
package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func readText(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// crowd is clients that send requests of all kinds until they are told to stop or
// nobody answers. Each request says who it is in its User-Agent, which the record
// keeps as client.
type crowd struct {
	name   string
	stop   chan struct{}
	work   sync.WaitGroup
	failed atomic.Int64 // answers that are not those of a sound gateway

	mu    sync.Mutex
	ended []string // whose answers came to a sound end
}

// kinds are the requests of a crowd and how each is answered.
var kinds = []struct {
	method, path, body, key string
	status                  int
}{
	{"POST", "/v1/chat/completions", chatRequest, harness.UserKey, 200},
	{"POST", "/v1/chat/completions", chatStreamRequest, harness.UserKey, 200},
	{"POST", "/v1/chat/completions", "{", harness.UserKey, 400},
	{"GET", "/_status", "", harness.UserKey, 403},
	{"GET", "/v1/nothing", "", harness.UserKey, 404},
	{"GET", "/v1/models", "", harness.UserKey, 200},
}

// kindly answers each request of a crowd that reaches a provider.
func kindly(x *exchange) bool {
	if bytes.Contains(x.Body, []byte(`"stream":true`)) {
		return events(chatStream).serve(byEvent)(x)
	}
	return ok(chatReply).serve(whole)(x)
}

// crowded lets n clients loose on g.
func (g *gateway) crowded(t testing.TB, name string, n int) *crowd {
	t.Helper()
	c := &crowd{name: name, stop: make(chan struct{})}
	for worker := range n {
		c.work.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-c.stop:
					return
				default:
				}
				kind, who := kinds[(worker+i)%len(kinds)], fmt.Sprintf("%s-%d-%d", name, worker, i)
				r, err := g.Try(g.Request(context.Background(), kind.method, kind.path, kind.body,
					"User-Agent: "+who, "Authorization: Bearer "+kind.key))
				if err != nil || r.Cut != nil {
					c.failed.Add(1)
					return
				}
				if r.Status != kind.status {
					c.failed.Add(1)
				}
				c.mu.Lock()
				c.ended = append(c.ended, who)
				c.mu.Unlock()
			}
		})
	}
	return c
}

// wait stops the clients and gives the names of the requests whose answers they
// saw end.
func (c *crowd) wait() []string {
	close(c.stop)
	c.work.Wait()
	return c.ended
}

// count is how many answers have ended so far.
func (c *crowd) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ended)
}

// exactlyOnce fails for a request of ended that has no record in rows, and for any
// that has two.
func exactlyOnce(t testing.TB, rows []record, ended []string) {
	t.Helper()
	times := map[string]int{}
	for _, rec := range rows {
		if times[rec.Client]++; times[rec.Client] == 2 {
			t.Errorf("%s has two records", rec.Client)
		}
	}
	missing := 0
	for _, who := range ended {
		if times[who] == 0 {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%d of %d requests whose end a client saw have no record", missing, len(ended))
	}
}

// Killed at any moment, the log has every response that a client saw end, once,
// and goes on after a restart behind whole lines.
func TestKilled(t *testing.T) {
	rounds := 10
	if harness.Full() {
		t.Parallel()
		rounds = 50
	}
	seed := uint64(time.Now().UnixNano())
	chance := rand.New(rand.NewPCG(seed, 0))
	p := harness.NewProvider(t, kindly)
	cfg := relayTo(p, "openai")
	cfg["logs"] = object{"max_file": "64KiB", "ring": 100}
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	harness.WriteConfig(t, dir, harness.WithDefaults(cfg))

	var ended []string
	torn := 0
	for round := range rounds {
		g := startIn(t, dir, nil)
		if text := readText(t, g.LogFile()); text != "" && !strings.HasSuffix(text, "\n") {
			t.Fatalf("round %d of seed %d begins behind a torn line: %q", round, seed, text[max(0, len(text)-200):])
		}
		crowd := g.crowded(t, fmt.Sprint("round", round), 8)
		time.Sleep(time.Duration(chance.IntN(int(150 * time.Millisecond))))
		g.Kill()
		ended = append(ended, crowd.wait()...)
		if round%5 == 4 { // as a power cut leaves it, or a kernel that was killed too
			torn++
			tear(t, g.LogFile(), chance)
		}
	}
	g := startIn(t, dir, nil)
	files := harness.LogFiles(t, data)
	rows := harness.OnDisk(t, files...)
	exactlyOnce(t, rows, ended)
	newest, _ := g.page(t, "limit=1")
	if last := rows[len(rows)-1]; len(newest) != 1 || newest[0].Seq != last.Seq {
		t.Errorf("the newest row on disk is %d; /_logs gives %+v", last.Seq, newest)
	}
	if t.Failed() {
		t.Logf("the seed is %d", seed)
	}
	t.Logf("killed %d times: %d responses ended, %d records in %d files, %d torn lines were added and cut off", rounds, len(ended), len(rows), len(files), torn)
}

// tear appends a piece of a line, or a stretch of zeros.
func tear(t testing.TB, path string, chance *rand.Rand) {
	t.Helper()
	line := []byte(`{"seq":999999,"time":"2026-11-23T10:20:30.045Z","id":"req_torn","method":"POST","path":"/v1/chat/completions","status":200`)
	piece := line[:1+chance.IntN(len(line)-1)]
	if chance.IntN(4) == 0 {
		clear(piece)
	}
	// Killed between the renaming of a full file and the making of the next, there is none.
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Write(piece); err != nil {
		t.Fatal(err)
	}
}

// A log that is moved or removed under load comes back; no request fails for it,
// and what was moved holds what the new file does not.
func TestLogMoved(t *testing.T) {
	t.Parallel()
	p := harness.NewProvider(t, kindly)
	g := start(t, relayTo(p, "openai"))
	crowd := g.crowded(t, "moved", 4)
	file, moved := g.LogFile(), filepath.Join(g.Dir, "moved.jsonl")
	harness.Eventually(t, "the load has begun", func() bool { return crowd.count() > 50 })
	if err := os.Rename(file, moved); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "a new file", func() bool { return exists(file) })
	before := crowd.count()
	harness.Eventually(t, "rows in the new file", func() bool { return crowd.count() > before+50 })
	ended := crowd.wait()
	exactlyOnce(t, harness.OnDisk(t, moved, file), ended)
	if n := crowd.failed.Load(); n > 0 {
		t.Errorf("%d of %d requests failed", n, len(ended))
	}

	crowd = g.crowded(t, "removed", 4)
	if err := os.RemoveAll(filepath.Dir(file)); err != nil { // the lock file too
		t.Fatal(err)
	}
	harness.Eventually(t, "a new folder", func() bool { return exists(file) })
	after := g.crowded(t, "after", 2)
	harness.Eventually(t, "more rows", func() bool { return after.count() > 50 })
	crowd.wait()
	ended = after.wait()
	exactlyOnce(t, harness.OnDisk(t, file), ended)
	if n := crowd.failed.Load() + after.failed.Load(); n > 0 {
		t.Errorf("%d requests failed", n)
	}
}

// A folder that does not exist is made.
func TestLogFolderIsMade(t *testing.T) {
	p := harness.NewProvider(t, kindly)
	cfg := relayTo(p, "openai")
	cfg["logs"] = object{"file": "not/yet/there/requests.jsonl"}
	g := start(t, cfg)
	g.crowdOnce(t)
	file := filepath.Join(g.Dir, "not/yet/there/requests.jsonl")
	if rows := harness.OnDisk(t, file); len(rows) != len(kinds) {
		t.Errorf("%d records in a folder that was made", len(rows))
	}
}

// A file that cannot be opened is waited for.
func TestLogCannotBeOpened(t *testing.T) {
	harness.Slow(t)
	p := harness.NewProvider(t, kindly)
	cfg := relayTo(p, "openai")
	dir := t.TempDir()
	file := filepath.Join(dir, "requests.jsonl")
	if err := os.Symlink(file, file); err != nil { // a loop: whoever opens it gets an error
		t.Fatal(err)
	}
	cfg["logs"] = object{"file": file}
	g := start(t, cfg)
	g.crowdOnce(t)
	if rows, _ := g.page(t, ""); len(rows) != len(kinds) {
		t.Errorf("%d rows in memory", len(rows))
	}
	if n := g.metric(t, "proxycast_log_dropped_total"); n != float64(len(kinds)) {
		t.Errorf("%v records dropped", n)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the log is written", func() bool {
		g.crowdOnce(t)
		return len(harness.OnDisk(t, harness.LogFiles(t, dir)...)) > 0 && strings.Contains(g.Stderr.String(), "writing again")
	})
	if n := strings.Count(g.Stderr.String(), "did not reach the disk"); n != 2 { // once bad, once good
		t.Errorf("%d lines on stderr:\n%s", n, g.Stderr.String())
	}
}

// crowdOnce sends one request of each kind.
func (g *gateway) crowdOnce(t testing.TB) {
	t.Helper()
	for _, kind := range kinds {
		if r := g.Send(t, kind.method, kind.path, kind.body, "Authorization: Bearer "+kind.key); r.Status != kind.status || r.Cut != nil {
			t.Errorf("%s %s: %d %v, want %d", kind.method, kind.path, r.Status, r.Cut, kind.status)
		}
	}
}
