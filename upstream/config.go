package upstream

import (
	"crypto/x509"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Config is the "upstream" section of config.json.
type Config struct {
	Providers []ProviderConfig `json:"providers" default:"[{\"name\":\"demo\",\"type\":\"demo\",\"models\":[\"demo-*\"]}]" doc:"Where requests go. The order decides when several list a model."`
	Models    map[string]Route `json:"models" doc:"Aliases: a model name, or a pattern with *, to provider/model, a list of such, or an object. provider/* keeps the name that was asked for."`
	Retries   int              `json:"retries" default:"2" min:"0" max:"10" doc:"Further attempts that a request may take, over all targets and keys, while nothing of an answer was passed on."`
	Cooldown  Cooldown         `json:"cooldown" doc:"When a target that fails is left alone."`
	Keepalive time.Duration    `json:"keepalive" default:"0s" doc:"After this silence of a stream the client gets a comment. 0s: never."`
}

// Cooldown says when a target that fails is left alone.
type Cooldown struct {
	After int           `json:"after" default:"3" min:"0" max:"1000000" doc:"Failures in a row after which a target rests. 0: it never does."`
	For   time.Duration `json:"for" default:"30s" doc:"How long it rests; then one request tries it."`
}

// Route is where an alias leads.
type Route struct {
	Targets  []TargetConfig `json:"targets" short:"true" single:"true" doc:"The targets, best first."`
	Strategy string         `json:"strategy" enum:"order,weighted" default:"order" doc:"order: the first that does not rest. weighted: at random by weight. The others follow when it fails."`
	Commit   string         `json:"commit" enum:"first_content,complete" default:"first_content" doc:"When a stream passes to the client: from its first content on, or when it is complete, so that a broken one can still be replaced."`
}

// TargetConfig is one target of a Route.
type TargetConfig struct {
	To     string `json:"to" short:"true" doc:"provider/model, or provider/* for the name that was asked for."`
	Weight int    `json:"weight" default:"1" min:"0" max:"1000000" doc:"The share of a target, under the strategy weighted."`
}

// ProviderConfig is one provider.
type ProviderConfig struct {
	Name           string            `json:"name" doc:"The provider's name in provider/model, in the log and in /api/provider/NAME."`
	Type           string            `json:"type" address:"true" enum:"openai,anthropic,demo" doc:"The dialect that it speaks."`
	BaseURL        string            `json:"base_url,omitempty" refs:"true" address:"true" doc:"openai: an empty path gets /v1, any other is used as given. anthropic: /v1 is appended unless the path ends in it. Absent: the vendor's own address."`
	APIKey         string            `json:"api_key,omitempty" secret:"true" unset:"Missing" doc:"The credential, best as ${ENV}. While the variable is unset the provider is disabled."`
	APIKeys        []string          `json:"api_keys,omitempty" secret:"true" unset:"Missing" doc:"Several credentials, used in turn."`
	Models         []string          `json:"models,omitempty" doc:"The models that it serves, * is a wildcard. Empty: reached by alias or provider/model only."`
	Headers        map[string]string `json:"headers,omitempty" secret:"true" doc:"Headers to add to each request."`
	StreamUsage    bool              `json:"stream_usage" default:"true" doc:"Ask OpenAI chat streams for their usage when the client did not. Off for providers that refuse stream_options."`
	Proxy          string            `json:"proxy,omitempty" secret:"true" address:"self" doc:"http://, https:// or socks5:// URL; none: no proxy; absent: HTTPS_PROXY, HTTP_PROXY and NO_PROXY decide."`
	MaxConcurrency int               `json:"max_concurrency,omitempty" min:"0" max:"1000000" doc:"Calls at a time. Four times as many wait, further ones go elsewhere or are refused. 0: no limit."`
	HTTP           string            `json:"http,omitempty" enum:"transport" doc:"transport: call it with net/http's client, which speaks HTTP/2 too. Absent: with the gateway's own, of HTTP/1.1."`
	Timeouts       Timeouts          `json:"timeouts" doc:"Limits on one call; 0s is no limit."`

	// Missing names an unset variable of the credentials. Without any credential
	// left it disables the provider.
	Missing string `json:"-"`

	roots *x509.CertPool // of tests; nil: the system's
}

// Timeouts limits one call of a provider. Zero is no limit.
type Timeouts struct {
	Connect    time.Duration `json:"connect" default:"10s" doc:"To a usable connection, TLS included."`
	Headers    time.Duration `json:"headers" default:"5m" doc:"To the head of a stream's reply. A plain reply may take total, while no other target is left."`
	FirstToken time.Duration `json:"first_token" default:"10m" doc:"To the first content of a stream."`
	Idle       time.Duration `json:"idle" default:"5m" doc:"Between two reads of a reply."`
	Total      time.Duration `json:"total" default:"30m" doc:"For the whole call."`
}

const (
	typeOpenAI    = "openai"
	typeAnthropic = "anthropic"
	httpTransport = "transport" // net/http's
	typeDemo      = "demo"
)

// Base URLs of the vendors, for a provider that names none.
var vendorURL = map[string]string{
	typeOpenAI:    "https://api.openai.com/v1",
	typeAnthropic: "https://api.anthropic.com/v1",
	typeDemo:      "demo://demo/v1",
}

var providerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Check reports what is wrong with c: fault for what cannot run, warn for what
// should not. path is relative to the section, as in "providers[0].name".
func (c Config) Check(fault, warn func(path, message string)) {
	seen := map[string]int{}
	for i, p := range c.Providers {
		at := fmt.Sprintf("providers[%d]", i)
		first, known := seen[p.Name]
		switch {
		case !providerName.MatchString(p.Name):
			fault(at+".name", "a provider needs a name of letters, digits, '.', '_' and '-'")
		case known:
			fault(at+".name", fmt.Sprintf("two providers are named alike: providers[%d] has this name too", first))
		default:
			seen[p.Name] = i
		}
		p.check(at, fault, warn)
	}
	for _, pattern := range slices.Sorted(maps.Keys(c.Models)) {
		c.checkRoute(pattern, fault)
	}
}

func (c Config) checkRoute(pattern string, fault func(path, message string)) {
	route, at := c.Models[pattern], "models."+pattern
	switch {
	case pattern == "":
		fault("models", "an alias needs a name")
	case len(route.Targets) == 0:
		fault(at, fmt.Sprintf("an alias points at provider/model, as in %q", "demo/demo-1"))
	}
	weight := 0
	for i, t := range route.Targets {
		at := at
		if len(route.Targets) > 1 {
			at = fmt.Sprintf("%s.targets[%d]", at, i)
		}
		provider, model, found := strings.Cut(t.To, "/")
		known := slices.ContainsFunc(c.Providers, func(p ProviderConfig) bool { return p.Name == provider })
		switch {
		case !found || model == "":
			fault(at, fmt.Sprintf("an alias points at provider/model, as in %q", "demo/demo-1"))
		case !known:
			fault(at, "unknown provider"+quoted(provider)+namesHint(c.Providers))
		case strings.Contains(model, "*") && model != "*":
			fault(at, "the target's model is a name, or * alone for the name that was asked for")
		}
		weight += t.Weight
	}
	if route.Strategy == strategyWeighted && weight == 0 && len(route.Targets) > 0 {
		fault(at, "weighted targets need a weight above 0")
	}
}

// Values of Route.
const (
	strategyWeighted = "weighted"
	commitComplete   = "complete"
)

func (p ProviderConfig) check(at string, fault, warn func(path, message string)) {
	if p.Type != typeOpenAI && p.Type != typeAnthropic && p.Type != typeDemo {
		fault(at+".type", "a provider's type is one of openai, anthropic, demo")
		return
	}
	if p.Type == typeDemo && p.BaseURL != "" {
		fault(at+".base_url", "the demo provider is built in and has no address")
	}
	if p.BaseURL != "" {
		if _, err := baseURL(p.Type, p.BaseURL); err != nil {
			fault(at+".base_url", err.Error())
		}
	}
	if p.APIKey != "" && len(p.APIKeys) > 0 {
		fault(at+".api_keys", "give api_key or api_keys, not both")
	}
	p.checkCredential(at+".api_key", p.APIKey, fault)
	for i, key := range p.APIKeys {
		p.checkCredential(fmt.Sprintf("%s.api_keys[%d]", at, i), key, fault)
	}
	for i, pattern := range p.Models {
		if pattern == "" {
			fault(fmt.Sprintf("%s.models[%d]", at, i), "a model pattern is not empty")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Headers)) {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(p.Headers[name]) {
			fault(at+".headers."+name, "not a valid header name and value")
		}
	}
	if _, err := proxyOf(p.Proxy, &url.URL{}); err != nil {
		fault(at+".proxy", err.Error())
	}
	if p.Type != typeDemo && p.BaseURL == "" && p.Missing == "" && len(p.credentials()) == 0 {
		warn(at, "no api_key: the vendor's own address will refuse the calls")
	}
}

func (p ProviderConfig) checkCredential(at, key string, fault func(path, message string)) {
	if !httpguts.ValidHeaderFieldValue(key) || strings.TrimSpace(key) != key {
		fault(at, "the credential has white space around it or characters that no header may hold")
	}
}

// credentials returns the keys of api_key or api_keys that are set.
func (p ProviderConfig) credentials() []string {
	var keys []string
	for _, key := range append([]string{p.APIKey}, p.APIKeys...) {
		if key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

// baseURL returns the URL that endpoint paths are appended to.
func baseURL(typ, text string) (*url.URL, error) {
	if text == "" {
		text = vendorURL[typ]
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("not a URL")
	case typ == typeDemo:
		return u, nil
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("expected an http:// or https:// URL")
	case u.User != nil:
		return nil, fmt.Errorf("no user name or password in the URL; use api_key or headers")
	case u.Fragment != "":
		return nil, fmt.Errorf("no fragment (#) in the URL")
	}
	path := strings.TrimRight(u.Path, "/")
	switch {
	case typ == typeOpenAI && path == "":
		path = "/v1"
	case typ == typeAnthropic && !strings.HasSuffix(path, "/v1"):
		path += "/v1"
	}
	u.Path, u.RawPath = path, ""
	return u, nil
}

// shortWord matches what a fault may quote: anything else could be a credential in the wrong place.
var shortWord = regexp.MustCompile(`^[A-Za-z]{1,10}$`)

// quoted returns a word in quotes, with a space before it, and nothing of any other text.
func quoted(text string) string {
	if !shortWord.MatchString(text) {
		return ""
	}
	return fmt.Sprintf(" %q", text)
}

func namesHint(providers []ProviderConfig) string {
	var names []string
	for _, p := range providers {
		names = append(names, p.Name)
	}
	if len(names) == 0 {
		return "; there are none"
	}
	return "; there are: " + strings.Join(names, ", ")
}
