package cors

// The policy: what a preflight and an actual request are answered.

import (
	"net/http"
	"slices"
	"strings"
)

// A policy is a compiled Config. It is immutable. Its header values are shared by
// all replies: nobody may write to their one element; an append copies them, since
// they have no room for a second.
type policy struct {
	anyOrigin bool
	exact     map[string]bool // by origin
	wildcards []origin
	anyHeader bool

	star, yes, maxAge, exposed []string
	vary, varyPreflight        []string
	methods, headers           []string // nil: none is configured
}

func newPolicy() *policy {
	return &policy{
		exact:         make(map[string]bool),
		star:          []string{"*"},
		yes:           []string{"true"},
		maxAge:        []string{"7200"}, // seconds, the most that Chrome takes
		exposed:       []string{exposedHeaders},
		vary:          []string{"Origin"},
		varyPreflight: []string{"Origin, Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network"},
	}
}

// exposedHeaders are the reply headers that a page may read: those that the
// official SDKs look at, and our own.
const exposedHeaders = "x-request-id, request-id, retry-after, retry-after-ms, x-should-retry, x-token-count, " +
	"openai-processing-ms, openai-version, " +
	"x-ratelimit-limit-requests, x-ratelimit-limit-tokens, " +
	"x-ratelimit-remaining-requests, x-ratelimit-remaining-tokens, " +
	"x-ratelimit-reset-requests, x-ratelimit-reset-tokens, " +
	"anthropic-ratelimit-requests-limit, anthropic-ratelimit-requests-remaining, anthropic-ratelimit-requests-reset, " +
	"anthropic-ratelimit-tokens-limit, anthropic-ratelimit-tokens-remaining, anthropic-ratelimit-tokens-reset, " +
	"anthropic-ratelimit-input-tokens-limit, anthropic-ratelimit-input-tokens-remaining, anthropic-ratelimit-input-tokens-reset, " +
	"anthropic-ratelimit-output-tokens-limit, anthropic-ratelimit-output-tokens-remaining, anthropic-ratelimit-output-tokens-reset, " +
	"anthropic-workspace-id"

// isPreflight reports whether r asks if another request would be allowed (Fetch
// standard, "CORS-preflight request").
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions &&
		len(r.Header["Origin"]) > 0 && len(r.Header["Access-Control-Request-Method"]) > 0
}

// preflight sets the headers of the reply to a preflight.
func (p *policy) preflight(reply, request http.Header) {
	addVary(reply, p.varyPreflight)
	origin := p.allow(request["Origin"])
	if origin == nil {
		return
	}
	reply["Access-Control-Allow-Origin"] = origin
	reply["Access-Control-Max-Age"] = p.maxAge
	if p.methods != nil {
		reply["Access-Control-Allow-Methods"] = p.methods
	}
	if headers := p.allowHeaders(request["Access-Control-Request-Headers"]); headers != nil {
		reply["Access-Control-Allow-Headers"] = headers
	}
	// Chrome asked this of servers in private networks for a time (WICG, Private
	// Network Access). Its successor asks the user and sends no header.
	if slices.Equal(request["Access-Control-Request-Private-Network"], p.yes) {
		reply["Access-Control-Allow-Private-Network"] = p.yes
	}
}

// actual sets the headers of the reply to a request that is no preflight.
func (p *policy) actual(reply, request http.Header) {
	if !p.anyOrigin && len(p.exact) == 0 && len(p.wildcards) == 0 {
		return
	}
	addVary(reply, p.vary)
	if origin := p.allow(request["Origin"]); origin != nil {
		reply["Access-Control-Allow-Origin"] = origin
		reply["Access-Control-Expose-Headers"] = p.exposed
	}
}

// allow returns the Access-Control-Allow-Origin for the Origin headers of a request,
// or nil if there is not one allowed origin.
func (p *policy) allow(origins []string) []string {
	if len(origins) != 1 {
		return nil
	}
	text := origins[0]
	switch {
	case p.anyOrigin:
		return p.star
	case p.exact[text], slices.ContainsFunc(p.wildcards, func(o origin) bool { return o.match(text) }):
		return []string{text}
	}
	return nil
}

// Limits of what a preflight may have named back. Browsers ask for some ten names.
const (
	maxNames     = 100
	maxNameBytes = 4096
)

// allowHeaders returns the Access-Control-Allow-Headers, or nil for none. A "*" in
// the configuration names back what was requested, since a "*" in the reply would
// not cover Authorization (Fetch standard, "CORS non-wildcard request-header name").
func (p *policy) allowHeaders(requested []string) []string {
	if !p.anyHeader {
		return p.headers
	}
	list := strings.Join(requested, ",")
	if len(list) > maxNameBytes || strings.Count(list, ",") >= maxNames {
		return nil
	}
	for name := range strings.SplitSeq(list, ",") {
		if !isToken(strings.Trim(name, " \t")) {
			return nil
		}
	}
	return []string{list}
}

// addVary adds vary to what h has already.
func addVary(h http.Header, vary []string) {
	if had := h["Vary"]; len(had) > 0 {
		vary = append(had, vary...)
	}
	h["Vary"] = vary
}

// isToken reports whether s is a token (RFC 9110 §5.6.2), the form of methods and
// header names.
func isToken(s string) bool {
	const token = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	return s != "" && strings.Trim(s, token) == ""
}
