package upstream_test

// How real providers differ from the books: each kind with its siblings, at every split of the bytes.

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"proxycast/upstream"
	"proxycast/upstream/dialect"
)

// api is one of the calls whose replies the gateway reads.
type api struct {
	name     string
	endpoint dialect.Endpoint
	kind     string // of provider
	request  string
	stream   string // a whole one, with the text "good"
	plain    string
}

var apis = []api{
	{"chat", dialect.ChatCompletions, "openai", `{"model":"m","messages":[]STREAM}`,
		`data: {"choices":[{"index":0,"delta":{"content":"good"}}]}` + "\n\n" + `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}` + "\n\ndata: [DONE]\n\n",
		`{"choices":[{"index":0,"message":{"role":"assistant","content":"good"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}`},
	{"messages", dialect.Messages, "anthropic", `{"model":"m","max_tokens":9,"messages":[]STREAM}`,
		"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n" +
			"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"good\"}}\n\n" +
			"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\n" +
			"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
		`{"type":"message","role":"assistant","content":[{"type":"text","text":"good"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":2}}`},
	{"responses", dialect.Responses, "openai", `{"model":"m","input":"hi"STREAM}`,
		"event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"status\":\"in_progress\"}}\n\n" +
			"event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"good\"}\n\n" +
			"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"usage\":{\"input_tokens\":3,\"output_tokens\":2}}}\n\n",
		`{"object":"response","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"good"}]}],"usage":{"input_tokens":3,"output_tokens":2}}`},
}

func (a api) body(stream bool) string {
	if stream {
		return strings.Replace(a.request, "STREAM", `,"stream":true`, 1)
	}
	return strings.Replace(a.request, "STREAM", "", 1)
}

// pieces sends the pieces of a reply, each in a write of its own.
func pieces(header http.Header, status int, parts ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		for _, part := range parts {
			io.WriteString(w, part)
			w.(http.Flusher).Flush()
		}
	}
}

var (
	asSSE  = http.Header{"Content-Type": {"text/event-stream"}}
	asJSON = http.Header{"Content-Type": {"application/json"}}
)

// twoTargets asks p, which answers in its own way, and then q, which is good. It returns what the client got.
func (a api) twoTargets(t *testing.T, stream bool, p http.HandlerFunc) (text string, rep upstream.Report) {
	t.Helper()
	good := pieces(asJSON, 200, a.plain)
	if stream {
		good = pieces(asSSE, 200, a.stream)
	}
	first, second := newProvider(t, p), newProvider(t, good)
	one, two := first.config(a.kind), second.config(a.kind)
	one.Name, two.Name = "p", "q"
	proxy := compile(t, upstream.Config{Providers: []upstream.ProviderConfig{one, two}, Models: map[string]upstream.Route{"m": route("p/m", "q/m")}, Retries: 1})
	w, rep := relay(t, proxy, a.endpoint, a.body(stream))
	return w.Body.String(), rep
}

// splits returns the ways to cut text in two, at most 200 of them.
func splits(text string) (all [][]string) {
	all = append(all, []string{text})
	step := len(text)/200 + 1
	for i := 1; i < len(text); i += step {
		all = append(all, []string{text[:i], text[i:]})
	}
	return all
}

// A stream that reports an error before any content leads to the next target, whatever else it says and however it is cut.
func TestErrorInAHeldStream(t *testing.T) {
	failed := map[string][]string{
		"chat": {
			`data: {"error":{"message":"TimeoutError","type":"GatewayTimeout","code":504}}` + "\n\ndata: [DONE]\n\n",
			": ping\n\n" + `data: {"error":"overloaded"}` + "\n\ndata: [DONE]\n\n",
			`data: {"error":{"message":"x"}}` + "\n\n" + `data: {"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}` + "\n\n",
		},
		"messages": {
			"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
			"event: ping\ndata: {\"type\":\"ping\"}\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\"}}\n\n",
		},
		"responses": {
			"event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\"}}}\n\n",
			"event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"status\":\"in_progress\"}}\n\nevent: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\"}}\n\n",
			"event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"x\"}\n\n",
		},
	}
	for _, a := range apis {
		for i, text := range failed[a.name] {
			for _, cut := range splits(text) {
				got, rep := a.twoTargets(t, true, pieces(asSSE, 200, cut...))
				if got != a.stream || rep.Provider != "q" || rep.Err != nil || len(rep.Tried) == 0 {
					t.Fatalf("%s, stream %d in %d pieces (%d): %+v %v\n%s", a.name, i, len(cut), len(cut[0]), rep, rep.Err, got)
				}
			}
		}
	}
}

