package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"proxycast/upstream/dialect"
)

// Report is what became of one relayed request.
type Report struct {
	Provider     string
	Model        string // as sent to the provider
	Status       int    // what the client was sent; 0: nothing was sent, and Err tells what it should get
	Stream       bool   // the reply was an event stream
	Attempts     int
	FirstContent time.Time // zero: no content came
	Usage        dialect.Usage
	FinishReason string
	Malformed    int // events that were passed on although they are not valid JSON
	UpstreamID   string
	Err          *Error // nil: the call succeeded
	Aborted      bool   // the reply was begun and cannot be completed: the connection must be broken
}

// Relay sends the request q, whose bytes are body, to its provider and passes
// the reply to w as it comes. pin, when not empty, names the provider. r gives
// the header, the query and the context, whose end cancels the provider's call;
// a cause of type *Error is told to the client. Relay releases body.
//
// When Report.Status is 0, w may have headers of the provider's reply
// (retry-after, rate limits) but nothing was written.
func (p *Proxy) Relay(w http.ResponseWriter, r *http.Request, q *dialect.Request, body *Body, pin string) Report {
	var rep Report
	targets, err := p.targets(q, pin)
	if err != nil {
		body.Release()
		rep.Err = err
		return rep
	}
	if q.Endpoint == dialect.CountTokens && targets[0].provider.config.Type != typeAnthropic {
		defer body.Release()
		return estimateTokens(w, targets[0], body)
	}
	for i, t := range targets {
		rep.Provider, rep.Model = t.provider.config.Name, t.model
		rep.Attempts++
		a := newAttempt(t, r, q)
		a.send(body)
		if a.err != nil && i < len(targets)-1 {
			a.end()
			continue
		}
		body.Release()
		a.deliver(w, &rep)
		a.end()
	}
	return rep
}

// targets gives the places that may answer q, in the order in which to try them.
func (p *Proxy) targets(q *dialect.Request, pin string) ([]target, *Error) {
	t, err := p.route(pin, q.Model())
	if err == nil && q.Endpoint != dialect.CountTokens {
		err = t.refuses(q.Endpoint)
	}
	return []target{t}, err
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
	client  *http.Request
	request *dialect.Request
	ctx     context.Context
	cancel  context.CancelCauseFunc
	limits  *limits

	metered bool           // include_usage was added: its event is removed again
	reply   *http.Response // nil when err is set
	err     *Error
}

func newAttempt(t target, client *http.Request, q *dialect.Request) *attempt {
	a := &attempt{target: t, client: client, request: q}
	a.ctx, a.cancel = context.WithCancelCause(client.Context())
	a.limits = newLimits(t.provider.config.Name, t.provider.config.Timeouts, a.cancel)
	a.metered = q.Endpoint == dialect.ChatCompletions && q.Stream && !q.HasStreamOptions() && t.provider.config.StreamUsage
	return a
}

// end lets go of the provider's call, whatever its state.
func (a *attempt) end() {
	if a.reply != nil {
		a.reply.Body.Close()
	}
	a.limits.stop()
	a.cancel(nil)
}

// send makes the call and waits for the head of the reply.
func (a *attempt) send(body *Body) {
	if timeouts := a.provider.config.Timeouts; a.request.Stream {
		a.limits.by("headers", a.limits.start, timeouts.Headers)
	} else {
		a.limits.by("total", a.limits.start, timeouts.Total)
	}
	res, err := a.provider.transport.RoundTrip(a.newRequest(body))
	if err != nil && idleConnectionClosed(err) {
		res, err = a.provider.transport.RoundTrip(a.newRequest(body))
	}
	if err != nil {
		a.err = a.failure(err)
		return
	}
	a.reply = res
}

// newRequest builds the provider's request. It has no GetBody, so that only
// Relay ever sends a request again.
func (a *attempt) newRequest(body *Body) *http.Request {
	parts := a.request.Splice(a.model, a.metered)
	header := requestHeader(a.client.Header)
	a.provider.authorize(header)
	req := &http.Request{
		Method:        http.MethodPost,
		URL:           a.provider.url(a.request.Endpoint.Path(), a.client.URL.RawQuery),
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        header,
		Body:          body.reader(parts),
		ContentLength: length(parts),
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

// idleConnectionClosed reports whether a kept-alive connection turned out to be
// closed before any of the request was on it: sending again repeats nothing.
// net/http keeps the error for this to itself (errServerClosedIdle).
func idleConnectionClosed(err error) bool {
	return strings.HasSuffix(err.Error(), "http: server closed idle connection")
}

// failure tells why the provider's call broke off with err.
func (a *attempt) failure(err error) *Error {
	var limit *Error
	if errors.As(context.Cause(a.ctx), &limit) { // a limit of ours, or the gateway's end
		return limit
	}
	if a.client.Context().Err() != nil {
		return errClientGone
	}
	name := a.provider.config.Name
	var timeout net.Error
	if a.reply == nil && errors.As(err, &timeout) && timeout.Timeout() {
		return errTimeout(name, "connect", a.provider.config.Timeouts.Connect)
	}
	return errUnreachable(name, err)
}
