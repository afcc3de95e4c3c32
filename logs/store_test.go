package logs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"proxycast/logs"
)

// stderr returns what Stores that are opened from now on say.
func stderr(t *testing.T) func() string {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stderr
	os.Stderr = file
	t.Cleanup(func() { os.Stderr = old; file.Close() })
	return func() string {
		text, _ := os.ReadFile(file.Name())
		return string(text)
	}
}

func small(dir string) logs.Config {
	return logs.Config{File: filepath.Join(dir, "requests.jsonl"), MaxFile: 64 << 10, MaxTotal: 1 << 30, Ring: 100}
}

func add(t testing.TB, s *logs.Store, rec logs.Record) uint64 {
	t.Helper()
	if err := s.Add(&rec); err != nil {
		t.Fatal(err)
	}
	return rec.Seq
}

// files returns the names of the log's files in the order of seq.
func files(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "requests-*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	if _, err := os.Stat(filepath.Join(dir, "requests.jsonl")); err == nil {
		names = append(names, filepath.Join(dir, "requests.jsonl"))
	}
	return names
}

// seqs returns the seq of every line on the disk, in order; each must be whole.
func seqs(t testing.TB, dir string) (list []uint64) {
	t.Helper()
	for _, name := range files(t, dir) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			number, _, _ := bytes.Cut(bytes.TrimPrefix(line, []byte(`{"seq":`)), []byte(","))
			seq, err := strconv.ParseUint(string(number), 10, 64)
			if err != nil || !bytes.HasSuffix(line, []byte("}\n")) {
				t.Fatalf("%s: bad line %q", name, line)
			}
			list = append(list, seq)
		}
	}
	return list
}

func upTo(n int) (list []uint64) {
	for i := range n {
		list = append(list, uint64(i+1))
	}
	return list
}

// all returns the seqs that Query finds, page by page, newest first.
func all(t testing.TB, s *logs.Store, query string) (list []uint64) {
	t.Helper()
	f := filter(t, query)
	for {
		page, err := s.Query(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range page.Data {
			list = append(list, rec.Seq)
		}
		if page.Next == "" {
			return list
		}
		f = filter(t, query+"&cursor="+page.Next)
	}
}

func down(list []uint64) []uint64 {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}

func same(t testing.TB, what string, got, want []uint64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: got %d: %.200s, want %d: %.200s", what, len(got), fmt.Sprint(got), len(want), fmt.Sprint(want))
	}
}

func TestAddIsOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := open(t, small(dir))
	rec := full()
	rec.Seq = 0
	for i := range 3 {
		if err := s.Add(&rec); err != nil || rec.Seq != uint64(i+1) || s.Last() != rec.Seq {
			t.Fatal(err, rec.Seq, s.Last())
		}
		data, _ := os.ReadFile(filepath.Join(dir, "requests.jsonl"))
		if want := string(rec.AppendJSON(nil)) + "\n"; !strings.HasSuffix(string(data), want) {
			t.Fatalf("%q does not end with %q", data, want)
		}
	}
	page, err := s.Query(logs.Filter{Limit: 1})
	if err != nil || len(page.Data) != 1 || !reflect.DeepEqual(record(t, page.Data[0]), rec) {
		t.Fatal(err, page)
	}
	info, _ := os.Stat(filepath.Join(dir, "requests.jsonl"))
	folder, _ := os.Stat(dir)
	if info.Mode().Perm() != 0o600 || folder.Mode().Perm() != 0o700 {
		t.Error(info.Mode(), folder.Mode())
	}
}

