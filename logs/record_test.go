package logs_test

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"proxycast/logs"
)

func full() logs.Record {
	return logs.Record{
		Seq: 42, Time: time.Date(2026, 11, 23, 10, 20, 30, 45_000_000, time.UTC), ID: "req_1", Key: "开发环境",
		Method: "POST", Path: "/v1/messages", Endpoint: "messages", Model: "smart", UpstreamModel: "claude-sonnet-4-5",
		Provider: "anthropic", Status: 200, Stream: true, Duration: 1234567 * time.Microsecond, TTFT: 250500 * time.Microsecond, Count: 3,
		InputTokens: ptr(1000), OutputTokens: ptr(20), CacheReadTokens: ptr(900), CacheWriteTokens: ptr(0), CacheWrite1h: ptr(4), ReasoningTokens: ptr(7),
		FinishReason: "end_turn", Attempts: 2, ErrorType: "api_error", Error: "the provider \"cut\" the stream",
		Dropped: []string{"logit_bias", "n"}, RequestBytes: 512, ResponseBytes: 4096, Client: "curl/8.5", Remote: "127.0.0.1",
		UpstreamID: "req_up", Session: "s1", TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", Instance: "eu-1",
		Tried: []logs.Try{
			{Provider: "openai", Model: "gpt-4o", Status: 503, ErrorType: "overloaded_error", Duration: 1500 * time.Microsecond},
			{Provider: "demo", Model: "a\"b"},
		},
	}
}

func TestRecordJSON(t *testing.T) {
	f := func(rec logs.Record, want string) {
		t.Helper()
		if got := string(rec.AppendJSON([]byte("x"))); got != "x"+want {
			t.Errorf("\n got %s\nwant x%s", got, want)
		}
	}
	f(full(), `{"seq":42,"time":"2026-11-23T10:20:30.045Z","id":"req_1","key":"开发环境","method":"POST","path":"/v1/messages",`+
		`"endpoint":"messages","model":"smart","upstream_model":"claude-sonnet-4-5","provider":"anthropic","status":200,"count":3,"stream":true,`+
		`"duration_ms":1234.567,"ttft_ms":250.5,"input_tokens":1000,"output_tokens":20,"cache_read_tokens":900,"cache_write_tokens":0,"cache_write_1h_tokens":4,`+
		`"reasoning_tokens":7,"finish_reason":"end_turn","attempts":2,`+
		`"tried":[{"provider":"openai","model":"gpt-4o","status":503,"error_type":"overloaded_error","ms":1.5},{"provider":"demo","model":"a\"b","status":0,"ms":0}],`+
		`"error_type":"api_error","error":"the provider \"cut\" the stream",`+
		`"dropped":["logit_bias","n"],"request_bytes":512,"response_bytes":4096,"client":"curl/8.5","remote":"127.0.0.1","upstream_id":"req_up",`+
		`"session":"s1","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","instance":"eu-1"}`)
	f(logs.Record{Time: time.Date(2026, 1, 2, 3, 4, 5, 999_999_999, time.FixedZone("", 3600)), ID: "i", Method: "GET", Path: "/", Status: 404, Duration: 1_999_600},
		`{"seq":0,"time":"2026-01-02T02:04:05.999Z","id":"i","method":"GET","path":"/","status":404,"stream":false,`+
			`"duration_ms":2,"attempts":0,"request_bytes":0,"response_bytes":0}`)
}

func TestRecordRoundTrip(t *testing.T) {
	f := func(rec logs.Record) {
		t.Helper()
		line, err := json.Marshal([]logs.Record{rec})
		if err != nil {
			t.Fatal(err)
		}
		var got []logs.Record
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if !reflect.DeepEqual(got, []logs.Record{rec}) {
			t.Errorf("\n got %+v\nwant %+v", got, rec)
		}
	}
	f(full())
	f(logs.Record{})
	f(logs.Record{Error: "\x00\x1f\x7f\u0080\u009f\u2028\u2029\u202e\u2066\ufffd\"\\/<>&\n\r\t\b\f🙂"})
}

// A line must end nowhere but at its end, and move no terminal's cursor.
func TestRecordEscapes(t *testing.T) {
	var all strings.Builder
	for c := range rune(0x3000) {
		all.WriteRune(c)
	}
	all.WriteRune('\ufeff')
	for text := all.String(); text != ""; {
		n := min(len(text), 64)
		for !utf8.ValidString(text[:n]) {
			n--
		}
		rec := logs.Record{Error: text[:n], Key: text[:n], Client: text[:n], Dropped: []string{text[:n]}}
		line := rec.AppendJSON(nil)
		if !json.Valid(line) {
			t.Fatalf("not JSON: %s", line)
		}
		for _, c := range string(line) {
			if c < ' ' || c >= 0x7f && c < 0xa0 || c == 0x2028 || c == 0x2029 || c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069 || strings.ContainsRune("\u061c\u200e\u200f\ufeff", c) {
				t.Fatalf("%U stands in %s", c, line)
			}
		}
		text = text[n:]
	}
}

