package upstream

import (
	"net/http"
	"slices"
	"strings"
)

// What a provider's error says beyond its status.

// maxRead is how much of an error is looked at for the words below.
const maxRead = 4096

// isAccount reports whether an error says that the account behind the credential is empty or locked: another one may
// do.
func isAccount(status int, problem []byte) bool {
	switch status {
	case http.StatusPaymentRequired:
		return true
	case http.StatusBadRequest, http.StatusForbidden, http.StatusTooManyRequests:
	default:
		return false
	}
	return says(problem, "insufficient_quota", "insufficient balance", "insufficient_balance", "insufficient credit",
		"insufficient funds", "credit balance", "billing", "out of credit", "exceeded your current quota", "arrear", "余额不足", "欠费")
}

// isTooLong recognises the error of a prompt that a model has no room for: another model may have it.
func isTooLong(problem []byte) bool {
	return says(problem, "context_length_exceeded", "context length", "context window", "prompt is too long", "request_too_large")
}

// says reports whether the beginning of an error holds one of the signs, which are in lower case.
func says(problem []byte, signs ...string) bool {
	text := strings.ToLower(string(problem[:min(len(problem), maxRead)]))
	return slices.ContainsFunc(signs, func(sign string) bool { return strings.Contains(text, sign) })
}
