package logs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// journal is the file that grows and the rotated ones beside it. Rules:
//
//   - Lines stand in the order of seq, within a file and from file to file.
//   - A file is never longer than maxFile, all together never more than maxTotal,
//     unless the folder forbids renaming.
//   - A rotated file is NAME-TIME-SEQ.EXT: the time of rotation, which never goes
//     back, and the file's first seq. The names sort as the rows do. No file with
//     another name is ever removed.
//   - After a fault the file is closed, and opened anew a second later.
//
// The Store's lock guards it, over a file's change of name too, so that a name leads to
// the right file.
type journal struct {
	path     string
	maxFile  int64
	maxTotal int64

	file    *os.File  // nil while there is a fault
	fault   error     // why file is nil
	look    time.Time // when to look at path again
	lock    *os.File  // held as long as we run
	stamp   time.Time // of the newest rotated file
	unmoved time.Time // until then no rotation is tried,
	stuck   error     // because of this

	segments []*segment // oldest first; the last one is the current file
	known    bool       // segments was read from the folder
}

const (
	lookEvery  = time.Second // between looks at the path, and between tries to open it
	stampWidth = len("20060102T150405.000Z")
	stampForm  = "20060102T150405.000Z"
	seqWidth   = 20 // digits of the greatest uint64
)

func newJournal(cfg Config) *journal {
	path := filepath.Clean(cfg.File)
	return &journal{path: path, maxFile: cfg.MaxFile, maxTotal: cfg.MaxTotal, segments: []*segment{{path: path}}}
}

// write appends the line of a record that began at the given time; it ends with a
// newline. An error with the line written is
// a rotation that failed.
func (j *journal) write(seq uint64, at time.Time, line []byte) (written bool, err error) {
	if err := j.ready(); err != nil {
		return false, err
	}
	var stuck error
	if size := j.current().size; size > 0 && size+int64(len(line)) > j.maxFile {
		stuck = j.rotate(seq)
		switch {
		case stuck == nil:
		case j.file == nil:
			return false, stuck
		case j.total()+int64(len(line)) > j.maxTotal:
			return false, fmt.Errorf("%w: max_total is reached: %w", ErrNotWritten, stuck)
		}
	}
	if err := j.append(seq, at, line); err != nil {
		return false, err
	}
	return true, stuck
}

// append writes line whole, or cuts off again what it wrote of it.
func (j *journal) append(seq uint64, at time.Time, line []byte) error {
	current := j.current()
	if _, err := j.file.Write(line); err != nil {
		if info, e := j.file.Stat(); e == nil && info.Size() > current.size {
			_ = j.file.Truncate(current.size) // opening it anew will try again
		}
		return j.fail(err)
	}
	current.size += int64(len(line))
	current.ours += int64(len(line))
	if at.After(current.latest) {
		current.latest = at
	}
	if current.first == 0 {
		current.first = seq
	}
	return nil
}

// fail closes the file because of err.
func (j *journal) fail(err error) error {
	if j.file != nil {
		j.file.Close()
		j.file = nil
	}
	j.fault = fmt.Errorf("%w: %w", ErrNotWritten, err)
	j.look = time.Now().Add(lookEvery)
	return j.fault
}

// ready sees to it that file is open and is what path leads to. It looks once a
// second; in between, what it found last holds.
func (j *journal) ready() error {
	now := time.Now()
	if now.Before(j.look) {
		return j.fault
	}
	j.look = now.Add(lookEvery)
	if j.file != nil {
		if size, same := j.same(); same {
			j.current().size = size // someone may have emptied it
			return nil
		}
		j.file.Close()
		j.file = nil
	}
	if err := j.open(); err != nil {
		return j.fail(err)
	}
	j.fault = nil
	return nil
}

// same tells whether path still leads to file, and its size.
func (j *journal) same() (size int64, ok bool) {
	ours, err := j.file.Stat()
	if err != nil {
		return 0, false
	}
	there, err := os.Stat(j.path)
	if err != nil || !os.SameFile(ours, there) {
		return 0, false
	}
	return ours.Size(), true
}

// open locks the log against other processes, lists its files, and opens the
// current one. After an error the list may still be good for readers.
func (j *journal) open() error {
	made := os.MkdirAll(filepath.Dir(j.path), 0o700)
	locked := j.acquire()
	if errors.Is(locked, ErrLocked) {
		return locked
	}
	if err := j.list(); err != nil {
		return cmp.Or(made, err)
	}
	if locked != nil {
		return locked
	}
	j.prune()
	return j.attach()
}

// attach opens path for appending, behind whole lines only.
func (j *journal) attach() error {
	if info, err := os.Stat(j.path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", j.path)
	}
	file, err := open(j.path, os.O_RDWR|os.O_APPEND|os.O_CREATE)
	if err != nil {
		return err
	}
	if !lock(file) { // another process has it, though not the lock file, which was removed
		file.Close()
		return fmt.Errorf("%w: %s", ErrLocked, j.path)
	}
	size, err := mend(file)
	if err != nil {
		file.Close()
		return err
	}
	j.file = file
	j.current().size = size
	return nil
}

