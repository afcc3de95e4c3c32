package dialect

// How many input tokens an Anthropic request may have, for want of a provider that counts them.

import "unicode/utf8"

// Tokens that the API adds to what the request says. Without a source they are measured: recorded counts, less the
// text.
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

// Tokens of a PDF, by its size: it is not opened. Anthropic's "Web fetch tool" reckons 125,000 tokens for a PDF of
// 500 kB; its "PDF support" names 1,500 to 3,000 tokens for a page and a limit of 100 pages, which are the bounds
// here.
const (
	tokensOfPageMin  = 1_500
	tokensOfPageMax  = 3_000
	maxPages         = 100
	pdfBytesPerToken = 4
)

// maxContentNesting is how deep content stands in content: a tool's result has a document, which has blocks. What a
// client nests deeper counts by its text.
const maxContentNesting = 6

// EstimateTokens estimates the input tokens of a request's body: its system prompt, messages and tools, images and
// documents included. What it knows best are Anthropic's messages and count_tokens; chat completions and responses
// are told by the same rules. It is meant to be right within a factor of two; what the request does not show (files
// by URL or id, instructions that the API adds for citations) is a guess or left out.
//
// It never fails: what it does not know counts by the length of its text, a body that is not a JSON object as a
// whole. It reads the body where it stands and needs no memory for it.
func EstimateTokens(body []byte) int64 {
	request := newValue(body)
	if request == nil {
		return int64(len(body)) / 4
	}
	total := tokensPerRequest + estimateContent(request.get("system"), 0) + estimateContent(request.get("instructions"), 0)
	for _, name := range []string{"prompt", "query", "documents"} { // of text completions and ranks
		total += estimateValue(request.get(name))
	}
	for _, name := range []string{"messages", "input"} {
		messages := request.get(name)
		if !messages.isArray() {
			total += estimateValue(messages)
		}
		for message := range messages.elements() {
			total += tokensPerMessage
			if content := message.get("content"); content != nil {
				total += estimateContent(content, 0) + estimateValue(message.get("tool_calls"))
			} else {
				total += estimateValue(message)
			}
		}
	}
	withTools := false
	for tool := range request.get("tools").elements() {
		withTools = true
		total += estimateTool(tool)
	}
	if withTools {
		total += tokensOfTools
	}
	if thinking := request.get("thinking"); thinking.isObject() && !thinking.get("type").is("disabled") {
		total += tokensOfThinking
	}
	if format := request.get("output_config").get("format"); format != nil && format[0] != 'n' {
		total += tokensOfFormat + estimateValue(format)
	}
	return total
}

// estimateContent counts what stands as the content of a message, a system prompt or a tool result: a string, or
// blocks.
func estimateContent(content value, depth int) int64 {
	if !content.isArray() || depth == maxContentNesting {
		return estimateValue(content)
	}
	var total int64
	for block := range content.elements() {
		total += tokensPerBlock
		switch {
		case block.isObject():
			total += estimateBlock(block, depth+1)
		default:
			total += estimateContent(block, depth+1)
		}
	}
	return total
}

func estimateBlock(block value, depth int) int64 {
	switch kind := block.get("type"); {
	case kind.is("text"):
		return estimateContent(block.get("text"), depth)
	case kind.is("thinking"):
		return estimateContent(block.get("thinking"), depth) // its signature is not shown to the model
	case kind.is("redacted_thinking"):
		return 0
	case kind.is("tool_result"):
		return estimateContent(block.get("content"), depth)
	case kind.is("image"):
		return estimateImage(block.get("source").get("data").raw())
	case kind.is("image_url"): // of chat completions
		return estimateImage(block.get("image_url").get("url").raw())
	case kind.is("input_image"): // of responses
		return estimateImage(block.get("image_url").raw())
	case kind.is("document"):
		return estimateValue(block.get("title")) + estimateValue(block.get("context")) + estimateDocument(block.get("source"), depth)
	}
	return estimateValue(block)
}

