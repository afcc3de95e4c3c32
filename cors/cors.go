// Package cors lets web pages of chosen origins call the gateway from a browser.
// The rules are those of the Fetch standard (https://fetch.spec.whatwg.org,
// "HTTP extensions", "CORS protocol").
//
// Credentials mode is never allowed: client keys travel in headers that the page
// sets itself, and a cookie of the gateway is not for other origins.
package cors

import (
	"errors"
	"fmt"
	"net/http"
)

// New compiles cfg into a middleware, which is safe for concurrent use. The error
// joins every fault of cfg.
//
// The middleware answers every preflight itself with 204; whether it allows
// anything is in the headers. It hands on all other requests, allowed or not, since
// it is the browser that keeps a reply from a page; an allowed origin's reply has
// the CORS headers set before the handler runs, so that errors and streams carry
// them as well.
func New(cfg Config) (func(http.Handler) http.Handler, error) {
	var faults []error
	p := compile(cfg, func(path, message string) {
		faults = append(faults, fmt.Errorf("cors: %s: %s", path, message))
	})
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isPreflight(r) {
				p.preflight(w.Header(), r.Header)
				w.WriteHeader(http.StatusNoContent)
				return
			}
			p.actual(w.Header(), r.Header)
			next.ServeHTTP(w, r)
		})
	}, nil
}
