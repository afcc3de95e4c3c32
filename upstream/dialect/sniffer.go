package dialect

import "bytes"

// A Sniffer sees the bytes of a provider's successful reply as they pass and learns what became of the call. It
// holds back and alters nothing, needs the same small memory for every reply, and learns the same however the
// bytes are split. What an event says counts when the event has ended and is valid JSON; what a plain reply says,
// when its JSON document has ended. The shapes that it knows are those of the OpenAI and Anthropic API references
// and of the providers that deviate from them. It is for one reply and one goroutine.
type Sniffer struct {
	endpoint Endpoint
	sse      bool
	framer   sseFramer
	walker   walker
	facts    facts // of the event, or the document, under way

	head    [6]byte // start of the event's data
	headLen int

	counts    tokenCounts
	seen      choiceSet
	finished  choiceSet
	ended     bool // the event, or the document, that ends a reply has been seen
	known     bool
	content   bool
	failed    bool
	usageOnly bool // the last event was one that include_usage adds
	malformed int
	size      int64 // of the event's data, or the document, under way
	deltas    deltaSizes
	finish    string
	errorType string
}

// NewSniffer makes a Sniffer for a reply to a call of e. sse: the reply is text/event-stream; else one document,
// which need not be JSON.
func NewSniffer(e Endpoint, sse bool) *Sniffer { return &Sniffer{endpoint: e, sse: sse} }

// Write takes the next bytes of the reply. It never fails.
func (s *Sniffer) Write(p []byte) (int, error) {
	if !s.sse {
		s.readDocument(p)
		return len(p), nil
	}
	for rest := p; len(rest) > 0; {
		n, _ := s.step(rest)
		rest = rest[n:]
	}
	return len(p), nil
}

// Usage returns the counts of the usage objects so far, of each count the largest. A count that is not a non-negative
// integer is unknown.
func (s *Sniffer) Usage() Usage {
	c := &s.counts
	if s.endpoint.Dialect() == Anthropic {
		return Usage{
			Input:      c.sum(inputTokens, cacheReadInput, cacheCreationInput),
			Output:     c.first(outputTokens),
			CacheRead:  c.first(cacheReadInput),
			CacheWrite: c.first(cacheCreationInput),
			Reasoning:  c.first(outputThinking, outputReasoning),

			CacheWrite1h: c.first(cacheWrite1h),
		}
	}
	u := Usage{
		Input:      c.first(promptTokens, inputTokens),
		Output:     c.first(completionTokens, outputTokens),
		CacheRead:  c.first(promptCached, inputCached, promptCacheHit, cacheReadInput),
		CacheWrite: c.first(promptCacheWrite, inputCacheWrite, cacheCreationInput),
		Reasoning:  c.first(completionReasoning, outputReasoning),
	}
	if u.Input == nil && u.Output == nil { // some embeddings and ranks have no more
		u.Input = c.first(totalTokens)
	}
	return u
}

// EstimateOutput guesses the output tokens of a reply whose provider does not tell them: of a stream, what its events
// have more than the smallest of them, of a plain reply the whole, at four bytes a token.
func (s *Sniffer) EstimateOutput() int64 {
	if !s.sse {
		return s.size / bytesPerToken
	}
	return s.deltas.tokens()
}

// FinishReason returns the provider's own word for why the reply ended: the latest finish_reason or stop_reason, for
// Responses the status; "" if it has not said so. At most 64 bytes.
func (s *Sniffer) FinishReason() string { return s.finish }

// Content reports whether content has been seen: text, thinking, a tool call or a refusal, whole or in part. In a
// stream whose events we do not know any event is content; in a plain reply any byte but white space.
func (s *Sniffer) Content() bool { return s.content }

// Finished reports whether the reply has said that it is complete: every choice that was seen has a finish_reason,
// [DONE], a message_delta with a stop_reason, message_stop, response.completed, .incomplete or .failed; a plain
// reply, the end of its JSON document.
func (s *Sniffer) Finished() bool { return s.ended || s.seen != choiceSet{} && s.seen == s.finished }

