package auth

// The limits of a key: how much it may use at a time and in a minute.

import (
	"fmt"
	"sync"
	"time"
)

// LimitError says which limit refused a request, of several the one that lasts
// longest.
type LimitError struct {
	Key        string        // its name
	Limit      string        // as in the config: "requests_per_minute", "tokens_per_minute" or "concurrency"
	Max        int64         // its value
	RetryAfter time.Duration // until it admits a request again, above 0; an estimate for concurrency
}

func (e *LimitError) Error() string {
	seconds := (e.RetryAfter-1)/time.Second + 1
	return fmt.Sprintf("%v: key %q has a %s of %d; retry in %d s", ErrLimit, e.Key, e.Limit, e.Max, seconds)
}

func (e *LimitError) Unwrap() error { return ErrLimit }

// Quota is what a key may still use of its limits per minute.
type Quota struct {
	Requests, Tokens Allowance
}

// Allowance is the state of one limit per minute, as rate-limit headers tell it.
type Allowance struct {
	Limit     int64         // 0: there is no limit, and the rest means nothing
	Remaining int64         // at least 0
	Reset     time.Duration // until Limit remains, if nothing more is used
}

// limits are those of a KeyConfig; 0 is no limit.
type limits struct {
	requests, tokens int64 // per minute
	concurrency      int
}

// concurrencyRetry is when to ask again for a place. Nobody knows when a request
// will end.
const concurrencyRetry = time.Second

// usage is what the requests of one key have used of its limits. The keys of one
// name before and after a reload share it, and the limits of the newest that was
// used are in force for all of them.
type usage struct {
	mu               sync.Mutex
	generation       int // of the key whose limits are in force
	concurrency      int
	open             int // requests under way
	requests, tokens bucket
}

// advance brings u to the present, and the limits of the key of generation into
// force if no newer ones are. It needs the lock, so that time never goes back.
func (u *usage) advance(l limits, generation int) {
	now := time.Now()
	u.requests.advance(now)
	u.tokens.advance(now)
	if generation > u.generation {
		u.generation, u.concurrency = generation, l.concurrency
		u.requests.resize(l.requests)
		u.tokens.resize(l.tokens)
	}
}

// Begin admits one request, before its body is read: what a key may not do now must
// not cost memory. It takes one of the requests per minute and a place among the
// concurrent ones; with an error it takes nothing. Tokens are known only at the end:
// while one remains, any request may begin. The error is ErrExpired or a *LimitError.
//
// done, which is never nil, returns the place and takes the tokens that the request
// used, even below none. It is to be called when the request has ended, whatever its
// end; only its first call counts. It is safe for concurrent use.
func (k *Key) Begin() (done func(tokens int64), err error) {
	done = func(int64) {}
	if err := k.expiry(); err != nil {
		return done, err
	}
	if k.limits == (limits{}) {
		return done, nil
	}
	u := k.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	u.advance(k.limits, k.generation)

	e := LimitError{Key: k.Name} // of the limit that lasts longest
	refuse := func(limit string, value int64, wait time.Duration) {
		if wait > e.RetryAfter {
			e.Limit, e.Max, e.RetryAfter = limit, value, wait
		}
	}
	refuse("requests_per_minute", u.requests.limit, u.requests.until(1))
	refuse("tokens_per_minute", u.tokens.limit, u.tokens.until(1))
	if u.concurrency > 0 && u.open >= u.concurrency {
		refuse("concurrency", int64(u.concurrency), concurrencyRetry)
	}
	if e.RetryAfter > 0 {
		refused := e // or each request would allocate one
		return done, &refused
	}

	u.requests.take(1)
	u.open++
	ended := false
	return func(tokens int64) {
		u.mu.Lock()
		defer u.mu.Unlock()
		if ended {
			return
		}
		ended = true
		u.open--
		u.tokens.advance(time.Now())
		u.tokens.take(tokens)
	}, nil
}

// Quota is what the key may still use of its limits per minute. limited: there are
// such limits.
func (k *Key) Quota() (q Quota, limited bool) {
	if k.limits == (limits{}) {
		return Quota{}, false
	}
	u := k.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	u.advance(k.limits, k.generation)
	q = Quota{Requests: u.requests.allowance(), Tokens: u.tokens.allowance()}
	return q, q != Quota{}
}

func (b *bucket) allowance() Allowance {
	return Allowance{Limit: b.limit, Remaining: b.remaining(), Reset: b.until(b.limit)}
}
