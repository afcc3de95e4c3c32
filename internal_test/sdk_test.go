// The official SDKs and the Vercel AI SDK as clients: each script in node/ runs its
// checks and prints one line of JSON for each.
package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

func TestSDK(t *testing.T) {
	harness.NeedModule(t, "internal_test/node", "openai")
	f := func(name, script string, env ...string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testSDK(t, script, env...)
		})
	}
	f("openai", "openai.mjs")
	f("anthropic", "anthropic.mjs", "SDK=@anthropic-ai/sdk")
	f("anthropic-0", "anthropic.mjs", "SDK=@anthropic-ai/sdk-0")
	f("ai", "ai.mjs")
}

func testSDK(t *testing.T, script string, env ...string) {
	play := &sdkProvider{left: map[string]time.Time{}}
	p := harness.NewProvider(t, play.answer)
	g := start(t, object{
		"server": object{"max_body": "2MiB", "max_inflight_bytes": "64MiB"},
		"upstream": object{"providers": list{
			object{"name": "o", "type": "openai", "base_url": p.URL, "api_key": harness.ProviderKey, "models": list{"o-*"}},
			object{"name": "a", "type": "anthropic", "base_url": p.URL, "api_key": harness.ProviderKey, "models": list{"a-*"}},
			object{"name": "demo", "type": "demo", "models": list{"demo-*"}},
		}},
	})
	env = append(env, "GATEWAY="+g.URL, "GATEWAY_KEY="+harness.UserKey)
	for _, c := range harness.Checks(t, "node", env, script) {
		t.Run(c.Name, func(t *testing.T) {
			c.Judge(t)
			if c.Model == "" {
				return
			}
			again := false
			harness.Soon(t, func() time.Duration {
				if again {
					c = harness.Checks(t, "node", env, script, c.Name)[0]
				}
				again = true
				return play.cancelled(t, g, c)
			})
		})
	}
	g.SecretFree(t)
}

// sdkProvider answers by the model's name, in the dialect of the path.
type sdkProvider struct {
	mu   sync.Mutex
	left map[string]time.Time // model → when the gateway had left its slow stream
}

var modelValue = regexp.MustCompile(`"model"\s*:\s*"([^"]+)"`)

func (s *sdkProvider) answer(x *exchange) bool {
	if x.Method == "GET" { // the list of models
		return ok(`{"object":"list","data":[]}`).serve(whole)(x)
	}
	model := string(modelValue.FindSubmatch(x.Body)[1])
	stream := bytes.Contains(x.Body, []byte(`"stream":true`))
	kind := wireOf(x.Target)
	switch _, what, _ := strings.Cut(model, "-"); {
	case strings.HasPrefix(what, "status-"):
		status := 0
		fmt.Sscanf(what, "status-%d", &status)
		return canned{status: status, header: []string{"Content-Type: application/json"}, body: kind.fault(status)}.serve(whole)(x)
	case what == "tools" && stream:
		return events(kind.toolStream).serve(byEvent)(x)
	case what == "tools":
		return ok(kind.tools).serve(whole)(x)
	case what == "miderror":
		return events(kind.start + kind.failed).serve(byEvent)(x)
	case what == "cut-boundary":
		return serveCut(x, kind.start)
	case what == "cut-inside":
		return serveCut(x, kind.start+kind.end[:len(kind.end)/2-3])
	case strings.HasPrefix(what, "slow"):
		x.Write([]byte(events("").head()+harness.Chunk(kind.start)), whole)
		<-x.Gone
		s.mu.Lock()
		defer s.mu.Unlock()
		s.left[model] = time.Now()
		return false
	case strings.HasSuffix(x.Target, "/count_tokens"):
		return ok(`{"input_tokens":42}`).serve(whole)(x)
	case stream:
		return events(kind.start + kind.end).serve(byEvent)(x)
	default:
		return ok(kind.reply).serve(whole)(x)
	}
}

// serveCut plays the beginning of a stream and closes the connection.
func serveCut(x *exchange, begin string) bool {
	x.Write([]byte(events("").head()+harness.Chunk(begin)), whole)
	return false
}

// cancelled returns how long the provider's request outlived the abort that c made.
func (s *sdkProvider) cancelled(t *testing.T, g *gateway, c harness.Check) (took time.Duration) {
	harness.Eventually(t, "the provider's request is cancelled", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		left, ok := s.left[c.Model]
		took = left.Sub(time.UnixMilli(c.Aborted))
		delete(s.left, c.Model)
		return ok
	})
	harness.Eventually(t, "a record says 499", func() bool {
		return slices.ContainsFunc(g.Records(t), func(rec record) bool {
			return rec.Model == c.Model && rec.Status == 499 && rec.Stream
		})
	})
	return took
}

// wire is what a provider of one endpoint says.
type wire struct {
	reply, start, end, failed, tools, toolStream string
	fault                                        func(status int) string
}

