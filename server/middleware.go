package server

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"proxycast/auth"
	"proxycast/server/config"
	"proxycast/upstream/dialect"
)

// What a request passes before its route: the Host check, CORS, the mux, the key.

// handler answers a routed request. The mux calls it with an unrouted writer.
type handler func(x *exchange, r *http.Request)

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h(w.(*unrouted).exchange, r)
}

// ServeHTTP answers one request with the gateway as it is now, on a listener of the
// config that was loaded last.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.answer(w, r, config.IsLoopback(s.loaded.Load().Server.Host))
}

// answer answers one request. onLoopback tells of the listener that it came to: a
// reload changes the config, but not where the gateway listens.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, onLoopback bool) {
	g := s.gateway.Load()
	x := s.newExchange(g, w, r)
	defer x.finish(r)
	switch {
	case fields(r.Header) > maxHeaderFields:
		x.Header()["Connection"] = []string{"close"}
		x.fail(dialect.Failure{Status: http.StatusRequestHeaderFieldsTooLarge, Code: "too_many_headers",
			Message: fmt.Sprintf("a request may have %d header fields", maxHeaderFields)}, nil)
	case !onLoopback && !g.config.Auth.Enabled: // it asks for no keys on the loopback address that it has moved to
		x.Header()["Connection"] = []string{"close"}
		x.fail(dialect.Failure{Status: http.StatusServiceUnavailable, Code: "moved", Message: "the gateway has moved to another address"}, nil)
	case onLoopback && !isOpen(r.URL.Path) && !g.hostAllowed(r.Host):
		x.fail(dialect.Failure{Status: http.StatusForbidden, Code: "host_not_allowed",
			Message: fmt.Sprintf("this gateway listens on loopback and does not answer to the host %.100q; list it in server.hosts if it should", r.Host)}, errForeignHost)
	case isOperator(r.URL.Path):
		s.dispatch(x, r)
	default:
		if r.Method == http.MethodOptions { // a preflight, unless CORS passes it on to dispatch
			x.recording = recordNever
		}
		g.cors.ServeHTTP(x, r)
	}
}

// fields counts the lines of a header.
func fields(h http.Header) (n int) {
	for _, values := range h {
		n += len(values)
	}
	return n
}

// errForeignHost is what the log says: headers stay out of it.
var errForeignHost = errors.New("the Host is not one of this gateway")

// isOpen tells the routes that a health check asks, by whatever name it has for us.
func isOpen(path string) bool {
	switch path {
	case "/livez", "/readyz", "/health", "/healthz":
		return true
	}
	return false
}

// isOperator tells the routes that web pages of other origins never get to.
func isOperator(path string) bool {
	return strings.HasPrefix(path, "/_") || path == "/metrics"
}

// dispatch passes the request to its route. What the mux would answer itself
// (404, 405) is answered in the dialect of the path.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	x := w.(*exchange)
	x.recording = recordAlways // until a route says otherwise
	u := &unrouted{exchange: x}
	if isClean(r.URL.Path) && r.Method != http.MethodConnect {
		s.mux.ServeHTTP(u, r)
	} else {
		u.status = http.StatusNotFound // the mux would redirect
	}
	if u.status == 0 {
		return
	}
	if key, err := x.gateway.keys.Check(r.Header); err == nil {
		x.rec.Key = key.Name
	}
	switch {
	case u.status == http.StatusMethodNotAllowed:
		x.Header()["Allow"] = u.header["Allow"]
		x.fail(dialect.Failure{Status: u.status, Code: "method_not_allowed",
			Message: fmt.Sprintf("%s is not a method of %.200q; it takes %s", r.Method, x.gateway.mask.Replace(r.URL.Path), u.header.Get("Allow"))}, nil)
	default:
		x.fail(dialect.Failure{Status: http.StatusNotFound, Code: "not_found",
			Message: fmt.Sprintf("there is no %s %.200q here; the OpenAI base URL ends in /v1, Claude's does not", r.Method, x.gateway.mask.Replace(r.URL.Path))}, nil)
	}
}

