package dialect_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"proxycast/upstream/dialect"
)

// requestHead is what encoding/json finds in a request body; Parse must find the same.
type requestHead struct {
	model                string
	modelStart, modelEnd int
	stream               bool
	streamOptions        bool
}

// decodeHead reads a body with encoding/json. ok says whether Parse has to accept it.
func decodeHead(body []byte) (head requestHead, ok bool) {
	if !json.Valid(body) {
		return requestHead{}, false
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return requestHead{}, false
	}
	models := 0
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return requestHead{}, false
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return requestHead{}, false
		}
		switch key {
		case "model":
			models++
			if value[0] != '"' || json.Unmarshal(value, &head.model) != nil {
				return requestHead{}, false
			}
			head.modelEnd = int(dec.InputOffset())
			head.modelStart = head.modelEnd - len(value)
		case "stream":
			head.stream = string(value) == "true"
		case "stream_options":
			head.streamOptions = true
		}
	}
	return head, models == 1 && head.model != ""
}

// withoutNested returns a body with 0 in the place of every array and object in it, however they are written. What no parser
// takes for JSON outside strings stays.
func withoutNested(body []byte) []byte {
	var out []byte
	depth, inString := 0, false
	for i := 0; i < len(body); i++ {
		c := body[i]
		opens, closes := !inString && (c == '{' || c == '['), !inString && (c == '}' || c == ']')
		if opens {
			if depth++; depth == 2 {
				out = append(out, '0')
			}
		}
		if depth < 2 {
			out = append(out, c)
		}
		switch {
		case closes:
			depth--
		case c == '"':
			inString = !inString
		case c == '\\' && inString && i+1 < len(body):
			i++
			if depth < 2 {
				out = append(out, body[i])
			}
		}
	}
	return out
}

// checkParse holds Parse against encoding/json, and returns what both found.
func checkParse(t *testing.T, body []byte) (q dialect.Request, head requestHead, ok bool) {
	t.Helper()
	head, ok = decodeHead(body)
	q, err := dialect.Parse(dialect.ChatCompletions, body)
	if !ok && err == nil { // what is wrong with it stands below the top level, where nothing depends on it
		body = withoutNested(body)
		if head, ok = decodeHead(body); !ok {
			t.Fatalf("Parse(%.200q): no error", body)
		}
		if q.Model() != head.model || q.Stream != head.stream || q.HasStreamOptions() != head.streamOptions {
			t.Fatalf("Parse(%.200q): model %q, stream %v, options %v; want %+v", body, q.Model(), q.Stream, q.HasStreamOptions(), head)
		}
		return q, head, false
	}
	if !ok {
		var fault *dialect.BodyError
		if !errors.As(err, &fault) {
			t.Fatalf("Parse(%.200q): error %v, want a *BodyError", body, err)
		}
		if fault.Offset < 0 || fault.Offset > len(body) || fault.Line < 1 || fault.Column < 1 || fault.Error() == "" {
			t.Fatalf("Parse(%.200q): bad error %+v", body, fault)
		}
		return q, head, false
	}
	if err != nil {
		t.Fatalf("Parse(%.200q): %v", body, err)
	}
	got := requestHead{q.Model(), head.modelStart, head.modelEnd, q.Stream, q.HasStreamOptions()}
	if got != head {
		t.Fatalf("Parse(%.200q) = %+v, want %+v", body, got, head)
	}
	return q, head, true
}

