package server_test

// What the holder of an ordinary key, or a provider, may not bring about.

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const meteredKey = "metered-key-0123456789abcdef"

// metered returns a config whose key "metered" has a limit of tokens a minute, and whose provider is at url.
func metered(url, kind string, tokens int) string {
	return fmt.Sprintf(`{"auth":{"keys":[KEYS,{"name":"metered","key":%q,"tokens_per_minute":%d}]},
		"upstream":{"retries":0,"providers":[{"name":"p","type":%q,"base_url":%q,"models":["demo-*"]}]}}`, meteredKey, tokens, kind, url)
}

// chatStream is a stream of n content chunks that tells no usage.
func chatStream(w http.ResponseWriter, n int) {
	w.Header().Set("Content-Type", "text/event-stream")
	for range n {
		io.WriteString(w, `data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}`+"\n\n")
	}
	io.WriteString(w, `data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
}

// A client that has the provider keep its usage to itself is charged all the same.
func TestTokenLimitWithoutUsage(t *testing.T) {
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		chatStream(w, 100)
	}))
	defer provider.Close()
	for _, options := range []string{`{"include_usage":false}`, `null`, `{}`} {
		g := start(t, metered(provider.URL, "openai", 150))
		body := strings.Replace(chat, "{", `{"stream":true,"stream_options":`+options+`,`, 1)
		passed := 0
		for range 10 {
			if res, _ := g.do("POST", "/v1/chat/completions", body, "X-Api-Key", meteredKey); res.StatusCode == 200 {
				passed++
			}
		}
		if passed != 2 { // of about 110 tokens each: a request begins while a token remains
			t.Errorf("stream_options %s: %d of 10 requests passed a limit of 150 tokens", options, passed)
		}
		for _, rec := range g.records() {
			if rec.InputTokens != nil || rec.OutputTokens != nil {
				t.Fatalf("a guess was recorded: %+v", rec)
			}
		}
	}
}

// An answer that is empty is charged for its question.
func TestTokenLimitOfAnEmptyAnswer(t *testing.T) {
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		chatStream(w, 0)
	}))
	defer provider.Close()
	g := start(t, metered(provider.URL, "openai", 150))
	body := `{"model":"demo-1","stream":true,"stream_options":null,"messages":[{"role":"user","content":"` + strings.Repeat("some words ", 200) + `"}]}`
	for i, want := range []int{200, 429} {
		if res, _ := g.do("POST", "/v1/chat/completions", body, "X-Api-Key", meteredKey); res.StatusCode != want {
			t.Errorf("request %d: %d, want %d", i, res.StatusCode, want)
		}
	}
}

// A charset in which a provider would read other names than the gateway does is refused.
func TestCharset(t *testing.T) {
	g := start(t, withKeys)
	for charset, want := range map[string]int{"utf-8": 200, "UTF8": 200, "us-ascii": 200, "iso-8859-1": 200, "utf-7": 415, "shift_jis": 415, "utf-16": 415} {
		if res, body := g.do("POST", "/v1/chat/completions", chat, "X-Api-Key", plainKey, "Content-Type", "application/json; charset="+charset); res.StatusCode != want {
			t.Errorf("%s: %d %s", charset, res.StatusCode, body)
		}
	}
}

// A client that leaves at the finish_reason, before the usage comes, is charged; so is one that leaves an Anthropic
// stream, which tells a first count at its start.
func TestTokenLimitOfClientThatLeaves(t *testing.T) {
	left := make(chan bool, 100)
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if strings.HasSuffix(r.URL.Path, "/messages") {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, `event: message_start`+"\n"+`data: {"type":"message_start","message":{"usage":{"input_tokens":10,"output_tokens":1}}}`+"\n\n")
			for range 100 {
				io.WriteString(w, `event: content_block_delta`+"\n"+`data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"word "}}`+"\n\n")
			}
		} else {
			chatStream(w, 100)
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		left <- true
	}))
	defer provider.Close()
	for path, kind := range map[string]string{"/v1/chat/completions": "openai", "/v1/messages": "anthropic"} {
		g := start(t, metered(provider.URL, kind, 150))
		for i := range 4 {
			req, _ := http.NewRequest("POST", g.url+path, strings.NewReader(strings.Replace(message, "{", `{"stream":true,`, 1)))
			req.Header.Set("X-Api-Key", meteredKey)
			res, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if want := 200; i < 2 && res.StatusCode != want || i >= 2 && res.StatusCode != 429 {
				t.Errorf("%s: request %d got %d", path, i, res.StatusCode)
			}
			if res.StatusCode == 200 {
				for lines := bufio.NewScanner(res.Body); lines.Scan() && !strings.Contains(lines.Text(), "word"); {
				}
				time.Sleep(50 * time.Millisecond) // all of it is on its way by now
				res.Body.Close()
				<-left
				waitFor(t, func() bool { return len(g.records()) == i+1 })
			}
			res.Body.Close()
		}
	}
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come about in 10 s")
		}
	}
}

// Counted tokens are no consumption.
func TestCountTokensUsesNothing(t *testing.T) {
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"input_tokens":100000}`)
	}))
	defer provider.Close()
	g := start(t, metered(provider.URL, "anthropic", 10))
	for range 5 {
		if res, body := g.do("POST", "/v1/messages/count_tokens", message, "X-Api-Key", meteredKey); res.StatusCode != 200 || !strings.Contains(body, "100000") {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
	}
	if _, body := g.do("GET", "/_stats?by=key&since=1h", "", "X-Api-Key", adminKey); strings.Contains(body, "100000") || strings.Contains(body, "500000") {
		t.Errorf("counted tokens are booked as consumed: %s", body)
	}
}