// open opens a file of the log. It does not wait for the other end of a pipe, which
// somebody has put in a file's place.
func open(path string, flag int) (*os.File, error) {
	return os.OpenFile(path, flag|syscall.O_NONBLOCK, 0o600)
}

// acquire takes the lock file, and again if it was removed.
func (j *journal) acquire() error {
	path := j.path + ".lock"
	if j.lock != nil {
		ours, err := j.lock.Stat()
		there, err2 := os.Stat(path)
		if err == nil && err2 == nil && os.SameFile(ours, there) {
			return nil
		}
		j.lock.Close()
		j.lock = nil
	}
	file, err := open(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return err
	}
	if !lock(file) {
		file.Close()
		return fmt.Errorf("%w: %s", ErrLocked, j.path)
	}
	j.lock = file
	return nil
}

// holdsOther reports whether there is a file at path that begins as no log does, not
// even a torn one (of which zeroes may be left), and without a record in its head: it
// was named by mistake, and must not be cut or added to.
func holdsOther(path string) bool {
	file, err := open(path, os.O_RDONLY)
	if err != nil {
		return false
	}
	defer file.Close()
	head := make([]byte, blockSize)
	n, _ := file.ReadAt(head, 0)
	head = bytes.TrimLeft(head[:n], "\x00")
	const begin = `{"seq":`
	if bytes.HasPrefix(head, []byte(begin)) || bytes.HasPrefix([]byte(begin), head) {
		return false
	}
	for line := range bytes.Lines(head) {
		if _, ok := lineSeq(line); ok {
			return false
		}
	}
	return true
}

// mend makes file end with a whole line, and returns its size. It cuts a torn last
// line off, but ends one that lacks its newline only, and one that cannot be cut
// off since the file is append-only.
func mend(file *os.File) (size int64, err error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	size = info.Size()
	whole, err := endOfLines(file, size)
	if err != nil || whole == size {
		return size, err
	}
	tail := make([]byte, min(size-whole, blockSize))
	if _, err := file.ReadAt(tail, whole); err != nil {
		return 0, err
	}
	if json.Unmarshal(tail, new(Record)) != nil && file.Truncate(whole) == nil {
		return whole, nil
	}
	_, err = file.Write(newline)
	return size + 1, err
}

// endOfLines returns the offset behind the last newline before size.
func endOfLines(file *os.File, size int64) (int64, error) {
	block := make([]byte, blockSize)
	for size > 0 {
		from := max(size-blockSize, 0)
		n, err := file.ReadAt(block[:size-from], from)
		if n < int(size-from) {
			return 0, err
		}
		if end := bytes.LastIndexByte(block[:n], '\n') + 1; end > 0 {
			return from + int64(end), nil
		}
		size = from
	}
	return 0, nil
}

// rotate returns the current file its lasting name and begins a new one, with seq.
// If that is not possible the old one goes on, and for a second no other try is
// made.
func (j *journal) rotate(seq uint64) error {
	if time.Now().Before(j.unmoved) {
		return j.stuck
	}
	_, same := j.same()
	j.file.Close() // some systems rename no open file
	j.file = nil
	if !same { // someone moved the file
		if err := j.open(); err != nil {
			return j.fail(err)
		}
		return nil
	}
	stuck := j.rename(seq)
	if err := j.attach(); err != nil {
		return j.fail(err)
	}
	if stuck != nil {
		j.unmoved = time.Now().Add(lookEvery)
		j.stuck = fmt.Errorf("logs: cannot rotate: %w", stuck)
		return j.stuck
	}
	j.prune()
	return nil
}

// rename returns the current file the name of a rotated one. If it holds no row, it
// is named after seq, the next one.
func (j *journal) rename(seq uint64) error {
	stamp := time.Now().UTC().Truncate(time.Millisecond)
	if !stamp.After(j.stamp) { // the clock went back, or stands still
		stamp = j.stamp.Add(time.Millisecond)
	}
	prefix, suffix := j.nameParts()

	current := j.current()
	first := cmp.Or(current.first, seq)
	name := fmt.Sprintf("%s%s-%0*d%s", prefix, stamp.Format(stampForm), seqWidth, first, suffix)
	path := filepath.Join(filepath.Dir(j.path), name)
	if err := os.Rename(j.path, path); err != nil {
		return err
	}
	current.path, current.first, current.rotated = path, first, stamp
	j.stamp = stamp
	j.segments = append(j.segments, &segment{path: j.path})
	return nil
}

func (j *journal) close() error {
	var errs []error
	if j.file != nil {
		errs = append(errs, j.file.Close())
		j.file = nil
	}
	if j.lock != nil {
		errs = append(errs, j.lock.Close())
		j.lock = nil
	}
	return errors.Join(errs...)
}
