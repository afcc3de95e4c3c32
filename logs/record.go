package logs

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// Record is one finished request, whatever its end. It holds no query string,
// header or body. Token counts are the provider's own; nil is unknown.
//
// Every text is capped when it is written, at a character boundary: Client at 120
// characters, any other at 256 bytes; of Dropped, 32 texts of 64 bytes are
// kept, and of Tried 16 attempts, whose texts have 64 bytes.
type Record struct {
	Seq              uint64        `json:"seq"`  // append order, goes on after a restart; set by Store.Add
	Time             time.Time     `json:"time"` // when the request began
	ID               string        `json:"id"`   // our request id
	Key              string        `json:"key"`  // the name of the client's key
	Method           string        `json:"method"`
	Path             string        `json:"path"`
	Endpoint         string        `json:"endpoint"`
	Model            string        `json:"model"`          // as asked for
	UpstreamModel    string        `json:"upstream_model"` // as sent to the provider
	Provider         string        `json:"provider"`
	Status           int           `json:"status"` // 499: the client left; a stream that failed after its 200 keeps 200
	Count            int           `json:"count"`  // of refusals that this record adds up; 0 for a record of one request
	Stream           bool          `json:"stream"`
	Duration         time.Duration `json:"-"`            // to the last byte
	TTFT             time.Duration `json:"-"`            // to the first content; 0 is unknown
	InputTokens      *int64        `json:"input_tokens"` // cached tokens included
	OutputTokens     *int64        `json:"output_tokens"`
	CacheReadTokens  *int64        `json:"cache_read_tokens"`
	CacheWriteTokens *int64        `json:"cache_write_tokens"`
	CacheWrite1h     *int64        `json:"cache_write_1h_tokens"` // the part of CacheWriteTokens that is kept for an hour
	ReasoningTokens  *int64        `json:"reasoning_tokens"`
	FinishReason     string        `json:"finish_reason"`
	Attempts         int           `json:"attempts"`
	Tried            []Try         `json:"tried"` // the attempts before the last
	ErrorType        string        `json:"error_type"`
	Error            string        `json:"error"`   // for the operator
	Dropped          []string      `json:"dropped"` // fields that a translation could not carry
	RequestBytes     int64         `json:"request_bytes"`
	ResponseBytes    int64         `json:"response_bytes"`
	Client           string        `json:"client"` // user agent
	Remote           string        `json:"remote"`
	UpstreamID       string        `json:"upstream_id"` // the provider's request id
	Session          string        `json:"session"`     // the client's session
	TraceID          string        `json:"trace_id"`
	Instance         string        `json:"instance"` // the name of the gateway
}

// Try is one attempt that another one followed.
type Try struct {
	Provider  string        `json:"provider"`
	Model     string        `json:"model"`
	Status    int           `json:"status"` // 0: there was no answer
	ErrorType string        `json:"error_type"`
	Duration  time.Duration `json:"-"`
}

const (
	maxText    = 256 // bytes of a text
	maxClient  = 120 // characters of Client
	maxDropped = 32  // texts in Dropped
	maxTried   = 16  // attempts in Tried
	maxField   = 64  // bytes of a text in Dropped or Tried

	timeLayout = "2006-01-02T15:04:05.000Z" // RFC 3339 in UTC; sorts as text
)

// countTokens is the endpoint whose calls tell of tokens that were only counted, not used.
const countTokens = "count_tokens"

// UsedTokens reports whether the record's tokens were used.
func (r *Record) UsedTokens() bool { return r.Endpoint != countTokens }

// AppendJSON appends r as one flat JSON object, without a newline. It allocates
// nothing but room in dst. What is unknown or empty is left out, invalid UTF-8 is
// replaced, and what could act on a terminal or end a line is escaped.
func (r *Record) AppendJSON(dst []byte) []byte {
	return r.appendAfterSeq(appendSeq(dst, r.Seq))
}

// MarshalJSON is AppendJSON.
func (r Record) MarshalJSON() ([]byte, error) {
	return r.AppendJSON(nil), nil
}

// UnmarshalJSON reads what AppendJSON wrote, whoever spelled it anew. It passes over
// names that it does not know.
func (r *Record) UnmarshalJSON(data []byte) error {
	type plain Record
	decoded := struct {
		*plain
		Duration millis `json:"duration_ms"`
		TTFT     millis `json:"ttft_ms"`
	}{plain: new(plain)}
	if err := json.Unmarshal(data, &decoded); err != nil {
		return fmt.Errorf("logs: not a record: %w", err)
	}
	if !utf8.Valid(data) {
		return errors.New("logs: not a record: invalid UTF-8")
	}
	*r = Record(*decoded.plain)
	r.Time = r.Time.UTC()
	r.Duration, r.TTFT = time.Duration(decoded.Duration), time.Duration(decoded.TTFT)
	return nil
}

