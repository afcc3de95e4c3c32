package upstream

import (
	"io"
	"net/http"
	"sync"
	"time"

	"proxycast/upstream/dialect"
)

// How much of a reply is held while another attempt is possible. It counts in max_inflight_bytes.
const (
	maxHeldStream   = 64 << 10
	maxHeldPlain    = 1 << 20
	maxHeldComplete = 8 << 20 // of a stream that passes when it is complete
)

// closingGrace is what a provider has to end a stream after its last event. The client waits no longer for the
// transport than the protocol demands.
const closingGrace = 500 * time.Millisecond

// Read buffers: small for streams, whose events are small and which are many.
var (
	streamBuffers = sync.Pool{New: func() any { return new([4 << 10]byte) }}
	plainBuffers  = sync.Pool{New: func() any { return new([32 << 10]byte) }}
)

// reply is a reply of a success status on its way to the client. It is held until
// it commits: from then on there is no other attempt.
type reply struct {
	provider *provider
	takes    dialect.Endpoint // what the provider was called at
	response *http.Response
	stream   bool
	answer   *answer
	deadline *deadline
	hold     bool   // another attempt is possible: nothing passes before content does
	complete bool   // nothing passes before the stream is complete, if hold
	onCommit func() // called once, as it commits
	buffers  *Buffers
	holder   string // in buffers

	read         *dialect.Reply // where the provider's bytes go; it leads to scrub, or to the sink
	scrub        *scrubber      // nil: encoded, or no credential that it could quote
	received     int64          // bytes of the provider's
	begun        bool           // one of them was not blank
	closed       bool           // the client has the event that nothing follows, or an error: what comes next changes nothing
	firstContent time.Time      // of a stream

	mu        sync.Mutex // between the copy and the keepalive
	held      []byte
	reserved  int64 // of held, in the gateway's memory for bodies
	committed bool
	keepalive *time.Timer   // nil: no comments
	every     time.Duration // of silence, after which a comment is due
	last      time.Time     // when something was written
}

// open prepares for the reply of a call that was made at the time asked. metered: include_usage was added to it.
func (p *reply) open(metered bool, asked time.Time, keepalive time.Duration) {
	o := dialect.ReplyOptions{Stream: p.stream, Encoded: isEncoded(p.response.Header), StripUsage: metered}
	if len(p.provider.secrets) > 0 && !o.Encoded {
		p.scrub = &scrubber{w: sink{p}, secrets: p.provider.secrets}
	}
	p.read = dialect.NewReply(p.takes, p.answer.speaks, o, p.out())
	if !p.stream {
		p.deadline.by("idle", time.Now(), p.provider.config.Timeouts.Idle)
		return
	}
	p.deadline.by("first_token", asked, p.provider.config.Timeouts.FirstToken)
	if keepalive > 0 {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.every, p.last = keepalive, time.Now()
		p.keepalive = time.AfterFunc(keepalive, p.sendKeepalive)
	}
}

// out returns what leads to the client behind p.read.
func (p *reply) out() io.Writer {
	if p.scrub != nil {
		return p.scrub
	}
	return sink{p}
}

// sink is where the bytes for the client go.
type sink struct{ p *reply }

func (s sink) Write(b []byte) (int, error) {
	if !s.p.committed {
		s.p.held = append(s.p.held, b...)
		return len(b), nil
	}
	return s.p.answer.w.Write(b)
}

