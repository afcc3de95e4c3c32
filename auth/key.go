package auth

import (
	"fmt"
	"strings"
	"time"
)

// One key: who it is, until when, and the models that it may ask for.

// Key is one client key and its policy. It is immutable but for what was used of
// its limits: its fields are for reading only.
type Key struct {
	Name  string // shown in the log; never the key itself
	Admin bool   // may use the operator routes

	sum     digest
	models  []pattern // none: every model
	named   string    // the models as the config names them
	expires time.Time // zero: never

	limits     limits
	usage      *usage // of limits; nil only if there are none
	generation int    // grows with each key that replaces one of its name
}

// newKey needs a c without faults. prev is the key that had the name so far, or nil.
func newKey(c KeyConfig, prev *Key) *Key {
	sum, _ := c.digest()
	key := &Key{Name: c.Name, Admin: c.Admin, sum: sum, named: strings.Join(c.Models, ", "), expires: c.Expires}
	key.limits = limits{int64(c.RequestsPerMinute), c.TokensPerMinute, c.Concurrency}
	key.usage, key.generation = &usage{}, 1
	if prev != nil && prev.usage != nil {
		key.usage, key.generation = prev.usage, prev.generation+1
	}
	for _, model := range c.Models {
		key.models = append(key.models, strings.Split(model, "*"))
	}
	return key
}

// Permit tells whether the key may ask for model, as the client names it. The error
// is ErrModel, and names the models that it may ask for.
func (k *Key) Permit(model string) error {
	if !k.Allows(model) {
		return fmt.Errorf("%w: key %q may ask for %s", ErrModel, k.Name, k.named)
	}
	return nil
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

// HasModels reports whether the key is for certain models only.
func (k *Key) HasModels() bool { return len(k.models) > 0 }

// HasTokenLimit reports whether the tokens of the key's requests count.
func (k *Key) HasTokenLimit() bool { return k.limits.tokens > 0 }

// expiry returns ErrExpired once the key's time is over.
func (k *Key) expiry() error {
	if !isPast(k.expires) {
		return nil
	}
	return fmt.Errorf("%w: key %q was valid until %s", ErrExpired, k.Name, k.expires.Format(time.RFC3339))
}

// isPast reports whether at has come. A zero at never comes.
func isPast(at time.Time) bool {
	return !at.IsZero() && !time.Now().Before(at)
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
