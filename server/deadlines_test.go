package server

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l pipeListener) Close() error   { return nil }
func (l pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// A reply that is silent for longer than writeProgress, and whose client reads all
// that comes, is whole: 1. silence between two events, 2. silence before the end.
func TestSilenceIsNotAStalledClient(t *testing.T) {
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		for where, pauses := range map[string][2]time.Duration{
			"between events": {90 * time.Second, 0},
			"before the end": {0, 90 * time.Second},
		} {
			t.Run(name+" "+where, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var p http.Protocols
					p.SetHTTP1(!h2)
					p.SetUnencryptedHTTP2(h2)
					l := pipeListener{make(chan net.Conn), make(chan struct{})}
					srv := &http.Server{Protocols: &p, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						x := (&Server{}).newExchange(&gateway{}, w, r)
						x.recording = recordNever
						defer x.finish(r)
						io.WriteString(x, "data: 1\n\n")
						http.NewResponseController(x).Flush()
						time.Sleep(pauses[0])
						io.WriteString(x, "data: 2\n\n")
						http.NewResponseController(x).Flush()
						time.Sleep(pauses[1])
					})}
					go srv.Serve(l)
					tr := &http.Transport{Protocols: &p, DialContext: func(context.Context, string, string) (net.Conn, error) {
						a, b := net.Pipe()
						l.conns <- b
						return a, nil
					}}
					req, _ := http.NewRequest("GET", "http://x/v1/models", nil)
					res, err := tr.RoundTrip(req)
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(res.Body)
					if err != nil || string(got) != "data: 1\n\ndata: 2\n\n" {
						t.Errorf("%q %v", got, err)
					}
					res.Body.Close()
					time.Sleep(5 * time.Minute) // the handler ends
					tr.CloseIdleConnections()
					close(l.done)
					srv.Close()
				})
			})
		}
	}
}
