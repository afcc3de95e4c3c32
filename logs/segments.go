package logs

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// segment is one file of the journal. Its fields are guarded by the journal's mu.
type segment struct {
	path    string
	rotated bool
	first   uint64 // the lowest seq; 0 for a file without rows
	size    int64
	span    *span // of the times of a rotated file, nil until a reader has learned it
}

// span is the least and the greatest time of some rows, as text in timeLayout.
// Rows are not in the order of time: a long request is recorded when it ends.
type span struct{ least, greatest [len(timeLayout)]byte }

func (s *span) add(stamp []byte) {
	if *s == (span{}) || string(stamp) < string(s.least[:]) {
		copy(s.least[:], stamp)
	}
	if string(stamp) > string(s.greatest[:]) {
		copy(s.greatest[:], stamp)
	}
}

// list reads the folder.
func (j *journal) list() error {
	entries, err := os.ReadDir(filepath.Dir(j.path))
	if err != nil {
		return err
	}
	old := make(map[string]*segment)
	j.mu.Lock()
	for _, s := range j.segments {
		old[s.path] = s
	}
	j.mu.Unlock()

	var found []*segment
	current := &segment{path: j.path}
	for _, entry := range entries {
		path := filepath.Join(filepath.Dir(j.path), entry.Name())
		stamp, first, ok := j.rotated(entry.Name())
		switch {
		case path == j.path:
			if current.first, current.size, err = lowestSeq(path); err != nil {
				return err
			}
		case !ok || !entry.Type().IsRegular():
		case old[path] != nil:
			found = append(found, old[path])
		default:
			info, err := entry.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			} else if err != nil {
				return err
			}
			found = append(found, &segment{path: path, rotated: true, first: first, size: info.Size()})
		}
		if ok && stamp.After(j.stamp) {
			j.stamp = stamp
		}
	}
	slices.SortFunc(found, func(a, b *segment) int { return cmp.Compare(a.first, b.first) })

	j.mu.Lock()
	j.segments = append(found, current)
	j.known = true
	j.mu.Unlock()
	return nil
}

// lowestSeq gives the lowest seq at the head of a file, where one damaged line
// must not hide the others, and the file's size.
func lowestSeq(path string) (first uint64, size int64, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return 0, 0, nil // it is for attach to say so
	} else if err != nil {
		return 0, 0, err
	}
	file, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer file.Close()
	head := make([]byte, min(info.Size(), blockSize))
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, 0, err
	}
	for line := range bytes.Lines(head[:n]) {
		if seq, ok := lineSeq(line); ok && (first == 0 || seq < first) {
			first = seq
		}
	}
	return first, info.Size(), nil
}

// rotated reads the name of a rotated file.
func (j *journal) rotated(name string) (stamp time.Time, first uint64, ok bool) {
	prefix, suffix := j.nameParts()
	middle, ok1 := strings.CutPrefix(name, prefix)
	middle, ok2 := strings.CutSuffix(middle, suffix)
	if !ok1 || !ok2 || len(middle) != stampWidth+1+seqWidth || middle[stampWidth] != '-' {
		return time.Time{}, 0, false
	}
	stamp, err := time.Parse(stampForm, middle[:stampWidth])
	first, err2 := strconv.ParseUint(middle[stampWidth+1:], 10, 64)
	return stamp, first, err == nil && err2 == nil && first < maxSeq
}

func (j *journal) nameParts() (prefix, suffix string) {
	base := filepath.Base(j.path)
	suffix = filepath.Ext(base)
	return strings.TrimSuffix(base, suffix) + "-", suffix
}

// prune removes the oldest files, so that there is room for a whole current one.
func (j *journal) prune() {
	if j.excess() <= 0 || j.list() != nil { // some may be gone already
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.excess() > 0 && len(j.segments) > 1 {
		if err := os.Remove(j.segments[0].path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return // the next rotation tries again
		}
		j.segments = j.segments[1:]
	}
}

// excess is by how much the files are too large together, once the current one is
// full. The caller is the writer or holds mu.
func (j *journal) excess() int64 {
	return j.total() + max(j.maxFile-j.current().size, 0) - j.maxTotal
}

// current is the segment that grows. The caller is the writer or holds mu.
func (j *journal) current() *segment {
	return j.segments[len(j.segments)-1]
}

// total is the size of all files. The caller is the writer or holds mu.
func (j *journal) total() (bytes int64) {
	for _, s := range j.segments {
		bytes += s.size
	}
	return bytes
}

// openSegment is a segment as it was when a reader opened it.
type openSegment struct {
	segment
	file   *os.File // nil: there is none
	unread bool     // all of its rows are of lower seq than what was asked for
}

// openBefore opens the newest file with rows of lower seq than before that sieve
// may let pass.
func (j *journal) openBefore(before uint64, sieve *sieve) (openSegment, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	next := uint64(maxSeq) // the first seq of the file after
	for _, seg := range slices.Backward(j.segments) {
		if seg.first == 0 {
			continue
		}
		unread := before >= next
		next = seg.first
		if seg.first >= before || seg.span != nil && !sieve.passesSome(*seg.span) {
			continue
		}
		file, err := os.Open(seg.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed by someone
		}
		return openSegment{*seg, file, unread}, err
	}
	return openSegment{}, nil
}

// learn keeps the span of a rotated file's times.
func (j *journal) learn(path string, times span) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.segments {
		if s.path == path && s.rotated {
			s.span = &times
		}
	}
}

// newestFirst gives the greatest first seq of a file. It is not known while the
// folder could not be read.
func (j *journal) newestFirst() (first uint64, known bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.segments {
		first = max(first, s.first)
	}
	return first, j.known
}
