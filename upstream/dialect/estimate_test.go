package dialect_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color/palette"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"runtime"
	"strings"
	"testing"

	"proxycast/upstream/dialect"
)

// TestEstimateTokensCorpus holds the estimate against what the provider counted for recorded requests.
func TestEstimateTokensCorpus(t *testing.T) {
	// These depend on what a request does not show: an image at a URL, the files of a container, the rules for citations.
	unknowable := []string{"url-prompt", "code-execution-files", "citations"}
	compared := 0
	for name, recorded := range recordedRequests(t, "anthropic-*.json") {
		counted := recordedInputTokens(recorded)
		if counted == 0 {
			continue // the provider refused the request
		}
		compared++
		estimated := dialect.EstimateTokens(recorded.Request)
		t.Logf("counted %5d, estimated %5d (%.2f): %s", counted, estimated, float64(estimated)/float64(counted), name)
		known := true
		for _, part := range unknowable {
			known = known && !strings.Contains(name, part)
		}
		if known && counted >= 50 && (estimated*2 < counted || estimated > counted*2) {
			t.Errorf("%s: the provider counted %d tokens, the estimate is %d", name, counted, estimated)
		}
	}
	if compared < 10 {
		t.Errorf("only %d recorded requests have a count", compared)
	}
}

// recordedInputTokens returns the provider's own count, from a count_tokens reply or the usage of a message.
func recordedInputTokens(recorded recordedRequest) int64 {
	type usage struct {
		InputTokens int64 `json:"input_tokens"`
		CacheWrite  int64 `json:"cache_creation_input_tokens"`
		CacheRead   int64 `json:"cache_read_input_tokens"`
	}
	var reply struct {
		usage
		Usage   usage
		Message struct{ Usage usage }
	}
	text := recorded.Response
	if text == "" {
		_, text, _ = strings.Cut(recorded.SSE, "data: ")
		text, _, _ = strings.Cut(text, "\n")
	}
	if json.Unmarshal([]byte(text), &reply) != nil {
		return 0
	}
	var total int64
	for _, u := range []usage{reply.usage, reply.Usage, reply.Message.Usage} {
		total += u.InputTokens + u.CacheWrite + u.CacheRead
	}
	return total
}

// estimateOf returns the estimate for a message with one content block, less that for an empty message.
func estimateOf(block string) int64 {
	message := func(content string) int64 {
		return dialect.EstimateTokens([]byte(`{"model":"m","messages":[{"role":"user","content":[` + content + `]}]}`))
	}
	return message(block) - message(`{"type":"text","text":""}`)
}

func TestEstimateTokensText(t *testing.T) {
	test := func(name, text string, least, most int64) {
		t.Helper()
		quoted, _ := json.Marshal(text)
		if got := estimateOf(fmt.Sprintf(`{"type":"text","text":%s}`, quoted)); got < least || got > most {
			t.Errorf("%s: %d tokens, want %d to %d", name, got, least, most)
		}
	}
	english := "The relay copies each event as soon as it has arrived, so a slow reader never holds more than one buffer. "
	test("nothing", "", 0, 0)
	test("a word", "hello", 1, 2)
	test("English", strings.Repeat(english, 10), int64(len(english)*10/6), int64(len(english)*10/4))
	test("Chinese", strings.Repeat("流式传输", 100), 350, 500)
	test("Russian", strings.Repeat("передача ", 100), 300, 500)
	test("digits", strings.Repeat("1234567890", 10), 33, 60)
	test("code", strings.Repeat("if err != nil {\n\treturn err\n}\n", 10), 70, 140)
	test("emoji", strings.Repeat("😀", 10), 10, 30)
}

