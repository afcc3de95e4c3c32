package dialect

// Dialect is a family of wire formats: what a client or a provider speaks.
type Dialect uint8

const (
	OpenAI Dialect = iota
	Anthropic
)

func (d Dialect) String() string {
	if d == Anthropic {
		return "anthropic"
	}
	return "openai"
}

// Endpoint is one call of a provider's API.
type Endpoint uint8

const (
	ChatCompletions Endpoint = iota
	Embeddings
	Responses
	Messages
	CountTokens
	Completions
	Moderations
	ImagesGenerations
	AudioSpeech
	Rerank
	Models
)

var endpoints = [...]struct {
	name    string
	path    string
	dialect Dialect
}{
	ChatCompletions:   {"chat_completions", "/chat/completions", OpenAI},
	Embeddings:        {"embeddings", "/embeddings", OpenAI},
	Responses:         {"responses", "/responses", OpenAI},
	Messages:          {"messages", "/messages", Anthropic},
	CountTokens:       {"count_tokens", "/messages/count_tokens", Anthropic},
	Completions:       {"other", "/completions", OpenAI},
	Moderations:       {"other", "/moderations", OpenAI},
	ImagesGenerations: {"other", "/images/generations", OpenAI},
	AudioSpeech:       {"other", "/audio/speech", OpenAI},
	Rerank:            {"other", "/rerank", OpenAI},
	Models:            {"models", "/models", OpenAI},
}

// String returns the endpoint's name in the request log.
func (e Endpoint) String() string { return endpoints[e].name }

// Path returns the endpoint's path below a provider's base URL (which ends in /v1).
func (e Endpoint) Path() string { return endpoints[e].path }

// streams reports whether we know the events of the endpoint's streams.
func (e Endpoint) streams() bool {
	return e == ChatCompletions || e == Completions || e == Messages || e == Responses
}

// Dialect returns the dialect that the endpoint belongs to.
func (e Endpoint) Dialect() Dialect { return endpoints[e].dialect }
