package upstream

import (
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Header rules of both ways. Names are in canonical form.

// requestHeader returns the client's headers that a provider may see.
func requestHeader(client http.Header) http.Header {
	h := make(http.Header, len(client)+4)
	named := connectionNames(client)
	for name, values := range client {
		if !hopByHop(name) && !keptFromProvider(name) && !slices.Contains(named, name) {
			h[name] = values
		}
	}
	h["Accept-Encoding"] = []string{"identity"} // a reply is read on its way
	if _, given := h["User-Agent"]; !given {
		h["User-Agent"] = []string{""} // or net/http sends its own
	}
	return h
}

func keptFromProvider(name string) bool {
	switch name {
	case "Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "Proxy-Authorization", "Cookie",
		"Host", "Accept-Encoding", "Content-Length", "Expect", "Forwarded", "X-Real-Ip", "Via", "Origin", "Referer",
		"Openai-Organization", "Openai-Project":
		return true
	}
	return strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "Sec-") ||
		strings.HasPrefix(name, "Access-Control-") || strings.HasPrefix(name, "X-Proxycast-")
}

// copyReplyHeader puts the provider's headers that a client may see into dst,
// with credentials masked by scrub.
func copyReplyHeader(dst, provider http.Header, scrub func(string) string) {
	named := connectionNames(provider)
	for name, values := range provider {
		if hopByHop(name) || keptFromClient(name) || slices.Contains(named, name) {
			continue
		}
		for i, v := range values {
			if clean := scrub(v); clean != v {
				values = append([]string(nil), values...)
				values[i] = clean
			}
		}
		dst[name] = values
	}
}

func keptFromClient(name string) bool {
	switch name {
	case "Set-Cookie", "Alt-Svc", "Strict-Transport-Security", "Location", "Clear-Site-Data", "Nel", "Report-To", "Reporting-Endpoints",
		"Refresh", "Www-Authenticate", "X-Sendfile", "X-Lighttpd-Send-File", "X-Reproxy-Url", // which a proxy before us would obey
		"Openai-Organization", "Openai-Project", "Anthropic-Organization-Id":
		return true
	}
	return strings.HasPrefix(name, "Access-Control-") || strings.HasPrefix(name, "Cf-") || strings.HasPrefix(name, "X-Accel-")
}

// hopByHop names the headers of one connection (RFC 9110 §7.6.1, and those that
// older software treats so).
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// connectionNames returns the headers that a Connection header names.
func connectionNames(h http.Header) []string {
	var names []string
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); name != "" {
				names = append(names, http.CanonicalHeaderKey(name))
			}
		}
	}
	return names
}

// retryAfter returns the time that a provider asks to be left alone, 0 if it does
// not say: retry-after-ms, retry-after (RFC 9110 §10.2.3, also fractions of a
// second), and on a 429 the reset of a rate limit that has nothing remaining.
func retryAfter(status int, h http.Header, now time.Time) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms > 0 {
		return time.Duration(min(ms, 1e9) * float64(time.Millisecond))
	}
	if text := h.Get("Retry-After"); text != "" {
		if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds >= 0 {
			return time.Duration(min(seconds, 1e6) * float64(time.Second))
		}
		if at, err := http.ParseTime(text); err == nil {
			return max(at.Sub(now), 0)
		}
	}
	if status != http.StatusTooManyRequests {
		return 0
	}
	var wait time.Duration
	for _, what := range []string{"requests", "tokens"} {
		if h.Get("X-Ratelimit-Remaining-"+what) == "0" {
			if d, err := time.ParseDuration(h.Get("X-Ratelimit-Reset-" + what)); err == nil {
				wait = max(wait, d)
			}
		}
		if h.Get("Anthropic-Ratelimit-"+what+"-Remaining") == "0" {
			if at, err := time.Parse(time.RFC3339, h.Get("Anthropic-Ratelimit-"+what+"-Reset")); err == nil {
				wait = max(wait, at.Sub(now))
			}
		}
	}
	return wait
}
