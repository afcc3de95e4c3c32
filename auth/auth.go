// Package auth knows the client keys: whose a request is, and what that key may
// do. It decides and never answers; the server turns its errors into replies.
//
// [New] compiles the configuration into an immutable [Keys]. For each request,
// [Keys.Check] returns the [Key] that the headers carry, and [Key.Begin] applies the
// key's policy to the model that was asked for, and its limits.
package auth

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Errors of Keys.Check and Key.Begin, which may wrap them. The texts hold nothing
// of what the client sent and may be shown to it.
var (
	ErrNoKey   = errors.New("auth: no key")          // there is no key header
	ErrBadKey  = errors.New("auth: bad key")         // the key headers are not one valid key
	ErrExpired = errors.New("auth: key has expired") // the key was valid once
	ErrModel   = errors.New("auth: model not allowed")
	ErrLimit   = errors.New("auth: limit is used up") // errors.As finds the *LimitError
)

var (
	errTwice    = fmt.Errorf("%w: the same key header was sent twice", ErrBadKey)
	errConflict = fmt.Errorf("%w: authorization and x-api-key carry different keys", ErrBadKey)
	errUnknown  = fmt.Errorf(`%w: neither "authorization: Bearer KEY" nor "x-api-key: KEY" with a known key`, ErrBadKey)
)

// Keys is a set of valid keys. But for what was used of their limits it is
// immutable. It is safe for concurrent use.
type Keys struct {
	keys      []*Key
	anonymous *Key // who everyone is while auth is off, else nil

	admin, client generated
}

// New compiles cfg. While auth is on it reads the key files and, unless a
// configured key is an admin key in plain text, the admin key in
// cfg.AdminKeyFile; and, where no configured key is for clients either, the one in
// cfg.ClientKeyFile. If a file does not exist, it makes the key and the file.
// The error joins every fault of cfg and of the files; then no file was made.
//
// prev, which may be nil, is the set that the new one is to replace. What was used
// of the limits of a key goes on under the same name, shared by both sets.
func New(cfg Config, prev *Keys) (*Keys, error) {
	var faults []error
	fault := func(path, message string) {
		faults = append(faults, fmt.Errorf("auth: %s: %s", path, message))
	}
	if cfg.Enabled {
		cfg.Keys = readKeyFiles(cfg.Keys, fault)
	}
	cfg.Check(fault, func(path, message string) {}) // warnings are for whoever loads the config

	k := &Keys{}
	if !cfg.Enabled {
		k.anonymous = &Key{Name: "anonymous", Admin: true}
	}
	for _, c := range cfg.Keys {
		k.keys = append(k.keys, newKey(c, prev.named(c.Name)))
	}
	var err error
	if cfg.GeneratesAdminKey() {
		if k.admin, err = k.addGenerated("admin", cfg.AdminKeyFile, true, len(faults) == 0, prev); err != nil {
			faults = append(faults, err)
		}
	}
	if cfg.GeneratesClientKey() {
		if k.client, err = k.addGenerated("client", cfg.ClientKeyFile, false, len(faults) == 0, prev); err != nil {
			faults = append(faults, err)
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return k, nil
}

// Check returns the key that h carries, as "Authorization: Bearer KEY" or
// "x-api-key: KEY". h has canonical names, as net/http makes them. Of two headers
// exactly one must be valid, or both name the same key: clients often carry a
// stale key of their own. The key is for reading only.
//
// The error is ErrNoKey, ErrBadKey or ErrExpired; with an error there is no key.
func (k *Keys) Check(h http.Header) (*Key, error) {
	if k.anonymous != nil {
		return k.anonymous, nil
	}
	authorization, apiKey := h["Authorization"], h["X-Api-Key"]
	switch {
	case len(authorization) > 1 || len(apiKey) > 1:
		return nil, errTwice
	case len(authorization) == 0 && len(apiKey) == 0:
		return nil, ErrNoKey
	}
	var valid *Key
	refusal := errUnknown
	for _, key := range [...]*Key{k.find(bearer(h.Get("Authorization"))), k.find(h.Get("X-Api-Key"))} {
		if key == nil {
			continue
		}
		if err := key.expiry(); err != nil {
			refusal = err
			continue
		}
		if valid != nil && valid != key {
			return nil, errConflict
		}
		valid = key
	}
	if valid == nil {
		return nil, refusal
	}
	return valid, nil
}

// bearer returns the credential of an Authorization header, or "" if its scheme is
// not Bearer (RFC 6750 §2.1; schemes ignore case, RFC 9110 §11.1).
func bearer(value string) string {
	scheme, credential, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimLeft(credential, " ")
}

// Holds reports whether text, as it is or after "Bearer", is one of the keys, valid or expired. It is for places
// where no key belongs.
func (k *Keys) Holds(text string) bool {
	return k.find(text) != nil || k.find(bearer(text)) != nil
}

// find returns the key that credential is, or nil. Its time depends on the number
// of keys and the length of credential, not on which key it is or resembles.
func (k *Keys) find(credential string) *Key {
	if !visible(credential) {
		return nil
	}
	sum := sha256Of(credential)
	found := -1
	for i, key := range k.keys {
		same := subtle.ConstantTimeCompare(sum[:], key.sum[:])
		found = subtle.ConstantTimeSelect(same, i, found)
	}
	if found < 0 {
		return nil
	}
	return k.keys[found]
}

// named returns the key of that name, or nil. k may be nil.
func (k *Keys) named(name string) *Key {
	if k == nil {
		return nil
	}
	for _, key := range k.keys {
		if key.Name == name {
			return key
		}
	}
	return nil
}

// Names lists the names that Check can give: those of cfg in their order, then
// those of the generated keys; "anonymous" alone while auth is off.
func (k *Keys) Names() []string {
	if k.anonymous != nil {
		return []string{k.anonymous.Name}
	}
	names := make([]string, len(k.keys))
	for i, key := range k.keys {
		names[i] = key.Name
	}
	return names
}

// generated is a key that was generated, the name that it has, and its file.
type generated struct {
	name, key, file string
	fresh           bool // New made it
}

// Generated returns the generated admin key that is in use and its file, or "".
// fresh: New made it, so that it is to be printed, this once.
func (k *Keys) Generated() (key, file string, fresh bool) {
	return k.admin.key, k.admin.file, k.admin.fresh
}

// GeneratedClient returns the same of the generated key for clients.
func (k *Keys) GeneratedClient() (key, file string, fresh bool) {
	return k.client.key, k.client.file, k.client.fresh
}
