//go:build linux

// The mock provider: OpenAI's chat completions and Anthropic's messages, in JSON or as
// server-sent events, each event with the time at which it was sent.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// mark stands before the send time of a chunk: stampDigits of nanoseconds since 1970. No
// other text of a reply contains it.
const (
	mark        = '@'
	stampDigits = 19
)

// script is how the provider answers.
type script struct {
	Chunks int           // events with content in a stream; 0: JSON, not a stream
	Pace   time.Duration // from chunk to chunk; 0: as fast as it can
}

type mock struct {
	script atomic.Pointer[script]
	served atomic.Int64 // requests
}

// dialect is the wire form of a provider's replies.
type dialect struct {
	path                      string
	reply                     string // the JSON body
	start, before, after, end string // a stream: its first events, a chunk around its stamp, its last events
}

var prose = strings.Repeat("All work and no play makes Jack a dull boy. ", 16)

var openai = dialect{
	path: "/v1/chat/completions",
	reply: `{"id":"c1","object":"chat.completion","created":1,"model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":"` + prose + `","refusal":null},"logprobs":null,"finish_reason":"stop"}],` +
		`"usage":{"prompt_tokens":11,"completion_tokens":3,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":4}}}`,
	start:  chatEvent(`[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}]`, "null"),
	before: `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m-1","choices":[{"index":0,"delta":{"content":"`,
	after:  `"},"finish_reason":null}],"usage":null}` + "\n\n",
	end: chatEvent(`[{"index":0,"delta":{},"finish_reason":"stop"}]`, "null") +
		chatEvent(`[]`, `{"prompt_tokens":11,"completion_tokens":3,"total_tokens":14}`) + "data: [DONE]\n\n",
}

func chatEvent(choices, usage string) string {
	return `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m-1","choices":` + choices + `,"usage":` + usage + "}\n\n"
}

var anthropic = dialect{
	path: "/v1/messages",
	reply: `{"id":"msg_1","type":"message","role":"assistant","model":"claude-1","content":[{"type":"text","text":"` + prose + `"}],"stop_reason":"end_turn","stop_sequence":null,` +
		`"usage":{"input_tokens":7,"cache_read_input_tokens":5,"cache_creation_input_tokens":2,"output_tokens":3}}`,
	start: messageEvent("message_start", `"message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-1","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":7,"output_tokens":1}}`) +
		messageEvent("content_block_start", `"index":0,"content_block":{"type":"text","text":""}`),
	before: "event: content_block_delta\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"`,
	after:  `"}}` + "\n\n",
	end: messageEvent("content_block_stop", `"index":0`) +
		messageEvent("message_delta", `"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":9}`) +
		"event: message_stop\n" + `data: {"type":"message_stop"}` + "\n\n",
}

func messageEvent(kind, fields string) string {
	return fmt.Sprintf("event: %s\ndata: {\"type\":%q,%s}\n\n", kind, kind, fields)
}

// listenMock starts a provider on a port of loopback; it answers until the process ends.
func listenMock() (*mock, string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	m := &mock{}
	m.script.Store(&script{})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go m.serve(conn)
		}
	}()
	return m, l.Addr().String(), nil
}

// serve answers the requests of one connection until one fails.
func (m *mock) serve(conn net.Conn) {
	defer conn.Close()
	in, buf := bufio.NewReaderSize(conn, 16<<10), make([]byte, 4<<10)
	for {
		h, err := readHead(in)
		if err != nil {
			return
		}
		if h.length >= 0 || h.chunked {
			if readBody(in, h, io.Discard, buf) != nil {
				return
			}
		}
		target, now := strings.Fields(h.first + "  /")[1], m.script.Load()
		if query, ok := strings.CutPrefix(target, "/script?"); ok {
			err = m.follow(query, conn)
		} else if d := dialectOf(target); now.Chunks > 0 {
			m.served.Add(1)
			err = d.stream(conn, *now)
		} else {
			m.served.Add(1)
			_, err = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(d.reply), d.reply)
		}
		if err != nil {
			return
		}
	}
}

// follow takes a new script from a request's query.
func (m *mock) follow(query string, conn net.Conn) error {
	values, _ := url.ParseQuery(query)
	chunks, err := strconv.Atoi(values.Get("chunks"))
	if err != nil {
		return err
	}
	pace, err := time.ParseDuration(values.Get("pace"))
	if err != nil {
		return err
	}
	m.script.Store(&script{chunks, pace})
	_, err = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
	return err
}

func dialectOf(path string) *dialect {
	if strings.HasSuffix(path, "/messages") {
		return &anthropic
	}
	return &openai
}

// stream sends each event in a write and an HTTP chunk of its own, as providers do.
func (d *dialect) stream(w io.Writer, s script) error {
	if _, err := fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(d.start), d.start); err != nil {
		return err
	}
	stamp := strings.Repeat("0", stampDigits)
	size := len(d.before) + 1 + stampDigits + len(d.after)
	frame := fmt.Appendf(nil, "%x\r\n%s%c%s%s\r\n", size, d.before, mark, stamp, d.after)
	digits := frame[bytes.IndexByte(frame, mark)+1:][:stampDigits]
	begin := time.Now()
	for i := range s.Chunks {
		if s.Pace > 0 {
			time.Sleep(time.Until(begin.Add(time.Duration(i+1) * s.Pace)))
		}
		strconv.AppendInt(digits[:0], time.Now().UnixNano(), 10)
		if _, err := w.Write(frame); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%x\r\n%s\r\n0\r\n\r\n", len(d.end), d.end)
	return err
}
