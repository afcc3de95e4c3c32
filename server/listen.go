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
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/netutil"
)

// The listener: bound, served, handed over at a restart, drained at the end.

// ErrBind is why an address, or the request log, could not be had: something else
// has it.
var ErrBind = errors.New("server: cannot listen")

// Limits of the HTTP server itself.
const (
	headerTimeout   = 10 * time.Second
	idleTimeout     = 120 * time.Second
	maxHeader       = 256 << 10
	unusedGrace     = 200 * time.Millisecond // at shutdown, for a connection that has not sent a byte
	endAfterDrain   = 800 * time.Millisecond // for streams that were told to end
	closeGrace      = 2 * time.Second        // for kept-alive connections of an address that is let go of
	tidyEvery       = 10 * time.Second
	closedGrace     = time.Second // for requests whose connections were closed
	statePollPeriod = 10 * time.Millisecond
)

// restart asks Run to go over to cfg.
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
	tidy := time.NewTicker(tidyEvery)
	defer tidy.Stop()
	var tidied int64
	for ctx.Err() == nil {
		select {
		case <-tidy.C:
			tidied = s.tidy(tidied)
		case err := <-now.ended:
			return fmt.Errorf("server: %w", err)
		case <-ctx.Done():
		case request := <-s.restarts:
			next, err := s.goOver(now, request.config)
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

// tidy gives memory back once the requests of a busy time are over: the pools and the
// heap that they needed would stay otherwise. before is the count of requests at the
// last look; it gives the present one, negative when there is nothing left to do.
func (s *Server) tidy(before int64) int64 {
	now := s.answered.Load()
	switch {
	case now != before && now != -before, s.inFlight.Load() > 0: // busy
		return now
	case before > 0:
		debug.FreeOSMemory() // the first collection empties the pools,
		debug.FreeOSMemory() // the second frees what was in them
		return -now
	}
	return before
}

// goOver puts cfg in force in all its parts. It gives the service that accepts from
// now on, which is the present one unless the listener changes.
func (s *Server) goOver(now *service, cfg *Config) (next *service, err error) {
	defer func() {
		if err != nil {
			s.noteReload(err)
		}
	}()
	old, before := s.loaded.Load(), s.gateway.Load()
	a, b := old.Server, cfg.Server
	next, late := now, false
	if a.Host != b.Host || a.Port != b.Port || a.TLS != b.TLS || b.TLS.Cert != "" /* it may be renewed */ || a.MaxConnections != b.MaxConnections {
		next, err = s.listen(b, now)
		late = errors.Is(err, ErrBind) && a.Port == b.Port // it may be we who have the address: 127.0.0.1 is part of 0.0.0.0
		if err != nil && !late {
			return now, err
		}
	}
	if err = s.put(cfg, b.Host); err == nil && old.Logs != cfg.Logs {
		err = s.swapLog(cfg)
	}
	if err == nil && late {
		if next, err = s.exchangeAddress(now, b); err != nil {
			s.gateway.Store(before)
			return next, err
		}
	}
	if err != nil {
		s.gateway.Store(before)
		if next != nil && next != now && next.lease.socket != now.lease.socket {
			next.lease.Close()
		}
		return now, err
	}
	s.loaded.Store(cfg)
	if next != now {
		next.serve(s)
	}
	return next, nil
}

// exchangeAddress lets go of the present address before it binds the new one. If
// that cannot be had, it gives a service on the old one.
func (s *Server) exchangeAddress(now *service, settings Settings) (*service, error) {
	now.lease.Close()
	next, err := s.listen(settings, nil)
	if err == nil {
		return next, nil
	}
	back, again := s.listen(now.settings, nil)
	if again != nil {
		return now, errors.Join(err, again)
	}
	back.serve(s)
	return back, err
}

// service is one listener and the HTTP server behind it.
type service struct {
	settings Settings
	lease    *lease
	cert     *tls.Certificate // nil: plain HTTP
	srv      *http.Server
	requests context.Context
	end      context.CancelCauseFunc // of the requests
	inFlight atomic.Int64
	closing  atomic.Bool // each connection ends with its next answer
	unused   unusedConns
	ended    chan error
}

// listen makes a service with the configured address: bound anew, or taken over
// from now when that has it. It does not accept yet.
func (s *Server) listen(cfg Settings, now *service) (*service, error) {
	v := &service{settings: cfg, ended: make(chan error, 1), unused: unusedConns{conns: map[net.Conn]bool{}}}
	if cfg.TLS.Cert != "" {
		cert, err := tls.LoadX509KeyPair(cfg.TLS.Cert, cfg.TLS.Key)
		if err != nil {
			return nil, fmt.Errorf("server: tls: %w", err)
		}
		v.cert = &cert
	}
	if now != nil && now.settings.Host == cfg.Host && now.settings.Port == cfg.Port {
		v.lease = &lease{socket: now.lease.socket}
	} else {
		bound, err := bind(cfg)
		if err != nil {
			return nil, err
		}
		v.lease = &lease{socket: &socket{TCPListener: bound}}
		v.lease.socket.owner.Store(v.lease)
	}
	v.requests, v.end = context.WithCancelCause(context.Background())
	return v, nil
}

func bind(cfg Settings) (*net.TCPListener, error) {
	address := net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port))
	ln, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%w on %s: the address is in use, perhaps by another ProxyCast; stop that program or set server.port", ErrBind, address)
	case err != nil:
		return nil, fmt.Errorf("%w on %s: %w", ErrBind, address, err)
	}
	return ln.(*net.TCPListener), nil
}