func TestParseHead(t *testing.T) {
	test := func(body, model string, stream, streamOptions bool) {
		t.Helper()
		q, _, ok := checkParse(t, []byte(body))
		if !ok {
			t.Errorf("%s: refused", body)
			return
		}
		if q.Model() != model || q.Stream != stream || q.HasStreamOptions() != streamOptions {
			t.Errorf("%s: model %q, stream %v, options %v; want %q, %v, %v", body, q.Model(), q.Stream, q.HasStreamOptions(), model, stream, streamOptions)
		}
		if q.Endpoint != dialect.ChatCompletions || string(q.Body) != body {
			t.Errorf("%s: endpoint %v, body %q", body, q.Endpoint, q.Body)
		}
	}
	test(`{"model":"gpt-4o"}`, "gpt-4o", false, false)
	test(" \t\r\n{ \"model\" : \"gpt-4o\" , \"stream\" : true } \n", "gpt-4o", true, false)
	test(`{"messages":[{"role":"user","content":"a\nb \"c\" {"}],"stream":true,"stream_options":{"include_usage":false},"model":"m"}`, "m", true, true)

	// The stream flag: only the literal true, the last one.
	test(`{"stream":false,"model":"m"}`, "m", false, false)
	test(`{"stream":"true","model":"m"}`, "m", false, false)
	test(`{"stream":1,"model":"m"}`, "m", false, false)
	test(`{"stream":[true],"model":"m"}`, "m", false, false)
	test(`{"stream":true,"stream":false,"model":"m"}`, "m", false, false)
	test(`{"stream":null,"stream":true,"model":"m"}`, "m", true, false)
	test(`{"stream_options":null,"model":"m"}`, "m", false, true)
	test(`{"stream_options":{},"stream_options":{},"model":"m"}`, "m", false, true)

	// Only the top level counts, and keys are case-sensitive.
	test(`{"metadata":{"model":"x","stream":true,"stream_options":1},"a":[{"model":5}],"model":"m"}`, "m", false, false)
	test(`{"Model":"x","MODEL":1,"models":2,"mode":3,"":4,"Stream":true,"model":"m"}`, "m", false, false)

	// Escapes in keys and values.
	test(`{"mod\u0065l":"m","\u0073tream":true,"stream\u005foptions":0}`, "m", true, true)
	test(`{"mod\\u0065l":"x","mod\u0000el":"y","model":"m"}`, "m", false, false)
	test(`{"model":"\"\\\/\b\f\n\r\t\u00e9\u4F60"}`, "\"\\/\b\f\n\r\té你", false, false)
	test(`{"model":"a\u0000b"}`, "a\x00b", false, false)
	test(`{"model":"\ud83d\ude00 \uD83D\uDE00 😀"}`, "😀 😀 😀", false, false)
	test(`{"model":"\ud83d"}`, "\uFFFD", false, false)
	test(`{"model":"\ude00\ud83d"}`, "\uFFFD\uFFFD", false, false)
	test(`{"model":"\ud83d\u0041\ud83dx\ud83d\n"}`, "\uFFFDA\uFFFDx\uFFFD\n", false, false)
	test(`{"model":"\ud83d\ud83d\ude00"}`, "\uFFFD😀", false, false)
	test("{\"model\":\"a\xffb\xe4\xbd\"}", "a\uFFFDb\uFFFD\uFFFD", false, false)
	test("{\"model\":\"m\",\"user\":\"\x7f\xff\xed\xa0\x80\"}", "m", false, false)
}

// TestParseMutations changes every byte of a body that holds every kind of token.
func TestParseMutations(t *testing.T) {
	sample := []byte(`{"model" : "m\u00e9\n😀 and more", "a":[ ],"n":[-0.5e+3,10 ,{"x":{}},[[]]], "t":[true,false,null],"stream":true}`)
	bytesToTry := []byte("\"\\{}[],:0159eE+-.tfnux/ \t\n\x00\x1f\x7f\x80\xc3\xff")
	for i := range sample {
		for _, c := range bytesToTry {
			body := bytes.Clone(sample)
			body[i] = c
			checkParse(t, body)
			checkParse(t, append(body[:i], sample[i+1:]...))
			checkParse(t, append(append(bytes.Clone(sample[:i]), c), sample[i:]...))
		}
	}
}

// TestParseTruncated cuts a body at every byte: each cut is noticed where it is.
func TestParseTruncated(t *testing.T) {
	sample := []byte(`{"messages":[{"content":"a\"\u00e9 and then some more"},[],-12.5e-7,true,null],"model":"gpt-4o","stream":false}`)
	for n := 1; n < len(sample); n++ {
		_, err := dialect.Parse(dialect.ChatCompletions, sample[:n])
		want := fmt.Sprintf("invalid JSON at line 1, column %d: unexpected end of the body", n+1)
		if err == nil || err.Error() != want {
			t.Errorf("%s: error %q, want %q", sample[:n], err, want)
		}
	}
}

