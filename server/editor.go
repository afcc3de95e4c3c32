package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"proxycast/server/config"
	"proxycast/upstream/dialect"
)

// The config file as the dashboard's editor shows and saves it. The file is written
// as a whole or not at all, and never holds for long what cannot be put in force.

// failConfig answers a config that was not put in force.
func (x *exchange) failConfig(status int, err error) {
	x.rec.Status, x.rec.ErrorType, x.rec.Error = status, "invalid_config", "the config was not put in force"
	faults := config.Faults{}
	errors.As(err, &faults)
	x.sendJSON(status, map[string]any{
		"error":  map[string]any{"message": err.Error(), "type": "invalid_request_error", "code": "invalid_config", "param": nil, "faults": faults},
		"faults": faults,
	})
}

// showConfig answers GET /_config with the file's text, secrets masked.
func showConfig(x *exchange, r *http.Request) {
	path := x.gateway.config.Path
	text, _, err := config.ReadFile(path)
	if err != nil {
		x.failUnreadable(err)
		return
	}
	shown, err := config.Mask(text)
	if err != nil {
		x.failUnreadable(err)
		return
	}
	h := x.Header()
	h["Etag"] = []string{config.Tag(text)}
	h["X-Config-Writable"] = []string{strconv.FormatBool(writable(path))}
	x.send(http.StatusOK, "text/plain; charset=utf-8", shown)
}

// failUnreadable answers where the config file cannot be shown.
func (x *exchange) failUnreadable(err error) {
	x.fail(dialect.Failure{Status: http.StatusInternalServerError, Code: "config_unreadable",
		Message: "the config file cannot be read or is not valid JSON: " + x.gateway.config.Path}, err)
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

// putConfig answers PUT /_config: it validates the text and, unless ?check=1, saves it
// and puts it in force.
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
	present, mode, unreadable := config.ReadFile(path)
	if unreadable != nil {
		present, mode = nil, 0o600
	}
	u := config.Unmask(body, present)
	faults, warnings := x.gateway.config.Check(u, mode)
	switch {
	case r.URL.Query().Get("check") == "1":
		x.recording = recordFailures // nothing has changed
		x.sendJSON(http.StatusOK, map[string]any{"faults": faults, "warnings": warnings})
		return
	case len(faults) > 0:
		x.failConfig(http.StatusUnprocessableEntity, faults)
		return
	case unreadable != nil:
		x.failUnreadable(unreadable)
		return
	case r.Header.Get("If-Match") != config.Tag(present):
		x.fail(dialect.Failure{Status: http.StatusPreconditionFailed, Code: "config_changed",
			Message: "the file has changed since it was shown, or If-Match is missing; load it again"}, nil)
		return
	}
	switch err := s.save(path, u.Text, present, mode.Perm()); {
	case errors.Is(err, errReadOnly):
		x.fail(dialect.Failure{Status: http.StatusForbidden, Code: "config_read_only", Message: "the config file cannot be written: " + path}, err)
	case err != nil:
		x.failConfig(http.StatusUnprocessableEntity, err)
	default:
		x.sendJSON(http.StatusOK, map[string]any{"etag": config.Tag(u.Text), "need_restart": append([]string{}, s.NeedRestart()...), "warnings": warnings})
	}
}

// errReadOnly is why a config file was not saved: it, or its backup, cannot be written.
var errReadOnly = errors.New("server: the config file cannot be written")

// save puts text in the place of the config file at path in one step, keeps what it held,
// old, in path.bak, and reloads. Where that fails the file holds old again, and the error
// says so.
func (s *Server) save(path string, text, old []byte, mode os.FileMode) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if !writable(path) {
		return errReadOnly
	}
	if err := writeWhole(path+".bak", old, 0o600); err != nil {
		return fmt.Errorf("%w: %w", errReadOnly, err)
	}
	if err := writeWhole(path, text, mode); err != nil {
		return fmt.Errorf("%w: %w", errReadOnly, err)
	}
	fault := s.reloadFault.Load()
	err := s.ReloadFile()
	if err == nil {
		return nil
	}
	if lost := writeWhole(path, old, mode); lost != nil {
		return fmt.Errorf("%w\nthe file holds this config, %s.bak what it held before: %w", err, path, lost)
	}
	s.reloadFault.Store(fault) // what failed is no longer in the file
	return fmt.Errorf("%w\nthe file holds what it held before", err)
}

// writeWhole makes path a file of that text and mode in one step.
func writeWhole(path string, text []byte, mode os.FileMode) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".config-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(text)
	keepOwner(temp, path)
	err = errors.Join(err, temp.Chmod(mode), temp.Sync(), temp.Close())
	if err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}
