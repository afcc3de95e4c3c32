// Package server is the gateway's HTTP side: it loads the config, joins the
// parts that know nothing of each other, and answers.
package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/netutil"

	"proxycast/auth"
	"proxycast/cors"
	"proxycast/logs"
	"proxycast/upstream"
)

// Version is the release that the code belongs to.
const Version = "0.1.0"

// ErrBind is why Run could not listen.
var ErrBind = errors.New("server: cannot listen")

// Limits of the HTTP server itself.
const (
	headerTimeout   = 10 * time.Second
	idleTimeout     = 120 * time.Second
	maxHeader       = 256 << 10
	unusedGrace     = 200 * time.Millisecond // at shutdown, for a connection that has not sent a byte
	endAfterDrain   = 800 * time.Millisecond // for streams that were told to end
	statePollPeriod = 10 * time.Millisecond
)

// errShutdown is what requests are told that outlast the drain.
var errShutdown = &upstream.Error{
	Status: http.StatusServiceUnavailable, Code: "shutting_down", Message: "the gateway is shutting down",
}

// Server answers requests with the gateway that its last good config made.
type Server struct {
	store    *logs.Store
	mux      *http.ServeMux
	gateway  atomic.Pointer[gateway]
	started  time.Time
	ready    atomic.Bool
	inFlight atomic.Int64 // API requests being answered
	loaded   *Config      // what the listener and the log were made of
	metrics  *metrics

	stopping context.Context // ends when the drain begins: what would not end by itself ends with it
	stop     context.CancelFunc

	reloading   sync.Mutex
	reloadFault atomic.Pointer[string] // of the last reload; nil: it was good
}

// gateway is one config, compiled. It is immutable: a reload makes another.
type gateway struct {
	config      *Config
	keys        *auth.Keys
	proxy       *upstream.Proxy
	buffers     *upstream.Buffers
	cors        http.Handler
	onLoopback  bool
	crossOrigin *http.CrossOriginProtection // nil: keys are asked for
}

// New makes a Server of cfg that records into store.
func New(cfg *Config, store *logs.Store) (*Server, error) {
	s := &Server{store: store, started: time.Now(), loaded: cfg, metrics: newMetrics()}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.mux = s.routes()
	g, err := s.compile(cfg, &gateway{})
	if err != nil {
		return nil, err
	}
	s.gateway.Store(g)
	return s, nil
}

// Open opens the request log of cfg and makes a Server of both. Close it.
func Open(cfg *Config) (*Server, error) {
	store, err := logs.Open(cfg.Logs)
	if errors.Is(err, logs.ErrLocked) { // another gateway runs with this config
		return nil, fmt.Errorf("%w: %w", ErrBind, err)
	}
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

// Close closes the request log. Run must have returned.
func (s *Server) Close() error { return s.store.Close() }

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

// ReloadFile does what Reload does, with the config in the file at path. A file
// with faults is a failed reload.
func (s *Server) ReloadFile(path string, getenv func(string) (string, bool)) error {
	cfg, err := Load(path, getenv)
	if err != nil {
		text := err.Error()
		s.reloadFault.Store(&text)
		return err
	}
	return s.Reload(cfg)
}

// Reload puts cfg in force for the requests that come from now on; those under
// way finish on what they began with. On an error the old config stays.
func (s *Server) Reload(cfg *Config) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	g, err := s.compile(cfg, s.gateway.Load())
	if err != nil {
		text := err.Error()
		s.reloadFault.Store(&text)
		return err
	}
	s.gateway.Store(g)
	s.reloadFault.Store(nil)
	return nil
}

// compile builds a gateway that takes over from prev what outlives a reload.
func (s *Server) compile(cfg *Config, prev *gateway) (*gateway, error) {
	g := &gateway{config: cfg, onLoopback: isLoopback(cfg.Server.Host), buffers: prev.buffers}
	if prev.config == nil || prev.config.Server.MaxInflightBytes != cfg.Server.MaxInflightBytes {
		g.buffers = upstream.NewBuffers(cfg.Server.MaxInflightBytes)
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
	old, now := s.loaded, s.gateway.Load().config
	var names []string
	for name, same := range map[string]bool{
		"server.host":            old.Server.Host == now.Server.Host,
		"server.port":            old.Server.Port == now.Server.Port,
		"server.tls":             old.Server.TLS == now.Server.TLS,
		"server.max_connections": old.Server.MaxConnections == now.Server.MaxConnections,
		"logs":                   reflect.DeepEqual(old.Logs, now.Logs),
	} {
		if !same {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Run listens and serves until ctx ends, then drains: the listener closes,
// requests under way have the drain time, and what remains after it is told
// that the gateway ends. listening is called once the address is bound. An
// address that cannot be bound is ErrBind.
func (s *Server) Run(ctx context.Context, listening func(addr net.Addr)) error {
	cfg := s.loaded.Server
	ln, err := listen(cfg)
	if err != nil {
		return err
	}
	requests, endRequests := context.WithCancelCause(context.Background())
	defer endRequests(nil)
	unused := &unusedConns{conns: map[net.Conn]bool{}}
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ConnState:         unused.track,
		ErrorLog:          log.New(os.Stderr, "proxycast: ", 0),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	s.ready.Store(true)
	listening(ln.Addr())
	select {
	case err = <-served:
		return fmt.Errorf("server: %w", err)
	case <-ctx.Done():
	}
	s.ready.Store(false)
	s.stop()
	s.drain(srv, unused, cfg.Drain, endRequests)
	<-served
	return nil
}

// drain ends srv: gently within limit, then at once.
func (s *Server) drain(srv *http.Server, unused *unusedConns, limit time.Duration, endRequests context.CancelCauseFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	// Shutdown would wait 5 s for connections that have not sent a byte.
	time.AfterFunc(unusedGrace, unused.close)
	if srv.Shutdown(ctx) == nil {
		return
	}
	endRequests(errShutdown)
	for end := time.Now().Add(endAfterDrain); s.inFlight.Load() > 0 && time.Now().Before(end); {
		time.Sleep(statePollPeriod)
	}
	srv.Close()
}

// listen binds the configured address.
func listen(cfg Settings) (net.Listener, error) {
	address := net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port))
	ln, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%w on %s: the address is in use, perhaps by another ProxyCast; stop that program or set server.port", ErrBind, address)
	case err != nil:
		return nil, fmt.Errorf("%w on %s: %w", ErrBind, address, err)
	}
	if cfg.MaxConnections > 0 {
		ln = netutil.LimitListener(ln, cfg.MaxConnections)
	}
	if cfg.TLS.Cert == "" {
		return ln, nil
	}
	cert, err := tls.LoadX509KeyPair(cfg.TLS.Cert, cfg.TLS.Key)
	if err != nil {
		ln.Close()
		return nil, fmt.Errorf("server: tls: %w", err)
	}
	return tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12}), nil
}

// unusedConns knows the connections that have not sent a byte yet.
type unusedConns struct {
	mu    sync.Mutex
	conns map[net.Conn]bool
}

func (u *unusedConns) track(c net.Conn, state http.ConnState) {
	if state == http.StateIdle {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if state == http.StateNew {
		u.conns[c] = true
	} else {
		delete(u.conns, c)
	}
}

func (u *unusedConns) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for c := range u.conns {
		c.Close()
	}
}
