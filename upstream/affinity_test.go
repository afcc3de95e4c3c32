package upstream_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"proxycast/upstream"
	"proxycast/upstream/dialect"
)

// A provider keeps the prompts that it has seen, for each credential apart. Conversations find theirs again, also when one
// credential dies in the middle.
func TestConversationsKeepTheirCredential(t *testing.T) {
	const sessions, turns = 200, 10
	keys := []string{"key-a-0123456789abcdef", "key-b-0123456789abcdef", "key-c-0123456789abcdef", "key-d-0123456789abcdef"}
	for name, body := range map[string]func(session int) (string, http.Header){
		"prompt_cache_key": func(s int) (string, http.Header) {
			return fmt.Sprintf(`{"prompt_cache_key":"s%d","model":"m","messages":[]}`, s), nil
		},
		"user_id": func(s int) (string, http.Header) {
			return fmt.Sprintf(`{"metadata":{"x":1,"user_id":"s\u0020%d"},"model":"m","messages":[]}`, s), nil
		},
		"Claude Code": func(s int) (string, http.Header) {
			return chat, http.Header{"X-Claude-Code-Session-Id": {fmt.Sprint(s)}}
		},
		"Codex": func(s int) (string, http.Header) { return chat, http.Header{"Session-Id": {fmt.Sprint(s)}} },
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			cached, hits, asked, dead := map[string]bool{}, 0, 0, ""
			provider := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				credential := r.Header.Get("Authorization")
				if dead != "" && strings.HasSuffix(credential, dead) {
					pieces(asJSON, 401, `{"error":{"message":"no"}}`)(w, r)
					return
				}
				asked++
				session := credential + " " + r.Header.Get("X-Test-Session")
				if cached[session] {
					hits++
				}
				cached[session] = true
				pieces(asJSON, 200, apis[0].plain)(w, r)
			})
			cfg := provider.config("openai")
			cfg.APIKey, cfg.APIKeys = "", keys
			proxy := compile(t, upstream.Config{Providers: []upstream.ProviderConfig{cfg}, Retries: 2})
			for turn := range turns {
				if turn == turns/2 {
					mu.Lock()
					dead = keys[1]
					mu.Unlock()
				}
				for s := range sessions {
					text, header := body(s)
					_, rep := relay(t, proxy, dialect.ChatCompletions, text, func(r *http.Request) {
						r.Header.Set("X-Test-Session", fmt.Sprint(s))
						for name, values := range header {
							r.Header[name] = values
						}
					})
					if rep.Err != nil {
						t.Fatalf("%+v %v", rep, rep.Err)
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			// The first turn of each session is a miss, and one more of each whose credential has died.
			share := float64(hits) / float64(asked-sessions)
			t.Logf("%.1f %% of the turns that could be", 100*share)
			if share < 0.95 {
				t.Errorf("%d hits of %d", hits, asked)
			}
		})
	}
}

// Conversations share weighted targets by their weights, each with its own.
func TestConversationsKeepTheirTarget(t *testing.T) {
	answer := pieces(asJSON, 200, apis[0].plain)
	one, two := newProvider(t, answer).config("openai"), newProvider(t, answer).config("openai")
	one.Name, two.Name = "p", "q"
	r := route("p/m", "q/m")
	r.Strategy, r.Targets[0].Weight = "weighted", 3
	proxy := compile(t, upstream.Config{Providers: []upstream.ProviderConfig{one, two}, Models: map[string]upstream.Route{"m": r}})
	count := map[string]int{}
	for s := range 400 {
		body := fmt.Sprintf(`{"prompt_cache_key":"conversation %d","model":"m"}`, s)
		_, first := relay(t, proxy, dialect.ChatCompletions, body)
		_, again := relay(t, proxy, dialect.ChatCompletions, body)
		if len(first.Session) != 12 || first.Session != again.Session {
			t.Fatalf("sessions %q and %q", first.Session, again.Session)
		}
		if first.Provider != again.Provider {
			t.Fatalf("conversation %d went to %s, then to %s", s, first.Provider, again.Provider)
		}
		count[first.Provider]++
	}
	if count["p"] < 250 || count["q"] < 50 {
		t.Errorf("of weights 3 and 1: %v", count)
	}
}
