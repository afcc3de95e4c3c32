package dialect

import "bytes"

// facts is what one event, or one plain reply, says.
type facts struct {
	kind   eventKind
	counts tokenCounts
	usage  bool // there is a top-level usage object

	choices       bool // there is a choices array (or null, which some servers write for an empty one)
	elements      int  // of it
	index         int  // of the choice under way
	done          bool // the choice under way has a finish_reason
	seen          choiceSet
	finished      choiceSet
	choiceContent bool

	deltaContent bool // delta is, or has, a content that is not empty
	blockContent bool // content_block is one that arrives whole

	finish shortText
	status shortText // status of a response, if it is an ended one's

	failed    bool
	errorWord shortText // error.type
	errorCode shortText // error.code
	code      shortText // code beside type or error
}

// see is told of a value at path, which has depth levels; text is a scalar's start.
func (f *facts) see(path uint64, depth int, kind walkKind, text []byte) {
	shift := 8 * (depth - 1)
	top, rest := path>>shift, path&(1<<shift-1)
	switch top {
	case idChoices:
		if depth > 3 && rest>>(shift-16)&0xff == idUsage {
			f.seeUsage(rest&(1<<(shift-16)-1), kind, text)
		} else {
			f.seeChoices(rest, kind, text)
		}
	case idMeta: // of Cohere's rerank
		if depth > 2 && rest>>(shift-8) == idTokens {
			f.seeUsage(rest&(1<<(shift-8)-1), kind, text)
		}
	case idUsage:
		f.usage = f.usage || rest == 0 && kind == sawObject
		f.seeUsage(rest, kind, text)
	case idMessage, idXGroq, idResponse:
		if depth > 1 && rest>>(shift-8) == idUsage {
			f.seeUsage(rest&(1<<(shift-8)-1), kind, text)
		} else if top == idResponse {
			f.seeResponse(rest, kind, text)
		}
	case idError:
		f.seeError(rest, kind, text)
	case idDelta:
		f.seeDelta(rest, kind, text)
	case idContentBlock:
		f.seeBlock(rest, kind, text)
	default:
		f.seeTop(path, kind, text)
	}
}

// seeTop takes the scalars at the top of an event or a plain reply.
func (f *facts) seeTop(path uint64, kind walkKind, text []byte) {
	switch path {
	case idType:
		f.kind = kindOfEvent(text)
		f.failed = f.failed || f.kind == errorEvent
	case idCode:
		f.code.setWord(kind, text)
	case idInputTokens: // of count_tokens
		f.counts.set(inputTokens, kind, text)
	case idCachedTokens:
		f.counts.set(promptCached, kind, text)
	case idStopReason:
		f.finish.setWord(kind, text)
	case idStatus:
		f.seeResponse(path, kind, text)
	}
}

func (f *facts) seeChoices(path uint64, kind walkKind, text []byte) {
	const (
		choice    = idElement
		delta     = choice<<8 | idDelta
		fromDelta = delta << 8
		inDelta   = fromDelta << 8
	)
	switch path {
	case 0:
		f.choices = f.choices || kind == sawArray || kind == sawNull
	case choice:
		if kind == sawEnd {
			f.endChoice()
			return
		}
		f.index, f.done = f.elements, false
		f.elements++
	case choice<<8 | idIndex:
		if n, ok := tokenCount(kind, text); ok {
			f.index = int(n)
		}
	case choice<<8 | idFinishReason:
		if kind == sawString && len(text) > 0 {
			f.done = true
			f.finish.set(text)
		}
	case choice<<8 | idText, fromDelta | idContent, fromDelta | idRefusal, fromDelta | idReasoning, fromDelta | idReasoningContent:
		f.choiceContent = f.choiceContent || kind == sawString && len(text) > 0
	case fromDelta | idAudio, fromDelta | idFunctionCall:
		f.choiceContent = f.choiceContent || kind == sawObject
	case inDelta | idContent<<8 | idElement, inDelta | idToolCalls<<8 | idElement, inDelta | idReasoningDetails<<8 | idElement:
		f.choiceContent = true
	}
}

func (f *facts) endChoice() {
	f.seen.put(f.index)
	if f.done {
		f.finished.put(f.index)
	}
}

func (f *facts) seeDelta(path uint64, kind walkKind, text []byte) {
	switch path {
	case 0, idText, idThinking, idPartialJSON, idContent:
		f.deltaContent = f.deltaContent || kind == sawString && len(text) > 0
	case idStopReason:
		f.finish.setWord(kind, text)
	}
}

// seeBlock takes the content_block of a content_block_start. Most kinds start empty and grow by deltas; any other
// is all there.
func (f *facts) seeBlock(path uint64, kind walkKind, text []byte) {
	switch path {
	case idType:
		switch string(text) {
		case "text", "thinking", "tool_use", "server_tool_use", "mcp_tool_use", "compaction":
		default:
			f.blockContent = true
		}
	case idText, idThinking:
		f.blockContent = f.blockContent || kind == sawString && len(text) > 0
	}
}

func (f *facts) seeResponse(path uint64, kind walkKind, text []byte) {
	switch path {
	case idStatus:
		switch string(text) {
		case "completed", "incomplete", "failed", "cancelled":
			f.status.set(text)
		}
	case idError<<8 | idCode:
		f.errorCode.setWord(kind, text)
	}
}

func (f *facts) seeError(path uint64, kind walkKind, text []byte) {
	switch path {
	case 0:
		f.failed = f.failed || kind == sawObject || kind == sawString && len(text) > 0
	case idType:
		f.errorWord.setWord(kind, text)
	case idCode:
		f.errorCode.setWord(kind, text)
	}
}

// errorName returns the one word for an error. An error that is a bare string has none: it may quote what a log must
// not have.
func (f *facts) errorName() string {
	for _, t := range []*shortText{&f.errorWord, &f.errorCode, &f.code} {
		if t.n > 0 {
			return t.String()
		}
	}
	return "error"
}

// A choiceSet is a set of the indexes of choices. OpenAI allows 128; what lies beyond is not tracked.
type choiceSet [2]uint64

func (s *choiceSet) put(i int) {
	if i >= 0 && i < 128 {
		s[i>>6] |= 1 << (i & 63)
	}
}

func (s *choiceSet) add(t choiceSet) {
	s[0] |= t[0]
	s[1] |= t[1]
}

// An eventKind is what an event's type says, as far as it matters.
type eventKind uint8

const (
	noEventKind eventKind = iota
	errorEvent
	otherEvent
	// Anthropic messages
	messagePart // a type that carries nothing of interest but shows what the stream is
	blockStart
	blockDelta
	messageDelta
	messageStop
	// OpenAI responses
	responseEvent // any other of them
	responseDelta
	responseDone
	responseFailed
)

func kindOfEvent(name []byte) eventKind {
	switch string(name) {
	case "error":
		return errorEvent
	case "message_start", "content_block_stop", "ping":
		return messagePart
	case "content_block_start":
		return blockStart
	case "content_block_delta":
		return blockDelta
	case "message_delta":
		return messageDelta
	case "message_stop":
		return messageStop
	case "response.completed", "response.incomplete":
		return responseDone
	case "response.failed":
		return responseFailed
	}
	switch {
	case !bytes.HasPrefix(name, []byte("response.")):
		return otherEvent
	case bytes.HasSuffix(name, []byte(".delta")):
		return responseDelta
	}
	return responseEvent
}