// UnmarshalJSON reads an element of "tried".
func (t *Try) UnmarshalJSON(data []byte) error {
	type plain Try
	decoded := struct {
		*plain
		Duration millis `json:"ms"`
	}{plain: new(plain)}
	err := json.Unmarshal(data, &decoded)
	*t = Try(*decoded.plain)
	t.Duration = time.Duration(decoded.Duration)
	return err
}

// millis is a duration that JSON has in milliseconds, to the microsecond.
type millis time.Duration

func (m *millis) UnmarshalJSON(data []byte) error {
	var ms float64
	if err := json.Unmarshal(data, &ms); err != nil {
		return err
	}
	if ms < 0 || ms > math.MaxInt64/1e6 {
		return errors.New("no duration in milliseconds")
	}
	*m = millis(time.Duration(math.Round(ms*1e3)) * time.Microsecond)
	return nil
}

func appendSeq(dst []byte, seq uint64) []byte {
	dst = append(dst, `{"seq":`...)
	return strconv.AppendUint(dst, seq, 10)
}

// appendAfterSeq appends all of r that follows the number of its seq.
func (r *Record) appendAfterSeq(dst []byte) []byte {
	dst = append(dst, `,"time":"`...)
	dst = r.Time.UTC().AppendFormat(dst, timeLayout)
	dst = appendText(dst, `","id":"`, r.ID)
	dst = append(dst, '"')
	dst = appendOptional(dst, `,"key":"`, r.Key)
	dst = appendText(dst, `,"method":"`, r.Method)
	dst = appendText(dst, `","path":"`, r.Path)
	dst = append(dst, '"')
	dst = appendOptional(dst, `,"endpoint":"`, r.Endpoint)
	dst = appendOptional(dst, `,"model":"`, r.Model)
	dst = appendOptional(dst, `,"upstream_model":"`, r.UpstreamModel)
	dst = appendOptional(dst, `,"provider":"`, r.Provider)
	dst = appendInt(dst, `,"status":`, int64(r.Status))
	if r.Count > 0 {
		dst = appendInt(dst, `,"count":`, int64(r.Count))
	}
	dst = append(dst, `,"stream":`...)
	dst = strconv.AppendBool(dst, r.Stream)
	dst = appendMillis(dst, `,"duration_ms":`, r.Duration)
	if r.TTFT > 0 {
		dst = appendMillis(dst, `,"ttft_ms":`, max(r.TTFT, time.Microsecond))
	}
	dst = appendCount(dst, `,"input_tokens":`, r.InputTokens)
	dst = appendCount(dst, `,"output_tokens":`, r.OutputTokens)
	dst = appendCount(dst, `,"cache_read_tokens":`, r.CacheReadTokens)
	dst = appendCount(dst, `,"cache_write_tokens":`, r.CacheWriteTokens)
	dst = appendCount(dst, `,"cache_write_1h_tokens":`, r.CacheWrite1h)
	dst = appendCount(dst, `,"reasoning_tokens":`, r.ReasoningTokens)
	dst = appendOptional(dst, `,"finish_reason":"`, r.FinishReason)
	dst = appendInt(dst, `,"attempts":`, int64(r.Attempts))
	if len(r.Tried) > 0 {
		dst = appendTried(append(dst, `,"tried":`...), r.Tried)
	}
	dst = appendOptional(dst, `,"error_type":"`, r.ErrorType)
	dst = appendOptional(dst, `,"error":"`, r.Error)
	dst = appendDropped(dst, r.Dropped)
	dst = appendInt(dst, `,"request_bytes":`, r.RequestBytes)
	dst = appendInt(dst, `,"response_bytes":`, r.ResponseBytes)
	if r.Client != "" {
		dst = append(dst, `,"client":"`...)
		dst = appendEscaped(dst, r.Client, maxClient, maxClient*utf8.UTFMax)
		dst = append(dst, '"')
	}
	dst = appendOptional(dst, `,"remote":"`, r.Remote)
	dst = appendOptional(dst, `,"upstream_id":"`, r.UpstreamID)
	dst = appendOptional(dst, `,"session":"`, r.Session)
	dst = appendOptional(dst, `,"trace_id":"`, r.TraceID)
	dst = appendOptional(dst, `,"instance":"`, r.Instance)
	return append(dst, '}')
}

