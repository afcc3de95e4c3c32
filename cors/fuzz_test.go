package cors_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"proxycast/cors"
)

// FuzzOrigin holds each origin that a pattern allows against net/url's view of
// both: same scheme, same port, and the same host or one of whole labels below.
func FuzzOrigin(f *testing.F) {
	for _, pattern := range []string{
		"https://app.example.com", "https://*.example.com", "https://*.example.com:8443", "http://localhost:3000",
		"http://[::1]:80", "app://obsidian.md", "https://*.com", "https://*", "null", "HTTPS://A.Example:443", "http://*.localhost",
	} {
		for _, origin := range []string{
			"https://app.example.com", "https://a.b.example.com", "https://example.com", "https://a.example.com:8443", "http://localhost:3000",
			"http://[::1]", "app://obsidian.md", "https://evil.example/.example.com", "https://u@a.example.com", "null", "https://a.example", "http://.localhost",
		} {
			f.Add(pattern, origin)
		}
	}
	f.Fuzz(func(t *testing.T, pattern, origin string) {
		middleware, err := cors.New(cors.Config{Origins: []string{pattern}})
		if err != nil || pattern == "*" {
			return
		}
		r := httptest.NewRequest("POST", "/", nil)
		r.Header["Origin"] = []string{origin}
		w := httptest.NewRecorder()
		middleware(http.NotFoundHandler()).ServeHTTP(w, r)
		switch got := w.Header()["Access-Control-Allow-Origin"]; {
		case got == nil:
			return
		case len(got) != 1 || got[0] != origin:
			t.Fatalf("%q allows %q as %q", pattern, origin, got)
		}

		o, err := url.Parse(origin)
		if err != nil {
			t.Fatalf("%q allows %q, which is no URL: %v", pattern, origin, err)
		}
		if o.Scheme+"://"+o.Host != origin {
			t.Fatalf("%q allows %q, which is more than scheme and host", pattern, origin)
		}
		p, err := url.Parse(strings.Replace(pattern, "*", "wildcard", 1))
		if err != nil {
			t.Fatalf("%q is accepted, but is no URL: %v", pattern, err)
		}
		if o.Scheme != strings.ToLower(p.Scheme) || port(o) != port(p) {
			t.Fatalf("%q allows %q", pattern, origin)
		}
		host, wild := strings.CutPrefix(strings.ToLower(p.Hostname()), "wildcard.")
		if !strings.Contains(pattern, "*") {
			host, wild = strings.ToLower(p.Hostname()), false
		}
		if !wild {
			got, _ := netip.ParseAddr(o.Hostname())
			want, _ := netip.ParseAddr(host)
			if o.Hostname() != host && (got != want || !got.IsValid()) {
				t.Fatalf("%q allows the host %q", pattern, o.Hostname())
			}
			return
		}
		labels, ok := strings.CutSuffix(o.Hostname(), "."+host)
		if !ok || !strings.Contains(host, ".") && host != "localhost" {
			t.Fatalf("%q allows the host %q", pattern, o.Hostname())
		}
		for _, label := range strings.Split(labels, ".") {
			if label == "" || strings.ContainsAny(label, ":@/*[]%") {
				t.Fatalf("%q allows the host %q", pattern, o.Hostname())
			}
		}
	})
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return strings.TrimLeft(u.Port(), "0")
	case strings.EqualFold(u.Scheme, "http"):
		return "80"
	case strings.EqualFold(u.Scheme, "https"):
		return "443"
	}
	return ""
}
