package upstream

import (
	"errors"
	"fmt"
	"net/http"

	"proxycast/upstream/dialect"
)

// errToClient marks a copy that failed at the client's side.
type errToClient struct{ error }

// end tells what became of the reply, now that its copy has ended with err (nil: the provider has ended it). One that
// is held and not good stays held, for another attempt to replace it. A stream that ended before it was finished never
// looks finished to the client: it gets an error event where an event may stand, and a broken connection.
func (p *reply) end(err error, out *outcome) {
	p.stopKeepalive()
	defer p.conclude(out)
	broken := p.broken(err)
	out.Err = broken
	if broken == nil {
		out.Err = p.bad()
	}
	if !p.committed && out.Err != nil {
		return
	}
	out.done = true
	if broken == nil || broken.Status != statusClientGone {
		if werr := p.finish(); werr != nil {
			broken = p.answer.failure(werr)
		}
	}
	if broken != nil {
		out.Err, out.Aborted = broken, true
		p.tell(broken, out.UpstreamID)
	}
}

// conclude takes over what was learned from the reply.
func (p *reply) conclude(out *outcome) {
	out.FirstContent, out.Usage, out.Malformed = p.firstContent, p.read.Usage(), p.read.Malformed()
	out.OutputGuess = p.read.EstimateOutput()
	out.FinishReason = p.provider.word(p.read.FinishReason(), "")
	out.Status = p.answer.status
	if out.Aborted && out.Err.Status == statusClientGone {
		out.Status = statusClientGone
	}
}

// broken tells why the reply, whose copy has ended with err, did not come to its end; nil if it did.
func (p *reply) broken(err error) *Error {
	if p.closed {
		return nil // whatever the transport, or the client that has read enough, does next
	}
	var toClient errToClient
	if errors.As(err, &toClient) {
		return p.answer.failure(toClient.error)
	}
	if err != nil {
		if ended := p.deadline.ended(); ended != nil {
			return ended
		}
	} else if !p.unfinished() && !(p.committed && p.cutUnseen()) {
		return nil
	}
	return &Error{
		Status: http.StatusBadGateway, Code: codeCut,
		Message: fmt.Sprintf("the reply of provider %q ended before it was finished", p.provider.config.Name), Err: err,
	}
}

// bad tells what is wrong with a reply that has come to its end; nil if nothing is.
func (p *reply) bad() *Error {
	name := p.provider.config.Name
	switch {
	case p.read.Failed():
		return &Error{
			Status: http.StatusBadGateway, Code: p.provider.word(p.read.ErrorType(), "provider_error"),
			Message: fmt.Sprintf("provider %q reported an error in its reply", name),
		}
	case p.takes == dialect.AudioSpeech, p.response.StatusCode == http.StatusNoContent:
		return nil
	case !p.stream && (!p.read.Finished() || !p.committed && p.misfits()):
		return &Error{
			Status: http.StatusBadGateway, Code: codeInvalid,
			Message: fmt.Sprintf("provider %q answered with something that is not JSON; its base_url is probably wrong", name),
		}
	case !p.read.Answered():
		return &Error{
			Status: http.StatusBadGateway, Code: codeNoAnswer,
			Message: fmt.Sprintf("provider %q answered with a success that holds no answer", name),
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

// tell tells the client, where it may still listen, that the reply cannot be completed.
func (p *reply) tell(failure *Error, id string) {
	if failure.Status == statusClientGone || !p.stream || p.read.Finished() || p.read.Failed() || !p.read.AtBoundary() {
		return
	}
	p.answer.tell(failure, id)
}

// passFailed passes on a held reply that reports an error, there being no other
// attempt.
func (p *reply) passFailed(out *outcome) {
	defer p.conclude(out)
	if err := p.finish(); err != nil {
		out.Err, out.Aborted = p.answer.failure(err), true
	}
}
