//go:build linux

// Command bench measures the gateway against honest yardsticks, each in a process of its
// own, in turn, with the same mock provider behind them and the same load before them:
//
//	go run ./internal_test/bench [-quick] [-rows 1KB,open] [-rounds 3] [-base COMMIT|BINARY]
//
// It prints a table in Markdown. Only ratios within one run say anything; rounds in which
// the machine was busy with something else are repeated. Another gateway to compare with
// is one line of targets.json.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// row is a way to load a target.
type row struct {
	name   string
	about  string
	direct bool          // the provider is measured without a target, too
	jobs   []job         // on one process, in turn; the last one is what counts
	rest   time.Duration // then the target is left alone
	once   bool          // not in rounds
}

// rowsOf returns all rows, whose last jobs are measured for window each.
func rowsOf(window, rest time.Duration) []row {
	slow := func(streams, perSecond int) job {
		pace := time.Second / time.Duration(perSecond)
		return job{Connections: streams, Streams: true, Size: 1 << 10, Script: script{int(2 * (window + time.Second) / pace), pace}}
	}
	return []row{
		{name: "1KB", about: "1 KB, 64 connections", direct: true, jobs: []job{{Connections: 64, Size: 1 << 10}}},
		{name: "open", about: "1,000/s open loop", direct: true, jobs: []job{{Connections: 64, Size: 1 << 10, Rate: 1000}}},
		{name: "100KB", about: "100 KB, 16 connections", jobs: []job{{Connections: 16, Size: 100 << 10}}},
		{name: "1MB", about: "1 MB, 8 connections", jobs: []job{{Connections: 8, Size: 1 << 20}}},
		{name: "fast", about: "200 fast chunks, 32 streams", jobs: []job{{Connections: 32, Size: 1 << 10, Script: script{Chunks: 200}}}},
		{name: "1000", about: "1,000 streams × 20/s", jobs: []job{slow(1000, 20)}},
		{name: "5000", about: "5,000 streams × 4/s", jobs: []job{slow(5000, 4)}},
		{name: "memory", about: "200 × 1 MB and 5,000 streams", jobs: []job{{Connections: 200, Size: 1 << 20}, slow(5000, 4)}, rest: rest, once: true},
	}
}

// A round with more disturbance than this is repeated, so often at most; then the
// quietest one counts.
const (
	quiet   = 0.05
	repeats = 2
)

// bench is one run of the whole.
type bench struct {
	ctx       context.Context
	self, dir string
	targets   []target
	provider  string
	pids      []int // of the benchmark's own processes
	window    time.Duration
	repeats   int
	anthropic bool
	results   results
}

