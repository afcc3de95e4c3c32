package server

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"proxycast/auth"
	"proxycast/upstream/dialect"
)

// Sessions of the dashboard. A session stands for the admin key that it was opened
// with, and is checked against the keys in force each time: it dies with its key.

const (
	sessionCookie   = "proxycast_session"
	sessionLifetime = 24 * time.Hour
	maxSessions     = 16 // of one key: another login ends the oldest
	maxLoginBody    = 4 << 10
)

type sessions struct {
	mu   sync.Mutex
	open map[[sha256.Size]byte]session // by the digest of the cookie's value
}

type session struct {
	header http.Header // with the key, as auth wants it
	ends   time.Time
}

// begin opens a session for key and returns the cookie's value.
func (s *sessions) begin(key string, now time.Time) (value string) {
	value = rand.Text() + rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	same, oldest := 0, [sha256.Size]byte{}
	for digest, open := range s.open {
		switch {
		case now.After(open.ends):
			delete(s.open, digest)
		case open.header.Get("X-Api-Key") == key:
			if same++; same == 1 || open.ends.Before(s.open[oldest].ends) {
				oldest = digest
			}
		}
	}
	if same >= maxSessions {
		delete(s.open, oldest)
	}
	if s.open == nil {
		s.open = map[[sha256.Size]byte]session{}
	}
	s.open[sha256.Sum256([]byte(value))] = session{http.Header{"X-Api-Key": {key}}, now.Add(sessionLifetime)}
	return value
}

// end closes the session of r, if it has one.
func (s *sessions) end(r *http.Request) {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, sha256.Sum256([]byte(cookie.Value)))
	}
}

// key returns the key that the session of r stands for, nil if there is none.
func (s *sessions) key(r *http.Request, keys *auth.Keys) *auth.Key {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil
	}
	s.mu.Lock()
	open, ok := s.open[sha256.Sum256([]byte(cookie.Value))]
	s.mu.Unlock()
	if !ok || time.Now().After(open.ends) {
		return nil
	}
	key, err := keys.Check(open.header)
	if err != nil || !key.Admin {
		return nil
	}
	return key
}

// sameOrigin guards what a session allows: a page of another origin, even of the
// same site, gets nothing by the cookie that the browser sends along.
var sameOrigin = http.NewCrossOriginProtection()

// session returns the key of the request's session. The client API may be called by
// pages of other origins, so there the browser must say that the page is ours: by
// Sec-Fetch-Site, or by Origin where it sends no such header (plain HTTP beyond
// loopback). Reading alone needs neither: another page cannot see the answer.
func (x *exchange) session(r *http.Request) *auth.Key {
	if sameOrigin.Check(r) != nil {
		return nil
	}
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	switch {
	case isOperator(r.URL.Path), site == "same-origin":
	case site != "":
		return nil
	case origin != "":
		if u, err := url.Parse(origin); err != nil || u.Host != r.Host {
			return nil
		}
	case r.Method != http.MethodGet:
		return nil
	}
	return x.server.sessions.key(r, x.gateway.keys)
}

// stillAdmin reports whether the request would still be let in: its key or session
// may have ended while it is being answered.
func (x *exchange) stillAdmin(r *http.Request) bool {
	keys := x.server.gateway.Load().keys
	if x.onPage {
		return x.server.sessions.key(r, keys) != nil
	}
	key, err := keys.Check(r.Header)
	return err == nil && key.Admin
}

// login answers POST /_ui/login.
func login(x *exchange, r *http.Request) {
	if err := sameOrigin.Check(r); err != nil {
		x.fail(dialect.Failure{Status: http.StatusForbidden, Code: "cross_origin", Message: "the login is for the dashboard's own page"}, nil)
		return
	}
	var form struct{ Key string }
	if err := json.NewDecoder(io.LimitReader(r.Body, maxLoginBody)).Decode(&form); err != nil {
		x.fail(dialect.Failure{Status: http.StatusBadRequest, Code: "invalid_body", Message: `send {"key": "…"}`}, nil)
		return
	}
	now := time.Now()
	if wait := x.server.logins.wait(x.rec.Remote, now); wait > 0 {
		x.Header()["Retry-After"] = []string{strconv.Itoa(int(wait.Seconds()) + 1)}
		x.fail(dialect.Failure{Status: http.StatusTooManyRequests, Code: "too_many_logins", Message: "too many logins failed from this address; wait a minute"}, nil)
		return
	}
	key, err := x.gateway.keys.Check(http.Header{"X-Api-Key": {form.Key}})
	if err != nil {
		x.server.logins.note(x.rec.Remote, now)
		x.failKey(err)
		return
	}
	x.rec.Key = key.Name
	if !key.Admin {
		x.server.logins.note(x.rec.Remote, now)
		x.fail(dialect.Failure{Status: http.StatusForbidden, Code: "admin_only", Message: "the dashboard takes an admin key"}, nil)
		return
	}
	http.SetCookie(x, &http.Cookie{
		Name: sessionCookie, Value: x.server.sessions.begin(form.Key, now), Path: "/", MaxAge: int(sessionLifetime.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	})
	x.WriteHeader(http.StatusNoContent)
}

// logout answers POST /_ui/logout.
func logout(x *exchange, r *http.Request) {
	if err := sameOrigin.Check(r); err != nil {
		x.fail(dialect.Failure{Status: http.StatusForbidden, Code: "cross_origin", Message: "the logout is for the dashboard's own page"}, nil)
		return
	}
	if key := x.session(r); key != nil {
		x.rec.Key = key.Name
	}
	x.server.sessions.end(r)
	http.SetCookie(x, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	x.WriteHeader(http.StatusNoContent)
}

// showSession tells the page whether a login is needed.
func showSession(x *exchange, r *http.Request) {
	key := x.session(r)
	if !x.gateway.config.Auth.Enabled {
		key, _ = x.gateway.keys.Check(r.Header)
	}
	name := ""
	if key != nil {
		name = key.Name
	}
	x.Header()["Cache-Control"] = []string{"no-store"}
	x.sendJSON(http.StatusOK, map[string]any{"version": Version, "login": key == nil, "name": name})
}
