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

// Query returns the newest records that f chooses, from the ring and the files as
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
func (s *Store) parse(line []byte) (rec Record, ok bool) {
	ok = s.parseInto(&rec, line)
	return rec, ok
}

// parseInto is parse for one who needs a record no longer than until the next line.
func (s *Store) parseInto(rec *Record, line []byte) (ok bool) {
	if *rec, ok = parseLine(string(line)); !ok {
		s.damaged.Add(1)
	}
	return ok
}
