// Package server is the gateway's HTTP side: it loads the config, joins the
// parts that know nothing of each other, and answers.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"proxycast/auth"
	"proxycast/cors"
	"proxycast/logs"
	"proxycast/server/config"
	"proxycast/upstream"
)

// Version is the release that the code belongs to.
const Version = "0.1.0"

// errShutdown is what requests are told that outlast the drain.
var errShutdown = &upstream.Error{
	Status: http.StatusServiceUnavailable, Code: "shutting_down", Message: "the gateway is shutting down",
}

// Server answers requests with the gateway that its last good config made.
type Server struct {
	mux       *http.ServeMux
	pages     map[string]page
	gateway   atomic.Pointer[gateway]
	started   time.Time
	ready     atomic.Bool
	paused    atomic.Bool  // the client API answers 503
	inFlight  atomic.Int64 // API requests being answered
	streams   atomic.Int64 // of these, the ones that stream
	answered  atomic.Int64 // API requests so far
	followers atomic.Int64 // of the request log
	metrics   *metrics
	sessions  sessions

	store    atomic.Pointer[logs.Store]
	swapping sync.RWMutex // held for reading while a record is added

	changing    sync.Mutex                  // one reload or restart at a time
	loaded      atomic.Pointer[Config]      // what the listener and the log were made of
	reloadFault atomic.Pointer[string]      // of the last reload; nil: it was good
	restarts    chan restart                // taken by Run
	address     atomic.Pointer[net.TCPAddr] // that Run listens on
	saving      sync.Mutex                  // one write of the config file at a time

	stopping context.Context // ends when the drain begins: what would not end by itself ends with it
	stop     context.CancelFunc
}

// gateway is one config, compiled. It is immutable: a reload makes another.
type gateway struct {
	config      *Config
	keys        *auth.Keys
	proxy       *upstream.Proxy
	buffers     *upstream.Buffers
	cors        http.Handler
	crossOrigin *http.CrossOriginProtection // nil: keys are asked for
}

// New makes a Server of cfg that records into store.
func New(cfg *Config, store *logs.Store) (*Server, error) {
	s := &Server{started: time.Now(), metrics: newMetrics(), pages: loadPages(), restarts: make(chan restart)}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.mux = s.routes()
	g, err := s.compile(cfg, &gateway{}, cfg.Server.Host)
	if err != nil {
		return nil, err
	}
	s.store.Store(store)
	s.loaded.Store(cfg)
	s.gateway.Store(g)
	s.paused.Store(cfg.Server.Paused)
	return s, nil
}

// Open opens the request log of cfg and makes a Server of both. Close it.
func Open(cfg *Config) (*Server, error) {
	store, err := openLog(cfg)
	if err != nil {
		return nil, err
	}
	s, err := New(cfg, store)
	if err != nil {
		store.Close()
		return nil, err
	}
	return s, nil
}

func openLog(cfg *Config) (*logs.Store, error) {
	store, err := logs.Open(cfg.Logs)
	if errors.Is(err, logs.ErrLocked) { // another gateway runs with this config
		err = fmt.Errorf("%w: %w", ErrBind, err)
	}
	return store, err
}

// Close closes the request log. Run must have returned.
func (s *Server) Close() error { return s.log().Close() }

// log returns the request log. A restart may put another in its place and close it.
func (s *Server) log() *logs.Store { return s.store.Load() }

// add appends a record to the log. A log that fails must not fail a request: the
// store counts and tells.
func (s *Server) add(rec *logs.Record) {
	s.swapping.RLock()
	defer s.swapping.RUnlock()
	s.log().Add(rec)
}

// swapLog puts the log of cfg in the place of the present one.
func (s *Server) swapLog(cfg *Config) error {
	s.swapping.Lock()
	defer s.swapping.Unlock()
	old := s.log()
	old.Close() // its lock file may be the new one's too
	store, err := openLog(cfg)
	if err != nil {
		if store, again := openLog(s.loaded.Load()); again == nil {
			s.store.Store(store)
		}
		return err
	}
	s.store.Store(store)
	return nil
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

// ReloadFile does what Reload does, with the config in the file that the Server was
// made of. A file with faults is a failed reload.
func (s *Server) ReloadFile() error {
	cfg, err := s.loadFile()
	if err != nil {
		return err
	}
	return s.Reload(cfg)
}

// loadFile reads the config file again.
func (s *Server) loadFile() (*Config, error) {
	cfg, err := s.loaded.Load().Reread()
	if err != nil {
		s.noteReload(err)
	}
	return cfg, err
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
	g, err := s.compile(cfg, s.gateway.Load(), s.loaded.Load().Server.Host)
	if err == nil {
		s.gateway.Store(g)
	}
	s.noteReload(err)
	return err
}

// errOpen refuses to switch keys off while other machines can reach the listener.
var errOpen = errors.New("server: auth.enabled is false, but the gateway still listens beyond loopback; restart it with a loopback host first")

// Restart reads the config file and puts all of it in force: a changed address is
// bound before the old one is let go of, and what is under way there finishes within
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
		return <-request.done
	case <-s.stopping.Done():
		return errShutdown
	}
}

// compile builds a gateway for a listener on host. It takes over from prev what
// outlives a reload, and leaves prev as it is. A config that makes the code panic is
// an error like any other: what serves goes on serving.
func (s *Server) compile(cfg *Config, prev *gateway, host string) (g *gateway, err error) {
	defer func() {
		if p := recover(); p != nil {
			g, err = nil, fmt.Errorf("server: this config cannot be put in force: %v", p)
		}
	}()
	if !cfg.Auth.Enabled && !config.IsLoopback(host) {
		return nil, errOpen
	}
	g = &gateway{config: cfg, buffers: prev.buffers}
	if limit, body := cfg.Server.MaxInflightBytes, cfg.Server.MaxBody; prev.config == nil || prev.config.Server.MaxInflightBytes != limit || prev.config.Server.MaxBody != body {
		g.buffers = upstream.NewBuffers(limit, max(body, limit/2))
	}
	origins := cfg.CORS
	if !cfg.Auth.Enabled { // then * would let any web page in
		origins.Origins = slices.DeleteFunc(slices.Clone(origins.Origins), func(o string) bool { return o == "*" })
		g.crossOrigin = http.NewCrossOriginProtection()
	}
	var errKeys, errProxy, errTrust error
	if g.crossOrigin != nil {
		for _, origin := range origins.Origins {
			if !strings.Contains(origin, "*") {
				errTrust = errors.Join(errTrust, g.crossOrigin.AddTrustedOrigin(origin))
			}
		}
	}
	g.keys, errKeys = auth.New(cfg.Auth, prev.keys)
	g.proxy, errProxy = upstream.New(cfg.Upstream, prev.proxy)
	middleware, errCORS := cors.New(origins)
	if err := errors.Join(errKeys, errProxy, errCORS, errTrust); err != nil {
		return nil, err
	}
	g.cors = middleware(http.HandlerFunc(s.dispatch))
	return g, nil
}

// NeedRestart names the settings of the config in force that only a restart
// puts into effect.
func (s *Server) NeedRestart() []string {
	old, now := s.loaded.Load(), s.gateway.Load().config
	var names []string
	for name, same := range map[string]bool{
		"server.host":            old.Server.Host == now.Server.Host,
		"server.port":            old.Server.Port == now.Server.Port,
		"server.tls":             old.Server.TLS == now.Server.TLS,
		"server.max_connections": old.Server.MaxConnections == now.Server.MaxConnections,
		"logs":                   old.Logs == now.Logs,
	} {
		if !same {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
