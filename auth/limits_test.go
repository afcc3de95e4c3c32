package auth_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"proxycast/auth"
)

// limitedKey is the key "ci" with the limits of c, in a set that replaces prev.
func limitedKey(t testing.TB, prev *auth.Keys, c auth.KeyConfig) (*auth.Key, *auth.Keys) {
	t.Helper()
	c.Name, c.Key = "ci", ciKey
	k, err := auth.New(auth.Config{Enabled: true, Keys: []auth.KeyConfig{c}}, prev)
	if err != nil {
		t.Fatal(err)
	}
	key, err := k.Check(header("x-api-key", ciKey))
	if err != nil {
		t.Fatal(err)
	}
	return key, k
}

// admitted begins a request that is to be admitted.
func admitted(t *testing.T, key *auth.Key) (done func(tokens int64)) {
	t.Helper()
	done, err := key.Begin()
	if err != nil {
		t.Error(err)
	}
	return done
}

// refused begins a request that limit is to refuse for retryAfter. Its done is
// called, which must give nothing back.
func refused(t *testing.T, key *auth.Key, limit string, retryAfter time.Duration) {
	t.Helper()
	done, err := key.Begin()
	done(1_000_000)
	var e *auth.LimitError
	if !errors.Is(err, auth.ErrLimit) || !errors.As(err, &e) {
		t.Errorf("error %v, want %v", err, auth.ErrLimit)
	} else if e.Key != "ci" || e.Limit != limit || e.RetryAfter != retryAfter {
		t.Errorf("%+v, want %s and %v", e, limit, retryAfter)
	}
}

func allowance(limit, remaining int64, reset time.Duration) auth.Allowance {
	return auth.Allowance{Limit: limit, Remaining: remaining, Reset: reset}
}

func wantQuota(t *testing.T, key *auth.Key, requests, tokens auth.Allowance) {
	t.Helper()
	q, limited := key.Quota()
	want := auth.Quota{Requests: requests, Tokens: tokens}
	if q != want || limited != (want != auth.Quota{}) {
		t.Errorf("quota %+v, %v; want %+v", q, limited, want)
	}
}

var noLimit auth.Allowance

func TestRequestsPerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, _ := limitedKey(t, nil, auth.KeyConfig{RequestsPerMinute: 3})
		wantQuota(t, key, allowance(3, 3, 0), noLimit)
		admitted(t, key)(500)
		wantQuota(t, key, allowance(3, 2, 20*time.Second), noLimit)
		admitted(t, key)
		admitted(t, key)
		refused(t, key, "requests_per_minute", 20*time.Second)
		wantQuota(t, key, allowance(3, 0, time.Minute), noLimit)

		time.Sleep(20*time.Second - time.Nanosecond)
		refused(t, key, "requests_per_minute", time.Nanosecond)
		time.Sleep(time.Nanosecond)
		admitted(t, key)
		refused(t, key, "requests_per_minute", 20*time.Second)

		time.Sleep(30 * time.Second)
		wantQuota(t, key, allowance(3, 1, 30*time.Second), noLimit)

		// A rest fills the bucket and no more.
		time.Sleep(1000 * time.Hour)
		for range 3 {
			admitted(t, key)
		}
		refused(t, key, "requests_per_minute", 20*time.Second)
	})
}

func TestTokensPerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, _ := limitedKey(t, nil, auth.KeyConfig{TokensPerMinute: 600})
		wantQuota(t, key, noLimit, allowance(600, 600, 0))
		first, second := admitted(t, key), admitted(t, key)
		first(599)
		wantQuota(t, key, noLimit, allowance(600, 1, 59900*time.Millisecond))
		first(599)
		third := admitted(t, key)
		second(1)
		refused(t, key, "tokens_per_minute", 100*time.Millisecond)

		// What a request used beyond the limit is a debt.
		third(1200)
		wantQuota(t, key, noLimit, allowance(600, 0, 3*time.Minute))
		refused(t, key, "tokens_per_minute", 2*time.Minute+100*time.Millisecond)
		time.Sleep(2*time.Minute + 100*time.Millisecond - time.Nanosecond)
		refused(t, key, "tokens_per_minute", time.Nanosecond)
		time.Sleep(time.Nanosecond)

		// Time before the tokens were taken pays for nothing.
		fourth := admitted(t, key)
		time.Sleep(time.Hour)
		fourth(600)
		refused(t, key, "tokens_per_minute", 100*time.Millisecond)
		time.Sleep(time.Minute)
		admitted(t, key)(-5)
		wantQuota(t, key, noLimit, allowance(600, 600, 0))
	})
}

