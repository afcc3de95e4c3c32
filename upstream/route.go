package upstream

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"proxycast/upstream/dialect"
)

// target is a provider and the model to ask it for.
type target struct {
	provider *provider
	model    string
}

func (t target) name() targetName { return targetName{t.provider.config.Name, t.model} }

// route decides where a request for model goes, in the order in which to try: an
// alias (exact, then the longest wildcard), then provider/model, then the first
// provider that lists the model. pin, when not empty, names the provider and skips
// all that. conversation, when not empty, decides among targets by weight. The slice is the caller's.
func (p *Proxy) route(pin, model, conversation string) (targets []target, complete bool, err *Error) {
	if pin != "" {
		targets, err = p.ready(pin, model)
		return targets, false, err
	}
	if route, ok := p.alias(model); ok {
		targets, err = p.follow(route, model, conversation)
		return targets, route.Commit == commitComplete, err
	}
	if name, upstream, ok := strings.Cut(model, "/"); ok && upstream != "" && p.provider(name) != nil {
		targets, err = p.ready(name, upstream)
		return targets, false, err
	}
	var disabled *provider
	for _, provider := range p.providers {
		switch {
		case !provider.serves(model):
		case provider.enabled():
			return []target{{provider, model}}, false, nil
		case disabled == nil:
			disabled = provider
		}
	}
	if disabled != nil {
		targets, err = p.ready(disabled.config.Name, model)
		return targets, false, err
	}
	return nil, false, p.unknownModel(model)
}

// follow returns the targets of a route that are enabled.
func (p *Proxy) follow(route Route, model, conversation string) (targets []target, err *Error) {
	for _, t := range inOrder(route, conversation) {
		name, upstream, _ := strings.Cut(t.To, "/")
		if upstream == "*" {
			upstream = model
		}
		found, refused := p.ready(name, upstream)
		targets = append(targets, found...)
		if err == nil {
			err = refused
		}
	}
	if len(targets) > 0 {
		err = nil
	}
	return targets, err
}

// inOrder returns the targets of a route as one request tries them: as they stand,
// or by weight, drawn anew where the request belongs to no conversation.
func inOrder(route Route, conversation string) []TargetConfig {
	if route.Strategy != strategyWeighted {
		return route.Targets
	}
	if conversation != "" {
		order := slices.Clone(route.Targets)
		slices.SortStableFunc(order, func(a, b TargetConfig) int {
			return cmp.Compare(rank(conversation, b.To, b.Weight), rank(conversation, a.To, a.Weight))
		})
		return order
	}
	rest := slices.Clone(route.Targets)
	var order []TargetConfig
	for len(rest) > 0 {
		total := 0
		for _, t := range rest {
			total += t.Weight
		}
		i := 0
		if total > 0 {
			for n := rand.IntN(total); n >= rest[i].Weight; i++ {
				n -= rest[i].Weight
			}
		}
		order = append(order, rest[i])
		rest = slices.Delete(rest, i, i+1)
	}
	return order
}

// ready returns the target, unless the provider does not exist or is disabled.
func (p *Proxy) ready(name, model string) ([]target, *Error) {
	switch provider := p.provider(name); {
	case provider == nil:
		return nil, &Error{
			Status: http.StatusNotFound, Code: "provider_not_found",
			Message: fmt.Sprintf("there is no provider %q in the config", clip(name, 64)),
		}
	case !provider.enabled():
		return nil, &Error{
			Status: http.StatusNotFound, Code: "model_not_found", Param: "model",
			Message: fmt.Sprintf("model %q belongs to provider %q, which is disabled because %s is not set; export it and restart the gateway",
				clip(model, 128), name, provider.config.Missing),
		}
	default:
		return []target{{provider, model}}, nil
	}
}

func (p *Proxy) alias(model string) (Route, bool) {
	if route, ok := p.aliases[model]; ok {
		return route, true
	}
	for _, w := range p.wildcards {
		if match(w.pattern, model) {
			return w.route, true
		}
	}
	return Route{}, false
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

// counts reports whether the provider can count tokens; for the others there is an
// estimate.
func (t target) counts() bool { return t.provider.config.Type == typeAnthropic }

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

// match reports whether name fits pattern, in which each * stands for any run
// of characters. It takes time proportional to len(pattern) × len(name).
func match(pattern, name string) bool {
	prefix, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == name
	}
	if !strings.HasPrefix(name, prefix) {
		return false
	}
	name = name[len(prefix):]
	for {
		part, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(name, part)
		}
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name, rest = name[i+len(part):], after
	}
}