func TestCheck(t *testing.T) {
	f := func(change func(c *logs.Config), want string) {
		t.Helper()
		cfg := small(t.TempDir())
		change(&cfg)
		if _, err := logs.Open(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	f(func(c *logs.Config) { c.File = "" }, "file")
	f(func(c *logs.Config) { c.File = "data/.." }, "file")
	f(func(c *logs.Config) { c.MaxFile = 64<<10 - 1 }, "max_file")
	f(func(c *logs.Config) { c.MaxTotal = 2*c.MaxFile - 1 }, "max_total")
	f(func(c *logs.Config) { c.Ring = 0 }, "ring")
	f(func(c *logs.Config) { c.Ring = 1_000_001 }, "ring")
	f(func(c *logs.Config) { *c = logs.Config{File: c.File} }, "max_file")
}

func TestClose(t *testing.T) {
	s := open(t, small(t.TempDir()))
	add(t, s, logs.Record{})
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(&logs.Record{}); !errors.Is(err, logs.ErrClosed) || s.Dropped() != 1 {
		t.Fatal(err, s.Dropped())
	}
}

func TestOneProcessOnly(t *testing.T) {
	cfg := small(t.TempDir())
	s := open(t, cfg)
	if _, err := logs.Open(cfg); !errors.Is(err, logs.ErrLocked) {
		t.Fatalf("got %v", err)
	}
	if runtime.GOOS != "windows" {
		os.Remove(cfg.File + ".lock") // a careless cleaning
		if _, err := logs.Open(cfg); !errors.Is(err, logs.ErrLocked) {
			t.Fatalf("without the lock file: %v", err)
		}
	}
	s.Close()
	open(t, cfg)
}

// With 8 writers and 1,000 rotations no line is lost, doubled, torn or out of
// order, and no file is too long.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	s := open(t, small(dir))
	const writers, each = 8, 1510
	x := strings.Repeat("x", 256)
	rec := logs.Record{ // 12 lines a file
		ID: x, Key: x, Method: x, Path: x, Endpoint: x, Model: x, UpstreamModel: x, Provider: x, FinishReason: x,
		ErrorType: x, Error: x, Remote: x, UpstreamID: x, Dropped: slices.Repeat([]string{x}, 25),
	}
	var wait sync.WaitGroup
	for range writers {
		wait.Go(func() {
			for range each {
				rec := rec
				if err := s.Add(&rec); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	same(t, "lines", seqs(t, dir), upTo(writers*each))
	names := files(t, dir)
	for _, name := range names {
		if info, err := os.Stat(name); err != nil || info.Size() > 64<<10 {
			t.Error(err, name, info.Size())
		}
	}
	if len(names) < 1000 {
		t.Errorf("only %d files", len(names))
	}
	same(t, "rows", all(t, s, "limit=1000"), down(upTo(writers*each)))
}

func TestMaxTotal(t *testing.T) {
	dir := t.TempDir()
	cfg := small(dir)
	cfg.MaxTotal = 3*cfg.MaxFile + 1000
	foreign := []string{"requests-.jsonl", "requests-20261123T102030.045Z-1.jsonl", "requests-20261123T102030.045Z-00000000000000000001.jsonl.gz",
		"requests-20261323T102030.045Z-00000000000000000001.jsonl", "xrequests-20261123T102030.045Z-00000000000000000001.jsonl", "notes.txt"}
	for _, name := range foreign {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, cfg)
	for range 2000 {
		add(t, s, logs.Record{Error: strings.Repeat("x", 256)})
	}
	for _, name := range foreign {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
		os.Remove(filepath.Join(dir, name))
	}
	var total int64
	for _, name := range files(t, dir) {
		info, _ := os.Stat(name)
		total += info.Size()
	}
	if total > cfg.MaxTotal || total < cfg.MaxTotal/2 {
		t.Errorf("%d bytes", total)
	}
	onDisk := seqs(t, dir)
	if onDisk[len(onDisk)-1] != 2000 {
		t.Error("the newest is not there")
	}
	same(t, "rows", all(t, s, "limit=1000"), down(onDisk))
}

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	var want []uint64
	for range 5 {
		s := open(t, small(dir))
		same(t, "rows after start", all(t, s, "limit=1000"), down(want))
		for range 300 {
			want = append(want, add(t, s, logs.Record{ID: "x"}))
		}
		s.Close()
	}
	same(t, "lines", seqs(t, dir), upTo(1500))

	os.Remove(filepath.Join(dir, "requests.jsonl"))
	left := seqs(t, dir)
	s := open(t, small(dir))
	same(t, "rows without the current file", all(t, s, "limit=1000"), down(left))
	if seq := add(t, s, logs.Record{}); seq != left[len(left)-1]+1 {
		t.Errorf("seq went on with %d", seq)
	}
}

// The last line was cut by a crash, or by an editor that drops the last newline.
func TestTornLine(t *testing.T) {
	f := func(tail string, want ...uint64) {
		t.Helper()
		dir := t.TempDir()
		s := open(t, small(dir))
		add(t, s, logs.Record{})
		add(t, s, logs.Record{})
		s.Close()
		name := filepath.Join(dir, "requests.jsonl")
		data, _ := os.ReadFile(name)
		os.WriteFile(name, append(data, tail...), 0o600)

		s = open(t, small(dir))
		add(t, s, logs.Record{})
		same(t, "lines", seqs(t, dir), want)
		same(t, "rows", all(t, s, ""), down(want))
	}
	rec := logs.Record{Seq: 3}
	f("", 1, 2, 3)
	f(`{`, 1, 2, 3)
	f(`{"seq":3,"time":"2026-11-23T1`, 1, 2, 3)
	f(`{"seq":3,"time":"2026-11-23T10:20:30.045Z","id":"a`, 1, 2, 3)
	f(string(make([]byte, 4096)), 1, 2, 3)
	f(strings.Repeat("x", 1<<20), 1, 2, 3)
	f(string(rec.AppendJSON(nil)), 1, 2, 3, 4)
}

func TestDamagedLines(t *testing.T) {
	dir := t.TempDir()
	cfg := small(dir)
	cfg.MaxFile = 1 << 20
	var data []byte
	var want []uint64
	for i := range 500 {
		rec := logs.Record{Seq: uint64(i + 1), ID: "x"}
		switch line := rec.AppendJSON(nil); i % 50 {
		case 10:
			data = append(data, line[:len(line)/2]...)
		case 20:
			data = append(data, make([]byte, len(line))...)
		case 30:
			data = append(data, `{"seq":`+strings.Repeat("9", i)...)
		case 40:
			data = append(data, bytes.Repeat([]byte(`{"seq":1,`), 10_000)...)
		default:
			data = append(data, line...)
			want = append(want, rec.Seq)
		}
		data = append(data, '\n')
	}
	if err := os.WriteFile(cfg.File, append([]byte("what is this\n"), data...), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, cfg)
	same(t, "rows", all(t, s, "limit=1000"), down(want))
	if s.Damaged() < 40 {
		t.Errorf("%d damaged lines", s.Damaged())
	}
	if seq := add(t, s, logs.Record{}); seq != 501 {
		t.Errorf("seq went on with %d", seq)
	}
}

// Names stay unique and in order though the clock goes back: in the bubble it is
// the year 2000.
func TestClockJump(t *testing.T) {
	dir := t.TempDir()
	s := open(t, small(dir))
	for range 500 {
		add(t, s, logs.Record{Error: strings.Repeat("x", 256)})
	}
	s.Close()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, small(dir))
		for range 1000 {
			add(t, s, logs.Record{Time: time.Now(), Error: strings.Repeat("x", 256)})
		}
		same(t, "lines", seqs(t, dir), upTo(1500))
		same(t, "rows", all(t, s, "limit=1000"), down(upTo(1500)))
		same(t, "rows of 2000", all(t, s, "limit=1000&until=2001-01-01&since=2000-01-01"), down(upTo(1500)[500:]))
	})
}

func TestFileTaken(t *testing.T) {
	f := func(what string, take func(name string) error) {
		t.Helper()
		dir := t.TempDir()
		name := filepath.Join(dir, "requests.jsonl")
		synctest.Test(t, func(t *testing.T) {
			s := open(t, small(dir))
			add(t, s, logs.Record{})
			time.Sleep(2 * time.Second)
			if err := take(name); err != nil {
				t.Fatal(err)
			}
			add(t, s, logs.Record{})
			time.Sleep(2 * time.Second)
			add(t, s, logs.Record{})
			got := seqs(t, filepath.Dir(name))
			if len(got) > 2 {
				got = got[len(got)-2:]
			}
			same(t, what, got, []uint64{2, 3})
			same(t, what+": rows", all(t, s, ""), []uint64{3, 2, 1})
			if s.Dropped() != 0 {
				t.Errorf("%s: %d dropped", what, s.Dropped())
			}
		})
	}
	f("deleted", os.Remove)
	f("moved", func(name string) error { return os.Rename(name, name+".old") })
	f("emptied", func(name string) error { return os.Truncate(name, 0) })
	f("folder deleted", func(name string) error { return os.RemoveAll(filepath.Dir(name)) })
	f("folder moved", func(name string) error { return os.Rename(filepath.Dir(name), filepath.Dir(name)+".old") })
	f("replaced", func(name string) error {
		data, err := os.ReadFile(name)
		return errors.Join(err, os.Remove(name), os.WriteFile(name, data, 0o600))
	})
}

// A file moved away in a busy moment must not be rotated in place of ours.
func TestFileTakenThenRotated(t *testing.T) {
	dir := t.TempDir()
	s := open(t, small(dir))
	name := filepath.Join(dir, "requests.jsonl")
	add(t, s, logs.Record{})
	os.Rename(name, name+".old")
	os.WriteFile(name, []byte("not ours\n"), 0o600)
	for range 300 {
		add(t, s, logs.Record{Error: strings.Repeat("x", 256)})
	}
	moved, _ := os.ReadFile(name + ".old")
	ours, _ := os.ReadFile(name)
	if !bytes.HasPrefix(ours, []byte("not ours\n{")) || s.Dropped() != 0 {
		t.Fatalf("%.100q, %d dropped", ours, s.Dropped())
	}
	if n := bytes.Count(moved, []byte("\n")) + bytes.Count(ours, []byte("\n{")); n != 301 {
		t.Errorf("%d lines", n)
	}
}

// Without a usable folder the Store works in memory and heals by itself.
func TestNoFolder(t *testing.T) {
	said := stderr(t)
	dir := filepath.Join(t.TempDir(), "data")
	os.WriteFile(dir, nil, 0o600)
	synctest.Test(t, func(t *testing.T) {
		s := open(t, small(dir))
		for i := range 10 {
			rec := logs.Record{Seq: uint64(i)}
			if err := s.Add(&rec); !errors.Is(err, logs.ErrNotWritten) {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second)
		}
		if n := strings.Count(said(), "\n"); s.Dropped() != 10 || n < 5 || n > 6 {
			t.Errorf("%d dropped; said %d lines:\n%s", s.Dropped(), n, said())
		}
		if got := all(t, s, ""); len(got) != 10 {
			t.Errorf("rows %v", got)
		}
		os.Remove(dir)
		time.Sleep(10 * time.Second)
		seq := add(t, s, logs.Record{})
		same(t, "lines", seqs(t, dir), []uint64{seq})
		if got := all(t, s, ""); len(got) != 11 || got[0] != seq {
			t.Errorf("rows %v", got)
		}
		if !strings.HasSuffix(said(), "writing again; records that did not reach the disk: 10\n") {
			t.Errorf("said %s", said())
		}
	})
}

// Files that come to light only after the start keep their seqs to themselves.
func TestLateFolder(t *testing.T) {
	stderr(t)
	base := t.TempDir()
	s := open(t, small(filepath.Join(base, "away")))
	for range 200 {
		add(t, s, logs.Record{})
	}
	s.Close()
	os.WriteFile(filepath.Join(base, "data"), nil, 0o600)
	synctest.Test(t, func(t *testing.T) {
		s := open(t, small(filepath.Join(base, "data")))
		first := logs.Record{}
		s.Add(&first)
		os.Remove(filepath.Join(base, "data"))
		os.Rename(filepath.Join(base, "away"), filepath.Join(base, "data"))
		time.Sleep(10 * time.Second)
		second := add(t, s, logs.Record{})
		same(t, "rows", all(t, s, "limit=1000"), append([]uint64{second, first.Seq}, down(upTo(200))...))
	})
}

func TestNotAFile(t *testing.T) {
	said := stderr(t)
	cfg := small(t.TempDir())
	os.Mkdir(cfg.File, 0o700)
	s := open(t, cfg)
	if err := s.Add(&logs.Record{}); !errors.Is(err, logs.ErrNotWritten) || !strings.Contains(said(), "regular") {
		t.Errorf("%v; said %s", err, said())
	}
}

// The lock goes with the process, however that ends.
func TestLockEndsWithProcess(t *testing.T) {
	if path := os.Getenv("LOGS_TEST_HOLD"); path != "" {
		s, err := logs.Open(small(path))
		fmt.Println(err)
		s.Add(&logs.Record{})
		select {}
	}
	dir := t.TempDir()
	held := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	held.Env = append(os.Environ(), "LOGS_TEST_HOLD="+dir)
	out, err := held.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Start(); err != nil {
		t.Fatal(err)
	}
	out.Read(make([]byte, 16))
	for deadline := time.Now().Add(5 * time.Second); len(files(t, dir)) == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	_, err = logs.Open(small(dir))
	held.Process.Kill()
	held.Wait()
	if !errors.Is(err, logs.ErrLocked) {
		t.Fatal(err)
	}
	open(t, small(dir))
}

// A file that is no log is left alone; one that is torn at its very beginning is
// taken.
func TestForeignFile(t *testing.T) {
	record := logs.Record{Seq: 7}
	line := string(record.AppendJSON(nil)) + "\n"
	f := func(text string, foreign bool) {
		t.Helper()
		cfg := small(t.TempDir())
		if err := os.WriteFile(cfg.File, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := logs.Open(cfg)
		if foreign != errors.Is(err, logs.ErrNotLog) {
			t.Errorf("%.40q: %v", text, err)
		}
		if s != nil {
			s.Close()
		}
		if left, _ := os.ReadFile(cfg.File); foreign && string(left) != text {
			t.Errorf("%.40q became %.40q", text, left)
		}
	}
	f("", false)
	f(line, false)
	for i := range len(line) {
		f(line[:i], false)
	}
	f("\x00\x00\x00", false)
	f("\x00\x00"+line, false)
	f("damaged\n"+line, false)
	f("# mine\nexport A=1\n", true)
	f(`{"server":{"port":9090}}`, true)
	f("{}", true)
}