func estimateTool(tool value) int64 {
	if !tool.isObject() {
		return estimateValue(tool)
	}
	if deferred := tool.get("defer_loading"); deferred != nil && deferred[0] == 't' {
		return 0 // not shown to the model before it searches for it
	}
	total := tokensPerTool + estimateValue(tool.get("name")) + estimateValue(tool.get("description")) + estimateValue(tool.get("input_schema"))
	if kind := tool.get("type"); kind.raw() != nil && !kind.is("custom") {
		total += tokensOfOwnTool
	}
	return total
}

// estimateDocument counts the source of a document block.
func estimateDocument(source value, depth int) int64 {
	switch kind := source.get("type"); {
	case kind.is("text"):
		return estimateText(source.get("data").raw())
	case kind.is("content"):
		return estimateContent(source.get("content"), depth)
	case kind.is("base64"):
		size := int64(len(source.get("data").raw())) / 4 * 3
		return min(max(size/pdfBytesPerToken, tokensOfPageMin), maxPages*tokensOfPageMax)
	}
	return tokensOfPageMax // at a URL, or in the provider's file store
}

// estimateValue counts a JSON value by its text, as the model is shown schemas and the input of tools: of a member
// the name, and about two tokens for quotes, colon and comma; of an element one for the comma. Members that only the
// API reads are left out. It is one pass, however deep the value is nested.
func estimateValue(v value) (total int64) {
	var before byte // what is at i: a bracket, comma or colon
	for i := 0; i < len(v); {
		c := v[i]
		if c == ' ' || c == '\n' || c == '\r' || c == '\t' {
			i++
			continue
		}
		switch c {
		case '{', '[':
			if before == '[' || before == ',' {
				total++
			}
			fallthrough
		case '}', ']', ',', ':':
			before = c
			i++
			continue
		}
		end, fault := spanScalar(v, i)
		if fault != "" {
			return total + int64(len(v)-i)/bytesPerToken
		}
		scalar := v[i:end]
		i = spanSpace(v, end)
		isName := c == '"' && i < len(v) && v[i] == ':'
		if !isName && (before == '[' || before == ',') {
			total++ // an element
		}
		switch {
		case isName && apiOnly(scalar.raw()):
			start, _ := spanColon(v, i)
			if i, fault = spanValue(v, start); fault != "" {
				return total
			}
		case isName:
			total += 2 + estimateText(scalar.raw())
		case c == '"':
			total += estimateText(scalar.raw())
		case c == 't' || c == 'f':
			total++
		case c != 'n':
			total += estimateText(scalar)
		}
	}
	return total
}

// apiOnly reports whether a member of that name is not shown to the model.
func apiOnly(name []byte) bool {
	switch string(name) {
	case "cache_control", "signature", "encrypted_content", "encrypted_index":
		return true
	}
	return false
}

// estimateText counts text by its characters, as it stands in JSON. The weights, in hundredths of a token, follow the
// rule of thumb of four characters per token for English, less in other alphabets, one token for an ideograph, a
// syllable or a kana.
func estimateText(text []byte) int64 {
	var hundredths int64
	for len(text) > 0 {
		r, n := rune(text[0]), 1
		if r == '\\' || r >= utf8.RuneSelf {
			r, n = textRune(text)
		}
		hundredths += weight(r)
		text = text[n:]
	}
	return (hundredths + 99) / 100
}

func weight(r rune) int64 {
	switch {
	case 'a' <= r|0x20 && r|0x20 <= 'z':
		return 23
	case r == ' ':
		return 6 // a space mostly belongs to the word after it
	case '0' <= r && r <= '9':
		return 40
	case r < 0x0900:
		return 50 // punctuation and line breaks; Latin with accents, Greek, Cyrillic, Hebrew, Arabic
	case r < 0x10000:
		return 100
	}
	return 200 // emoji, rare ideographs
}
