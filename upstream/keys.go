package upstream

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// How long a credential rests that a provider refuses, and one that has reached a
// limit without a word on when it ends.
const (
	refusedRest = 10 * time.Minute
	limitedRest = 30 * time.Second
	longestRest = time.Hour // whatever a provider asks for
)

// credentials are the keys of one provider, used in turn, or each for its conversations. One that was refused or
// has reached its limit rests, unless it is the only one.
type credentials struct {
	keys []string
	turn atomic.Uint32
	mu   sync.Mutex
	rest []time.Time // until when, by index
}

func newCredentials(keys []string) *credentials {
	return &credentials{keys: keys, rest: make([]time.Time, len(keys))}
}

// pick returns the index of the key to use now, -1 without keys: that of the conversation, or in turn where it is "".
func (c *credentials) pick(now time.Time, conversation string) int {
	switch len(c.keys) {
	case 0:
		return -1
	case 1:
		return 0
	}
	first := int((c.turn.Add(1) - 1) % uint32(len(c.keys)))
	c.mu.Lock()
	defer c.mu.Unlock()
	best, most := -1, 0.0
	for i := range c.keys {
		at := (first + i) % len(c.keys)
		if now.Before(c.rest[at]) {
			continue
		}
		if conversation == "" {
			return at
		}
		if r := rank(conversation, c.keys[at], 1); best < 0 || r > most {
			best, most = at, r
		}
	}
	if best < 0 { // all rest
		return first
	}
	return best
}

// answered notes the status of an answer to key i, and whether it is about the account. It reports whether the key
// rests now and another one does not: the same target is worth another try.
func (c *credentials) answered(i, status int, account bool, after time.Duration, now time.Time) (another bool) {
	if len(c.keys) < 2 {
		return false
	}
	switch {
	case account, status == http.StatusUnauthorized, status == http.StatusForbidden:
		after = refusedRest
	case status == http.StatusTooManyRequests:
		if after == 0 {
			after = limitedRest
		}
	default:
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest[i] = now.Add(min(after, longestRest))
	for _, until := range c.rest {
		if !now.Before(until) {
			return true
		}
	}
	return false
}
