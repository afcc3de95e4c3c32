//go:build linux

package main

import (
	"bytes"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// Every target of targets.json is complete, and the gateway accepts its config.
func TestTargets(t *testing.T) {
	all, err := readTargets(harness.Binary)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range all {
		dir := t.TempDir()
		argv, err := target.prepare(dir, 4711, "127.0.0.1:4712")
		if err != nil {
			t.Fatal(err)
		}
		config, err := os.ReadFile(filepath.Join(dir, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		left := regexp.MustCompile(`\{[a-z]+\}`).FindString(strings.Join(argv, " ") + string(config))
		if target.Name == "" || left != "" {
			t.Errorf("%q: nothing stands for %q", target.Name, left)
		}
	}
	dir := t.TempDir()
	if _, err := all[0].prepare(dir, 4711, "127.0.0.1:4712"); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := harness.Command(t, dir, "check", "-config", filepath.Join(dir, "config.json")); code != 0 {
		t.Errorf("check: %d\n%s", code, stderr)
	}
}

// The smallest round: what the load sends is what the provider gets, and all of the
// answers come back.
func TestRound(t *testing.T) {
	f := func(name string, j job) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			provider, address, err := listenMock()
			if err != nil {
				t.Fatal(err)
			}
			if err := setScript(address, j.Script); err != nil {
				t.Fatal(err)
			}
			proxy := httptest.NewServer(reverseProxy(address))
			defer proxy.Close()
			j.Address, j.Time, j.Target = strings.TrimPrefix(proxy.URL, "http://"), 200*time.Millisecond, []int{os.Getpid()}
			o := j.run()
			if o.Failed+o.Lost > 0 || o.Fault != "" {
				t.Errorf("%d failed, %d chunks lost: %s", o.Failed, o.Lost, o.Fault)
			}
			if got := provider.served.Load(); o.Sent == 0 || got != o.Sent {
				t.Errorf("%d requests were sent, %d came", o.Sent, got)
			}
			if (o.Chunks > 0) != (j.Script.Chunks > 0) {
				t.Errorf("%d chunks in the window", o.Chunks)
			}
			if (o.P50 > 0) != (j.Streams || j.Rate > 0) {
				t.Errorf("p50 %v", o.P50)
			}
		})
	}
	slow := script{Chunks: 50, Pace: 50 * time.Millisecond}
	f("closed", job{Connections: 2, Size: 1 << 10})
	f("large", job{Connections: 2, Size: 1 << 20})
	f("anthropic", job{Connections: 2, Size: 1 << 10, Anthropic: true})
	f("open", job{Connections: 4, Size: 1 << 10, Rate: 100})
	f("fast", job{Connections: 2, Size: 1 << 10, Script: script{Chunks: 20}})
	f("streams", job{Connections: 4, Streams: true, Script: slow})
	f("anthropic streams", job{Connections: 4, Streams: true, Anthropic: true, Script: slow})
}

// A stamp is found wherever the parts of a stream break.
func TestStamps(t *testing.T) {
	const event = "data: @1234567890123456789 and\n\n"
	for size := 1; size <= len(event)+1; size++ {
		c := client{load: &load{}}
		for rest := []byte(strings.Repeat(event, 10)); len(rest) > 0; {
			n := min(size, len(rest))
			if _, err := c.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if c.got != 10 {
			t.Errorf("in parts of %d bytes: %d chunks", size, c.got)
		}
	}
}

// The table has the median of the rounds, the ratio, and everything that was lost.
func TestTable(t *testing.T) {
	r := results{}
	for i, cpu := range []float64{1, 2, 9} {
		for name, factor := range map[string]float64{"ours": 2, "theirs": 1} {
			m := measurement{outcome: outcome{Sent: 1000, Requests: 1000, Seconds: 1, CPU: cpu * factor}, lostRecords: int64(i)}
			r.add("1KB", name, m)
			r.sum(name, m)
		}
	}
	var out bytes.Buffer
	r.print(&out, rowsOf(time.Second, 0)[:1], []target{{Name: "ours"}, {Name: "theirs"}}, 0)
	for _, want := range []string{
		"| CPU ms per 1,000 requests, 1 KB, 64 connections | – | 4000 | 2000 | 2.00 |\n",
		"| requests/s, same | – | 1000 | 1000 | 1.00 |\n",
		"| lost records | 0 | 3 | 3 | |\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("want %q in\n%s", want, out.String())
		}
	}
}
