package cors

import (
	"fmt"
	"slices"
	"strings"
)

// The section of the config file, and how it becomes a policy.

// Config is the "cors" section of config.json.
type Config struct {
	Origins []string `json:"origins" default:"[\"*\"]" doc:"Web origins that may call: *, https://app.example.com, https://*.example.com. Empty: none."`
	Methods []string `json:"methods" default:"[\"GET\",\"POST\",\"OPTIONS\"]" doc:"Methods that a preflight allows, * for all."`
	Headers []string `json:"headers" default:"[\"*\"]" doc:"Request headers that a preflight allows. * allows those that are asked for."`
}

// Check reports what is wrong with c: fault for what cannot run, warn for what
// should not. path is relative to the section, as in "origins[0]".
func (c Config) Check(fault, warn func(path, message string)) {
	compile(c, fault)
}

// compile builds the policy of c, without the entries that are faults.
func compile(c Config, fault func(path, message string)) *policy {
	p := newPolicy()
	for i, text := range c.Origins {
		if text == "*" {
			p.anyOrigin = true
			continue
		}
		o, message := parseOrigin(text)
		switch {
		case message != "":
			fault(fmt.Sprintf("origins[%d]", i), message)
		case o.wildcard:
			p.wildcards = append(p.wildcards, o)
		default:
			p.exact[o.scheme+o.host] = true
		}
	}
	for i, method := range c.Methods {
		if !isToken(method) {
			fault(fmt.Sprintf("methods[%d]", i), "is not a method; write one such as POST, or * for all")
		}
	}
	for i, header := range c.Headers {
		if !isToken(header) {
			fault(fmt.Sprintf("headers[%d]", i), "is not the name of a header; write one such as x-api-key, or * for all")
		}
	}
	p.anyHeader = slices.Contains(c.Headers, "*")
	if len(c.Methods) > 0 {
		p.methods = []string{strings.ToUpper(strings.Join(c.Methods, ", "))} // methods are case-sensitive
	}
	if len(c.Headers) > 0 {
		p.headers = []string{strings.Join(c.Headers, ", ")}
	}
	return p
}
