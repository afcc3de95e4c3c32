package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/netutil"

	"proxycast/auth"
	"proxycast/server/config"
)

// The listener: bound, served, handed over at a restart, drained at the end.

// ErrBind is why an address, or the request log, could not be had: something else
// has it.
var ErrBind = errors.New("server: cannot listen")

// Limits of the HTTP server itself.
const (
	headerTimeout   = 10 * time.Second
	idleTimeout     = 120 * time.Second
	maxHeader       = 32 << 10
	maxHeaderFields = 100
	maxCertificate  = 1 << 20                // bytes of a TLS file
	unusedGrace     = 200 * time.Millisecond // at shutdown, for a connection that has not sent a byte
	endAfterDrain   = 800 * time.Millisecond // for streams that were told to end
	closeGrace      = 2 * time.Second        // for kept-alive connections of an address that is given up
	closedGrace     = time.Second            // for requests whose connections were closed
	statePollPeriod = 10 * time.Millisecond
)

// restart asks Run to apply config.
type restart struct {
	config *Config
	done   chan error
}

// Run listens and serves until ctx ends, then drains: the listener closes,
// requests under way have the drain time, and what remains after it is told
// that the gateway ends. listening is called once the address is bound. An
// address that cannot be bound is ErrBind.
func (s *Server) Run(ctx context.Context, listening func(addr net.Addr)) error {
	now, err := s.listen(s.loaded.Load().Server, nil)
	if err != nil {
		return err
	}
	var retired sync.WaitGroup
	defer retired.Wait()
	defer s.stop() // what is retired waits for it
	now.serve(s)
	s.ready.Store(true)
	listening(now.Addr())
	go s.mindMemory(s.stopping)
	for ctx.Err() == nil {
		select {
		case err := <-now.ended:
			return fmt.Errorf("server: %w", err)
		case <-ctx.Done():
		case request := <-s.restarts:
			next, err := s.apply(now, request.config)
			if next != now {
				old := now
				now = next
				retired.Go(func() { s.retire(old, next) })
			}
			request.done <- err
		}
	}
	s.ready.Store(false)
	s.stop()
	s.drain(now)
	return nil
}

// apply puts cfg in force in all its parts, or in none of them. It returns the listener
// that accepts from now on, which is the present one unless the listener changes.
func (s *Server) apply(now *listener, cfg *Config) (next *listener, err error) {
	defer func() {
		err = masked(err, cfg)
		s.noteReload(err)
	}()
	old := s.loaded.Load()
	g, err := s.compile(cfg, s.gateway.Load(), cfg.Server.Host)
	if err != nil {
		return now, err
	}
	next = now
	if now.differs(cfg.Server) {
		next, err = s.listen(cfg.Server, now)
	}
	// It may be this gateway that has the address: 127.0.0.1 is part of 0.0.0.0.
	late := errors.Is(err, syscall.EADDRINUSE) && old.Server.Port == cfg.Server.Port
	if err != nil && !late {
		return now, err
	}
	if old.Logs != cfg.Logs {
		if err := s.swapLog(cfg); err != nil {
			if !late {
				next.discard(now)
			}
			return now, err
		}
	}
	if late {
		if next, err = s.exchangeAddress(now, cfg.Server); err != nil {
			if old.Logs != cfg.Logs {
				err = errors.Join(err, s.swapLog(old))
			}
			return next, err
		}
	}
	s.loaded.Store(cfg)
	s.gateway.Store(g)
	if next != now {
		next.serve(s)
	}
	return next, nil
}

// differs reports whether cfg needs another listener than v. A certificate may have
// been renewed under the same name.
func (v *listener) differs(cfg config.Settings) bool {
	is := v.settings
	return is.Host != cfg.Host || is.Port != cfg.Port || is.TLS != cfg.TLS || cfg.TLS.Cert != "" || is.MaxConnections != cfg.MaxConnections
}

// discard closes v, which has not served, unless it shares the socket of now, which stays.
func (v *listener) discard(now *listener) {
	if v != now && v.lease.socket != now.lease.socket {
		v.lease.Close()
	}
}

// exchangeAddress closes the present address before it binds the new one. If
// that cannot be had, it returns a listener on the old one.
func (s *Server) exchangeAddress(now *listener, settings config.Settings) (*listener, error) {
	now.lease.Close()
	next, err := s.listen(settings, nil)
	if err == nil {
		return next, nil
	}
	bound, again := bind(now.settings)
	if again != nil {
		return now, errors.Join(err, again)
	}
	back := newListener(now.settings, s.certificate.Load(), newLease(bound)) // the certificate's files may be gone
	back.serve(s)
	return back, err
}

// listener is one bound address and the HTTP server behind it.
type listener struct {
	settings config.Settings
	lease    *lease
	cert     *tls.Certificate // nil: plain HTTP
	srv      *http.Server
	requests context.Context
	end      context.CancelCauseFunc // of the requests
	inFlight atomic.Int64
	closing  atomic.Bool // each connection ends with its next answer
	conns    openConns
	ended    chan error
}

