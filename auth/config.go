package auth

import "time"

// Config is the "auth" section of config.json.
type Config struct {
	Enabled bool        `json:"enabled" default:"true" doc:"Ask every client for a key. Off is accepted on a loopback host only."`
	Keys    []KeyConfig `json:"keys" doc:"The named client keys."`

	// AdminKeyFile is where the generated admin key is kept.
	AdminKeyFile string `json:"-"`
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
}

// Check reports what is wrong with c: fault for what cannot run, warn for what
// should not. path is relative to the section, as in "keys[0].name".
func (c Config) Check(fault, warn func(path, message string)) {
}
