package upstream

import (
	"time"

	"proxycast/upstream/dialect"
)

// Report is what became of one relayed request.
type Report struct {
	Provider     string    // the one that answered, or the last one tried
	Model        string    // as sent to it
	Status       int       // what the client was sent, 499 if it left before the end; 0: nothing was sent, and Err tells what it should get
	Stream       bool      // the reply was an event stream
	Attempts     int       // calls of providers
	FirstContent time.Time // zero: no content came
	Usage        dialect.Usage
	OutputGuess  int64 // tokens that came, if Usage does not tell or the reply is not whole
	FinishReason string
	Malformed    int // events that were passed on although they are not valid JSON
	UpstreamID   string
	Err          *Error // nil: the call succeeded
	Aborted      bool   // the reply was begun and cannot be completed: the connection must be broken
}

// outcome is what became of one attempt: its report, and what decides on another one.
type outcome struct {
	Report
	status     int           // of an error reply that was read to its end; 0: there was none
	problem    []byte        // the body of that reply, as long as the attempt is open; nil if it is not a JSON object
	retryAfter time.Duration // what that reply asks for; 0: it does not say
	rekeyed    bool          // it was about the credential, which rests now, and the provider has another one
	blameless  bool          // a limit of ours ended the attempt: that says nothing about the target
	done       bool          // there is no other attempt: what the client gets of this one is on its way, or is up to the caller
}

// note makes out, the outcome of the request's latest attempt, the report.
func (rep *Report) note(out outcome) {
	attempts := rep.Attempts + 1
	*rep = out.Report
	rep.Attempts = attempts
}
