package server

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// The open connections of a listener, so that it can end when the last of them has.

// openConns knows a listener's open connections, and those of them that have not sent
// a byte yet.
type openConns struct {
	mu      sync.Mutex
	open    int
	unused  map[net.Conn]bool
	retired bool
	gone    chan struct{} // closed when the listener is retired and has none left

	everywhere *atomic.Int64 // open connections of all listeners
}

// track is the http.Server's ConnState.
func (o *openConns) track(c net.Conn, state http.ConnState) {
	if state == http.StateIdle {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch state {
	case http.StateNew:
		o.open++
		o.everywhere.Add(1)
		o.unused[c] = true
		return
	case http.StateClosed, http.StateHijacked:
		o.open--
		o.everywhere.Add(-1)
		o.tell()
	}
	delete(o.unused, c)
}

// retire says that no connection comes any more.
func (o *openConns) retire() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.retired = true
	o.tell()
}

// tell closes gone once the listener is retired and has no connection. The caller holds mu.
func (o *openConns) tell() {
	if o.retired && o.open == 0 {
		close(o.gone)
	}
}

// closeUnused closes the connections that have not sent a byte.
func (o *openConns) closeUnused() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for c := range o.unused {
		c.Close()
	}
}
