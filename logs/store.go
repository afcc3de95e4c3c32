// Package logs keeps one [Record] for each finished request and answers questions
// about them.
//
// A [Store] appends every record to a file of JSON lines before [Store.Add]
// returns, rotates that file by size, and keeps the newest records in memory too.
// [Store.Query] gives pages and [Store.Scan] everything that a [Filter] matches,
// newest first, from memory and files as one; [Store.Tail] follows what comes;
// [Store.Stats] adds up.
//
// The package knows no HTTP. A fault of the disk never keeps a record from memory
// and never ends the program.
package logs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of Open and Store.Add.
var (
	ErrLocked     = errors.New("logs: the request log is in use by another process")
	ErrNotWritten = errors.New("logs: not written") // the record is in memory only
	ErrClosed     = errors.New("logs: the store is closed")
	ErrNotLog     = errors.New("logs: the file holds something else than a request log; it is left alone")
)

// Store is the request log. It is safe for concurrent use.
type Store struct {
	ring    *ring
	journal *journal

	dropped atomic.Uint64
	damaged atomic.Uint64

	mu      sync.Mutex
	changed sync.Cond // a batch was written
	seq     uint64    // the newest that was given out
	next    *batch    // gathers records while another batch is written
	spare   *batch
	writing bool // one Add writes for all; what follows is its own
	closed  bool

	trouble trouble
}

// batch is the records that one write takes to the disk.
type batch struct {
	lines   []byte
	first   uint64 // seq of the first line
	rows    int
	done    bool
	written int // of rows, once done
	err     error
	waiting int // calls of Add that have yet to look at the result
}

const (
	chunkSize = 64 << 10 // of memory for lines, shared by many batches
	chunkLow  = 4 << 10  // with less than this left, a new chunk is taken
)

// Open opens the log that cfg names, creating its folder (mode 0700) and file
// (0600) as needed. A torn last line is cut off, the newest records are read into
// memory, and the seq goes on from the greatest that is found.
//
// The error is for a config that makes no sense, for a file that is no log
// (ErrNotLog), and for a log that another process has open (ErrLocked). Any other fault of the file or folder gives a
// Store that works in memory, says so on stderr, and tries again every second
// that a record is added.
func Open(cfg Config) (*Store, error) {
	var faults []error
	cfg.Check(func(path, message string) {
		faults = append(faults, fmt.Errorf("logs: %s %s", path, message))
	}, func(path, message string) {})
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}

	if holdsOther(cfg.File) {
		return nil, fmt.Errorf("%w: %s", ErrNotLog, cfg.File)
	}
	s := &Store{
		ring:    newRing(cfg.Ring),
		journal: newJournal(cfg),
		next:    &batch{},
		trouble: trouble{out: os.Stderr},
	}
	s.changed.L = &s.mu
	if err := s.journal.open(); errors.Is(err, ErrLocked) {
		return nil, err
	} else if err != nil {
		s.trouble.report(s.journal.fail(err), 0)
	}
	s.load()
	return s, nil
}

// load fills the ring from the files and finds the seq to go on from.
func (s *Store) load() {
	first, known := s.journal.newestFirst()
	if !known {
		// What is on the disk may come to light later. No log has as many rows as
		// there are milliseconds, so that no seq will be given out twice.
		s.seq = uint64(time.Now().UnixMilli())
		return
	}
	s.seq = first
	var rows []row // newest first
	w := walk{store: s, before: maxSeq, sieve: &sieve{}, goOn: func() bool { return true }, visit: func(seq uint64, line []byte) bool {
		s.seq = max(s.seq, seq)
		if _, ok := s.parse(line); ok {
			rows = append(rows, row{seq, bytes.Clone(line)})
		}
		return len(rows) < s.ring.limit
	}}
	if _, err := w.files(); err != nil {
		s.trouble.report(err, 0)
	}
	for i := len(rows) - 1; i >= 0; i-- {
		s.ring.add(rows[i])
	}
}

// Add sets rec.Seq, appends rec to the file as one line, and puts it into the
// ring. When it returns nil, the line is with the operating system: it outlives
// the process, not a power cut. An error that wraps ErrNotWritten is counted by
// Dropped and needs no care; the record is in memory then, as ever. It keeps
// nothing of rec.
func (s *Store) Add(rec *Record) error {
	var space [1024]byte // a usual line fits
	rest := rec.appendAfterSeq(space[:0])

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.dropped.Add(1)
		return ErrClosed
	}
	s.seq++
	rec.Seq = s.seq

	b := s.next
	if b.rows == 0 {
		b.first = s.seq
	}
	b.rows++
	b.waiting++
	b.lines = append(append(appendSeq(b.lines, s.seq), rest...), '\n')

	// Whoever finds nobody writing writes for all who have come meanwhile.
	for !b.done {
		if s.writing {
			s.changed.Wait()
		} else {
			s.write()
		}
	}
	var err error
	if rec.Seq >= b.first+uint64(b.written) {
		err = b.err
	}
	if b.waiting--; b.waiting == 0 {
		s.spare = b
	}
	return err
}

// write takes the gathered batch to the disk, then into the ring. It is called
// with the lock held, and lets it go meanwhile.
func (s *Store) write() {
	b := s.next
	s.next = s.spare
	if s.spare = nil; s.next == nil {
		s.next = new(batch)
	}
	*s.next = batch{lines: b.lines[len(b.lines):]} // what is left of the chunk
	if cap(s.next.lines) < chunkLow {
		s.next.lines = make([]byte, 0, chunkSize)
	}
	s.writing = true
	s.mu.Unlock()

	written, err := s.journal.write(b.first, b.lines)
	if err != nil {
		s.dropped.Add(uint64(b.rows - written))
	}
	s.trouble.report(err, b.rows-written)
	s.ring.push(b.first, b.lines)

	s.mu.Lock()
	b.done, b.written, b.err = true, written, err
	s.writing = false
	s.changed.Broadcast()
}

// Last gives the seq of the newest record, 0 if there is none.
func (s *Store) Last() uint64 {
	return s.ring.last()
}

// Dropped gives the number of records that did not reach the disk.
func (s *Store) Dropped() uint64 {
	return s.dropped.Load()
}

// Damaged gives the number of lines that were passed over because they are no
// records. A line that two readings pass over counts twice.
func (s *Store) Damaged() uint64 {
	return s.damaged.Load()
}

// Close waits for the records that are being added, ends the tails and closes the
// file. What is added later is an ErrClosed. A second Close does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	for s.writing || s.next.rows > 0 {
		s.changed.Wait()
	}
	s.ring.close()
	return s.journal.close()
}
