package auth

import (
	"fmt"
	"strings"
	"time"
)

// Key is one client key and its policy. It is immutable: its fields are for
// reading only.
type Key struct {
	Name  string // shown in the log; never the key itself
	Admin bool   // may use the operator routes

	sum     digest
	models  []pattern // none: every model
	expires time.Time // zero: never
}

// newKey needs a c without faults.
func newKey(c KeyConfig) *Key {
	sum, _ := c.digest()
	key := &Key{Name: c.Name, Admin: c.Admin, sum: sum, expires: c.Expires}
	for _, model := range c.Models {
		key.models = append(key.models, strings.Split(model, "*"))
	}
	return key
}

// Begin admits one request for model, as the client named it. The error is
// ErrExpired or ErrModel. done, which is never nil, gives back what Begin took and
// takes the tokens that the request used; it is to be called when the request has
// ended, and only its first call counts.
func (k *Key) Begin(model string) (done func(tokens int64), err error) {
	done = func(int64) {}
	if k.expired() {
		return done, k.expiredError()
	}
	if !k.Allows(model) {
		return done, fmt.Errorf("%w: key %q may ask for %s", ErrModel, k.Name, k.modelList())
	}
	return done, nil
}

// Allows reports whether the key may ask for model.
func (k *Key) Allows(model string) bool {
	for _, p := range k.models {
		if p.match(model) {
			return true
		}
	}
	return len(k.models) == 0
}

func (k *Key) expired() bool {
	return isPast(k.expires)
}

func (k *Key) expiredError() error {
	return fmt.Errorf("%w: key %q was valid until %s", ErrExpired, k.Name, k.expires.Format(time.RFC3339))
}

// isPast reports whether at has come. A zero at never comes.
func isPast(at time.Time) bool {
	return !at.IsZero() && !time.Now().Before(at)
}

func (k *Key) modelList() string {
	names := make([]string, len(k.models))
	for i, p := range k.models {
		names[i] = strings.Join(p, "*")
	}
	return strings.Join(names, ", ")
}

// A pattern is a model pattern, split at each "*".
type pattern []string

// match reports whether the whole of model has p's form. It takes the leftmost
// place for each part and never goes back, so its time is linear.
func (p pattern) match(model string) bool {
	rest, ok := strings.CutPrefix(model, p[0])
	if len(p) == 1 {
		return ok && rest == ""
	}
	last := len(p) - 1
	for _, part := range p[1:last] {
		if !ok {
			return false
		}
		_, rest, ok = strings.Cut(rest, part)
	}
	return ok && strings.HasSuffix(rest, p[last])
}
