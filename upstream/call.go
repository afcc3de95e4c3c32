package upstream

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"proxycast/upstream/dialect"
)

// call is one relayed request, over all attempts.
type call struct {
	client    *http.Request
	request   *dialect.Request
	body      *Body
	released  bool
	keepalive time.Duration
	health    *health
	answer    *answer
	attempts  int

	conversation string // "": none that we know of
}

// release lets go of the request's body, which no further attempt needs.
func (c *call) release() {
	if !c.released {
		c.released = true
		c.body.Release()
	}
}

// attempt is one call of one target.
type attempt struct {
	*call
	target
	takes    dialect.Endpoint // what the provider is called at
	hold     bool             // another attempt is possible: nothing passes before content does
	complete bool             // nothing passes before the stream is complete, if hold
	deadline *deadline
	key      int  // index of the credential, -1: none
	metered  bool // include_usage was added: its event is removed again

	entered  bool           // it has a place at the provider
	asked    time.Time      // then
	response *http.Response // nil: none came
	reply    *reply         // of a success status
	problem  *Body          // the body of an error status
}

func (c *call) newAttempt(t target, hold, complete bool) *attempt {
	c.attempts++
	a := &attempt{call: c, target: t, takes: c.request.Endpoint, hold: hold, complete: complete}
	a.deadline = newDeadline(c.client.Context(), t.provider.config.Name, t.provider.config.Timeouts)
	a.metered = a.takes == dialect.ChatCompletions && c.request.Stream && !c.request.HasStreamOptions() && t.provider.config.StreamUsage
	a.key = t.provider.keys.pick(a.deadline.start, c.conversation)
	return a
}

// close gives back what the attempt has taken, and cancels the provider's call if it still runs.
func (a *attempt) close() {
	if a.response != nil {
		a.response.Body.Close()
	}
	if a.reply != nil {
		a.reply.freeHeld()
	}
	if a.problem != nil {
		a.problem.Release()
	}
	a.deadline.stop()
	if a.entered {
		a.provider.gate.leave()
	}
}

// run calls the target and passes a reply of a success status on, unless that fails while it is held.
func (a *attempt) run(out *outcome) {
	out.Provider, out.Model, out.Status = a.provider.config.Name, a.model, a.answer.status
	if out.Err = a.enter(); out.Err != nil {
		out.blameless = true
		return
	}
	if out.Err = a.send(); out.Err != nil {
		return
	}
	out.UpstreamID = a.upstreamID()
	if status := a.response.StatusCode; status < 200 || status >= 300 {
		a.receiveError(out)
		return
	}
	a.pass(out)
}

// committed is called when the reply is the client's: no other attempt needs the request, and the target works.
func (a *attempt) committed() {
	a.release()
	a.health.recovered(a.name(), time.Now())
}

// enter waits for a place at the provider.
func (a *attempt) enter() *Error {
	if timeouts := a.provider.config.Timeouts; a.request.Stream {
		a.deadline.by("headers", a.deadline.start, timeouts.Headers)
	} else {
		a.deadline.by("total", a.deadline.start, timeouts.Total)
	}
	full, err := a.provider.gate.enter(a.deadline.ctx)
	switch {
	case full:
		return &Error{
			Status: http.StatusServiceUnavailable, Code: codeBusy,
			Message: fmt.Sprintf("provider %q has as many calls under way and waiting as its max_concurrency allows", a.provider.config.Name),
		}
	case err != nil:
		return a.failure(err)
	}
	a.entered = true
	a.asked = time.Now()
	if a.request.Stream { // the time in the queue was not the provider's
		a.deadline.by("headers", a.asked, a.provider.config.Timeouts.Headers)
	}
	return nil
}

// send makes the call and waits for the head of the reply.
func (a *attempt) send() *Error {
	res, err := a.provider.transport.RoundTrip(a.newRequest())
	if err != nil && classify(err) == closedWhileIdle {
		res, err = a.provider.transport.RoundTrip(a.newRequest())
	}
	if err != nil {
		return a.failure(err)
	}
	a.response = res
	return nil
}

// newRequest builds the provider's request.
func (a *attempt) newRequest() *http.Request {
	parts := a.request.Splice(a.model, a.metered)
	n := length(parts)
	return a.provider.newRequest(a.deadline.ctx, a.key, providerRequest{
		method: http.MethodPost, path: a.takes.Path(), query: a.client.URL.RawQuery,
		header: requestHeader(a.client.Header), body: a.provider.requestBody(a.body, parts, n), length: n,
	})
}

func length(parts net.Buffers) (n int64) {
	for _, part := range parts {
		n += int64(len(part))
	}
	return n
}

// failure tells why no reply came.
func (a *attempt) failure(err error) *Error {
	if ended := a.deadline.ended(); ended != nil {
		return ended
	}
	name := a.provider.config.Name
	if classify(err) == connectTimeout {
		return errTimeout(name, "connect", a.provider.config.Timeouts.Connect)
	}
	return errUnreachable(name, err)
}

// upstreamID returns the name that the provider gave the call: OpenAI's header, else Anthropic's.
func (a *attempt) upstreamID() string {
	id := a.response.Header.Get("X-Request-Id")
	if id == "" {
		id = a.response.Header.Get("Request-Id")
	}
	return a.provider.scrub(id)
}

