// The prompt: what a request asks of the model, whatever its dialect.

package demo

import (
	"encoding/json"
	"strings"
)

// prompt is what a request asks of the model.
type prompt struct {
	said   string   // the text of the last user message
	tokens int      // of everything that the model reads
	limit  int      // the most tokens of the answer; 0 is no limit
	stops  []string // texts at which the answer ends
	tools  []tool
	choice toolChoice
	format format
}

// add counts the tokens of another text that the model reads.
func (p *prompt) add(text string) { p.tokens += countTokens(text) }

// tool is a function that the model may call. schema may be nil.
type tool struct {
	name, description string
	schema            json.RawMessage
}

// addTool offers a tool to the model, which reads its description and schema.
func (p *prompt) addTool(t tool, maxName int) error {
	named := t.name != "" && len(t.name) <= maxName && !strings.ContainsFunc(t.name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-')
	})
	if !named {
		return invalid("tools", "has a tool whose name is not 1 to %d of a-z, A-Z, 0-9, _ and -", maxName)
	}
	p.tools = append(p.tools, t)
	p.add(t.name)
	p.add(t.description)
	p.add(string(t.schema))
	return nil
}

// toolChoice is the field tool_choice of any dialect.
type toolChoice struct {
	mode string // as in auto, required, any; empty if absent
	name string
}

func (c *toolChoice) UnmarshalJSON(raw []byte) error {
	*c = toolChoice{}
	var object struct {
		Type, Name string
		Function   struct{ Name string }
	}
	switch {
	case raw[0] == 'n':
		return nil
	case raw[0] == '"':
		return json.Unmarshal(raw, &c.mode)
	case raw[0] != '{':
		return wrongType(raw)
	}
	err := json.Unmarshal(raw, &object)
	c.mode, c.name = object.Type, object.Name+object.Function.Name
	return err
}

// pick gives the tool that must be called; nil leaves the choice to the model,
// which prefers to talk.
func (c toolChoice) pick(tools []tool) (*tool, error) {
	switch c.mode {
	case "", "auto", "none", "allowed_tools":
		return nil, nil
	case "required", "any":
		if len(tools) == 0 {
			return nil, invalid("tool_choice", "asks for a tool and there is none that can be called")
		}
		return &tools[0], nil
	case "function", "tool":
		for i := range tools {
			if tools[i].name == c.name {
				return &tools[i], nil
			}
		}
		return nil, invalid("tool_choice", "names a tool that is not among the tools")
	}
	return nil, invalid("tool_choice", "has the unknown type %q", c.mode)
}

// format is the form that an answer must have: response_format, text.format or
// output_config.format.
type format struct {
	Type       string          `json:"type"`
	Schema     json.RawMessage `json:"schema"`
	JSONSchema struct {
		Schema json.RawMessage `json:"schema"`
	} `json:"json_schema"` // only in response_format
}

func (f format) schema() json.RawMessage {
	if f.JSONSchema.Schema != nil {
		return f.JSONSchema.Schema
	}
	return f.Schema
}