func TestEstimateTokensParts(t *testing.T) {
	text := strings.Repeat("some words that are repeated ", 100) // about 600 tokens
	const least, most = 400, 900
	test := func(name, body string, least, most int64) {
		t.Helper()
		if got := dialect.EstimateTokens([]byte(body)); got < least || got > most {
			t.Errorf("%s: %d tokens, want %d to %d", name, got, least, most)
		}
	}
	test("system", `{"system":"`+text+`"}`, least, most)
	test("system blocks", `{"system":[{"type":"text","text":"`+text+`"}]}`, least, most)
	test("message", `{"messages":[{"role":"user","content":"`+text+`"}]}`, least, most)
	test("message that is no object", `{"messages":["`+text+`"]}`, least, most)
	test("tool", `{"tools":[{"name":"f","description":"`+text+`","input_schema":{"type":"object"}}]}`, 500+least, 500+most)
	test("deferred tool", `{"tools":[{"name":"f","description":"`+text+`","defer_loading":true}]}`, 1, 600)
	test("tool of the provider", `{"tools":[{"name":"web_search","type":"web_search_20250305"}]}`, 1000, 2500)
	test("prompt", `{"prompt":"`+text+`"}`, least, most)
	test("documents to rank", `{"query":"q","documents":["`+text+`"]}`, least, most)
	test("tool call beside content", `{"messages":[{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":"`+text+`"}}]}]}`, least, most)
	test("not JSON", text, least, most)
	test("cut off", `{"messages":[{"role":"user","content":"`+text, least, most)
	test("other types", `{"system":5,"messages":{"a":1},"tools":"`+text+`","thinking":3}`, 1, 50)
	test("empty object", `{}`, 0, 10)
	test("nothing", ``, 0, 0)
	test("too deep", strings.Repeat("[", 20_000), 1, 20_000)
	test("deep", `{"messages":[{"content":`+strings.Repeat(`[{"type":"tool_result","content":`, 4000)+`"`+text+`"`+strings.Repeat("}]", 4000)+`}]}`, least, 50_000)

	block := func(name, block string, least, most int64) {
		t.Helper()
		if got := estimateOf(block); got < least || got > most {
			t.Errorf("%s: %d tokens, want %d to %d", name, got, least, most)
		}
	}
	block("tool_use", `{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":["`+text+`"]}}`, least, most)
	block("tool_result", `{"type":"tool_result","content":"`+text+`"}`, least, most)
	block("tool_result blocks", `{"type":"tool_result","content":[{"type":"text","text":"`+text+`"}]}`, least, most)
	block("thinking", `{"type":"thinking","thinking":"`+text+`","signature":"`+text+`"}`, least, most)
	block("redacted thinking", `{"type":"redacted_thinking","data":"`+text+`"}`, 0, 0)
	block("unknown block", `{"type":"novelty","words":"`+text+`"}`, least, most)
	block("text document", `{"type":"document","title":"t","source":{"type":"text","data":"`+text+`"}}`, least, most)
	block("document of blocks", `{"type":"document","source":{"type":"content","content":[{"type":"text","text":"`+text+`"}]}}`, least, most)
	block("small PDF", `{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERi0="}}`, 1500, 1500)
	block("PDF of 60 kB", `{"type":"document","source":{"type":"base64","data":"`+strings.Repeat("JVBE", 20_000)+`"}}`, 15_000, 15_000)
	block("PDF of 3 MB", `{"type":"document","source":{"type":"base64","data":"`+strings.Repeat("JVBE", 1_000_000)+`"}}`, 300_000, 300_000)
	block("PDF at a URL", `{"type":"document","source":{"type":"url","url":"https://example.com/a.pdf"}}`, 3000, 3000)
}

