// Examples: the arguments and objects that the demo model writes where a schema asks for them.

package demo

import (
	"encoding/json"
	"strings"
)

// maxExample is the most bytes of an example's members: further ones are left out.
const maxExample = 4 << 10

// example returns a JSON object with each property that a JSON Schema requires. What a property's own schema says
// inside an array or object is not looked at. A schema of anything else, or of no known form, has the example {}.
func example(schema json.RawMessage) string {
	var object struct {
		Properties map[string]json.RawMessage
		Required   []string
	}
	if json.Unmarshal(schema, &object) != nil {
		return "{}"
	}
	var members []string
	size := 0
	for _, name := range object.Required {
		member := string(encode(name)) + ": " + exampleValue(object.Properties[name])
		if size += len(member); size > maxExample {
			break
		}
		members = append(members, member)
	}
	return "{" + strings.Join(members, ", ") + "}"
}

// exampleValue returns the first value of a schema's enum, or else a value of its type.
func exampleValue(schema json.RawMessage) string {
	var property struct {
		Type stringList
		Enum []json.RawMessage
	}
	_ = json.Unmarshal(schema, &property) // what cannot be read states nothing
	if len(property.Enum) > 0 {
		return string(property.Enum[0])
	}
	switch kind := append(property.Type, "string")[0]; kind {
	case "integer", "number":
		return "1"
	case "boolean":
		return "true"
	case "array":
		return "[]"
	case "object":
		return "{}"
	case "null":
		return "null"
	}
	return `"demo"`
}
