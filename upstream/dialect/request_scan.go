package dialect

// Finding where JSON tokens end. At the top level of a body they are checked on the way (RFC 8259, and no laxer or
// stricter than encoding/json); below it as far as their ends depend on it.
//
// A span function takes the body and the offset where its token begins, and returns the offset just past it. If the
// token is faulty it returns the offset of the fault and what was expected there; that text is empty otherwise.

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxNesting is the depth of arrays and objects that a body may have, its own object included. It is encoding/json's
// limit.
const maxNesting = 10_000

const (
	faultEnd     = "unexpected end of the body"
	faultNesting = "arrays and objects are nested more than 10,000 deep"
	faultKey     = `expected '"' to begin a key`
	faultColon   = "expected ':' after a key"
	faultValue   = "expected a value"
	faultMember  = "expected ',' or '}' after a value"
	faultElement = "expected ',' or ']' after a value"
	faultDigit   = "expected a digit in a number"
	faultControl = `a control character inside a string must be escaped (a line break is \n)`
	faultEscape  = `expected one of "\/bfnrtu after a backslash`
	faultHex     = `expected four hexadecimal digits after \u`
)

func spanSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// spanValue spans any value inside the body's object.
func spanValue(b []byte, i int) (int, string) {
	if i < len(b) && (b[i] == '{' || b[i] == '[') {
		return spanNested(b, i)
	}
	return spanScalar(b, i)
}

// spanNested spans an array or an object with all that it holds, and checks what can matter to where it ends: the
// brackets, the ends of the strings, and that nothing else stands between them than what JSON is written with, so
// that no parser, however lenient (comments, single quotes, NaN), can find its end elsewhere. All else is the
// provider's business.
//
// It does not recurse: one bit for each open level says whether it is an object.
func spanNested(b []byte, i int) (int, string) {
	const outer = 1 // the body's own object
	var objects [maxNesting/64 + 1]uint64
	var fault string
	for depth := outer; i < len(b); {
		switch class := tokenClass[b[i]]; class {
		case filler:
			i++
		case quote:
			if i, fault = skipString(b, i); fault != "" {
				return i, fault
			}
		case openArray, openObject:
			if depth == maxNesting {
				return i, faultNesting
			}
			depth++
			word, bit := &objects[depth>>6], uint64(1)<<(depth&63)
			*word &^= bit
			if class == openObject {
				*word |= bit
			}
			i++
		case closeArray, closeObject:
			switch inObject := objects[depth>>6]>>(depth&63)&1 == 1; {
			case inObject && class == closeArray:
				return i, faultMember
			case !inObject && class == closeObject:
				return i, faultElement
			}
			i++
			if depth--; depth == outer {
				return i, ""
			}
		default:
			return i, faultValue
		}
	}
	return i, faultEnd
}

// The classes of bytes outside strings. The zero value stands for what JSON has none of there.
const (
	filler = iota + 1
	quote
	openArray
	openObject
	closeArray
	closeObject
)

var tokenClass = func() (class [256]uint8) {
	for _, c := range []byte(" \t\r\n,:0123456789+-.eEtrufalsn") {
		class[c] = filler
	}
	class['"'], class['['], class['{'], class[']'], class['}'] = quote, openArray, openObject, closeArray, closeObject
	return class
}()

// skipString spans a string with its quotes, looking at nothing but its end: a quote behind an even number of
// backslashes. One that stands where the digits of a \u escape belong is a fault: a parser that takes them unseen
// would read on.
func skipString(b []byte, i int) (int, string) {
	for at := i + 1; ; {
		n := bytes.IndexByte(b[at:], '"')
		if n < 0 {
			return len(b), faultEnd
		}
		end := at + n
		at = end + 1
		if oddBackslashes(b, i+1, end) {
			continue
		}
		for u := end - 1; u > i+1 && u >= end-4; u-- {
			if b[u] == 'u' && oddBackslashes(b, i+1, u) {
				return end, faultHex
			}
		}
		return end + 1, ""
	}
}

// oddBackslashes reports whether an odd number of backslashes stands before b[end], none of them before b[start].
func oddBackslashes(b []byte, start, end int) bool {
	n := end
	for n > start && b[n-1] == '\\' {
		n--
	}
	return (end-n)&1 == 1
}

// spanName spans a member's key alone.
func spanName(b []byte, i int) (int, string) {
	switch {
	case i == len(b):
		return i, faultEnd
	case b[i] != '"':
		return i, faultKey
	}
	return spanString(b, i)
}

// spanColon spans the colon after a key and the white space around it.
func spanColon(b []byte, i int) (int, string) {
	i = spanSpace(b, i)
	switch {
	case i == len(b):
		return i, faultEnd
	case b[i] != ':':
		return i, faultColon
	}
	return spanSpace(b, i+1), ""
}

func spanScalar(b []byte, i int) (int, string) {
	if i == len(b) {
		return i, faultEnd
	}
	switch c := b[i]; {
	case c == '"':
		return spanString(b, i)
	case c == '-' || '0' <= c && c <= '9':
		return spanNumber(b, i)
	case c == 't':
		return spanLiteral(b, i, "true")
	case c == 'f':
		return spanLiteral(b, i, "false")
	case c == 'n':
		return spanLiteral(b, i, "null")
	}
	return i, faultValue
}

