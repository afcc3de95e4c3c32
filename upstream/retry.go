package upstream

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// verdict is what a failed attempt means for the next one.
type verdict uint8

const (
	hopeless  verdict = iota // nobody would answer better: the request's fault, or the client is gone
	elsewhere                // another target may, this one not
	onward                   // the same target may, but rather another one: it broke off in mid-answer
	again                    // the same target may
)

const (
	maxRetryWait = 10 * time.Second // a provider that asks for more time is passed over
	firstBackoff = 250 * time.Millisecond
	maxBackoff   = 4 * time.Second
)

// plan is the order in which one request tries its targets, and how often.
type plan struct {
	targets  []target
	complete bool // streams are held until they are complete
	at       int  // the target under way
	repeats  int  // of it
	left     int  // attempts after the one under way
}

// target returns the one under way.
func (p *plan) target() target { return p.targets[p.at] }

// passOver skips resting targets, as long as one that does not rest remains.
func (p *plan) passOver(h *health, now time.Time) {
	for i := p.at; i < len(p.targets); i++ {
		if h.claim(p.targets[i].name(), now) {
			if i != p.at {
				p.at, p.repeats = i, 0
			}
			return
		}
	}
}

// next moves on from a failed attempt and gives the time to wait before the next
// one; ok is false when there is none. A target is repeated as long as that takes
// no attempt from those that were not tried yet.
func (p *plan) next(v verdict, wait time.Duration) (pause time.Duration, ok bool) {
	untried := len(p.targets) - 1 - p.at
	switch {
	case p.left == 0 || v == hopeless:
		return 0, false
	case v == again && p.left > untried && wait <= maxRetryWait, v == onward && untried == 0:
		p.repeats++
		p.left--
		return wait, true
	case untried > 0:
		p.at++
		p.repeats = 0
		p.left--
		return 0, true
	}
	return 0, false
}

// backoff returns the time before repeat n (from 0), with full jitter.
func backoff(n int) time.Duration {
	most := min(firstBackoff<<min(n, 10), maxBackoff)
	return rand.N(most)
}

// retryAfter returns the time that a provider asks to be left alone, 0 if it does
// not say: retry-after-ms, retry-after (RFC 9110 §10.2.3, also fractions of a
// second), and on a 429 the reset of a rate limit that has nothing remaining.
func retryAfter(status int, h http.Header, now time.Time) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms > 0 {
		return time.Duration(min(ms, 1e9) * float64(time.Millisecond))
	}
	if text := h.Get("Retry-After"); text != "" {
		if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds >= 0 {
			return time.Duration(min(seconds, 1e6) * float64(time.Second))
		}
		if at, err := http.ParseTime(text); err == nil {
			return max(at.Sub(now), 0)
		}
	}
	if status != http.StatusTooManyRequests {
		return 0
	}
	var wait time.Duration
	for _, what := range []string{"requests", "tokens"} {
		if h.Get("X-Ratelimit-Remaining-"+what) == "0" {
			if d, err := time.ParseDuration(h.Get("X-Ratelimit-Reset-" + what)); err == nil {
				wait = max(wait, d)
			}
		}
		if h.Get("Anthropic-Ratelimit-"+what+"-Remaining") == "0" {
			if at, err := time.Parse(time.RFC3339, h.Get("Anthropic-Ratelimit-"+what+"-Reset")); err == nil {
				wait = max(wait, at.Sub(now))
			}
		}
	}
	return wait
}

// judge tells what an error status means for the next attempt. body is the
// provider's error.
func judge(status int, body []byte) verdict {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout, statusOverloaded:
		return again
	case http.StatusUnauthorized, http.StatusNotFound:
		return elsewhere // the credential, or the model, is this target's own
	}
	if status < 400 || status >= 500 || (status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge) && isTooLong(body) {
		return elsewhere
	}
	return hopeless
}

// statusOverloaded is Anthropic's own.
const statusOverloaded = 529

// isTooLong recognises the error of a prompt that a model has no room for:
// another model may have it.
func isTooLong(body []byte) bool {
	text := strings.ToLower(string(body[:min(len(body), 4096)]))
	for _, sign := range []string{"context_length_exceeded", "context length", "context window", "prompt is too long", "request_too_large"} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}

// sleep waits for d. It reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// atOnce is a wait that is none, but not left to the backoff.
const atOnce = time.Nanosecond

// verdictOn tells what a call without a reply means for the next attempt: a
// silent target is not asked again.
func verdictOn(e *Error) verdict {
	switch e.Code {
	case codeTimeout, codeBusy:
		return elsewhere
	case codeUnreachable, codeCut, codeInvalid:
		return again
	}
	if e.Status == statusClientGone {
		return hopeless
	}
	return again
}
