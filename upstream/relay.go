package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"proxycast/upstream/dialect"
)

// Report is what became of one relayed request.
type Report struct {
	Provider     string    // the one that answered, or the last one tried
	Model        string    // as sent to it
	Status       int       // what the client was sent; 0: nothing was sent, and Err tells what it should get
	Stream       bool      // the reply was an event stream
	Attempts     int       // calls of providers
	FirstContent time.Time // zero: no content came
	Usage        dialect.Usage
	FinishReason string
	Malformed    int // events that were passed on although they are not valid JSON
	UpstreamID   string
	Err          *Error // nil: the call succeeded
	Aborted      bool   // the reply was begun and cannot be completed: the connection must be broken
}

// Relay sends the request q, whose bytes are body, to a provider that serves its
// model and passes the reply to w as it comes. Until content has been passed on, a
// failed attempt leads to another one, as far as the config allows. pin, when not
// empty, names the provider. r gives the header, the query and the context, whose
// end cancels the provider's call; a cause of type *Error is told to the client.
// Relay releases body.
//
// When Report.Status is 0, w may have headers of the provider's reply
// (retry-after, rate limits) but nothing was written.
func (p *Proxy) Relay(w http.ResponseWriter, r *http.Request, q *dialect.Request, body *Body, pin string) (rep Report) {
	held := true
	release := func() {
		if held {
			held = false
			body.Release()
		}
	}
	defer release()
	plan, err := p.plan(q, pin)
	if err != nil {
		rep.Err = err
		return rep
	}
	if q.Endpoint == dialect.CountTokens && !plan.target().counts() {
		return estimateTokens(w, plan.target(), body)
	}
	for {
		plan.passOver(p.health, time.Now())
		a := p.newAttempt(plan, r, q, body, release)
		defer a.end(&rep) // what was taken is given back, whatever happens
		// The status stays: a keepalive may have begun the reply.
		rep = Report{Provider: a.provider.config.Name, Model: a.model, Attempts: rep.Attempts + 1, Status: rep.Status}
		a.send()
		verdict, wait, done := a.receive(w, &rep)
		if !done {
			if wait == 0 && verdict >= onward {
				wait = backoff(plan.repeats)
			}
			if pause, another := plan.next(verdict, wait); another {
				a.end(&rep)
				if sleep(r.Context(), pause) {
					continue
				}
				a.err, a.response, a.reply = clientEnd(r.Context()), nil, nil
			}
			a.giveUp(w, &rep)
		}
		a.end(&rep)
		return rep
	}
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

// estimateTokens answers a count_tokens request whose provider cannot count.
func estimateTokens(w http.ResponseWriter, t target, body *Body) Report {
	n := dialect.EstimateTokens(body.Bytes())
	text := fmt.Sprintf("{\"input_tokens\":%d}\n", n)
	h := w.Header()
	h["X-Token-Count"] = []string{"estimate"}
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(text))}
	w.WriteHeader(http.StatusOK)
	rep := Report{Provider: t.provider.config.Name, Model: t.model, Status: http.StatusOK}
	if _, err := w.Write([]byte(text)); err != nil {
		rep.Status, rep.Err, rep.Aborted = errClientGone.Status, errClientGone, true
	}
	return rep
}

// attempt is one call of one target.
type attempt struct {
	target
	proxy    *Proxy
	client   *http.Request
	request  *dialect.Request
	body     *Body
	release  func() // gives up Relay's hold on body
	ctx      context.Context
	cancel   context.CancelCauseFunc
	limits   *limits
	key      int  // index of the credential, -1: none
	metered  bool // include_usage was added: its event is removed again
	hold     bool // another attempt is possible: nothing passes before content does
	complete bool // nothing passes before the stream is complete, if hold

	entered  bool           // it has a place at the provider
	asked    time.Time      // then
	response *http.Response // nil: err tells why
	err      *Error
	problem  []byte // the body of an error status, as JSON; nil: it was none
	reply    *reply // of a success status
	own      bool   // it failed by a limit of ours, which says nothing about the target
	ended    bool
}

