package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// open opens the gateway of a config file, without a listener.
func open(t *testing.T, text string) *Server {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := Load(path, os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// rows closes the gateway and returns its log.
func rows(t *testing.T, s *Server) string {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(s.gateway.Load().config.Logs.File)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Whatever the policy of its route, a panic leaves one record and is answered.
func TestPanicIsRecorded(t *testing.T) {
	s := open(t, "{}")
	policies := map[string]recording{"always": recordAlways, "failures": recordFailures, "never": recordNever}
	for name, policy := range policies {
		handleRoute(s.mux, "GET /_panic/"+name, policy, func(*exchange, *http.Request) { panic("on purpose") })
		handleRoute(s.mux, "GET /_fine/"+name, policy, func(x *exchange, _ *http.Request) { x.sendJSON(http.StatusOK, "fine") })
		for path, want := range map[string]int{"/_panic/": 500, "/_fine/": 200} {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1"+path+name, nil))
			if w.Code != want {
				t.Errorf("%s%s: status %d", path, name, w.Code)
			}
		}
	}
	logged := rows(t, s)
	for name, policy := range policies {
		for path, want := range map[string]bool{"/_panic/": true, "/_fine/": policy == recordAlways} {
			line := fmt.Sprintf(`"path":%q`, path+name)
			if n := strings.Count(logged, line); (n == 1) != want || n > 1 {
				t.Errorf("%s: %d records", path+name, n)
			}
		}
	}
}

// A connection to the address that a gateway without keys has left gets nothing but an
// error in the dialect of the path, and a record.
func TestMovedGateway(t *testing.T) {
	s := open(t, `{"auth":{"enabled":false}}`)
	w := httptest.NewRecorder()
	s.answer(w, httptest.NewRequest("GET", "http://gateway.example/v1/models", nil), false)
	if w.Code != 503 || w.Header().Get("Connection") != "close" || !strings.Contains(w.Body.String(), `"code":"moved"`) {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if logged := rows(t, s); strings.Count(logged, `"error_type":"moved"`) != 1 {
		t.Errorf("%s", logged)
	}
}