// listen makes a listener with the configured address: bound anew, or taken over
// from now when that has it. It does not accept yet.
func (s *Server) listen(cfg config.Settings, now *listener) (*listener, error) {
	var cert *tls.Certificate
	if cfg.TLS.Cert != "" {
		var err error
		if cert, err = loadCertificate(cfg.TLS); err != nil {
			return nil, err
		}
	}
	if now != nil && now.settings.Host == cfg.Host && now.settings.Port == cfg.Port {
		return newListener(cfg, cert, &lease{socket: now.lease.socket}), nil
	}
	bound, err := bind(cfg)
	if err != nil {
		return nil, err
	}
	return newListener(cfg, cert, newLease(bound)), nil
}

func newListener(cfg config.Settings, cert *tls.Certificate, l *lease) *listener {
	v := &listener{
		settings: cfg, cert: cert, lease: l, ended: make(chan error, 1),
		conns: openConns{unused: map[net.Conn]bool{}, gone: make(chan struct{})},
	}
	v.requests, v.end = context.WithCancelCause(context.Background())
	return v
}

// loadCertificate reads a certificate and its key.
func loadCertificate(files config.TLS) (*tls.Certificate, error) {
	chain, _, err := auth.ReadFile(files.Cert, maxCertificate)
	if err != nil {
		return nil, fmt.Errorf("server: tls.cert: %w", err)
	}
	key, _, err := auth.ReadFile(files.Key, maxCertificate)
	if err != nil {
		return nil, fmt.Errorf("server: tls.key: %w", err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("server: tls: %w", err)
	}
	return &pair, nil
}

// bind listens on the configured address. One that cannot be had is ErrBind.
func bind(cfg config.Settings) (*net.TCPListener, error) {
	address := net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port))
	ln, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%w on %s: %w, perhaps by another ProxyCast; stop that program or set server.port", ErrBind, address, syscall.EADDRINUSE)
	case err != nil:
		return nil, fmt.Errorf("%w on %s: %w", ErrBind, address, err)
	}
	return ln.(*net.TCPListener), nil
}

// Addr returns the address that is listened on.
func (v *listener) Addr() net.Addr { return v.lease.Addr() }

// serve begins to accept. A listener that had the address before stops to.
func (v *listener) serve(s *Server) {
	v.lease.take()
	var ln net.Listener = v.lease
	if v.settings.MaxConnections > 0 {
		ln = netutil.LimitListener(ln, v.settings.MaxConnections)
	}
	if v.cert != nil {
		s.certificate.Store(v.cert)
		newest := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.certificate.Load(), nil }
		ln = tls.NewListener(ln, &tls.Config{GetCertificate: newest, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12})
	}
	v.conns.everywhere = &s.connections
	v.srv = &http.Server{
		Handler:                      http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { v.answer(s, w, r) }),
		ReadHeaderTimeout:            headerTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeader,
		DisableGeneralOptionsHandler: true, // it would answer OPTIONS * before any check
		BaseContext:                  func(net.Listener) context.Context { return v.requests },
		ConnState:                    v.conns.track,
		ErrorLog:                     log.New(log.Writer(), "proxycast: ", 0),
	}
	if addr, ok := v.Addr().(*net.TCPAddr); ok {
		s.address.Store(addr)
	}
	go func() { v.ended <- v.srv.Serve(ln) }()
}

func (v *listener) answer(s *Server, w http.ResponseWriter, r *http.Request) {
	v.inFlight.Add(1)
	defer v.inFlight.Add(-1)
	if v.closing.Load() {
		w.Header()["Connection"] = []string{"close"}
	}
	s.answer(w, r, config.IsLoopback(v.settings.Host))
}

// retire ends a listener that next has replaced. To close a kept-alive connection
// may lose the request that is on its way: where the address stays, the listener
// lasts until its last connection has ended, or all ends; where it changes, the
// connections have some time to end with an answer.
func (s *Server) retire(v, next *listener) {
	if v.lease.socket == next.lease.socket {
		select {
		case <-v.ended: // it accepts no more
			v.conns.retire()
		case <-s.stopping.Done():
		}
		select {
		case <-v.conns.gone:
		case <-s.stopping.Done():
		}
	} else {
		v.lease.Close()
		v.closing.Store(true)
		select {
		case <-time.After(closeGrace):
		case <-s.stopping.Done():
		}
	}
	s.drain(v)
}

// drain ends a listener: gently within its drain time, then at once.
func (s *Server) drain(v *listener) {
	ctx, cancel := context.WithTimeout(s.hurrying, s.gateway.Load().config.Server.Drain)
	defer cancel()
	defer v.end(nil)
	// Shutdown would wait 5 s for connections that have not sent a byte.
	grace := time.AfterFunc(unusedGrace, v.conns.closeUnused)
	defer grace.Stop()
	if v.srv.Shutdown(ctx) == nil {
		return
	}
	v.end(errShutdown)
	for end := time.Now().Add(endAfterDrain); v.inFlight.Load() > 0 && time.Now().Before(end); {
		time.Sleep(statePollPeriod)
	}
	v.srv.Close()
	for end := time.Now().Add(closedGrace); v.inFlight.Load() > 0 && time.Now().Before(end); { // their records
		time.Sleep(statePollPeriod)
	}
}
