package auth

// A token bucket in whole numbers: what refills in a nanosecond is exact, so it
// neither gains nor loses however often it is looked at.

import (
	"math"
	"math/bits"
	"time"
)

const minute = uint64(time.Minute)

// bucket holds limit units when full and refills limit of them in a minute,
// steadily. It counts what is missing, so that a new limit finds it right.
type bucket struct {
	limit int64     // 0: the bucket counts nothing and has always enough
	used  int64     // missing units; above limit they are a debt
	part  uint64    // of one of used, the refilled part, in 1/minute; 0 when used is 0
	at    time.Time // what has refilled until then is counted
}

// advance counts what has refilled until now.
func (b *bucket) advance(now time.Time) {
	elapsed := now.Sub(b.at)
	if elapsed <= 0 {
		return
	}
	b.at = now
	refilled, part := mulDiv(uint64(elapsed), uint64(b.limit), b.part, minute)
	if refilled < uint64(b.used) {
		b.used, b.part = b.used-int64(refilled), part
	} else {
		b.used, b.part = 0, 0
	}
}

// resize changes the limit. What was used stays so, up to the new limit: nobody
// waits at a low one for what a high one had allowed.
func (b *bucket) resize(limit int64) {
	b.limit = limit
	if b.used >= limit {
		b.used, b.part = limit, 0
	}
}

// take takes n units, whether they are there or not. Below 0 it takes none.
func (b *bucket) take(n int64) {
	if b.limit > 0 {
		b.used += min(max(n, 0), math.MaxInt64-b.used)
	}
}

// remaining is the number of whole units that are there.
func (b *bucket) remaining() int64 {
	return max(b.limit-b.used, 0)
}

// until is the time until n units are there, n from 0 to limit.
func (b *bucket) until(n int64) time.Duration {
	missing := b.used - (b.limit - n)
	if b.limit == 0 || missing <= 0 {
		return 0
	}
	// (missing*minute - part) / limit, rounded up.
	wait, _ := mulDiv(uint64(missing-1), minute, minute-b.part+uint64(b.limit-1), uint64(b.limit))
	return time.Duration(wait)
}

// mulDiv divides a*b+c by d. A quotient above math.MaxInt64 becomes that.
func mulDiv(a, b, c, d uint64) (quotient, rest uint64) {
	high, low := bits.Mul64(a, b)
	low, carry := bits.Add64(low, c, 0)
	high += carry
	if high >= d {
		return math.MaxInt64, 0
	}
	quotient, rest = bits.Div64(high, low, d)
	return min(quotient, math.MaxInt64), rest
}