// TestParseStringOffsets puts the end of a string, and each thing that may stand in one, at every distance from the eight
// bytes that are looked at together.
func TestParseStringOffsets(t *testing.T) {
	for _, part := range []string{"", `\n`, `\u00e9`, `\"\"`, "é", "\xff", "\x7f", "!", "#", "[", "]", "\x00", "\x1f", "\n", `\x`, `\u12g4`, `"`, "\x80\"", "\xff\x1f", "\xa2", "\xdc"} {
		for before := range 18 {
			for after := range 18 {
				body := `{"model":"` + strings.Repeat("x", before) + part + strings.Repeat("y", after) + `"}`
				checkParse(t, []byte(body))
			}
		}
	}
}

func TestParseNumbers(t *testing.T) {
	for _, number := range []string{
		"0", "-0", "1", "10", "-12", "0.5", "1e5", "1E+5", "1e-05", "-0.0e0", strings.Repeat("9", 400), "1e999999999", "0." + strings.Repeat("0", 400) + "1",
		"01", "-01", "1.", ".5", "-", "+1", "1e", "1e+", "1.e5", "--1", "1.2.3", "0x10", "1_000", "NaN", "Infinity", "-Infinity", "1f", "00", "-.5", "1e5.0",
	} {
		checkParse(t, []byte(`{"model":"m","n":`+number+`}`))
		checkParse(t, []byte(`{"n":[`+number+`,1],"model":"m"}`))
	}
}

