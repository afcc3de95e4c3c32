// Identity: where client and provider speak one dialect the bytes pass unchanged
// both ways, and the record says what the bytes say.
package gateway_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"proxycast/internal_test/harness"
)

// sameBytes compares by digest and shows where two texts part.
func sameBytes(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if sha256.Sum256(got) == sha256.Sum256(want) {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	from := max(0, at-40)
	t.Errorf("%s: %d bytes, want %d; they part at %d:\n got %.120q\nwant %.120q", what, len(got), len(want), at, got[from:], want[from:])
}

// identityGateways runs one gateway a dialect, each with strict metering off, so
// that a case's model names are free.
func identityGateways(t *testing.T, all []recorded, extra object) (map[string]*gateway, map[string]*provider) {
	gateways, providers := map[string]*gateway{}, map[string]*provider{}
	for _, kind := range []string{"openai", "anthropic"} {
		p := harness.NewProvider(t, nil)
		cfg := relayTo(p, kind, extra)
		aliases := object{}
		for _, c := range all {
			if c.provider() == kind {
				aliases["alias of "+c.model(t)] = "fake/" + c.model(t)
			}
		}
		cfg["upstream"].(object)["models"] = aliases
		gateways[kind], providers[kind] = start(t, cfg), p
	}
	return gateways, providers
}

func TestIdentity(t *testing.T) {
	all := append(ownCases(), readCorpus(t)...)
	gateways, providers := identityGateways(t, all, object{"stream_usage": false})
	for _, c := range all {
		g, p := gateways[c.provider()], providers[c.provider()]
		t.Run(c.Name, func(t *testing.T) {
			p.Play(c.reply("X-Provider-Trace: kept").serve(whole))
			r := g.Send(t, "POST", endpoints[c.Dialect].path+"?beta=true", c.body(), c.clientHeader()...)
			c.check(t, g, p, r)
		})
		t.Run(c.Name+"/alias", func(t *testing.T) {
			p.Play(c.reply().serve(byEvent))
			model := c.model(t)
			body := strings.Replace(c.body(), jsonString(model), jsonString("alias of "+model), 1)
			g.Send(t, "POST", endpoints[c.Dialect].path, body)
			sameBytes(t, "request with an alias", p.Last(t).Body, []byte(c.body()))
			rec := g.Next(t)
			if rec.Model != "alias of "+model || rec.UpstreamModel != model {
				t.Errorf("record: model %q, upstream_model %q", rec.Model, rec.UpstreamModel)
			}
		})
	}
	for _, g := range gateways {
		g.SecretFree(t)
	}
}

// A byte at a time is the hardest split of all: the client's request and the
// provider's reply, heads and chunk framing included.
func TestIdentityByteByByte(t *testing.T) {
	const longest = 5000
	all := append(ownCases(), readCorpus(t)...)
	gateways, providers := identityGateways(t, all, object{"stream_usage": false})
	for _, c := range all {
		if len(c.body())+len(c.text()) > longest {
			continue
		}
		g, p := gateways[c.provider()], providers[c.provider()]
		t.Run(c.Name, func(t *testing.T) {
			p.Play(c.reply("X-Provider-Trace: kept").serve(1))
			request := fmt.Sprintf("POST %s?beta=true HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n",
				endpoints[c.Dialect].path, g.Addr, harness.UserKey, len(c.body()))
			for _, line := range c.clientHeader() {
				request += line + "\r\n"
			}
			r := g.Raw(t, []byte(request+"\r\n"+c.body()), 1)
			c.check(t, g, p, r)
		})
	}
}

func jsonString(s string) string { return `"` + s + `"` } // model names need no escapes

// clientHeader is what the client sends beside its key.
func (c recorded) clientHeader() []string {
	header := []string{"X-Client-Trace: kept", "User-Agent: identity/1.0"}
	for name, value := range c.Sent {
		if !strings.EqualFold(name, "content-type") {
			header = append(header, name+": "+value)
		}
	}
	return header
}

// check holds an exchange against the promises of identity and of the record.
func (c recorded) check(t *testing.T, g *gateway, p *provider, r reply) {
	t.Helper()
	x, rec := p.Last(t), g.Next(t)
	sameBytes(t, "request at the provider", x.Body, []byte(c.body()))
	if want := endpoints[c.Dialect].path + "?beta=true"; x.Target != want {
		t.Errorf("the provider was asked for %s, want %s", x.Target, want)
	}
	for name, value := range c.Sent {
		if got := x.Header.Get(name); got != value {
			t.Errorf("the provider got %s %q, want %q", name, got, value)
		}
	}

	f := c.facts(t)
	if c.Status == 401 {
		// A provider's 401 is the gateway's problem and quotes keys: ours instead.
		if r.Status != 502 || rec.Status != 502 || string(r.Body) == c.text() {
			t.Errorf("a provider's 401 became %d (record %d): %s", r.Status, rec.Status, r.Body)
		}
		return
	}
	if r.Status != c.Status || rec.Status != c.Status {
		t.Errorf("status %d, record %d, want %d", r.Status, rec.Status, c.Status)
	}
	switch {
	case f.finished || f.failed != "":
		sameBytes(t, "reply at the client", r.Body, []byte(c.text()))
		if r.Cut != nil {
			t.Errorf("the reply ended in %v", r.Cut)
		}
	default: // cut at an event boundary
		sameBytes(t, "reply at the client", r.Body[:min(len(r.Body), len(c.text()))], []byte(c.text()))
		if r.Cut == nil || len(r.Body) == len(c.text()) {
			t.Errorf("an unfinished stream ended with %v and %q", r.Cut, r.Body[min(len(r.Body), len(c.text())):])
		}
	}
	if got := r.Header.Get("X-Provider-Trace"); got != "kept" {
		t.Errorf("the client got x-provider-trace %q", got)
	}
	for name, value := range c.Header {
		switch strings.ToLower(name) {
		case "transfer-encoding", "content-length", "connection":
		default:
			if got := r.Header.Get(name); got != value {
				t.Errorf("the client got %s %q, want %q", name, got, value)
			}
		}
	}
	c.checkRecord(t, rec, f)
}

func (c recorded) checkRecord(t *testing.T, rec record, f facts) {
	t.Helper()
	count := func(name string, got, want *int64) {
		switch {
		case want == nil && got == nil:
		case want == nil:
			t.Errorf("record: %s %d, but the provider stated none", name, *got)
		case got == nil:
			t.Errorf("record: %s absent, want %d", name, *want)
		case *got != *want:
			t.Errorf("record: %s %d, want %d", name, *got, *want)
		}
	}
	if c.Status < 400 {
		count("input_tokens", rec.InputTokens, f.total(c.Dialect))
		count("output_tokens", rec.OutputTokens, f.output)
		count("cache_read_tokens", rec.CacheReadTokens, f.cacheRead)
		count("reasoning_tokens", rec.ReasoningTokens, f.reasoning)
		if rec.Stream != (c.SSE != "") {
			t.Errorf("record: stream %v", rec.Stream)
		}
		if rec.TTFTMS == nil && (strings.Contains(c.SSE, `"text_delta"`) || strings.Contains(c.SSE, "output_text.delta")) {
			t.Error("record: no ttft_ms")
		}
	}
	if len(f.finish) > 0 && !f.finish[rec.FinishReason] {
		t.Errorf("record: finish_reason %q, want one of %v", rec.FinishReason, f.finish)
	}
	if (f.failed != "" || c.Status >= 400) && rec.ErrorType == "" {
		t.Errorf("record: no error_type; the reply failed with %q", f.failed)
	}
	id := c.Header["x-request-id"] + c.Header["request-id"]
	for name, pair := range map[string][2]any{
		"upstream_id":    {rec.UpstreamID, id},
		"provider":       {rec.Provider, "fake"},
		"endpoint":       {rec.Endpoint, endpoints[c.Dialect].name},
		"path":           {rec.Path, endpoints[c.Dialect].path},
		"method":         {rec.Method, "POST"},
		"key":            {rec.Key, "user"},
		"model":          {rec.Model, c.model(t)},
		"attempts":       {rec.Attempts, 1},
		"request_bytes":  {rec.RequestBytes, int64(len(c.body()))},
		"response_bytes": {rec.ResponseBytes, int64(len(c.text()))},
	} {
		if name == "response_bytes" && !f.finished && f.failed == "" {
			continue // the error event that we add counts too
		}
		if pair[0] != pair[1] {
			t.Errorf("record: %s %v, want %v", name, pair[0], pair[1])
		}
	}
}

// A chat stream that asked for no usage is metered all the same: the provider is
// asked for it, and the one event that this adds is taken out again.
func TestAddedUsage(t *testing.T) {
	p := harness.NewProvider(t, nil)
	g := start(t, relayTo(p, "openai"))
	const option = `"stream_options":{"include_usage":true}`
	withUsage := chatStart + chatDelta + chatFinish + chatUsage + chatDone
	for _, size := range []int{whole, byEvent, 1, 7} {
		p.Play(events(withUsage).serve(size))
		r := g.Send(t, "POST", "/v1/chat/completions", chatStreamRequest)
		sameBytes(t, "reply", r.Body, []byte(chatStream))
		sent := string(p.Last(t).Body)
		added := strings.TrimSuffix(chatStreamRequest, "}")
		if !strings.HasPrefix(sent, added) || strings.Join(strings.Fields(sent[len(added):]), "") != ","+option+"}" {
			t.Errorf("the provider got %s", sent)
		}
		rec := g.Next(t)
		if rec.InputTokens == nil || *rec.InputTokens != 11 || rec.OutputTokens == nil || *rec.OutputTokens != 3 || rec.FinishReason != "stop" {
			t.Errorf("record: %+v", rec)
		}
	}
	f := func(name, request, played, want string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			p.Play(events(played).serve(byEvent))
			r := g.Send(t, "POST", "/v1/chat/completions", request)
			sameBytes(t, "request", p.Last(t).Body, []byte(request))
			sameBytes(t, "reply", r.Body, []byte(want))
			g.Next(t)
		})
	}
	with := func(options string) string {
		return strings.TrimSuffix(chatStreamRequest, "}") + `,"stream_options":` + options + `}`
	}
	f("asked for", with(`{"include_usage":true}`), withUsage, withUsage)
	f("refused", with(`{"include_usage":false}`), chatStream, chatStream)
	f("null", with(`null`), chatStream, chatStream)

	azure := `data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}]}` + "\n\n"
	inFinish := strings.Replace(chatFinish, `"usage":null`, `"usage":{"prompt_tokens":2,"completion_tokens":1}`, 1)
	for name, played := range map[string]string{
		"choices empty without usage": azure + chatStream,
		"usage in the finish chunk":   chatStart + chatDelta + inFinish + chatDone,
		"a provider that ignores it":  chatStream,
		"an event over 16 KiB":        chatStart + `data: {"choices":[{"index":0,"delta":{"content":"` + strings.Repeat("x", 20<<10) + `"}}]}` + "\n\n" + chatFinish + chatDone,
	} {
		t.Run(name, func(t *testing.T) {
			p.Play(events(played).serve(7))
			r := g.Send(t, "POST", "/v1/chat/completions", chatStreamRequest)
			sameBytes(t, "reply", r.Body, []byte(played))
			if r.Cut != nil {
				t.Errorf("the reply ended in %v", r.Cut)
			}
			g.Next(t)
		})
	}
}

// Every corpus stream, altered: what is added is removed, whatever the provider's habits.
func TestAddedUsageInCorpus(t *testing.T) {
	all := readCorpus(t)
	p := harness.NewProvider(t, nil)
	g := start(t, relayTo(p, "openai"))
	for _, c := range all {
		if c.Dialect != "openai-chat" || c.SSE == "" || strings.Contains(c.body(), "stream_options") || !c.facts(t).finished {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			usageOnly := func(event string) bool {
				event = strings.Join(strings.Fields(event), "")
				return strings.Contains(event, `"choices":[],`) && strings.Contains(event, `"usage":{`)
			}
			var played, want []string
			for _, event := range splitEvents(c.SSE) {
				if usageOnly(event) {
					continue
				}
				if strings.HasPrefix(event, "data: [DONE]") {
					played = append(played, chatUsage)
				}
				played, want = append(played, event), append(want, event)
			}
			for _, size := range []int{whole, 11} {
				p.Play(events(strings.Join(played, "")).serve(size))
				r := g.Send(t, "POST", "/v1/chat/completions", c.body())
				sameBytes(t, "reply", r.Body, []byte(strings.Join(want, "")))
				g.Next(t)
			}
		})
	}
}
