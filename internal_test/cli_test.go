// The log on the command line: `proxycast logs`, for a person and for a program.
package gateway_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"proxycast/internal_test/harness"
)

// known returns a folder whose config leads to g: its own one says port 0.
func (g *gateway) known(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	harness.WriteConfig(t, dir, harness.WithDefaults(object{"server": object{"port": g.Port()}}))
	return dir
}

// piped runs a subcommand whose output a program reads.
func (g *gateway) piped(t testing.TB, args ...string) string {
	t.Helper()
	code, stdout, stderr := harness.Command(t, g.known(t), args...)
	if code != 0 || stderr != "" {
		t.Fatalf("proxycast %q: exit code %d\n%s", args, code, stderr)
	}
	return stdout
}

// terminal runs a subcommand on a terminal and gives what it shows, with plain line
// ends.
func (g *gateway) terminal(t testing.TB, args ...string) string {
	t.Helper()
	harness.NeedTool(t, "script", "apt-get install bsdutils")
	words := []string{harness.Binary}
	for _, arg := range args {
		words = append(words, "'"+strings.ReplaceAll(arg, "'", `'\''`)+"'")
	}
	cmd := exec.Command("script", "-qec", strings.Join(words, " "), "/dev/null")
	cmd.Dir = g.known(t)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("proxycast %q: %v\n%s", args, err, out)
	}
	return strings.ReplaceAll(string(out), "\r\n", "\n")
}

// noSleep keeps the race detector from holding up each command's exit for a second.
func noSleep(t testing.TB) { t.Setenv("GORACE", "atexit_sleep_ms=0") }

// uncoloured takes the colours out that a table has on purpose.
func uncoloured(text string) string {
	return regexp.MustCompile("\x1b\\[(31|32|33|0)m").ReplaceAllString(text, "")
}

// A program gets JSON lines, the oldest first, and every filter of /_logs.
func TestLogsCommand(t *testing.T) {
	noSleep(t)
	g := start(t, relayTo(harness.NewProvider(t, kindly), "openai"))
	for range 5 {
		g.crowdOnce(t)
	}
	all := g.Records(t)
	f := func(query string, args ...string) {
		t.Helper()
		var got []uint64
		for line := range strings.Lines(g.piped(t, append([]string{"logs"}, args...)...)) {
			var rec record
			if err := json.Unmarshal([]byte(line), &rec); err != nil {
				t.Fatalf("%v: %v\n%s", args, err, line)
			}
			got = append(got, rec.Seq)
		}
		want, _ := g.page(t, query)
		slices.Reverse(want)
		if !slices.Equal(got, seqs(want)) {
			t.Errorf("%v: %v, want %v", args, got, seqs(want))
		}
	}
	f("")
	f("status=401", "status=401")
	f("status=error&model=m-*", "status=error", "model=m-*")
	f("limit=7", "limit=7")
	f("key=user&stream=true", "key=user", "stream=true")
	f("id="+all[3].ID, "id="+all[3].ID)
	f("since=1h&until="+all[9].Time, "since=1h", "until="+all[9].Time)
	f("q=nothing+like+it", "q=nothing like it")
	f("status=401,404", "status=401", "status=404")

	csv := g.piped(t, "logs", "format=csv")
	if r := g.Send(t, "GET", "/_logs?format=csv", "", "Authorization: Bearer "+harness.AdminKey); csv != string(r.Body) {
		t.Errorf("format=csv gives %d bytes, want %d", len(csv), len(r.Body))
	}
	dir := g.known(t)
	for _, bad := range []string{"stauts=500", "status=abc", "limit=0"} {
		if code, stdout, stderr := harness.Command(t, dir, "logs", bad); code != 1 || stdout != "" || !strings.Contains(stderr, "want") && !strings.Contains(stderr, "valid are") {
			t.Errorf("logs %s: exit code %d\n%s%s", bad, code, stdout, stderr)
		}
	}
	if code, _, stderr := harness.Command(t, dir, "logs", "nonsense"); code != 2 || !strings.Contains(stderr, "FILTER=VALUE") {
		t.Errorf("logs nonsense: exit code %d\n%s", code, stderr)
	}
	g.Signal(t, syscall.SIGTERM)
	g.Exit(t, harness.Patience)
	if code, _, stderr := harness.Command(t, dir, "logs"); code != 1 || !strings.Contains(stderr, "no gateway answers") {
		t.Errorf("logs without a gateway: exit code %d\n%s", code, stderr)
	}
}

