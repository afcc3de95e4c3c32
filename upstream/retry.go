package upstream

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"proxycast/upstream/dialect"
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
	maxPatience  = 2 * time.Second  // that a provider may ask for while another target is left
	maxRetryWait = 10 * time.Second // and while none is
	firstBackoff = 250 * time.Millisecond
	maxBackoff   = 4 * time.Second
)

// plan is the order in which one request tries its targets, and how often.
type plan struct {
	targets  []target
	complete bool          // streams are held until they are complete
	at       int           // the target under way
	repeats  int           // of it
	left     int           // attempts after the one under way
	pause    time.Duration // before the next attempt
}

// plan decides how a request is tried. pin, when not empty, names the provider.
func (p *Proxy) plan(q *dialect.Request, pin, conversation string) (*plan, *Error) {
	targets, complete, err := p.route(pin, q.Model(), conversation)
	if err != nil {
		return nil, err
	}
	if q.Endpoint == dialect.CountTokens {
		if slices.ContainsFunc(targets, target.counts) {
			targets = slices.DeleteFunc(targets, func(t target) bool { return !t.counts() })
		}
	} else {
		err = targets[0].refuses(q.Endpoint)
		targets = slices.DeleteFunc(targets, func(t target) bool { return t.refuses(q.Endpoint) != nil })
	}
	if len(targets) == 0 {
		return nil, err
	}
	return &plan{targets: targets, complete: complete, left: p.retries}, nil
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

// next moves on after an attempt that failed, and sets the pause before the next one; it reports false when there is
// none. A target is repeated as long as that takes no attempt from those that were not tried yet.
func (p *plan) next(out *outcome) bool {
	v, asked := out.verdict(), out.retryAfter
	if out.rekeyed {
		asked = 0 // the other credential was not asked to wait
	}
	wait := asked
	if asked == 0 && !out.rekeyed {
		wait = backoff(p.repeats)
	}
	untried := len(p.targets) - 1 - p.at
	switch {
	case p.left == 0 || v == hopeless:
		return false
	case v == again && p.left > untried && p.patient(asked), v == onward && untried == 0:
		p.repeats++
		p.pause = wait
	case untried > 0:
		p.at++
		p.repeats, p.pause = 0, 0
	default:
		return false
	}
	p.left--
	return true
}

// patient reports whether it is better to wait, as a provider asks, than to go to another target.
func (p *plan) patient(asked time.Duration) bool {
	return asked <= maxPatience || p.at == len(p.targets)-1 && asked <= maxRetryWait
}

// verdict tells what a failed attempt means for the next one. After a limit of time the same target is not asked again.
func (o *outcome) verdict() verdict {
	switch {
	case o.rekeyed:
		return again // with the other credential
	case o.account:
		return elsewhere
	case o.status != 0:
		v := judge(o.status, o.problem)
		if o.refrain {
			v = min(v, elsewhere)
		}
		return v
	case o.Err.Status == statusClientGone:
		return hopeless
	case o.Err.Code == codeTimeout, o.Err.Code == codeBusy, o.Err.Code == codeInvalid, o.Err.Code == codeNoAnswer:
		return elsewhere
	case !o.FirstContent.IsZero():
		return onward
	}
	return again
}

// judge tells what an error status means for the next attempt. problem is the provider's error.
func judge(status int, problem []byte) verdict {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout, statusOverloaded:
		return again
	case http.StatusUnauthorized, http.StatusNotFound:
		return elsewhere // the credential, or the model, is this target's own
	}
	if status < 400 || status >= 500 || (status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge) && isTooLong(problem) {
		return elsewhere
	}
	return hopeless
}

// statusOverloaded is Anthropic's own.
const statusOverloaded = 529

// backoff returns the time before repeat n (from 0), with full jitter.
func backoff(n int) time.Duration {
	most := min(firstBackoff<<min(n, 10), maxBackoff)
	return rand.N(most)
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
