package cors

// Config is the "cors" section of config.json.
type Config struct {
	Origins []string `json:"origins" default:"[\"*\"]" doc:"Web origins that may call: *, https://app.example.com, https://*.example.com. Empty: none."`
	Methods []string `json:"methods" default:"[\"GET\",\"POST\",\"OPTIONS\"]" doc:"Methods that a preflight allows."`
	Headers []string `json:"headers" default:"[\"*\"]" doc:"Request headers that a preflight allows. * allows those that are asked for."`
}

// Check reports what is wrong with c: fault for what cannot run, warn for what
// should not. path is relative to the section, as in "keys[0].name".
func (c Config) Check(fault, warn func(path, message string)) {
}
