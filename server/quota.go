package server

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"proxycast/auth"
	"proxycast/upstream/dialect"
)

// The limits of a key, as the headers and errors of either dialect tell them.

// setQuota tells what the key may still use of its limits per minute. A provider's
// headers of the same names, which tell of the gateway's own limits there, give way.
func setQuota(h http.Header, d dialect.Dialect, key *auth.Key, now time.Time) {
	quota, limited := key.Quota()
	if !limited {
		return
	}
	for name, a := range map[string]auth.Allowance{"Requests": quota.Requests, "Tokens": quota.Tokens} {
		if a.Limit == 0 {
			continue
		}
		limit, remaining := strconv.FormatInt(a.Limit, 10), strconv.FormatInt(a.Remaining, 10)
		if d == dialect.Anthropic {
			h["Anthropic-Ratelimit-"+name+"-Limit"] = []string{limit}
			h["Anthropic-Ratelimit-"+name+"-Remaining"] = []string{remaining}
			h["Anthropic-Ratelimit-"+name+"-Reset"] = []string{now.Add(a.Reset).UTC().Format(time.RFC3339)}
		} else {
			h["X-Ratelimit-Limit-"+name] = []string{limit}
			h["X-Ratelimit-Remaining-"+name] = []string{remaining}
			h["X-Ratelimit-Reset-"+name] = []string{a.Reset.Round(time.Millisecond).String()}
		}
	}
}

// limitFailure tells that a limit of the client's key is used up.
func (x *exchange) limitFailure(err error) dialect.Failure {
	f := dialect.Failure{Status: http.StatusTooManyRequests, Code: "rate_limit_exceeded", Message: "a limit of this key is used up"}
	var limit *auth.LimitError
	if errors.As(err, &limit) {
		seconds := int64((limit.RetryAfter-1)/time.Second) + 1
		x.Header()["Retry-After"] = []string{strconv.FormatInt(seconds, 10)}
		f.Message = fmt.Sprintf("this key's %s of %d is used up; try again in %d s", limit.Limit, limit.Max, seconds)
	}
	return f
}
