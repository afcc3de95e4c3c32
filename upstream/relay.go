package upstream

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"proxycast/upstream/dialect"
)

// Relay sends the request q, whose bytes are body, to a provider that serves its
// model and passes the reply to w as it comes. Until content has been passed on, a
// failed attempt leads to another one, as far as the config allows. pin, when not
// empty, names the provider. r has the header, the query and the context, whose
// end cancels the provider's call; a cause of type *Error is told to the client.
// Relay releases body.
//
// When Report.Status is 0, w may have headers of the provider's reply
// (retry-after, rate limits) but nothing was written.
func (p *Proxy) Relay(w http.ResponseWriter, r *http.Request, q *dialect.Request, body *Body, pin string) (rep Report) {
	c := &call{conversation: conversationOf(r.Header, q), client: r, request: q, body: body, keepalive: p.keepalive, health: p.health, answer: newAnswer(w, r, q.Endpoint)}
	defer c.release()
	rep.Session = sessionOf(c.conversation)
	plan, err := p.plan(q, pin, c.conversation)
	if err != nil {
		rep.Err = err
		return rep
	}
	if q.Endpoint == dialect.CountTokens && !plan.target().counts() {
		return c.estimateTokens(plan.target())
	}
	for {
		plan.passOver(p.health, time.Now())
		out := p.try(c, plan)
		rep.note(out)
		if out.done {
			return rep
		}
		if !sleep(r.Context(), plan.pause) {
			rep.Err = clientEnd(r.Context())
			rep.Status, rep.Aborted = c.answer.abort(rep.Err, rep.UpstreamID)
			return rep
		}
	}
}

// try makes one attempt at the plan's target. A failure is passed on when the plan knows no other attempt. What the
// attempt has taken is given back when try returns.
func (p *Proxy) try(c *call, plan *plan) (out outcome) {
	a := c.newAttempt(plan.target(), plan.left > 0, plan.complete)
	defer func() {
		a.close()
		out.Took = time.Since(a.deadline.start)
		p.learn(a.target, &out, c.client.Context().Err() != nil)
	}()
	a.run(&out)
	if !out.done && !plan.next(&out) {
		a.giveUp(&out)
	}
	return out
}

// learn notes what an attempt, whose outcome is zero if it panicked, says about its target.
func (p *Proxy) learn(t target, out *outcome, clientGone bool) {
	switch failure := out.Err; {
	case failure == nil && out.done:
		p.health.succeeded(t.name(), time.Now())
	case failure == nil, out.blameless, clientGone, failure.Status == statusClientGone,
		failure.Status == http.StatusTooManyRequests && len(t.provider.keys.keys) > 1: // that rests the credential
		p.health.abstained(t.name())
	case failure.Status >= 500, failure.Status == http.StatusRequestTimeout, failure.Status == http.StatusTooManyRequests:
		p.health.failed(t.name(), p.cooldown, time.Now())
	default: // the request's fault
		p.health.succeeded(t.name(), time.Now())
	}
}

// estimateTokens answers a count_tokens request whose provider cannot count.
func (c *call) estimateTokens(t target) Report {
	n := dialect.EstimateTokens(c.body.Bytes())
	text := fmt.Sprintf("{\"input_tokens\":%d}\n", n)
	h := c.answer.w.Header()
	h["X-Token-Count"] = []string{"estimate"}
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(text))}
	c.answer.begin(http.StatusOK)
	rep := Report{Provider: t.provider.config.Name, Model: t.model, Status: http.StatusOK, Session: sessionOf(c.conversation)}
	if _, err := c.answer.w.Write([]byte(text)); err != nil {
		rep.Status, rep.Err, rep.Aborted = statusClientGone, errClientGone, true
	}
	return rep
}
