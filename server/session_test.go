package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A session of the dashboard ends a day after the login, however much it is used, for a
// browser that keeps the cookie too; the next login leaves nothing of it. Of too many
// sessions at once the newest stays.
func TestSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const key = "admin-key-0123456789abcdef"
		s := open(t, `{"auth":{"keys":[{"name":"root","key":"`+key+`","admin":true}]}}`)
		defer s.Close()
		began := time.Now()
		send := func(method, path, body string, cookie *http.Cookie) *http.Response {
			r := httptest.NewRequest(method, "http://127.0.0.1"+path, strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			if cookie != nil {
				r.AddCookie(cookie)
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			return w.Result()
		}
		login := func() *http.Cookie {
			t.Helper()
			res := send("POST", "/_ui/login", `{"key":"`+key+`"}`, nil)
			if res.StatusCode != http.StatusNoContent || len(res.Cookies()) != 1 {
				t.Fatalf("login: %s %v", res.Status, res.Cookies())
			}
			return res.Cookies()[0]
		}
		expect := func(cookie *http.Cookie, status int) {
			t.Helper()
			for _, path := range []string{"/_status", "/v1/models"} {
				if res := send("GET", path, "", cookie); res.StatusCode != status {
					t.Errorf("%s after %v: %s, want %d", path, time.Since(began), res.Status, status)
				}
			}
		}
		cookie := login()
		if cookie.MaxAge != 24*60*60 {
			t.Errorf("the browser keeps the cookie for %d s", cookie.MaxAge)
		}
		for range 24 {
			expect(cookie, http.StatusOK)
			time.Sleep(time.Hour - time.Millisecond)
		}
		expect(cookie, http.StatusOK)
		time.Sleep(time.Second)
		expect(cookie, http.StatusUnauthorized)
		expect(login(), http.StatusOK)
		if n := len(s.sessions.open); n != 1 {
			t.Errorf("%d sessions are kept", n)
		}
		for range 2 * maxSessions {
			cookie = login()
		}
		expect(cookie, http.StatusOK)
		if n := len(s.sessions.open); n > maxSessions {
			t.Errorf("%d sessions are kept", n)
		}
	})
}