// A count that no call can have is none: it must not wrap a counter or block a key for years.
func TestLyingUsage(t *testing.T) {
	for _, lie := range []string{"999999999999999999", "9223372036854775807", "2147483649", "-5", "1e30"} {
		provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"choices":[{"index":0,"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":%s,"completion_tokens":%[1]s}}`, lie)
		}))
		g := start(t, metered(provider.URL, "openai", 1000))
		for range 3 {
			if res, body := g.do("POST", "/v1/chat/completions", chat, "X-Api-Key", meteredKey); res.StatusCode != 200 {
				t.Errorf("%s tokens: %d %s, retry-after %s", lie, res.StatusCode, body, res.Header.Get("Retry-After"))
			}
		}
		if rec := g.records()[0]; rec.InputTokens != nil || rec.OutputTokens != nil {
			t.Errorf("%s tokens were recorded", lie)
		}
		provider.Close()
	}
}

// A provider may read names without their case, or take a second model from a list.
func TestSecondModel(t *testing.T) {
	var asked int
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, `{}`)
	}))
	defer provider.Close()
	g := start(t, providerConfig(provider.URL, ""))
	for _, member := range []string{`"Model":"big"`, `"MODEL":"big"`, `"mode\u006C":"demo-fast","moDel":1`, `"\u004dodel":"big"`, `"model\u0000":"big"`, `"MODEL\u0000x":"big"`, `"models":["big"]`, `"fallbacks":[{"model":"big"}]`, `"Models":[]`, `"model\u017f":["big"]`} {
		for _, path := range []string{"/v1/chat/completions", "/v1/responses", "/v1/embeddings"} {
			body := strings.Replace(chat, "{", "{"+member+",", 1)
			res, text := g.do("POST", path, body, "X-Api-Key", plainKey)
			if res.StatusCode != 400 {
				t.Errorf("%s %s: %d %.100s", path, member, res.StatusCode, text)
			}
		}
	}
	if asked != 0 {
		t.Errorf("%d requests reached the provider", asked)
	}
	if res, _ := g.do("POST", "/v1/chat/completions", strings.Replace(chat, "{", `{"models":["big"],`, 1), "X-Api-Key", adminKey); res.StatusCode != 200 {
		t.Errorf("a key without a list: %d", res.StatusCode)
	}
}

// One key that announces much and sends little leaves room for the others.
func TestTrickledBodies(t *testing.T) {
	g := start(t, withKeys)
	var held []net.Conn
	defer func() {
		for _, conn := range held {
			conn.Close()
		}
	}()
	for range 8 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
		fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: %s\r\nContent-Type: application/json\r\nContent-Length: 33554432\r\n\r\n{", plainKey)
	}
	time.Sleep(100 * time.Millisecond)
	for range 50 {
		if res, body := g.do("POST", "/v1/chat/completions", chat, "X-Api-Key", adminKey); res.StatusCode != 200 {
			t.Fatalf("another key: %d %s", res.StatusCode, body)
		}
	}
}

// What a provider echoes of its address, its proxy's password or its headers holds no credential; what a client sends of
// the gateway's own key goes no further.
func TestCredentialsStayOnTheirSide(t *testing.T) {
	var seen string
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		seen = fmt.Sprint(r.URL, r.Header)
		for _, name := range []string{"X-Accel-Redirect", "X-Sendfile", "Refresh", "Www-Authenticate", "X-Echo"} {
			w.Header().Set(name, r.URL.String())
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(404)
		fmt.Fprintf(w, `{"error":{"message":%q}}`, "no "+r.URL.String()+" "+r.URL.Query().Get("key")+" "+r.Header.Get("X-Custom-Token"))
	}))
	defer provider.Close()
	g := start(t, fmt.Sprintf(`{"auth":{"keys":[KEYS]},"upstream":{"retries":0,"providers":[{"name":"p","type":"openai","models":["demo-*"],
		"base_url":"%s/v1?key=%s","headers":{"X-Custom-Token":"CANARY-header-0123456789"}}]}}`, provider.URL, "CANARY-url%2B%2F0123456789abcdef"))
	res, body := g.do("POST", "/v1/chat/completions?api_key="+plainKey+"&x=1", chat,
		"X-Api-Key", plainKey, "X-Goog-Api-Key", plainKey, "X-Other", "Bearer "+plainKey, "X-Kept", "yes")
	if res.StatusCode != 404 || strings.Contains(seen, plainKey) || !strings.Contains(seen, "x=1") || !strings.Contains(seen, "X-Kept:[yes]") {
		t.Errorf("%d; the provider saw %s", res.StatusCode, seen)
	}
	answer := fmt.Sprint(body, res.Header)
	if strings.Contains(answer, "CANARY") || !strings.Contains(answer, "***") {
		t.Errorf("the client got %s", answer)
	}
	for _, name := range []string{"X-Accel-Redirect", "X-Sendfile", "Refresh", "Www-Authenticate"} {
		if res.Header.Get(name) != "" {
			t.Errorf("%s passes", name)
		}
	}
}

// Whoever has an IPv6 network guesses no more keys than one address may.
func TestLoginsOfANetwork(t *testing.T) {
	g := start(t, `{"server":{"trusted_proxies":["127.0.0.0/8"]},"auth":{"keys":[KEYS]}}`)
	login := func(from string) int {
		res, _ := g.do("POST", "/_ui/login", `{"key":"a-guess"}`, "X-Forwarded-For", from)
		return res.StatusCode
	}
	for i := range 10 {
		if got := login(fmt.Sprintf("2001:db8:0:1::%x", i+1)); got != http.StatusUnauthorized {
			t.Fatalf("guess %d: %d", i, got)
		}
	}
	if got := login("2001:db8:0:1:ffff::1"); got != http.StatusTooManyRequests {
		t.Errorf("a guess from the same network: %d", got)
	}
	if got := login("2001:db8:0:2::1"); got != http.StatusUnauthorized {
		t.Errorf("a guess from another network: %d", got)
	}
}
