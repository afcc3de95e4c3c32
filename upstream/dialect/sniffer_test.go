package dialect_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"proxycast/upstream/dialect"
)

// heard is all that a Sniffer says of a reply.
type heard struct {
	Usage     string // input/output/cache read/cache write/reasoning, - for unknown
	Finish    string
	Content   bool
	Finished  bool
	Known     bool
	Boundary  bool
	Failed    bool
	ErrorType string
	Malformed int
}

func hear(e dialect.Endpoint, sse bool, pieces []string) heard {
	s := dialect.NewSniffer(e, sse)
	for _, p := range pieces {
		if n, err := s.Write([]byte(p)); n != len(p) || err != nil {
			panic(fmt.Sprintf("Write of %d bytes: %d, %v", len(p), n, err))
		}
	}
	u := s.Usage()
	return heard{
		Usage:     usageText(u.Input, u.Output, u.CacheRead, u.CacheWrite, u.Reasoning),
		Finish:    s.FinishReason(),
		Content:   s.Content(),
		Finished:  s.Finished(),
		Known:     s.Known(),
		Boundary:  s.AtBoundary(),
		Failed:    s.Failed(),
		ErrorType: s.ErrorType(),
		Malformed: s.Malformed(),
	}
}

func usageText(counts ...*int64) string {
	var texts []string
	for _, n := range counts {
		if n == nil {
			texts = append(texts, "-")
		} else {
			texts = append(texts, strconv.FormatInt(*n, 10))
		}
	}
	return strings.Join(texts, "/")
}

// splits returns the text whole, byte by byte, and in random pieces.
func splits(text string) [][]string {
	var single []string
	for i := range len(text) {
		single = append(single, text[i:i+1])
	}
	all := [][]string{{text}, single}
	for seed := range uint64(4) {
		all = append(all, randomSplit(text, seed))
	}
	return all
}

func randomSplit(text string, seed uint64) (pieces []string) {
	r := rand.New(rand.NewPCG(seed, 1))
	longest := 1 + r.IntN(200)
	for len(text) > 0 {
		n := min(1+r.IntN(longest), len(text))
		pieces = append(pieces, text[:n])
		text = text[n:]
	}
	return pieces
}

// events frames JSON texts as the data of events.
func events(data ...string) string {
	var b strings.Builder
	for _, d := range data {
		b.WriteString("data: " + d + "\n\n")
	}
	return b.String()
}

const (
	roleChunk    = `{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}],"usage":null}`
	helloChunk   = `{"id":"c","choices":[{"index":0,"delta":{"content":"Hello"},"logprobs":null,"finish_reason":null}],"usage":null}`
	finishChunk  = `{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}`
	usageChunk   = `{"id":"c","choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18,"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":3,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":5}}}`
	azureChunk   = `{"choices":[],"created":0,"id":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{"hate":{"filtered":false}}}]}`
	messageStart = `{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"stop_reason":null,"usage":{"input_tokens":20,"cache_creation_input_tokens":3,"cache_read_input_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":3},"output_tokens":1}}}`
	textStart    = `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`
	textDelta    = `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}`
	stopDelta    = `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":42}}`
	messageStop  = `{"type":"message_stop"}`
	respCreated  = `{"type":"response.created","sequence_number":0,"response":{"id":"r","status":"in_progress","error":null,"output":[],"usage":null}}`
	respDelta    = `{"type":"response.output_text.delta","delta":"The","output_index":0,"logprobs":[]}`
)

type shape struct {
	name     string
	endpoint dialect.Endpoint
	text     string
	want     heard
}

const unknownUsage = "-/-/-/-/-"

