// Benchmarks of the log: a query over a million rows against grep and jq on the
// same files, and what 500 followers cost those who make requests. They print
// ratios; on a shared machine only these say anything.
package gateway_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// BenchmarkLogQuery looks for a rare status in a million rows on disk.
func BenchmarkLogQuery(b *testing.B) {
	harness.NeedTool(b, "jq", "apt-get install jq")
	const query, rare = "status=418&limit=1000", "418"
	g := history{rows: 1_000_000, files: 10, rare: 10_000, until: time.Now()}.startOn(b, b.TempDir(), 0)
	files := strings.Join(harness.LogFiles(b, g.Dir+"/data"), " ")
	pipe := func(command string) (lines int, took time.Duration) {
		begin := time.Now()
		out, err := exec.Command("sh", "-c", command).Output()
		if err != nil {
			b.Fatal(err)
		}
		return bytes.Count(out, []byte("\n")), time.Since(begin)
	}
	before := g.PeakMemory(b)
	var ours, theirs time.Duration
	rounds := 0
	for b.Loop() {
		begin := time.Now()
		rows, next := g.page(b, query)
		ours += time.Since(begin)
		found, took := pipe(`grep -h '"status":` + rare + `' ` + files + ` | jq -c 'select(.status == ` + rare + `)'`)
		theirs += took
		if rounds++; next != "" || len(rows) == 0 || found+1 < len(rows) { // grep knows one spelling only
			b.Fatalf("%d rows, jq finds %d", len(rows), found)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ours.Seconds()*1000/float64(rounds), "ms/query")
	b.ReportMetric(theirs.Seconds()*1000/float64(rounds), "ms/grep+jq")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "ratio")
	b.ReportMetric(float64(before>>20), "MiB-before")
	b.ReportMetric(float64(g.PeakMemory(b)>>20), "MiB-peak")
}

// BenchmarkFollowers relays requests while 500 followers are sent every record.
func BenchmarkFollowers(b *testing.B) {
	const followers = 500
	provider := startBenchProvider(b)
	g := start(b, object{"upstream": object{"providers": list{
		object{"name": "bench", "type": "openai", "base_url": provider, "api_key": harness.ProviderKey, "models": list{"*"}},
	}}})
	relay := &side{url: g.URL}
	relay.plain(16, 1<<10) // warm up
	var alone, followed rate
	for range benchRounds {
		alone.add(relay)
		conns := g.followers(b, followers)
		followed.add(relay)
		conns.leave()
	}
	if relay.errors > 0 {
		b.Errorf("errors: %d", relay.errors)
	}
	if n := countRecords(b, g.Dir+"/data"); n != relay.requests {
		b.Errorf("%d records of %d requests", n, relay.requests)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(alone.perSecond(), "requests/s")
	b.ReportMetric(followed.perSecond(), "requests/s-followed")
	b.ReportMetric(followed.perSecond()/alone.perSecond(), "ratio")
}

// rate counts requests and the time that they took.
type rate struct {
	requests int64
	took     time.Duration
}

func (r *rate) add(s *side) {
	begin := time.Now()
	r.requests += s.plain(16, 1<<10)
	r.took += time.Since(begin)
}

func (r *rate) perSecond() float64 { return float64(r.requests) / r.took.Seconds() }

// audience is followers that read all they are sent, and do nothing with it.
type audience struct {
	conns   []net.Conn
	reading sync.WaitGroup
}

func (g *gateway) followers(b *testing.B, n int) *audience {
	b.Helper()
	a := &audience{}
	for range n {
		conn, err := net.Dial("tcp", g.Addr)
		if err != nil {
			b.Fatal(err)
		}
		a.conns = append(a.conns, conn)
		fmt.Fprintf(conn, "GET /_logs?follow=1 HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", g.Addr, harness.AdminKey)
		if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.1 200"))); err != nil {
			b.Fatal(err)
		}
		a.reading.Go(func() { _, _ = io.Copy(io.Discard, conn) })
	}
	return a
}

func (a *audience) leave() {
	for _, conn := range a.conns {
		conn.Close()
	}
	a.reading.Wait()
}