// receiveError takes a reply of another status than success.
func (a *attempt) receiveError(out *outcome) {
	status, now := a.response.StatusCode, time.Now()
	out.retryAfter = retryAfter(status, a.response.Header, now)
	out.Err = &Error{Status: http.StatusBadGateway}
	switch name := a.provider.config.Name; {
	case status == http.StatusUnauthorized:
		out.Err.Code = "provider_credential"
		out.Err.Message = fmt.Sprintf("provider %q rejected the gateway's credential; its api_key in the gateway's config needs a look", name)
	case status < 400:
		out.Err.Code = "provider_redirect"
		out.Err.Message = fmt.Sprintf("provider %q answered with status %d, which the gateway does not follow; its base_url needs a look", name, status)
	default:
		if status != statusClientGone { // which means something else here
			out.Err.Status = status
		}
		out.Err.Code = "provider_error"
		out.Err.Message = fmt.Sprintf("provider %q answered with status %d", name, status)
		a.readProblem(out)
	}
	if ended := a.deadline.ended(); ended != nil { // while the error was read
		out.Err, out.retryAfter, out.problem = ended, 0, nil
		return
	}
	account := isAccount(status, out.problem)
	another := a.provider.keys.answered(a.key, status, account, out.retryAfter, now)
	out.blameless = another || account
	out.status = status
	out.account = account
	out.refrain = a.response.Header.Get("X-Should-Retry") == "false"
	out.rekeyed = another && (account || status != http.StatusForbidden)
}

// readProblem reads the body of an error status, and takes over its own word for the error.
func (a *attempt) readProblem(out *outcome) {
	a.deadline.by("idle", time.Now(), a.provider.config.Timeouts.Idle)
	if unpack(a.response) != nil {
		return
	}
	body, err := a.body.buffers.Read(a.body.holder, a.response.Body, -1, maxProblem)
	if err != nil {
		return
	}
	a.problem = body                // until the attempt is closed
	text := trimBlank(body.Bytes()) // a byte order mark is not JSON's
	if !isJSONObject(text) {
		return
	}
	out.problem = text
	sniffer := dialect.NewSniffer(a.takes, false)
	sniffer.Write(out.problem)
	out.Err.Code = a.provider.word(sniffer.ErrorType(), out.Err.Code)
}

// maxProblem is how much of a provider's error is read and passed on.
const maxProblem = 1 << 20

// pass sends a reply of a success status to the client.
func (a *attempt) pass(out *outcome) {
	if err := unpack(a.response); err != nil && err != errEncoding {
		out.Err = &Error{
			Status: http.StatusBadGateway, Code: codeInvalid,
			Message: fmt.Sprintf("provider %q answered with something that is not gzip, as it said", a.provider.config.Name),
		}
		return
	}
	stream := isEventStream(a.response.Header.Get("Content-Type"))
	if !stream && a.request.Stream && a.takes != dialect.AudioSpeech {
		a.deadline.by("first_token", a.asked, a.provider.config.Timeouts.FirstToken)
		var begin []byte
		begin, a.response.Body = peek(a.response.Body)
		stream = looksLikeEvents(begin)
	}
	if !stream && a.answer.status != 0 { // the client already reads a stream
		out.Err = &Error{
			Status: http.StatusBadGateway, Code: codeInvalid,
			Message: fmt.Sprintf("provider %q answered with something that is not a stream", a.provider.config.Name),
		}
		return
	}
	a.reply = &reply{
		provider: a.provider, takes: a.takes, response: a.response, stream: stream, answer: a.answer, deadline: a.deadline,
		hold: a.hold, complete: a.complete, onCommit: a.committed, buffers: a.body.buffers, holder: a.body.holder,
	}
	a.reply.open(a.metered, a.asked, a.keepalive)
	err := a.reply.copy()
	out.Stream = a.reply.stream
	a.reply.end(err, out)
}

// giveUp passes on the failure of the last attempt: the provider's own error where it has one. Else the caller tells
// out.Err, or the stream that has begun does.
func (a *attempt) giveUp(out *outcome) {
	out.done = true
	a.adviseClient(out)
	switch {
	case a.reply != nil && (a.reply.read.Failed() || out.Err.Code == codeNoAnswer):
		a.reply.passFailed(out) // as it came
	case a.answer.status != 0:
		out.Status, out.Aborted = a.answer.abort(out.Err, out.UpstreamID)
	case out.status >= 400 && out.status != http.StatusUnauthorized:
		a.passProblem(out)
	}
}

// adviseClient tells the SDKs not to repeat a request where that would multiply our attempts, do the work of a call
// that timed out a second time, or fail in the same way.
func (a *attempt) adviseClient(out *outcome) {
	timedOut := out.Err.Code == codeTimeout && a.entered
	if a.attempts > 1 || timedOut || out.status == http.StatusUnauthorized || 300 <= out.status && out.status < 400 {
		a.answer.w.Header()["X-Should-Retry"] = []string{"false"}
	}
}

// passProblem sends the head of a provider's error reply, as far as it is the client's, and the body if it is JSON.
func (a *attempt) passProblem(out *outcome) {
	h := a.answer.w.Header()
	copyReplyHeader(h, a.response.Header, a.provider.scrub)
	a.adviseClient(out)
	for _, name := range []string{"Content-Encoding", "Content-Length", "Etag"} { // of the body as it came
		h.Del(name)
	}
	if out.problem == nil {
		return
	}
	body := []byte(a.provider.scrub(string(out.problem)))
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	a.answer.begin(out.Err.Status)
	out.Status = out.Err.Status
	if _, err := a.answer.w.Write(body); err != nil {
		out.Status, out.Err, out.Aborted = statusClientGone, errClientGone, true
	}
}
