package upstream

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"proxycast/upstream/dialect"
)

// attempt is one call of one target.
type attempt struct {
	target
	proxy    *Proxy
	client   *http.Request
	request  *dialect.Request
	speaks   dialect.Endpoint // what the client speaks
	takes    dialect.Endpoint // what the provider takes
	body     *Body
	release  func() // gives up Relay's hold on body
	ctx      context.Context
	cancel   context.CancelCauseFunc
	deadline *deadline
	key      int  // index of the credential, -1: none
	metered  bool // include_usage was added: its event is removed again
	hold     bool // another attempt is possible: nothing passes before content does
	complete bool // nothing passes before the stream is complete, if hold

	entered   bool           // it has a place at the provider
	asked     time.Time      // then
	response  *http.Response // nil: err tells why
	err       *Error
	problem   []byte // the body of an error status, as JSON; nil: it was none
	reply     *reply // of a success status
	blameless bool   // it failed by a limit of ours, which says nothing about the target
	ended     bool
}

func (p *Proxy) newAttempt(plan *plan, client *http.Request, q *dialect.Request, body *Body, release func()) *attempt {
	t := plan.target()
	a := &attempt{target: t, proxy: p, client: client, request: q, speaks: q.Endpoint, takes: q.Endpoint, body: body, release: release, hold: plan.left > 0, complete: plan.complete}
	a.ctx, a.cancel = context.WithCancelCause(client.Context())
	a.deadline = newDeadline(t.provider.config.Name, t.provider.config.Timeouts, a.cancel)
	a.metered = a.takes == dialect.ChatCompletions && q.Stream && !q.HasStreamOptions() && t.provider.config.StreamUsage
	a.key = t.provider.keys.pick(a.deadline.start)
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
		a.reply.freeHeld()
	}
	a.deadline.stop()
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
	case a.blameless, a.client.Context().Err() != nil, failure.Status == statusClientGone,
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
		a.deadline.by("headers", a.deadline.start, timeouts.Headers)
	} else {
		a.deadline.by("total", a.deadline.start, timeouts.Total)
	}
	full, err := a.provider.gate.enter(a.ctx)
	if full {
		a.blameless = true
		a.err = &Error{
			Status: http.StatusServiceUnavailable, Code: codeBusy,
			Message: fmt.Sprintf("provider %q has as many calls under way and waiting as its max_concurrency allows", a.provider.config.Name),
		}
		return
	}
	if err != nil {
		a.blameless = true
		a.err = a.failure(err)
		return
	}
	a.entered = true
	a.asked = time.Now()
	if a.request.Stream { // the time in the queue was not the provider's
		a.deadline.by("headers", a.asked, a.provider.config.Timeouts.Headers)
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
		URL:           a.provider.url(a.takes.Path(), a.client.URL.RawQuery),
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

// maxProblem is how much of a provider's error is read and passed on.
const maxProblem = 1 << 20

// receive takes the attempt's outcome. done: it was passed on to the client, or it
// is too late for another attempt; rep is complete. Otherwise the attempt has
// failed and nothing of it was passed on: verdict and wait (the time that the
// provider asked for) say how to go on, and giveUp passes it on after all.
func (a *attempt) receive(w http.ResponseWriter, rep *Report) (v verdict, wait time.Duration, done bool) {
	if a.err != nil {
		return verdictOn(a.err), 0, false
	}
	header, status, now := a.response.Header, a.response.StatusCode, time.Now()
	rep.UpstreamID = header.Get("X-Request-Id")
	if rep.UpstreamID == "" {
		rep.UpstreamID = header.Get("Request-Id")
	}
	rep.UpstreamID = a.provider.scrub(rep.UpstreamID)
	wait = retryAfter(status, header, now)
	another := a.provider.keys.answered(a.key, status, wait, now)
	a.blameless = another // that key was refused, not the target
	switch {
	case status == http.StatusUnauthorized:
		a.err = &Error{
			Status: http.StatusBadGateway, Code: "provider_credential",
			Message: fmt.Sprintf("provider %q rejected the gateway's credential; its api_key in the gateway's config needs a look", a.provider.config.Name),
		}
	case status >= 400:
		a.readProblem()
	case status < 200 || status >= 300:
		a.err = &Error{
			Status: http.StatusBadGateway, Code: "provider_redirect",
			Message: fmt.Sprintf("provider %q answered with status %d, which the gateway does not follow; its base_url needs a look", a.provider.config.Name, status),
		}
	default:
		return a.pass(w, rep)
	}
	switch {
	case a.ctx.Err() != nil: // while the error was read
		return verdictOn(a.err), 0, false
	case another && status != http.StatusForbidden:
		return again, atOnce, false // with the other key
	}
	return judge(status, a.problem), wait, false
}

// readProblem reads the body of an error status.
func (a *attempt) readProblem() {
	a.deadline.by("idle", time.Now(), a.provider.config.Timeouts.Idle)
	status := a.response.StatusCode
	if status == statusClientGone { // which means something else here
		status = http.StatusBadGateway
	}
	a.err = &Error{
		Status: status, Code: "provider_error",
		Message: fmt.Sprintf("provider %q answered with status %d", a.provider.config.Name, status),
	}
	body, err := readUnpacked(a.response)
	if err != nil && a.ctx.Err() != nil {
		a.err = a.failure(err)
		return
	}
	if err != nil || !isJSONObject(body) {
		return
	}
	a.problem = body
	sniffer := dialect.NewSniffer(a.takes, false)
	sniffer.Write(body)
	a.err.Code = a.provider.word(sniffer.ErrorType(), a.err.Code)
}

// readUnpacked reads a whole error body, unpacked.
func readUnpacked(res *http.Response) ([]byte, error) {
	var src io.Reader = res.Body
	switch strings.ToLower(res.Header.Get("Content-Encoding")) {
	case "", "identity":
	case "gzip":
		unzipped, err := gzip.NewReader(src)
		if err != nil {
			return nil, err
		}
		src = unzipped
	default:
		return nil, errors.New("upstream: an error in an unknown content encoding")
	}
	body, err := io.ReadAll(io.LimitReader(src, maxProblem+1))
	if err == nil && len(body) > maxProblem {
		err = errors.New("upstream: an error larger than 1 MiB")
	}
	return body, err
}

func isJSONObject(body []byte) bool {
	body = bytes.TrimLeft(body, " \t\r\n")
	return len(body) > 0 && body[0] == '{' && json.Valid(body)
}

// pass sends a reply of a success status to the client.
func (a *attempt) pass(w http.ResponseWriter, rep *Report) (v verdict, wait time.Duration, done bool) {
	p := newReply(a, w, rep)
	if !rep.Stream && rep.Status != 0 { // the client already reads a stream
		a.err = &Error{
			Status: http.StatusBadGateway, Code: codeInvalid,
			Message: fmt.Sprintf("provider %q answered with something that is not a stream", a.provider.config.Name),
		}
		return again, 0, false
	}
	a.reply = p
	defer p.stopKeepalive()
	err := p.copy()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.committed {
		if a.err = p.failedHeld(err); a.err != nil {
			if v = verdictOn(a.err); v == again && !rep.FirstContent.IsZero() {
				v = onward
			}
			return v, 0, false
		}
		if err = p.commit(); err != nil {
			err = errToClient{err}
		}
	}
	p.end(err)
	return 0, 0, true
}
