package server

import "proxycast/server/config"

// Config is config.json, loaded and checked.
type Config = config.Config

// Load reads the config file at path. getenv resolves ${NAME} and is used like
// os.LookupEnv. What is wrong with the content is returned all at once, a fault a line.
func Load(path string, getenv func(string) (string, bool)) (*Config, error) {
	return config.Load(path, getenv)
}

// Schema is the JSON Schema (2020-12) of config.json, indented, for editors.
func Schema() []byte { return config.Schema() }
