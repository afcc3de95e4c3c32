// Refusals: what is wrong with a request, and how each dialect says so.

package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"proxycast/upstream/dialect"
)

// dialectOf gives the dialect of a path, known or not.
func dialectOf(path string) dialect.Dialect {
	if strings.HasSuffix(path, "/messages") || strings.Contains(path, "/messages/") {
		return dialect.Anthropic
	}
	return dialect.OpenAI
}

// requestIDHeader names the header that a provider's request id comes in.
func requestIDHeader(d dialect.Dialect) string {
	if d == dialect.Anthropic {
		return "Request-Id"
	}
	return "X-Request-Id"
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

// asFault gives the fault that err is; any other error is the provider's own.
func asFault(err error) *fault {
	var f *fault
	if errors.As(err, &f) {
		return f
	}
	return &fault{status: http.StatusInternalServerError, message: err.Error()}
}

// body gives the error in the form of a dialect.
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

// decode reads a JSON object into each of views, which are structs without
// embedded ones. Its errors are faults that name the field.
func decode(body []byte, views ...any) error {
	var err error
	for _, v := range views {
		if err = json.Unmarshal(body, v); err != nil {
			break
		}
	}
	var f *fault
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return f
	case errors.As(err, &wrong) && wrong.Field == "":
		return &fault{status: http.StatusBadRequest, message: "the request body is not a JSON object"}
	case errors.As(err, &wrong):
		return invalid(wrong.Field, "cannot be a JSON %s", wrong.Value)
	}
	return &fault{status: http.StatusBadRequest, message: "the request body is not valid JSON: " + err.Error()}
}

// wrongType is the error of an UnmarshalJSON method that cannot take raw;
// encoding/json adds the field's name to an error of this type.
func wrongType(raw []byte) error {
	kind := "number"
	switch raw[0] {
	case '{':
		kind = "object"
	case '[':
		kind = "array of this kind"
	case '"':
		kind = "string"
	case 't', 'f':
		kind = "boolean"
	case 'n':
		kind = "null"
	}
	return &json.UnmarshalTypeError{Value: kind, Type: reflect.TypeFor[string]()}
}