func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, _ := limitedKey(t, nil, auth.KeyConfig{Concurrency: 2})
		wantQuota(t, key, noLimit, noLimit)
		first := admitted(t, key)
		admitted(t, key)
		refused(t, key, "concurrency", time.Second)
		first(1)
		first(1)
		admitted(t, key)
		refused(t, key, "concurrency", time.Second)
	})
}

// TestRefusalTakesNothing shows that a request which one limit refuses costs
// nothing of the others, and that the refusal tells the longest wait.
func TestRefusalTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, _ := limitedKey(t, nil, auth.KeyConfig{
			RequestsPerMinute: 60, TokensPerMinute: 60, Concurrency: 1,
		})
		done := admitted(t, key)
		refused(t, key, "concurrency", time.Second)
		wantQuota(t, key, allowance(60, 59, time.Second), allowance(60, 60, 0))

		done(120)
		refused(t, key, "tokens_per_minute", 61*time.Second)
		wantQuota(t, key, allowance(60, 59, time.Second), allowance(60, 0, 2*time.Minute))
		time.Sleep(61 * time.Second)
		for range 60 {
			admitted(t, key)(0)
		}
		refused(t, key, "requests_per_minute", time.Second)
	})
}

func TestLimitErrorText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, _ := limitedKey(t, nil, auth.KeyConfig{RequestsPerMinute: 1})
		admitted(t, key)
		time.Sleep(time.Nanosecond)
		_, err := key.Begin()
		const want = `auth: limit is used up: key "ci" has a requests_per_minute of 1; retry in 60 s`
		if err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	})
}

func TestLargeNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, _ := limitedKey(t, nil, auth.KeyConfig{TokensPerMinute: math.MaxInt64})
		done := admitted(t, key)
		done(math.MaxInt64)
		refused(t, key, "tokens_per_minute", time.Nanosecond)
		time.Sleep(30 * time.Second)
		wantQuota(t, key, noLimit, allowance(math.MaxInt64, math.MaxInt64/2, 30*time.Second))
		time.Sleep(time.Hour)
		wantQuota(t, key, noLimit, allowance(math.MaxInt64, math.MaxInt64, 0))

		key, _ = limitedKey(t, nil, auth.KeyConfig{TokensPerMinute: 1})
		first, second := admitted(t, key), admitted(t, key)
		first(math.MaxInt64)
		second(math.MaxInt64)
		refused(t, key, "tokens_per_minute", math.MaxInt64)
	})
}

// TestLimitsExactAtOnce shows that of many simultaneous clients exactly as many
// are admitted as the limit says.
func TestLimitsExactAtOnce(t *testing.T) {
	const clients = 64
	f := func(c auth.KeyConfig, limit int, wait time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			key, _ := limitedKey(t, nil, c)
			for round := range 3 {
				var group sync.WaitGroup
				var count atomic.Int64
				ends := make(chan func(int64), clients)
				for range clients {
					group.Go(func() {
						done, err := key.Begin()
						if err == nil {
							count.Add(1)
						}
						key.Quota()
						ends <- done
					})
				}
				group.Wait()
				if count.Load() != int64(limit) {
					t.Errorf("%+v, round %d: %d admitted, want %d", c, round, count.Load(), limit)
				}
				close(ends)
				for done := range ends {
					for range 2 {
						group.Go(func() { done(1) })
					}
				}
				group.Wait()
				if q, _ := key.Quota(); c.TokensPerMinute > 0 && q.Tokens.Remaining != q.Tokens.Limit-int64(limit) {
					t.Errorf("%+v: %d tokens remain after %d were used", c, q.Tokens.Remaining, limit)
				}
				time.Sleep(wait)
			}
		})
	}
	f(auth.KeyConfig{RequestsPerMinute: 17}, 17, time.Minute)
	f(auth.KeyConfig{Concurrency: 5}, 5, 0)
	f(auth.KeyConfig{RequestsPerMinute: 40, TokensPerMinute: 100, Concurrency: 23}, 23, time.Minute)
}