// A gzip reply, though none was asked for, is read and passed unpacked.
func TestGzipReply(t *testing.T) {
	pack := func(text string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		io.WriteString(w, text)
		w.Close()
		return b.String()
	}
	for _, a := range apis {
		for _, stream := range []bool{true, false} {
			text, header := a.plain, asJSON.Clone()
			if stream {
				text, header = a.stream, asSSE.Clone()
			}
			header.Set("Content-Encoding", "gzip")
			header.Set("Etag", `"x"`)
			provider := newProvider(t, pieces(header, 200, pack(text)))
			w, rep := relay(t, newProxy(t, nil, provider.config(a.kind)), a.endpoint, a.body(stream))
			if rep.Err != nil || w.Body.String() != text || rep.Usage.Input == nil || *rep.Usage.Input != 3 || *rep.Usage.Output != 2 {
				t.Errorf("%s, stream %v: %+v %v\n%s", a.name, stream, rep, rep.Err, w.Body)
			}
			if h := w.Header(); h.Get("Content-Encoding") != "" || h.Get("Etag") != "" {
				t.Errorf("%s, stream %v: %v", a.name, stream, h)
			}
			if r, _ := provider.last(); r.Header.Get("Accept-Encoding") != "identity" {
				t.Errorf("the provider was sent %v", r.Header)
			}
			got, rep := a.twoTargets(t, stream, pieces(header, 200, "no gzip at all"))
			if rep.Err != nil || rep.Provider != "q" || !strings.Contains(got, "good") {
				t.Errorf("%s, stream %v, not gzip: %+v %v", a.name, stream, rep, rep.Err)
			}
		}
	}
}

// A reply is a stream by its bytes, whatever its label says: it is bought once, passes as it comes and is metered.
func TestStreamUnderAnotherLabel(t *testing.T) {
	for _, a := range apis {
		for _, label := range []string{"", "application/json", "text/plain; charset=utf-8", "application/octet-stream"} {
			for _, before := range []string{"", "\uFEFF", "\r\n\r\n", ": hello\n\n", "\n\nid: 7\n", "retry: 100\n\n"} {
				header := http.Header{"Content-Type": {label}}
				provider := newProvider(t, pieces(header, 200, before, a.stream[:20], a.stream[20:]))
				w, rep := relay(t, newProxy(t, nil, provider.config(a.kind)), a.endpoint, a.body(true))
				if rep.Err != nil || rep.Attempts != 1 || !rep.Stream || w.Body.String() != before+a.stream || rep.Usage.Output == nil || *rep.Usage.Output != 2 {
					t.Errorf("%s as %q after %q: %+v %v\n%s", a.name, label, before, rep, rep.Err, w.Body)
				}
				if got := w.Header().Get("Content-Type"); got != "text/event-stream" {
					t.Errorf("%s as %q: the client got %q", a.name, label, got)
				}
			}
		}
	}
}

// Once the last event has been passed on the call is a success, however the transport ends.
func TestEndByTheProtocol(t *testing.T) {
	for _, a := range apis {
		for name, end := range map[string]http.HandlerFunc{
			"broken off": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			"left open":  func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			"chatter after the end": func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, ": bye\n\n")
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			},
		} {
			for _, lines := range []string{"\n", "\r\n"} {
				text := strings.ReplaceAll(a.stream, "\n", lines)
				provider := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
					pieces(asSSE, 200, text[:len(text)-1], text[len(text)-1:])(w, r)
					end(w, r)
				})
				start := time.Now()
				w, rep := relay(t, newProxy(t, nil, provider.config(a.kind)), a.endpoint, a.body(true))
				if rep.Err != nil || rep.Aborted || rep.Status != 200 || rep.Attempts != 1 || !strings.HasPrefix(w.Body.String(), text) {
					t.Errorf("%s, %s, %q: %+v %v\n%s", a.name, name, lines, rep, rep.Err, w.Body)
				}
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("%s, %s: it took %v", a.name, name, took)
				}
			}
		}
	}
}

