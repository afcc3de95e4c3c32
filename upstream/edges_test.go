package upstream_test

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

	"proxycast/upstream"
	"proxycast/upstream/dialect"
)

// An error in a 200 reply quotes the credential.
func TestCredentialInAPlain200(t *testing.T) {
	for _, retries := range []int{0, 1} {
		a := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"error":{"message":"bad key %s","type":"auth"}}`, secret)
		})
		p := compile(t, upstream.Config{Providers: []upstream.ProviderConfig{a.config("openai")}, Retries: retries})
		if w, _ := relay(t, p, dialect.ChatCompletions, chat); strings.Contains(w.Body.String(), secret) {
			t.Errorf("retries %d: %q", retries, w.Body)
		}
	}
}

// count_tokens only ever goes to a provider that has it.
func TestCountTokens(t *testing.T) {
	count := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"input_tokens":42}`) }
	const body = `{"model":"smart","messages":[{"role":"user","content":"hi"}]}`
	setup := func(a http.HandlerFunc, order ...string) (*upstream.Proxy, *provider, *provider) {
		anthropic, openai := newProvider(t, a), newProvider(t, status(404))
		p, err := upstream.New(upstream.Config{
			Providers: []upstream.ProviderConfig{anthropic.config("anthropic"), openai.config("openai")}, Retries: 2,
			Cooldown: upstream.Cooldown{After: 1, For: time.Minute},
			Models:   map[string]upstream.Route{"smart": route(order...)},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p, anthropic, openai
	}
	p, _, openai := setup(status(500), "anthropic/c", "openai/g")
	w, rep := relay(t, p, dialect.CountTokens, body)
	if openai.calls() != 0 {
		r, _ := openai.last()
		t.Errorf("an OpenAI provider got %s; client saw %d %s (%+v)", r.URL, w.Code, w.Body, rep)
	}
	p, anthropic, _ := setup(count, "openai/g", "anthropic/c")
	w, _ = relay(t, p, dialect.CountTokens, body)
	if anthropic.calls() != 1 {
		t.Errorf("an estimate although a provider counts: %s", w.Body)
	}
}

// The time in the queue of max_concurrency is ours, not the provider's.
func TestQueueIsNotTheProvidersTime(t *testing.T) {
	a := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(400 * time.Millisecond) // well below the limit of 700ms
		stream(role, chunk, finish, usage, done)(w, r)
	})
	c := a.config("openai")
	c.MaxConcurrency, c.Timeouts.Headers = 1, 700*time.Millisecond
	p := compile(t, upstream.Config{Providers: []upstream.ProviderConfig{c}, Cooldown: upstream.Cooldown{After: 1, For: time.Minute}})
	const body = `{"model":"m","stream":true}`
	ended := make(chan upstream.Report)
	for range 2 {
		go func() { _, rep := relay(t, p, dialect.ChatCompletions, body); ended <- rep }()
	}
	for range 2 {
		if rep := <-ended; rep.Err != nil {
			t.Error(rep.Err)
		}
	}
	if s := p.Providers()[0]; s.State != "ready" {
		t.Errorf("the target is blamed: %+v", s)
	}
}

type slowWriter struct {
	*httptest.ResponseRecorder
	n int
}

func (w *slowWriter) Write(b []byte) (int, error) {
	if w.n++; w.n == 2 {
		time.Sleep(400 * time.Millisecond)
	}
	return w.ResponseRecorder.Write(b)
}

// A client that takes its time is no fault of the provider's.
func TestSlowClientIsNotAnIdleProvider(t *testing.T) {
	a := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
		stream(role, chunk)(w, r)
		time.Sleep(20 * time.Millisecond)
		stream(chunk)(w, r)
		time.Sleep(20 * time.Millisecond)
		stream(finish, usage, done)(w, r)
	})
	c := a.config("openai")
	c.Timeouts.Idle = 200 * time.Millisecond
	p := compile(t, upstream.Config{Providers: []upstream.ProviderConfig{c}, Cooldown: upstream.Cooldown{After: 1, For: time.Minute}})
	const body = `{"model":"m","stream":true,"stream_options":{}}`
	b, _ := upstream.NewBuffers(1<<20, 1<<40).Read("", strings.NewReader(body), int64(len(body)), 1<<20)
	q, _ := dialect.Parse(dialect.ChatCompletions, b.Bytes())
	rep := p.Relay(&slowWriter{ResponseRecorder: httptest.NewRecorder()}, httptest.NewRequest("POST", "/", nil), &q, b, "")
	if rep.Err != nil {
		t.Errorf("%v; %+v", rep.Err, p.Providers()[0])
	}
}

