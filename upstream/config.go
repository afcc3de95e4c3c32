package upstream

import "time"

// Config is the "upstream" section of config.json.
type Config struct {
	Providers []ProviderConfig  `json:"providers" default:"[{\"name\":\"demo\",\"type\":\"demo\",\"models\":[\"demo-*\"]}]" doc:"Where requests go. The order decides when several list a model."`
	Models    map[string]string `json:"models" doc:"Aliases: a model name (or a pattern with *) to provider/model."`
}

// ProviderConfig is one provider.
type ProviderConfig struct {
	Name        string            `json:"name" doc:"The provider's name in provider/model, in the log and in /api/provider/NAME."`
	Type        string            `json:"type" enum:"openai,anthropic,demo" doc:"The dialect that it speaks."`
	BaseURL     string            `json:"base_url,omitempty" doc:"openai: an empty path gets /v1, any other is used as given. anthropic: /v1 is appended unless the path ends in it."`
	APIKey      string            `json:"api_key,omitempty" secret:"true" unset:"Missing" doc:"The credential, best as ${ENV}. While the variable is unset the provider is disabled."`
	APIKeys     []string          `json:"api_keys,omitempty" secret:"true" unset:"Missing" doc:"Several credentials, used in turn."`
	Models      []string          `json:"models,omitempty" doc:"The models that it serves, * is a wildcard. Empty: reached by alias or provider/model only."`
	Headers     map[string]string `json:"headers,omitempty" secret:"true" doc:"Headers to add to each request."`
	StreamUsage bool              `json:"stream_usage" default:"true" doc:"Ask chat streams for their usage when the client did not. Off for providers that refuse stream_options."`
	Proxy       string            `json:"proxy,omitempty" secret:"true" doc:"http://, https:// or socks5:// URL; none: no proxy; empty: HTTPS_PROXY, HTTP_PROXY and NO_PROXY."`
	Timeouts    Timeouts          `json:"timeouts" doc:"Limits on a call."`

	// Missing names the unset variable that disables the provider.
	Missing string `json:"-"`
}

// Timeouts limits one call of a provider. Zero is no limit.
type Timeouts struct {
	Connect    time.Duration `json:"connect" default:"10s" doc:"To a usable connection, TLS included."`
	Headers    time.Duration `json:"headers" default:"60s" doc:"From the request to the reply's head, of a stream."`
	FirstToken time.Duration `json:"first_token" default:"120s" doc:"From the request to the first content of a stream."`
	Idle       time.Duration `json:"idle" default:"120s" doc:"Between two reads of a reply."`
	Total      time.Duration `json:"total" default:"30m" doc:"For the whole call."`
}

// Check reports what is wrong with c: fault for what cannot run, warn for what
// should not. path is relative to the section, as in "keys[0].name".
func (c Config) Check(fault, warn func(path, message string)) {
}
