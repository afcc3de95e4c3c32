// Provider faults: what the gateway promises (SECURITY, "Faults: provider") when the
// other side is slow, cut, rude or lying.
package gateway_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// lag is ample time for a packet on loopback to be noticed.
const lag = 20 * time.Millisecond

// Faults before any answer: one attempt, one error of our own in the dialect.
func TestNoAnswer(t *testing.T) {
	f := func(name string, status int, answer script) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := harness.NewProvider(t, answer)
			if answer == nil {
				p.URL = "http://" + harness.FreeAddress(t)
			}
			g := start(t, relayBoth(p))
			for _, c := range []struct{ dialect, path, body string }{
				{"openai", "/v1/chat/completions", chatRequest},
				{"openai", "/v1/chat/completions", chatStreamRequest},
				{"anthropic", "/v1/messages", messageRequest},
			} {
				before, begin := p.Count(), time.Now()
				r := g.Send(t, "POST", c.path, c.body)
				checkError(t, r, c.dialect, status)
				if took := time.Since(begin); took > 5*time.Second {
					t.Errorf("answered after %v", took)
				}
				if n := p.Count() - before; answer != nil && n != 1 {
					t.Errorf("%d requests reached the provider", n)
				}
				rec := g.Next(t)
				if rec.Status != status || rec.ErrorType == "" || rec.Attempts != 1 || rec.Provider == "" {
					t.Errorf("record: %+v", rec)
				}
				if r.Header.Get("X-Should-Retry") == "true" {
					t.Error("x-should-retry: true")
				}
			}
			g.SecretFree(t)
		})
	}
	bytesOf := func(text string) script {
		return func(x *exchange) bool { x.Write([]byte(text), whole); return false }
	}
	f("refused", 502, nil)
	f("reset", 502, func(x *exchange) bool { x.Reset(); return false })
	f("closed", 502, func(x *exchange) bool { return false })
	f("garbage", 502, bytesOf("\x16\x03\x01 what is this?\r\n\r\n"))
	f("another protocol", 502, bytesOf("220 mail.example ESMTP\r\n"))
	f("half a head", 502, bytesOf("HTTP/1.1 200 OK\r\nContent-Type: appl"))
	f("bad status", 502, bytesOf("HTTP/1.1 2x0 OK\r\n\r\n"))
	f("two lengths", 502, bytesOf("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"))
	f("a header of 300 KiB", 502, bytesOf("HTTP/1.1 200 OK\r\nX-Long: "+strings.Repeat("x", 300<<10)+"\r\nContent-Length: 2\r\n\r\n{}"))
	f("many headers", 502, bytesOf("HTTP/1.1 200 OK\r\n"+strings.Repeat("X-Many: 0123456789\r\n", 20_000)+"Content-Length: 2\r\n\r\n{}"))
	f("endless 1xx", 502, func(x *exchange) bool {
		for range 100_000 {
			if _, err := x.Conn.Write([]byte("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n")); err != nil {
				break
			}
		}
		return false
	})
	f("101", 502, bytesOf("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"))
}