func spanLiteral(b []byte, i int, literal string) (int, string) {
	for j := range len(literal) {
		switch {
		case i+j == len(b):
			return i + j, faultEnd
		case b[i+j] != literal[j]:
			return i, faultValue
		}
	}
	return i + len(literal), ""
}

func spanNumber(b []byte, i int) (int, string) {
	var fault string
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i, fault = spanDigits(b, i); fault != "" {
		return i, fault
	}
	if i < len(b) && b[i] == '.' {
		if i, fault = spanDigits(b, i+1); fault != "" {
			return i, fault
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return spanDigits(b, i)
	}
	return i, ""
}

// spanDigits spans one digit or more.
func spanDigits(b []byte, i int) (int, string) {
	first := i
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	switch {
	case i > first:
		return i, ""
	case i == len(b):
		return i, faultEnd
	}
	return i, faultDigit
}

// spanString spans a string with its quotes. Bytes that are not UTF-8 are let through, as encoding/json lets them.
func spanString(b []byte, i int) (int, string) {
	var fault string
	i++
	for {
		for i+8 <= len(b) {
			if stops := stringStops(binary.LittleEndian.Uint64(b[i:])); stops != 0 {
				i += bits.TrailingZeros64(stops) >> 3
				break
			}
			i += 8
		}
		// Here stands a byte that stops a string, or one of the last seven of the body.
		switch {
		case i == len(b):
			return i, faultEnd
		case b[i] == '"':
			return i + 1, ""
		case b[i] == '\\':
			if i, fault = spanEscape(b, i); fault != "" {
				return i, fault
			}
		case b[i] < ' ':
			return i, faultControl
		default:
			i++
		}
	}
}

// stringStops marks, in the top bit of each of the eight bytes of w, the quotes, backslashes and control characters.
// Only the lowest mark is sure: the subtractions may carry into bytes above it. It must be small enough to be
// inlined.
func stringStops(w uint64) uint64 {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	quoteOrControl := (w ^ ones*('"'^' ')) - ones*(' '+1) // with quote and space exchanged, both are below 0x21
	backslash := (w ^ ones*'\\') - ones
	return (quoteOrControl | backslash) &^ w & tops
}

func spanEscape(b []byte, i int) (int, string) {
	if i+1 == len(b) {
		return i + 1, faultEnd
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, ""
	case 'u':
		for j := i + 2; j < i+6; j++ {
			switch {
			case j == len(b):
				return j, faultEnd
			case hexDigit(b[j]) < 0:
				return j, faultHex
			}
		}
		return i + 6, ""
	}
	return i + 1, faultEscape
}

// hexDigit returns the value of a hexadecimal digit, or -1.
func hexDigit(c byte) rune {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return rune(c|0x20-'a') + 10
	}
	return -1
}

// textRune decodes the first character of what stands between the quotes of a string that spanString has passed, and
// returns its length there. As with encoding/json, a lone surrogate and a byte that is not UTF-8 are U+FFFD.
func textRune(raw []byte) (rune, int) {
	if raw[0] != '\\' {
		return utf8.DecodeRune(raw)
	}
	switch raw[1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r := utf16Unit(raw)
		if !utf16.IsSurrogate(r) {
			return r, 6
		}
		if len(raw) > 7 && raw[6] == '\\' && raw[7] == 'u' {
			if pair := utf16.DecodeRune(r, utf16Unit(raw[6:])); pair != utf8.RuneError {
				return pair, 12
			}
		}
		return utf8.RuneError, 6
	}
	return rune(raw[1]), 2
}

// decodeText decodes what stands between the quotes of a string.
func decodeText(raw []byte) string {
	var text strings.Builder
	text.Grow(len(raw))
	for len(raw) > 0 {
		r, n := textRune(raw)
		text.WriteRune(r)
		raw = raw[n:]
	}
	return text.String()
}

// utf16Unit returns the value of the \uXXXX at the start of raw.
func utf16Unit(raw []byte) rune {
	return hexDigit(raw[2])<<12 | hexDigit(raw[3])<<8 | hexDigit(raw[4])<<4 | hexDigit(raw[5])
}

// textFolds reports whether raw decodes to s but for upper and lower case, as Unicode folds them, and for what stands
// behind a NUL, where a parser in C may see the end.
func textFolds(raw []byte, s string) bool {
	var text [64]byte
	decoded := text[:0]
	for len(raw) > 0 && len(decoded) <= 4*len(s) {
		r, n := textRune(raw)
		raw = raw[n:]
		switch {
		case r == 0:
			return strings.EqualFold(string(decoded), s)
		case r == utf8.RuneError && n == 1: // some decoders drop what is not UTF-8
			continue
		}
		decoded = utf8.AppendRune(decoded, r)
	}
	return strings.EqualFold(string(decoded), s)
}

// textIs reports whether raw, which is what stands between the quotes of a string, decodes to s.
func textIs(raw []byte, s string) bool {
	for len(raw) > 0 {
		got, n := textRune(raw)
		want, m := utf8.DecodeRuneInString(s)
		if got != want || m == 0 {
			return false
		}
		raw, s = raw[n:], s[m:]
	}
	return s == ""
}