var streamShapes = []shape{
	{"chat, usage in the extra chunk", dialect.ChatCompletions,
		events(roleChunk, helloChunk, finishChunk, usageChunk, "[DONE]"),
		heard{Usage: "11/7/4/3/5", Finish: "stop", Content: true, Finished: true, Known: true, Boundary: true}},
	{"chat, no content yet", dialect.ChatCompletions, events(azureChunk, roleChunk),
		heard{Usage: unknownUsage, Known: true, Boundary: true}},
	{"chat, usage in the finish chunk, as DeepSeek", dialect.ChatCompletions,
		events(helloChunk, `{"choices":[{"index":0,"delta":{"content":""},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":300,"completion_tokens":9,"prompt_tokens_details":{"cached_tokens":256},"prompt_cache_hit_tokens":256,"prompt_cache_miss_tokens":44}}`, "[DONE]"),
		heard{Usage: "300/9/256/-/-", Finish: "tool_calls", Content: true, Finished: true, Known: true, Boundary: true}},
	{"chat, cache hits without details", dialect.ChatCompletions,
		events(`{"choices":[],"usage":{"prompt_tokens":300,"completion_tokens":9,"prompt_cache_hit_tokens":256}}`),
		heard{Usage: "300/9/256/-/-", Known: true, Boundary: true}},
	{"chat, x_groq", dialect.ChatCompletions,
		events(`{"choices":[{"index":0,"delta":{},"finish_reason":"length"}],"x_groq":{"id":"q","usage":{"queue_time":0.01,"prompt_tokens":8,"completion_tokens":6,"completion_tokens_details":{"reasoning_tokens":2}}}}`),
		heard{Usage: "8/6/-/-/2", Finish: "length", Finished: true, Known: true, Boundary: true}},
	{"chat, usage in every chunk: the last wins", dialect.ChatCompletions,
		events(`{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":5,"completion_tokens":1}}`,
			`{"choices":[{"index":0,"delta":{"content":"b"}}],"usage":{"prompt_tokens":5,"completion_tokens":2}}`),
		heard{Usage: "5/2/-/-/-", Content: true, Known: true, Boundary: true}},
	{"chat, counts that are none", dialect.ChatCompletions,
		events(`{"choices":[],"usage":{"prompt_tokens":-1,"completion_tokens":2.5,"prompt_tokens_details":{"cached_tokens":"3","cache_write_tokens":null},"completion_tokens_details":{"reasoning_tokens":99999999999999999999}}}`),
		heard{Usage: unknownUsage, Known: true, Boundary: true}},
	{"chat, an alien zero beside the count", dialect.ChatCompletions,
		events(`{"choices":[],"usage":{"input_tokens":0,"output_tokens":0,"prompt_tokens":5,"completion_tokens":2}}`),
		heard{Usage: "5/2/-/-/-", Known: true, Boundary: true}},
	{"chat, usage elsewhere is not usage", dialect.ChatCompletions,
		events(`{"metadata":{"usage":{"prompt_tokens":5}},"choices":[{"index":0,"delta":{"usage":{"prompt_tokens":6}}}],"x":[{"usage":{"prompt_tokens":8}}]}`),
		heard{Usage: unknownUsage, Known: true, Boundary: true}},
	{"chat, usage of a choice, as some do", dialect.ChatCompletions,
		events(`{"choices":[{"index":0,"delta":{"content":"a"},"usage":{"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}}]}`),
		heard{Usage: "7/2/4/-/-", Content: true, Known: true, Boundary: true}},
	{"chat, a count that falls", dialect.ChatCompletions,
		events(`{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":50,"completion_tokens":9}}`, `{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":10}}`),
		heard{Usage: "50/10/-/-/-", Content: true, Known: true, Boundary: true}},
	{"chat, counts with a fraction of nothing, cached_tokens at the top", dialect.ChatCompletions,
		events(`{"choices":[],"cached_tokens":3,"usage":{"prompt_tokens":7.0,"completion_tokens":2.000}}`),
		heard{Usage: "7/2/3/-/-", Known: true, Boundary: true}},
	{"messages, an input that the end forgets", dialect.Messages,
		events(`{"type":"message_start","message":{"usage":{"input_tokens":1500,"output_tokens":1}}}`, `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":0,"output_tokens":40}}`),
		heard{Usage: "1500/40/-/-/-", Finish: "end_turn", Finished: true, Known: true, Boundary: true}},
	{"chat, one of two choices has finished; finish_reason before index", dialect.ChatCompletions,
		events(`{"choices":[{"delta":{"content":"a"},"finish_reason":null,"index":0}]}`, `{"choices":[{"delta":{"content":"b"},"finish_reason":null,"index":1}]}`,
			`{"choices":[{"delta":{},"finish_reason":"stop","index":1}]}`),
		heard{Usage: unknownUsage, Finish: "stop", Content: true, Known: true, Boundary: true}},
	{"chat, both choices have finished", dialect.ChatCompletions,
		events(`{"choices":[{"delta":{"content":"a"},"index":0},{"delta":{"content":"b"},"index":1}]}`,
			`{"choices":[{"delta":{},"finish_reason":"stop","index":1}]}`, `{"choices":[{"delta":{},"finish_reason":"length","index":0}]}`),
		heard{Usage: unknownUsage, Finish: "length", Content: true, Finished: true, Known: true, Boundary: true}},
	{"chat, an empty finish_reason is none", dialect.ChatCompletions, events(`{"choices":[{"delta":{"content":""},"finish_reason":""}]}`),
		heard{Usage: unknownUsage, Known: true, Boundary: true}},
	{"chat, reasoning", dialect.ChatCompletions, events(`{"choices":[{"index":0,"delta":{"reasoning":"Hm"}}]}`),
		heard{Usage: unknownUsage, Content: true, Known: true, Boundary: true}},
	{"chat, reasoning_content", dialect.ChatCompletions, events(`{"choices":[{"index":0,"delta":{"reasoning_content":"Hm"}}]}`),
		heard{Usage: unknownUsage, Content: true, Known: true, Boundary: true}},
	{"chat, refusal", dialect.ChatCompletions, events(`{"choices":[{"index":0,"delta":{"refusal":"No"}}]}`),
		heard{Usage: unknownUsage, Content: true, Known: true, Boundary: true}},
	{"chat, tool call", dialect.ChatCompletions, events(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"t","function":{"name":"f","arguments":""}}]}}]}`),
		heard{Usage: unknownUsage, Content: true, Known: true, Boundary: true}},
	{"chat, no tool calls", dialect.ChatCompletions, events(`{"choices":[{"index":0,"delta":{"content":null,"tool_calls":[],"function_call":null}}]}`),
		heard{Usage: unknownUsage, Known: true, Boundary: true}},
	{"chat, content in parts", dialect.ChatCompletions, events(`{"choices":[{"index":0,"delta":{"content":[{"type":"thinking","thinking":[]}]}}]}`),
		heard{Usage: unknownUsage, Content: true, Known: true, Boundary: true}},
	{"chat, error event", dialect.ChatCompletions, events(helloChunk, `{"error":{"message":"m","type":"server_error","param":null,"code":null}}`),
		heard{Usage: unknownUsage, Content: true, Known: true, Boundary: true, Failed: true, ErrorType: "server_error"}},
	{"chat, error at once, its code a number", dialect.ChatCompletions, events(`{"error":{"message":"m","type":null,"code":502}}`),
		heard{Usage: unknownUsage, Boundary: true, Failed: true, ErrorType: "502"}},
	{"chat, error beside choices", dialect.ChatCompletions, events(`{"error":{"code":502,"message":"m"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}`),
		heard{Usage: unknownUsage, Finish: "error", Finished: true, Known: true, Boundary: true, Failed: true, ErrorType: "502"}},
	{"chat, error is one word", dialect.ChatCompletions, events(`{"error":"overloaded"}`),
		heard{Usage: unknownUsage, Boundary: true, Failed: true, ErrorType: "error"}},
	{"chat, error is a sentence with a code", dialect.ChatCompletions, events(`{"code":"invalid_model","error":"The model grok-9 does not exist"}`),
		heard{Usage: unknownUsage, Boundary: true, Failed: true, ErrorType: "invalid_model"}},
	{"chat, error is a sentence", dialect.ChatCompletions, events(`{"error":"Incorrect API key provided: xai-abc"}`),
		heard{Usage: unknownUsage, Boundary: true, Failed: true, ErrorType: "error"}},
	{"chat, error is null", dialect.ChatCompletions, events(`{"error":null,"choices":[{"index":0,"delta":{"content":"a"}}]}`),
		heard{Usage: unknownUsage, Content: true, Known: true, Boundary: true}},
	{"chat, a long error type is cut between characters", dialect.ChatCompletions, events(`{"error":{"type":"x` + strings.Repeat("é", 40) + `"}}`),
		heard{Usage: unknownUsage, Boundary: true, Failed: true, ErrorType: "x" + strings.Repeat("é", 31)}},
	{"chat, the first error counts", dialect.ChatCompletions, events(`{"error":{"type":"early"}}`, `{"error":{"type":"late"}}`),
		heard{Usage: unknownUsage, Boundary: true, Failed: true, ErrorType: "early"}},
	{"chat, an event named error", dialect.ChatCompletions, "event: error\ndata: {\"message\":\"m\"}\n\n",
		heard{Usage: unknownUsage, Boundary: true, Failed: true, ErrorType: "error"}},
	{"chat, comments and no closing blank line", dialect.ChatCompletions, ": PROCESSING\n\n" + events(helloChunk, finishChunk) + ": bye\ndata: [DONE]\n",
		heard{Usage: unknownUsage, Finish: "stop", Content: true, Finished: true, Known: true}},
	{"chat, an unfinished event does not count", dialect.ChatCompletions, events(helloChunk) + "data: " + finishChunk + "\n",
		heard{Usage: unknownUsage, Content: true, Known: true}},
	{"chat, after a comment", dialect.ChatCompletions, events(roleChunk) + ": keep alive\n",
		heard{Usage: unknownUsage, Known: true, Boundary: true}},
	{"chat, inside a comment", dialect.ChatCompletions, events(roleChunk) + ": keep",
		heard{Usage: unknownUsage, Known: true}},
	{"chat, [DONE] without a finish_reason", dialect.ChatCompletions, events(helloChunk, "[DONE]"),
		heard{Usage: unknownUsage, Content: true, Finished: true, Known: true, Boundary: true}},
	{"chat, malformed events", dialect.ChatCompletions, events(helloChunk, `{"choices":[{"index":0,"finish_reason":"stop"}]`, `{"choices":[]}}`, `nonsense`, ``),
		heard{Usage: unknownUsage, Content: true, Known: true, Boundary: true, Malformed: 4}},
	{"chat, data in several lines, other fields, no spaces", dialect.ChatCompletions,
		"id:7\ndata:{\"choices\":[{\"index\":0,\ndata:\"delta\":{\"content\":\"a\"},\ndata\ndata: \"finish_reason\":\"stop\"}]}\nretry: 10\n\n",
		heard{Usage: unknownUsage, Finish: "stop", Content: true, Finished: true, Known: true, Boundary: true}},
	{"chat, byte order mark", dialect.ChatCompletions, "\uFEFF" + events(helloChunk),
		heard{Usage: unknownUsage, Content: true, Known: true, Boundary: true}},
	{"chat, half a byte order mark", dialect.ChatCompletions, "\xEF\xBB" + events(helloChunk),
		heard{Usage: unknownUsage, Boundary: true}},
	{"chat, escapes in names and words", dialect.ChatCompletions, events(`{"\u0063hoices":[{"index":0,"finish_reason":"a\/b\u00e9\n","delta":{"content":"\\"}}]}`),
		heard{Usage: unknownUsage, Finish: "a/bé\n", Content: true, Finished: true, Known: true, Boundary: true}},
	{"chat, events of another kind", dialect.ChatCompletions, events(`{"token":{"text":"a"}}`),
		heard{Usage: unknownUsage, Content: true, Boundary: true}},

	{"completions", dialect.Completions, events(`{"choices":[{"text":"a","index":0,"finish_reason":null}]}`, `{"choices":[{"text":"","index":0,"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`, "[DONE]"),
		heard{Usage: "1/1/-/-/-", Finish: "stop", Content: true, Finished: true, Known: true, Boundary: true}},
	{"another endpoint: no opinion", dialect.AudioSpeech, events(`{"type":"speech.audio.delta","audio":"AAAA"}`, `{"type":"speech.audio.done","usage":{"input_tokens":3,"output_tokens":4}}`),
		heard{Usage: "3/4/-/-/-", Content: true, Boundary: true}},

	{"messages", dialect.Messages, events(messageStart, textStart, `{"type":"ping"}`, textDelta, `{"type":"content_block_stop","index":0}`, stopDelta, messageStop),
		heard{Usage: "123/42/100/3/-", Finish: "end_turn", Content: true, Finished: true, Known: true, Boundary: true}},
	{"messages, nothing said yet", dialect.Messages, events(messageStart, textStart, `{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":""}}`),
		heard{Usage: "123/1/100/3/-", Known: true, Boundary: true}},
	{"messages, keys in another order", dialect.Messages, events(`{"delta":{"text":"p","type":"text_delta"},"index":0,"type":"content_block_delta"}`,
		`{"delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":61,"output_tokens":2},"type":"message_delta"}`),
		heard{Usage: "61/2/-/-/-", Finish: "end_turn", Content: true, Finished: true, Known: true, Boundary: true}},
	{"messages, message_delta overwrites what it has", dialect.Messages, events(messageStart,
		`{"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"input_tokens":21,"cache_read_input_tokens":null,"output_tokens":9,"output_tokens_details":{"thinking_tokens":6},"iterations":[{"input_tokens":1,"output_tokens":1}]}}`),
		heard{Usage: "124/9/100/3/6", Finish: "max_tokens", Finished: true, Known: true, Boundary: true}},
	{"messages, thinking", dialect.Messages, events(`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm"}}`),
		heard{Usage: unknownUsage, Content: true, Known: true, Boundary: true}},
	{"messages, a signature is no content", dialect.Messages, events(`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"abc"}}`),
		heard{Usage: unknownUsage, Known: true, Boundary: true}},
	{"messages, a block that comes whole", dialect.Messages, events(`{"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking","data":"abc"}}`),
		heard{Usage: unknownUsage, Content: true, Known: true, Boundary: true}},
	{"messages, error event", dialect.Messages, events(messageStart) + "event: error\n" + events(`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`),
		heard{Usage: "123/1/100/3/-", Known: true, Boundary: true, Failed: true, ErrorType: "overloaded_error"}},
	{"messages, message_delta without a stop_reason", dialect.Messages, events(`{"type":"message_delta","delta":{"stop_reason":null},"usage":{"output_tokens":2}}`),
		heard{Usage: "-/2/-/-/-", Known: true, Boundary: true}},

	{"responses", dialect.Responses, events(respCreated, respDelta, `{"type":"response.completed","response":{"status":"completed","error":null,"output":[{"status":"in_progress"}],"usage":{"input_tokens":30,"input_tokens_details":{"cached_tokens":20},"output_tokens":8,"output_tokens_details":{"reasoning_tokens":6}}}}`),
		heard{Usage: "30/8/20/-/6", Finish: "completed", Content: true, Finished: true, Known: true, Boundary: true}},
	{"responses, created", dialect.Responses, events(respCreated, `{"type":"response.output_text.delta","delta":""}`),
		heard{Usage: unknownUsage, Known: true, Boundary: true}},
	{"responses, incomplete", dialect.Responses, events(respCreated, `{"response":{"status":"incomplete","usage":{"input_tokens":1,"output_tokens":2}},"type":"response.incomplete"}`),
		heard{Usage: "1/2/-/-/-", Finish: "incomplete", Finished: true, Known: true, Boundary: true}},
	{"responses, failed", dialect.Responses, events(respCreated, `{"type":"response.failed","response":{"status":"failed","error":{"code":"rate_limit_exceeded","message":"m"},"usage":null}}`),
		heard{Usage: unknownUsage, Finish: "failed", Finished: true, Known: true, Boundary: true, Failed: true, ErrorType: "rate_limit_exceeded"}},
	{"responses, flat error event", dialect.Responses, events(`{"type":"error","code":"server_is_overloaded","message":"m","param":null,"sequence_number":1}`),
		heard{Usage: unknownUsage, Boundary: true, Failed: true, ErrorType: "server_is_overloaded"}},
}

var plainShapes = []shape{
	{"chat", dialect.ChatCompletions, `{"choices":[{"index":0,"message":{"role":"assistant","content":"usage"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":3}}`,
		heard{Usage: "9/3/-/-/-", Finish: "stop", Content: true, Finished: true}},
	{"chat, not all there", dialect.ChatCompletions, `{"usage":{"prompt_tokens":9},"choices":[{"index":0`,
		heard{Usage: unknownUsage, Content: true}},
	{"chat, white space to keep the connection alive", dialect.ChatCompletions, "\n     \n\n   ",
		heard{Usage: unknownUsage}},
	{"messages", dialect.Messages, `{"type":"message","content":[{"type":"text","text":"a"}],"stop_reason":"tool_use","usage":{"input_tokens":10,"cache_read_input_tokens":5,"output_tokens":2}}`,
		heard{Usage: "15/2/5/-/-", Finish: "tool_use", Content: true, Finished: true}},
	{"count_tokens", dialect.CountTokens, `{"input_tokens":77}`,
		heard{Usage: "77/-/-/-/-", Content: true, Finished: true}},
	{"responses", dialect.Responses, `{"status":"completed","error":null,"usage":{"input_tokens":30,"input_tokens_details":{"cached_tokens":20},"output_tokens":8,"output_tokens_details":{"reasoning_tokens":6}}}`,
		heard{Usage: "30/8/20/-/6", Finish: "completed", Content: true, Finished: true}},
	{"responses, in the background", dialect.Responses, `{"status":"queued","error":null}`,
		heard{Usage: unknownUsage, Content: true, Finished: true}},
	{"rerank, tokens in meta", dialect.Rerank, `{"results":[],"meta":{"tokens":{"input_tokens":40,"output_tokens":0}}}`,
		heard{Usage: "40/0/-/-/-", Content: true, Finished: true}},
	{"embeddings, a total alone", dialect.Embeddings, `{"data":[],"usage":{"total_tokens":9}}`,
		heard{Usage: "9/-/-/-/-", Content: true, Finished: true}},
	{"embeddings", dialect.Embeddings, `{"object":"list","data":[{"embedding":[0.1,-2e-3,0]}],"usage":{"prompt_tokens":4,"total_tokens":4}}`,
		heard{Usage: "4/-/-/-/-", Content: true, Finished: true}},
	{"error object", dialect.ChatCompletions, `{"error":{"message":"m","type":"invalid_request_error","code":"x"}}`,
		heard{Usage: unknownUsage, Content: true, Finished: true, Failed: true, ErrorType: "invalid_request_error"}},
	{"Anthropic error", dialect.Messages, `{"type":"error","error":{"type":"api_error","message":"m"}}`,
		heard{Usage: unknownUsage, Content: true, Finished: true, Failed: true, ErrorType: "api_error"}},
	{"not JSON", dialect.AudioSpeech, "ID3\x03\x00usage",
		heard{Usage: unknownUsage, Content: true}},
}

func TestSnifferShapes(t *testing.T) {
	check := func(t *testing.T, e dialect.Endpoint, sse bool, text string, want heard) {
		t.Helper()
		for _, pieces := range splits(text) {
			if got := hear(e, sse, pieces); got != want {
				t.Fatalf("in %d pieces:\ngot  %+v\nwant %+v", len(pieces), got, want)
			}
		}
	}
	for _, s := range streamShapes {
		for _, end := range []string{"\n", "\r\n", "\r"} {
			t.Run(fmt.Sprintf("stream/%s/%q", s.name, end), func(t *testing.T) {
				check(t, s.endpoint, true, strings.ReplaceAll(s.text, "\n", end), s.want)
			})
		}
	}
	for _, s := range plainShapes {
		t.Run("plain/"+s.name, func(t *testing.T) { check(t, s.endpoint, false, s.text, s.want) })
	}
}

// A line of any length passes through the same small memory, and what stands at its end is still read.
func TestSnifferMemory(t *testing.T) {
	const size = 16 << 20
	piece := []byte(strings.Repeat(`escaped \"words\" `, 32<<10/18))
	s := dialect.NewSniffer(dialect.Responses, true)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s.Write([]byte(`data: {"type":"response.completed","response":{"output":[{"text":"`))
	for n := 0; n < size; n += len(piece) {
		s.Write(piece)
	}
	s.Write([]byte(`"}],"status":"completed","usage":{"output_tokens":5}}}` + "\n\n"))
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
		t.Errorf("a line of 16 MiB took %d bytes of memory", n)
	}
	if u := s.Usage(); u.Output == nil || *u.Output != 5 || !s.Finished() {
		t.Errorf("usage %v, finished %v; want 5 tokens and a finished reply", u.Output, s.Finished())
	}
}

// A stream without '\n' must not be searched to its end for each line: that would take a minute here.
func TestSnifferOfManyShortLines(t *testing.T) {
	s := dialect.NewSniffer(dialect.ChatCompletions, true)
	s.Write([]byte(strings.Repeat("\r", 1<<20)))
	if !s.AtBoundary() {
		t.Error("blank lines are not between events")
	}
}

func TestSnifferNesting(t *testing.T) {
	f := func(depth, malformed int) {
		t.Helper()
		text := events(strings.Repeat("[", depth) + strings.Repeat("]", depth))
		if got := hear(dialect.ChatCompletions, true, []string{text}).Malformed; got != malformed {
			t.Errorf("%d levels: %d malformed, want %d", depth, got, malformed)
		}
	}
	f(10_000, 0)
	f(10_001, 1)
}

// Events are read without any allocation.
func TestSnifferAllocations(t *testing.T) {
	s := dialect.NewSniffer(dialect.ChatCompletions, true)
	p := []byte(events(helloChunk))
	if n := testing.AllocsPerRun(100, func() { s.Write(p) }); n != 0 {
		t.Errorf("%v allocations an event", n)
	}
}

func FuzzSniffer(f *testing.F) {
	for _, s := range streamShapes {
		f.Add(uint8(s.endpoint), true, []byte(s.text), uint64(1))
		f.Add(uint8(s.endpoint), true, []byte(strings.ReplaceAll(s.text, "\n", "\r\n")), uint64(2))
	}
	for _, s := range plainShapes {
		f.Add(uint8(s.endpoint), false, []byte(s.text), uint64(3))
	}
	f.Fuzz(func(t *testing.T, endpoint uint8, sse bool, text []byte, seed uint64) {
		e := dialect.Endpoint(endpoint % uint8(dialect.Models+1))
		whole := hear(e, sse, []string{string(text)})
		if split := hear(e, sse, randomSplit(string(text), seed)); split != whole {
			t.Errorf("whole %+v\nsplit %+v", whole, split)
		}
		if !sse {
			return
		}
		malformed := 0
		parsed, boundary := parseStream(string(text))
		for _, ev := range parsed {
			if ev.hasData && !strings.HasPrefix(ev.data, "[DONE]") && !json.Valid([]byte(ev.data)) {
				malformed++
			}
		}
		if whole.Malformed != malformed || whole.Boundary != boundary {
			t.Errorf("%d malformed, at a boundary %v; want %d, %v", whole.Malformed, whole.Boundary, malformed, boundary)
		}
	})
}

// streamEvent is what parseStream reads: an event, or a comment or blank line between events.
type streamEvent struct {
	raw     string // without the '\n' of a closing "\r\n"
	data    string
	hasData bool
}

// parseStream reads a whole event stream the simple way. boundary: it ends between two events.
func parseStream(text string) (parsed []streamEvent, boundary bool) {
	start, at := 0, 0
	if strings.HasPrefix(text, "\uFEFF") {
		start, at = 3, 3
	}
	var data []string
	inEvent := false
	for at < len(text) {
		end := strings.IndexAny(text[at:], "\r\n")
		if end < 0 {
			return parsed, false
		}
		line := text[at : at+end]
		at += end + 1
		switch {
		case line == "" || line[0] == ':' && !inEvent:
			parsed = append(parsed, streamEvent{raw: text[start:at], data: strings.Join(data, "\n"), hasData: data != nil})
			data, inEvent = nil, false
		case line[0] != ':':
			inEvent = true
			if name, value, _ := strings.Cut(line, ":"); name == "data" {
				data = append(data, strings.TrimPrefix(value, " "))
			}
		}
		if text[at-1] == '\r' && at < len(text) && text[at] == '\n' {
			at++
		}
		if !inEvent {
			start = at
		}
	}
	return parsed, !inEvent
}

// The corpus of recorded traffic: what a Sniffer says is what encoding/json finds in the whole text.
func TestSnifferCorpus(t *testing.T) {
	files := recordedFiles(t, "*.json")
	if len(files) < 30 {
		t.Fatalf("%d recorded cases, fewer than 30", len(files))
	}
	endpoints := map[string]dialect.Endpoint{
		"anthropic-messages": dialect.Messages, "anthropic-count": dialect.CountTokens, "openai-chat": dialect.ChatCompletions,
		"openai-completions": dialect.Completions, "openai-embeddings": dialect.Embeddings, "openai-responses": dialect.Responses,
	}
	for _, file := range files {
		var c struct {
			Name, Dialect string
			Body          string `json:"response_body"`
			SSE           string `json:"response_sse"`
		}
		raw, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(raw, &c)
		}
		if err != nil {
			t.Fatal(err)
		}
		e, ok := endpoints[c.Dialect]
		if !ok {
			t.Fatalf("%s: dialect %q", file, c.Dialect)
		}
		t.Run(c.Name, func(t *testing.T) { checkRecorded(t, e, c.Body, c.SSE) })
	}
}

func checkRecorded(t *testing.T, e dialect.Endpoint, body, sse string) {
	check := func(body, sse string, pieces []string) {
		t.Helper()
		if got, want := hear(e, sse != "", pieces), expect(e, body, sse); got != want {
			t.Fatalf("%d bytes in %d pieces:\ngot  %+v\nwant %+v", len(body+sse), len(pieces), got, want)
		}
	}
	for _, pieces := range splits(body + sse) {
		check(body, sse, pieces)
	}
	// A stream that is cut, at most places and at the end of its first events.
	for cut := 1; cut < len(sse); cut += 1 + len(sse)/50 {
		check("", sse[:cut], []string{sse[:cut]})
	}
	cut := 0
	for range min(10, strings.Count(sse, "\n\n")) {
		cut += strings.Index(sse[cut:], "\n\n") + 2
		check("", sse[:cut], []string{sse[:cut]})
	}
}
