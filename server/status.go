package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"time"

	"proxycast/server/config"
	"proxycast/upstream"
	"proxycast/upstream/dialect"
)

// What the gateway tells of itself: GET /_status to operators, and the open routes to everybody.

// status is the answer of GET /_status.
type status struct {
	Version     string            `json:"version"`
	Go          string            `json:"go"`
	State       string            `json:"state"`
	Started     time.Time         `json:"started"`
	UptimeS     float64           `json:"uptime_s"`
	InFlight    int64             `json:"in_flight"`
	BodyBytes   int64             `json:"body_bytes"` // in memory: request bodies, and replies that are held
	Streams     int64             `json:"streams"`    // of those in flight
	Goroutines  int               `json:"goroutines"`
	LogDropped  uint64            `json:"log_dropped"`
	Keys        []keyState        `json:"keys"`
	Providers   []providerState   `json:"providers"`
	Aliases     map[string]string `json:"aliases"`
	OpenAI      string            `json:"openai_base_url"`
	Anthropic   string            `json:"anthropic_base_url"`
	AdminKey    string            `json:"admin_key_file,omitempty"`
	ClientKey   string            `json:"client_key_file,omitempty"`
	ReloadFault *string           `json:"reload_fault"` // of the last reload; null: it was good
	NeedRestart []string          `json:"need_restart"` // changed settings that wait for one
	Warnings    config.Faults     `json:"warnings"`     // what of the config in force should not be
	ConfigPath  string            `json:"config_path"`
	Config      json.RawMessage   `json:"config"` // in force, secrets masked
}

// showStatus answers GET /_status.
func showStatus(x *exchange, r *http.Request) {
	s, g := x.server, x.gateway
	_, adminFile, _ := g.keys.Generated()
	_, clientFile, _ := g.keys.GeneratedClient()
	x.sendJSON(http.StatusOK, status{
		Version: Version, Go: runtime.Version(), State: s.state(), Started: s.started.UTC(),
		UptimeS: time.Since(s.started).Seconds(), InFlight: s.inFlight.Load(), BodyBytes: g.buffers.InUse(),
		Streams: s.streams.Load(), Goroutines: runtime.NumGoroutine(), LogDropped: s.log().Dropped(),
		Keys: g.keyStates(), Providers: s.providerStates(g), Aliases: aliases(g.config.Upstream.Models),
		OpenAI: s.baseURL() + "/v1", Anthropic: s.baseURL(), AdminKey: adminFile, ClientKey: clientFile,
		ReloadFault: s.reloadFault.Load(), NeedRestart: append([]string{}, s.NeedRestart()...),
		Warnings: g.config.Warned(), ConfigPath: g.config.Path, Config: g.config.Shown(),
	})
}

// keyState describes a key without giving it away.
type keyState struct {
	Name      string     `json:"name"`
	Masked    string     `json:"masked"`
	Admin     bool       `json:"admin"`
	Models    []string   `json:"models,omitempty"`
	Expires   *time.Time `json:"expires,omitempty"`
	Requests  int        `json:"requests_per_minute,omitempty"`
	Tokens    int64      `json:"tokens_per_minute,omitempty"`
	Parallel  int        `json:"concurrency,omitempty"`
	Generated bool       `json:"generated"`
}

// keyStates describes the keys that are accepted.
func (g *gateway) keyStates() []keyState {
	names := g.keys.Names()
	states := make([]keyState, 0, len(names))
	for i, name := range names {
		k := keyState{Name: name}
		if i < len(g.config.Auth.Keys) && g.config.Auth.Enabled {
			c := g.config.Auth.Keys[i]
			k.Admin, k.Models, k.Requests, k.Tokens, k.Parallel = c.Admin, c.Models, c.RequestsPerMinute, c.TokensPerMinute, c.Concurrency
			if !c.Expires.IsZero() {
				k.Expires = &c.Expires
			}
			switch {
			case c.Key != "":
				k.Masked = maskedKey(c.Key)
				if text, ok := g.config.Written(fmt.Sprintf("auth.keys[%d].key", i)); ok {
					k.Masked = reference(text)
				}
			case c.KeySHA256 != "":
				k.Masked = "sha256:" + c.KeySHA256[:min(4, len(c.KeySHA256))] + "…"
			default:
				k.Masked = "file"
			}
		} else {
			key, _, _ := g.keys.Generated() // the first of the generated ones
			k.Admin = i == len(g.config.Auth.Keys) || !g.config.Auth.Enabled
			if !k.Admin {
				key, _, _ = g.keys.GeneratedClient()
			}
			k.Generated, k.Masked = key != "", maskedKey(key)
		}
		states = append(states, k)
	}
	return states
}

