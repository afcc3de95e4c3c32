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

// segment is one file of the journal.
type segment struct {
	path    string
	rotated time.Time // zero for the current file
	first   uint64    // the lowest seq; 0 for a file without rows
	size    int64
	ours    int64     // bytes that we added: all of size, unless it was found or changed
	latest  time.Time // of their rows
}

// list reads the folder.
func (j *journal) list() error {
	entries, err := os.ReadDir(filepath.Dir(j.path))
	if err != nil {
		return err
	}
	old := make(map[string]*segment)
	for _, s := range j.segments {
		old[s.path] = s
	}

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
			found = append(found, &segment{path: path, rotated: stamp, first: first, size: info.Size()})
		}
		if ok && stamp.After(j.stamp) {
			j.stamp = stamp
		}
	}
	slices.SortFunc(found, func(a, b *segment) int { return cmp.Compare(a.first, b.first) })

	j.segments = append(found, current)
	j.known = true
	return nil
}

// lowestSeq returns the lowest seq at the head of a file, where one damaged line
// must not hide the others, and the file's size.
func lowestSeq(path string) (first uint64, size int64, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return 0, 0, nil // it is for attach to say so
	} else if err != nil {
		return 0, 0, err
	}
	file, err := open(path, os.O_RDONLY)
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
	for j.excess() > 0 && len(j.segments) > 1 {
		if err := os.Remove(j.segments[0].path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return // the next rotation tries again
		}
		j.segments = j.segments[1:]
	}
}

// excess is by how much the files are too large together, once the current one is
// full.
func (j *journal) excess() int64 {
	return j.total() + max(j.maxFile-j.current().size, 0) - j.maxTotal
}

// current is the segment that grows.
func (j *journal) current() *segment {
	return j.segments[len(j.segments)-1]
}

// total is the size of all files.
func (j *journal) total() (bytes int64) {
	for _, s := range j.segments {
		bytes += s.size
	}
	return bytes
}

// openBefore opens the newest file with rows of lower seq than before, and, if since is
// not zero, that may have rows of no earlier time. The file is nil if there is none.
func (j *journal) openBefore(before uint64, since time.Time) (*os.File, segment, error) {
	for _, seg := range slices.Backward(j.segments) {
		if seg.first == 0 || seg.first >= before || seg.ours == seg.size && seg.latest.Before(since) {
			continue
		}
		file, err := open(seg.path, os.O_RDONLY)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed by someone
		} else if err != nil {
			return nil, segment{}, err
		}
		if seg.endsBefore(since, file) {
			file.Close()
			continue
		}
		return file, *seg, nil
	}
	return nil, segment{}, nil
}

// endsBefore reports whether all rows of a file that was found began before since:
// those of a rotated file began before its rotation. Its last row must agree, since
// clocks are set.
func (s *segment) endsBefore(since time.Time, file *os.File) bool {
	if s.rotated.IsZero() || !s.rotated.Before(since) {
		return false
	}
	tail := make([]byte, min(s.size, minMaxFile))
	n, _ := file.ReadAt(tail, s.size-int64(len(tail)))
	tail = bytes.TrimSuffix(tail[:n], newline)
	_, stamp, ok := lineHead(tail[bytes.LastIndexByte(tail, '\n')+1:])
	return ok && string(stamp) < bound(since)
}

// newestFirst returns the greatest first seq of a file. It is not known while the
// folder could not be read.
func (j *journal) newestFirst() (first uint64, known bool) {
	for _, s := range j.segments {
		first = max(first, s.first)
	}
	return first, j.known
}
