package server

import (
	"net/http"

	"proxycast/upstream/dialect"
)

// The routes, and what each leaves in the log.

// routes is the whole HTTP surface. A request passes, in this order: the Host
// check, CORS (client API only), the mux, authenticate, and its handler.
func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(pattern string, policy recording, h handler) { handleRoute(mux, pattern, policy, h) }
	operator := func(pattern string, h handler) { handle(pattern, recordFailures, authenticate(admin(h))) }
	change := func(pattern string, h handler) { handle(pattern, recordOperator, authenticate(admin(h))) }

	// Client API: any key. Each call stands under every base that clients use,
	// and again pinned to one provider.
	for _, pin := range []string{"", "/api/provider/{provider}"} {
		for _, base := range []string{"/v1", "/v1/v1", ""} {
			for _, e := range []dialect.Endpoint{
				dialect.ChatCompletions, dialect.Embeddings, dialect.Responses,
				dialect.Messages, dialect.CountTokens,
				dialect.Completions, dialect.Moderations, dialect.ImagesGenerations, dialect.AudioSpeech, dialect.Rerank,
			} {
				handle("POST "+pin+base+e.Path(), recordAlways, authenticate(relay(e)))
			}
			handle("GET "+pin+base+"/models", recordClients, authenticate(listModels))
			handle("GET "+pin+base+"/models/{id...}", recordAlways, authenticate(showModel))
		}
	}

	// Operator API: admin keys only.
	operator("GET /_logs", queryLogs)
	operator("GET /_stats", showStats)
	operator("GET /_status", showStatus)
	operator("GET /metrics", showMetrics)
	change("POST /_service/stop", setPaused(true))
	change("POST /_service/start", setPaused(false))
	change("POST /_service/restart", restartService)
	change("POST /_service/reload", reloadService)
	operator("GET /_snippets", showSnippets)
	operator("GET /_config", showConfig)
	change("PUT /_config", putConfig)
	change("POST /_keys", newKey)
	change("POST /_providers/{name}/test", testProvider)

	// Open, and unrecorded.
	for _, path := range []string{"/livez", "/health", "/healthz"} {
		handle("GET "+path, recordNever, live)
	}
	handle("GET /readyz", recordNever, readiness)
	handle("GET /{$}", recordNever, welcome)

	// The dashboard: its files and its login are open, what it shows is not.
	handle("GET /_ui", recordFailures, toDashboard)
	handle("GET /_ui/{file...}", recordFailures, showPage)
	handle("GET /_ui/session", recordFailures, showSession)
	handle("POST /_ui/login", recordOperator, login)
	handle("POST /_ui/logout", recordOperator, logout)

	for _, method := range []string{"GET", "POST"} { // Claude Code's probes
		handle(method+" /api/hello", recordNever, acknowledge)
		handle(method+" /api/event_logging/batch", recordNever, acknowledge)
	}
	return mux
}

// handleRoute registers a route with its policy of recording.
func handleRoute(mux *http.ServeMux, pattern string, policy recording, h handler) {
	mux.Handle(pattern, handler(func(x *exchange, r *http.Request) {
		x.recording = policy
		h(x, r)
	}))
}

// recording is a route's policy: which of its answers leave a record. A panic
// always does.
type recording int

const (
	recordAlways   recording = iota // the client API, and what has no route
	recordFailures                  // what operators and the dashboard read: what was refused, or failed
	recordOperator                  // what operators change, and their logins: always, as an operator's
	recordClients                   // what the dashboard reads too: every client's request, of the dashboard's own the failures
	recordNever                     // open routes and preflights
)

// recorded reports whether the exchange leaves a record by the policy of its route.
func (x *exchange) recorded() bool {
	failed := x.status >= http.StatusBadRequest || x.rec.ErrorType != ""
	switch x.recording {
	case recordAlways, recordOperator:
		return true
	case recordFailures:
		return failed
	case recordClients:
		return failed || !x.onPage
	}
	return false
}