func appendInt(dst []byte, name string, n int64) []byte {
	return strconv.AppendInt(append(dst, name...), n, 10)
}

func appendCount(dst []byte, name string, n *int64) []byte {
	if n == nil {
		return dst
	}
	return appendInt(dst, name, *n)
}

// appendMillis appends d in milliseconds, to the microsecond, with no needless 0.
func appendMillis(dst []byte, name string, d time.Duration) []byte {
	us := max(d, 0).Round(time.Microsecond).Microseconds()
	dst = appendInt(dst, name, us/1000)
	if frac := us % 1000; frac != 0 {
		dst = append(dst, '.', byte('0'+frac/100), byte('0'+frac/10%10), byte('0'+frac%10))
		for dst[len(dst)-1] == '0' {
			dst = dst[:len(dst)-1]
		}
	}
	return dst
}

func appendDropped(dst []byte, texts []string) []byte {
	if len(texts) == 0 {
		return dst
	}
	dst = append(dst, `,"dropped":[`...)
	for _, text := range texts[:min(len(texts), maxDropped)] {
		dst = append(dst, '"')
		dst = appendEscaped(dst, text, maxField, maxField)
		dst = append(dst, `",`...)
	}
	dst[len(dst)-1] = ']'
	return dst
}

// appendTried appends a list, which is not empty, as a JSON array of flat objects.
func appendTried(dst []byte, list []Try) []byte {
	dst = append(dst, '[')
	for _, try := range list[:min(len(list), maxTried)] {
		dst = appendEscaped(append(dst, `{"provider":"`...), try.Provider, maxField, maxField)
		dst = appendEscaped(append(dst, `","model":"`...), try.Model, maxField, maxField)
		dst = appendInt(dst, `","status":`, int64(try.Status))
		if try.ErrorType != "" {
			dst = appendEscaped(append(dst, `,"error_type":"`...), try.ErrorType, maxField, maxField)
			dst = append(dst, '"')
		}
		dst = appendMillis(dst, `,"ms":`, try.Duration)
		dst = append(dst, `},`...)
	}
	dst[len(dst)-1] = ']'
	return dst
}

// appendOptional appends a whole member, or nothing for an empty text.
func appendOptional(dst []byte, name, text string) []byte {
	if text == "" {
		return dst
	}
	return append(appendText(dst, name, text), '"')
}

// appendText appends name, which ends with the opening quote, and text; the
// closing quote is the caller's.
func appendText(dst []byte, name, text string) []byte {
	return appendEscaped(append(dst, name...), text, maxText, maxText)
}

// appendEscaped appends as much of text as has at most the given characters and
// bytes, counted as they will be read back.
func appendEscaped(dst []byte, text string, characters, bytes int) []byte {
	if len(text) <= characters && isPlain(text) {
		return append(dst, text...)
	}
	done := 0 // text[:done] is in dst
	i := 0
	for i < len(text) {
		c, width := rune(text[i]), 1
		if c >= utf8.RuneSelf {
			c, width = utf8.DecodeRuneInString(text[i:])
		}
		characters--
		bytes -= utf8.RuneLen(c) // an invalid byte will be a U+FFFD
		if characters < 0 || bytes < 0 {
			break
		}
		invalid := c == utf8.RuneError && width == 1
		if !invalid && !escaped(c) {
			i += width
			continue
		}
		dst = append(dst, text[done:i]...)
		if invalid {
			dst = utf8.AppendRune(dst, utf8.RuneError)
		} else {
			dst = appendEscape(dst, c)
		}
		i += width
		done = i
	}
	return append(dst, text[done:i]...)
}

// isPlain tells whether text is ASCII that stands for itself.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// escaped tells what does not stand for itself: what JSON wants escaped, and what
// ends a line, controls a terminal or turns the direction of what it shows.
func escaped(c rune) bool {
	if c < 0x7f {
		return c < ' ' || c == '"' || c == '\\'
	}
	switch c {
	case 0x061c, 0x200e, 0x200f, 0xfeff: // marks of direction, and the byte order mark
		return true
	}
	return c < 0xa0 || c >= 0x2028 && c <= 0x202e || c >= 0x2066 && c <= 0x2069
}

func appendEscape(dst []byte, c rune) []byte {
	const hex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(dst, '\\', byte(c))
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, '\\', 'u', hex[c>>12], hex[c>>8&15], hex[c>>4&15], hex[c&15])
}
