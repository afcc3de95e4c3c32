package upstream_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"proxycast/upstream"
	"proxycast/upstream/dialect"
)

// script answers the nth request (from 0) with the nth handler, the last one from
// then on.
func script(answers ...http.HandlerFunc) http.HandlerFunc {
	var n atomic.Int32
	return func(w http.ResponseWriter, r *http.Request) {
		answers[min(int(n.Add(1))-1, len(answers)-1)](w, r)
	}
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"error":{"message":"status %d","type":"t%d"}}`, code, code)
	}
}

func plain(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) }
}

func then(handlers ...http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, h := range handlers {
			h(w, r)
		}
	}
}

func reset(w http.ResponseWriter, r *http.Request)  { panic(http.ErrAbortHandler) }
func silent(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

const (
	reply     = `{"id":"1","choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":3}}`
	role      = `data: {"id":"1","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}` + "\n\n"
	streaming = `{"model":"smart","stream":true,"stream_options":{"include_usage":true}}`
	notStream = `{"model":"smart","messages":[]}`
)

var whole = role + chunk + finish + usage + done

// pair makes a proxy whose model "smart" leads to two providers.
func pair(t *testing.T, a, b http.HandlerFunc, change func(*upstream.Config)) (*upstream.Proxy, *provider, *provider) {
	t.Helper()
	first, second := newProvider(t, a), newProvider(t, b)
	one, two := first.config("openai"), second.config("openai")
	one.Name, two.Name = "a", "b"
	cfg := upstream.Config{
		Providers: []upstream.ProviderConfig{one, two}, Retries: 2,
		Models: map[string]upstream.Route{"smart": route("a/m", "b/m")},
	}
	if change != nil {
		change(&cfg)
	}
	return compile(t, cfg), first, second
}

func (p *provider) calls() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.seen)
}

