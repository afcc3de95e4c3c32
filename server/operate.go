package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"proxycast/server/config"
	"proxycast/upstream/dialect"
)

// What an operator does to the running gateway: stop, start, restart, reload, and
// the config file itself.

// errPaused is what the client API says while the gateway is stopped.
var errPaused = dialect.Failure{
	Status: http.StatusServiceUnavailable, Code: "paused", Message: "the gateway is stopped; start it on the dashboard or by proxycast start",
}

// setPaused gives the handler of POST /_service/stop and start. What is under way
// goes on.
func setPaused(paused bool) handler {
	return func(x *exchange, r *http.Request) {
		x.server.paused.Store(paused)
		x.sendState()
	}
}

func (x *exchange) sendState() {
	x.sendJSON(http.StatusOK, map[string]string{"state": x.server.state()})
}

// reloadService answers POST /_service/reload.
func reloadService(x *exchange, r *http.Request) {
	if err := x.server.ReloadFile(); err != nil {
		x.failConfig(http.StatusBadRequest, err)
		return
	}
	x.sendState()
}

// restartService answers POST /_service/restart.
func restartService(x *exchange, r *http.Request) {
	if err := x.server.Restart(); err != nil {
		x.failConfig(http.StatusBadRequest, err)
		return
	}
	x.sendState()
}

// place is a fault as the page shows it.
type place struct {
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path"`
	Message string `json:"message"`
}

func places(faults config.Faults) []place {
	list := make([]place, len(faults))
	for i, f := range faults {
		list[i] = place{f.Line, f.Column, f.Path, f.Message}
	}
	return list
}

// failConfig answers a config that was not put in force.
func (x *exchange) failConfig(status int, err error) {
	x.rec.Status, x.rec.ErrorType, x.rec.Error = status, "invalid_config", "the config was not put in force"
	var faults config.Faults
	errors.As(err, &faults)
	x.sendJSON(status, map[string]any{
		"error":  map[string]any{"message": err.Error(), "type": "invalid_request_error", "code": "invalid_config", "param": nil, "faults": places(faults)},
		"faults": places(faults),
	})
}

// showConfig answers GET /_config with the file's text, secrets masked.
func showConfig(x *exchange, r *http.Request) {
	text, _, err := config.ReadFile(x.gateway.config.Path)
	if err == nil {
		var shown []byte
		if shown, err = config.Mask(text); err == nil {
			h := x.Header()
			h["Etag"] = []string{configTag(text)}
			h["X-Config-Writable"] = []string{"false"}
			if writable(x.gateway.config.Path) {
				h["X-Config-Writable"] = []string{"true"}
			}
			x.send(http.StatusOK, "text/plain; charset=utf-8", shown)
			return
		}
	}
	x.fail(dialect.Failure{Status: http.StatusInternalServerError, Code: "config_unreadable",
		Message: "the config file cannot be read or is not valid JSON: " + x.gateway.config.Path}, err)
}

// configTag identifies a config's text, secrets included.
func configTag(text []byte) string {
	digest := sha256.Sum256(text)
	return `"` + hex.EncodeToString(digest[:16]) + `"`
}

// writable reports whether the file, and its folder for the replacement, can be
// written.
func writable(path string) bool {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return false
	}
	f.Close()
	probe, err := os.CreateTemp(filepath.Dir(path), ".config-*")
	if err != nil {
		return false
	}
	probe.Close()
	os.Remove(probe.Name())
	return true
}

// putConfig answers PUT /_config: it validates the text and, unless ?check=1, writes
// the file and reloads.
func putConfig(x *exchange, r *http.Request) {
	s := x.server
	path := x.gateway.config.Path
	body, err := io.ReadAll(http.MaxBytesReader(x, r.Body, config.MaxBytes))
	if err != nil {
		x.fail(x.bodyFailure(r, err), nil)
		return
	}
	s.saving.Lock()
	defer s.saving.Unlock()
	present, mode, err := config.ReadFile(path)
	if err != nil {
		present, mode = nil, 0o600
	}
	u := config.Unmask(body, present)
	text := u.Text
	faults, warnings, err := x.gateway.config.Check(text, mode)
	if err != nil {
		x.failConfig(http.StatusUnprocessableEntity, err)
		return
	}
	faults, warnings = append(u.Back(faults), u.Lost(path)...), u.Back(warnings)
	if r.URL.Query().Get("check") == "1" {
		x.sendJSON(http.StatusOK, map[string]any{"faults": places(faults), "warnings": places(warnings)})
		return
	}
	switch {
	case len(faults) > 0:
		x.failConfig(http.StatusUnprocessableEntity, faults)
		return
	case r.Header.Get("If-Match") != configTag(present):
		x.fail(dialect.Failure{Status: http.StatusPreconditionFailed, Code: "config_changed",
			Message: "the file has changed since it was shown, or If-Match is missing; load it again"}, nil)
		return
	}
	if err := replaceFile(path, text, present, mode); err != nil {
		x.fail(dialect.Failure{Status: http.StatusForbidden, Code: "config_read_only", Message: "the config file cannot be written: " + path}, err)
		return
	}
	if err := s.ReloadFile(); err != nil {
		x.failConfig(http.StatusUnprocessableEntity, err)
		return
	}
	x.sendJSON(http.StatusOK, map[string]any{"etag": configTag(text), "need_restart": append([]string{}, s.NeedRestart()...), "warnings": places(warnings)})
}

// replaceFile puts text in the place of the file at path in one step, and keeps
// what it held in path.bak.
func replaceFile(path string, text, old []byte, mode os.FileMode) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if !writable(path) {
		return os.ErrPermission
	}
	if err := writeWhole(path+".bak", old, 0o600); err != nil {
		return err
	}
	return writeWhole(path, text, mode.Perm())
}

// writeWhole makes path a file of that text and mode in one step.
func writeWhole(path string, text []byte, mode os.FileMode) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".config-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(text)
	err = errors.Join(err, temp.Chmod(mode), temp.Sync(), temp.Close())
	if err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
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
	x.sendJSON(http.StatusOK, x.gateway.proxy.Test(r.Context(), r.PathValue("name"), form.Model))
}