// Known reports whether the reply is a stream of a kind whose ends we know (chat and text completions, messages,
// responses) and an event of that kind has been seen. Without it Finished false says nothing.
func (s *Sniffer) Known() bool { return s.known }

// AtBoundary reports whether a stream stands between two events, so that another event could be written after the
// bytes seen so far. An event without its blank line is unfinished. False for a plain reply.
func (s *Sniffer) AtBoundary() bool { return s.sse && s.framer.atBoundary() }

// ErrorType returns the type, else the code, of the first error that was seen, at most 64 bytes; "error" if it
// has neither, "" if there was none.
func (s *Sniffer) ErrorType() string { return s.errorType }

// Failed reports whether an error event or a top-level error object has been seen.
func (s *Sniffer) Failed() bool { return s.failed }

// Malformed counts the events whose data is neither valid JSON nor [DONE].
func (s *Sniffer) Malformed() int { return s.malformed }

func (s *Sniffer) readDocument(p []byte) {
	if !s.content && len(bytes.Trim(p, " \t\r\n")) > 0 {
		s.content = true
	}
	s.size += int64(len(p))
	s.walker.feed(p, &s.facts)
	if !s.ended && s.walker.ended {
		s.ended = true
		s.learnReply()
	}
}

// step takes the first n bytes of p, which is not empty, and says what of the stream's frame they were.
func (s *Sniffer) step(p []byte) (n int, token sseToken) {
	n, token, data := s.framer.next(p)
	switch token {
	case sseData:
		s.readData(data)
	case sseDataLine:
		s.readData([]byte{'\n'})
	case sseEvent:
		s.endEvent()
	}
	return n, token
}

func (s *Sniffer) readData(data []byte) {
	s.size += int64(len(data))
	s.headLen += copy(s.head[s.headLen:], data)
	s.walker.feed(data, &s.facts)
}

func (s *Sniffer) endEvent() {
	s.usageOnly = false
	switch {
	case bytes.HasPrefix(s.head[:s.headLen], []byte("[DONE]")): // as the OpenAI SDKs look for it
		s.ended = true
	case s.walker.complete():
		if string(s.framer.event.bytes()) == "error" {
			s.facts.failed = true
		}
		s.learnStream()
		s.learnReply()
	default:
		s.malformed++
		s.content = s.content || !s.known
	}
	s.walker.reset()
	s.facts = facts{}
	s.headLen, s.size = 0, 0
}

// learnStream takes over what only an event of a stream can say.
func (s *Sniffer) learnStream() {
	f := &s.facts
	known, content := false, false
	switch s.endpoint {
	case ChatCompletions, Completions:
		known, content = f.choices, f.choiceContent
		s.seen.add(f.seen)
		s.finished.add(f.finished)
		s.usageOnly = f.usage && f.choices && f.elements == 0 && !f.failed
	case Messages:
		known = f.kind > otherEvent && f.kind < responseEvent
		content = f.kind == blockDelta && f.deltaContent || f.kind == blockStart && f.blockContent
		s.ended = s.ended || f.kind == messageStop || f.kind == messageDelta && f.finish.n > 0
	case Responses:
		known = f.kind >= responseEvent
		content = f.kind == responseDelta && f.deltaContent
		s.ended = s.ended || f.kind == responseDone || f.kind == responseFailed
		f.failed = f.failed || f.kind == responseFailed
	}
	if content {
		s.deltas.add(s.size)
	}
	s.known = s.known || known
	s.content = s.content || content || !s.known && !f.failed
}

// learnReply takes over what an event and a plain reply say alike.
func (s *Sniffer) learnReply() {
	f := &s.facts
	s.counts.update(&f.counts)
	finish := &f.finish
	if s.endpoint == Responses {
		finish = &f.status
	}
	if finish.n > 0 && string(finish.bytes()) != s.finish {
		s.finish = finish.String()
	}
	if f.failed {
		s.failed = true
		if s.errorType == "" {
			s.errorType = f.errorName()
		}
	}
}