// A person gets a table.
func TestLogsOnTerminal(t *testing.T) {
	noSleep(t)
	g := start(t, relayTo(harness.NewProvider(t, kindly), "openai"))
	g.crowdOnce(t)
	lines := strings.Split(strings.TrimSpace(uncoloured(g.terminal(t, "logs"))), "\n")
	if len(lines) != len(kinds)+1 || !strings.HasPrefix(lines[0], "TIME ") {
		t.Fatalf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for i, kind := range kinds {
		if line := lines[i+1]; !strings.Contains(line, fmt.Sprintf("  %d  ", kind.status)) || strings.ContainsAny(line, "{}") {
			t.Errorf("row %d of %d: %s", i, kind.status, line)
		}
	}
	if !strings.Contains(lines[1], "m-1 ") || !strings.Contains(lines[1], " 11  ") || !strings.Contains(lines[4], "invalid_api_key") {
		t.Errorf("\n%s", strings.Join(lines, "\n"))
	}
}

// Following goes on when the gateway comes back, and shows each row once.
func TestLogsFollowsOverRestart(t *testing.T) {
	harness.Slow(t)
	p := harness.NewProvider(t, kindly)
	address := harness.FreeAddress(t)
	cfg := relayTo(p, "openai")
	cfg["server"] = object{"port": harness.PortOf(address)}
	dir := t.TempDir()
	g := startIn(t, dir, harness.WithDefaults(cfg))
	g.crowdOnce(t)
	viewer := harness.Execute(t, dir, nil, "logs", "-f", "path=/v1/chat/completions")
	shown := func() (seqs []uint64) {
		for line := range strings.Lines(viewer.Stdout.String()) {
			var rec record
			if strings.HasSuffix(line, "\n") && json.Unmarshal([]byte(line), &rec) != nil {
				t.Fatalf("%q", line)
			}
			seqs = append(seqs, rec.Seq)
		}
		return seqs
	}
	perRound := 0
	for _, kind := range kinds {
		if kind.path == "/v1/chat/completions" {
			perRound++
		}
	}
	harness.Eventually(t, "the rows so far are shown", func() bool { return len(shown()) == perRound })
	for round := 2; round < 6; round++ {
		if round == 4 { // a restart with nothing to catch up on
			g.crowdOnce(t)
			harness.Eventually(t, "live rows are shown", func() bool { return len(shown()) == round*perRound })
		} else {
			g.crowdOnce(t)
		}
		if round%2 == 0 {
			g.Signal(t, syscall.SIGTERM)
			g.Exit(t, harness.Patience)
		} else {
			g.Kill()
		}
		g = startIn(t, dir, nil)
	}
	g.crowdOnce(t)
	var want []uint64
	for _, rec := range harness.OnDisk(t, harness.LogFiles(t, filepath.Dir(g.LogFile()))...) {
		if rec.Path == "/v1/chat/completions" {
			want = append(want, rec.Seq)
		}
	}
	harness.Eventually(t, "all rows are shown", func() bool { return len(shown()) >= len(want) })
	if got := shown(); !slices.Equal(got, want) {
		t.Errorf("shown %v, want %v", got, want)
	}
	viewer.Signal(t, syscall.SIGINT)
	if code := viewer.Exit(t, harness.Patience); code != 0 || viewer.Stderr.String() != "" {
		t.Errorf("exit code %d\n%s", code, viewer.Stderr.String())
	}
}
