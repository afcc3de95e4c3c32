package cors

// Origins as the configuration writes them: https://app.example.com,
// https://*.example.com, app://obsidian.md.

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// An origin is one origin, or with wildcard all below a domain. It is in the form
// that browsers send (RFC 6454 §6.2): lower case, without a default port.
type origin struct {
	scheme   string // "https://"
	host     string // with its port; of a wildcard ".example.com", what follows the *
	wildcard bool
}

// match reports whether text is an origin below the domain of o, a wildcard.
func (o origin) match(text string) bool {
	rest, ok := strings.CutPrefix(text, o.scheme)
	if !ok {
		return false
	}
	labels, ok := strings.CutSuffix(rest, o.host)
	return ok && isDomain(labels)
}

// parseOrigin reads one configured origin. The message, if not empty, says what is
// wrong with it and what to write. It does not quote text, which may hold a password.
func parseOrigin(text string) (o origin, message string) {
	text = strings.ToLower(text)
	if text == "null" {
		return o, "is what local files and sandboxed pages of any site send; serve the page from an address and name that"
	}
	scheme, host, ok := strings.Cut(text, "://")
	if !ok || !isScheme(scheme) {
		return o, "does not begin with a scheme; write it as in https://app.example.com"
	}
	if strings.ContainsAny(host, `/\?#@`) {
		return o, "has more than scheme, host and port; leave out the path, the final / included, the query and the user"
	}
	o.scheme = scheme + "://"

	host, port, message := cutPort(scheme, host)
	if message != "" {
		return o, message
	}
	if base, ok := strings.CutPrefix(host, "*"); ok {
		o.wildcard = true
		o.host = base + port
		return o, wildcardFault(scheme, base)
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, closed := strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		if !closed || err != nil || !addr.Is6() || addr.Zone() != "" {
			return o, "has no valid IPv6 address; write it as in http://[::1]:3000"
		}
		host = "[" + addr.String() + "]"
	} else if strings.Contains(host, "*") {
		return o, "has a * that does not stand for whole labels at the start; write it as in https://*.example.com"
	} else if !isDomain(host) {
		return o, "has no valid host; write it as in https://app.example.com, an international name as xn--"
	}
	o.host = host + port
	return o, ""
}

// cutPort splits host before the port. port keeps its colon; it is empty if there
// is none, or the scheme's own.
func cutPort(scheme, host string) (name, port, message string) {
	colon := strings.LastIndex(host, ":")
	if colon <= strings.LastIndex(host, "]") {
		return host, "", ""
	}
	number, err := strconv.ParseUint(host[colon+1:], 10, 16)
	switch {
	case err != nil || number == 0:
		return "", "", "has no valid port; write a number from 1 to 65535, or leave it and its colon out"
	case scheme == "http" && number == 80, scheme == "https" && number == 443:
		return host[:colon], "", ""
	}
	return host[:colon], ":" + strconv.FormatUint(number, 10), ""
}

// wildcardFault says what keeps base, which follows a *, from being a wildcard's
// domain, or "".
func wildcardFault(scheme, base string) string {
	if scheme != "http" && scheme != "https" {
		return "has a *, which only http and https take; name each origin"
	}
	domain, ok := strings.CutPrefix(base, ".")
	if !ok || !isDomain(domain) {
		return "has a * that does not stand for whole labels of a domain; write it as in https://*.example.com, or * alone for every origin"
	}
	if isPublic(domain) {
		return "lets in every site below a public domain; put a domain of your own after the *., or write * alone for every origin"
	}
	return ""
}

// isPublic reports whether anyone can register a name below domain, as far as its
// form shows: com, co.uk. localhost is nobody's and everyone's own (RFC 6761).
func isPublic(domain string) bool {
	first, rest, ok := strings.Cut(domain, ".")
	if !ok {
		return domain != "localhost"
	}
	kinds := []string{"ac", "co", "com", "edu", "gov", "net", "org"}
	return len(rest) == len("uk") && slices.Contains(kinds, first)
}

// isDomain reports whether s is one or more labels joined by dots. Underscores,
// which browsers take, may stand in a label.
func isDomain(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// isScheme reports whether s, in lower case, is a URI scheme (RFC 3986 §3.1).
func isScheme(s string) bool {
	return s != "" && 'a' <= s[0] && s[0] <= 'z' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
}
