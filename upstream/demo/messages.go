// Anthropic messages, and their count. https://platform.claude.com/docs/en/api/messages

package demo

import "encoding/json"

func (c call) countTokens() (reply, error) {
	_, p, err := c.read("messages", "user", "assistant", "system")
	if err != nil {
		return reply{}, err
	}
	return reply{body: fill(`{"input_tokens":%s}`, p.tokens)}, nil
}

func (c call) messages() (reply, error) {
	q, p, err := c.read("messages", "user", "assistant", "system")
	if err != nil {
		return reply{}, err
	}
	if q.MaxTokens == nil {
		return reply{}, missing("max_tokens")
	}
	a := p.answer()
	if q.Stream {
		return reply{script: c.messageScript(p.tokens, a)}, nil
	}
	block := fill(`{"type":"text","text":%s}`, a.text())
	if a.tool != "" {
		block = fill(`{"type":"tool_use","id":%s,"name":%s,"input":%s}`, newID("toolu_"), a.tool, a.arguments())
	}
	return reply{body: c.message(fill(`[%s]`, block), a.stopReason(), messageUsage(p.tokens, len(a.tokens))), words: len(a.tokens)}, nil
}

// message returns a reply, or the beginning of a streamed one.
func (c call) message(content json.RawMessage, stopReason any, usage json.RawMessage) json.RawMessage {
	return fill(`{"id":%s,"type":"message","role":"assistant","model":%s,"content":%s,"stop_reason":%s,"stop_sequence":null,"usage":%s}`,
		newID("msg_"), c.model, content, stopReason, usage)
}

func messageUsage(input, output int) json.RawMessage {
	return fill(`{"input_tokens":%s,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":%s}`, input, output)
}

func (a answer) stopReason() string {
	switch {
	case a.limited:
		return "max_tokens"
	case a.tool != "":
		return "tool_use"
	}
	return "end_turn"
}

// messageScript streams a as the one block of a message.
func (c call) messageScript(inputTokens int, a answer) *script {
	s := &script{pace: c.behavior.pace}
	s.event("message_start", fill(`{"type":"message_start","message":%s}`, c.message(fill(`[]`), nil, messageUsage(inputTokens, 0))))
	block, delta := fill(`{"type":"text","text":""}`), `{"type":"text_delta","text":%s}`
	if a.tool != "" {
		block = fill(`{"type":"tool_use","id":%s,"name":%s,"input":{}}`, newID("toolu_"), a.tool)
		delta = `{"type":"input_json_delta","partial_json":%s}`
	}
	s.event("content_block_start", fill(`{"type":"content_block_start","index":0,"content_block":%s}`, block))
	s.event("ping", fill(`{"type":"ping"}`))
	for _, token := range a.tokens {
		s.token("content_block_delta", fill(`{"type":"content_block_delta","index":0,"delta":%s}`, fill(delta, token)))
	}
	s.event("content_block_stop", fill(`{"type":"content_block_stop","index":0}`))
	s.event("message_delta", fill(`{"type":"message_delta","delta":{"stop_reason":%s,"stop_sequence":null},"usage":%s}`,
		a.stopReason(), messageUsage(inputTokens, len(a.tokens))))
	s.event("message_stop", fill(`{"type":"message_stop"}`))
	return s
}
