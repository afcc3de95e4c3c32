package upstream

import (
	"net/http"
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
	text := strings.ToLower(string(problem[:min(len(problem), maxRead)]))
	for _, sign := range []string{"insufficient_quota", "insufficient balance", "insufficient_balance", "insufficient credit", "insufficient funds",
		"credit balance", "billing", "out of credit", "exceeded your current quota", "arrear", "余额不足", "欠费"} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}

// isTooLong recognises the error of a prompt that a model has no room for: another model may have it.
func isTooLong(problem []byte) bool {
	text := strings.ToLower(string(problem[:min(len(problem), maxRead)]))
	for _, sign := range []string{"context_length_exceeded", "context length", "context window", "prompt is too long", "request_too_large"} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}
