package dialect_test

import (
	"bytes"
	"io"
	"testing"

	"proxycast/upstream/dialect"
)

// A Reply passes the provider's bytes, less the usage event that was asked for, and tells what they say, however they are split.
func TestReply(t *testing.T) {
	withUsage := events(helloChunk, finishChunk, usageChunk, "[DONE]")
	for _, f := range []struct {
		name     string
		endpoint dialect.Endpoint
		options  dialect.ReplyOptions
		in, out  string
		usage    string
		reason   string
		boundary bool
	}{
		{"stream", dialect.ChatCompletions, dialect.ReplyOptions{Stream: true}, withUsage, withUsage, "11/7", "stop", true},
		{"stream with usage asked for", dialect.ChatCompletions, dialect.ReplyOptions{Stream: true, StripUsage: true}, withUsage, events(helloChunk, finishChunk, "[DONE]"), "11/7", "stop", true},
		{"plain", dialect.ChatCompletions, dialect.ReplyOptions{StripUsage: true}, chatReply, chatReply, "3/2", "length", false},
		{"encoded", dialect.ChatCompletions, dialect.ReplyOptions{Stream: true, Encoded: true, StripUsage: true}, withUsage, withUsage, usageText(nil, nil), "", false},
	} {
		t.Run(f.name, func(t *testing.T) {
			for _, pieces := range splits(f.in) {
				var out bytes.Buffer
				r := dialect.NewReply(f.endpoint, f.endpoint, f.options, &out)
				if r.Content() {
					t.Fatal("content before the first byte")
				}
				for _, piece := range pieces {
					if n, err := io.WriteString(r, piece); n != len(piece) || err != nil {
						t.Fatalf("took %d of %d bytes: %v", n, len(piece), err)
					}
				}
				if err := r.Close(); err != nil || out.String() != f.out {
					t.Fatalf("in %d pieces: %v\ngot  %q\nwant %q", len(pieces), err, out.String(), f.out)
				}
				u := r.Usage()
				if got := usageText(u.Input, u.Output); got != f.usage || r.FinishReason() != f.reason {
					t.Errorf("usage %s, reason %q; want %s, %q", got, r.FinishReason(), f.usage, f.reason)
				}
				if !r.Content() || !r.Finished() || r.Failed() || r.Malformed() != 0 || r.ErrorType() != "" || r.AtBoundary() != f.boundary {
					t.Errorf("content %v, finished %v, failed %v, malformed %d, error %q, at a boundary %v",
						r.Content(), r.Finished(), r.Failed(), r.Malformed(), r.ErrorType(), r.AtBoundary())
				}
			}
		})
	}
}

const chatReply = `{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}`

// A reply that reports an error has failed, and one that its end has cut is not finished; what is held then passes.
func TestReplyFailures(t *testing.T) {
	var out bytes.Buffer
	o := dialect.ReplyOptions{Stream: true, StripUsage: true}
	r := dialect.NewReply(dialect.ChatCompletions, dialect.ChatCompletions, o, &out)
	failure := `data: {"error":{"message":"no","type":"server_error","code":"busy"}}` + "\n\n"
	io.WriteString(r, failure)
	if !r.Failed() || r.Finished() || r.ErrorType() != "server_error" || out.String() != failure {
		t.Errorf("failed %v, finished %v, error %q, passed %q", r.Failed(), r.Finished(), r.ErrorType(), out.String())
	}

	out.Reset()
	r = dialect.NewReply(dialect.ChatCompletions, dialect.ChatCompletions, o, &out)
	cut := events(helloChunk) + "data: {\"choices\""
	io.WriteString(r, cut)
	if r.Finished() || r.AtBoundary() || out.String() != events(helloChunk) {
		t.Errorf("finished %v, at a boundary %v, passed %q", r.Finished(), r.AtBoundary(), out.String())
	}
	if err := r.Close(); err != nil || out.String() != cut {
		t.Errorf("%v, passed %q", err, out.String())
	}

	r = dialect.NewReply(dialect.ChatCompletions, dialect.ChatCompletions, o, &narrowWriter{room: 7})
	if n, err := io.WriteString(r, events(helloChunk)); n != 7 || err != errNarrow {
		t.Errorf("a writer that fails: %d bytes, %v", n, err)
	}
}
