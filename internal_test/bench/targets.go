//go:build linux

// Targets: what is measured. targets.json has one a line; a file beside it may be a
// target's config.
package main

import (
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// target is a line of targets.json. In its command and config stand for the run's values:
// {dir}, a folder of its own, where it runs; {config}, the config's file; {port}, a number
// where it stands alone in quotes; {provider}, host:port; {key}, the client's key;
// {gateway}, the binary built from this tree; {self}, this program.
type target struct {
	Name    string
	Command []string
	Config  json.RawMessage // a string: a file beside targets.json; else the config itself
	Port    int             // 0: a free one
	Log     string          // the request log, a pattern below {dir}; "": records are not counted
	gateway string
}

//go:embed targets.json *.conf
var files embed.FS

// readTargets returns all targets; gateway is the binary that {gateway} stands for.
func readTargets(gateway string) (all []target, err error) {
	text, err := files.ReadFile("targets.json")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("targets.json: %w", err)
	}
	for i := range all {
		all[i].gateway = gateway
	}
	return all, nil
}

// installed reports whether the target's program is there.
func (t target) installed() bool {
	program := t.Command[0]
	if strings.HasPrefix(program, "{") {
		return true
	}
	_, err := exec.LookPath(program)
	return err == nil
}

// prepare writes the target's config into dir and returns its command line.
func (t target) prepare(dir string, port int, provider string) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.json")
	values := strings.NewReplacer(`"{port}"`, strconv.Itoa(port), "{port}", strconv.Itoa(port), "{dir}", dir, "{config}", config,
		"{provider}", provider, "{key}", key, "{gateway}", t.gateway, "{self}", self)
	text := []byte(t.Config)
	if name := ""; json.Unmarshal(text, &name) == nil && name != "" {
		if text, err = files.ReadFile(name); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(config, []byte(values.Replace(string(text))), 0o600); err != nil {
		return nil, err
	}
	argv := make([]string, len(t.Command))
	for i, arg := range t.Command {
		argv[i] = values.Replace(arg)
	}
	return argv, nil
}

// serveReverseProxy serves the yardstick.
func serveReverseProxy(listen, provider string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	return http.Serve(l, reverseProxy(provider))
}

// reverseProxy is the standard library's, with what an honest yardstick needs. Without
// the pool a third of its speed is lost to allocation, and by default it keeps two idle
// connections. Without full duplex the server closes the request's body when the reply
// begins, while the transport may still look for the body's end: that breaks the reply.
func reverseProxy(provider string) http.Handler {
	to := &url.URL{Scheme: "http", Host: provider}
	proxy := &httputil.ReverseProxy{
		Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport:  &http.Transport{MaxIdleConnsPerHost: 10000, DisableCompression: true},
		BufferPool: buffers{&sync.Pool{New: func() any { return make([]byte, 32<<10) }}},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/1.1 always can
		proxy.ServeHTTP(w, r)
	})
}

type buffers struct{ pool *sync.Pool }

func (b buffers) Get() []byte  { return b.pool.Get().([]byte) }
func (b buffers) Put(p []byte) { b.pool.Put(p) }

// setScript tells the provider how to answer.
func setScript(provider string, s script) error {
	res, err := http.Get(fmt.Sprintf("http://%s/script?chunks=%d&pace=%s", provider, s.Chunks, s.Pace))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err
}
