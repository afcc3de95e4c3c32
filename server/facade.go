package server

import (
	"proxycast/server/autostart"
	"proxycast/server/config"
)

// What the command line takes from the packages below this one, which it does not know.

// Config is config.json, loaded and checked.
type Config = config.Config

// Load reads the config file at path. getenv resolves ${NAME} and is used like
// os.LookupEnv. What is wrong with the content is returned all at once, a fault a line.
func Load(path string, getenv func(string) (string, bool)) (*Config, error) {
	return config.Load(path, getenv)
}

// Salvage does what Load does, but returns beside the faults what could be decoded in spite of them.
func Salvage(path string, getenv func(string) (string, bool)) (*Config, error) {
	return config.Salvage(path, getenv)
}

// Schema is the JSON Schema (2020-12) of config.json, indented, for editors.
func Schema() []byte { return config.Schema() }

// Unit describes to a service manager what it is to start.
type Unit = autostart.Unit

// Notify tells systemd the state of the gateway, as in READY=1 (sd_notify(3)). It does
// nothing where systemd did not start it.
func Notify(state string) error { return autostart.Notify(state) }