// TestRequestsInAnyWindow holds random schedules against the contract: in any
// window of t, at most N + N*t/minute requests are admitted, and a refused one is
// admitted after RetryAfter, not sooner.
func TestRequestsInAnyWindow(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 100 {
		limit := 1 + random.IntN(1<<random.IntN(8))
		step := time.Minute * time.Duration(1+random.IntN(4)) / time.Duration(limit)
		synctest.Test(t, func(t *testing.T) {
			key, _ := limitedKey(t, nil, auth.KeyConfig{RequestsPerMinute: limit})
			var times []time.Time
			begin := func() error {
				_, err := key.Begin()
				if err == nil {
					times = append(times, time.Now())
				}
				return err
			}
			for range 200 {
				switch random.IntN(4) {
				case 0:
					time.Sleep(time.Duration(random.Int64N(int64(step))))
				case 1:
					time.Sleep(time.Duration(random.IntN(1000)))
				}
				var e *auth.LimitError
				if err := begin(); !errors.As(err, &e) || random.IntN(2) == 0 {
					continue
				}
				time.Sleep(e.RetryAfter - time.Nanosecond)
				if begin() == nil {
					t.Errorf("seed %d, limit %d: admitted before %v", seed, limit, e.RetryAfter)
				}
				time.Sleep(time.Nanosecond)
				if err := begin(); err != nil {
					t.Errorf("seed %d, limit %d: refused after %v: %v", seed, limit, e.RetryAfter, err)
				}
			}
			for i := range times {
				for j := range times[i:] {
					window := times[i+j].Sub(times[i])
					if time.Duration(j+1-limit)*time.Minute > time.Duration(limit)*window {
						t.Fatalf("seed %d, limit %d: %d admitted in %v", seed, limit, j+1, window)
					}
				}
			}
		})
	}
}

func TestLimitsSurviveReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		both := auth.KeyConfig{RequestsPerMinute: 60, TokensPerMinute: 600, Concurrency: 4}
		before, keys := limitedKey(t, nil, both)
		long := admitted(t, before)
		for range 3 {
			admitted(t, before)
		}

		// A set that is built and never used changes nothing.
		limitedKey(t, keys, auth.KeyConfig{RequestsPerMinute: 1})
		wantQuota(t, before, allowance(60, 56, 4*time.Second), allowance(600, 600, 0))

		key, keys := limitedKey(t, keys, both)
		wantQuota(t, key, allowance(60, 56, 4*time.Second), allowance(600, 600, 0))
		refused(t, key, "concurrency", time.Second)
		long(601)
		wantQuota(t, key, allowance(60, 56, 4*time.Second), allowance(600, 0, 60100*time.Millisecond))
		refused(t, key, "tokens_per_minute", 200*time.Millisecond)
		time.Sleep(time.Hour)

		// The place came back; the other three are still taken.
		last := admitted(t, key)
		refused(t, key, "concurrency", time.Second)
		last(0)

		// A request that began before the reload may come to its key after it.
		higher, keys := limitedKey(t, keys, auth.KeyConfig{RequestsPerMinute: 120, TokensPerMinute: 1200, Concurrency: 5})
		wantQuota(t, higher, allowance(120, 119, 500*time.Millisecond), allowance(1200, 1200, 0))
		late := admitted(t, before)
		wantQuota(t, before, allowance(120, 118, time.Second), allowance(1200, 1200, 0))
		admitted(t, higher)
		refused(t, higher, "concurrency", time.Second)
		late(1100)
		wantQuota(t, higher, allowance(120, 117, 1500*time.Millisecond), allowance(1200, 100, 55*time.Second))

		// A lower limit counts at most the whole of it as used.
		lower, keys := limitedKey(t, keys, auth.KeyConfig{RequestsPerMinute: 2, TokensPerMinute: 60})
		wantQuota(t, lower, allowance(2, 0, time.Minute), allowance(60, 0, time.Minute))
		refused(t, lower, "requests_per_minute", 30*time.Second)

		// A limit that was taken away starts anew, and so does a key.
		one, keys := limitedKey(t, keys, auth.KeyConfig{RequestsPerMinute: 2})
		wantQuota(t, one, allowance(2, 0, time.Minute), noLimit)
		time.Sleep(time.Minute)
		admitted(t, one)(50)
		late = admitted(t, one)
		again, keys := limitedKey(t, keys, auth.KeyConfig{RequestsPerMinute: 2, TokensPerMinute: 60})
		wantQuota(t, again, allowance(2, 0, time.Minute), allowance(60, 60, 0))
		late(6)
		wantQuota(t, again, allowance(2, 0, time.Minute), allowance(60, 54, 6*time.Second))

		none, err := auth.New(auth.Config{Enabled: true}, keys)
		if err != nil {
			t.Fatal(err)
		}
		anew, _ := limitedKey(t, none, auth.KeyConfig{RequestsPerMinute: 2, Concurrency: 1})
		wantQuota(t, anew, allowance(2, 2, 0), noLimit)
		admitted(t, anew)
	})
}

