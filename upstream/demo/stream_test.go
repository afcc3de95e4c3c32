package demo_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// streams are requests for streams of three tokens, without their model.
var streams = map[string]string{
	"/chat/completions": `"messages":[{"role":"user","content":"hi"}],"max_tokens":3,"stream":true}`,
	"/messages":         `"messages":[{"role":"user","content":"hi"}],"max_tokens":3,"stream":true}`,
	"/responses":        `"input":"hi","max_output_tokens":3,"stream":true}`,
}

func open(t *testing.T, ctx context.Context, model, path, body string) *http.Response {
	t.Helper()
	res, err := roundTrip(ctx, http.MethodPost, path, `{"model":"`+model+`",`+body)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestPace(t *testing.T) {
	for model, want := range map[string][]time.Duration{
		"demo-slow": {time.Second, 1300 * time.Millisecond, 1600 * time.Millisecond},
		"demo-1":    {20 * time.Millisecond, 40 * time.Millisecond, 60 * time.Millisecond},
		"demo-fast": {0},
	} {
		for path, body := range streams {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				res := open(t, t.Context(), model, path, body)
				var at []time.Duration
				buf := make([]byte, 64<<10)
				for {
					n, err := res.Body.Read(buf)
					if err == io.EOF {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					if n == 0 || !strings.HasSuffix(string(buf[:n]), "\n\n") {
						t.Errorf("%s %s: a read returns %q", model, path, buf[:n])
					}
					if strings.Contains(string(buf[:n]), "Hello") || len(at) > 0 {
						at = append(at, time.Since(begin))
					}
				}
				if len(at) != len(want) {
					t.Fatalf("%s %s: read at %v, want %v", model, path, at, want)
				}
				for i := range at {
					if at[i] != want[i] {
						t.Errorf("%s %s: read at %v, want %v", model, path, at, want)
					}
				}
			})
		}
	}
}

func TestPaceOfPlainReplies(t *testing.T) {
	for model, want := range map[string]time.Duration{"demo-slow": 1600 * time.Millisecond, "demo-1": 0} {
		for path, body := range streams {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				open(t, t.Context(), model, path, strings.Replace(body, "true", "false", 1))
				if took := time.Since(begin); took != want {
					t.Errorf("%s %s took %v, want %v", model, path, took, want)
				}
			})
		}
	}
}

// A reader that comes late gets what is due and does not shift the rest.
func TestPaceWithASlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		res := open(t, t.Context(), "demo-slow", "/chat/completions", streams["/chat/completions"])
		time.Sleep(1500 * time.Millisecond)
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 1600*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

func TestSmallReads(t *testing.T) {
	for path, body := range streams {
		_, want := post(t, path, `{"model":"demo-fast",`+body)
		res := open(t, t.Context(), "demo-fast", path, body)
		var got strings.Builder
		buf := make([]byte, 3)
		for {
			n, err := res.Body.Read(buf)
			got.Write(buf[:n])
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if mask(got.String()) != mask(want) {
			t.Errorf("%s: got %s, want %s", path, got.String(), want)
		}
	}
}

var errGone = errors.New("the client has gone")

func TestCancel(t *testing.T) {
	t.Run("before", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errGone)
		if _, err := roundTrip(ctx, http.MethodPost, "/chat/completions", `{}`); err != errGone {
			t.Errorf("got %v", err)
		}
	})
	t.Run("while silent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			for path, body := range streams {
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Hour, errGone)
				defer cancel()
				if _, err := roundTrip(ctx, http.MethodPost, path, `{"model":"demo-silent",`+body); err != errGone {
					t.Errorf("%s: got %v", path, err)
				}
			}
		})
	})
	t.Run("before a slow plain reply", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errGone)
			defer cancel()
			if _, err := roundTrip(ctx, http.MethodPost, "/chat/completions", `{"model":"demo-slow","messages":[{"role":"user","content":"hi"}]}`); err != errGone {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("in a stream", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			for path, body := range streams {
				begin := time.Now()
				ctx, cancel := context.WithTimeoutCause(t.Context(), 1100*time.Millisecond, errGone)
				defer cancel()
				res := open(t, ctx, "demo-slow", path, body)
				text, err := io.ReadAll(res.Body)
				if err != errGone || time.Since(begin) != 1100*time.Millisecond || !strings.Contains(string(text), "Hello") {
					t.Errorf("%s: %v after %v and %s", path, err, time.Since(begin), text)
				}
			}
		})
	})
	t.Run("with bytes unread", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		res := open(t, ctx, "demo-fast", "/chat/completions", streams["/chat/completions"])
		cancel(errGone)
		if n, err := res.Body.Read(make([]byte, 1)); n != 0 || err != errGone {
			t.Errorf("got %d, %v", n, err)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		res := open(t, t.Context(), "demo-slow", "/chat/completions", streams["/chat/completions"])
		go func() {
			time.Sleep(time.Millisecond)
			res.Body.Close()
			res.Body.Close()
		}()
		begin := time.Now()
		if text, err := io.ReadAll(res.Body); err == nil || time.Since(begin) != time.Millisecond {
			t.Errorf("read %q, %v after %v", text, err, time.Since(begin))
		}
		if _, err := res.Body.Read(make([]byte, 1)); err == nil {
			t.Error("a closed body can be read")
		}
	})
}

func TestCut(t *testing.T) {
	for path, body := range streams {
		res := open(t, t.Context(), "demo-cut", path, body)
		text, err := io.ReadAll(res.Body)
		if err != io.ErrUnexpectedEOF || !strings.Contains(string(text), "Hello") || !strings.HasSuffix(string(text), "\n\n") {
			t.Errorf("%s: %v after %s", path, err, text)
		}
		for _, terminal := range []string{"DONE", `finish_reason":"`, "message_delta", "message_stop", "response.completed", "response.incomplete"} {
			if strings.Contains(string(text), terminal) {
				t.Errorf("%s: a cut stream has %s", path, terminal)
			}
		}

		res = open(t, t.Context(), "demo-cut", path, strings.Replace(body, "true", "false", 1))
		text, err = io.ReadAll(res.Body)
		if err != io.ErrUnexpectedEOF || len(text) == 0 || int64(len(text)) >= res.ContentLength {
			t.Errorf("%s: %v after %d of %d bytes", path, err, len(text), res.ContentLength)
		}
	}
}
