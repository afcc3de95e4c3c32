package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"proxycast/upstream/dialect"
)

// How provider lists are fetched and kept.
const (
	listTimeout   = 3 * time.Second  // a provider that takes longer is left out
	listLifetime  = 10 * time.Minute // of a list
	retryLifetime = 30 * time.Second // of a failure
	maxListBody   = 8 << 20
	maxListModels = 5_000 // that are kept of it
)

// Model is one name that a client may ask for.
type Model struct {
	ID          string
	DisplayName string    // the ID where the provider gives none
	OwnedBy     string    // the provider's word, else its name in the config
	Created     time.Time // the epoch when unknown
}

// Models lists the names that routing accepts and allows permits: aliases,
// names in the config, and what the providers list themselves. A provider that
// does not answer in time is left out. pin, when not empty, asks for the list of
// one provider, by the names that it uses itself.
func (p *Proxy) Models(ctx context.Context, pin string, allows func(model string) bool) ([]Model, *Error) {
	providers, names := p.providers, p.aliasNames
	if pin != "" {
		targets, _, err := p.route(pin, "", "")
		if err != nil {
			return nil, err
		}
		providers, names = []*provider{targets[0].provider}, nil
	}
	lists := fetchLists(ctx, providers)
	all := []Model{}
	seen := map[string]bool{}
	add := func(m Model) {
		if seen[m.ID] || strings.Contains(m.ID, "*") || !allows(m.ID) {
			return
		}
		if targets, _, err := p.route(pin, m.ID, ""); err == nil {
			seen[m.ID] = true
			all = append(all, m.completed(targets[0].provider))
		}
	}
	for _, name := range names {
		add(Model{ID: name})
	}
	for i, provider := range providers {
		for _, name := range provider.config.Models {
			add(Model{ID: name})
		}
		for _, m := range lists[i] {
			switch {
			case pin != "", provider.serves(m.ID):
				add(m)
			case len(provider.config.Models) == 0: // reached by its name only
				m.ID = provider.config.Name + "/" + m.ID
				add(m)
			}
		}
	}
	return all, nil
}

// fetchLists gets the lists of the enabled providers, all at once.
func fetchLists(ctx context.Context, providers []*provider) [][]Model {
	lists := make([][]Model, len(providers))
	var wait sync.WaitGroup
	for i, provider := range providers {
		if provider.enabled() {
			wait.Go(func() { lists[i] = provider.list.get(ctx, provider) })
		}
	}
	wait.Wait()
	return lists
}

// Model returns the entry of one name that routing accepts.
func (p *Proxy) Model(ctx context.Context, pin, id string) (Model, *Error) {
	targets, _, err := p.route(pin, id, "")
	if err != nil {
		return Model{}, err
	}
	t := targets[0]
	for _, m := range t.provider.list.get(ctx, t.provider) {
		if m.ID == t.model {
			m.ID = id
			return m.completed(t.provider), nil
		}
	}
	return Model{ID: id}.completed(t.provider), nil
}

// completed fills in what a list leaves open.
func (m Model) completed(p *provider) Model {
	if m.OwnedBy == "" {
		m.OwnedBy = p.config.Name
	}
	if m.DisplayName == "" {
		m.DisplayName = m.ID
	}
	if m.Created.IsZero() {
		m.Created = time.Unix(0, 0).UTC()
	}
	return m
}

// modelList is what a provider said it serves, kept for a while. One fetch
// serves all who wait for it.
type modelList struct {
	flight  singleflight.Group
	mu      sync.Mutex
	models  []Model
	expires time.Time
}

func (l *modelList) get(ctx context.Context, p *provider) []Model {
	l.mu.Lock()
	models, fresh := l.models, time.Now().Before(l.expires)
	l.mu.Unlock()
	if fresh {
		return models
	}
	fetched, _, _ := l.flight.Do("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), listTimeout)
		defer cancel()
		models, err := p.fetchModels(ctx)
		l.mu.Lock()
		defer l.mu.Unlock()
		if err != nil { // what was known before is better than nothing
			l.expires = time.Now().Add(retryLifetime)
			return l.models, nil
		}
		l.models, l.expires = models, time.Now().Add(listLifetime)
		return models, nil
	})
	return fetched.([]Model)
}

// fetchModels asks the provider for its list.
func (p *provider) fetchModels(ctx context.Context) ([]Model, error) {
	query := ""
	if p.config.Type == typeAnthropic {
		query = "limit=1000"
	}
	res, err := p.transport.RoundTrip(p.newRequest(ctx, p.keys.pick(time.Now(), ""), providerRequest{
		method: http.MethodGet, path: dialect.Models.Path(), query: query,
	}))
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("upstream: the model list came with status %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxListBody))
	if err != nil {
		return nil, err
	}
	var list struct{ Data listedModels }
	if text := trimBlank(body); len(text) > 0 && text[0] == '[' { // a bare list, as some local servers send
		err = json.Unmarshal(text, &list.Data)
	} else {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		return nil, err
	}
	models := []Model(list.Data)
	for i := range models {
		m := &models[i]
		m.ID, m.DisplayName, m.OwnedBy = p.scrub(m.ID), p.scrub(m.DisplayName), p.scrub(m.OwnedBy)
	}
	return models, nil
}

// listedModels are the models of a list as either API sends it, maxListModels at most. They are read one by one: a
// list of millions of empty ones needs no more memory than its text.
type listedModels []Model

func (l *listedModels) UnmarshalJSON(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if open, err := dec.Token(); err != nil || open != json.Delim('[') {
		return errors.New("upstream: the model list holds no list")
	}
	for dec.More() && len(*l) < maxListModels {
		var entry json.RawMessage
		if err := dec.Decode(&entry); err != nil {
			return err
		}
		if m := listedModel(entry); m.ID != "" {
			*l = append(*l, m)
		}
	}
	return nil
}

// listedModel reads an entry of a list. What of it has another type than it should is left out; without an ID there
// is no model.
func listedModel(entry []byte) (m Model) {
	var fields struct {
		ID          any `json:"id"`
		Created     any `json:"created"`
		OwnedBy     any `json:"owned_by"`
		DisplayName any `json:"display_name"`
		CreatedAt   any `json:"created_at"`
	}
	if json.Unmarshal(entry, &fields) != nil {
		return m
	}
	text := func(v any) string { s, _ := v.(string); return s }
	m.ID = strings.TrimPrefix(text(fields.ID), "models/") // of Gemini's
	m.OwnedBy, m.DisplayName = text(fields.OwnedBy), text(fields.DisplayName)
	m.Created, _ = time.Parse(time.RFC3339, text(fields.CreatedAt))
	if seconds, ok := fields.Created.(float64); ok && seconds > 0 {
		m.Created = time.Unix(int64(seconds), 0)
	}
	m.Created = m.Created.UTC()
	return m
}