// Addr gives the address that is listened on.
func (v *service) Addr() net.Addr { return v.lease.Addr() }

// serve begins to accept. A service that had the address before stops to.
func (v *service) serve(s *Server) {
	v.lease.take()
	var ln net.Listener = v.lease
	if v.settings.MaxConnections > 0 {
		ln = netutil.LimitListener(ln, v.settings.MaxConnections)
	}
	if v.cert != nil {
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{*v.cert}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12})
	}
	v.srv = &http.Server{
		Handler:                      http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { v.answer(s, w, r) }),
		ReadHeaderTimeout:            headerTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeader,
		DisableGeneralOptionsHandler: true, // it would answer OPTIONS * before any check
		BaseContext:                  func(net.Listener) context.Context { return v.requests },
		ConnState:                    v.unused.track,
		ErrorLog:                     log.New(os.Stderr, "proxycast: ", 0),
	}
	if addr, ok := v.Addr().(*net.TCPAddr); ok {
		s.address.Store(addr)
	}
	go func() { v.ended <- v.srv.Serve(ln) }()
}

func (v *service) answer(s *Server, w http.ResponseWriter, r *http.Request) {
	v.inFlight.Add(1)
	defer v.inFlight.Add(-1)
	if v.closing.Load() {
		w.Header()["Connection"] = []string{"close"}
	}
	if !isLoopback(v.settings.Host) && !s.gateway.Load().config.Auth.Enabled {
		// The gateway has moved to loopback and asks for no keys there.
		w.Header()["Connection"] = []string{"close"}
		http.Error(w, "the gateway has moved to another address", http.StatusServiceUnavailable)
		return
	}
	s.ServeHTTP(w, r)
}

// retire ends a service that next has replaced. To close a kept-alive connection
// may lose the request that is on its way: where the address stays, the connections
// stay until they are idle for long, or all ends; where it changes, they have some
// time to end with an answer.
func (s *Server) retire(v, next *service) {
	if v.lease.socket == next.lease.socket {
		<-s.stopping.Done()
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

// drain ends a service: gently within its drain time, then at once.
func (s *Server) drain(v *service) {
	ctx, cancel := context.WithTimeout(context.Background(), s.gateway.Load().config.Server.Drain)
	defer cancel()
	defer v.end(nil)
	// Shutdown would wait 5 s for connections that have not sent a byte.
	grace := time.AfterFunc(unusedGrace, v.unused.close)
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

// socket is a bound address that one service after another accepts from, so that a
// restart refuses no connection.
type socket struct {
	*net.TCPListener
	accepting sync.Mutex // held by the lease that accepts
	owner     atomic.Pointer[lease]
}

// lease is a service's use of a socket. The socket is closed with the lease of the
// service that has it.
type lease struct {
	socket *socket
	closed atomic.Bool
}

// take makes l the owner of the socket, and has the one before stop to accept.
func (l *lease) take() {
	if before := l.socket.owner.Swap(l); before != l {
		before.closed.Store(true)
		l.socket.SetDeadline(time.Now()) // wakes its Accept
	}
}

func (l *lease) Addr() net.Addr { return l.socket.Addr() }

func (l *lease) Accept() (net.Conn, error) {
	l.socket.accepting.Lock()
	defer l.socket.accepting.Unlock()
	l.socket.SetDeadline(time.Time{})
	if l.closed.Load() {
		return nil, net.ErrClosed
	}
	conn, err := l.socket.Accept()
	if err != nil && l.closed.Load() {
		err = net.ErrClosed
	}
	return conn, err
}

func (l *lease) Close() error {
	l.closed.Store(true)
	if l.socket.owner.Load() == l {
		return l.socket.Close()
	}
	return nil
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
