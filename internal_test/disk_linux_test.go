// Disks: a small file system that is filled to the brim under load, and one that
// takes nothing. Mounting needs privileges; without them these tests are skipped.
package gateway_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// mount puts a tmpfs on dir, or skips the test.
func mount(t testing.TB, dir string, flags uintptr, options string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		harness.Missing(t, "a file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}

// A full disk fails no request. What it drops is counted, it is told of once a
// minute at most, and writing goes on by itself once there is room.
func TestFullDisk(t *testing.T) {
	harness.Slow(t)
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	const disk, room = 64 << 20, 512 << 10
	mount(t, data, 0, "size=64m")
	ballast := filepath.Join(data, "ballast")
	if err := os.WriteFile(ballast, make([]byte, disk-room), 0o600); err != nil {
		t.Fatal(err)
	}
	p := harness.NewProvider(t, kindly)
	g := startIn(t, dir, harness.WithDefaults(relayTo(p, "openai")))
	dropped := func() float64 { return g.metric(t, "proxycast_log_dropped_total") }
	size := func() int64 {
		info, err := os.Stat(g.LogFile())
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}

	crowd := g.crowded(t, "full", 4)
	harness.Eventually(t, "the disk is full", func() bool { return dropped() > 100 })
	time.Sleep(3 * time.Second) // several tries to open it anew
	if said := g.Stderr.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, "no space left") {
		t.Errorf("said of a full disk:\n%s", said)
	}
	newest, _ := g.page(t, "limit=1")
	if full := size(); newest[0].Seq < uint64(len(harness.OnDisk(t, g.LogFile()))) || full > room {
		t.Errorf("the newest row in memory is %d; the file has %d bytes", newest[0].Seq, full)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	freed := time.Now()
	harness.Eventually(t, "writing goes on", func() bool { return size() > room })
	took := time.Since(freed)
	harness.Eventually(t, "the operator is told", func() bool { return strings.Contains(g.Stderr.String(), "writing again") })
	ended := crowd.wait()
	if n := crowd.failed.Load(); n > 0 {
		t.Errorf("%d of %d requests failed", n, len(ended))
	}
	rows := harness.OnDisk(t, harness.LogFiles(t, data)...)
	exactlyOnce(t, rows, nil)
	if len(rows)+int(dropped()) != len(ended) {
		t.Errorf("%d requests, %d on disk, %v dropped", len(ended), len(rows), dropped())
	}
	if said := g.Stderr.String(); strings.Count(said, "\n") != 2 {
		t.Errorf("said in less than a minute:\n%s", said)
	}
	t.Logf("%d requests, none failed: %d on disk, %v dropped; writing again %v after there was room", len(ended), len(rows), dropped(), took.Round(time.Millisecond))
}

// The same for a folder that becomes read-only while the log is written.
func TestReadOnlyFolder(t *testing.T) {
	harness.Slow(t)
	p := harness.NewProvider(t, kindly)
	g := start(t, relayTo(p, "openai"))
	data := filepath.Dir(g.LogFile())
	crowd := g.crowded(t, "readonly", 4)
	harness.Eventually(t, "the load has begun", func() bool { return crowd.count() > 50 })
	mount(t, data, syscall.MS_RDONLY, "size=1m")
	harness.Eventually(t, "records are dropped", func() bool { return g.metric(t, "proxycast_log_dropped_total") > 100 })
	if err := syscall.Unmount(data, 0); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "writing goes on", func() bool { return strings.Contains(g.Stderr.String(), "writing again") })
	before := crowd.count()
	harness.Eventually(t, "more requests", func() bool { return crowd.count() > before+50 })
	ended := crowd.wait()
	rows := harness.OnDisk(t, g.LogFile())
	exactlyOnce(t, rows, nil)
	dropped := int(g.metric(t, "proxycast_log_dropped_total"))
	if n := crowd.failed.Load(); n > 0 || len(rows)+dropped != len(ended) {
		t.Errorf("%d of %d requests failed; %d on disk, %d dropped", n, len(ended), len(rows), dropped)
	}
	if said := g.Stderr.String(); strings.Count(said, "\n") != 2 || !strings.Contains(said, "read-only") {
		t.Errorf("said:\n%s", said)
	}
}