func wireOf(target string) wire {
	openai := func(status int) string {
		return fmt.Sprintf(`{"error":{"message":"told %d","type":"some_error","param":null,"code":"some_code"}}`, status)
	}
	switch {
	case strings.Contains(target, "/messages"):
		return wire{
			reply: messageReply, start: messageStart + messageBlock + messageDelta, end: messageFinish + messageStop,
			failed: "event: error\n" + `data: {"type":"error","error":{"type":"overloaded_error","message":"told in mid-stream"}}` + "\n\n",
			tools:  anthropicTools, toolStream: anthropicToolStream(),
			fault: func(status int) string {
				return fmt.Sprintf(`{"type":"error","error":{"type":"some_error","message":"told %d"},"request_id":"req_1"}`, status)
			},
		}
	case strings.HasSuffix(target, "/responses"):
		return wire{
			reply: responsesReply, start: responsesOpen, end: responsesClose, fault: openai,
			failed: "event: error\n" + `data: {"type":"error","sequence_number":9,"code":"server_error","message":"told in mid-stream","param":null}` + "\n\n",
		}
	case strings.HasSuffix(target, "/embeddings"):
		return wire{reply: embeddingReply, fault: openai}
	default:
		return wire{
			reply: chatReply, start: chatStart + chatDelta, end: chatFinish + chatUsage + chatDone, fault: openai,
			failed: `data: {"error":{"message":"told in mid-stream","type":"server_error","param":null,"code":null}}` + "\n\n",
			tools:  openaiTools, toolStream: openaiToolStream(),
		}
	}
}

// Two parallel tool calls, whole and in fragments.
const (
	openaiTools = `{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[` +
		`{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\"city\": \"Paris\", \"days\": 1}"}},` +
		`{"id":"call_2","type":"function","function":{"name":"weather","arguments":"{\"city\":\"北京\",\"days\":2}"}}]},"finish_reason":"tool_calls"}],` +
		`"usage":{"prompt_tokens":11,"completion_tokens":3,"total_tokens":14}}`
	anthropicTools = `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[` +
		`{"type":"tool_use","id":"toolu_1","name":"weather","input":{"city": "Paris","days":1}},{"type":"tool_use","id":"toolu_2","name":"weather","input":{"city":"北京","days":2}}],` +
		`"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":7,"output_tokens":3}}`
)

var toolFragments = [][]string{{`{"city": `, `"Par`, `is", "days": 1}`}, {`{"ci`, `ty":"北京","days":2}`}}

func openaiToolStream() string {
	out := chatStart
	delta := func(call string) {
		out += `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"tool_calls":[` + call + `]},"finish_reason":null}],"usage":null}` + "\n\n"
	}
	for i, fragments := range toolFragments {
		delta(fmt.Sprintf(`{"index":%d,"id":"call_%d","type":"function","function":{"name":"weather","arguments":""}}`, i, i))
		for _, part := range fragments {
			text, _ := json.Marshal(part)
			delta(fmt.Sprintf(`{"index":%d,"function":{"arguments":%s}}`, i, text))
		}
	}
	return out + strings.Replace(chatFinish, `"stop"`, `"tool_calls"`, 1) + chatUsage + chatDone
}

func anthropicToolStream() string {
	out := messageStart
	event := func(kind, rest string) {
		out += fmt.Sprintf("event: %s\ndata: {\"type\":\"%[1]s\",%s}\n\n", kind, rest)
	}
	for i, fragments := range toolFragments {
		event("content_block_start", fmt.Sprintf(`"index":%d,"content_block":{"type":"tool_use","id":"toolu_%d","name":"weather","input":{}}`, i, i))
		for _, part := range append([]string{""}, fragments...) {
			text, _ := json.Marshal(part)
			event("content_block_delta", fmt.Sprintf(`"index":%d,"delta":{"type":"input_json_delta","partial_json":%s}`, i, text))
		}
		event("content_block_stop", fmt.Sprintf(`"index":%d`, i))
	}
	event("message_delta", `"delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":9}`)
	return out + messageStop
}

// A Responses reply, whole and as the events that SDK helpers put together.
var (
	responsesItem  = `{"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[],"logprobs":[]}]}`
	responsesReply = responsesObject("completed", "["+responsesItem+"]")
	responsesOpen  = responsesEvent("response.created", `"response":`+responsesObject("in_progress", "[]")) +
		responsesEvent("response.in_progress", `"response":`+responsesObject("in_progress", "[]")) +
		responsesEvent("response.output_item.added", `"output_index":0,"item":{"id":"msg_1","type":"message","status":"in_progress","role":"assistant","content":[]}`) +
		responsesEvent("response.content_part.added", `"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}`) +
		responsesEvent("response.output_text.delta", `"item_id":"msg_1","output_index":0,"content_index":0,"delta":"Hello","logprobs":[]`)
	responsesClose = responsesEvent("response.output_text.done", `"item_id":"msg_1","output_index":0,"content_index":0,"text":"Hello","logprobs":[]`) +
		responsesEvent("response.content_part.done", `"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"Hello","annotations":[],"logprobs":[]}`) +
		responsesEvent("response.output_item.done", `"output_index":0,"item":`+responsesItem) +
		responsesEvent("response.completed", `"response":`+responsesObject("completed", "["+responsesItem+"]"))
)

func responsesObject(status, output string) string {
	usage := "null"
	if status == "completed" {
		usage = `{"input_tokens":8,"input_tokens_details":{"cached_tokens":0},"output_tokens":4,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":12}`
	}
	return fmt.Sprintf(`{"id":"resp_1","object":"response","created_at":1,"status":%q,"error":null,"incomplete_details":null,"instructions":null,"metadata":{},"model":"m",`+
		`"output":%s,"parallel_tool_calls":true,"temperature":1,"tool_choice":"auto","tools":[],"top_p":1,"usage":%s}`, status, output, usage)
}

func responsesEvent(kind, rest string) string {
	return fmt.Sprintf("event: %s\ndata: {\"type\":\"%[1]s\",\"sequence_number\":0,%s}\n\n", kind, rest)
}
