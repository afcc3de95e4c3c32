package dialect

import (
	"bytes"
	"encoding/json"
	"net/http"
)

// Failure is an error that the gateway itself answers, before it takes a dialect's form. Status is the HTTP status
// and decides the error's type. Code "" takes the code that OpenAI gives with the status, if there is one (for 404
// that is model_not_found: another thing that is missing needs its own Code). Param "" is none. RequestID is told
// in the Anthropic form only; clients of OpenAI read a header.
type Failure struct {
	Status    int
	Code      string
	Param     string
	Message   string
	RequestID string
}

const statusOverloaded = 529 // Anthropic: the API is temporarily overloaded

type openAIFailure struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

type anthropicFailure struct {
	Type  string `json:"type"`
	Error struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	} `json:"error"`
	RequestID *string `json:"request_id"`
}

// responsesFailure is the error event of OpenAI's Responses. The reference has the members flat; the API sends them
// under error, and the SDKs raise an exception only for that. Here are both.
type responsesFailure struct {
	Type           string        `json:"type"`
	SequenceNumber int           `json:"sequence_number"`
	Code           *string       `json:"code"`
	Message        string        `json:"message"`
	Param          *string       `json:"param"`
	Error          openAIFailure `json:"error"`
}

// Body returns the JSON body of the answer, which ends in a newline.
func (f Failure) Body(d Dialect) []byte {
	if d == Anthropic {
		return encodeFailure(f.anthropic())
	}
	return encodeFailure(map[string]openAIFailure{"error": f.openAI()})
}

// Event returns the SSE event that tells a client of the failure inside a stream of e. Responses number their events;
// the number here is 0, since a Failure does not know where the stream was.
func (f Failure) Event(e Endpoint) []byte {
	switch {
	case e.Dialect() == Anthropic:
		return errorEventOf(f.Body(Anthropic))
	case e == Responses:
		o := f.openAI()
		return errorEventOf(encodeFailure(responsesFailure{
			Type: "error", Code: o.Code, Message: o.Message, Param: o.Param, Error: o,
		}))
	}
	return append(append([]byte("data: "), f.Body(OpenAI)...), '\n')
}

func errorEventOf(body []byte) []byte {
	return append(append([]byte("event: error\ndata: "), body...), '\n')
}

func (f Failure) openAI() openAIFailure {
	kind, code := f.openAIType()
	if f.Code != "" {
		code = f.Code
	}
	return openAIFailure{Message: f.Message, Type: kind, Param: orNull(f.Param), Code: orNull(code)}
}

func (f Failure) anthropic() anthropicFailure {
	a := anthropicFailure{Type: "error", RequestID: orNull(f.RequestID)}
	a.Error.Type, a.Error.Message = f.anthropicType(), f.Message
	return a
}

// openAIType returns OpenAI's type for the status and the code that goes with it, "" if none does.
func (f Failure) openAIType() (kind, code string) {
	switch f.Status {
	case http.StatusUnauthorized:
		return "invalid_request_error", "invalid_api_key"
	case http.StatusPaymentRequired:
		return "insufficient_quota", "insufficient_quota"
	case http.StatusNotFound:
		return "invalid_request_error", "model_not_found"
	case http.StatusRequestEntityTooLarge:
		return "invalid_request_error", "request_too_large"
	case http.StatusTooManyRequests:
		if f.Code == "insufficient_quota" {
			return f.Code, f.Code
		}
		return "requests", "rate_limit_exceeded"
	case statusOverloaded:
		return "server_error", "overloaded"
	}
	if f.Status >= 500 {
		return "server_error", ""
	}
	return "invalid_request_error", ""
}

func (f Failure) anthropicType() string {
	switch f.Status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusPaymentRequired:
		return "billing_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusConflict:
		return "conflict_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusGatewayTimeout:
		return "timeout_error"
	case statusOverloaded:
		return "overloaded_error"
	}
	if f.Status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// encodeFailure returns v as one line of JSON.
func encodeFailure(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // only strings and numbers are encoded: it cannot fail
	}
	return buf.Bytes()
}
