package logs

import (
	"bytes"
	"sort"
	"sync"
	"time"
)

// row is one record as its line, without the newline. A line is never changed
// once it is in a row, so that rows are handed out without copying.
type row struct {
	seq  uint64
	line []byte
}

// wakeDelay is how long news for followers may gather: however many rows come,
// the followers are woken once in that time.
const wakeDelay = 50 * time.Millisecond

// ring holds the newest rows and wakes those who wait for more. Its lock is held
// for moments only, never while a file is touched.
type ring struct {
	limit int

	mu        sync.RWMutex
	rows      []row // in a circle once it has reached limit
	oldest    int   // where the circle begins
	closed    bool
	news      chan struct{} // closed when rows came, then replaced
	wake      *time.Timer   // runs while news are due
	due       bool
	followers int
}

func newRing(limit int) *ring {
	return &ring{limit: limit, news: make(chan struct{})}
}

// push adds the rows of lines, which end with a newline each; the first has seq
// and each other the next one.
func (r *ring) push(seq uint64, lines []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(lines) > 0 {
		end := bytes.IndexByte(lines, '\n')
		r.add(row{seq, lines[:end:end]})
		lines = lines[end+1:]
		seq++
	}
	if r.followers > 0 && !r.due {
		r.due = true
		if r.wake == nil {
			r.wake = time.AfterFunc(wakeDelay, r.broadcast)
		} else {
			r.wake.Reset(wakeDelay)
		}
	}
}

func (r *ring) add(new row) {
	if len(r.rows) < r.limit {
		r.rows = append(r.rows, new)
		return
	}
	r.rows[r.oldest] = new
	r.oldest = (r.oldest + 1) % r.limit
}

// broadcast wakes all who wait. It closes the channel without the lock, since
// that takes a while when many wait.
func (r *ring) broadcast() {
	r.mu.Lock()
	news := r.news
	r.news = make(chan struct{})
	r.due = false
	r.mu.Unlock()
	close(news)
}

// close wakes all who wait, for the last time.
func (r *ring) close() {
	r.mu.Lock()
	r.closed = true
	if r.wake != nil {
		r.wake.Stop()
	}
	r.mu.Unlock()
	r.broadcast()
}

// at gives the i-th row, from the oldest.
func (r *ring) at(i int) row {
	return r.rows[(r.oldest+i)%len(r.rows)]
}

// index gives the number of rows with a lower seq.
func (r *ring) index(seq uint64) int {
	return sort.Search(len(r.rows), func(i int) bool { return r.at(i).seq >= seq })
}

// last gives the newest seq, 0 if there is none.
func (r *ring) last() uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.rows) == 0 {
		return 0
	}
	return r.at(len(r.rows) - 1).seq
}

// before fills dst with rows of lower seq than the given one, newest first. It
// gives fewer than fit only if the ring has no more.
func (r *ring) before(seq uint64, dst []row) []row {
	r.mu.RLock()
	defer r.mu.RUnlock()
	dst = dst[:0]
	for i := r.index(seq) - 1; i >= 0 && len(dst) < cap(dst); i-- {
		dst = append(dst, r.at(i))
	}
	return dst
}

// after fills dst with rows of higher seq than the given one, oldest first. lost
// is how many rows between seq and the first of them the ring let go. With no
// rows, wait is closed when there may be some; wait is nil when none will come.
func (r *ring) after(seq uint64, dst []row) (rows []row, lost uint64, wait <-chan struct{}) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	dst = dst[:0]
	i := r.index(seq + 1)
	if i == 0 && len(r.rows) > 0 {
		lost = r.at(0).seq - seq - 1
	}
	for ; i < len(r.rows) && len(dst) < cap(dst); i++ {
		dst = append(dst, r.at(i))
	}
	if r.closed {
		return dst, lost, nil
	}
	return dst, lost, r.news
}

// follow counts those who may wait.
func (r *ring) follow(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.followers += n
}
