package logs

import (
	"bytes"
	"cmp"
	"context"
	"time"
)

// Page is an answer of Store.Query.
type Page struct {
	Data      []Row  `json:"data"`           // newest first; never nil
	Next      string `json:"next,omitempty"` // the cursor of the next page; empty: this is the last
	Truncated bool   `json:"truncated"`      // time ran out before the page was full; Next goes on
}

// Row is one record as it is kept.
type Row struct {
	Seq  uint64
	Line []byte // as AppendJSON writes it, without a newline; not to be changed
}

// MarshalJSON returns the line.
func (r Row) MarshalJSON() ([]byte, error) { return r.Line, nil }

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
	page := Page{Data: []Row{}}
	deadline := time.Now().Add(cmp.Or(f.Budget, queryTime))
	w := s.walk(&f)
	w.goOn = func() bool { return time.Now().Before(deadline) }
	w.visit = func(l *line) bool {
		if len(page.Data) == limit { // there is one more
			return false
		}
		page.Data = append(page.Data, Row{l.seq, bytes.Clone(l.text)})
		if soon := time.Now().Add(extraTime); len(page.Data) == limit && soon.Before(deadline) {
			deadline = soon
		}
		return true
	}
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
// false, f.Limit is reached or ctx ends; it needs little memory. A row is good until
// yield returns. Records that are added meanwhile are not given.
func (s *Store) Scan(ctx context.Context, f Filter, yield func(row Row) bool) error {
	given := 0
	w := s.walk(&f)
	w.goOn = func() bool { return ctx.Err() == nil }
	w.visit = func(l *line) bool {
		given++
		return yield(Row{l.seq, l.text}) && given != f.Limit
	}
	if _, err := w.run(); err != nil {
		return err
	}
	return ctx.Err()
}

// walk returns a walk over what f chooses, which goes to the end.
func (s *Store) walk(f *Filter) *walk {
	return &walk{store: s, filter: f, sieve: newSieve(f), before: f.Before, goOn: func() bool { return true }}
}