func TestRecordCaps(t *testing.T) {
	read := func(rec logs.Record) (got logs.Record) {
		t.Helper()
		if err := json.Unmarshal(rec.AppendJSON(nil), &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	f := func(text, want string) {
		t.Helper()
		got := read(logs.Record{Model: text, Path: text, Error: text, UpstreamID: text})
		for _, s := range []string{got.Model, got.Path, got.Error, got.UpstreamID} {
			if s != want {
				t.Errorf("got %d bytes %q, want %d", len(s), s, len(want))
			}
		}
	}
	f(strings.Repeat("a", 256), strings.Repeat("a", 256))
	f(strings.Repeat("a", 1e6), strings.Repeat("a", 256))
	f(strings.Repeat("a", 255)+"é", strings.Repeat("a", 255))
	f(strings.Repeat("语", 100), strings.Repeat("语", 85))
	f(strings.Repeat("\x00", 300), strings.Repeat("\x00", 256))
	f("a\xffb\xc3", "a\ufffdb\ufffd")
	f(strings.Repeat("\xff", 300), strings.Repeat("\ufffd", 85))

	if got := read(logs.Record{Client: strings.Repeat("🙂", 200)}).Client; got != strings.Repeat("🙂", 120) {
		t.Errorf("client has %d characters", utf8.RuneCountInString(got))
	}
	if got := read(logs.Record{Dropped: slices.Repeat([]string{strings.Repeat("a", 100)}, 1000)}).Dropped; len(got) != 32 || got[31] != strings.Repeat("a", 64) {
		t.Errorf("dropped has %d texts", len(got))
	}
}

// The longest line fits the smallest file.
func TestLongestLine(t *testing.T) {
	x, n := strings.Repeat("\x00", 1000), ptr(math.MinInt64)
	rec := logs.Record{
		Seq: 1 << 53, Time: time.Now(), ID: x, Key: x, Method: x, Path: x, Endpoint: x, Model: x, UpstreamModel: x, Provider: x,
		Status: math.MinInt32, Duration: math.MaxInt64, TTFT: math.MaxInt64, InputTokens: n, OutputTokens: n, CacheReadTokens: n,
		CacheWriteTokens: n, ReasoningTokens: n, FinishReason: x, Attempts: math.MinInt32, ErrorType: x, Error: x,
		Dropped: slices.Repeat([]string{x}, 100), RequestBytes: *n, ResponseBytes: *n, Client: x, Remote: x, UpstreamID: x,
		Session: x, TraceID: x, Instance: x, Count: math.MaxInt, CacheWrite1h: n,
		Tried: slices.Repeat([]logs.Try{{Provider: x, Model: x, Status: math.MinInt32, ErrorType: x, Duration: math.MaxInt64}}, 100),
	}
	if n := len(rec.AppendJSON(nil)); n >= 64<<10 {
		t.Errorf("%d bytes", n)
	}
}

func TestRecordRejects(t *testing.T) {
	rec := full()
	line := string(rec.AppendJSON(nil))
	f := func(line string) {
		t.Helper()
		if err := new(logs.Record).UnmarshalJSON([]byte(line)); err == nil {
			t.Errorf("took %s", line)
		}
	}
	for i := range line {
		f(line[:i])
	}
	f(line + "}")
	f(line + line)
	f(`{"seq":-1}`)
	f(`{"status":1.5}`)
	f(`{"duration_ms":1e400}`)
	f(`{"duration_ms":-1}`)
	f(`{"tried":[{"ms":-1}]}`)
	f(`{"time":"yesterday"}`)
	f("{\"id\":\"a\nb\"}")
	f("{\"id\":\"\xff\"}")
}

// Lines that someone wrote anew, as tools do, are still records.
func TestRecordTolerates(t *testing.T) {
	f := func(line string) {
		t.Helper()
		var rec logs.Record
		if err := rec.UnmarshalJSON([]byte(line)); err != nil || rec.Seq != 3 || rec.Error != "a/b é" {
			t.Errorf("%v, %+v of %s", err, rec, line)
		}
	}
	f(` { "error" : "a\/b \u00e9" , "seq" : 3 } ` + "\r")
	f(`{"seq":3,"new":{"a":[1,"}"]},"error":"a/b é","model":null,"newer":1e5}`)
}