// Error answers of a provider: kept in its dialect, without its secrets.
func TestErrorAnswers(t *testing.T) {
	p := harness.NewProvider(t, nil)
	g := start(t, relayTo(p, "openai"))
	f := func(name string, answer canned, check func(t *testing.T, r reply, rec record)) {
		t.Run(name, func(t *testing.T) {
			p.Play(answer.serve(whole))
			r := g.Send(t, "POST", "/v1/chat/completions", chatRequest)
			check(t, r, g.Next(t))
			if strings.Contains(fmt.Sprint(r.Header)+string(r.Body), harness.ProviderKey) {
				t.Errorf("the provider's key reached the client: %v\n%s", r.Header, r.Body)
			}
		})
	}
	own := func(status int) func(t *testing.T, r reply, rec record) {
		return func(t *testing.T, r reply, rec record) {
			checkError(t, r, "openai", status)
			if rec.Status != status || rec.ErrorType == "" {
				t.Errorf("record: %+v", rec)
			}
		}
	}
	json := "Content-Type: application/json"
	html := "<html><body><h1>502 Bad Gateway</h1>" + harness.ProviderKey + "</body></html>"
	f("HTML 502", canned{status: 502, header: []string{"Content-Type: text/html"}, body: html}, own(502))
	f("HTML 500 called JSON", canned{status: 500, header: []string{json}, body: html}, own(500))
	f("empty 500", canned{status: 500}, own(500))
	f("empty 429", canned{status: 429, header: []string{"Retry-After: 9"}}, func(t *testing.T, r reply, rec record) {
		if r.Status != 429 || r.Header.Get("Retry-After") != "9" || harness.Parse(t, r.Body)["error"] == nil {
			t.Errorf("%d %v %s", r.Status, r.Header, r.Body)
		}
	})
	f("text 503", canned{status: 503, header: []string{"Content-Type: text/plain", "Retry-After: 2"}, body: "upstream connect error " + harness.ProviderKey}, own(503))
	f("redirect", canned{status: 302, header: []string{"Location: " + p.URL + "/elsewhere"}}, func(t *testing.T, r reply, rec record) {
		own(502)(t, r, rec)
		if r.Header.Get("Location") != "" || strings.Contains(p.Last(t).Target, "elsewhere") {
			t.Errorf("followed or passed on: %v", r.Header)
		}
	})
	f("308", canned{status: 308, header: []string{"Location: http://169.254.169.254/"}, body: "{}"}, own(502))
	f("401", canned{status: 401, header: []string{json}, body: `{"error":{"message":"Incorrect API key provided: ` + harness.ProviderKey + `","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`}, own(502))
	f("400 that quotes the key", canned{status: 400, header: []string{json, "X-Debug: key=" + harness.ProviderKey}, body: `{"error":{"message":"bad: ` + harness.ProviderKey + `!","type":"invalid_request_error"}}`},
		func(t *testing.T, r reply, rec record) {
			if want := `{"error":{"message":"bad: ***!","type":"invalid_request_error"}}`; r.Status != 400 || string(r.Body) != want {
				t.Errorf("%d %s", r.Status, r.Body)
			}
			if got := r.Header.Get("X-Debug"); got != "" && got != "key=***" {
				t.Errorf("x-debug %q", got)
			}
		})
	f("403", canned{status: 403, header: []string{json}, body: openaiError}, func(t *testing.T, r reply, rec record) {
		if r.Status != 403 || string(r.Body) != openaiError || rec.ErrorType != "insufficient_quota" {
			t.Errorf("%d %s; record %+v", r.Status, r.Body, rec)
		}
	})
	f("429", canned{status: 429, header: []string{json, "Retry-After: 7", "Retry-After-Ms: 6500", "X-Ratelimit-Reset-Tokens: 6s", "X-Should-Retry: true"}, body: openaiError},
		func(t *testing.T, r reply, rec record) {
			if r.Status != 429 || string(r.Body) != openaiError || r.Header.Get("Retry-After") != "7" || r.Header.Get("Retry-After-Ms") != "6500" ||
				r.Header.Get("X-Ratelimit-Reset-Tokens") != "6s" || r.Header.Get("X-Should-Retry") != "true" {
				t.Errorf("%d %v %s", r.Status, r.Header, r.Body)
			}
		})
	f("JSON under another type", canned{status: 400, header: []string{"Content-Type: application/octet-stream"}, body: openaiError}, func(t *testing.T, r reply, rec record) {
		if r.Status != 400 || string(r.Body) != openaiError {
			t.Errorf("%d %s", r.Status, r.Body)
		}
	})
	f("bare string error", canned{status: 400, header: []string{json}, body: `{"code":"x","error":"bare"}`}, func(t *testing.T, r reply, rec record) {
		if r.Status != 400 || string(r.Body) != `{"code":"x","error":"bare"}` {
			t.Errorf("%d %s", r.Status, r.Body)
		}
	})
	g.SecretFree(t)
}

