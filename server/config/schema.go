package config

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
)

// The same fields and tags that the decoder fills, as a JSON Schema.

// Schema is the JSON Schema (2020-12) of config.json, indented, for editors.
// It describes keys, types and forms; what values mean together only Load knows.
func Schema() []byte {
	s := schemaOf(reflect.TypeFor[Config](), "")
	s.Dialect = "https://json-schema.org/draft/2020-12/schema"
	s.Title = "ProxyCast config.json"
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		panic("config: schema: " + err.Error())
	}
	return out.Bytes()
}

// jsonSchema is the part of JSON Schema 2020-12 that describes a Config.
type jsonSchema struct {
	Dialect              string                 `json:"$schema,omitempty"`
	Title                string                 `json:"title,omitempty"`
	Description          string                 `json:"description,omitempty"`
	Type                 any                    `json:"type,omitempty"` // a name, or several
	Default              json.RawMessage        `json:"default,omitempty"`
	AnyOf                []*jsonSchema          `json:"anyOf,omitempty"`
	Enum                 []string               `json:"enum,omitempty"`
	Pattern              string                 `json:"pattern,omitempty"`
	Not                  *jsonSchema            `json:"not,omitempty"`
	Minimum              *int64                 `json:"minimum,omitempty"`
	Maximum              *int64                 `json:"maximum,omitempty"`
	Items                *jsonSchema            `json:"items,omitempty"`
	Properties           map[string]*jsonSchema `json:"properties,omitempty"`
	AdditionalProperties any                    `json:"additionalProperties,omitempty"` // false, or the schema of each
}

// reference is what no string has whose field takes no references.
var reference = &jsonSchema{Pattern: `\$\{`}

// schemaOf describes a field of type t, or an element of one, by its tag.
func schemaOf(t reflect.Type, tag reflect.StructTag) *jsonSchema {
	switch {
	case t == durationType:
		return &jsonSchema{Type: "string", Pattern: `^([0-9]+d|0|([0-9]*\.?[0-9]+(ns|us|µs|ms|s|m|h))+)$`}
	case t == timeType:
		return &jsonSchema{Type: "string", Pattern: `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9:]+)$`}
	case tag.Get("unit") == "bytes":
		return withBounds(&jsonSchema{Type: []string{"integer", "string"}, Pattern: `^[0-9]+(([KMGT]i?)?B)?$`}, tag)
	case tag.Get("enum") != "" && t.Kind() == reflect.String:
		return &jsonSchema{Type: "string", Enum: strings.Split(tag.Get("enum"), ",")}
	}
	switch t.Kind() {
	case reflect.Struct:
		s := &jsonSchema{Type: "object", Properties: map[string]*jsonSchema{}, AdditionalProperties: false}
		for _, f := range configFields(t) {
			property := schemaOf(f.Type, f.Tag)
			property.Description = f.Tag.Get("doc")
			if _, ok := f.Tag.Lookup("default"); ok {
				property.Default = f.defaultJSON()
			}
			s.Properties[f.key] = property
		}
		if short, ok := shortField(t); ok {
			return s.orShort(s.Properties[short.key])
		}
		return s
	case reflect.Map:
		return &jsonSchema{Type: "object", AdditionalProperties: schemaOf(t.Elem(), tag)}
	case reflect.Slice:
		items := schemaOf(t.Elem(), tag)
		list := &jsonSchema{Type: "array", Items: items}
		if tag.Get("single") == "true" {
			return list.orShort(items)
		}
		return list
	case reflect.Bool:
		return &jsonSchema{Type: "boolean"}
	case reflect.Int, reflect.Int64:
		return withBounds(&jsonSchema{Type: "integer"}, tag)
	case reflect.String:
		if takesReferences(tag) {
			return &jsonSchema{Type: "string"}
		}
		return &jsonSchema{Type: "string", Not: reference}
	}
	panic("config: config.json has no form for " + t.String())
}

// withBounds adds the least and the greatest number of the tag to s.
func withBounds(s *jsonSchema, tag reflect.StructTag) *jsonSchema {
	if text := tag.Get("min"); text != "" {
		s.Minimum = new(bound(text, 0))
	}
	if text := tag.Get("max"); text != "" {
		s.Maximum = new(bound(text, 0))
	}
	return s
}

// orShort accepts what s does, and of other types what short does.
func (s *jsonSchema) orShort(short *jsonSchema) *jsonSchema {
	forms := []*jsonSchema{short}
	if short.Type == nil {
		forms = short.AnyOf
	}
	either := &jsonSchema{}
	for _, form := range forms {
		if form.Type != s.Type {
			either.AnyOf = append(either.AnyOf, form)
		}
	}
	either.AnyOf = append(either.AnyOf, s)
	return either
}
