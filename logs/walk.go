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
	before uint64                             // where it stands: rows of lower seq are to come; 0: all
	sieve  *sieve                             // what it lets pass is visited
	goOn   func() bool                        // asked after each block and now and then within; false ends the walk
	visit  func(seq uint64, line []byte) bool // line is good until it returns; false ends the walk

	rows  int
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
		file, seg, err := w.store.openBefore(w.before, w.sieve.earliest)
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

// block goes over lines of no lower seq than lowest. A look at the first line and the
// last tells whether they are as AppendJSON writes them: who writes a file anew writes
// all of it.
func (w *walk) block(block []byte, lowest uint64) (goOn bool) {
	head, _, _ := bytes.Cut(block, newline)
	first, _, ours := lineHead(head)
	if ours && first >= w.before { // all of them were visited
		return true
	}
	if ours && first >= lowest && !w.sieve.passes(block) && endsOurs(block) {
		w.before = first
		return w.goOn()
	}
	w.lines = w.lines[:0]
	for len(block) > 0 {
		line, rest, _ := bytes.Cut(block, newline)
		w.lines = append(w.lines, line)
		block = rest
	}
	for _, line := range slices.Backward(w.lines) {
		seq, stamp, ok := lineHead(line)
		if !ok {
			seq, ok = lineSeq(line)
		}
		switch {
		case !ok || seq < lowest: // damaged, or not of this file
			w.store.damaged.Add(1)
		case seq >= w.before: // was visited
		case !w.step(seq, stamp, line):
			return false
		}
	}
	return w.goOn()
}

// endsOurs tells whether the last line of block is as AppendJSON writes it.
func endsOurs(block []byte) bool {
	block = bytes.TrimSuffix(block, newline)
	_, _, ok := lineHead(block[bytes.LastIndexByte(block, '\n')+1:])
	return ok
}

// step takes the next row; stamp is nil if its line is not of lineHead's kind.
func (w *walk) step(seq uint64, stamp, line []byte) bool {
	if w.rows++; w.rows%askEvery == 0 && !w.goOn() {
		return false
	}
	if stamp == nil || w.sieve.passesLine(stamp, line) {
		if !w.visit(seq, line) {
			return false
		}
	}
	w.before = seq
	return true
}