// The client that has the last event closes, as OpenAI's SDK for Python does: it has not left.
func TestClientClosesAtTheLastEvent(t *testing.T) {
	for _, a := range apis {
		provider := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
			pieces(asSSE, 200, a.stream)(w, r)
			<-r.Context().Done()
		})
		proxy := newProxy(t, nil, provider.config(a.kind))
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		time.AfterFunc(100*time.Millisecond, leave)
		if _, rep := relay(t, proxy, a.endpoint, a.body(true), func(r *http.Request) { *r = *r.WithContext(ctx) }); rep.Err != nil || rep.Status != 200 {
			t.Errorf("%s: %+v %v", a.name, rep, rep.Err)
		}
	}
}

// A success that holds no answer is a failure: another target is asked, the same one is not; where there is none, the record
// says so. Honest short answers are successes.
func TestSuccessWithoutAnAnswer(t *testing.T) {
	type replies struct{ plain, streams, honest, honestStreams []string }
	finish := func(reason string) string {
		return `data: {"choices":[{"index":0,"delta":{},"finish_reason":"` + reason + `"}]}` + "\n\n"
	}
	for _, a := range apis {
		r := map[string]replies{
			"chat": {
				plain: []string{`{"id":"","choices":null,"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}`, `{}`, `[]`, `{"choices":[]}`, ``, `<html>no</html>`, `"ok"`,
					`{"choices":[{"index":0,"error":{"message":"x"}}]}`, `{"choices":[{"index":0,"message":{"content":""},"finish_reason":"error"}]}`},
				streams: []string{"data: [DONE]\n\n", ": ping\n\n: ping\n\n", finish("error"), finish("network_error") + "data: [DONE]\n\n", `data: {"choices":[]}` + "\n\n", `{"error":"x"}`,
					`data: {"choices":[{"index":0,"error":{"message":"x"}}]}` + "\n\n"},
				honest:        []string{`{"choices":[{"index":0,"message":{"content":""},"finish_reason":"stop"}]}`, `{"choices":[{"index":0,"message":{"content":null,"refusal":"no"},"finish_reason":"content_filter"}]}`},
				honestStreams: []string{finish("stop") + "data: [DONE]\n\n", finish("length"), finish("content_filter")},
			},
			"messages": {
				plain:   []string{`{}`, `{"type":"message"}`, ``, `<html>`, `{"choices":[{}]}`},
				streams: []string{"event: ping\ndata: {\"type\":\"ping\"}\n\n", "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", "data: {\"x\":1}\n\n"},
				honest:  []string{`{"type":"message","content":[],"stop_reason":"end_turn"}`, `{"type":"message","content":[],"stop_reason":"refusal"}`},
				honestStreams: []string{"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n" +
					"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"},
			},
			"responses": {
				plain:         []string{`{}`, `{"object":"response"}`, ``, `<!doctype html>`, `{"choices":[{}]}`},
				streams:       []string{": ping\n\n", "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"status\":\"in_progress\"}}\n\n", "data: [DONE]\n\n"},
				honest:        []string{`{"object":"response","status":"completed","output":[]}`, `{"object":"response","status":"queued","output":[]}`, `{"object":"response","status":"in_progress","output":[]}`},
				honestStreams: []string{"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[]}}\n\n", "event: response.incomplete\ndata: {\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\"}}\n\n"},
			},
		}[a.name]
		for _, stream := range []bool{false, true} {
			bad, good, header := r.plain, r.honest, asJSON
			if stream {
				bad, good, header = r.streams, r.honestStreams, asSSE
			}
			for _, text := range bad {
				if got, rep := a.twoTargets(t, stream, pieces(header, 200, text)); rep.Err != nil || rep.Provider != "q" || !strings.Contains(got, "good") {
					t.Errorf("%s, stream %v, %q, two targets: %+v %v\n%s", a.name, stream, text, rep, rep.Err, got)
				}
				for _, retries := range []int{0, 2} {
					provider := newProvider(t, pieces(header, 200, text))
					cfg := provider.config(a.kind)
					proxy := compile(t, upstream.Config{Providers: []upstream.ProviderConfig{cfg}, Retries: retries})
					w, rep := relay(t, proxy, a.endpoint, a.body(stream))
					if rep.Err == nil || rep.Err.Status < 500 {
						t.Errorf("%s, stream %v, %q, retries %d: %+v\n%s", a.name, stream, text, retries, rep, w.Body)
					}
					if !stream && rep.Attempts != 1 && rep.Err.Code != "reply_cut" && !strings.Contains(rep.Err.Message, "reported an error") {
						t.Errorf("%s, %q: bought %d times", a.name, text, rep.Attempts)
					}
					if strings.Contains(w.Body.String(), "html") {
						t.Errorf("%s: a web page passes", a.name)
					}
				}
			}
			for _, text := range good {
				if got, rep := a.twoTargets(t, stream, pieces(header, 200, text)); rep.Err != nil || rep.Provider != "p" || got != text {
					t.Errorf("%s, stream %v, %q: %+v %v\n%s", a.name, stream, text, rep, rep.Err, got)
				}
			}
		}
	}
}

