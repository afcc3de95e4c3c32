package dialect_test

// How fast request bodies are scanned. Run with -bench=Parse; the GB/s metric is the one to watch.

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"proxycast/upstream/dialect"
)

// turns are what conversations are made of: prose, code with its line breaks and quotes, a diff, another script.
var turns = []string{
	"The relay copies each event as soon as it has arrived, so a slow reader never holds more than one buffer. Could you explain what happens when the provider closes the connection in the middle of an event, and who is told about it?\n\nI would expect the client to see an error rather than an answer that looks finished.",
	"func (s *Store) Add(rec Record) error {\n\ts.mu.Lock()\n\tdefer s.mu.Unlock()\n\tif s.closed {\n\t\treturn fmt.Errorf(\"logs: add %q: %w\", rec.ID, ErrClosed)\n\t}\n\tline, err := json.Marshal(rec)\n\tif err != nil {\n\t\treturn err\n\t}\n\t_, err = s.file.Write(append(line, '\\n'))\n\treturn err\n}\n",
	"--- a/config.json\n+++ b/config.json\n@@ -1,4 +1,4 @@\n {\n-  \"listen\": \":8080\",\n+  \"listen\": \"127.0.0.1:8080\",\n   \"keys\": [\"laptop\", \"ci\"]\n }\n",
	"Grüße aus Köln! 流式传输在连接中断时应该如何处理？请给出一个例子，并解释为什么不能重试。",
}

// chatBody returns a chat request of at least size bytes, as an SDK would write it. The Python SDK puts the model last.
func chatBody(size int, modelLast bool) []byte {
	var messages strings.Builder
	for i := 0; messages.Len() < size-100; i++ {
		role := [...]string{"user", "assistant"}[i%2]
		content, _ := json.Marshal(turns[i%len(turns)])
		if i > 0 {
			messages.WriteByte(',')
		}
		fmt.Fprintf(&messages, `{"role":%q,"content":%s}`, role, content)
	}
	if modelLast {
		return fmt.Appendf(nil, `{"messages":[%s],"model":"gpt-4o-mini","stream":true,"temperature":0.2}`, messages.String())
	}
	return fmt.Appendf(nil, `{"model":"gpt-4o-mini","stream":true,"temperature":0.2,"messages":[%s]}`, messages.String())
}

// toolBody returns a request whose bulk is the schemas of n tools: many short tokens, the worst case for a scanner of strings.
func toolBody(n int) []byte {
	var tools strings.Builder
	for i := range n {
		if i > 0 {
			tools.WriteByte(',')
		}
		fmt.Fprintf(&tools, `{"name":"tool_%d","description":"Reads a range of lines from a file.","input_schema":{"type":"object","properties":{"path":{"type":"string"},"line":{"type":"integer","minimum":1,"maximum":100000},"mode":{"type":"string","enum":["r","w","a"],"default":"r"},"tags":{"type":"array","items":{"type":"string"}},"dry":{"type":"boolean","default":false}},"required":["path","line"],"additionalProperties":false}}`, i)
	}
	return fmt.Appendf(nil, `{"tools":[%s],"model":"claude-sonnet-4-5","max_tokens":1024,"messages":[{"role":"user","content":"hi"}]}`, tools.String())
}

func BenchmarkParse(b *testing.B) {
	bench := func(name string, body []byte) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := dialect.Parse(dialect.ChatCompletions, body); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(body))*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GB/s")
		})
	}
	bench("1KB", chatBody(1<<10, false))
	bench("1KB/model-last", chatBody(1<<10, true))
	bench("100KB", chatBody(100<<10, false))
	bench("100KB/model-last", chatBody(100<<10, true))
	bench("1MB", chatBody(1<<20, false))
	bench("1MB/model-last", chatBody(1<<20, true))
	bench("tools", toolBody(100))
	bench("escapes", fmt.Appendf(nil, `{"model":"gpt-4o","messages":[{"role":"assistant","content":"%s"}]}`, strings.Repeat(`{\"path\":\"main.go\",\n\t\t\"line\":12}`, 1000)))
	bench("image", fmt.Appendf(nil, `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,%s"}}]}],"model":"gpt-4o"}`, strings.Repeat("iVBORw0KGgoAAAAN", 1<<16)))
}

func BenchmarkModel(b *testing.B) {
	q, err := dialect.Parse(dialect.ChatCompletions, chatBody(1<<10, false))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if q.Model() == "" {
			b.Fatal("no model")
		}
	}
}

func BenchmarkSplice(b *testing.B) {
	q, err := dialect.Parse(dialect.ChatCompletions, chatBody(1<<10, false))
	if err != nil {
		b.Fatal(err)
	}
	bench := func(name, model string, includeUsage bool) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if len(q.Splice(model, includeUsage)) == 0 {
					b.Fatal("no body")
				}
			}
		})
	}
	bench("unchanged", "gpt-4o-mini", false)
	bench("both", "mistral-small-latest", true)
}
