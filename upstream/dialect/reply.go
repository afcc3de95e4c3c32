package dialect

import "io"

// A Reply is where the bytes of a provider's successful reply go on their way to the client. It tells what became
// of the call, of what was written so far, and takes out the usage event that the gateway asked for; all other bytes
// pass to its writer as they are. It is for one reply and one goroutine.
//
// An encoded reply cannot be read: it has content from its first byte on, counts as finished, has not failed and is
// never at a boundary.
type Reply struct {
	w       io.Writer
	sniffer *Sniffer  // nil: encoded
	strip   *Stripper // nil: every event passes
	size    int64     // of an encoded reply
}

// ReplyOptions says what is known of a reply by its head and by its request.
type ReplyOptions struct {
	Stream     bool // text/event-stream, else one document
	Encoded    bool // in a Content-Encoding other than identity
	StripUsage bool // include_usage was added to the request
}

// NewReply passes the reply of a provider that was called at one endpoint to the client of another. The two are the
// same as long as there is no translation between them.
func NewReply(provider, client Endpoint, o ReplyOptions, w io.Writer) *Reply {
	r := &Reply{w: w}
	if o.Encoded {
		return r
	}
	r.sniffer = NewSniffer(provider, o.Stream)
	if o.Stream && o.StripUsage && provider == client {
		r.strip = NewStripper(r.sniffer, w)
	}
	return r
}

// Write takes the next bytes of the reply. The error is the writer's.
func (r *Reply) Write(p []byte) (int, error) {
	switch {
	case r.sniffer == nil:
		r.size += int64(len(p))
	case r.strip != nil:
		return r.strip.Write(p)
	default:
		r.sniffer.Write(p)
	}
	return r.w.Write(p)
}

// Close passes what is held of an event that the end has cut. It does not close the writer.
func (r *Reply) Close() error {
	if r.strip == nil {
		return nil
	}
	return r.strip.Close()
}

// The rest tells what a Sniffer tells.

func (r *Reply) Content() bool    { return r.size > 0 || r.sniffer != nil && r.sniffer.Content() }
func (r *Reply) Finished() bool   { return r.sniffer == nil || r.sniffer.Finished() }
func (r *Reply) Failed() bool     { return r.sniffer != nil && r.sniffer.Failed() }
func (r *Reply) Known() bool      { return r.sniffer != nil && r.sniffer.Known() }
func (r *Reply) Closed() bool     { return r.sniffer != nil && r.sniffer.Closed() }
func (r *Reply) Answered() bool   { return r.sniffer == nil || r.sniffer.Answered() }
func (r *Reply) AtBoundary() bool { return r.sniffer != nil && r.sniffer.AtBoundary() }

func (r *Reply) Usage() (u Usage) {
	if r.sniffer != nil {
		u = r.sniffer.Usage()
	}
	return u
}

// EstimateOutput guesses the output tokens so far where the provider does not tell them.
func (r *Reply) EstimateOutput() int64 {
	if r.sniffer == nil {
		return r.size / bytesPerToken
	}
	return r.sniffer.EstimateOutput()
}

func (r *Reply) FinishReason() string {
	if r.sniffer == nil {
		return ""
	}
	return r.sniffer.FinishReason()
}

func (r *Reply) Malformed() int {
	if r.sniffer == nil {
		return 0
	}
	return r.sniffer.Malformed()
}

func (r *Reply) ErrorType() string {
	if r.sniffer == nil {
		return ""
	}
	return r.sniffer.ErrorType()
}
