package upstream

import (
	"time"

	"proxycast/upstream/dialect"
)

// Report is what became of one relayed request.
type Report struct {
	Provider     string        // the one that answered, or the last one tried
	Model        string        // as sent to it
	Status       int           // what the client was sent, 499 if it left before the end; 0: nothing was sent, and Err tells what it should get
	Stream       bool          // the reply was an event stream
	Attempts     int           // calls of providers
	Tried        []Attempt     // those before the last
	Took         time.Duration // the last of them
	FirstContent time.Time     // zero: no content came
	Usage        dialect.Usage
	OutputGuess  int64 // tokens that came, if Usage does not tell or the reply is not whole
	FinishReason string
	Malformed    int // events that were passed on although they are not valid JSON
	UpstreamID   string
	Session      string // of the conversation that the request says it belongs to
	Err          *Error // nil: the call succeeded
	Aborted      bool   // the reply was begun and cannot be completed: the connection must be broken
}

// Attempt is a call of a provider that failed, and that another one followed.
type Attempt struct {
	Provider, Model string
	Status          int    // the provider's, or ours where it sent none
	Code            string // as in Error
	Took            time.Duration
}

// outcome is what became of one attempt: its report, and what decides on another one.
type outcome struct {
	Report
	status     int           // of an error reply that was read to its end; 0: there was none
	problem    []byte        // the body of that reply, as long as the attempt is open; nil if it is not a JSON object
	retryAfter time.Duration // what that reply asks for; 0: it does not say
	account    bool          // the account behind the credential is empty: neither the request nor the target is at fault
	refrain    bool          // that reply says not to ask again
	rekeyed    bool          // it was about the credential, which rests now, and the provider has another one
	blameless  bool          // a limit of ours ended the attempt: that says nothing about the target
	done       bool          // there is no other attempt: what the client gets of this one is on its way, or is up to the caller
}

// note makes the outcome of the latest attempt the report, and adds the attempt before it, which failed, to Tried.
func (rep *Report) note(out outcome) {
	attempts, tried := rep.Attempts+1, rep.Tried
	if rep.Attempts > 0 {
		tried = append(tried, Attempt{rep.Provider, rep.Model, rep.Err.Status, rep.Err.Code, rep.Took})
	}
	session := rep.Session
	*rep = out.Report
	rep.Attempts, rep.Tried, rep.Session = attempts, tried, session
}