// A provider's 1xx answers are swallowed.
func TestInterimAnswers(t *testing.T) {
	p := harness.NewProvider(t, func(x *exchange) bool {
		x.Write([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"), whole)
		return ok(chatReply).serve(whole)(x)
	})
	g := start(t, relayTo(p, "openai"))
	r := g.Send(t, "POST", "/v1/chat/completions", chatRequest)
	if r.Status != 200 || r.Header.Get("Link") != "" {
		t.Errorf("%d %v", r.Status, r.Header)
	}
	sameBytes(t, "reply", r.Body, []byte(chatReply))
}

// A cut stream is never passed off as a finished one.
func TestCutStreams(t *testing.T) {
	const usage = `,"stream_options":{"include_usage":true}}`
	asked := strings.TrimSuffix(chatStreamRequest, "}") + usage
	streams := []struct {
		kind, path, request string
		begin, rest         string // rest begins with a whole event that does not finish the stream
		fault               string // of the error event that we add
		end                 string // never seen
		finished, closing   string
	}{
		{"openai", "/v1/chat/completions", asked, chatStart + chatDelta, chatDelta, `data: {"error":`, "[DONE]", chatStart + chatDelta + chatFinish, chatDone},
		{"openai", "/v1/chat/completions", chatStreamRequest, chatStart + chatDelta, chatDelta, `data: {"error":`, "[DONE]", chatStart + chatDelta + chatFinish, chatDone},
		{"anthropic", "/v1/messages", messageStreamRequest, messageStart + messageBlock, messageDelta, "event: error\ndata: {", "message_stop", messageStart + messageBlock + messageDelta + messageFinish, messageStop},
		{"openai", "/v1/responses", responsesRequest, responsesStart, strings.SplitAfter(responsesStart, "\n\n")[1], "event: error\ndata: {", "response.completed", responsesStart + responsesEnd, ""},
	}
	for i, s := range streams {
		p := harness.NewProvider(t, nil)
		g := start(t, relayTo(p, s.kind))
		play := func(text string, end func(x *exchange)) reply {
			t.Helper()
			time.Sleep(lag) // the gateway has noticed that the last connection was closed
			p.Play(func(x *exchange) bool {
				x.Write([]byte(events("").head()+harness.Chunk(text)), whole)
				time.Sleep(lag) // a reset may overtake what has not been read
				end(x)
				return false
			})
			return g.Send(t, "POST", s.path, s.request)
		}
		ends := map[string]func(*exchange){
			"closed":       func(x *exchange) {},
			"reset":        (*exchange).Reset,
			"in a chunk":   func(x *exchange) { x.Write([]byte("ffff\r\n"), whole) },
			"a bad chunk":  func(x *exchange) { x.Write([]byte("xyz\r\n\r\n"), whole) },
			"clean end":    func(x *exchange) { x.Write([]byte("0\r\n\r\n"), whole) },
			"half-closed":  func(x *exchange) { _ = x.Conn.(*net.TCPConn).CloseWrite() },
			"second reply": func(x *exchange) { x.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"), whole) },
		}
		for name, end := range ends {
			t.Run(fmt.Sprintf("%s %d/boundary/%s", s.path, i, name), func(t *testing.T) {
				r := play(s.begin, end)
				text := string(r.Body)
				if r.Status != 200 || !strings.HasPrefix(text, s.begin) {
					t.Fatalf("%d %q", r.Status, text)
				}
				if added := text[len(s.begin):]; !strings.HasPrefix(added, s.fault) || strings.Contains(text, s.end) {
					t.Errorf("added at the cut: %q", added)
				}
				if r.Cut == nil {
					t.Error("the reply ended cleanly")
				}
				rec := g.Next(t)
				if rec.Status != 200 || rec.ErrorType == "" || !rec.Stream || rec.FinishReason == "stop" || rec.ResponseBytes != int64(len(r.Body)) {
					t.Errorf("record: %+v (the client got %d bytes)", rec, len(r.Body))
				}
			})
			t.Run(fmt.Sprintf("%s %d/inside/%s", s.path, i, name), func(t *testing.T) {
				part := s.begin + s.rest[:len(s.rest)/2]
				r := play(part, end)
				text := string(r.Body)
				// What stands of the cut event may be held back where a stream is altered.
				if r.Status != 200 || !strings.HasPrefix(part, text) || !strings.HasPrefix(text, s.begin) || (text != part && s.request != chatStreamRequest) {
					t.Errorf("%d %q", r.Status, text)
				}
				if r.Cut == nil {
					t.Error("the reply ended cleanly")
				}
				if rec := g.Next(t); rec.Status != 200 || rec.ErrorType == "" {
					t.Errorf("record: %+v", rec)
				}
			})
		}
		if s.closing == "" {
			continue
		}
		t.Run(fmt.Sprintf("%s %d/finished without its closing marker", s.path, i), func(t *testing.T) {
			r := play(s.finished, ends["clean end"])
			sameBytes(t, "reply", r.Body, []byte(s.finished))
			if r.Cut != nil {
				t.Errorf("the reply ended in %v", r.Cut)
			}
			if rec := g.Next(t); rec.ErrorType != "" || rec.FinishReason == "" {
				t.Errorf("record: %+v", rec)
			}
		})
	}
}

// An error event from the provider passes as it is and is the end.
func TestErrorEvent(t *testing.T) {
	f := func(kind, path, request, text, errorType string) {
		t.Run(path, func(t *testing.T) {
			p := harness.NewProvider(t, events(text).serve(byEvent))
			g := start(t, relayTo(p, kind))
			r := g.Send(t, "POST", path, request)
			sameBytes(t, "reply", r.Body, []byte(text))
			if rec := g.Next(t); rec.Status != 200 || rec.ErrorType != errorType {
				t.Errorf("record: %+v", rec)
			}
		})
	}
	f("openai", "/v1/chat/completions", chatStreamRequest, chatStart+chatDelta+`data: {"error":{"message":"no","type":"server_error","param":null,"code":null}}`+"\n\n", "server_error")
	f("anthropic", "/v1/messages", messageStreamRequest, messageStart+messageBlock+"event: error\ndata: "+anthropicError+"\n\n", "overloaded_error")
}

// Events that are not JSON, and events of any size, pass unchanged.
func TestOddEvents(t *testing.T) {
	p := harness.NewProvider(t, nil)
	g := start(t, relayTo(p, "openai"))
	f := func(name, odd string) {
		t.Run(name, func(t *testing.T) {
			text := chatStart + odd + chatDelta + chatFinish + chatDone
			p.Play(events(text).serve(100_000))
			r := g.Send(t, "POST", "/v1/chat/completions", chatStreamRequest)
			sameBytes(t, "reply", r.Body, []byte(text))
			if r.Cut != nil {
				t.Errorf("the reply ended in %v", r.Cut)
			}
			if rec := g.Next(t); rec.FinishReason != "stop" {
				t.Errorf("record: %+v", rec)
			}
		})
	}
	f("cut JSON", "data: {\"choices\":[{\n\n")
	f("not JSON", "data: hello\n\n")
	f("a comment", ": PROCESSING\n\n")
	f("fields nobody knows", "id: 7\nretry: 10\nevent: x\ndata: {}\nfoo\n\n")
	f("invalid UTF-8", "data: {\"x\":\"\xff\"}\n\n")
	f("blank lines", "\n\n\n\n")
	f("an event of 2 MiB", `data: {"choices":[{"index":0,"delta":{"content":"`+strings.Repeat("x", 2<<20)+`"},"finish_reason":null}]}`+"\n\n")
	f("a reply of 4 MiB", strings.Repeat(chatDelta, (4<<20)/len(chatDelta)))
}

// Replies that are not what was asked for pass as they are, unless they cannot be an answer, and do not hang.
func TestOddReplies(t *testing.T) {
	p := harness.NewProvider(t, nil)
	g := start(t, relayTo(p, "openai"))
	f := func(name, path, request string, answer canned, errorType string) {
		t.Run(name, func(t *testing.T) {
			p.Play(answer.serve(whole))
			r := g.Send(t, "POST", path, request)
			if r.Status != answer.status || r.Cut != nil {
				t.Errorf("%d, ended in %v", r.Status, r.Cut)
			}
			sameBytes(t, "reply", r.Body, []byte(answer.body))
			if rec := g.Next(t); rec.Status != answer.status || rec.ErrorType != errorType {
				t.Errorf("record: %+v", rec)
			}
		})
	}
	const chat = "/v1/chat/completions"
	f("plain for a stream", chat, chatStreamRequest, ok(chatReply), "")
	f("a stream for plain", chat, chatRequest, events(chatStream), "")
	f("audio", "/v1/audio/speech", chatRequest, canned{status: 200, header: []string{"Content-Type: audio/wav"}, body: "RIFF\x00\xff" + strings.Repeat("\x01", 100_000)}, "")
	f("no content type", chat, chatRequest, canned{status: 200, body: chatReply}, "")
	f("not JSON", chat, chatRequest, canned{status: 200, header: []string{"Content-Type: application/json"}, body: "{\"choices\": [oops"}, "reply_invalid")
	f("201", chat, chatRequest, canned{status: 201, header: []string{"Content-Type: application/json"}, body: chatReply}, "")

	t.Run("204", func(t *testing.T) {
		p.Play(func(x *exchange) bool {
			x.Write([]byte("HTTP/1.1 204 No Content\r\n\r\n"), whole)
			return true
		})
		if r := g.Send(t, "POST", "/v1/chat/completions", chatRequest); r.Status != 204 || len(r.Body) > 0 {
			t.Errorf("%d %s", r.Status, r.Body)
		}
		if rec := g.Next(t); rec.Status != 204 || rec.ResponseBytes != 0 {
			t.Errorf("record: %+v", rec)
		}
	})
	t.Run("error in a 200", func(t *testing.T) {
		p.Play(ok(openaiError).serve(whole))
		r := g.Send(t, "POST", "/v1/chat/completions", chatRequest)
		sameBytes(t, "reply", r.Body, []byte(openaiError))
		if rec := g.Next(t); rec.ErrorType != "insufficient_quota" {
			t.Errorf("record: %+v", rec)
		}
	})
	t.Run("trailers", func(t *testing.T) {
		p.Play(func(x *exchange) bool {
			x.Write([]byte(events("").head()+harness.Chunk(chatStream)+"0\r\nX-Late: 1\r\nSet-Cookie: a=b\r\n\r\n"), whole)
			return true
		})
		r := g.Raw(t, []byte(wireRequest("POST", "/v1/chat/completions", chatStreamRequest)), whole)
		sameBytes(t, "reply", r.Body, []byte(chatStream))
		if r.Cut != nil || r.Header.Get("Trailer") != "" {
			t.Errorf("%v, ended in %v", r.Header, r.Cut)
		}
		g.Next(t)
	})
}

// A plain reply that is shorter than it says is a read error for the client.
func TestShortReply(t *testing.T) {
	p := harness.NewProvider(t, nil)
	g := start(t, relayTo(p, "openai"))
	f := func(name string, answer string) {
		t.Run(name, func(t *testing.T) {
			p.Play(func(x *exchange) bool { x.Write([]byte(answer), whole); return false })
			r, err := g.Try(g.Request(context.Background(), "POST", "/v1/chat/completions", chatRequest))
			rec := g.Next(t)
			if err == nil && r.Status == 200 && r.Cut == nil {
				t.Errorf("a clean end with %d bytes; record %+v", len(r.Body), rec)
			}
			if rec.ErrorType == "" {
				t.Errorf("record: %+v", rec)
			}
		})
	}
	head := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	f("content-length", head+"Content-Length: 5000\r\n\r\n"+chatReply)
	f("a byte short", head+fmt.Sprintf("Content-Length: %d\r\n\r\n", len(chatReply)+1)+chatReply)
	f("chunked", head+"Transfer-Encoding: chunked\r\n\r\n"+harness.Chunk(chatReply))
	f("in a chunk", head+"Transfer-Encoding: chunked\r\n\r\nffff\r\n"+chatReply)
	f("nothing of 500 KiB", head+"Content-Length: 512000\r\n\r\n")

	t.Run("ended by the connection", func(t *testing.T) {
		p.Play(func(x *exchange) bool { x.Write([]byte(head+"\r\n"+chatReply), whole); return false })
		r := g.Send(t, "POST", "/v1/chat/completions", chatRequest)
		sameBytes(t, "reply", r.Body, []byte(chatReply))
		g.Next(t)
	})
	t.Run("longer than it says", func(t *testing.T) {
		p.Play(func(x *exchange) bool {
			x.Write([]byte(strings.Join(ok(chatReply).pieces(), "")+"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsmuggled!"), whole)
			return true
		})
		for range 3 {
			r := g.Send(t, "POST", "/v1/chat/completions", chatRequest)
			sameBytes(t, "reply", r.Body, []byte(chatReply))
			g.Next(t)
		}
	})
}

// A provider closes idle connections: no request fails, none is sent twice.
func TestStaleConnections(t *testing.T) {
	f := func(name string, answer script) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := harness.NewProvider(t, answer)
			g := start(t, relayTo(p, "openai"))
			for i := range 30 {
				if r := g.Send(t, "POST", "/v1/chat/completions", chatRequest); r.Status != 200 {
					t.Fatalf("request %d: %d %s", i, r.Status, r.Body)
				}
				time.Sleep(lag)
			}
			if n := p.Count(); n != 30 {
				t.Errorf("%d requests reached the provider, want 30", n)
			}
			g.Expect(t, 30)
		})
	}
	f("closed behind each answer", func(x *exchange) bool { ok(chatReply).serve(whole)(x); return false })
	f("reset behind each answer", func(x *exchange) bool {
		ok(chatReply).serve(whole)(x)
		time.Sleep(lag / 4) // the answer before the reset
		x.Reset()
		return false
	})
}

