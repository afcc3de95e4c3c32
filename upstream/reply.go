package upstream

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"proxycast/upstream/dialect"
)

// maxErrorBody is how much of a provider's error is read and passed on.
const maxErrorBody = 1 << 20

// Read buffers: small for streams, whose events are small and which are many.
var (
	streamBuffers = sync.Pool{New: func() any { return new([4 << 10]byte) }}
	plainBuffers  = sync.Pool{New: func() any { return new([32 << 10]byte) }}
)

// deliver passes the attempt's outcome to the client and completes the report.
func (a *attempt) deliver(w http.ResponseWriter, rep *Report) {
	if a.err != nil {
		rep.Err = a.err
		return
	}
	header := a.reply.Header
	rep.UpstreamID = header.Get("X-Request-Id")
	if rep.UpstreamID == "" {
		rep.UpstreamID = header.Get("Request-Id")
	}
	name := a.provider.config.Name
	switch status := a.reply.StatusCode; {
	case status == http.StatusUnauthorized:
		rep.Err = &Error{
			Status: http.StatusBadGateway, Code: "provider_credential",
			Message: fmt.Sprintf("provider %q rejected the gateway's credential; its api_key in the gateway's config needs a look", name),
		}
	case status >= 400:
		a.deliverError(w, rep)
	case status < 200 || status >= 300:
		rep.Err = &Error{
			Status: http.StatusBadGateway, Code: "provider_redirect",
			Message: fmt.Sprintf("provider %q answered with status %d, which the gateway does not follow; its base_url needs a look", name, status),
		}
	default:
		a.deliverReply(w, rep)
	}
}

// deliverError passes on a provider's error: JSON as it is, but for
// credentials; anything else is left to the caller to replace, with the
// provider's status.
func (a *attempt) deliverError(w http.ResponseWriter, rep *Report) {
	a.limits.by("idle", time.Now(), a.provider.config.Timeouts.Idle)
	status := a.reply.StatusCode
	failure := &Error{
		Status: status, Code: "provider_error",
		Message: fmt.Sprintf("provider %q answered with status %d", a.provider.config.Name, status),
	}
	rep.Err = failure
	body, err := readError(a.reply)
	if err != nil && a.ctx.Err() != nil {
		rep.Err = a.failure(err)
		return
	}
	h := w.Header()
	copyReplyHeader(h, a.reply.Header, a.provider.scrub)
	h.Del("Content-Encoding")
	h.Del("Content-Length")
	h.Del("Etag")
	if err != nil || !isJSONObject(body) {
		return
	}
	sniffer := dialect.NewSniffer(a.request.Endpoint, false)
	sniffer.Write(body)
	if typ := sniffer.ErrorType(); typ != "" {
		failure.Code = typ
	}
	body = []byte(a.provider.scrub(string(body)))
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	rep.Status = status
	if _, err := w.Write(body); err != nil {
		rep.Status, rep.Err, rep.Aborted = errClientGone.Status, errClientGone, true
	}
}

// readError reads a whole error body, unpacked.
func readError(res *http.Response) ([]byte, error) {
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
	body, err := io.ReadAll(io.LimitReader(src, maxErrorBody+1))
	if err == nil && len(body) > maxErrorBody {
		err = errors.New("upstream: an error larger than 1 MiB")
	}
	return body, err
}

func isJSONObject(body []byte) bool {
	body = bytes.TrimLeft(body, " \t\r\n")
	return len(body) > 0 && body[0] == '{' && json.Valid(body)
}

// reply is a successful reply on its way to the client.
type reply struct {
	*attempt
	w       http.ResponseWriter
	out     io.Writer // w, or a stripper before it
	strip   *dialect.Stripper
	sniffer *dialect.Sniffer // nil: the bytes are encoded and cannot be read
	flush   func() error     // nil: not a stream
	passed  int64            // bytes of the provider's that were passed on
	rep     *Report
}

func (a *attempt) deliverReply(w http.ResponseWriter, rep *Report) {
	h := w.Header()
	copyReplyHeader(h, a.reply.Header, a.provider.scrub)
	p := &reply{attempt: a, w: w, out: w, rep: rep}
	rep.Stream = isEventStream(a.reply.Header.Get("Content-Type"))
	if encoding := a.reply.Header.Get("Content-Encoding"); encoding == "" || encoding == "identity" {
		p.sniffer = dialect.NewSniffer(a.request.Endpoint, rep.Stream)
	}
	if rep.Stream {
		h["X-Accel-Buffering"] = []string{"no"}
		if len(h["Cache-Control"]) == 0 {
			h["Cache-Control"] = []string{"no-cache"}
		}
		p.flush = http.NewResponseController(w).Flush
		if a.metered && p.sniffer != nil {
			h.Del("Content-Length")
			p.strip = dialect.NewStripper(p.sniffer, w)
			p.out = p.strip
		}
		a.limits.by("first_token", a.limits.start, a.provider.config.Timeouts.FirstToken)
	} else {
		a.limits.by("idle", time.Now(), a.provider.config.Timeouts.Idle)
	}
	rep.Status = a.reply.StatusCode
	w.WriteHeader(rep.Status)
	err := p.copy()
	p.end(err)
	if p.sniffer != nil {
		rep.Usage, rep.FinishReason, rep.Malformed = p.sniffer.Usage(), p.sniffer.FinishReason(), p.sniffer.Malformed()
	}
}

