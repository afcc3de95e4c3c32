package server

import (
	"sync"
	"time"

	"proxycast/logs"
)

// How many refusals of requests without a valid key are recorded one by one. Whoever has no key must not flush the log.
const (
	refusalBurst = 1000
	refusalEvery = 100 * time.Millisecond // beyond the burst
	refusalSum   = time.Second            // what is more is one record a second
)

// refusals admits the records of refused requests, and sums up those that are too many.
type refusals struct {
	mu      sync.Mutex
	spent   int       // of the burst
	refined time.Time // until when spent was worked off
	sum     logs.Record
	flush   *time.Timer // of sum; nil: there is none
}

// take has rec recorded by add, alone or as part of a sum: that shows the first of its requests, without what only
// that one asked for.
func (f *refusals) take(rec *logs.Record, add func(*logs.Record)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if n := int(now.Sub(f.refined) / refusalEvery); n > 0 {
		f.spent = max(0, f.spent-n)
		f.refined = now
	}
	if f.spent < refusalBurst {
		f.spent++
		add(rec)
		return
	}
	if f.sum.Count == 0 {
		f.sum = *rec
		f.sum.Path, f.sum.Model, f.sum.Client, f.sum.Error = "", "", "", "requests without a valid key, added up"
		f.flush = time.AfterFunc(refusalSum, func() { f.end(add) })
	}
	f.sum.Count++
}

// end has the sum recorded, if there is one.
func (f *refusals) end(add func(*logs.Record)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sum.Count == 0 {
		return
	}
	f.flush.Stop()
	add(&f.sum)
	f.sum = logs.Record{}
}