// reference returns text if it is one reference, and hides any other.
func reference(text string) string {
	if name, ok := strings.CutPrefix(text, "${"); ok && strings.Index(name, "}") == len(name)-1 {
		return text
	}
	return "…"
}

// maskedKey shows enough of a key for its owner to recognise it.
func maskedKey(key string) string {
	if len(key) < 16 {
		return "…"
	}
	return key[:5] + "…" + key[len(key)-2:]
}

// providerState is what an operator sees of a provider.
type providerState struct {
	upstream.ProviderState
	Models    []string       `json:"models"`
	LastError *providerError `json:"last_error,omitempty"`
}

func (s *Server) providerStates(g *gateway) []providerState {
	var states []providerState
	for i, state := range g.providers() {
		last := s.metrics.lastError(state.Name)
		if last != nil {
			last.Text = g.mask.Replace(last.Text)
		}
		states = append(states, providerState{state, append([]string{}, g.config.Upstream.Providers[i].Models...), last})
	}
	return states
}

// providers returns the state of each provider. An address with references shows as it is written, without its query.
func (g *gateway) providers() []upstream.ProviderState {
	states := g.proxy.Providers()
	for i := range states {
		if text, ok := g.config.Written(fmt.Sprintf("upstream.providers[%d].base_url", i)); ok {
			states[i].BaseURL, _, _ = strings.Cut(text, "?")
		}
	}
	return states
}

// aliases shows where each alias leads.
func aliases(routes map[string]upstream.Route) map[string]string {
	shown := map[string]string{}
	for name, route := range routes {
		var targets []string
		for _, t := range route.Targets {
			targets = append(targets, t.To)
		}
		shown[name] = strings.Join(targets, ", ")
	}
	return shown
}

// state is one word for what the gateway does, as GET /_status and the command line show it.
func (s *Server) state() string {
	switch {
	case s.stopping.Err() != nil:
		return "draining"
	case s.paused.Load():
		return "paused"
	case !s.ready.Load():
		return "starting"
	}
	return "running"
}

// live answers GET /livez and its older names: the process serves, paused or not.
func live(x *exchange, r *http.Request) {
	x.sendJSON(http.StatusOK, map[string]string{"status": "ok"})
}

// readiness answers GET /readyz: 200 while the client API takes requests.
func readiness(x *exchange, r *http.Request) {
	if !x.server.ready.Load() || x.server.paused.Load() {
		x.fail(dialect.Failure{Status: http.StatusServiceUnavailable, Code: "not_ready", Message: "the gateway is " + x.server.state()}, nil)
		return
	}
	x.sendJSON(http.StatusOK, map[string]string{"status": "ready"})
}

// acknowledge answers what Claude Code sends to its base URL beside the API: a probe when it
// starts, and batches of events, which are not read.
func acknowledge(x *exchange, r *http.Request) {
	x.sendJSON(http.StatusOK, struct{}{})
}

// welcome answers GET /: a browser is sent to the dashboard, a program learns the endpoints.
func welcome(x *exchange, r *http.Request) {
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		toDashboard(x, r)
		return
	}
	x.sendJSON(http.StatusOK, map[string]any{
		"name": "ProxyCast", "version": Version,
		"openai":    []string{"/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/models"},
		"anthropic": []string{"/v1/messages", "/v1/messages/count_tokens", "/v1/models"},
	})
}