// copy passes the reply until its end (nil) or until either side fails.
func (p *reply) copy() error {
	if p.stream {
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
		n, err := p.response.Body.Read(buf)
		if n > 0 {
			if werr := p.take(buf[:n]); werr != nil {
				return errToClient{werr}
			}
			if !p.committed && (p.read.Failed() || p.read.Closed()) {
				return nil // there is nothing to wait for
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

// take passes bytes of the provider's on, or holds them, and learns from them.
func (p *reply) take(b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.received += int64(len(b))
	if !p.begun {
		p.begin(b)
	}
	waiting := p.stream && p.firstContent.IsZero() // the limit of the first token goes on
	if !waiting && !p.closed {
		p.deadline.lift() // a slow client is not an idle provider
	}
	if _, err := p.read.Write(b); err != nil {
		return err
	}
	now := time.Now()
	if p.committed {
		p.last = now
	}
	if waiting && p.read.Content() {
		p.firstContent, waiting = now, false
	}
	if err := p.pass(); err != nil {
		return err
	}
	if p.committed && p.stream && (p.read.Failed() || !p.closed && p.read.Closed()) { // a marker may yet follow an error
		p.closed = true
		p.deadline.by("closing", time.Now(), closingGrace)
	}
	if !waiting && !p.closed {
		p.deadline.by("idle", time.Now(), p.provider.config.Timeouts.Idle)
	}
	return nil
}

// begin looks at the first bytes of a reply that are not blank: what is called a stream but begins as JSON or a web page does is
// a document, unless the client already reads a stream.
func (p *reply) begin(b []byte) {
	text := trimBlank(b)
	if p.begun = len(text) > 0; !p.begun || !p.stream || p.answer.status != 0 || isEncoded(p.response.Header) {
		return
	}
	switch text[0] {
	case '{', '[', '<':
		p.stream = false
		p.read = dialect.NewReply(p.takes, p.answer.speaks, dialect.ReplyOptions{}, p.out())
		if p.keepalive != nil {
			p.keepalive.Stop()
			p.keepalive = nil
		}
	}
}

// pass commits once that is due. Streams are flushed after each read.
func (p *reply) pass() error {
	switch {
	case !p.committed && p.mayCommit():
		return p.commit()
	case p.committed && p.stream:
		return p.answer.flush()
	}
	return nil
}

// mayCommit reports whether a held reply is to be committed now: it has content, or there is no room to hold it.
func (p *reply) mayCommit() bool {
	switch {
	case !p.hold:
		return len(p.held) > 0 && !p.misfits() || len(p.held) > maxHeldPlain
	case p.read.Failed(): // whatever else it says: another attempt is possible
		return false
	case !p.stream:
		return len(p.held) > maxHeldPlain || !p.reserve()
	case p.complete:
		return p.finished() || len(p.held) > maxHeldComplete || !p.reserve()
	}
	return p.read.Content() || p.finished() || len(p.held) > maxHeldStream || !p.reserve()
}

// finished reports whether the reply is complete, and an answer.
func (p *reply) finished() bool { return p.read.Finished() && p.read.Answered() }

// misfits reports whether a document that is to be JSON does not begin as an object or an array, as a web page does
// not.
func (p *reply) misfits() bool {
	if p.stream || p.takes == dialect.AudioSpeech {
		return false
	}
	begin := trimBlank(p.held)
	return len(begin) == 0 || begin[0] != '{' && begin[0] != '['
}

// reserve counts what is held among the request bodies.
func (p *reply) reserve() bool {
	more := int64(cap(p.held)) - p.reserved
	if more > 0 && p.buffers.reserve(p.holder, more) != nil {
		return false
	}
	p.reserved += more
	return true
}

// commit sends the head of the reply and what was held. No other attempt follows.
func (p *reply) commit() error {
	p.committed = true
	p.onCommit()
	if p.answer.status == 0 {
		p.writeHead()
	}
	if len(p.held) > 0 {
		if _, err := p.answer.w.Write(p.held); err != nil {
			return err
		}
	}
	p.freeHeld()
	if !p.stream {
		return nil
	}
	return p.answer.flush()
}

// finish commits, if that is still to be done, and passes what the writers before the sink hold.
func (p *reply) finish() error {
	if !p.committed {
		if err := p.commit(); err != nil {
			return err
		}
	}
	if err := p.read.Close(); err != nil {
		return err
	}
	if p.scrub != nil {
		return p.scrub.Close()
	}
	return nil
}

// freeHeld frees what was held.
func (p *reply) freeHeld() {
	p.buffers.free(p.holder, p.reserved)
	p.held, p.reserved = nil, 0
}

func (p *reply) writeHead() {
	h := p.answer.w.Header()
	copyReplyHeader(h, p.response.Header, p.provider.scrub)
	if p.stream {
		if !isEventStream(h.Get("Content-Type")) {
			h["Content-Type"] = []string{"text/event-stream"}
		}
		h["X-Accel-Buffering"] = []string{"no"}
		if len(h["Cache-Control"]) == 0 {
			h["Cache-Control"] = []string{"no-cache"}
		}
		h.Del("Content-Length") // not every byte passes as it is
	} else if isEventStream(h.Get("Content-Type")) {
		h["Content-Type"] = []string{"application/json"}
	}
	p.answer.begin(p.response.StatusCode)
}

// sendKeepalive writes a comment into a stream that was silent for the keepalive time, if
// it stands between two events.
func (p *reply) sendKeepalive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keepalive == nil {
		return
	}
	if silent := time.Since(p.last); silent < p.every {
		p.keepalive.Reset(p.every - silent)
		return
	}
	switch {
	case !p.committed && p.hold && !p.complete: // another attempt may have another answer
	case p.committed && !p.read.AtBoundary():
	default:
		if p.answer.status == 0 {
			p.writeHead()
		}
		if _, err := io.WriteString(p.answer.w, ": keepalive\n\n"); err != nil {
			return // the copy will find it out
		}
		p.answer.flush()
	}
	p.last = time.Now()
	p.keepalive.Reset(p.every)
}

// stopKeepalive ends the comments. After it nothing but the caller writes.
func (p *reply) stopKeepalive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keepalive != nil {
		p.keepalive.Stop()
		p.keepalive = nil
	}
}
