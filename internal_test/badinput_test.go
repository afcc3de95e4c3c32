// Bad input: whatever a client sends, the answer has the status and the shape that
// its SDK understands, nothing refused reaches a provider, and there is one record.
package gateway_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// checkError holds an answer of our own against the shape of its dialect (WIRE §4).
func checkError(t testing.TB, r reply, dialect string, status int) {
	t.Helper()
	if r.Status != status {
		t.Fatalf("status %d, want %d: %.300s", r.Status, status, r.Body)
	}
	if got := r.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/json") {
		t.Errorf("content-type %q: %.200s", got, r.Body)
	}
	if r.Cut != nil {
		t.Errorf("the answer ended in %v", r.Cut)
	}
	doc := harness.Parse(t, r.Body)
	fault, _ := doc["error"].(object)
	message, _ := fault["message"].(string)
	if message == "" {
		t.Fatalf("no error.message in %s", r.Body)
	}
	types := map[int]string{
		400: "invalid_request_error", 401: "invalid_request_error", 403: "invalid_request_error", 404: "invalid_request_error", 405: "invalid_request_error",
		413: "invalid_request_error", 415: "invalid_request_error", 500: "server_error", 502: "server_error", 503: "server_error", 504: "server_error",
	}
	if dialect == "anthropic" {
		for status, name := range map[int]string{
			401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large",
			500: "api_error", 502: "api_error", 503: "api_error", 504: "timeout_error",
		} {
			types[status] = name
		}
		if id, _ := doc["request_id"].(string); doc["type"] != "error" || id == "" {
			t.Errorf("not an Anthropic error with its request_id: %s", r.Body)
		}
	} else {
		if _, ok := doc["type"]; ok {
			t.Errorf("not an OpenAI error: %s", r.Body)
		}
		for _, name := range []string{"param", "code"} {
			if _, ok := fault[name]; !ok {
				t.Errorf("no error.%s in %s", name, r.Body)
			}
		}
		for status, code := range map[int]string{401: "invalid_api_key", 413: "request_too_large"} {
			if r.Status == status && fault["code"] != code {
				t.Errorf("error.code %v, want %s", fault["code"], code)
			}
		}
	}
	if want, known := types[status]; known && fault["type"] != want {
		t.Errorf("error.type %v, want %s", fault["type"], want)
	}
	if status == 401 && !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Bearer") {
		t.Errorf("www-authenticate %q", r.Header.Get("WWW-Authenticate"))
	}
	if r.Header.Get("X-Request-Id") == "" && r.Header.Get("Request-Id") == "" {
		t.Errorf("no request id in %v", r.Header)
	}
}

