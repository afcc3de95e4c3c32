package upstream

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"proxycast/upstream/dialect"
)

// faulty is a provider without a network: each call meets a random fault.
type faulty struct{ calls int }

type brokenBody struct {
	text io.Reader
	end  error
}

func (b *brokenBody) Read(p []byte) (int, error) {
	n, err := b.text.Read(p)
	if err == io.EOF {
		err = b.end
	}
	return n, err
}

func (b *brokenBody) Close() error { return nil }

const (
	testRole    = `data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}` + "\n\n"
	testContent = `data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}` + "\n\n"
	testFinish  = `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	testError   = `data: {"error":{"message":"x","type":"server_error"}}` + "\n\n"
)

func (f *faulty) RoundTrip(r *http.Request) (*http.Response, error) {
	f.calls++
	io.Copy(io.Discard, r.Body)
	r.Body.Close()
	answer := func(status int, contentType, body string, end error) (*http.Response, error) {
		res := &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {contentType}}, ContentLength: -1}
		if status == 429 && rand.IntN(2) == 0 {
			res.Header.Set("Retry-After", []string{"0.1", "3", "60"}[rand.IntN(3)])
		}
		res.Body = &brokenBody{strings.NewReader(body), end}
		return res, nil
	}
	const sse, plain = "text/event-stream", "application/json"
	switch rand.IntN(12) {
	case 0:
		return nil, errors.New("connection reset")
	case 1:
		<-r.Context().Done()
		return nil, r.Context().Err()
	case 2:
		return answer([]int{400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 504, 529}[rand.IntN(12)], plain, `{"error":{"message":"no","type":"t"}}`, io.EOF)
	case 3:
		return answer(503, "text/html", "<html>", io.EOF)
	case 4:
		return answer(302, "", "", io.EOF)
	case 5:
		return answer(200, sse, testRole, io.EOF)
	case 6:
		return answer(200, sse, testRole+testError, io.EOF)
	case 7:
		return answer(200, sse, testRole+testContent, io.ErrUnexpectedEOF)
	case 8:
		return answer(200, sse, testRole+testContent+"data: {", io.EOF)
	case 9:
		return answer(200, sse, "", io.ErrUnexpectedEOF)
	case 10:
		return answer(200, "text/html", "<html>", io.EOF)
	default:
		return answer(200, sse, testRole+testContent+testFinish, io.EOF)
	}
}

// Whatever mix of faults the providers show, the attempts stay within the budget,
// content reaches a client once at most, a stream that is not aborted is whole,
// and the request's memory is given back.
func TestAttemptsStayWithinTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var providers []ProviderConfig
		for _, name := range []string{"a", "b", "c"} {
			providers = append(providers, ProviderConfig{Name: name, Type: typeOpenAI, BaseURL: "http://localhost", APIKeys: []string{"k1", "k2"},
				Timeouts: Timeouts{Headers: 5 * time.Second, FirstToken: 10 * time.Second, Total: time.Minute}})
		}
		buffers := NewBuffers(1<<30, 1<<40)
		outcomes := map[string]int{}
		for run := range 10_000 {
			complete := ""
			if run%3 == 0 {
				complete = commitComplete
			}
			cfg := Config{Providers: providers, Retries: rand.IntN(5), Cooldown: Cooldown{After: 1 + rand.IntN(3), For: time.Second},
				Models: map[string]Route{"m": {Targets: []TargetConfig{{To: "a/x", Weight: 1}, {To: "b/x", Weight: 1}, {To: "c/x", Weight: 1}}[:1+rand.IntN(3)], Commit: complete}}}
			p, err := New(cfg, nil)
			if err != nil {
				t.Fatal(err)
			}
			faults := &faulty{}
			for _, provider := range p.providers {
				provider.transport = faults
			}
			w, rep := relayText(t, p, buffers, dialect.ChatCompletions, `{"model":"m","stream":true,"stream_options":{}}`)
			seen := w.Body.Bytes()
			switch {
			case faults.calls != rep.Attempts || rep.Attempts > 1+cfg.Retries || rep.Attempts < 1:
				t.Fatalf("%d calls, %d attempts, %d retries", faults.calls, rep.Attempts, cfg.Retries)
			case bytes.Count(seen, []byte(testContent)) > 1:
				t.Fatalf("content twice: %q", seen)
			case rep.Err == nil && !bytes.Contains(seen, []byte(testFinish)) && !bytes.Contains(seen, []byte("<html>")):
				t.Fatalf("a reply that is not whole counts as good: %q", seen)
			case rep.Status == 0 && (rep.Err == nil || len(seen) > 0):
				t.Fatalf("nothing was to be sent: %q, %v", seen, rep.Err)
			case complete != "" && rep.Err != nil && rep.Attempts <= cfg.Retries && bytes.Contains(seen, []byte(testContent)):
				t.Fatalf("content of a failed stream passed although attempts were left: %q", seen)
			case buffers.InUse() != 0:
				t.Fatalf("%d bytes of memory were not given back", buffers.InUse())
			}
			key := "good"
			if rep.Err != nil {
				key = rep.Err.Code
			}
			outcomes[key]++
		}
		if outcomes["good"] == 0 || outcomes["reply_cut"] == 0 {
			t.Errorf("outcomes: %v", outcomes)
		}
		t.Logf("outcomes: %v", outcomes)
	})
}
