// Package server is the gateway's HTTP side: it loads the config, joins the
// parts that know nothing of each other, and answers.
//
// Nobody makes the process hold more than 300 MiB with the defaults, wait without end, or write and say without
// measure. What is at most held, waited for or told, and what happens beyond it; a key of the config in brackets,
// with its default:
//
//	no key     a head               32 KiB, 100 lines, 10 s              431, or closed
//	           connections          [server.max_connections, no limit]   they wait
//	           idle connection      120 s                                closed
//	           refused body         2 s                                  closed
//	           rows in the log      1,000, then 10 a second              added up, a row a second
//	           failed logins        10 a minute and address              429
//	           lines on stderr      100, then 5 a second, 256 KiB unread left out, counted
//	key        body                 [server.max_body, 32 MiB]            413
//	           bodies under way     half of [server.max_inflight_bytes,  503
//	                                128 MiB] or max_body; all of it in all
//	           slow body            15 s a byte, 30 s + 1 s/128 KiB      408
//	           unread reply         60 s a write                         cut
//	           body to the demo     1 MiB                                413
//	provider   head of a reply      32 KiB                               502
//	           body of an error     1 MiB, unpacked                      ours in its place
//	           held reply           1 MiB, stream 64 KiB, complete 8 MiB passed on
//	           time                 [upstream.providers[].timeouts]      504, or cut
//	           model list           8 MiB, 5,000 models, 3 s             left out
//	           count of tokens      2^31                                 none is noted
//	operator   config               1 MiB, regular file                  refused
//	           files it names       key 4 KiB, certificate 1 MiB         refused
//	           query                1,000 rows, 500 steps, 200 groups, 5 s  the next page, 400, other, truncated
//	           sessions of a key    16, 24 h                             the oldest ends
//	           log                  [logs.max_file, max_total, ring]     the oldest go
//	           models in metrics    200                                  other
//
// The tests of the whole binary drive these bounds and measure what the process takes.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"proxycast/logs"
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

	connections atomic.Int64 // that clients hold open

	metrics  *metrics
	sessions sessions
	logins   loginFailures
	refusals refusals

	store    atomic.Pointer[logs.Store]
	swapping sync.RWMutex // held for reading while a record is added

	changing    sync.Mutex                  // one reload or restart at a time
	loaded      atomic.Pointer[Config]      // what the listener and the log were made of
	seen        atomic.Value                // string: the state of the config file when it was last read
	reloadFault atomic.Pointer[string]      // of the last reload; nil: it was good
	restarts    chan restart                // taken by Run
	address     atomic.Pointer[net.TCPAddr] // that Run listens on
	certificate atomic.Pointer[tls.Certificate]
	saving      sync.Mutex // one write of the config file at a time

	stopping context.Context // ends when the drain begins: what would not end by itself ends with it
	stop     context.CancelFunc
	hurrying context.Context // ends when the drain is to end
	hurry    context.CancelFunc
}

// New makes a Server of cfg that records into store.
func New(cfg *Config, store *logs.Store) (*Server, error) {
	s := &Server{started: time.Now(), metrics: newMetrics(), pages: loadPages(), restarts: make(chan restart)}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.hurrying, s.hurry = context.WithCancel(context.Background())
	s.mux = s.routes()
	g, err := s.compile(cfg, &gateway{}, cfg.Server.Host)
	if err != nil {
		return nil, masked(err, cfg)
	}
	s.store.Store(store)
	s.loaded.Store(cfg)
	s.seen.Store(cfg.Tag)
	s.gateway.Store(g)
	s.paused.Store(cfg.Server.Paused)
	return s, nil
}

// Open checks the files of keys and certificates, opens its request log, and makes a Server of both. Close it.
func Open(cfg *Config) (*Server, error) {
	if err := checkSecrets(cfg); err != nil {
		return nil, err
	}
	store, err := openLog(cfg)
	if err != nil {
		return nil, masked(err, cfg)
	}
	s, err := New(cfg, store)
	if err != nil {
		store.Close()
		return nil, err
	}
	return s, nil
}

// openLog opens the request log of cfg. One that another gateway has open is ErrBind.
func openLog(cfg *Config) (*logs.Store, error) {
	if info, err := os.Stat(cfg.Logs.File); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("logs: file: %s is not a regular file", cfg.Logs.File)
	}
	settings := cfg.Logs
	settings.Messages = log.Writer()
	store, err := logs.Open(settings)
	if errors.Is(err, logs.ErrLocked) { // another gateway runs with this config
		err = fmt.Errorf("%w: %w", ErrBind, err)
	}
	return store, err
}

// Close closes the request log. Run must have returned.
func (s *Server) Close() error {
	s.refusals.end(s.add)
	return s.log().Close()
}

// Hurry has the drain end at once: requests under way are told that the gateway ends, and recorded.
func (s *Server) Hurry() { s.hurry() }

// Hurried reports whether Hurry was called.
func (s *Server) Hurried() bool { return s.hurrying.Err() != nil }

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
