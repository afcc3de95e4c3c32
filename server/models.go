package server

import (
	"fmt"
	"net/http"
	"time"

	"proxycast/auth"
	"proxycast/upstream"
	"proxycast/upstream/dialect"
)

// The model list, in the shape of the client's dialect.

// openAIModel is a model object of OpenAI's API (GET /v1/models). The official SDKs
// declare created and owned_by as always there.
type openAIModel struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

// anthropicModel is a model object of Anthropic's API (GET /v1/models).
type anthropicModel struct {
	Type        string `json:"type"`
	ID          string `json:"id"`
	DisplayName string `json:"display_name"`
	CreatedAt   string `json:"created_at"` // the epoch when unknown, as Anthropic's API does
}

func modelIn(d dialect.Dialect, m upstream.Model) any {
	if d == dialect.Anthropic {
		return anthropicModel{"model", m.ID, m.DisplayName, m.Created.Format(time.RFC3339)}
	}
	return openAIModel{m.ID, "model", m.Created.Unix(), m.OwnedBy}
}

// listModels answers GET /v1/models with the models that the key may ask for.
func listModels(x *exchange, r *http.Request, key *auth.Key) {
	x.rec.Endpoint = dialect.Models.String()
	if x.server.paused.Load() {
		x.fail(errPaused, nil)
		return
	}
	models, err := x.gateway.proxy.Models(r.Context(), r.PathValue("provider"), key.Allows)
	if err != nil {
		x.failWith(err)
		return
	}
	data := make([]any, len(models))
	for i, m := range models {
		data[i] = modelIn(x.dialect, m)
	}
	if x.dialect == dialect.OpenAI {
		x.sendJSON(http.StatusOK, map[string]any{"object": "list", "data": data})
		return
	}
	page := map[string]any{"data": data, "has_more": false, "first_id": nil, "last_id": nil}
	if len(models) > 0 {
		page["first_id"], page["last_id"] = models[0].ID, models[len(models)-1].ID
	}
	x.sendJSON(http.StatusOK, page)
}

// showModel answers GET /v1/models/{id}. What the key may not ask for is not found.
func showModel(x *exchange, r *http.Request, key *auth.Key) {
	id := r.PathValue("id")
	x.rec.Endpoint, x.rec.Model = dialect.Models.String(), id
	if x.server.paused.Load() {
		x.fail(errPaused, nil)
		return
	}
	if !key.Allows(id) {
		x.fail(dialect.Failure{Status: http.StatusNotFound, Code: "model_not_found", Param: "model",
			Message: fmt.Sprintf("this key has no model %.128q; GET /v1/models lists those that it has", id)}, nil)
		return
	}
	m, err := x.gateway.proxy.Model(r.Context(), r.PathValue("provider"), id)
	if err != nil {
		x.failWith(err)
		return
	}
	x.sendJSON(http.StatusOK, modelIn(x.dialect, m))
}
