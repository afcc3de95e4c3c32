// Sample values for a JSON Schema: what the demo model fills in where a tool
// or a structured answer is asked for.

package demo

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

const (
	maxSampleDepth = 64
	maxSample      = 16 << 10 // bytes after which only what is begun is ended
	maxSampleText  = 1000     // characters of one string
)

// sample gives a JSON text that fits a schema: required properties only, the
// first of an enum or of alternatives, and small values within the bounds that
// are stated. Patterns are not looked at. A schema of any form gives valid JSON.
func sample(schema json.RawMessage) string {
	var root any
	if json.Unmarshal(schema, &root) != nil {
		root = nil
	}
	s := sampler{root: root}
	s.value(root, 0)
	return string(s.out)
}

// sampleObject is sample for a schema that must describe an object.
func sampleObject(schema json.RawMessage) string {
	text := sample(schema)
	if !strings.HasPrefix(text, "{") {
		return "{}"
	}
	return text
}

type sampler struct {
	root any
	out  []byte
}

func (s *sampler) value(schema any, depth int) {
	m, _ := schema.(map[string]any)
	if depth > maxSampleDepth || len(s.out) > maxSample {
		s.add("null")
		return
	}
	if v, ok := m["const"]; ok {
		s.out = append(s.out, encode(v)...)
		return
	}
	if list, ok := m["enum"].([]any); ok && len(list) > 0 {
		s.out = append(s.out, encode(list[0])...)
		return
	}
	if ref, ok := m["$ref"].(string); ok {
		s.value(s.resolve(ref), depth+1)
		return
	}
	kind := typeOf(m)
	if kind == "" {
		for _, key := range [...]string{"anyOf", "oneOf", "allOf"} {
			if list, ok := m[key].([]any); ok && len(list) > 0 {
				s.value(firstNonNull(list), depth+1)
				return
			}
		}
	}
	switch kind {
	case "object":
		s.object(m, depth)
	case "array":
		s.array(m, depth)
	case "integer":
		s.add(strconv.FormatFloat(sampleNumber(m, 1), 'f', 0, 64))
	case "number":
		s.out = append(s.out, encode(sampleNumber(m, 0))...)
	case "boolean":
		s.add("true")
	case "null":
		s.add("null")
	default:
		s.out = append(s.out, encode(sampleText(m))...)
	}
}

func (s *sampler) add(text string) { s.out = append(s.out, text...) }

func (s *sampler) object(m map[string]any, depth int) {
	properties, _ := m["properties"].(map[string]any)
	required, _ := m["required"].([]any)
	s.add("{")
	first := true
	for _, r := range required {
		name, ok := r.(string)
		if !ok || len(s.out) > maxSample {
			break
		}
		if !first {
			s.add(", ")
		}
		first = false
		s.out = append(s.out, encode(name)...)
		s.add(": ")
		s.value(properties[name], depth+1)
	}
	s.add("}")
}

func (s *sampler) array(m map[string]any, depth int) {
	tuple, _ := m["prefixItems"].([]any)
	n := max(1, len(tuple), int(min(bound(m, "minItems", 1), maxSample)))
	n = min(n, int(min(bound(m, "maxItems", maxSample), maxSample)))
	s.add("[")
	for i := range n {
		if len(s.out) > maxSample {
			break
		}
		if i > 0 {
			s.add(", ")
		}
		if i < len(tuple) {
			s.value(tuple[i], depth+1)
		} else {
			s.value(m["items"], depth+1)
		}
	}
	s.add("]")
}

// resolve follows a reference within the schema, a JSON pointer (RFC 6901).
func (s *sampler) resolve(ref string) any {
	at := s.root
	path, ok := strings.CutPrefix(ref, "#")
	if !ok {
		return nil
	}
	for _, key := range strings.Split(path, "/")[1:] {
		m, _ := at.(map[string]any)
		at = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(key)]
	}
	return at
}

// typeOf gives the first type that is not null, or what the keywords imply.
func typeOf(m map[string]any) string {
	switch t := m["type"].(type) {
	case string:
		return t
	case []any:
		kind, _ := firstNonNull(t).(string)
		return kind
	}
	if m["properties"] != nil {
		return "object"
	}
	if m["items"] != nil || m["prefixItems"] != nil {
		return "array"
	}
	return ""
}

// firstNonNull gives the first of types or schemas that is not just null.
func firstNonNull(list []any) any {
	for _, v := range list {
		if m, ok := v.(map[string]any); v != "null" && !(ok && m["type"] == "null") {
			return v
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

// bound gives a keyword's number if it is not negative.
func bound(m map[string]any, key string, otherwise float64) float64 {
	if v, ok := m[key].(float64); ok && v >= 0 {
		return v
	}
	return otherwise
}

// sampleNumber gives a number within the bounds of m, 1 if that is one; unit is 1 for whole numbers.
func sampleNumber(m map[string]any, unit float64) float64 {
	low, high := math.Inf(-1), math.Inf(1)
	margin := max(unit, 0.5) // beside an exclusive bound
	if v, ok := m["minimum"].(float64); ok {
		low = v
	}
	if v, ok := m["exclusiveMinimum"].(float64); ok {
		low = max(low, v+margin)
	}
	if v, ok := m["maximum"].(float64); ok {
		high = v
	}
	if v, ok := m["exclusiveMaximum"].(float64); ok {
		high = min(high, v-margin)
	}
	n := max(low, min(high, 1))
	if step, ok := m["multipleOf"].(float64); ok && step > 0 {
		n = math.Ceil(n/step) * step
		if n > high {
			n = math.Floor(high/step) * step
		}
	} else if unit > 0 {
		n = math.Ceil(n)
	}
	if math.IsInf(n, 0) || math.IsNaN(n) {
		return 1
	}
	return n
}

// sampleText gives a string of the format and length that m asks for.
func sampleText(m map[string]any) string {
	switch m["format"] {
	case "date-time":
		return "2026-01-01T12:00:00Z"
	case "date":
		return "2026-01-01"
	case "time":
		return "12:00:00Z"
	case "duration":
		return "PT1H"
	case "email":
		return "demo@example.com"
	case "uri", "url":
		return "https://example.com/"
	case "hostname":
		return "example.com"
	case "ipv4":
		return "192.0.2.1"
	case "ipv6":
		return "2001:db8::1"
	case "uuid":
		return "00000000-0000-4000-8000-000000000000"
	}
	const plain = "demo"
	n := max(len(plain), int(min(bound(m, "minLength", 0), maxSampleText)))
	n = min(n, int(min(bound(m, "maxLength", maxSampleText), maxSampleText)))
	return strings.Repeat(plain, n/len(plain)+1)[:n]
}