// A provider that compresses unasked is still understood.
func TestUnaskedGzip(t *testing.T) {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, _ = io.WriteString(zip, chatReply)
	zip.Close()
	p := harness.NewProvider(t, canned{status: 200, header: []string{"Content-Type: application/json", "Content-Encoding: gzip"}, body: packed.String()}.serve(whole))
	g := start(t, relayTo(p, "openai"))
	r := g.Send(t, "POST", "/v1/chat/completions", chatRequest)
	body := r.Body
	switch r.Header.Get("Content-Encoding") {
	case "gzip":
		unzip, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		body, _ = io.ReadAll(unzip)
	case "":
	default:
		t.Errorf("content-encoding %q", r.Header.Get("Content-Encoding"))
	}
	sameBytes(t, "reply", body, []byte(chatReply))
	if got := p.Last(t).Header.Get("Accept-Encoding"); got != "" && got != "identity" {
		t.Errorf("the provider was offered %q", got)
	}
	g.Next(t)
}

// A bomb in a provider's reply is cut, not unpacked into memory.
func TestGzipBomb(t *testing.T) {
	var packed bytes.Buffer
	zip, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	zeros := make([]byte, 1<<20)
	for range 512 {
		_, _ = zip.Write(zeros)
	}
	zip.Close()
	p := harness.NewProvider(t, canned{status: 400, header: []string{"Content-Type: application/json", "Content-Encoding: gzip"}, body: packed.String()}.serve(whole))
	g := start(t, relayTo(p, "openai"))
	r := g.Send(t, "POST", "/v1/chat/completions", chatRequest)
	if len(r.Body) > 128<<20 {
		t.Errorf("%d bytes reached the client", len(r.Body))
	}
	g.Next(t)
}