func TestEstimateTokensImage(t *testing.T) {
	test := func(name string, picture []byte, want int64) {
		t.Helper()
		source := fmt.Sprintf(`{"type":"base64","media_type":"image/png","data":"%s"}`, base64.StdEncoding.EncodeToString(picture))
		if got := estimateOf(`{"type":"image","source":` + source + `}`); got != want {
			t.Errorf("%s: %d tokens, want %d", name, got, want)
		}
	}
	encode := func(width, height int, encode func(io.Writer, image.Image) error) []byte {
		var picture bytes.Buffer
		if err := encode(&picture, image.NewPaletted(image.Rect(0, 0, width, height), palette.Plan9[:2])); err != nil {
			t.Fatal(err)
		}
		return picture.Bytes()
	}
	asJPEG := func(w io.Writer, m image.Image) error { return jpeg.Encode(w, m, nil) }
	asGIF := func(w io.Writer, m image.Image) error { return gif.Encode(w, m, nil) }

	test("PNG", encode(600, 500, png.Encode), 400)
	test("JPEG", encode(600, 500, asJPEG), 400)
	test("GIF", encode(600, 500, asGIF), 400)
	test("a pixel", encode(1, 1, png.Encode), 1)
	test("long edge", encode(3136, 400, png.Encode), 1568*200/750)
	test("high edge", encode(400, 3136, png.Encode), 1568*200/750)
	test("large", encode(2000, 2000, png.Encode), 1600)

	// 600 × 500 in the three forms of WebP.
	webp := func(chunk string, payload ...byte) []byte {
		return fmt.Appendf(nil, "RIFF\x00\x00\x00\x00WEBP%s\x00\x00\x00\x00%s", chunk, append(payload, make([]byte, 10)...))
	}
	test("WebP, lossy", webp("VP8 ", 0, 0, 0, 0x9d, 0x01, 0x2a, 600&0xff, 600>>8, 500&0xff, 500>>8|0x40), 400)
	test("WebP, lossless", webp("VP8L", 0x2f, 599&0xff, 599>>8|499<<6&0xff, 499>>2&0xff, 499>>10), 400)
	test("WebP, extended", webp("VP8X", 0, 0, 0, 0, 599&0xff, 599>>8, 0, 499&0xff, 499>>8, 0), 400)
	test("WebP, unknown", webp("VP9 "), 1600)
	test("WebP, cut off", webp("VP8 ")[:29], 1600)

	test("nothing", nil, 1600)
	test("no picture", []byte("%PDF-1.7 and some more than thirty bytes"), 1600)
	test("PNG, cut off", encode(600, 500, png.Encode)[:20], 1600)
	for _, source := range []string{`{"type":"url","url":"https://example.com/a.png"}`, `{"type":"file","file_id":"f"}`, `{"type":"base64","data":"!"}`, `{"data":5}`, `"x"`, `null`} {
		if got := estimateOf(`{"type":"image","source":` + source + `}`); got != 1600 {
			t.Errorf("%s: %d tokens, want 1600", source, got)
		}
	}
}

// A body is read where it stands: one of millions of tiny values needs no more memory than another.
func TestEstimateTokensMemory(t *testing.T) {
	const size = 8 << 20
	for _, filler := range []string{"{},", "[[]],", `{"a":1},`, `{"type":"tool_result","content":[{}]},`, `"x",`, "1,"} {
		content := strings.TrimSuffix(strings.Repeat(filler, size/len(filler)), ",")
		body := []byte(`{"messages":[{"role":"user","content":[` + content + `]}],"tools":[` + content + `]}`)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		n := dialect.EstimateTokens(body)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 64<<10 || n < size/100 {
			t.Errorf("%.20q: %d tokens, %d bytes allocated for a body of %d", filler, n, used, len(body))
		}
	}
}

func FuzzEstimateTokens(f *testing.F) {
	for _, body := range []string{
		`{"system":[{"type":"text","text":"a"}],"messages":[{"role":"user","content":"b"}],"tools":[{"name":"c","input_schema":{"type":"object"}}],"thinking":{"type":"enabled"}}`,
		`{"messages":[{"content":[{"type":"tool_result","content":[{"type":"image","source":{"type":"base64","data":"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"}}]}]}]}`,
		`{"messages":[{"content":[{"type":"image","source":{"data":"UklGRgAAAABXRUJQVlA4WAAAAAAAAAAAVwIA8wEA"}},{"type":"document","source":{"type":"base64","data":"JVBE"}}]}]}`,
		`{"messages":[{"content":[{"type":"image","source":{"data":"/9j/4AAQSkZJRgABAQAAAQABAAD/wAARCAH0AlgDASIA"}},{"type":"image","source":{"data":"R0lGODlhWAL0AQ=="}}]}]}`,
		`[1,2`, ``, `{"messages":null}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if n := dialect.EstimateTokens(body); n < 0 {
			t.Errorf("%d tokens for %.200q", n, body)
		}
	})
}
