package dialect

// How many input tokens an Anthropic request may have, for want of a provider that counts them.

import (
	"bytes"
	"encoding/json"
)

// Tokens that the API adds to what the request says. Without a source they are measured: recorded counts, less the text.
const (
	tokensPerRequest = 3
	tokensPerMessage = 4     // role and turn markers
	tokensPerBlock   = 1     // a content block's own markers
	tokensPerTool    = 20    // how a tool is introduced
	tokensOfThinking = 28    // the instructions that come with extended thinking
	tokensOfTools    = 500   // the system prompt that comes with tools (about 350 to 590, by model and tool_choice)
	tokensOfFormat   = 150   // the instructions that come with a schema for the output
	tokensOfOwnTool  = 1_200 // the description of a tool that Anthropic defines (web search, code execution, computer use, …)
)

// Tokens of a PDF, by its size: it is not opened. Anthropic's "Web fetch tool" reckons 125,000 tokens for a PDF of 500 kB; its
// "PDF support" names 1,500 to 3,000 tokens for a page and a limit of 100 pages, which are the bounds here.
const (
	tokensOfPageMin  = 1_500
	tokensOfPageMax  = 3_000
	maxPages         = 100
	pdfBytesPerToken = 4
)

// EstimateTokens estimates the input tokens of the body of an Anthropic messages or count_tokens request: its system prompt,
// messages and tools, images and documents included. It is meant to be right within a factor of two; what the request does
// not show (files by URL or id, instructions that the API adds for citations) is a guess or left out.
//
// It never fails: what it does not know counts by the length of its text, a body that is not a JSON object as a whole.
func EstimateTokens(body []byte) int64 {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var request map[string]any
	if dec.Decode(&request) != nil {
		return estimateText(string(body))
	}

	// The recursion below is as deep as the body is nested, and encoding/json stops at 10,000.
	total := tokensPerRequest + estimateContent(request["system"])
	messages, _ := request["messages"].([]any)
	for _, message := range messages {
		total += tokensPerMessage
		if m, ok := message.(map[string]any); ok {
			total += estimateContent(m["content"])
		} else {
			total += estimateValue(message)
		}
	}
	tools, _ := request["tools"].([]any)
	if len(tools) > 0 {
		total += tokensOfTools
	}
	for _, tool := range tools {
		total += estimateTool(tool)
	}
	if thinking, ok := request["thinking"].(map[string]any); ok && thinking["type"] != "disabled" {
		total += tokensOfThinking
	}
	if output, ok := request["output_config"].(map[string]any); ok && output["format"] != nil {
		total += tokensOfFormat + estimateValue(output["format"])
	}
	return total
}

// estimateContent counts what stands as the content of a message, a system prompt or a tool result: a string, or blocks.
func estimateContent(content any) int64 {
	switch c := content.(type) {
	case nil:
		return 0
	case string:
		return estimateText(c)
	case []any:
		var total int64
		for _, block := range c {
			total += tokensPerBlock + estimateContent(block)
		}
		return total
	case map[string]any:
		return estimateBlock(c)
	}
	return estimateValue(content)
}

func estimateBlock(block map[string]any) int64 {
	switch block["type"] {
	case "text":
		return estimateContent(block["text"])
	case "thinking":
		return estimateContent(block["thinking"]) // its signature is not shown to the model
	case "redacted_thinking":
		return 0
	case "tool_result":
		return estimateContent(block["content"])
	case "image":
		return estimateImage(block["source"])
	case "document":
		return estimateValue(block["title"]) + estimateValue(block["context"]) + estimateDocument(block["source"])
	}
	return estimateValue(block)
}

func estimateTool(tool any) int64 {
	t, ok := tool.(map[string]any)
	if !ok {
		return estimateValue(tool)
	}
	if t["defer_loading"] == true {
		return 0 // not shown to the model before it searches for it
	}
	total := tokensPerTool + estimateValue(t["name"]) + estimateValue(t["description"]) + estimateValue(t["input_schema"])
	if kind, ok := t["type"].(string); ok && kind != "custom" {
		total += tokensOfOwnTool
	}
	return total
}

// estimateDocument counts the source of a document block.
func estimateDocument(source any) int64 {
	s, _ := source.(map[string]any)
	data, _ := s["data"].(string)
	switch s["type"] {
	case "text":
		return estimateText(data)
	case "content":
		return estimateContent(s["content"])
	case "base64":
		size := int64(len(data)) / 4 * 3
		return min(max(size/pdfBytesPerToken, tokensOfPageMin), maxPages*tokensOfPageMax)
	}
	return tokensOfPageMax // at a URL, or in the provider's file store
}

// estimateValue counts a JSON value by its text, as the model is shown schemas and the input of tools. Members that only the
// API reads are left out.
func estimateValue(value any) int64 {
	switch v := value.(type) {
	case nil:
		return 0
	case string:
		return estimateText(v)
	case json.Number:
		return estimateText(v.String())
	case []any:
		var total int64
		for _, element := range v {
			total += 1 + estimateValue(element)
		}
		return total
	case map[string]any:
		var total int64
		for key, member := range v {
			switch key {
			case "cache_control", "signature", "encrypted_content", "encrypted_index":
			default:
				total += 2 + estimateText(key) + estimateValue(member) // quotes, colon and comma are two tokens or so
			}
		}
		return total
	}
	return 1 // true or false
}

// estimateText counts text by its characters. The weights, in hundredths of a token, follow the rule of thumb of four
// characters per token for English, less in other alphabets, one token for an ideograph, a syllable or a kana.
func estimateText(text string) int64 {
	var hundredths int64
	for _, r := range text {
		switch {
		case 'a' <= r|0x20 && r|0x20 <= 'z':
			hundredths += 23
		case r == ' ':
			hundredths += 6 // a space mostly belongs to the word after it
		case '0' <= r && r <= '9':
			hundredths += 40
		case r < 0x80:
			hundredths += 50 // punctuation and line breaks
		case r < 0x0900:
			hundredths += 50 // Latin with accents, Greek, Cyrillic, Hebrew, Arabic
		case r < 0x10000:
			hundredths += 100
		default:
			hundredths += 200 // emoji, rare ideographs
		}
	}
	return (hundredths + 99) / 100
}