func isEventStream(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(media), "text/event-stream")
}

// errToClient marks a copy that failed at the client's side.
type errToClient struct{ error }

// copy passes the reply until its end (nil) or until either side fails.
func (p *reply) copy() error {
	if p.flush != nil {
		if err := p.flush(); err != nil {
			return errToClient{err}
		}
		buf := streamBuffers.Get().(*[4 << 10]byte)
		defer streamBuffers.Put(buf)
		return p.copyWith(buf[:])
	}
	buf := plainBuffers.Get().(*[32 << 10]byte)
	defer plainBuffers.Put(buf)
	return p.copyWith(buf[:])
}

func (p *reply) copyWith(buf []byte) error {
	for {
		n, err := p.attempt.reply.Body.Read(buf)
		if n > 0 {
			if werr := p.pass(buf[:n]); werr != nil {
				return errToClient{werr}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// pass sends bytes of the provider's to the client, and learns from them.
// Streams are flushed after each read.
func (p *reply) pass(b []byte) error {
	if p.sniffer != nil && p.strip == nil {
		p.sniffer.Write(b)
	}
	if _, err := p.out.Write(b); err != nil {
		return err
	}
	p.passed += int64(len(b))
	if p.flush == nil {
		p.limits.by("idle", time.Now(), p.provider.config.Timeouts.Idle)
		return nil
	}
	now := time.Now()
	if p.rep.FirstContent.IsZero() && (p.sniffer == nil || p.sniffer.Content()) {
		p.rep.FirstContent = now
	}
	if !p.rep.FirstContent.IsZero() {
		p.limits.by("idle", now, p.provider.config.Timeouts.Idle)
	}
	return p.flush()
}

// end completes the report, now that the copy has ended with err. A stream that
// ended before it was finished never looks finished to the client: it gets an
// error event where an event may stand, and a broken connection.
func (p *reply) end(err error) {
	var toClient errToClient
	if errors.As(err, &toClient) {
		p.abort(p.clientFailure(toClient.error))
		return
	}
	if p.strip != nil {
		if werr := p.strip.Close(); werr != nil {
			p.abort(errClientGone)
			return
		}
	}
	switch {
	case err != nil:
		failure := p.failure(err)
		if failure.Code == "provider_unreachable" {
			failure = p.cut(err)
		}
		p.abort(failure)
	case p.unfinished():
		p.abort(p.cut(nil))
	case p.sniffer != nil && p.sniffer.Failed():
		p.rep.Err = &Error{
			Status: p.rep.Status, Code: p.sniffer.ErrorType(),
			Message: fmt.Sprintf("provider %q reported an error in its reply", p.provider.config.Name),
		}
	}
}

// unfinished reports whether a stream has ended without having come to its end.
func (p *reply) unfinished() bool {
	if p.flush == nil || p.sniffer == nil || p.sniffer.Finished() || p.sniffer.Failed() {
		return false
	}
	return p.sniffer.Known() || p.passed == 0
}

// cut tells that the provider's reply broke off.
func (p *reply) cut(err error) *Error {
	return &Error{
		Status: http.StatusBadGateway, Code: "reply_cut",
		Message: fmt.Sprintf("the reply of provider %q ended before it was finished", p.provider.config.Name), Err: err,
	}
}

// clientFailure tells why the client could not be written to.
func (p *reply) clientFailure(err error) *Error {
	var shutdown *Error
	switch {
	case errors.As(context.Cause(p.client.Context()), &shutdown):
		return shutdown
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Error{Status: 499, Code: "client_stalled", Message: "the client stopped reading"}
	}
	return errClientGone
}

// abort records a reply that cannot be completed and, where the client may
// still listen, tells it so.
func (p *reply) abort(failure *Error) {
	p.rep.Err, p.rep.Aborted = failure, true
	if failure.Status == errClientGone.Status {
		p.rep.Status = failure.Status
		return
	}
	if p.flush == nil || p.sniffer == nil || p.sniffer.Finished() || p.sniffer.Failed() || !p.sniffer.AtBoundary() {
		return
	}
	event := dialect.Failure{Status: failure.Status, Code: failure.Code, Message: failure.Message, RequestID: p.rep.UpstreamID}
	if _, err := p.w.Write(event.Event(p.request.Endpoint)); err == nil {
		p.flush()
	}
}
