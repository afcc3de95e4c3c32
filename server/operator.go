package server

import (
	"crypto/rand"
	"log"
	"net/http"
	"time"

	"proxycast/logs"
)

// What an operator does leaves a trace: one record, whose endpoint is "operator", and one line on stderr. Neither has
// more than who did what, and how it ended.

const operatorEndpoint = "operator"

// traceOperator makes the exchange's record an operator's.
func (x *exchange) traceOperator() {
	x.rec.Endpoint = operatorEndpoint
	log.Printf("proxycast: operator %q from %s: %s %s: status %d", x.rec.Key, x.rec.Remote, x.rec.Method, x.rec.Path, x.rec.Status)
}

// ReloadFor reloads the config file for a cause that is no request, such as "SIGHUP", which stands as the method of the
// record. It returns the error of ReloadFile.
func (s *Server) ReloadFor(cause string) error {
	start := time.Now()
	err := s.ReloadFile()
	rec := logs.Record{
		Time: start, ID: "req_" + rand.Text(), Method: cause, Path: "config", Endpoint: operatorEndpoint,
		Status: http.StatusOK, Duration: time.Since(start),
	}
	if err != nil {
		rec.Status, rec.ErrorType, rec.Error = http.StatusBadRequest, "invalid_config", "the config was not put in force"
	}
	s.add(&rec)
	return err
}
