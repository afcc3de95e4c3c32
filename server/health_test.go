package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// One key fills the health table with names of its own; afterwards no target rests.
func TestHealthTableFills(t *testing.T) {
	var calls atomic.Int64
	p := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(500)
		w.Write([]byte(`{"error":{"message":"no","type":"server_error"}}`))
	}))
	t.Cleanup(p.Close)
	config := fmt.Sprintf(`{"auth":{"keys":[KEYS]},"upstream":{"retries":0,"providers":[{"name":"p","type":"openai","base_url":%q,"api_key":%q,"models":["demo-*"]}],
		"models":{"demo-both":["p/demo-real","p/demo-other"]}}}`, p.URL, echoedKey)
	rests := func(g *gateway) bool {
		for range 6 {
			g.do("POST", "/v1/chat/completions", strings.Replace(chat, "demo-fast", "demo-both", 1), "Authorization", "Bearer "+plainKey)
		}
		_, body := g.do("GET", "/_status", "", "Authorization", "Bearer "+adminKey)
		return strings.Contains(body, `"model":"demo-real"`)
	}
	g := start(t, config)
	if !rests(g) {
		t.Fatal("a target that fails is not known as such")
	}
	g = start(t, config)
	for i := range 4096 {
		g.do("POST", "/v1/chat/completions", strings.Replace(chat, "demo-fast", fmt.Sprint("demo-", i), 1), "Authorization", "Bearer "+plainKey)
	}
	if !rests(g) {
		t.Error("after 4096 invented names no target rests any more")
	}
}
