// Tools: the functions that a model may call, and which of them it must.

package demo

import (
	"encoding/json"
	"slices"
)

// tool is a tool of any dialect. The provider's own, such as a web search, have no schema.
type tool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`   // the schema in OpenAI's dialect
	InputSchema json.RawMessage `json:"input_schema"` // the schema in Anthropic's
	Function    *tool           `json:"function"`     // holds the fields above in chat
}

// readTools counts the tools, which the model reads, and chooses the function that must be called, if one must.
func (p *prompt) readTools(tools []tool, choice toolChoice) error {
	for _, t := range tools {
		if t.Function != nil {
			t = *t.Function
		} else if t.Type != "function" && t.InputSchema == nil {
			continue // the model never calls it
		}
		if t.Name == "" {
			return missing("tools.name")
		}
		schema := slices.Concat(t.Parameters, t.InputSchema) // one of them is there
		p.tokens += countTokens(t.Name) + countTokens(t.Description) + countTokens(string(schema))
		if p.tool == "" && choice.forced() && (choice.name == "" || choice.name == t.Name) {
			p.tool, p.schema = t.Name, schema
		}
	}
	if p.tool == "" && choice.forced() {
		return invalid("tool_choice", "asks for a function that is not among the tools")
	}
	return nil
}

// toolChoice is the field tool_choice of any dialect.
type toolChoice struct {
	mode string // empty if absent
	name string // of the one tool that may be called; empty is any
}

func (c *toolChoice) UnmarshalJSON(raw []byte) error {
	if raw[0] == '"' {
		return json.Unmarshal(raw, &c.mode)
	}
	var object struct {
		Type, Name string
		Function   struct{ Name string }
	}
	err := json.Unmarshal(raw, &object)
	c.mode, c.name = object.Type, object.Name+object.Function.Name
	return err
}

// forced reports whether a function must be called. Where the model has the choice, it prefers to talk.
func (c toolChoice) forced() bool {
	return slices.Contains([]string{"required", "any", "function", "tool"}, c.mode)
}
