package server

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/netip"
	"strings"

	"proxycast/auth"
	"proxycast/cors"
	"proxycast/server/config"
	"proxycast/upstream"
)

// A config is put in force as a whole: compiled beside the one that serves, and swapped
// with it in one store.

// gateway is one config, compiled. It is immutable: a reload makes another.
type gateway struct {
	config      *Config
	keys        *auth.Keys
	proxy       *upstream.Proxy
	buffers     *upstream.Buffers
	mask        *strings.Replacer // of secrets, in what is said to the operator
	trusted     []netip.Prefix    // proxies
	cors        http.Handler
	crossOrigin *http.CrossOriginProtection // nil: keys are asked for
}

// ReloadFile does what Reload does, with the config in the file that the Server was
// made of. A file with faults is a failed reload.
func (s *Server) ReloadFile() error {
	cfg, err := s.loadFile()
	if err != nil {
		return err
	}
	err = s.Reload(cfg)
	if err == nil {
		warn(cfg)
	}
	return err
}

// warn tells the operator what of a config in force should not be.
func warn(cfg *Config) {
	if len(cfg.Warnings) > 0 {
		log.Print("warning: " + strings.Join(cfg.Warnings, "\nwarning: "))
	}
}

// loadFile reads the config file again.
func (s *Server) loadFile() (*Config, error) {
	s.seen.Store(fileState(s.loaded.Load().Path))
	cfg, err := s.loaded.Load().Reread()
	if err != nil {
		s.noteReload(err)
	}
	return cfg, err
}

// ConfigState returns a text that changes when the content of the config file does, and whether it has since the file
// was last read.
func (s *Server) ConfigState() (state string, changed bool) {
	state = fileState(s.loaded.Load().Path)
	return state, state != s.seen.Load()
}

func fileState(path string) string {
	text, _, err := config.ReadFile(path)
	if err != nil {
		return "" // between the removal and the return of a file that an editor replaces
	}
	return config.Tag(text)
}

// noteReload keeps the fault of a reload for /_status.
func (s *Server) noteReload(err error) {
	if err == nil {
		s.reloadFault.Store(nil)
		return
	}
	text := err.Error()
	s.reloadFault.Store(&text)
}

// Reload puts cfg in force for the requests that come from now on; those under
// way finish on what they began with. On an error the old config stays.
func (s *Server) Reload(cfg *Config) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	old := s.loaded.Load().Server
	g, err := s.compile(cfg, s.gateway.Load(), old.Host)
	if err == nil && old.TLS.Cert != "" && old.TLS == cfg.Server.TLS {
		err = s.renewCertificate(old.TLS)
	}
	if err == nil {
		s.gateway.Store(g)
	}
	err = masked(err, cfg)
	s.noteReload(err)
	return err
}

// renewCertificate takes over what the files of the certificate hold now.
func (s *Server) renewCertificate(files config.TLS) error {
	cert, err := loadCertificate(files)
	if err == nil {
		s.certificate.Store(cert)
	}
	return err
}

// Check tells what would keep a config from being put in force, beyond what Load has told: the files that it names. It
// makes and changes none.
func Check(cfg *Config) error {
	return errors.Join(checkSecrets(cfg), masked(cfg.Logs.CheckFile(), cfg))
}

// checkSecrets tells what is wrong with the files of keys and certificates. A log that cannot be opened is waited for
// instead.
func checkSecrets(cfg *Config) error {
	faults := []error{cfg.Auth.CheckFiles()}
	if cfg.Server.TLS.Cert != "" {
		_, err := loadCertificate(cfg.Server.TLS)
		faults = append(faults, err)
	}
	return masked(errors.Join(faults...), cfg)
}

// errOpen refuses to switch keys off while other machines can reach the listener.
var errOpen = errors.New("server: auth.enabled is false, but the gateway still listens beyond loopback; restart it with a loopback host first")

// Restart reads the config file and puts all of it in force: a changed address is
// bound before the old one is closed, and what is under way there finishes within
// the drain time. On an error all stays as it was.
func (s *Server) Restart() error {
	cfg, err := s.loadFile()
	if err != nil {
		return err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	request := restart{cfg, make(chan error, 1)}
	select {
	case s.restarts <- request:
		err := <-request.done
		if err == nil {
			warn(cfg)
		}
		return err
	case <-s.stopping.Done():
		return errShutdown
	}
}

// compile builds a gateway for a listener on host. It takes over from prev what
// outlives a reload, and leaves prev as it is. A config that makes the code panic is
// an error like any other: the gateway keeps serving with prev.
func (s *Server) compile(cfg *Config, prev *gateway, host string) (g *gateway, err error) {
	defer func() {
		if p := recover(); p != nil {
			g, err = nil, fmt.Errorf("server: this config cannot be put in force: %v", p)
		}
	}()
	if !cfg.Auth.Enabled && !config.IsLoopback(host) {
		return nil, errOpen
	}
	g = &gateway{config: cfg, buffers: prev.buffers, trusted: config.Prefixes(cfg.Server.TrustedProxies)}
	if limit, body := cfg.Server.MaxInflightBytes, cfg.Server.MaxBody; prev.config == nil || prev.config.Server.MaxInflightBytes != limit || prev.config.Server.MaxBody != body {
		g.buffers = upstream.NewBuffers(limit, max(body, limit/2))
	}
	cross := cfg.CORS
	var errKeys, errProxy, errTrust error
	if !cfg.Auth.Enabled {
		cross.Origins, g.crossOrigin, errTrust = keylessOrigins(cross.Origins)
	}
	g.keys, errKeys = auth.New(cfg.Auth, prev.keys)
	g.proxy, errProxy = upstream.New(cfg.Upstream, prev.proxy)
	middleware, errCORS := cors.New(cross)
	if err := errors.Join(errKeys, errProxy, errCORS, errTrust); err != nil {
		return nil, err
	}
	g.mask = maskOf(cfg.Secrets())
	g.cors = middleware(http.HandlerFunc(s.dispatch))
	return g, nil
}

// keylessOrigins returns the web origins that may call while no keys are asked for, which
// are those of the config but *, as that would let any web page in; and the check that a
// browser's request comes from one of them, or from none.
func keylessOrigins(configured []string) (origins []string, check *http.CrossOriginProtection, err error) {
	check = http.NewCrossOriginProtection()
	for _, origin := range configured {
		if origin == "*" {
			continue
		}
		origins = append(origins, origin)
		if !strings.Contains(origin, "*") { // the check knows no wildcards
			err = errors.Join(err, check.AddTrustedOrigin(origin))
		}
	}
	return origins, check, err
}

// NeedRestart names the settings of the config in force that only a restart
// puts into effect.
func (s *Server) NeedRestart() (names []string) {
	old, now := s.loaded.Load(), s.gateway.Load().config
	for _, setting := range []struct {
		name string
		same bool
	}{
		{"logs", old.Logs == now.Logs},
		{"server.host", old.Server.Host == now.Server.Host},
		{"server.max_connections", old.Server.MaxConnections == now.Server.MaxConnections},
		{"server.port", old.Server.Port == now.Server.Port},
		{"server.tls", old.Server.TLS == now.Server.TLS},
	} {
		if !setting.same {
			names = append(names, setting.name)
		}
	}
	return names
}