func TestParseNesting(t *testing.T) {
	test := func(name, open, closing string, levels int, want bool) {
		t.Helper()
		body := []byte(`{"model":"m","a":` + strings.Repeat(open, levels) + `1` + strings.Repeat(closing, levels) + `}`)
		if _, _, ok := checkParse(t, body); ok != want {
			t.Errorf("%s, %d levels: encoding/json accepts: %v, want %v", name, levels, ok, want)
		}
	}
	for _, levels := range []int{1, 62, 63, 64, 65, 127, 128, 129, 9998} {
		test("arrays", "[", "]", levels, true)
		test("objects", `{"a":`, "}", levels, true)
	}
	test("9,999 and the body itself", "[", "]", 9999, true)
	test("10,000 and the body itself", "[", "]", 10000, false)
	test("10,001 and the body itself", "[", "]", 10001, false)
	test("objects", `{"a":`, "}", 9999, true)
	test("objects", `{"a":`, "}", 10000, false)
	test("both", `[{"a":`, "}]", 4999, true)
	test("both", `[{"a":`, "}]", 5000, false)
	test("wrong closers", `[{"a":`, "]}", 70, false)

	for _, body := range []string{
		`{"a":` + strings.Repeat("[", 100_000),
		`{"a":` + strings.Repeat(`{"a":`, 100_000),
		`{"a":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `,"model":"m"}`,
	} {
		_, err := dialect.Parse(dialect.ChatCompletions, []byte(body))
		if err == nil || !strings.Contains(err.Error(), "nested more than 10,000 deep") {
			t.Errorf("%.20s…: error %v", body, err)
		}
	}

	// Closers are matched with their openers across the boundaries of 64 levels.
	for level := range 200 {
		opened, closed := strings.Repeat("[", level)+`{"a":`+strings.Repeat("[", 199-level)+"1", strings.Repeat("]", 199-level)+"}"+strings.Repeat("]", level)
		if _, _, ok := checkParse(t, []byte(`{"model":"m","a":`+opened+closed+`}`)); !ok {
			t.Errorf("an object at level %d among arrays: refused", level)
		}
		checkParse(t, []byte(`{"model":"m","a":`+opened+strings.Repeat("]", 200)+`}`))
	}
}

func TestBodyError(t *testing.T) {
	test := func(body, param, message string) {
		t.Helper()
		checkParse(t, []byte(body))
		_, err := dialect.Parse(dialect.Messages, []byte(body))
		var fault *dialect.BodyError
		if !errors.As(err, &fault) || fault.Error() != message || fault.Param != param {
			t.Errorf("%q: param %q, error %q; want param %q, error %q", body, fault.Param, err, param, message)
		}
	}
	const empty = `the body is empty; send a JSON object with a "model"`
	test("", "", empty)
	test(" \n\t ", "", empty)
	test("\uFEFF{\"model\":\"m\"}", "", "the body begins with a UTF-8 byte order mark; send it without one")
	test(`[]`, "", "the body must be a JSON object")
	test(`"model"`, "", "the body must be a JSON object")
	test(`null`, "", "the body must be a JSON object")
	test("model=gpt-4o", "", "the body must be a JSON object")

	const missing = `"model" is missing; name the model to use`
	test(`{}`, "model", missing)
	test(`{"Model":"m","x":{"model":"m"}}`, "model", missing)
	test(`{"model":""}`, "model", `"model" is empty; name the model to use`)
	for _, value := range []string{"null", "5", "true", "[\"m\"]", "{}"} {
		test(`{"model":`+value+`}`, "model", `"model" must be a string`)
	}
	test(`{"model":"m", "model":"m"}`, "model", `"model" is given twice, the second time at line 1, column 15`)
	test("{\"model\":\"é\",\n\"😀\":1,\"mod\\u0065l\":\"n\"}", "model", `"model" is given twice, the second time at line 2, column 7`)

	syntax := func(body string, line, column int, fault string) {
		t.Helper()
		test(body, "", fmt.Sprintf("invalid JSON at line %d, column %d: %s", line, column, fault))
	}
	syntax("{\n  \"model\": \"m\",\n  \"size\": 12 \"x\"\n}", 3, 14, "expected ',' or '}' after a value")
	syntax("{\"größe\": \"😀😀\" 5}", 1, 16, "expected ',' or '}' after a value")
	syntax("{\"a\":\"\xff\xff\" 5}", 1, 11, "expected ',' or '}' after a value")
	syntax(`{"a":[1}`, 1, 8, "expected ',' or ']' after a value")
	syntax(`{"a":{"b":1]}`, 1, 12, "expected ',' or '}' after a value")
	syntax(`{"a":1,}`, 1, 8, `expected '"' to begin a key`)
	syntax(`{'a':1}`, 1, 2, `expected '"' to begin a key`)
	syntax(`{,}`, 1, 2, `expected '"' to begin a key`)
	syntax(`{"a" 1}`, 1, 6, "expected ':' after a key")
	syntax(`{"a":}`, 1, 6, "expected a value")
	syntax(`{"a":True}`, 1, 6, "expected a value")
	syntax(`{"a":nul}`, 1, 6, "expected a value")
	syntax(`{"model":m}`, 1, 10, "expected a value")
	syntax(`{"a":-}`, 1, 7, "expected a digit in a number")
	syntax(`{"a":1.}`, 1, 8, "expected a digit in a number")
	syntax("{\"a\":\"x\ny\"}", 1, 8, `a control character inside a string must be escaped (a line break is \n)`)
	syntax("{\"a\x00\":1}", 1, 4, `a control character inside a string must be escaped (a line break is \n)`)
	syntax(`{"a":"\x"}`, 1, 8, `expected one of "\/bfnrtu after a backslash`)
	syntax(`{"a":"\u12x4"}`, 1, 11, `expected four hexadecimal digits after \u`)
	syntax(`{"model":"m"`, 1, 13, "unexpected end of the body")
	syntax(`{"model":"m"}}`, 1, 14, "unexpected data after the object")
	syntax("{\"model\":\"m\"}\n{}", 2, 1, "unexpected data after the object")
	syntax("{\"model\":\"m\"}\x00", 1, 14, "unexpected data after the object")
}

func TestParseAllocatesNothing(t *testing.T) {
	body := chatBody(10<<10, true)
	var q dialect.Request
	if n := testing.AllocsPerRun(100, func() { q, _ = dialect.Parse(dialect.ChatCompletions, body) }); n != 0 {
		t.Errorf("Parse allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { _ = q.Model() }); n > 1 {
		t.Errorf("Model allocates %v times", n)
	}
}

// joinBuffers returns the bytes that a provider would be sent, without using up the buffers.
func joinBuffers(bufs net.Buffers) string { return string(bytes.Join(bufs, nil)) }

func TestSplice(t *testing.T) {
	test := func(body, model string, includeUsage bool, want string, slices int) {
		t.Helper()
		q, err := dialect.Parse(dialect.ChatCompletions, []byte(body))
		if err != nil {
			t.Errorf("%s: %v", body, err)
			return
		}
		bufs := q.Splice(model, includeUsage)
		if got := joinBuffers(bufs); got != want || len(bufs) != slices {
			t.Errorf("%s: Splice(%q, %v) = %s in %d slices, want %s in %d", body, model, includeUsage, got, len(bufs), want, slices)
		}
		if string(q.Body) != body {
			t.Errorf("%s: the body became %s", body, q.Body)
		}
	}
	const usage = `,"stream_options":{"include_usage":true}`
	test(`{"model":"a"}`, "a", false, `{"model":"a"}`, 1)
	test(` {"model" : "a" , "x":1 } `, "b", false, ` {"model" : "b" , "x":1 } `, 3)
	test(` {"model" : "a" , "x":1 } `, "a", true, ` {"model" : "a" , "x":1 `+usage+`} `, 3)
	test(` {"x":{}, "model" : "a"}`, "b", true, ` {"x":{}, "model" : "b"`+usage+`}`, 5)
	test(`{"\u006dodel":"\u0061","z":[{"model":"a"}]}`, "a", false, `{"\u006dodel":"\u0061","z":[{"model":"a"}]}`, 1)
	test(`{"\u006dodel":"\u0061","z":[{"model":"a"}]}`, "ab", false, `{"\u006dodel":"ab","z":[{"model":"a"}]}`, 3)
	test(`{"model":"ab"}`, "a", false, `{"model":"a"}`, 3)
	test(`{"model":"a"}`, "vendor/<b>&\"\\\n\x7f你😀\xff", false, `{"model":"vendor/<b>&\"\\\u000a`+"\x7f你😀\uFFFD"+`"}`, 3)

	// What the client states about the usage stands.
	test(`{"model":"a","stream_options":null}`, "a", true, `{"model":"a","stream_options":null}`, 1)
	test(`{"model":"a","stream_options":{"include_usage":false}}`, "b", true, `{"model":"b","stream_options":{"include_usage":false}}`, 3)
}

// TestSpliceCopiesNothingLarge sees to it that the slices are the client's own bytes.
func TestSpliceCopiesNothingLarge(t *testing.T) {
	q, err := dialect.Parse(dialect.ChatCompletions, chatBody(64<<10, true))
	if err != nil {
		t.Fatal(err)
	}
	bufs := q.Splice("another", true)
	if len(bufs) != 5 || &bufs[0][0] != &q.Body[0] || &bufs[4][len(bufs[4])-1] != &q.Body[len(q.Body)-1] {
		t.Errorf("Splice gives %d slices, not all of them of the body", len(bufs))
	}
}

// TestParseCorpus parses recorded requests.
func TestParseCorpus(t *testing.T) {
	for name, recorded := range recordedRequests(t, "*.json") {
		if q, _, ok := checkParse(t, recorded.Request); ok && joinBuffers(q.Splice(q.Model(), false)) != string(recorded.Request) {
			t.Errorf("%s: the body changed", name)
		}
	}
}

// recordedRequest is what the tests of requests use of a case of the corpus.
type recordedRequest struct {
	Request  json.RawMessage
	Response string `json:"response_body"`
	SSE      string `json:"response_sse"`
}

// recordedFiles returns the recorded cases whose names match, of the test data and,
// where it is present, of the whole corpus. A case of both is returned twice.
func recordedFiles(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "internal_test", "testdata", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded cases %s in the test data: %v", pattern, err)
	}
	corpus := filepath.Join("..", "..", "..", "shared", "corpus")
	more, _ := filepath.Glob(filepath.Join(corpus, pattern))
	if len(more) == 0 {
		t.Logf("SKIPPED: the whole corpus, none in %s; %d cases run", corpus, len(files))
	}
	return append(files, more...)
}

// recordedRequests returns the cases of the corpus that have a request, by file name.
func recordedRequests(t *testing.T, pattern string) map[string]recordedRequest {
	t.Helper()
	files := recordedFiles(t, pattern)
	cases := make(map[string]recordedRequest)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c recordedRequest
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(c.Request) > 0 && string(c.Request) != "null" {
			cases[filepath.Base(file)] = c
		}
	}
	return cases
}

// TestParseBelowTheTop shows what is checked of nested values: whatever could have a lenient parser find another end of them,
// and with it another model, is refused; the rest is the provider's to judge, and passes unchanged.
func TestParseBelowTheTop(t *testing.T) {
	for _, nested := range []string{
		`[1 2]`, `[1,]`, `{"b":1,}`, `{"b" 1}`, `[,]`, `{1:2}`, `[01, 1., -, 1e]`, `[tru, nan, fals]`, `["\x", "\u12x4", "` + "a\nb\x00" + `"]`,
	} {
		body := `{"a":` + nested + `,"model":"m"}`
		q, err := dialect.Parse(dialect.ChatCompletions, []byte(body))
		if err != nil || q.Model() != "m" || joinBuffers(q.Splice("m", false)) != body {
			t.Errorf("%s: %v", body, err)
		}
	}
	for _, nested := range []string{
		`[1}`, `{"b":1]`, `[`, `{"b":"c}`, `[/* ] */ 1]`, "[// ]\n1]", `['"', ]`, `[NaN]`, `[Infinity]`, `[True]`, `[0x10]`, "[`\"`]", `[#]`, `[;]`,
		`["\u"],"model":"n","x":["12"]`, `["\u12"],"model":"n"]`, `["\\\u123"]`, "[\x00]", "[\u00a0]", "[\xff]",
	} {
		body := `{"a":` + nested + `,"model":"m"}`
		var fault *dialect.BodyError
		if _, err := dialect.Parse(dialect.ChatCompletions, []byte(body)); !errors.As(err, &fault) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// requestSeeds start both fuzz targets.
func requestSeeds(f *testing.F, add func(body string)) {
	f.Helper()
	for _, body := range []string{
		`{"model":"m"}`,
		`{"messages":[{"role":"user","content":"a\n\"b\" \u00e9\ud83d\ude00"}],"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true}}`,
		` { "mod\u0065l" : "m\\" , "stream" : true , "stream" : false } `,
		`{"model":"m","model":"n"}`,
		`{"model":"m","a":[1,-0.5e+3,true,false,null,{},[],[[{"x":[]}]]]}`,
		`{"model":"\ud83d\u0041","metadata":{"model":"x"}}`,
		"{\"model\":\"\xff\xc3\x28\",\"user\":\"\x7f\"}",
		"\uFEFF{\"model\":\"m\"}", `{"model":""}`, `{"model":5}`, `{}`, `[]`, ``, `{"a":01}`, `{"a":"` + "\n" + `"}`,
	} {
		add(body)
	}
}

func FuzzParse(f *testing.F) {
	requestSeeds(f, func(body string) { f.Add([]byte(body)) })
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		checkParse(t, body)
		if !bytes.Equal(body, before) {
			t.Fatal("Parse changed the body")
		}
	})
}

func FuzzSplice(f *testing.F) {
	requestSeeds(f, func(body string) {
		f.Add([]byte(body), "m", true)
		f.Add([]byte(body), "a<\"\\\n\xff😀", false)
	})
	f.Fuzz(func(t *testing.T, body []byte, model string, includeUsage bool) {
		q, head, ok := checkParse(t, body)
		if !ok || model == "" {
			return
		}
		got := []byte(joinBuffers(q.Splice(model, includeUsage)))

		// The head of what is sent is the one asked for.
		sent, sentHead, ok := checkParse(t, got)
		if !ok {
			t.Fatalf("%q is no request", got)
		}
		want := string([]rune(model)) // as JSON would carry it
		if sent.Model() != want || sent.Stream != q.Stream || sent.HasStreamOptions() != (includeUsage || q.HasStreamOptions()) {
			t.Fatalf("%q: model %q, want %q", got, sent.Model(), want)
		}

		// Around the model, and before the closing brace, the bytes are the client's.
		rest, wantRest := got[sentHead.modelEnd:], body[head.modelEnd:]
		if !bytes.Equal(got[:sentHead.modelStart], body[:head.modelStart]) {
			t.Fatalf("%q: the bytes before the model are not those of %q", got, body)
		}
		if includeUsage && !q.HasStreamOptions() {
			end := bytes.LastIndexByte(wantRest, '}')
			wantRest = []byte(string(wantRest[:end]) + `,"stream_options":{"include_usage":true}` + string(wantRest[end:]))
		}
		if !bytes.Equal(rest, wantRest) {
			t.Fatalf("%q: the bytes after the model are not those of %q", got, body)
		}
		if want == head.model && !includeUsage && !bytes.Equal(got, body) {
			t.Fatalf("%q became %q without a reason", body, got)
		}
	})
}
