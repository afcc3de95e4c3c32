package dialect

// A request body: what the gateway must know of it, and the two edits that it may make. The body is never decoded and
// encoded again, so that everything else the client wrote reaches the provider byte for byte.

import (
	"bytes"
	"fmt"
	"net"
	"unicode/utf8"
)

// Request is a request body with its head scanned: the model, whether it streams, and where they stand. Parse makes it.
type Request struct {
	Endpoint Endpoint
	Body     []byte // as the client sent it; must not change while the Request is in use
	Stream   bool   // "stream" is the literal true

	modelStart, modelEnd int  // the value of "model" in Body, quotes included
	closingBrace         int  // the end of the object in Body
	hasStreamOptions     bool // "stream_options" is there, whatever its value
	otherModel           bool // a provider could take another model from it

	cacheKey, metadata []byte // values of "prompt_cache_key" and "metadata" in Body
}

// Parse scans a request body in one pass, without copying or decoding it. The Request keeps body.
//
// It accepts what encoding/json accepts (nesting up to 10,000 deep, bytes inside strings that are not UTF-8) if it is
// an object whose "model" is a string, not empty, and given once. Keys are compared exactly, after decoding their
// escapes. If "stream" is given more than once, the last one counts. Every error is a *BodyError; without one,
// nothing is allocated.
func Parse(e Endpoint, body []byte) (Request, error) {
	q := Request{Endpoint: e, Body: body}
	if err := q.scan(); err != nil {
		return Request{}, err
	}
	return q, nil
}

// scan checks the whole body and notes what stands on its top level.
func (q *Request) scan() error {
	b := q.Body
	i := spanSpace(b, 0)
	switch {
	case i == len(b):
		return newBodyError(b, 0, "", `the body is empty; send a JSON object with a "model"`)
	case bytes.HasPrefix(b, []byte("\uFEFF")):
		return newBodyError(b, 0, "", "the body begins with a UTF-8 byte order mark; send it without one")
	case b[i] != '{':
		return newBodyError(b, i, "", "the body must be a JSON object")
	}

	object := i
	i = spanSpace(b, i+1)
	for more := i == len(b) || b[i] != '}'; more; {
		name := i
		nameEnd, fault := spanName(b, name)
		if fault != "" {
			return newSyntaxError(b, nameEnd, fault)
		}
		value, fault := spanColon(b, nameEnd)
		if fault != "" {
			return newSyntaxError(b, value, fault)
		}
		valueEnd, fault := spanValue(b, value)
		if fault != "" {
			return newSyntaxError(b, valueEnd, fault)
		}
		if err := q.noteMember(name, nameEnd, value, valueEnd); err != nil {
			return err
		}

		i = spanSpace(b, valueEnd)
		switch {
		case i == len(b):
			return newSyntaxError(b, i, faultEnd)
		case b[i] == ',':
			i = spanSpace(b, i+1)
		case b[i] == '}':
			more = false
		default:
			return newSyntaxError(b, i, faultMember)
		}
	}

	q.closingBrace = i
	if i = spanSpace(b, i+1); i < len(b) {
		return newSyntaxError(b, i, "unexpected data after the object")
	}
	if q.modelEnd == 0 {
		return newBodyError(b, object, "model", `"model" is missing; name the model to use`)
	}
	return nil
}

// noteMember takes in one member of the body's object, given where its name and its value stand.
func (q *Request) noteMember(name, nameEnd, value, valueEnd int) error {
	key := q.Body[name+1 : nameEnd-1]
	switch {
	case textIs(key, "model"):
		switch {
		case q.modelEnd != 0:
			err := newBodyError(q.Body, name, "model", "")
			err.Msg = fmt.Sprintf(`"model" is given twice, the second time at line %d, column %d`, err.Line, err.Column)
			return err
		case q.Body[value] != '"':
			return newBodyError(q.Body, value, "model", `"model" must be a string`)
		case valueEnd-value == len(`""`):
			return newBodyError(q.Body, value, "model", `"model" is empty; name the model to use`)
		}
		q.modelStart, q.modelEnd = value, valueEnd
	case textIs(key, "stream"):
		q.Stream = q.Body[value] == 't'
	case textIs(key, "stream_options"):
		q.hasStreamOptions = true
	case textIs(key, "prompt_cache_key"):
		q.cacheKey = q.Body[value:valueEnd]
	case textIs(key, "metadata"):
		q.metadata = q.Body[value:valueEnd]
	case textFolds(key, "model"), textFolds(key, "models"), textFolds(key, "fallbacks"):
		q.otherModel = true
	}
	return nil
}

// modelText returns what stands between the quotes of the model, undecoded.
func (q *Request) modelText() []byte { return q.Body[q.modelStart+1 : q.modelEnd-1] }

// Model returns the decoded value of "model". It allocates the string at each call.
func (q *Request) Model() string { return decodeText(q.modelText()) }

// Conversation returns what the request says of the conversation that it belongs to: OpenAI's "prompt_cache_key", else
// Anthropic's "metadata"."user_id"; "" if neither is a string.
func (q *Request) Conversation() string {
	if key := value(q.cacheKey).raw(); len(key) > 0 {
		return decodeText(key)
	}
	return decodeText(value(q.metadata).get("user_id").raw())
}

// HasStreamOptions reports whether the body has "stream_options", whatever its value.
func (q *Request) HasStreamOptions() bool { return q.hasStreamOptions }

// OtherModel reports whether the body could have a provider take another model than Model: by a name that is "model"
// in another case, which some servers read alike (Go's encoding/json does), or by a list: OpenRouter's "models",
// Anthropic's and LiteLLM's "fallbacks".
func (q *Request) OtherModel() bool { return q.otherModel }

// Splice returns the body for a provider: with model in the place of the client's, if it is another, and with
//
//	"stream_options":{"include_usage":true}
//
// as the last member, if includeUsage is set and the body has no "stream_options" of its own. All other bytes are the
// client's, in slices of Body that must not be written to; without an edit they are Body itself, in one slice.
func (q *Request) Splice(model string, includeUsage bool) net.Buffers {
	bufs := make(net.Buffers, 0, 5)
	rest := 0
	if !textIs(q.modelText(), model) {
		bufs = append(bufs, q.Body[:q.modelStart], quoteJSON(model))
		rest = q.modelEnd
	}
	if includeUsage && !q.hasStreamOptions {
		bufs = append(bufs, q.Body[rest:q.closingBrace], []byte(`,"stream_options":{"include_usage":true}`))
		rest = q.closingBrace
	}
	return append(bufs, q.Body[rest:])
}

// quoteJSON encodes s as a JSON string, escaping only what must be (RFC 8259, section 7). What is not UTF-8 becomes
// U+FFFD.
func quoteJSON(s string) []byte {
	b := make([]byte, 0, len(s)+len(`""`))
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ':
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