func main() {
	var err error
	switch role := append(os.Args, "")[1]; role {
	case "mock":
		var address string
		if _, address, err = listenMock(); err == nil {
			fmt.Println(address)
			select {}
		}
	case "load":
		var j job
		if err = json.NewDecoder(os.Stdin).Decode(&j); err == nil {
			j.Others = append(j.Others, os.Getpid())
			err = json.NewEncoder(os.Stdout).Encode(j.run())
		}
	case "reverseproxy":
		err = serveReverseProxy(os.Args[2], os.Args[3])
	default:
		err = conduct()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// conduct runs the benchmark as the flags say and prints its table.
func conduct() error {
	fast := flag.Bool("quick", false, "one short round of each row, in two minutes; no noisy round is repeated")
	names := flag.String("rows", "", "only these `rows`, with commas between (default: all)")
	rounds := flag.Int("rounds", 3, "of each row; the table has medians")
	base := flag.String("base", "", "a second gateway to compare with: a `commit or binary`")
	anthropic := flag.Bool("anthropic", false, "speak Anthropic's messages instead of OpenAI's chat")
	only := flag.String("targets", "", "only these `targets`, with commas between (default: all that are installed)")
	flag.Parse()
	begin := time.Now()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	b := &bench{ctx: ctx, window: 4 * time.Second, repeats: repeats, anthropic: *anthropic, results: results{}}
	rest, budget := time.Minute, 24*time.Hour
	if *fast {
		*rounds, b.window, b.repeats, rest, budget = 1, time.Second, 0, time.Second, 75*time.Second // a row takes up to 40 s
	}
	rows := rowsOf(b.window, rest)
	if *names != "" {
		chosen := strings.Split(*names, ",")
		rows = slices.DeleteFunc(rows, func(r row) bool { return !slices.Contains(chosen, r.name) })
		if len(rows) != len(chosen) {
			return fmt.Errorf("no such rows: %s", *names)
		}
	}
	var err error
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := b.choose(*only, *base); err != nil {
		return err
	}
	address, pid, err := startMock(ctx, b.self)
	if err != nil {
		return err
	}
	b.provider, b.pids = address, []int{os.Getpid(), pid}
	if err := b.run(rows, *rounds, begin.Add(budget)); err != nil {
		return err
	}
	b.results.print(os.Stdout, rows, b.targets, rest)
	return nil
}

// run measures the rows; those that would begin after the deadline are left out.
func (b *bench) run(rows []row, rounds int, deadline time.Time) error {
	for _, r := range rows {
		if time.Now().After(deadline) {
			fmt.Fprintln(os.Stderr, "left out, the machine is too slow:", r.name)
			continue
		}
		for i := range rounds {
			if r.once && i > 0 {
				break
			}
			if err := b.round(r, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// choose builds what is to be measured: the gateway, its base, and the targets named.
func (b *bench) choose(only, base string) error {
	gateway := filepath.Join(b.dir, "gateway")
	out, err := exec.CommandContext(b.ctx, "go", "build", "-o", gateway, "proxycast").CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	all, err := readTargets(gateway)
	if err != nil {
		return err
	}
	for _, t := range all {
		if only != "" && !slices.Contains(strings.Split(only, ","), t.Name) {
			continue
		}
		if !t.installed() {
			fmt.Fprintf(os.Stderr, "%s is not installed\n", t.Name)
			continue
		}
		b.targets = append(b.targets, t)
	}
	if base == "" {
		return nil
	}
	t := all[0]
	t.Name = "base"
	t.gateway, err = b.build(base)
	b.targets = append(b.targets, t)
	return err
}

// build returns the path of the binary, or of one built from the commit.
func (b *bench) build(base string) (string, error) {
	if info, err := os.Stat(base); err == nil && info.Mode().IsRegular() {
		return filepath.Abs(base)
	}
	const script = `set -e; mkdir base; git -C "$1" archive "$2" | tar -x -C base; cd base; go build -o ../base-gateway .`
	root, err := exec.CommandContext(b.ctx, "git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		return "", fmt.Errorf("git: %w", err)
	}
	cmd := exec.CommandContext(b.ctx, "bash", "-o", "pipefail", "-c", script, "bash", strings.TrimSpace(string(root)), base)
	cmd.Dir = b.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", base, err, out)
	}
	return filepath.Join(b.dir, "base-gateway"), nil
}

// direct is the provider without anything before it.
var direct = target{Name: "direct"}

// round measures each target once, another one first each time.
func (b *bench) round(r row, number int) error {
	first := number % len(b.targets)
	turn := slices.Concat(b.targets[first:], b.targets[:first])
	if r.direct {
		turn = append([]target{direct}, turn...)
	}
	var bare measurement
	for _, t := range turn {
		var best measurement
		for try := range 1 + b.repeats {
			m, err := b.measure(r, t)
			if b.ctx.Err() != nil {
				return errors.New("interrupted")
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "%-7s %-13s round %d: %s\n", r.name, t.Name, number+1, m)
			b.results.sum(t.Name, m)
			if try == 0 || m.disturbance() < best.disturbance() {
				best = m
			}
			if best.disturbance() <= quiet {
				break
			}
		}
		if t.Name == direct.Name {
			bare = best
		}
		best.added50, best.added99 = best.P50-bare.P50, best.P99-bare.P99
		b.results.add(r.name, t.Name, best)
	}
	return nil
}

// measure runs a row's jobs on a fresh process of the target.
func (b *bench) measure(r row, t target) (m measurement, err error) {
	p := &process{address: b.provider}
	if t.Command != nil {
		if p, err = startTarget(b.ctx, t, b.dir, b.provider); err != nil {
			return m, err
		}
		defer os.RemoveAll(p.dir)
		defer p.stop()
	}
	m.idle = memoryOf(p.pids)
	for _, j := range r.jobs {
		j.Address, j.Target, j.Others, j.Anthropic, j.Time = p.address, p.pids, b.pids, b.anthropic, b.window
		if err := setScript(b.provider, j.Script); err != nil {
			return m, err
		}
		o, err := runLoad(b.ctx, b.self, j)
		if err != nil {
			return m, err
		}
		m.take(o)
	}
	if last := r.jobs[len(r.jobs)-1]; last.Streams {
		m.streams = last.Connections
	}
	m.after = memoryOf(p.pids)
	time.Sleep(r.rest)
	m.rested = memoryOf(p.pids)
	if t.Log != "" {
		p.stop()
		m.lostRecords = m.Sent - p.lines(t.Log)
	}
	return m, nil
}
