package upstream

import (
	"context"
	"errors"
	"net/http"
	"os"

	"proxycast/upstream/dialect"
)

// answer is what the client of one request gets, over all attempts.
type answer struct {
	w      http.ResponseWriter
	flush  func() error
	ctx    context.Context // of the client: it ends when that leaves
	speaks dialect.Endpoint
	status int // that was sent; 0: nothing was
}

func newAnswer(w http.ResponseWriter, r *http.Request, speaks dialect.Endpoint) *answer {
	return &answer{w: w, flush: http.NewResponseController(w).Flush, ctx: r.Context(), speaks: speaks}
}

// begin sends the head.
func (a *answer) begin(status int) {
	h := a.w.Header()
	h["X-Content-Type-Options"] = []string{"nosniff"}
	if _, given := h["Content-Type"]; !given {
		h["Content-Type"] = nil // or net/http guesses one from the bytes
	}
	a.status = status
	a.w.WriteHeader(status)
}

// abort ends an answer that was begun with the news of a failure. It returns the status for the report, and whether
// the connection must be broken: not if nothing was sent, then the failure is the caller's to tell.
func (a *answer) abort(failure *Error, id string) (status int, aborted bool) {
	switch {
	case a.status == 0:
		return 0, false
	case failure.Status == statusClientGone:
		return statusClientGone, true
	}
	a.tell(failure, id)
	return a.status, true
}

// tell writes an error event into a stream that stands between two events.
func (a *answer) tell(failure *Error, id string) {
	event := dialect.Failure{Status: failure.Status, Code: failure.Code, Message: failure.Message, RequestID: id}
	if _, err := a.w.Write(event.Event(a.speaks)); err == nil {
		a.flush()
	}
}

// failure tells why the client could not be written to.
func (a *answer) failure(err error) *Error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &Error{Status: statusClientGone, Code: "client_stalled", Message: "the client stopped reading"}
	}
	return clientEnd(a.ctx)
}
