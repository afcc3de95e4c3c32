// Package logs keeps one [Record] for each finished request and answers questions
// about them.
//
// A [Store] appends every record to a file of JSON lines before [Store.Add]
// returns, rotates that file by size, and keeps the newest records in memory too.
// [Store.Query] returns pages and [Store.Scan] everything that a [Filter] chooses,
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
	"slices"
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
	dropped atomic.Uint64
	damaged atomic.Uint64

	mu      sync.Mutex // guards what follows
	seq     uint64     // the last one given out
	line    []byte     // space for one
	ring    ring
	journal *journal
	news    news
	trouble trouble
	closed  bool
}

// Open opens the log that cfg names, creating its folder (mode 0700) and file
// (0600) as needed. A torn last line is cut off, the newest records are read into
// memory, and the seq goes on from the greatest that is found.
//
// The error is for a config that makes no sense, for a file that is no log
// (ErrNotLog), and for a log that another process has open (ErrLocked). After any other
// fault of the file or folder the Store works in memory, says so on stderr, and tries
// again every second that a record is added.
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
		ring:    ring{limit: cfg.Ring},
		news:    news{c: make(chan struct{})},
		journal: newJournal(cfg),
		trouble: trouble{out: cfg.messages()},
	}
	if err := s.journal.open(); errors.Is(err, ErrLocked) {
		s.journal.close()
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
	var rows []Row // newest first
	w := s.walk(&Filter{Before: maxSeq})
	w.visit = func(l *line) bool {
		s.seq = max(s.seq, l.seq)
		rows = append(rows, Row{l.seq, append(bytes.Clone(l.text), '\n')})
		return len(rows) < s.ring.limit
	}
	if _, err := w.files(); err != nil {
		s.trouble.report(err, 0)
	}
	for _, row := range slices.Backward(rows) {
		s.ring.add(row.Seq, row.Line)
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
	s.line = append(append(appendSeq(s.line[:0], s.seq), rest...), '\n')
	written, err := s.journal.write(s.seq, rec.Time, s.line)
	lost := 0
	if !written {
		lost = 1
		s.dropped.Add(1)
	}
	s.trouble.report(err, lost)
	s.ring.add(s.seq, s.line)
	s.wakeSoon()
	if written {
		return nil
	}
	return err
}

// Last returns the seq of the newest record, 0 if there is none.
func (s *Store) Last() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ring.newest
}

// Dropped returns the number of records that did not reach the disk.
func (s *Store) Dropped() uint64 {
	return s.dropped.Load()
}

// Damaged returns the number of lines that were passed over because they are no
// records. A line that two readings pass over counts twice.
func (s *Store) Damaged() uint64 {
	return s.damaged.Load()
}

// newest returns the ring's blocks of lines, the oldest first.
func (s *Store) newest() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ring.blocks)
}

// openBefore is journal.openBefore for those who read.
func (s *Store) openBefore(before uint64, since time.Time) (*os.File, segment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.journal.openBefore(before, since)
}

// Close ends the tails and closes the file. What is added later is an ErrClosed. A
// second Close does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.news.end()
	return s.journal.close()
}
