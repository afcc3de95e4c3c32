package dialect_test

import (
	"io"
	"strings"
	"testing"

	"proxycast/upstream/dialect"
)

const (
	benchChatEvent = `data: {"id":"chatcmpl-CYPS1lijGoK8gd9lYzY3r9Sx50nbt","object":"chat.completion.chunk","created":1762317021,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_cbf1785567","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}],"usage":null}` + "\n\n"
	benchTextDelta = "event: content_block_delta\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" The next few words."}}` + "\n\n"
)

func BenchmarkSniffer(b *testing.B) {
	perEvent := func(name string, e dialect.Endpoint, event string) {
		b.Run(name, func(b *testing.B) {
			s := dialect.NewSniffer(e, true)
			p := []byte(event)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				s.Write(p)
			}
		})
	}
	perEvent("chat event", dialect.ChatCompletions, benchChatEvent)
	perEvent("messages event", dialect.Messages, benchTextDelta)

	b.Run("plain reply of 1 MB", func(b *testing.B) {
		p := []byte(`{"choices":[{"index":0,"message":{"role":"assistant","content":"` +
			strings.Repeat(`A line of text that somebody asked for, with a break at its end.\n`, 1<<20/66) +
			`"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":300000}}`)
		b.SetBytes(int64(len(p)))
		b.ReportAllocs()
		for b.Loop() {
			dialect.NewSniffer(dialect.ChatCompletions, false).Write(p)
		}
	})
	b.Run("base64 reply of 1 MB", func(b *testing.B) {
		p := []byte(`{"data":[{"embedding":"` + strings.Repeat("zczMPQAA", 1<<17) + `"}],"usage":{"prompt_tokens":9}}`)
		b.SetBytes(int64(len(p)))
		b.ReportAllocs()
		for b.Loop() {
			dialect.NewSniffer(dialect.Embeddings, false).Write(p)
		}
	})
}

func BenchmarkStripper(b *testing.B) {
	run := func(name string, writes ...string) {
		b.Run(name, func(b *testing.B) {
			t := dialect.NewStripper(dialect.NewSniffer(dialect.ChatCompletions, true), io.Discard)
			parts, size := [][]byte{}, 0
			for _, w := range writes {
				parts = append(parts, []byte(w))
				size += len(w)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				for _, p := range parts {
					t.Write(p)
				}
			}
		})
	}
	run("whole event", benchChatEvent)
	run("event in two halves", benchChatEvent[:150], benchChatEvent[150:])
}
