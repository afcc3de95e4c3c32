package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// Error is a call that failed without a reply of the provider to pass on. It
// holds two texts: Message is for the client and names no address and no
// credential; Err is for the log.
type Error struct {
	Status  int    // the status that the client should get
	Code    string // a stable word: the record's error_type
	Param   string // the request field at fault, if any
	Message string
	Err     error // may be nil
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// statusClientGone is what a record has in place of a status when the client left.
const statusClientGone = 499

// Codes that decide how a call goes on.
const (
	codeClientGone  = "client_closed"
	codeUnreachable = "provider_unreachable"
	codeTimeout     = "timeout"
	codeBusy        = "provider_busy"
	codeCut         = "reply_cut"
	codeInvalid     = "reply_invalid"
	codeNoAnswer    = "no_answer"
)

// errClientGone is the end of a call whose client has left.
var errClientGone = &Error{Status: statusClientGone, Code: codeClientGone, Message: "the client closed the connection"}

// clientEnd tells why a client's context has ended: it left, or the gateway has ended
// it with a cause of its own.
func clientEnd(ctx context.Context) *Error {
	var cause *Error
	if errors.As(context.Cause(ctx), &cause) {
		return cause
	}
	return errClientGone
}

// errTimeout tells which limit ended a call.
func errTimeout(provider, limit string, d time.Duration) *Error {
	return &Error{
		Status: 504, Code: codeTimeout,
		Message: fmt.Sprintf("provider %q did not answer in time (timeouts.%s = %s)", provider, limit, d),
	}
}

// errUnreachable tells in the words of a person why no reply came.
func errUnreachable(provider string, err error) *Error {
	what := map[cause]string{
		unexplained:     "could not be reached",
		unresolved:      "could not be found (its host name does not resolve)",
		unreachable:     "refused the connection or is not reachable",
		badProxy:        "could not be reached through its proxy",
		badTLS:          "could not be reached over TLS (its certificate was not accepted)",
		badHTTP:         "sent a reply that is not valid HTTP",
		closedEarly:     "closed the connection without a reply",
		closedWhileIdle: "closed the connection without a reply",
		connectTimeout:  "did not answer in time",
	}[classify(err)]
	var op *net.OpError
	var dns *net.DNSError
	if !errors.As(err, &op) && !errors.As(err, &dns) {
		err = nil // other errors may quote what the provider sent
	}
	return &Error{
		Status: 502, Code: codeUnreachable,
		Message: fmt.Sprintf("provider %q %s", provider, what), Err: err,
	}
}
