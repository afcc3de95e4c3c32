package auth

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The section of the config file, and what can be wrong with it.

// Config is the "auth" section of config.json.
type Config struct {
	Enabled bool        `json:"enabled" default:"true" doc:"Ask every client for a key. Off is accepted on a loopback host only."`
	Keys    []KeyConfig `json:"keys" doc:"The named client keys."`

	// AdminKeyFile and ClientKeyFile are where the generated keys are kept. Empty:
	// none is generated.
	AdminKeyFile  string `json:"-"`
	ClientKeyFile string `json:"-"`
}

// GeneratesAdminKey reports whether an admin key is generated: no configured one is
// an admin key in plain text.
func (c Config) GeneratesAdminKey() bool {
	return c.Enabled && c.AdminKeyFile != "" && !slices.ContainsFunc(c.Keys, KeyConfig.plainAdmin)
}

// GeneratesClientKey reports whether a key for clients is generated beside the admin
// key: no configured one is for them.
func (c Config) GeneratesClientKey() bool {
	isAdmin := func(key KeyConfig) bool { return key.Admin }
	return c.GeneratesAdminKey() && c.ClientKeyFile != "" && len(slices.DeleteFunc(slices.Clone(c.Keys), isAdmin)) == 0
}

// KeyConfig is one named key. Exactly one of Key, KeySHA256 and KeyFile is given.
type KeyConfig struct {
	Name      string    `json:"name" doc:"The name that the request log shows."`
	Key       string    `json:"key,omitempty" secret:"true" doc:"The key itself, best as ${ENV}."`
	KeySHA256 string    `json:"key_sha256,omitempty" doc:"The SHA-256 of the key in hex, as printed by proxycast genkey."`
	KeyFile   string    `json:"key_file,omitempty" path:"true" doc:"A file that holds the key."`
	Admin     bool      `json:"admin,omitempty" doc:"May use the operator routes."`
	Models    []string  `json:"models,omitempty" doc:"The models that the key may ask for, * is a wildcard. Empty: all."`
	Expires   time.Time `json:"expires,omitzero" doc:"From this time on (RFC 3339) the key is refused."`

	RequestsPerMinute int   `json:"requests_per_minute,omitempty" min:"0" max:"1000000000" doc:"How many requests may begin in a minute: so many at once when the key has rested, then steadily. 0: no limit."`
	TokensPerMinute   int64 `json:"tokens_per_minute,omitempty" min:"0" max:"1000000000000" doc:"How many input and output tokens may be used in a minute. They count when a request ends, and no request begins while they are used up. 0: no limit."`
	Concurrency       int   `json:"concurrency,omitempty" min:"0" max:"1000000" doc:"How many requests may be under way at a time. 0: no limit."`
}

const (
	maxName  = 64 // characters of a key's name
	shortKey = 16 // a key with fewer characters can be guessed
)

// Check reports what is wrong with c: fault for what cannot run, warn for what
// should not. path is relative to the section, as in "keys[0].name". It opens no
// file: what a key_file holds is checked by New. No message quotes a value, since
// a key may stand in the wrong place.
func (c Config) Check(fault, warn func(path, message string)) {
	names := make(map[string]int)
	digests := make(map[digest]int)
	for i, key := range c.Keys {
		at := fmt.Sprintf("keys[%d]", i)

		if message := nameFault(key.Name); message != "" {
			fault(at+".name", message)
		} else if first, ok := names[key.Name]; ok {
			fault(at+".name", fmt.Sprintf("is the name of keys[%d] too; give each key its own", first))
		} else {
			names[key.Name] = i
		}

		key.check(at, fault, warn)
		if sum, ok := key.digest(); ok {
			if first, ok := digests[sum]; ok {
				fault(at, fmt.Sprintf("has the key of keys[%d]; give each name a key of its own", first))
			} else {
				digests[sum] = i
			}
		}

		for j, model := range key.Models {
			if strings.TrimSpace(model) == "" {
				fault(fmt.Sprintf("%s.models[%d]", at, j), "is empty; name a model, or use * for all")
			}
		}
		if isPast(key.Expires) {
			warn(at+".expires", "is in the past: the key is refused; set a later time, or remove the key")
		}
	}
}

// check reports what is wrong with the key itself.
func (c KeyConfig) check(at string, fault, warn func(path, message string)) {
	var given []string
	for _, form := range [...]struct{ name, value string }{{"key", c.Key}, {"key_sha256", c.KeySHA256}, {"key_file", c.KeyFile}} {
		if form.value != "" {
			given = append(given, form.name)
		}
	}
	switch {
	case len(given) == 0:
		fault(at, `has no key, or an empty one; give one of key, key_sha256 and key_file ("proxycast genkey NAME" makes a key)`)
	case len(given) > 1:
		fault(at, "has "+strings.Join(given, " and ")+"; keep one of them")
	}

	if c.Key != "" {
		if message := keyFault(c.Key); message != "" {
			fault(at+".key", message)
		} else if len(c.Key) < shortKey {
			warn(at+".key", fmt.Sprintf(`has fewer than %d characters and can be guessed; "proxycast genkey NAME" makes a strong one`, shortKey))
		}
	}
	if _, ok := parseDigest(c.KeySHA256); !ok && c.KeySHA256 != "" {
		fault(at+".key_sha256", "is not 64 hexadecimal digits; it takes the SHA-256 of the key, a key in plain text belongs into key")
	}
}

// digest returns the key's SHA-256, if c holds the key or its SHA-256.
func (c KeyConfig) digest() (sum digest, ok bool) {
	if c.Key != "" {
		return sha256Of(c.Key), true
	}
	return parseDigest(c.KeySHA256)
}

// nameFault says what keeps name from naming a key, or "".
func nameFault(name string) string {
	if strings.TrimSpace(name) == "" {
		return "is missing; the request log shows who asked by this name"
	}
	if utf8.RuneCountInString(name) > maxName {
		return fmt.Sprintf("has more than %d characters; shorten it", maxName)
	}
	if strings.ContainsFunc(name, func(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control) }) {
		return "has a control character; remove it"
	}
	return ""
}

// keyFault says what keeps key, which is not empty, from being a key, or "".
func keyFault(key string) string {
	if !visible(key) {
		return "has white space, a control character or one that is not ASCII, which clients cannot send in a header; remove it"
	}
	for _, sample := range [...]string{"your-api-key", "changeme", "sk-xxx", "dev-key-xxx", "prod-key-xxx"} {
		if strings.EqualFold(key, sample) {
			return `is a published sample that anybody knows; "proxycast genkey NAME" makes a key`
		}
	}
	return ""
}

// visible reports whether s consists of visible ASCII characters (VCHAR of RFC
// 5234), at least one.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}
