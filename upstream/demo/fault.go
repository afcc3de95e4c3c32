// Refusals: what is wrong with a request, and how each dialect says so.

package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
)

type dialect uint8

const (
	openai dialect = iota
	anthropic
)

// dialectOf gives the dialect of a path, known or not.
func dialectOf(path string) dialect {
	if strings.HasSuffix(path, "/messages") || strings.Contains(path, "/messages/") {
		return anthropic
	}
	return openai
}

func (d dialect) requestIDHeader() string {
	if d == anthropic {
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

// shape gives the error body of a dialect.
// OpenAI: https://platform.openai.com/docs/guides/error-codes
// Anthropic: https://platform.claude.com/docs/en/api/errors
func (f *fault) shape(d dialect, requestID string) any {
	if d == anthropic {
		type inner struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		}
		message := f.message
		if f.param != "" {
			message = f.param + ": " + message
		}
		return struct {
			Type      string `json:"type"`
			Error     inner  `json:"error"`
			RequestID string `json:"request_id"`
		}{"error", inner{anthropicErrorType(f.status), message}, requestID}
	}
	type inner struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    *string `json:"code"`
	}
	message := f.message
	if f.param != "" {
		message = "'" + f.param + "' " + message
	}
	kind, code := openaiErrorType(f.status)
	if f.code != "" {
		code = f.code
	}
	return struct {
		Error inner `json:"error"`
	}{inner{message, kind, orNull(f.param), orNull(code)}}
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func anthropicErrorType(status int) string {
	switch status {
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
	if status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}

func openaiErrorType(status int) (kind, code string) {
	switch status {
	case http.StatusUnauthorized:
		return "invalid_request_error", "invalid_api_key"
	case http.StatusPaymentRequired:
		return "insufficient_quota", "insufficient_quota"
	case http.StatusRequestEntityTooLarge:
		return "invalid_request_error", "request_too_large"
	case http.StatusTooManyRequests:
		return "requests", "rate_limit_exceeded"
	case http.StatusServiceUnavailable:
		return "server_error", "server_is_overloaded"
	case statusOverloaded:
		return "server_error", "overloaded"
	}
	if status >= 500 {
		return "server_error", ""
	}
	return "invalid_request_error", ""
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
