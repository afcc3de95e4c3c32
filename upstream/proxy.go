// Package upstream holds the providers: it decides which one a request goes
// to, sends it there unchanged, and passes the reply back as it comes.
package upstream

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"proxycast/upstream/dialect"
)

// Proxy is the compiled "upstream" section. It is immutable; the connections
// and the cached model lists of its providers are shared with its successor.
type Proxy struct {
	providers  []*provider
	aliases    map[string]string // exact names
	aliasNames []string          // the same, sorted
	wildcards  []wildcard        // longest first
}

type wildcard struct{ pattern, target string }

// target is a provider and the model to ask it for.
type target struct {
	provider *provider
	model    string
}

// New compiles cfg. Providers that prev knows by the same name and config keep
// their connections. All faults are joined.
func New(cfg Config, prev *Proxy) (*Proxy, error) {
	p := &Proxy{aliases: map[string]string{}}
	var faults []error
	for _, c := range cfg.Providers {
		provider, err := newProvider(c, prev.provider(c.Name))
		if err != nil {
			faults = append(faults, err)
			continue
		}
		p.providers = append(p.providers, provider)
	}
	for name, to := range cfg.Models {
		if strings.Contains(name, "*") {
			p.wildcards = append(p.wildcards, wildcard{name, to})
		} else {
			p.aliases[name] = to
		}
	}
	p.aliasNames = slices.Sorted(maps.Keys(p.aliases))
	slices.SortFunc(p.wildcards, func(a, b wildcard) int {
		if d := len(b.pattern) - len(a.pattern); d != 0 {
			return d
		}
		return strings.Compare(a.pattern, b.pattern)
	})
	return p, errors.Join(faults...)
}

// provider gives the provider of that name, or nil. It may be called on nil.
func (p *Proxy) provider(name string) *provider {
	if p == nil {
		return nil
	}
	for _, provider := range p.providers {
		if provider.config.Name == name {
			return provider
		}
	}
	return nil
}

// ProviderState describes a provider to an operator.
type ProviderState struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	BaseURL string `json:"base_url,omitempty"`
	State   string `json:"state"` // "ready" or "disabled"
	Reason  string `json:"reason,omitempty"`
}

// Providers describes the providers in the order of the config.
func (p *Proxy) Providers() []ProviderState {
	states := make([]ProviderState, len(p.providers))
	for i, provider := range p.providers {
		s := ProviderState{Name: provider.config.Name, Type: provider.config.Type, State: "ready"}
		if s.Type != typeDemo {
			s.BaseURL = provider.base.String()
		}
		if !provider.enabled() {
			s.State, s.Reason = "disabled", provider.config.Missing+" is not set"
		}
		states[i] = s
	}
	return states
}

// route decides where a request for model goes: an alias (exact, then the
// longest wildcard), then provider/model, then the first provider that lists
// the model. pin, when not empty, names the provider and skips all that.
func (p *Proxy) route(pin, model string) (target, *Error) {
	if pin != "" {
		return p.ready(p.provider(pin), pin, model)
	}
	if to, ok := p.alias(model); ok {
		name, upstream, _ := strings.Cut(to, "/")
		if upstream == "*" {
			upstream = model
		}
		return p.ready(p.provider(name), name, upstream)
	}
	if name, upstream, ok := strings.Cut(model, "/"); ok && upstream != "" {
		if provider := p.provider(name); provider != nil {
			return p.ready(provider, name, upstream)
		}
	}
	var disabled *provider
	for _, provider := range p.providers {
		switch {
		case !provider.serves(model):
		case provider.enabled():
			return target{provider, model}, nil
		case disabled == nil:
			disabled = provider
		}
	}
	if disabled != nil {
		return p.ready(disabled, disabled.config.Name, model)
	}
	return target{}, p.unknownModel(model)
}

// ready gives the target, unless the provider does not exist or is disabled.
func (p *Proxy) ready(provider *provider, name, model string) (target, *Error) {
	switch {
	case provider == nil:
		return target{}, &Error{
			Status: http.StatusNotFound, Code: "provider_not_found",
			Message: fmt.Sprintf("there is no provider %q in the config", name),
		}
	case !provider.enabled():
		return target{}, &Error{
			Status: http.StatusNotFound, Code: "model_not_found", Param: "model",
			Message: fmt.Sprintf("model %q belongs to provider %q, which is disabled because %s is not set; export it and restart the gateway",
				model, name, provider.config.Missing),
		}
	}
	return target{provider, model}, nil
}

func (p *Proxy) alias(model string) (to string, ok bool) {
	if to, ok = p.aliases[model]; ok {
		return to, true
	}
	for _, w := range p.wildcards {
		if match(w.pattern, model) {
			return w.target, true
		}
	}
	return "", false
}

// serves reports whether one of the provider's model patterns fits.
func (p *provider) serves(model string) bool {
	for _, pattern := range p.config.Models {
		if match(pattern, model) {
			return true
		}
	}
	return false
}

// unknownModel names the models that come nearest to what was asked for.
func (p *Proxy) unknownModel(model string) *Error {
	known := slices.Clone(p.aliasNames)
	for _, provider := range p.providers {
		if provider.enabled() {
			known = append(known, provider.config.Models...)
		}
	}
	slices.Sort(known)
	known = slices.Compact(known)
	slices.SortStableFunc(known, func(a, b string) int { return distance(model, a) - distance(model, b) })
	message := fmt.Sprintf("no provider serves model %q", clip(model, 128))
	if len(known) > 0 {
		message += "; the nearest names are " + strings.Join(known[:min(3, len(known))], ", ") + "; GET /v1/models lists all"
	}
	return &Error{Status: http.StatusNotFound, Code: "model_not_found", Param: "model", Message: message}
}

// distance is the number of single-byte edits between the first 64 bytes of
// two names (Levenshtein).
func distance(a, b string) int {
	a, b = a[:min(64, len(a))], b[:min(64, len(b))]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// clip shortens text to n bytes at a character boundary.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "…"
}

// refuses tells why a request of endpoint e cannot go to t: the provider speaks
// another dialect.
func (t target) refuses(e dialect.Endpoint) *Error {
	if t.provider.speaks(e.Dialect()) {
		return nil
	}
	return &Error{
		Status: http.StatusBadRequest, Code: "dialect_mismatch", Param: "model",
		Message: fmt.Sprintf("model %q is served by provider %q, which speaks the %s API, and %s is a call of the %s API; ask for it through %s",
			clip(t.model, 128), t.provider.config.Name, t.provider.config.Type, e.Path(), e.Dialect(), otherPath(e)),
	}
}

// otherPath names the chat call of the dialect that e does not belong to.
func otherPath(e dialect.Endpoint) string {
	if e.Dialect() == dialect.OpenAI {
		return "/v1/messages"
	}
	return "/v1/chat/completions"
}
