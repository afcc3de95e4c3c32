package upstream_test

// How real providers differ from the books: each kind with its siblings, at every split of the bytes.

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

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
