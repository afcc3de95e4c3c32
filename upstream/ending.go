package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"

	"proxycast/upstream/dialect"
)

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
	case p.read.Failed():
		p.rep.Err = p.reported()
	}
}

// conclude takes over what was learned from the reply.
func (p *reply) conclude() {
	p.rep.Usage, p.rep.FinishReason, p.rep.Malformed = p.read.Usage(), p.provider.word(p.read.FinishReason(), ""), p.read.Malformed()
}

// failedHeld tells why a reply that was held, and whose copy ended with err, is to
// be replaced by another attempt's; nil if it is good.
func (p *reply) failedHeld(err error) *Error {
	switch {
	case err != nil:
		return p.broken(err)
	case p.unfinished():
		return p.cut(nil)
	case p.read.Failed():
		return p.reported()
	case !p.stream && p.received > 0 && p.takes != dialect.AudioSpeech && !p.read.Finished():
		return &Error{
			Status: http.StatusBadGateway, Code: codeInvalid,
			Message: fmt.Sprintf("provider %q answered with something that is not JSON", p.provider.config.Name),
		}
	}
	return nil
}

// unfinished reports whether a stream has ended without having come to its end.
func (p *reply) unfinished() bool {
	if !p.stream || p.read.Finished() || p.read.Failed() {
		return false
	}
	return p.read.Known() || p.received == 0
}

// cutUnseen reports whether a plain reply that only the end of its connection ends
// was JSON and is not whole.
func (p *reply) cutUnseen() bool {
	res := p.response
	return !p.stream && res.ProtoMajor == 1 && res.ContentLength < 0 && len(res.TransferEncoding) == 0 &&
		p.takes != dialect.AudioSpeech && p.read.Content() && !p.read.Finished()
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
		Status: http.StatusBadGateway, Code: p.provider.word(p.read.ErrorType(), "provider_error"),
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
	if !p.stream || p.read.Finished() || p.read.Failed() || !p.read.AtBoundary() {
		return
	}
	tell(p.w, p.speaks, failure, p.rep.UpstreamID)
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

// giveUp passes on the failure of the last attempt: the provider's own error
// where it has one, else rep.Err tells the caller what to answer.
func (a *attempt) giveUp(w http.ResponseWriter, rep *Report) {
	rep.Err = a.err
	h := w.Header()
	if rep.Attempts > 1 && len(h["X-Should-Retry"]) == 0 {
		h["X-Should-Retry"] = []string{"false"} // the client's retries would multiply ours
	}
	switch {
	case a.reply != nil && a.reply.read.Failed():
		a.reply.passFailed() // the provider's own error, as it came
		return
	case rep.Status != 0: // it cannot be told any more
		rep.Aborted = true
		if a.err.Status == statusClientGone {
			rep.Status = statusClientGone
			return
		}
		tell(w, a.speaks, a.err, rep.UpstreamID)
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
