package logs

import (
	"cmp"
	"context"
	"time"
)

// Page is an answer of Store.Query.
type Page struct {
	Data      []Record `json:"data"`           // newest first; never nil
	Next      string   `json:"next,omitempty"` // the cursor of the next page; empty: this is the last
	Truncated bool     `json:"truncated"`      // time ran out before the page was full; Next goes on
}

const (
	queryTime = 5 * time.Second        // for a page
	extraTime = 100 * time.Millisecond // to find out whether a full page is the last
)

// Query gives the newest records that f chooses, from the ring and the files as
// one. The pages that follow one another by Next hold each record once, however
// many are added meanwhile. A record that left the ring without having reached the
// disk, or was rotated away, is in none.
//
// When f.Budget is used up the page is Truncated. An error is that of a file that
// cannot be read.
func (s *Store) Query(f Filter) (Page, error) {
	limit := f.Limit
	if limit <= 0 {
		limit = defaultLimit
	}
	page := Page{Data: []Record{}}
	deadline := time.Now().Add(cmp.Or(f.Budget, queryTime))
	inTime := func() bool { return time.Now().Before(deadline) }
	more := false
	w := walk{store: s, before: f.Before, sieve: &f.sieve, goOn: inTime, visit: func(_ uint64, line []byte) bool {
		rec, ok := s.parse(line)
		if !ok || !f.Match(&rec) {
			return true
		}
		if more = len(page.Data) == limit; more {
			return false
		}
		page.Data = append(page.Data, rec)
		if soon := time.Now().Add(extraTime); len(page.Data) == limit && soon.Before(deadline) {
			deadline = soon
		}
		return true
	}}
	end, err := w.run()
	switch {
	case err != nil:
		return Page{}, err
	case end:
	case len(page.Data) == limit:
		page.Next = cursor(page.Data[limit-1].Seq)
	default:
		page.Next = cursor(w.before)
		page.Truncated = true
	}
	return page, nil
}

// Scan calls yield for every record that f chooses, newest first, until it returns
// false, f.Limit is reached or ctx ends; it needs little memory. line is the
// record as JSON, without a newline, good until yield returns. Records that are
// added meanwhile are not given.
func (s *Store) Scan(ctx context.Context, f Filter, yield func(rec *Record, line []byte) bool) error {
	goOn := func() bool { return ctx.Err() == nil }
	given := 0
	w := walk{store: s, before: f.Before, sieve: &f.sieve, goOn: goOn, visit: func(_ uint64, line []byte) bool {
		rec, ok := s.parse(line)
		if !ok || !f.Match(&rec) {
			return true
		}
		given++
		return yield(&rec, line) && given != f.Limit
	}}
	if _, err := w.run(); err != nil {
		return err
	}
	return ctx.Err()
}

// parse reads a line and counts it if it is damaged.
func (s *Store) parse(line []byte) (Record, bool) {
	rec, ok := parseLine(string(line))
	if !ok {
		s.damaged.Add(1)
	}
	return rec, ok
}

// walk goes over all rows from the newest to the oldest: first those in the ring,
// then those of lower seq in the files.
type walk struct {
	store  *Store
	before uint64                             // where it stands: rows of lower seq are to come; 0: all
	sieve  *sieve                             // what it lets pass is visited
	goOn   func() bool                        // asked now and then; false ends the walk
	visit  func(seq uint64, line []byte) bool // line is good until it returns; false ends the walk

	rows int
	back backward
}

const (
	askEvery  = 256 // rows
	ringTaken = 64  // rows at a time
)

// run gives whether it came to the end. If not, before is where to go on.
func (w *walk) run() (end bool, err error) {
	if w.before == 0 {
		w.before = maxSeq
	}
	if !w.ring() {
		return false, nil
	}
	return w.files()
}

func (w *walk) ring() (end bool) {
	rows := make([]row, 0, ringTaken)
	for {
		rows = w.store.ring.before(w.before, rows)
		for _, row := range rows {
			_, stamp, _ := lineHead(row.line)
			if !w.step(row.seq, stamp, row.line) {
				return false
			}
		}
		if len(rows) < ringTaken {
			return true
		}
	}
}

func (w *walk) files() (end bool, err error) {
	for {
		seg, err := w.store.journal.openBefore(w.before, w.sieve)
		if err != nil || seg.file == nil {
			return err == nil, err
		}
		end, err = w.file(seg)
		seg.file.Close()
		if err != nil || !end {
			return false, err
		}
		w.before = min(w.before, seg.first)
	}
}

// file goes over one file, and learns the span of its times on the way if it is a
// rotated one that it comes past all rows of.
func (w *walk) file(seg openSegment) (end bool, err error) {
	w.back.reset(seg.file, seg.size)
	var times span
	learns := seg.rotated && seg.span == nil
	for first := true; w.back.end > 0; first = false {
		lines, err := w.back.block()
		if err != nil {
			return false, err
		}
		if first && len(lines) > 0 {
			// With a cursor, what it has left behind is skipped.
			if seq, ok := lineSeq(lines[0]); ok && seq >= w.before {
				w.back.end = offsetBefore(seg.file, seg.size, w.before)
				learns = false
				continue
			}
		}
		for i := len(lines) - 1; i >= 0; i-- {
			seq, stamp, ok := lineHead(lines[i])
			if learns = learns && ok; learns {
				times.add(stamp)
			}
			if !ok {
				seq, ok = lineSeq(lines[i])
			}
			switch {
			case !ok || seq < seg.first: // damaged, or not of this file
				w.store.damaged.Add(1)
			case seq >= w.before: // was visited
			case !w.step(seq, stamp, lines[i]):
				return false, nil
			}
		}
	}
	if learns {
		w.store.journal.learn(seg.path, times)
	}
	return true, nil
}

// step takes the next row; stamp is nil if its line is not of lineHead's kind.
func (w *walk) step(seq uint64, stamp, line []byte) bool {
	if w.rows++; w.rows%askEvery == 0 && !w.goOn() {
		return false
	}
	if stamp == nil || w.sieve.passes(stamp, line) {
		if !w.visit(seq, line) {
			return false
		}
	}
	w.before = seq
	return true
}