// unrouted is the writer that the mux sees: handlers take the exchange out of
// it, and what the mux writes by itself is only noted.
type unrouted struct {
	exchange *exchange
	header   http.Header
	status   int
}

func (u *unrouted) Header() http.Header {
	if u.header == nil {
		u.header = http.Header{}
	}
	return u.header
}
func (u *unrouted) WriteHeader(status int)      { u.status = status }
func (u *unrouted) Write(p []byte) (int, error) { return len(p), nil }

// isClean reports whether path is one that the mux matches as it stands.
func isClean(path string) bool {
	return !strings.Contains(path, "//") && !strings.Contains(path, "/./") && !strings.Contains(path, "/../") &&
		!strings.HasSuffix(path, "/.") && !strings.HasSuffix(path, "/..")
}

// hostAllowed guards a gateway on loopback against DNS rebinding: a page that
// has its own name resolve to 127.0.0.1 still sends its own Host.
func (g *gateway) hostAllowed(host string) bool {
	if host == "" { // no browser leaves it out; health checks of HTTP/1.0 do
		return true
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(strings.ToLower(host), "[]")
	if config.IsLoopback(host) {
		return true
	}
	for _, allowed := range g.config.Server.Hosts {
		if strings.EqualFold(allowed, host) {
			return true
		}
	}
	return false
}

// authenticate lets a request with a valid key pass. With keys switched off,
// where a browser's origin is all there is to tell a foreign page, it checks that.
func authenticate(next func(*exchange, *http.Request, *auth.Key)) handler {
	return func(x *exchange, r *http.Request) {
		key, err := x.gateway.keys.Check(r.Header)
		if errors.Is(err, auth.ErrNoKey) {
			if key = x.session(r); key != nil {
				x.onPage, err = true, nil
			}
		}
		if err != nil {
			x.failKey(err)
			return
		}
		x.rec.Key = key.Name
		if x.gateway.crossOrigin != nil {
			if err := x.gateway.crossOrigin.Check(r); err != nil {
				x.fail(dialect.Failure{Status: http.StatusForbidden, Code: "cross_origin",
					Message: "a web page of another origin may not call a gateway without keys; list its origin in cors.origins, or set auth.enabled"}, nil)
				return
			}
		}
		next(x, r, key)
	}
}

// failKey answers a request whose key was refused.
func (x *exchange) failKey(err error) {
	f := dialect.Failure{Status: http.StatusUnauthorized, Code: "invalid_api_key",
		Message: "this key is not valid here; keys are listed in auth.keys of the gateway's config, a generated one for clients is in data/client.key beside it"}
	switch {
	case errors.Is(err, auth.ErrLimit):
		f = x.limitFailure(err)
	case errors.Is(err, auth.ErrNoKey):
		f.Message = "no key; send Authorization: Bearer KEY or x-api-key: KEY"
	case errors.Is(err, auth.ErrExpired):
		f.Message = "this key has expired"
	case errors.Is(err, auth.ErrModel):
		f.Status, f.Code, f.Param, f.Message = http.StatusForbidden, "model_not_allowed", "model", "this key may not use this model; GET /v1/models lists those that it may"
	}
	x.fail(f, nil)
}

// admin lets admin keys pass.
func admin(next handler) func(*exchange, *http.Request, *auth.Key) {
	return func(x *exchange, r *http.Request, key *auth.Key) {
		if !key.Admin {
			x.fail(dialect.Failure{Status: http.StatusForbidden, Code: "admin_only",
				Message: "this route takes an admin key: one with \"admin\": true in auth.keys, or the generated one in data/admin.key beside the config"}, nil)
			return
		}
		if !x.gateway.config.Auth.Enabled && r.Method == http.MethodPost && !isJSON(r) {
			x.fail(dialect.Failure{Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Message: "send Content-Type: application/json"}, nil)
			return
		}
		x.Header()["Cache-Control"] = []string{"no-store"}
		next(x, r)
	}
}
