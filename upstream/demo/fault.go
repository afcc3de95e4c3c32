// Refusals: what is wrong with a request, and how each dialect says so.

package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"proxycast/upstream/dialect"
)

// dialectOf returns the dialect of a path, known or not, and the header that a provider's request id comes in.
func dialectOf(path string) (d dialect.Dialect, requestIDHeader string) {
	if strings.HasSuffix(path, "/messages") || strings.Contains(path, "/messages/") {
		return dialect.Anthropic, "Request-Id"
	}
	return dialect.OpenAI, "X-Request-Id"
}

// statusOverloaded is Anthropic's own; OpenAI clients take it for any other 5xx.
const statusOverloaded = 529

// fault is a request that is answered with an error.
type fault struct {
	status  int
	param   string // the field at fault, if one is
	message string // says what is wrong with param, or a sentence of its own
	code    string // OpenAI's code; empty is the status's usual one
}

func (f *fault) Error() string { return "demo: " + strings.TrimSpace(f.param+" "+f.message) }

func invalid(param, format string, args ...any) *fault {
	return &fault{status: http.StatusBadRequest, param: param, message: fmt.Sprintf(format, args...)}
}

func missing(param string) *fault { return invalid(param, "is required") }
func noEntry(param string) *fault { return invalid(param, "must have at least one entry") }

// body returns the error in the form of a dialect.
func (f *fault) body(d dialect.Dialect, requestID string) []byte {
	message := f.message
	switch {
	case f.param == "":
	case d == dialect.Anthropic:
		message = f.param + ": " + message
	default:
		message = "'" + f.param + "' " + message
	}
	return dialect.Failure{Status: f.status, Code: f.code, Param: f.param, Message: message, RequestID: requestID}.Body(d)
}

// decode reads a JSON object into v, a struct. Its errors are faults that name the field.
func decode(body []byte, v any) error {
	err := json.Unmarshal(body, v)
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong) && wrong.Field == "":
		return &fault{status: http.StatusBadRequest, message: "the request body is not a JSON object"}
	case errors.As(err, &wrong):
		return invalid(wrong.Field, "cannot be a JSON %s", wrong.Value)
	}
	return &fault{status: http.StatusBadRequest, message: "the request body is not valid JSON: " + err.Error()}
}