// An empty account is the credential's fault: the next credential is asked at once, else the next target, and neither the
// request nor the target is blamed.
func TestEmptyAccount(t *testing.T) {
	for _, refusal := range []struct {
		status int
		body   string
	}{
		{402, `{"error":{"message":"Insufficient Balance"}}`}, {402, ``},
		{400, `{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the API."}}`},
		{403, `{"error":{"message":"Please add a payment method: billing hard limit reached"}}`},
		{429, `{"error":{"code":"insufficient_quota","message":"You exceeded your current quota"}}`},
		{400, `{"error":{"message":"账户余额不足"}}`},
	} {
		for _, a := range apis {
			answer := func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.Header.Get("Authorization")+r.Header.Get("X-Api-Key"), "empty") {
					pieces(asJSON, refusal.status, refusal.body)(w, r)
					return
				}
				pieces(asJSON, 200, a.plain)(w, r)
			}
			provider := newProvider(t, answer)
			cfg := provider.config(a.kind)
			cfg.APIKey, cfg.APIKeys = "", []string{"empty-0123456789abcdef", "good-0123456789abcdef"}
			proxy := compile(t, upstream.Config{Providers: []upstream.ProviderConfig{cfg}, Retries: 1, Cooldown: upstream.Cooldown{After: 1, For: time.Hour}})
			for range 4 {
				if _, rep := relay(t, proxy, a.endpoint, a.body(false)); rep.Err != nil {
					t.Errorf("%s, %d %s, two credentials: %+v %v", a.name, refusal.status, refusal.body, rep, rep.Err)
				}
			}
			if n := provider.calls(); n != 5 {
				t.Errorf("%s, %d %s: %d calls for 4 requests: the empty credential does not rest", a.name, refusal.status, refusal.body, n)
			}
			if state := proxy.Providers()[0]; state.State != "ready" {
				t.Errorf("%s, %d: %+v", a.name, refusal.status, state)
			}
			if _, rep := a.twoTargets(t, false, pieces(asJSON, refusal.status, refusal.body)); rep.Err != nil || rep.Provider != "q" || rep.Attempts != 2 {
				t.Errorf("%s, %d %s, two targets: %+v %v", a.name, refusal.status, refusal.body, rep, rep.Err)
			}
		}
	}
	for _, mine := range []string{`{"error":{"message":"flagged by moderation"}}`, `{"error":{"message":"not allowed"}}`} {
		if _, rep := apis[0].twoTargets(t, false, pieces(asJSON, 403, mine)); rep.Attempts != 1 || rep.Status != 403 {
			t.Errorf("%s: %+v", mine, rep)
		}
	}
}

// One odd entry does not empty a model list.
func TestOddModelLists(t *testing.T) {
	for list, want := range map[string]string{
		`[{"id":"a"},{"id":"b"}]`: "a b",
		`{"data":[{"id":"a","created":"2026-01-01"},{"id":7},{"id":"b","owned_by":{}}]}`:          "a b",
		"\uFEFF" + `{"object":"list","data":[null,"x",{"id":""},{"id":"models/a"},{"name":"y"}]}`: "a",
		`{"data":[],"has_more":false}`: "",
	} {
		provider := newProvider(t, pieces(asJSON, 200, list))
		models, err := newProxy(t, nil, provider.config("openai")).Models(t.Context(), "", func(string) bool { return true })
		var ids []string
		for _, m := range models {
			ids = append(ids, m.ID)
		}
		if got := strings.Join(ids, " "); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", list, got, err, want)
		}
	}
}
