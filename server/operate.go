package server

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"proxycast/auth"
	"proxycast/upstream/dialect"
)

// What an operator does to the running gateway: stop, start, restart and reload it,
// make a key for it, and try a provider.

// errPaused is what the client API says while the gateway is stopped.
var errPaused = dialect.Failure{
	Status: http.StatusServiceUnavailable, Code: "paused", Message: "the gateway is stopped; start it on the dashboard or by proxycast start",
}

// setPaused returns the handler of POST /_service/stop and start. Requests
// under way are finished.
func setPaused(paused bool) handler {
	return func(x *exchange, r *http.Request) {
		x.server.paused.Store(paused)
		x.sendState()
	}
}

func (x *exchange) sendState() {
	x.sendJSON(http.StatusOK, map[string]string{"state": x.server.state()})
}

// sendReloaded answers that the config of the file is in force.
func (x *exchange) sendReloaded() {
	x.sendJSON(http.StatusOK, map[string]any{"state": x.server.state(), "warnings": x.server.gateway.Load().config.Warned()})
}

// reloadService answers POST /_service/reload.
func reloadService(x *exchange, r *http.Request) {
	if err := x.server.ReloadFile(); err != nil {
		x.failConfig(http.StatusBadRequest, err)
		return
	}
	x.sendReloaded()
}

// restartService answers POST /_service/restart.
func restartService(x *exchange, r *http.Request) {
	if err := x.server.Restart(); err != nil {
		x.failConfig(http.StatusBadRequest, err)
		return
	}
	x.sendReloaded()
}

// newKey answers POST /_keys: a key, and the config entry that admits it.
func newKey(x *exchange, r *http.Request) {
	var form struct{ Name string }
	if err := json.NewDecoder(io.LimitReader(r.Body, maxLoginBody)).Decode(&form); err != nil || strings.TrimSpace(form.Name) == "" {
		x.fail(dialect.Failure{Status: http.StatusBadRequest, Code: "invalid_body", Message: `send {"name": "…"}`}, nil)
		return
	}
	key, entry := GenerateKey(form.Name)
	x.sendJSON(http.StatusOK, map[string]string{"key": key, "entry": entry})
}

// testProvider answers POST /_providers/{name}/test: it lists the provider's models,
// or asks one of them for a few words.
func testProvider(x *exchange, r *http.Request) {
	var form struct{ Model string }
	if err := json.NewDecoder(io.LimitReader(r.Body, maxLoginBody)).Decode(&form); err != nil && err != io.EOF {
		x.fail(dialect.Failure{Status: http.StatusBadRequest, Code: "invalid_body", Message: `send {} or {"model": "…"}`}, nil)
		return
	}
	result := x.gateway.proxy.Test(r.Context(), r.PathValue("name"), form.Model)
	result.Error = x.gateway.mask.Replace(result.Error)
	x.sendJSON(http.StatusOK, result)
}

// GenerateKey makes a key and the entry of auth.keys that admits it, which holds
// its hash only.
func GenerateKey(name string) (key, entry string) {
	key = auth.Generate()
	text, err := json.Marshal(auth.KeyConfig{Name: name, KeySHA256: auth.Digest(key)})
	if err != nil {
		panic(err) // plain strings always encode
	}
	return key, string(text)
}
