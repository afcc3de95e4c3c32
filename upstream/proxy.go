// Package upstream holds the providers: it decides which one a request goes to, sends it there unchanged, and passes
// the reply back as it comes.
//
// Relay tries targets (a provider and a model) one after the other. A reply of a success status is held while another
// attempt is possible. It commits with its first content, when it is finished, or when it is too large to hold; from
// then on it is copied, and there is no other attempt. It ends whole, cut (by either side), or with an error that the
// provider reported; a cut reply never looks whole to the client.
//
// The request's body belongs to Relay, which lets go of it at commit or when it returns. Each call holds it as well
// until the transport has closed its reader, which may be after the call has returned. A Report is final when Relay
// returns it.
package upstream

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Proxy is the compiled "upstream" section. It is immutable; what its providers
// have of connections, model lists and health is shared with its successor.
type Proxy struct {
	providers  []*provider
	aliases    map[string]Route // exact names
	aliasNames []string         // the same, sorted
	wildcards  []wildcard       // longest first
	names      map[string]bool  // of models that the config has, aliases included
	retries    int
	cooldown   Cooldown
	keepalive  time.Duration
	health     *health
}

type wildcard struct {
	pattern string
	route   Route
}

// New compiles cfg. Providers that prev knows by the same name and config keep
// their connections. All faults are joined.
func New(cfg Config, prev *Proxy) (*Proxy, error) {
	p := &Proxy{aliases: map[string]Route{}, names: map[string]bool{}, retries: cfg.Retries, cooldown: cfg.Cooldown, keepalive: cfg.Keepalive, health: newHealth()}
	if prev != nil {
		p.health = prev.health
	}
	var faults []error
	for _, c := range cfg.Providers {
		provider, err := newProvider(c, prev.provider(c.Name))
		if err != nil {
			faults = append(faults, err)
			continue
		}
		p.providers = append(p.providers, provider)
		for _, model := range c.Models {
			p.names[model] = true
		}
	}
	for name, route := range cfg.Models {
		if strings.Contains(name, "*") {
			p.wildcards = append(p.wildcards, wildcard{name, route})
		} else {
			p.aliases[name] = route
			p.names[name] = true
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

// provider returns the provider of that name, or nil. It may be called on nil.
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

// Names reports whether the config has the model by this very name.
func (p *Proxy) Names(model string) bool { return p.names[model] }

// ProviderState describes a provider to an operator.
type ProviderState struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	BaseURL string `json:"base_url,omitempty"`
	State   string `json:"state"` // "untested", "ready", "degraded", "failing" or "disabled"
	Reason  string `json:"reason,omitempty"`

	Targets []TargetState `json:"targets,omitempty"` // that have failed lately
}

// Providers describes the providers in the order of the config.
func (p *Proxy) Providers() []ProviderState {
	states := make([]ProviderState, len(p.providers))
	for i, provider := range p.providers {
		s := ProviderState{Name: provider.config.Name, Type: provider.config.Type}
		if s.Type != typeDemo {
			shown := *provider.base
			shown.RawQuery = "" // it may hold a credential
			s.BaseURL = shown.String()
		}
		s.State, s.Targets = p.health.of(s.Name, time.Now())
		switch {
		case !provider.enabled():
			s.State, s.Reason = stateDisabled, provider.config.Missing+" is not set"
		case s.State == stateDegraded:
			s.Reason = fmt.Sprintf("models resting: %d", len(s.Targets))
		}
		states[i] = s
	}
	return states
}