// TestLimitsComeAndGo shows a key that has limits only at times.
func TestLimitsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free, keys := limitedKey(t, nil, auth.KeyConfig{})
		early := admitted(t, free)
		wantQuota(t, free, noLimit, noLimit)
		key, keys := limitedKey(t, keys, auth.KeyConfig{Concurrency: 1})
		early(5)
		done := admitted(t, key)
		refused(t, key, "concurrency", time.Second)
		free, keys = limitedKey(t, keys, auth.KeyConfig{})
		for range 100 {
			admitted(t, free)
		}
		key, _ = limitedKey(t, keys, auth.KeyConfig{Concurrency: 1})
		refused(t, key, "concurrency", time.Second)
		done(5)
		admitted(t, key)
	})
}

// TestLimitsOfAFormerAdminKey gives limits to the name that the generated key had.
func TestLimitsOfAFormerAdminKey(t *testing.T) {
	generated := newAdmin(t, filepath.Join(t.TempDir(), "admin.key"))
	k, err := auth.New(auth.Config{Enabled: true, Keys: []auth.KeyConfig{{Name: "admin", Key: ciKey, Concurrency: 1}}}, generated)
	if err != nil {
		t.Fatal(err)
	}
	key, err := k.Check(header("x-api-key", ciKey))
	if err != nil {
		t.Fatal(err)
	}
	admitted(t, key)
	if _, err := key.Begin(); !errors.Is(err, auth.ErrLimit) {
		t.Errorf("error %v, want %v", err, auth.ErrLimit)
	}
}

// TestLimitsDuringReload begins and ends requests while the set is replaced.
func TestLimitsDuringReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := auth.KeyConfig{RequestsPerMinute: 100_000, TokensPerMinute: 100_000, Concurrency: 40}
		key, keys := limitedKey(t, nil, c)
		var current atomic.Pointer[auth.Key]
		current.Store(key)
		var group sync.WaitGroup
		var count, open atomic.Int64
		for range 64 {
			group.Go(func() {
				for range 100 {
					done, err := current.Load().Begin()
					if err != nil {
						continue
					}
					count.Add(1)
					if n := open.Add(1); n > 40 {
						t.Errorf("%d at a time", n)
					}
					open.Add(-1)
					done(2)
				}
			})
		}
		for range 50 {
			key, keys = limitedKey(t, keys, c)
			current.Store(key)
		}
		group.Wait()
		q, _ := key.Quota()
		if q.Requests.Remaining != 100_000-count.Load() || q.Tokens.Remaining != 100_000-2*count.Load() {
			t.Errorf("%+v after %d requests", q, count.Load())
		}
		for range 40 {
			admitted(t, key)
		}
		refused(t, key, "concurrency", time.Second)
	})
}

func BenchmarkBeginLimited(b *testing.B) {
	key, _ := limitedKey(b, nil, auth.KeyConfig{RequestsPerMinute: 1 << 30, TokensPerMinute: 1 << 40, Concurrency: 1000})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			done, err := key.Begin()
			if err != nil {
				b.Error(err)
			}
			done(100)
		}
	})
}
