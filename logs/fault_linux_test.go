package logs_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"proxycast/internal_test/harness"
	"proxycast/logs"
)

// sizeLimit lets no file of this process grow beyond n bytes: a write comes short
// there, as on a full disk.
func sizeLimit(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = n
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
}

func TestShortWrite(t *testing.T) {
	said := stderr(t)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	defer sizeLimit(t, limit.Cur)
	dir := t.TempDir()
	name := filepath.Join(dir, "requests.jsonl")
	synctest.Test(t, func(t *testing.T) {
		s := open(t, small(dir))
		add(t, s, logs.Record{})
		add(t, s, logs.Record{})
		before, _ := os.ReadFile(name)

		sizeLimit(t, uint64(len(before)+20))
		for range 5 {
			if err := s.Add(&logs.Record{}); !errors.Is(err, logs.ErrNotWritten) || !errors.Is(err, syscall.EFBIG) {
				t.Fatal(err)
			}
			if now, _ := os.ReadFile(name); !bytes.Equal(now, before) {
				t.Fatalf("%q is left", now[len(before):])
			}
			time.Sleep(time.Second)
		}
		sizeLimit(t, limit.Cur)
		add(t, s, logs.Record{})
		same(t, "lines", seqs(t, dir), []uint64{1, 2, 8})
		same(t, "rows", all(t, s, ""), down(upTo(8)))
		if s.Dropped() != 5 || !strings.Contains(said(), "file too large") {
			t.Errorf("%d dropped; said %s", s.Dropped(), said())
		}
	})
}

// mount makes dir a file system of its own, or skips the test.
func mount(t *testing.T, source, dir, kind string, flags uintptr, data string) {
	t.Helper()
	if err := syscall.Mount(source, dir, kind, flags, data); err != nil {
		harness.Missing(t, "cannot mount %s on %s: %v", kind, dir, err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
}

func TestFullDisk(t *testing.T) {
	said := stderr(t)
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0, "size=128k")
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 96<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := open(t, small(dir))
		var want []uint64
		for i := range 400 {
			rec := logs.Record{Error: strings.Repeat("x", 256)}
			if err := s.Add(&rec); err == nil {
				want = append(want, rec.Seq)
			} else if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			if i == 299 {
				os.Remove(ballast)
				time.Sleep(10 * time.Second)
			}
		}
		if s.Dropped() == 0 || len(want) < 150 || want[len(want)-1] != 400 || int(s.Dropped())+len(want) != 400 {
			t.Errorf("%d written, %d dropped", len(want), s.Dropped())
		}
		same(t, "lines", seqs(t, dir), want)
		if !strings.Contains(said(), "no space left") || !strings.Contains(said(), "writing again") {
			t.Errorf("said %s", said())
		}
	})
}

// On a disk that is full to the brim a short record may still fit. That is no
// recovery.
func TestFullToTheBrim(t *testing.T) {
	said := stderr(t)
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0, "size=64k")
	synctest.Test(t, func(t *testing.T) {
		const page = 4096
		s := open(t, small(dir))
		size := func() int64 { info, _ := os.Stat(filepath.Join(dir, "requests.jsonl")); return info.Size() }
		for size() < 2*page || size()%page < page/2 { // room for some short records, for no long one
			add(t, s, logs.Record{})
		}
		ballast := filepath.Join(dir, "ballast")
		if err := os.WriteFile(ballast, make([]byte, 64<<10), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		for range 4 {
			if s.Add(&logs.Record{Path: strings.Repeat("\x01", 256), Model: strings.Repeat("\x01", 256)}) == nil {
				t.Fatal("the disk is not full")
			}
			time.Sleep(time.Second)
			add(t, s, logs.Record{})
		}
		if strings.Count(said(), "\n") != 1 {
			t.Errorf("said of a full disk:\n%s", said())
		}
		os.Remove(ballast)
		time.Sleep(10 * time.Second)
		add(t, s, logs.Record{})
		if !strings.HasSuffix(said(), "writing again; records that did not reach the disk: 4\n") {
			t.Errorf("said:\n%s", said())
		}
	})
}

func TestReadOnlyDisk(t *testing.T) {
	stderr(t)
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0, "size=1m")
	s := open(t, small(dir))
	add(t, s, logs.Record{})
	s.Close()
	remount := func(flags uintptr) {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(syscall.MS_RDONLY)
	synctest.Test(t, func(t *testing.T) {
		s := open(t, small(dir))
		if err := s.Add(&logs.Record{}); !errors.Is(err, syscall.EROFS) {
			t.Error(err)
		}
		same(t, "rows", all(t, s, ""), []uint64{2, 1})
		remount(0)
		time.Sleep(10 * time.Second)
		add(t, s, logs.Record{})
		same(t, "lines", seqs(t, dir), []uint64{1, 3})
	})
}

// A file that is mounted by itself, as containers do, cannot be renamed. It grows
// to max_total, no further.
func TestCannotRotate(t *testing.T) {
	said := stderr(t)
	dir := t.TempDir()
	cfg := small(dir)
	cfg.MaxTotal = 2 * cfg.MaxFile
	os.WriteFile(cfg.File, nil, 0o600)
	mount(t, cfg.File, cfg.File, "", syscall.MS_BIND, "")
	s := open(t, cfg)
	for range 500 {
		s.Add(&logs.Record{Error: strings.Repeat("x", 256)})
	}
	info, err := os.Stat(cfg.File)
	if err != nil || info.Size() > cfg.MaxTotal || info.Size() < cfg.MaxTotal-1000 {
		t.Error(err, info.Size())
	}
	onDisk := seqs(t, dir)
	if len(onDisk)+int(s.Dropped()) != 500 || s.Dropped() == 0 || !strings.Contains(said(), "cannot rotate") {
		t.Errorf("%d lines, %d dropped; said %s", len(onDisk), s.Dropped(), said())
	}
	same(t, "lines", onDisk, upTo(len(onDisk)))
}

// A torn line in an append-only file stays, but by itself.
func TestAppendOnly(t *testing.T) {
	said := stderr(t)
	dir := t.TempDir()
	cfg := small(dir)
	torn := `{"seq":1,"time":"2026-11-23T10:20:30.045Z","id":"a`
	if err := os.WriteFile(cfg.File, []byte(torn), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(cfg.File)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	// ext4 refuses at times, after having set it, what changes more than this one flag:
	// without FS_EXTENT_FL it would convert the file (ext4_ind_migrate).
	const fsIocGetflags, fsIocSetflags, appendOnly = 0x80086601, 0x40086602, 0x20
	ioctl := func(request uintptr, flags *uint) error {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), request, uintptr(unsafe.Pointer(flags))); errno != 0 {
			return errno
		}
		return nil
	}
	var before uint
	err = ioctl(fsIocGetflags, &before)
	after := before | appendOnly
	if err = errors.Join(err, ioctl(fsIocSetflags, &after)); err != nil {
		harness.Missing(t, "cannot make %s append-only: %v", cfg.File, err)
	}
	defer ioctl(fsIocSetflags, &before)

	s := open(t, cfg)
	for range 300 {
		add(t, s, logs.Record{Error: strings.Repeat("x", 256)})
	}
	data, _ := os.ReadFile(cfg.File)
	if !strings.HasPrefix(string(data), torn+"\n{") || len(data) < 80<<10 || !strings.Contains(said(), "cannot rotate") {
		t.Errorf("%d bytes, %.100q; said %s", len(data), data, said())
	}
	same(t, "rows", all(t, s, "limit=1000"), down(upTo(301)[1:]))
}
