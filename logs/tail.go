package logs

import (
	"context"
	"io"
	"slices"
	"time"
)

// Tail follows the records that a filter chooses, as they are added. It is for one
// goroutine. However slow that is, it never holds up Store.Add: a Tail has its own
// place in the ring, and what the ring lets go before it was read is lost to it.
type Tail struct {
	store  *Store
	filter Filter
	sieve  *sieve
	line   line
	after  uint64
}

// Tail follows what comes after the record with the seq after, so that a reader
// resumes with the last seq that it saw, and begins with that of Store.Last. A seq
// that was not given out yet counts as Last. Close must be called.
func (s *Store) Tail(f Filter, after uint64) *Tail {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.news.followers++
	return &Tail{store: s, filter: f, sieve: newSieve(&f), after: min(after, s.ring.newest)}
}

// Next waits for rows and returns them in the order of seq. It returns none after the
// time of wait, so that the caller can show that it is alive. lost, if not 0, is
// how many records, chosen or not, were lost just before the rows.
//
// The error is io.EOF when the store was closed and all rows are given, or that of
// ctx.
func (t *Tail) Next(ctx context.Context, wait time.Duration) (rows []Row, lost uint64, err error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		taken, gone, news := t.store.after(t.after)
		lost += gone
		more := len(taken) > 0
		if more {
			t.after = taken[len(taken)-1].Seq
		}
		rows = slices.DeleteFunc(taken, func(row Row) bool { return !t.matches(row.Line) })
		switch {
		case len(rows) > 0 || lost > 0:
			return rows, lost, nil
		case more:
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

// matches reports whether the filter chooses a line of the ring, all of which are ours.
func (t *Tail) matches(text []byte) bool {
	if t.filter.all() {
		return true
	}
	l := &t.line
	return t.sieve.pass(text) && l.readOurs(text) && t.sieve.inTime(l.stamp()) && t.filter.match(l)
}

// Close ends t. Nothing need wake it any more.
func (t *Tail) Close() {
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	t.store.news.followers--
}

// news wakes the tails that wait. The Store's lock guards it.
type news struct {
	c         chan struct{} // closed when rows came, then replaced; nil: none will come
	wake      *time.Timer   // runs while news are due
	due       bool
	followers int
}

const (
	// wakeDelay is how long news for followers may gather: however many rows come,
	// the followers are woken once in that time.
	wakeDelay = 50 * time.Millisecond

	tailRows = 64 // at a time
)

// after returns some rows of higher seq than the given one, and how many before them
// were lost. With no rows, wait is closed when there may be some; wait is nil when
// none will come.
func (s *Store) after(seq uint64) (rows []Row, lost uint64, wait <-chan struct{}) {
	s.mu.Lock()
	blocks, lost := s.ring.after(seq)
	wait = s.news.c
	s.mu.Unlock()
	return rowsAfter(seq, blocks, tailRows), lost, wait
}

// wakeSoon sees to it that the tails learn of a row. The lock is held.
func (s *Store) wakeSoon() {
	n := &s.news
	if n.followers == 0 || n.due {
		return
	}
	n.due = true
	if n.wake == nil {
		n.wake = time.AfterFunc(wakeDelay, s.wakeAll)
	} else {
		n.wake.Reset(wakeDelay)
	}
}

// wakeAll closes the channel without the lock, since that takes a while when many
// wait.
func (s *Store) wakeAll() {
	s.mu.Lock()
	old := s.news.c
	if old != nil {
		s.news.c = make(chan struct{})
	}
	s.news.due = false
	s.mu.Unlock()
	if old != nil {
		close(old)
	}
}

// end wakes all who wait, for the last time.
func (n *news) end() {
	if n.wake != nil {
		n.wake.Stop()
	}
	close(n.c)
	n.c = nil
}
