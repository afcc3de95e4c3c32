package server

import (
	"net/http"

	"proxycast/upstream/dialect"
)

// routes is the whole HTTP surface. A request passes, in this order: the Host
// check, CORS (client API only), the mux, authenticate, and its handler.
func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(pattern string, h handler) { mux.Handle(pattern, h) }

	// Client API: any key. Each call stands under every base that clients use,
	// and again pinned to one provider.
	for _, pin := range []string{"", "/api/provider/{provider}"} {
		for _, base := range []string{"/v1", "/v1/v1", ""} {
			for _, e := range []dialect.Endpoint{
				dialect.ChatCompletions, dialect.Embeddings, dialect.Responses,
				dialect.Messages, dialect.CountTokens,
				dialect.Completions, dialect.Moderations, dialect.ImagesGenerations, dialect.AudioSpeech, dialect.Rerank,
			} {
				handle("POST "+pin+base+e.Path(), authenticate(relay(e)))
			}
			handle("GET "+pin+base+"/models", authenticate(listModels))
			handle("GET "+pin+base+"/models/{id...}", authenticate(showModel))
		}
	}

	// Operator API: admin keys only.
	handle("GET /_logs", authenticate(admin(queryLogs)))
	handle("GET /_stats", authenticate(admin(showStats)))
	handle("GET /_status", authenticate(admin(showStatus)))
	handle("GET /metrics", authenticate(admin(showMetrics)))
	handle("POST /_service/stop", authenticate(admin(setPaused(true))))
	handle("POST /_service/start", authenticate(admin(setPaused(false))))
	handle("POST /_service/restart", authenticate(admin(restartService)))
	handle("POST /_service/reload", authenticate(admin(reloadService)))
	handle("GET /_config", authenticate(admin(showConfig)))
	handle("PUT /_config", authenticate(admin(putConfig)))
	handle("POST /_keys", authenticate(admin(newKey)))
	handle("POST /_providers/{name}/test", authenticate(admin(testProvider)))

	// Open, and unrecorded.
	for _, path := range []string{"/livez", "/health", "/healthz"} {
		handle("GET "+path, open(live))
	}
	handle("GET /readyz", open(readiness))
	handle("GET /{$}", open(welcome))

	// The dashboard: its files and its login are open, what it shows is not.
	handle("GET /_ui", open(toDashboard))
	handle("GET /_ui/{file...}", open(showPage))
	handle("GET /_ui/session", open(showSession))
	handle("POST /_ui/login", open(login))
	handle("POST /_ui/logout", open(logout))

	for _, method := range []string{"GET", "POST"} { // Claude Code's probes
		handle(method+" /api/hello", open(acknowledge))
		handle(method+" /api/event_logging/batch", open(acknowledge))
	}
	return mux
}
