package dialect

import (
	"encoding/binary"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// A walker reads one JSON text (RFC 8259) in pieces of any size and tells a facts about each value whose path has
// only names that we know. It checks the whole grammar, keeps no text but the start of one short scalar, and
// needs no memory beyond itself, however large the text is. The zero value is ready; reset makes it so again.
type walker struct {
	state walkState
	isKey bool // the string under way is an object's key
	keep  bool // the value or key under way is wanted
	ended bool // the top-level value has ended

	depth int      // containers that are open
	path  uint64   // ids of the way to the value, one byte a level, the innermost lowest; the first pathLevels levels
	array nestBits // bit d is set: the container at depth d is an array

	text    shortText // start of the scalar or key under way, from the pieces before this one
	literal string    // what is left of true, false or null
	hex     rune      // code unit of a \u escape so far
	hexLeft int
}

const pathLevels = 8

type nestBits [(maxNesting + 63) / 64]uint64

// A shortText is the first bytes of a text; what does not fit is left out.
type shortText struct {
	n   uint8
	buf [64]byte
}

func (t *shortText) add(p []byte)  { t.n += uint8(copy(t.buf[t.n:], p)) }
func (t *shortText) set(p []byte)  { t.n = uint8(copy(t.buf[:], p)) }
func (t *shortText) bytes() []byte { return t.buf[:t.n] }

// setWord sets the text to a string or a number; any other value is no word.
func (t *shortText) setWord(kind walkKind, text []byte) {
	if kind == sawString || kind == sawNumber {
		t.set(text)
	}
}

// String returns the text without a character that the end has cut.
func (t *shortText) String() string { return strings.ToValidUTF8(string(t.bytes()), "") }

// Ids of the names that an interesting path can have. A path of them is written idChoices<<8 | idElement.
const (
	_         uint64 = iota
	idOther          // any name not below; nothing inside such a value is interesting
	idElement        // an array's element
	idAudio
	idCacheCreationInputTokens
	idCacheReadInputTokens
	idCacheWriteTokens
	idCachedTokens
	idChoices
	idCode
	idCompletionTokens
	idCompletionTokensDetails
	idContent
	idContentBlock
	idDelta
	idError
	idFinishReason
	idFunctionCall
	idIndex
	idInputTokens
	idInputTokensDetails
	idMessage
	idOutputTokens
	idOutputTokensDetails
	idPartialJSON
	idPromptCacheHitTokens
	idPromptTokens
	idPromptTokensDetails
	idReasoning
	idReasoningContent
	idReasoningDetails
	idReasoningTokens
	idRefusal
	idResponse
	idStatus
	idStopReason
	idText
	idThinking
	idThinkingTokens
	idToolCalls
	idType
	idUsage
	idCacheCreation
	idEphemeral1h
	idMeta
	idTokens
	idTotalTokens
	idXGroq
)

func idOf(name []byte) uint64 {
	switch string(name) {
	case "audio":
		return idAudio
	case "cache_creation_input_tokens":
		return idCacheCreationInputTokens
	case "cache_read_input_tokens":
		return idCacheReadInputTokens
	case "cache_write_tokens":
		return idCacheWriteTokens
	case "cached_tokens":
		return idCachedTokens
	case "choices":
		return idChoices
	case "code":
		return idCode
	case "completion_tokens":
		return idCompletionTokens
	case "completion_tokens_details":
		return idCompletionTokensDetails
	case "content":
		return idContent
	case "content_block":
		return idContentBlock
	case "delta":
		return idDelta
	case "error":
		return idError
	case "finish_reason":
		return idFinishReason
	case "function_call":
		return idFunctionCall
	case "index":
		return idIndex
	case "input_tokens":
		return idInputTokens
	case "input_tokens_details":
		return idInputTokensDetails
	case "message":
		return idMessage
	case "output_tokens":
		return idOutputTokens
	case "output_tokens_details":
		return idOutputTokensDetails
	case "partial_json":
		return idPartialJSON
	case "prompt_cache_hit_tokens":
		return idPromptCacheHitTokens
	case "prompt_tokens":
		return idPromptTokens
	case "prompt_tokens_details":
		return idPromptTokensDetails
	case "reasoning":
		return idReasoning
	case "reasoning_content":
		return idReasoningContent
	case "reasoning_details":
		return idReasoningDetails
	case "reasoning_tokens":
		return idReasoningTokens
	case "refusal":
		return idRefusal
	case "response":
		return idResponse
	case "status":
		return idStatus
	case "stop_reason":
		return idStopReason
	case "text":
		return idText
	case "thinking":
		return idThinking
	case "thinking_tokens":
		return idThinkingTokens
	case "tool_calls":
		return idToolCalls
	case "type":
		return idType
	case "cache_creation":
		return idCacheCreation
	case "ephemeral_1h_input_tokens":
		return idEphemeral1h
	case "meta":
		return idMeta
	case "tokens":
		return idTokens
	case "total_tokens":
		return idTotalTokens
	case "usage":
		return idUsage
	case "x_groq":
		return idXGroq
	}
	return idOther
}

type walkState uint8

const (
	wantValue        walkState = iota
	wantValueOrClose           // after '['
	wantKeyOrClose             // after '{'
	wantKey                    // after ',' in an object
	wantColon
	wantCommaOrClose // after a value inside a container
	wantNothing      // after the top-level value
	inString
	inEscape // after a backslash
	inHex    // in the four digits of a \u escape
	inLiteral
	// A number: the part of RFC 8259's grammar that was read last.
	inMinus
	inZero
	inInteger
	inPoint
	inFraction
	inE
	inESign
	inExponent
	malformed
)

// A walkKind is what a walker has seen at a path. A container is told twice: when it opens and when it ends.
type walkKind uint8

const (
	sawNull walkKind = iota
	sawBool
	sawNumber
	sawString
	sawObject
	sawArray
	sawEnd
)

func (w *walker) reset() { w.state, w.ended, w.depth, w.path = wantValue, false, 0, 0 }

// complete reports whether what was fed so far is one whole JSON text.
func (w *walker) complete() bool {
	switch w.state {
	case wantNothing:
		return true
	case inZero, inInteger, inFraction, inExponent:
		return w.depth == 0
	}
	return false
}

// feed walks over the next piece of the text.
func (w *walker) feed(p []byte, f *facts) {
	for i := 0; i < len(p); {
		switch w.state {
		case inString:
			i += w.walkString(p[i:], f)
		case inEscape, inHex:
			w.walkEscape(p[i])
			i++
		case inLiteral:
			i += w.walkLiteral(p[i:], f)
		case inMinus, inZero, inInteger, inPoint, inFraction, inE, inESign, inExponent:
			i += w.walkNumber(p[i:], f)
		case malformed:
			return
		default:
			if c := p[i]; c != ' ' && c != '\n' && c != '\r' && c != '\t' {
				w.walkToken(c, f)
			}
			i++
		}
	}
}

// walkToken takes a byte that stands between scalars, or is a scalar's first.
func (w *walker) walkToken(c byte, f *facts) {
	switch w.state {
	case wantCommaOrClose:
		switch {
		case c == ',' && w.inArray():
			w.state = wantValue
		case c == ',':
			w.state = wantKey
		default:
			w.close(c, f)
		}
	case wantColon:
		w.state = wantValue
		if c != ':' {
			w.state = malformed
		}
	case wantKey, wantKeyOrClose:
		switch {
		case c == '"':
			w.isKey, w.keep = true, w.depth <= pathLevels && w.path>>8&0xff != idOther
			w.state, w.text.n = inString, 0
		case w.state == wantKeyOrClose:
			w.close(c, f)
		default:
			w.state = malformed
		}
	case wantValue, wantValueOrClose:
		if c == ']' && w.state == wantValueOrClose {
			w.close(c, f)
			return
		}
		w.beginValue(c, f)
	default: // wantNothing
		w.state = malformed
	}
}

func (w *walker) beginValue(c byte, f *facts) {
	w.isKey, w.keep, w.text.n = false, w.interesting(), 0
	switch c {
	case '"':
		w.state = inString
	case '{':
		w.open(false, f)
	case '[':
		w.open(true, f)
	case 't':
		w.state, w.literal = inLiteral, "rue"
	case 'f':
		w.state, w.literal = inLiteral, "alse"
	case 'n':
		w.state, w.literal = inLiteral, "ull"
	default:
		w.state = afterByte(wantValue, c)
		w.capture([]byte{c})
	}
}

// interesting reports whether the value at path is one to tell of.
func (w *walker) interesting() bool { return w.path&0xff > idOther && w.depth <= pathLevels }

func (w *walker) inArray() bool {
	d := w.depth - 1
	return w.array[d>>6]>>(d&63)&1 != 0
}

func (w *walker) open(array bool, f *facts) {
	if w.depth == maxNesting {
		w.state = malformed
		return
	}
	kind, child, bit := sawObject, idOther, uint64(0)
	w.state = wantKeyOrClose
	if array {
		kind, bit = sawArray, 1
		w.state = wantValueOrClose
		if w.path&0xff > idOther {
			child = idElement
		}
	}
	if w.keep {
		f.see(w.path, w.depth, kind, nil)
	}
	word, at := &w.array[w.depth>>6], w.depth&63
	*word = *word&^(1<<at) | bit<<at
	if w.depth < pathLevels {
		w.path = w.path<<8 | child
	}
	w.depth++
}

func (w *walker) close(c byte, f *facts) {
	closer := byte('}')
	if w.inArray() {
		closer = ']'
	}
	if c != closer {
		w.state = malformed
		return
	}
	w.depth--
	if w.depth < pathLevels {
		w.path >>= 8
	}
	if w.interesting() {
		f.see(w.path, w.depth, sawEnd, nil)
	}
	w.endValue()
}

func (w *walker) endValue() {
	w.state = wantCommaOrClose
	if w.depth == 0 {
		w.state, w.ended = wantNothing, true
	}
}

// endScalar ends the scalar under way, of which rest is the last piece.
func (w *walker) endScalar(kind walkKind, rest []byte, f *facts) {
	if w.keep {
		f.see(w.path, w.depth, kind, w.whole(rest))
	}
	w.endValue()
}

// whole returns the start of the scalar under way, of which rest is the last piece: mostly also the first.
func (w *walker) whole(rest []byte) []byte {
	if w.text.n == 0 {
		return rest[:min(len(rest), len(w.text.buf))]
	}
	w.text.add(rest)
	return w.text.bytes()
}

func (w *walker) capture(p []byte) {
	if w.keep {
		w.text.add(p)
	}
}

func (w *walker) walkString(p []byte, f *facts) int {
	n := plainRun(p)
	if n == len(p) {
		w.capture(p)
		return n
	}
	switch c := p[n]; {
	case c == '\\':
		w.capture(p[:n])
		w.state = inEscape
	case c != '"':
		w.state = malformed
	case w.isKey:
		w.endKey(p[:n])
	default:
		w.endScalar(sawString, p[:n], f)
	}
	return n + 1
}

func (w *walker) endKey(rest []byte) {
	w.state = wantColon
	if w.depth > pathLevels {
		return
	}
	id := idOther
	if w.keep {
		id = idOf(w.whole(rest))
	}
	w.path = w.path&^0xff | id
}

// walkEscape takes one byte of an escape, after its backslash. Halves of a surrogate pair become U+FFFD each: no
// name or word that we look for has any.
func (w *walker) walkEscape(c byte) {
	if w.state == inHex {
		digit := hexDigit(c)
		if digit < 0 {
			w.state = malformed
			return
		}
		w.hex = w.hex<<4 | digit
		if w.hexLeft--; w.hexLeft == 0 {
			var buf [utf8.UTFMax]byte
			w.capture(utf8.AppendRune(buf[:0], w.hex))
			w.state = inString
		}
		return
	}
	w.state = inString
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		w.state, w.hex, w.hexLeft = inHex, 0, 4
		return
	default:
		w.state = malformed
		return
	}
	w.capture([]byte{c})
}

