package logs

import (
	"context"
	"io"
	"time"
)

// Tail follows the records that a filter chooses, as they are added. It is for one
// goroutine. However slow that is, it never holds up Store.Add: a Tail has its own
// place in the ring, and what the ring lets go before it was read is lost to it.
type Tail struct {
	ring   *ring
	filter Filter
	after  uint64
	rows   []row
}

// Row is one record of a Tail.
type Row struct {
	Seq  uint64
	Line []byte // as JSON, without a newline; not to be changed
}

// Tail follows what comes after the record with the seq after, so that a reader
// resumes with the last seq that it saw, and begins with that of Store.Last. A seq
// that was not given out yet counts as Last. Close must be called.
func (s *Store) Tail(f Filter, after uint64) *Tail {
	s.ring.follow(1)
	return &Tail{ring: s.ring, filter: f, after: min(after, s.ring.last()), rows: make([]row, 0, ringTaken)}
}

// Next waits for rows and gives them in the order of seq. It gives none after the
// time of wait, so that the caller can show that it is alive. lost, if not 0, is
// how many records, chosen or not, were lost just before the rows.
//
// The error is io.EOF when the store was closed and all rows are given, or that of
// ctx.
func (t *Tail) Next(ctx context.Context, wait time.Duration) (rows []Row, lost uint64, err error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		taken, gone, news := t.ring.after(t.after, t.rows)
		lost += gone
		if len(taken) > 0 {
			rows = make([]Row, 0, len(taken))
		}
		for _, row := range taken {
			t.after = row.seq
			if t.matches(row.line) {
				rows = append(rows, Row{row.seq, row.line})
			}
		}
		switch {
		case len(rows) > 0 || lost > 0:
			return rows, lost, nil
		case len(taken) > 0:
			if ctx.Err() != nil {
				return nil, 0, ctx.Err()
			}
			continue
		case news == nil:
			return nil, 0, io.EOF
		}
		select {
		case <-news:
		case <-timer.C:
			return nil, 0, nil
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

func (t *Tail) matches(line []byte) bool {
	if t.filter.all() {
		return true
	}
	if _, stamp, ok := lineHead(line); ok && !t.filter.sieve.passes(stamp, line) {
		return false
	}
	rec, ok := parseLine(string(line))
	return ok && t.filter.Match(&rec)
}

// Close ends t. The ring need not wake it any more.
func (t *Tail) Close() {
	t.ring.follow(-1)
}
