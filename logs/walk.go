package logs

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
)

// walk goes over all rows from the newest to the oldest: first those in the ring,
// then those of lower seq in the files, in blocks of lines.
type walk struct {
	store  *Store
	filter *Filter            // what it chooses is visited,
	sieve  *sieve             // and this is its sieve
	before uint64             // where the walk stands: rows of lower seq are to come; 0: all
	goOn   func() bool        // asked after each block and now and then within; false ends the walk
	visit  func(l *line) bool // l is good until it returns; false ends the walk

	rows  int
	line  line
	space []byte
	lines [][]byte
}

const (
	askEvery  = 256       // rows
	blockSize = 256 << 10 // holds any line of ours; a longer one is damaged and comes in pieces
)

// run returns whether it came to the end. If not, before is where to go on.
func (w *walk) run() (end bool, err error) {
	if w.before == 0 {
		w.before = maxSeq
	}
	for _, block := range slices.Backward(w.store.newest()) {
		if !w.block(block, 0) {
			return false, nil
		}
	}
	return w.files()
}

func (w *walk) files() (end bool, err error) {
	for {
		file, seg, err := w.store.openBefore(w.before, w.filter.since)
		if err != nil || file == nil {
			return err == nil, err
		}
		end, err = w.file(file, seg)
		file.Close()
		if err != nil || !end {
			return false, err
		}
		w.before = min(w.before, seg.first)
	}
}

// file reads a file from its end. One that became shorter meanwhile has fewer lines.
func (w *walk) file(file *os.File, seg segment) (end bool, err error) {
	if w.space == nil {
		w.space = make([]byte, blockSize)
	}
	for to := seg.size; to > 0; {
		from := max(to-blockSize, 0)
		n, err := file.ReadAt(w.space[:to-from], from)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		lines := w.space[:n]
		to = from
		if from > 0 { // it begins within a line, which is left to the next block
			if start := bytes.IndexByte(lines, '\n') + 1; 0 < start && start < n {
				lines = lines[start:]
				to += int64(start)
			}
		}
		if !w.block(lines, seg.first) {
			return false, nil
		}
	}
	return true, nil
}

// block goes over lines of no lower seq than lowest.
func (w *walk) block(block []byte, lowest uint64) (goOn bool) {
	head, _, _ := bytes.Cut(block, newline)
	first, known := lineSeq(head)
	if known && first >= w.before { // all of them were visited
		return true
	}
	w.lines = w.sieve.passLines(w.lines[:0], block)
	for _, text := range slices.Backward(w.lines) {
		if !w.row(text, lowest) {
			return false
		}
	}
	if known && first >= lowest {
		w.before = min(w.before, first)
	}
	return w.goOn()
}

// row goes over one line that passed the sieve.
func (w *walk) row(text []byte, lowest uint64) (goOn bool) {
	l := &w.line
	if !l.read(text) || l.seq < lowest { // damaged, or not of this file
		w.store.damaged.Add(1)
		return true
	}
	if l.seq >= w.before { // it was visited
		return true
	}
	if w.rows++; w.rows%askEvery == 0 && !w.goOn() {
		return false
	}
	if w.sieve.inTime(l.stamp()) && w.filter.match(l) && !w.visit(l) {
		return false
	}
	w.before = l.seq
	return true
}