// rawProvider answers each connection with text and closes it.
func rawProvider(t *testing.T, text string) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				io.Copy(io.Discard, req.Body)
				io.WriteString(c, text)
			}
			c.Close()
		}
	}()
	return "http://" + ln.Addr().String()
}

func rawProxy(t *testing.T, retries int, text string) *upstream.Proxy {
	return compile(t, upstream.Config{Retries: retries, Providers: []upstream.ProviderConfig{
		{Name: "a", Type: "openai", BaseURL: rawProvider(t, text), Models: []string{"*"}, Proxy: "none"}}})
}

// A plain reply that ends with its connection (no length, not chunked) and was cut.
func TestCutPlainReplyWithoutLength(t *testing.T) {
	p := rawProxy(t, 0, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"+reply[:60])
	w, rep := relay(t, p, dialect.ChatCompletions, chat)
	if rep.Err == nil || !rep.Aborted {
		t.Errorf("a cut reply is a success: %+v %q", rep, w.Body)
	}
}

// A 499 of the provider's without a JSON body is not the client's going.
func TestProvider499(t *testing.T) {
	p := rawProxy(t, 0, "HTTP/1.1 499 \r\nContent-Length: 0\r\n\r\n")
	_, rep := relay(t, p, dialect.ChatCompletions, chat)
	if rep.Err == nil || rep.Err.Status == 499 && rep.Status == 0 {
		t.Errorf("the server takes this for a client that has left: %+v %v", rep, rep.Err)
	}
}

// Health works whatever names clients have made up before.
func TestHealthIsNotFilledUp(t *testing.T) {
	down, good := newProvider(t, status(500)), newProvider(t, plain(reply))
	a, b := down.config("openai"), good.config("openai")
	a.Name, b.Name = "a", "b"
	p := compile(t, upstream.Config{
		Providers: []upstream.ProviderConfig{a, b}, Retries: 0, Cooldown: upstream.Cooldown{After: 1, For: time.Minute},
		Models: map[string]upstream.Route{"smart": route("a/m", "b/m")},
	})
	for i := range 4096 {
		relay(t, p, dialect.ChatCompletions, fmt.Sprintf(`{"model":"a/invented-%d"}`, i))
	}
	relay(t, p, dialect.ChatCompletions, notStream) // fails: a/m is to rest from now on
	if _, rep := relay(t, p, dialect.ChatCompletions, notStream); rep.Provider != "b" {
		t.Errorf("a failing target does not rest any more: %+v", rep.Err)
	}
}

// An absurd retry-after-ms.
func TestRetryAfterMs(t *testing.T) {
	a := newProvider(t, status(503, "Retry-After-Ms", "1e300"))
	p := compile(t, upstream.Config{Providers: []upstream.ProviderConfig{a.config("openai")}, Retries: 5})
	if _, rep := relay(t, p, dialect.ChatCompletions, chat); rep.Attempts != 1 {
		t.Errorf("%d attempts without a pause at a provider that asks for a long one", rep.Attempts)
	}
}

// With retries an empty 204 is what it is without.
func Test204(t *testing.T) {
	for _, retries := range []int{0, 1} {
		p := rawProxy(t, retries, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
		w, rep := relay(t, p, dialect.ChatCompletions, chat)
		if w.Code != 204 || w.Body.Len() != 0 || rep.Status != 204 || rep.Err != nil || rep.Attempts != 1 {
			t.Errorf("retries %d: %d %q, report %d %v after %d attempts", retries, w.Code, w.Body, rep.Status, rep.Err, rep.Attempts)
		}
	}
}
