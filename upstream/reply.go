package upstream

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"proxycast/upstream/dialect"
)

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
	a.own = another // that key was refused, not the target
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

// giveUp passes on the failure of the last attempt: the provider's own error
// where it has one, else rep.Err tells the caller what to answer.
func (a *attempt) giveUp(w http.ResponseWriter, rep *Report) {
	rep.Err = a.err
	h := w.Header()
	if rep.Attempts > 1 && len(h["X-Should-Retry"]) == 0 {
		h["X-Should-Retry"] = []string{"false"} // the client's retries would multiply ours
	}
	switch {
	case a.reply != nil && a.reply.sniffer != nil && a.reply.sniffer.Failed():
		a.reply.passFailed() // the provider's own error, as it came
		return
	case rep.Status != 0: // it cannot be told any more
		rep.Aborted = true
		if a.err.Status == statusClientGone {
			rep.Status = statusClientGone
			return
		}
		tell(w, a.request.Endpoint, a.err, rep.UpstreamID)
		return
	case a.reply != nil:
		return
	}
	if a.response == nil || a.response.StatusCode < 400 || a.response.StatusCode == http.StatusUnauthorized {
		return
	}
	copyReplyHeader(h, a.response.Header, a.provider.scrub)
	h.Del("Content-Encoding")
	h.Del("Content-Length")
	h.Del("Etag")
	if a.problem == nil {
		return
	}
	body := []byte(a.provider.scrub(string(a.problem)))
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	rep.Status = a.response.StatusCode
	w.WriteHeader(rep.Status)
	if _, err := w.Write(body); err != nil {
		rep.Status, rep.Err, rep.Aborted = errClientGone.Status, errClientGone, true
	}
}

// readProblem reads the body of an error status.
func (a *attempt) readProblem() {
	a.limits.by("idle", time.Now(), a.provider.config.Timeouts.Idle)
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
	sniffer := dialect.NewSniffer(a.request.Endpoint, false)
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

// errToClient marks a copy that failed at the client's side.
type errToClient struct{ error }

// end completes the report of a committed reply, now that its copy has ended with
// err. A stream that ended before it was finished never looks finished to the
// client: it gets an error event where an event may stand, and a broken
// connection.
func (p *reply) end(err error) {
	defer p.conclude()
	var toClient errToClient
	if errors.As(err, &toClient) {
		p.abort(p.clientFailure(toClient.error))
		return
	}
	if werr := p.finishWriting(); werr != nil {
		p.abort(p.clientFailure(werr))
		return
	}
	switch {
	case err != nil:
		p.abort(p.broken(err))
	case p.unfinished(), p.cutUnseen():
		p.abort(p.cut(nil))
	case p.sniffer != nil && p.sniffer.Failed():
		p.rep.Err = p.reported()
	}
}

// conclude takes over what was learned from the reply.
func (p *reply) conclude() {
	if p.sniffer != nil {
		p.rep.Usage, p.rep.FinishReason, p.rep.Malformed = p.sniffer.Usage(), p.provider.word(p.sniffer.FinishReason(), ""), p.sniffer.Malformed()
	}
}

// failedHeld tells why a reply that was held, and whose copy ended with err, is to
// be replaced by another attempt's; nil if it is good.
func (p *reply) failedHeld(err error) *Error {
	switch {
	case err != nil:
		return p.broken(err)
	case p.unfinished():
		return p.cut(nil)
	case p.sniffer == nil:
		return nil
	case p.sniffer.Failed():
		return p.reported()
	case p.flush == nil && p.taken > 0 && p.request.Endpoint != dialect.AudioSpeech && !p.sniffer.Finished():
		return &Error{
			Status: http.StatusBadGateway, Code: codeInvalid,
			Message: fmt.Sprintf("provider %q answered with something that is not JSON", p.provider.config.Name),
		}
	}
	return nil
}

// unfinished reports whether a stream has ended without having come to its end.
func (p *reply) unfinished() bool {
	if p.flush == nil || p.sniffer == nil || p.sniffer.Finished() || p.sniffer.Failed() {
		return false
	}
	return p.sniffer.Known() || p.taken == 0
}

// cutUnseen reports whether a plain reply that only the end of its connection ends
// was JSON and is not whole.
func (p *reply) cutUnseen() bool {
	res := p.response
	return p.flush == nil && p.sniffer != nil && res.ProtoMajor == 1 && res.ContentLength < 0 && len(res.TransferEncoding) == 0 &&
		p.request.Endpoint != dialect.AudioSpeech && p.sniffer.Content() && !p.sniffer.Finished()
}

// broken tells why the provider's side of the copy failed with err.
func (p *reply) broken(err error) *Error {
	failure := p.failure(err)
	if failure.Code == codeUnreachable {
		failure = p.cut(err)
	}
	return failure
}

// cut tells that the provider's reply broke off.
func (p *reply) cut(err error) *Error {
	return &Error{
		Status: http.StatusBadGateway, Code: codeCut,
		Message: fmt.Sprintf("the reply of provider %q ended before it was finished", p.provider.config.Name), Err: err,
	}
}

// reported tells that the provider put an error into a reply of a success status.
func (p *reply) reported() *Error {
	return &Error{
		Status: http.StatusBadGateway, Code: p.provider.word(p.sniffer.ErrorType(), "provider_error"),
		Message: fmt.Sprintf("provider %q reported an error in its reply", p.provider.config.Name),
	}
}

// clientFailure tells why the client could not be written to.
func (p *reply) clientFailure(err error) *Error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &Error{Status: statusClientGone, Code: "client_stalled", Message: "the client stopped reading"}
	}
	return clientEnd(p.client.Context())
}

// abort records a reply that cannot be completed and, where the client may still
// listen, tells it so.
func (p *reply) abort(failure *Error) {
	p.rep.Err, p.rep.Aborted = failure, true
	if failure.Status == statusClientGone {
		p.rep.Status = failure.Status
		return
	}
	if p.flush == nil || p.sniffer == nil || p.sniffer.Finished() || p.sniffer.Failed() || !p.sniffer.AtBoundary() {
		return
	}
	tell(p.w, p.request.Endpoint, failure, p.rep.UpstreamID)
}

// tell writes an error event into a stream.
func tell(w http.ResponseWriter, e dialect.Endpoint, failure *Error, id string) {
	event := dialect.Failure{Status: failure.Status, Code: failure.Code, Message: failure.Message, RequestID: id}
	if _, err := w.Write(event.Event(e)); err == nil {
		http.NewResponseController(w).Flush()
	}
}

// passFailed passes on a held reply that reports an error, there being no other
// attempt.
func (p *reply) passFailed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.conclude()
	if err := errors.Join(p.commit(), p.finishWriting()); err != nil {
		p.abort(p.clientFailure(err))
	}
}