func TestFailover(t *testing.T) {
	type want struct {
		calls  [2]int
		status int // of the reply; 0: an error of ours
		body   string
		code   string // of the error; "" for success
	}
	ok, okStream := plain(reply), stream(role, chunk, finish, usage, done)
	onlyA := func(cfg *upstream.Config) { cfg.Models["smart"] = route("a/m") }
	soon := func(cfg *upstream.Config) {
		for i := range cfg.Providers {
			cfg.Providers[i].Timeouts = upstream.Timeouts{Headers: 80 * time.Millisecond, FirstToken: 160 * time.Millisecond, Idle: 160 * time.Millisecond}
		}
	}
	complete := func(cfg *upstream.Config) {
		r := cfg.Models["smart"]
		r.Commit = "complete"
		cfg.Models["smart"] = r
	}
	event := `data: {"error":{"message":"busy","type":"overloaded"}}` + "\n\n"
	tooLong := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(400)
		io.WriteString(w, `{"error":{"message":"too long","type":"invalid_request_error","code":"context_length_exceeded"}}`)
	}
	for _, c := range []struct {
		name   string
		a, b   http.HandlerFunc
		change func(*upstream.Config)
		stream bool
		want   want
	}{
		{"good", ok, ok, nil, false, want{[2]int{1, 0}, 200, reply, ""}},
		{"good stream", okStream, okStream, nil, true, want{[2]int{1, 0}, 200, whole, ""}},
		{"one 5xx", script(status(500), ok), ok, nil, false, want{[2]int{2, 0}, 200, reply, ""}},
		{"lasting 5xx", status(503), ok, nil, false, want{[2]int{2, 1}, 200, reply, ""}},
		{"all 5xx", status(503), status(502), nil, false, want{[2]int{2, 1}, 502, "", "t502"}},
		{"429 without a time", script(status(429), ok), ok, nil, false, want{[2]int{2, 0}, 200, reply, ""}},
		{"429 with a short time", script(status(429, "Retry-After-Ms", "50"), ok), ok, nil, false, want{[2]int{2, 0}, 200, reply, ""}},
		{"429 with a long time", status(429, "Retry-After", "60"), ok, nil, false, want{[2]int{1, 1}, 200, reply, ""}},
		{"529", status(529), okStream, nil, true, want{[2]int{2, 1}, 200, whole, ""}},
		{"reset before headers", reset, ok, nil, false, want{[2]int{2, 1}, 200, reply, ""}},
		{"silent", silent, okStream, soon, true, want{[2]int{1, 1}, 200, whole, ""}},
		{"slow first token", then(stream(role), silent), okStream, soon, true, want{[2]int{1, 1}, 200, whole, ""}},
		{"error event before content", stream(role, event), okStream, nil, true, want{[2]int{2, 1}, 200, whole, ""}},
		{"error event, then silence", then(stream(role, event), silent), okStream, soon, true, want{[2]int{2, 1}, 200, whole, ""}},
		{"cut before content", stream(role), okStream, nil, true, want{[2]int{2, 1}, 200, whole, ""}},
		{"cut after content", then(stream(role, chunk), reset), okStream, nil, true, want{[2]int{1, 0}, 200, role + chunk, "reply_cut"}},
		{"stall after content", then(stream(role, chunk), silent), okStream, soon, true, want{[2]int{1, 0}, 200, role + chunk, "timeout"}},
		{"cut plain reply", then(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "999") }, plain(`{"id":`), reset), ok, nil, false, want{[2]int{2, 1}, 200, reply, ""}},
		{"HTML under 200", plain("<html>"), ok, nil, false, want{[2]int{1, 1}, 200, reply, ""}},
		{"error under 200", plain(`{"error":{"type":"x"}}`), ok, nil, false, want{[2]int{2, 1}, 200, reply, ""}},
		{"400", status(400), ok, nil, false, want{[2]int{1, 0}, 400, "", "t400"}},
		{"403", status(403), ok, nil, false, want{[2]int{1, 0}, 403, "", "t403"}},
		{"context length", tooLong, ok, nil, false, want{[2]int{1, 1}, 200, reply, ""}},
		{"context length, one target", tooLong, ok, onlyA, false, want{[2]int{1, 0}, 400, "", "invalid_request_error"}},
		{"401", status(401), ok, nil, false, want{[2]int{1, 1}, 200, reply, ""}},
		{"404", status(404), ok, nil, false, want{[2]int{1, 1}, 200, reply, ""}},
		{"one target has all attempts", status(500), ok, onlyA, false, want{[2]int{3, 0}, 500, "", "t500"}},
		{"complete: cut after content", then(stream(role, chunk), reset), okStream, complete, true, want{[2]int{1, 1}, 200, whole, ""}},
		{"complete: stall after content", then(stream(role, chunk), silent), okStream, func(c *upstream.Config) { complete(c); soon(c) }, true, want{[2]int{1, 1}, 200, whole, ""}},
		{"complete: cut after content, one target", script(then(stream(role, chunk), reset), okStream), okStream, func(c *upstream.Config) { onlyA(c); complete(c) }, true, want{[2]int{2, 0}, 200, whole, ""}},
		{"complete: error after content", stream(role, chunk, event), okStream, complete, true, want{[2]int{1, 1}, 200, whole, ""}},
		{"no [DONE]", stream(role, chunk, finish), okStream, nil, true, want{[2]int{1, 0}, 200, role + chunk + finish, ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, a, b := pair(t, c.a, c.b, c.change)
			body := notStream
			if c.stream {
				body = streaming
			}
			w, rep := relay(t, p, dialect.ChatCompletions, body)
			if got := [2]int{a.calls(), b.calls()}; got != c.want.calls {
				t.Errorf("calls %v, want %v", got, c.want.calls)
			}
			if rep.Status != c.want.status || rep.Attempts != c.want.calls[0]+c.want.calls[1] {
				t.Errorf("status %d after %d attempts, want %d: %v", rep.Status, rep.Attempts, c.want.status, rep.Err)
			}
			got, _, failed := strings.Cut(w.Body.String(), `data: {"error"`)
			if c.want.body != "" && got != c.want.body {
				t.Errorf("the client got %q", got)
			}
			if c.want.code == "" && (rep.Err != nil || failed) || c.want.code != "" && (rep.Err == nil || rep.Err.Code != c.want.code) {
				t.Errorf("error %v, want %q", rep.Err, c.want.code)
			}
			if wantsEvent := c.want.code == "reply_cut" || c.want.code == "timeout"; failed != wantsEvent {
				t.Errorf("the client got %q", w.Body)
			}
			if rep.Err != nil && rep.Attempts > 1 && w.Header().Get("X-Should-Retry") != "false" {
				t.Errorf("headers %v", w.Header())
			}
			if rep.Err == nil && (rep.Usage.Output == nil || *rep.Usage.Output != 3) && c.name != "no [DONE]" {
				t.Errorf("usage %+v", rep.Usage)
			}
		})
	}
}

func TestCredentialsTakeTurnsAndRest(t *testing.T) {
	var used []string
	p, _, second := pair(t, func(w http.ResponseWriter, r *http.Request) {
		key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		used = append(used, key)
		if key == "bad" {
			status(401)(w, r)
			return
		}
		plain(reply)(w, r)
	}, plain(reply), func(cfg *upstream.Config) {
		cfg.Providers[0].APIKey, cfg.Providers[0].APIKeys = "", []string{"one", "bad", "two"}
		cfg.Cooldown = upstream.Cooldown{After: 1, For: time.Hour}
	})
	for range 6 {
		if _, rep := relay(t, p, dialect.ChatCompletions, notStream); rep.Err != nil {
			t.Error(rep.Err)
		}
	}
	if a, b := p.Providers()[0], second.calls(); a.State != "ready" || len(a.Targets) > 0 || b > 0 {
		t.Errorf("a credential's rest is the target's: %+v, %d calls of the other one", a, b)
	}
	got := strings.Join(used, " ")
	if strings.Count(got, "bad") != 1 || strings.Count(got, "one")+strings.Count(got, "two") != 6 || strings.Count(got, "one") < 2 {
		t.Errorf("keys used: %s", got)
	}
}

