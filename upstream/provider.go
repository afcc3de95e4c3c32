package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"proxycast/upstream/demo"
	"proxycast/upstream/dialect"
)

// provider is one configured provider, ready to be called.
type provider struct {
	config    ProviderConfig
	base      *url.URL
	transport http.RoundTripper
	keys      *credentials
	gate      *gate
	secrets   []secret // what must not reach a client: keys, and credentials among the extra headers
	list      *modelList
}

// newProvider prepares a provider. It takes over the connections of prev, the
// provider of that name before a reload, when nothing about them has changed.
func newProvider(cfg ProviderConfig, prev *provider) (*provider, error) {
	base, err := baseURL(cfg.Type, cfg.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("upstream: provider %q: base_url: %w", cfg.Name, err)
	}
	p := &provider{config: cfg, base: base, keys: newCredentials(cfg.credentials()), list: &modelList{}}
	for _, credential := range cfg.secrets(base) {
		p.secrets = append(p.secrets, secretsOf(credential)...)
	}
	if prev != nil && prev.config.MaxConcurrency == cfg.MaxConcurrency {
		p.gate = prev.gate
	} else {
		p.gate = newGate(cfg.MaxConcurrency)
	}
	switch {
	case prev != nil && reflect.DeepEqual(prev.config, cfg):
		p.transport, p.list, p.keys = prev.transport, prev.list, prev.keys
	case cfg.Type == typeDemo:
		p.transport = demo.Transport{}
	default:
		if p.transport, err = newTransport(cfg, base); err != nil {
			return nil, fmt.Errorf("upstream: provider %q: proxy: %w", cfg.Name, err)
		}
	}
	return p, nil
}

// secrets returns the credentials that the config holds for the provider at base, wherever they stand.
func (p ProviderConfig) secrets(base *url.URL) []string {
	all := slices.Clone(p.credentials())
	for name, value := range p.Headers {
		if carriesCredential(name) {
			all = append(all, strings.TrimPrefix(value, "Bearer "))
		}
	}
	via, _ := url.Parse(p.Proxy)
	for _, u := range []*url.URL{base, via} {
		if u == nil {
			continue
		}
		if password, ok := u.User.Password(); ok {
			all = append(all, password)
		}
		for pair := range strings.SplitSeq(u.RawQuery, "&") {
			_, raw, _ := strings.Cut(pair, "=")
			all = append(all, raw)
			if value, err := url.QueryUnescape(raw); err == nil && value != raw {
				all = append(all, value)
			}
		}
	}
	return all
}

// carriesCredential tells by its name whether a header's value is a secret.
func carriesCredential(name string) bool {
	name = strings.ToLower(name)
	for _, word := range []string{"auth", "key", "token", "secret", "cookie"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// speaks reports whether the provider understands dialect d without translation.
func (p *provider) speaks(d dialect.Dialect) bool {
	switch p.config.Type {
	case typeDemo:
		return true
	case typeAnthropic:
		return d == dialect.Anthropic
	}
	return d == dialect.OpenAI
}

// enabled reports whether the provider has a credential, if its config names any.
func (p *provider) enabled() bool { return p.config.Missing == "" || len(p.keys.keys) > 0 }

// url returns the address of path below the provider's base, with the client's query.
func (p *provider) url(path, query string) *url.URL {
	u := *p.base
	u.Path += path
	switch {
	case u.RawQuery == "":
		u.RawQuery = query
	case query != "":
		u.RawQuery += "&" + query
	}
	return &u
}

// providerRequest is what differs between the requests that a provider gets.
type providerRequest struct {
	method string
	path   string // below base_url
	query  string
	header http.Header // taken over and completed; nil: none
	body   io.ReadCloser
	length int64 // of body
}

// newRequest returns a request with the provider's own headers and the credential of that index (-1: none). It has no
// GetBody, so that only Relay ever sends a request again.
func (p *provider) newRequest(ctx context.Context, key int, r providerRequest) *http.Request {
	if r.header == nil {
		r.header = http.Header{}
	}
	p.authorize(r.header, key)
	req := &http.Request{
		Method: r.method, URL: p.url(r.path, r.query), Host: p.base.Host, Header: r.header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: r.body, ContentLength: r.length,
	}
	if host := r.header.Get("Host"); host != "" { // of the config: net/http takes it from the request alone
		req.Host = host
		r.header.Del("Host")
	}
	return req.WithContext(ctx)
}

// authorize puts the provider's own headers into h: the credential of that index,
// unless it is -1, and what the config adds.
func (p *provider) authorize(h http.Header, key int) {
	switch {
	case key < 0:
	case p.config.Type == typeAnthropic:
		h["X-Api-Key"] = []string{p.keys.keys[key]}
	default:
		h["Authorization"] = []string{"Bearer " + p.keys.keys[key]}
	}
	if p.config.Type == typeAnthropic && len(h["Anthropic-Version"]) == 0 {
		h["Anthropic-Version"] = []string{"2023-06-01"}
	}
	for name, value := range p.config.Headers {
		h.Set(name, value)
	}
}

// word returns text if it is one word of the kind that APIs name errors and reasons
// with, else other: a log must not take free text of a provider's, which may quote
// anything.
func (p *provider) word(text, other string) string {
	if text == "" || len(text) > 64 || p.scrub(text) != text {
		return other
	}
	for _, c := range []byte(text) {
		if c >= 0x80 || c != '_' && c != '-' && c != '.' && !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z') {
			return other
		}
	}
	return text
}