func (w *walker) walkLiteral(p []byte, f *facts) int {
	n := min(len(p), len(w.literal))
	if string(p[:n]) != w.literal[:n] {
		w.state = malformed
		return n
	}
	last := w.literal[len(w.literal)-1]
	w.literal = w.literal[n:]
	if w.literal == "" {
		kind := sawBool
		if last == 'l' {
			kind = sawNull
		}
		w.endScalar(kind, nil, f)
	}
	return n
}

// walkNumber takes the bytes of a number up to the one that ends it, which it leaves.
func (w *walker) walkNumber(p []byte, f *facts) int {
	n := 0
	for n < len(p) {
		next := afterByte(w.state, p[n])
		if next == malformed {
			break
		}
		w.state = next
		n++
	}
	if n == len(p) {
		w.capture(p)
		return n
	}
	switch w.state {
	case inZero, inInteger, inFraction, inExponent:
		w.endScalar(sawNumber, p[:n], f)
	default:
		w.state = malformed
	}
	return n
}

// afterByte returns the part of a number that c belongs to when it follows the part s; malformed if it cannot.
func afterByte(s walkState, c byte) walkState {
	switch {
	case '0' <= c && c <= '9':
		switch s {
		case wantValue, inMinus:
			if c == '0' {
				return inZero
			}
			return inInteger
		case inInteger:
			return inInteger
		case inPoint, inFraction:
			return inFraction
		case inE, inESign, inExponent:
			return inExponent
		}
	case c == '.' && (s == inZero || s == inInteger):
		return inPoint
	case c|0x20 == 'e' && (s == inZero || s == inInteger || s == inFraction):
		return inE
	case c == '-' && s == wantValue:
		return inMinus
	case (c == '-' || c == '+') && s == inE:
		return inESign
	}
	return malformed
}

// plainRun counts the bytes of p before the first that means something inside a string: a quote, a backslash, a
// control character.
func plainRun(p []byte) int {
	n := 0
	for ; len(p)-n >= 8; n += 8 {
		if stops := stringStops(binary.LittleEndian.Uint64(p[n:])); stops != 0 {
			return n + bits.TrailingZeros64(stops)>>3
		}
	}
	for ; n < len(p); n++ {
		if c := p[n]; c == '"' || c == '\\' || c < ' ' {
			break
		}
	}
	return n
}
