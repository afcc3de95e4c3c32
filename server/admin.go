package server

import (
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"time"

	"proxycast/upstream"
	"proxycast/upstream/dialect"
)

// The operator's routes, and the open ones that tell the gateway's state.

// status is the answer of GET /_status.
type status struct {
	Version     string                   `json:"version"`
	Go          string                   `json:"go"`
	State       string                   `json:"state"`
	Started     time.Time                `json:"started"`
	UptimeS     float64                  `json:"uptime_s"`
	InFlight    int64                    `json:"in_flight"`
	BodyBytes   int64                    `json:"body_bytes"` // of request bodies in memory
	Goroutines  int                      `json:"goroutines"`
	LogDropped  uint64                   `json:"log_dropped"`
	Keys        []string                 `json:"keys"`
	Providers   []upstream.ProviderState `json:"providers"`
	ReloadFault *string                  `json:"reload_fault"` // of the last reload; null: it was good
	NeedRestart []string                 `json:"need_restart"` // changed settings that wait for one
	ConfigPath  string                   `json:"config_path"`
	Config      any                      `json:"config"` // in force, secrets masked
}

func showStatus(x *exchange, r *http.Request) {
	s, g := x.server, x.gateway
	x.sendJSON(http.StatusOK, status{
		Version: Version, Go: runtime.Version(), State: s.state(), Started: s.started.UTC(),
		UptimeS: time.Since(s.started).Seconds(), InFlight: s.inFlight.Load(), BodyBytes: g.buffers.InUse(),
		Goroutines: runtime.NumGoroutine(), LogDropped: s.store.Dropped(),
		Keys: g.keys.Names(), Providers: g.proxy.Providers(),
		ReloadFault: s.reloadFault.Load(), NeedRestart: append([]string{}, s.NeedRestart()...),
		ConfigPath: g.config.Path, Config: masked(reflect.ValueOf(*g.config), false),
	})
}

func (s *Server) state() string {
	if s.ready.Load() {
		return "running"
	}
	return "draining"
}

// masked gives a config value as JSON shows it, with *** for every secret.
func masked(v reflect.Value, secret bool) any {
	switch v.Kind() {
	case reflect.String:
		if secret && v.Len() > 0 {
			return "***"
		}
		return v.String()
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = masked(v.Index(i), secret)
		}
		return list
	case reflect.Map:
		object := map[string]any{}
		for it := v.MapRange(); it.Next(); {
			object[it.Key().String()] = masked(it.Value(), secret)
		}
		return object
	case reflect.Struct:
		if t, ok := v.Interface().(time.Time); ok {
			return t
		}
		object := map[string]any{}
		for i := range v.NumField() {
			field := v.Type().Field(i)
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name != "-" && !(strings.Contains(field.Tag.Get("json"), "omit") && v.Field(i).IsZero()) {
				object[name] = masked(v.Field(i), field.Tag.Get("secret") == "true")
			}
		}
		return object
	}
	if d, ok := v.Interface().(time.Duration); ok {
		return d.String()
	}
	return v.Interface()
}

func live(x *exchange, r *http.Request) {
	x.sendJSON(http.StatusOK, map[string]string{"status": "ok"})
}

func readiness(x *exchange, r *http.Request) {
	if !x.server.ready.Load() {
		x.fail(dialect.Failure{Status: http.StatusServiceUnavailable, Code: "not_ready", Message: "the gateway is " + x.server.state()}, nil)
		return
	}
	x.sendJSON(http.StatusOK, map[string]string{"status": "ready"})
}

func acknowledge(x *exchange, r *http.Request) {
	x.sendJSON(http.StatusOK, struct{}{})
}

func welcome(x *exchange, r *http.Request) {
	x.sendJSON(http.StatusOK, map[string]any{
		"name": "ProxyCast", "version": Version,
		"openai":    []string{"/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/models"},
		"anthropic": []string{"/v1/messages", "/v1/messages/count_tokens", "/v1/models"},
	})
}