func TestBadBody(t *testing.T) {
	g, p := startBoth(t)
	f := func(name string, status int, body string, header ...string) {
		t.Helper()
		for dialect, path := range map[string]string{"openai": "/v1/chat/completions", "anthropic": "/v1/messages"} {
			t.Run(name+"/"+dialect, func(t *testing.T) {
				t.Helper()
				before := p.Count()
				r := g.Raw(t, []byte(wireRequest("POST", path, body, header...)), 0)
				checkError(t, r, dialect, status)
				if p.Count() != before {
					t.Error("it reached the provider")
				}
				rec := g.Next(t)
				if rec.Status != status || rec.ErrorType == "" || rec.Attempts != 0 || rec.Key != "user" {
					t.Errorf("record: %+v", rec)
				}
			})
		}
	}
	f("no body", 400, "", "Content-Type: application/json")
	f("empty body", 400, "", "Content-Type: application/json", "Content-Length: 0")
	f("white space", 400, " \r\n")
	f("cut JSON", 400, `{"model":"m","messages":[{"role":"us`)
	f("not JSON", 400, `hello`)
	f("an array", 400, `[{"model":"m"}]`)
	f("a string", 400, `"model"`)
	f("null", 400, `null`)
	f("no model", 400, `{"messages":[]}`)
	f("another case", 400, `{"MODEL":"m","Model":"m"}`)
	f("a number as model", 400, `{"model":1}`)
	f("null as model", 400, `{"model":null}`)
	f("an empty model", 400, `{"model":""}`)
	f("an object as model", 400, `{"model":{"model":"m"}}`)
	f("two models", 400, `{"model":"m","messages":[],"model":"n"}`)
	f("the same model twice", 400, `{"model":"m","model":"m"}`)
	f("a second model with an escape", 400, `{"model":"m","mod\u0065l":"n"}`)
	f("trailing data", 400, `{"model":"m"} {"model":"n"}`)
	f("a trailing brace", 400, `{"model":"m"}}`)
	f("100,000 brackets", 400, `{"model":"m","x":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)+"}")
	f("a raw NUL", 400, "{\"model\":\"m\x00\"}")
	f("a raw line end", 400, "{\"model\":\"m\",\"x\":\"a\nb\"}")
	f("a byte order mark", 400, "\ufeff{\"model\":\"m\"}")
	f("a comma too many", 400, `{"model":"m",}`)
	f("single quotes", 400, `{'model':'m'}`)
	f("gzip", 415, "\x1f\x8b\x08", "Content-Encoding: gzip")
	f("a form", 415, "model=m", "Content-Type: application/x-www-form-urlencoded")
	f("multipart", 415, "--x\r\n\r\nm\r\n--x--", "Content-Type: multipart/form-data; boundary=x")
	g.SecretFree(t)
}

// What JSON allows and parsers disagree on arrives as it was sent, or is refused;
// it is never changed.
func TestExactBytes(t *testing.T) {
	g, p := startBoth(t)
	f := func(name, body string) {
		t.Run(name, func(t *testing.T) {
			before := p.Count()
			r := g.Raw(t, []byte(wireRequest("POST", "/v1/chat/completions", body)), 0)
			switch r.Status {
			case 200:
				sameBytes(t, "request", p.Last(t).Body, []byte(body))
			case 400:
				if p.Count() != before {
					t.Error("refused, and yet it reached the provider")
				}
			default:
				t.Errorf("status %d: %s", r.Status, r.Body)
			}
			g.Next(t)
		})
	}
	f("NUL escape", `{"model":"m","x":"\u0000"}`)
	f("NUL escape in the model", `{"model":"m\u0000n"}`)
	f("invalid UTF-8", "{\"model\":\"m\",\"x\":\"\xff\xfe\"}")
	f("invalid UTF-8 in the model", "{\"model\":\"m\xff\"}")
	f("lone surrogates", `{"model":"m","x":"\ud800","y":"\udc00\ud800"}`)
	f("lone surrogate in the model", `{"model":"m\ud800"}`)
	f("big numbers", `{"model":"m","a":123456789012345678901234567890,"b":1e999,"c":-0.0,"d":1.0,"e":1E+2}`)
	f("duplicate keys", `{"model":"m","x":1,"x":2}`)
	f("an escaped key", `{"mod\u0065l":"m"}`)
	f("escapes", `{"model":"m","x":"\/\u003c\u003e\u0026\u2028\u00e9"}`)
	f("white space", "\r\n\t {\r\n\"model\" \t:\r\n \"m\"\r\n} \r\n")
	f("a nested model", `{"x":{"model":"other"},"model":"m","y":[{"model":1}]}`)
	f("a long model", `{"model":"`+strings.Repeat("m", 10_000)+`"}`)
	f("U+2028", "{\"model\":\"m\",\"x\":\"\u2028\u2029\u0085\u007f\"}")
	f("9,999 levels", `{"model":"m","x":`+strings.Repeat("[", 9_998)+strings.Repeat("]", 9_998)+"}")
}

func TestBodyTooLarge(t *testing.T) {
	g, p := startBoth(t)
	const size = 33 << 20
	t.Run("announced", func(t *testing.T) {
		begin := time.Now()
		request := wireRequest("POST", "/v1/messages", "", "Content-Type: application/json", fmt.Sprintf("Content-Length: %d", size))
		r := g.Raw(t, []byte(request+`{"model":`), 0)
		checkError(t, r, "anthropic", 413)
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("answered after %v", took)
		}
		if rec := g.Next(t); rec.Status != 413 {
			t.Errorf("record: %+v", rec)
		}
	})
	t.Run("chunked", func(t *testing.T) {
		var request bytes.Buffer
		request.WriteString(wireRequest("POST", "/v1/chat/completions", "", "Content-Type: application/json", "Transfer-Encoding: chunked"))
		request.WriteString(harness.Chunk(`{"model":"m","x":"`))
		piece := harness.Chunk(strings.Repeat("x", 1<<16))
		for range size / (1 << 16) {
			request.WriteString(piece)
		}
		request.WriteString(harness.Chunk(`"}`) + "0\r\n\r\n")
		r := g.Raw(t, request.Bytes(), 1<<16)
		checkError(t, r, "openai", 413)
		if rec := g.Next(t); rec.Status != 413 {
			t.Errorf("record: %+v", rec)
		}
	})
	t.Run("just fits", func(t *testing.T) {
		body := `{"model":"m","x":"` + strings.Repeat("x", 32<<20-len(`{"model":"m","x":""}`)) + `"}`
		r := g.Send(t, "POST", "/v1/chat/completions", body)
		if r.Status != 200 {
			t.Fatalf("%d %s", r.Status, r.Body)
		}
		sameBytes(t, "request", p.Last(t).Body, []byte(body))
		if rec := g.Next(t); rec.RequestBytes != 32<<20 {
			t.Errorf("record: %d request bytes", rec.RequestBytes)
		}
	})
	if p.Count() != 1 {
		t.Errorf("%d requests reached the provider", p.Count())
	}
}

// An answer to a client that holds back its body comes at once all the same.
func TestRefusalBeforeBody(t *testing.T) {
	g, p := startBoth(t)
	f := func(name, dialect string, status int, request string) {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			checkError(t, g.Raw(t, []byte(request), 0), dialect, status)
			if took := time.Since(begin); took > 3*time.Second {
				t.Errorf("answered after %v", took)
			}
			if rec := g.Next(t); rec.Status != status {
				t.Errorf("record: %+v", rec)
			}
		})
	}
	f("bad key", "openai", 401, wireRequest("POST", "/v1/chat/completions", "", "Authorization: Bearer wrong-key-0123456789", "Content-Length: 5000"))
	f("unknown path", "openai", 404, wireRequest("POST", "/v1/nothing", "", "Content-Length: 5000"))
	f("content type", "anthropic", 415, wireRequest("POST", "/v1/messages", "", "Content-Type: text/csv", "Content-Length: 5000"))
	if p.Count() != 0 {
		t.Error("it reached the provider")
	}
	g.SecretFree(t, "wrong-key-0123456789")
}