func TestTargetRestsAndIsProbed(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	p, a, b := pair(t, func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() {
			status(500)(w, r)
			return
		}
		plain(reply)(w, r)
	}, plain(reply), func(cfg *upstream.Config) {
		cfg.Retries = 1
		cfg.Cooldown = upstream.Cooldown{After: 3, For: 300 * time.Millisecond}
	})
	ask := func() {
		t.Helper()
		if _, rep := relay(t, p, dialect.ChatCompletions, notStream); rep.Err != nil {
			t.Error(rep.Err)
		}
	}
	for range 3 {
		ask()
	}
	if a.calls() != 3 || b.calls() != 3 {
		t.Fatalf("before the rest: %d and %d calls", a.calls(), b.calls())
	}
	if state := p.Providers()[0]; state.State != "failing" || len(state.Targets) != 1 || state.Targets[0].Model != "m" || state.Targets[0].Failures != 3 {
		t.Errorf("state %+v", state)
	}
	ask()
	if a.calls() != 3 || b.calls() != 4 {
		t.Errorf("resting: %d and %d calls", a.calls(), b.calls())
	}
	time.Sleep(350 * time.Millisecond)
	ask() // the probe fails, the target rests again
	ask()
	if a.calls() != 4 || b.calls() != 6 {
		t.Errorf("after a failed probe: %d and %d calls", a.calls(), b.calls())
	}
	broken.Store(false)
	time.Sleep(350 * time.Millisecond)
	ask()
	ask()
	if a.calls() != 6 || b.calls() != 6 {
		t.Errorf("after a good probe: %d and %d calls", a.calls(), b.calls())
	}
}

func TestKeepalive(t *testing.T) {
	slow := func(w http.ResponseWriter, r *http.Request) {
		stream(role, chunk)(w, r)
		time.Sleep(300 * time.Millisecond)
		stream(finish, usage, done)(w, r)
	}
	for _, commit := range []string{"first_content", "complete"} {
		p, _, _ := pair(t, slow, plain(reply), func(cfg *upstream.Config) {
			cfg.Keepalive = 80 * time.Millisecond
			cfg.Models["smart"] = upstream.Route{Targets: route("a/m").Targets, Commit: commit}
		})
		w, rep := relay(t, p, dialect.ChatCompletions, streaming)
		got := w.Body.String()
		if n := strings.Count(got, ": keepalive\n\n"); rep.Err != nil || n < 1 || n > 4 || strings.ReplaceAll(got, ": keepalive\n\n", "") != whole {
			t.Errorf("%s: %v %q", commit, rep.Err, got)
		}
	}
	// The head is out with the first comment: a failure of all attempts is an event.
	cut := func(w http.ResponseWriter, r *http.Request) {
		stream(role, chunk)(w, r)
		time.Sleep(200 * time.Millisecond)
		reset(w, r)
	}
	p, _, _ := pair(t, cut, status(500), func(cfg *upstream.Config) {
		cfg.Keepalive, cfg.Retries = 80*time.Millisecond, 1
		cfg.Models["smart"] = upstream.Route{Targets: route("a/m", "b/m").Targets, Commit: "complete"}
	})
	w, rep := relay(t, p, dialect.ChatCompletions, streaming)
	if got := w.Body.String(); rep.Status != 200 || !rep.Aborted || rep.Err.Code != "t500" || strings.Contains(got, "hi") || !strings.Contains(got, `data: {"error"`) {
		t.Errorf("%+v %v %q", rep, rep.Err, got)
	}
}

// A comment has begun the reply: the last attempt goes on with it, whatever becomes of it.
func TestLastAttemptOfABegunReply(t *testing.T) {
	slowly := func(w http.ResponseWriter, r *http.Request) {
		stream(role, chunk)(w, r)
		time.Sleep(100 * time.Millisecond)
		reset(w, r)
	}
	for _, c := range []struct {
		name    string
		last    http.HandlerFunc
		code    string
		content int
	}{
		{"whole", stream(role, chunk, finish, usage, done), "", 1},
		{"cut", then(stream(role, chunk), reset), "reply_cut", 1},
		{"cut before content", then(stream(role), reset), "reply_cut", 0},
		{"not a stream", plain(reply), "reply_invalid", 0},
	} {
		p, _, _ := pair(t, slowly, c.last, func(cfg *upstream.Config) {
			cfg.Keepalive, cfg.Retries = 20*time.Millisecond, 1
			cfg.Models["smart"] = upstream.Route{Targets: route("a/m", "b/m").Targets, Commit: "complete"}
		})
		w, rep := relay(t, p, dialect.ChatCompletions, streaming)
		code := ""
		if rep.Err != nil {
			code = rep.Err.Code
		}
		failed := c.code != ""
		if got := w.Body.String(); code != c.code || rep.Status != 200 || rep.Aborted != failed || strings.Contains(got, `data: {"error"`) != failed || strings.Count(got, chunk) != c.content {
			t.Errorf("%s: %+v %v %q", c.name, rep, rep.Err, got)
		}
	}
}
