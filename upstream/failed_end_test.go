package upstream_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"proxycast/upstream"
	"proxycast/upstream/dialect"
)

// The error that a stream ends with is its end: whatever the transport or the client do next, the call ends cleanly, soon, and with
// the provider's own word.
func TestAnErrorEndsAStream(t *testing.T) {
	const (
		begun   = `data: {"type":"response.output_text.delta","delta":"hi"}` + "\n\n"
		failed  = `data: {"type":"response.failed","response":{"status":"failed","error":{"code":"own_word"}}}` + "\n\n"
		delta   = `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}` + "\n\n"
		anError = "event: error\n" + `data: {"type":"error","error":{"type":"own_word","message":"no"}}` + "\n\n"
	)
	chatError := `data: {"error":{"message":"no","type":"own_word"}}` + "\n\n"
	for name, c := range map[string]struct {
		typ      string
		endpoint dialect.Endpoint
		text     string
	}{
		"responses":          {"openai", dialect.Responses, begun + failed},
		"messages":           {"anthropic", dialect.Messages, delta + anError},
		"chat":               {"openai", dialect.ChatCompletions, role + chunk + chatError},
		"chat with a marker": {"openai", dialect.ChatCompletions, role + chunk + chatError + done},
	} {
		for what, next := range map[string]http.HandlerFunc{"stays open": silent, "breaks off": reset} {
			t.Run(name+" "+what, func(t *testing.T) {
				t.Parallel()
				p := newProvider(t, then(stream(c.text), next))
				begin := time.Now()
				w, rep := relay(t, compile(t, upstream.Config{Providers: []upstream.ProviderConfig{p.config(c.typ)}}), c.endpoint, `{"model":"m","stream":true}`)
				if rep.Err == nil || rep.Err.Code != "own_word" || rep.Status != 200 || rep.Aborted || w.Body.String() != c.text {
					t.Errorf("%+v %v %q", rep, rep.Err, w.Body)
				}
				if took := time.Since(begin); took > 2*time.Second {
					t.Errorf("the client waited %v", took)
				}
			})
		}
		t.Run(name+" and the client leaves", func(t *testing.T) {
			t.Parallel()
			p := newProvider(t, then(stream(c.text), silent))
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			rep := relayTo(t, &leaver{httptest.NewRecorder(), "own_word", leave},
				compile(t, upstream.Config{Providers: []upstream.ProviderConfig{p.config(c.typ)}}), c.endpoint, ctx)
			if rep.Err == nil || rep.Err.Code != "own_word" || rep.Status != 200 {
				t.Errorf("%+v %v", rep, rep.Err)
			}
		})
	}
}

// leaver is a client that leaves when it has read a word.
type leaver struct {
	*httptest.ResponseRecorder
	word  string
	leave func()
}

func (l *leaver) Write(b []byte) (int, error) {
	if strings.Contains(string(b), l.word) {
		defer l.leave()
	}
	return l.ResponseRecorder.Write(b)
}

func relayTo(t *testing.T, w http.ResponseWriter, p *upstream.Proxy, e dialect.Endpoint, ctx context.Context) upstream.Report {
	t.Helper()
	const text = `{"model":"m","stream":true}`
	body, err := upstream.NewBuffers(1<<20, 1<<40).Read("", strings.NewReader(text), int64(len(text)), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	q, err := dialect.Parse(e, body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(ctx, "POST", "/v1"+e.Path(), nil)
	return p.Relay(w, r, &q, body, "")
}
