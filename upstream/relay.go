package upstream

import (
	"fmt"
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