func (p *Proxy) newAttempt(plan *plan, client *http.Request, q *dialect.Request, body *Body, release func()) *attempt {
	t := plan.target()
	a := &attempt{target: t, proxy: p, client: client, request: q, body: body, release: release, hold: plan.left > 0, complete: plan.complete}
	a.ctx, a.cancel = context.WithCancelCause(client.Context())
	a.limits = newLimits(t.provider.config.Name, t.provider.config.Timeouts, a.cancel)
	a.metered = q.Endpoint == dialect.ChatCompletions && q.Stream && !q.HasStreamOptions() && t.provider.config.StreamUsage
	a.key = t.provider.keys.pick(a.limits.start)
	return a
}

// end lets go of the provider's call, whatever its state, and notes what it says
// about the target. A second end does nothing.
func (a *attempt) end(rep *Report) {
	if a.ended {
		return
	}
	a.ended = true
	if a.response != nil {
		a.response.Body.Close()
	}
	if a.reply != nil {
		a.reply.letGo()
	}
	a.limits.stop()
	a.cancel(nil)
	if a.entered {
		a.provider.gate.leave()
	}
	failure := a.err
	if failure == nil {
		failure = rep.Err
	}
	switch {
	case failure == nil:
		a.proxy.health.succeeded(a.name())
	case a.own, a.client.Context().Err() != nil, failure.Status == statusClientGone,
		failure.Status == http.StatusTooManyRequests && len(a.provider.keys.keys) > 1: // that rests the key
		a.proxy.health.abstained(a.name())
	case failure.Status >= 500, failure.Status == http.StatusRequestTimeout, failure.Status == http.StatusTooManyRequests:
		a.proxy.health.failed(a.name(), a.proxy.cooldown, time.Now())
	default: // the request's fault
		a.proxy.health.succeeded(a.name())
	}
}

// send makes the call and waits for the head of the reply.
func (a *attempt) send() {
	if timeouts := a.provider.config.Timeouts; a.request.Stream {
		a.limits.by("headers", a.limits.start, timeouts.Headers)
	} else {
		a.limits.by("total", a.limits.start, timeouts.Total)
	}
	full, err := a.provider.gate.enter(a.ctx)
	if full {
		a.own = true
		a.err = &Error{
			Status: http.StatusServiceUnavailable, Code: codeBusy,
			Message: fmt.Sprintf("provider %q has as many calls under way and waiting as its max_concurrency allows", a.provider.config.Name),
		}
		return
	}
	if err != nil {
		a.own = true
		a.err = a.failure(err)
		return
	}
	a.entered = true
	a.asked = time.Now()
	if a.request.Stream { // the time in the queue was not the provider's
		a.limits.by("headers", a.asked, a.provider.config.Timeouts.Headers)
	}
	res, err := a.provider.transport.RoundTrip(a.newRequest())
	if err != nil && classify(err) == closedWhileIdle {
		res, err = a.provider.transport.RoundTrip(a.newRequest())
	}
	if err != nil {
		a.err = a.failure(err)
		return
	}
	a.response = res
}

// newRequest builds the provider's request. It has no GetBody, so that only
// Relay ever sends a request again.
func (a *attempt) newRequest() *http.Request {
	parts := a.request.Splice(a.model, a.metered)
	n := length(parts)
	header := requestHeader(a.client.Header)
	a.provider.authorize(header, a.key)
	req := &http.Request{
		Method:        http.MethodPost,
		URL:           a.provider.url(a.request.Endpoint.Path(), a.client.URL.RawQuery),
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        header,
		Body:          requestBody(a.body, parts, n),
		ContentLength: n,
		Host:          a.provider.base.Host,
	}
	return req.WithContext(a.ctx)
}

func length(parts net.Buffers) (n int64) {
	for _, part := range parts {
		n += int64(len(part))
	}
	return n
}

// failure tells why the provider's call broke off with err.
func (a *attempt) failure(err error) *Error {
	var limit *Error
	if errors.As(context.Cause(a.ctx), &limit) { // a limit of ours, or the gateway's end
		return limit
	}
	if a.client.Context().Err() != nil {
		return clientEnd(a.client.Context())
	}
	name := a.provider.config.Name
	if a.response == nil && classify(err) == connectTimeout {
		return errTimeout(name, "connect", a.provider.config.Timeouts.Connect)
	}
	return errUnreachable(name, err)
}
