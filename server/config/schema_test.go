package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"proxycast/server/config"
)

func TestSchemaFile(t *testing.T) {
	text, err := os.ReadFile("../config.schema.json")
	if err != nil || !bytes.Equal(text, config.Schema()) {
		t.Errorf("config.schema.json is not what Schema gives (%v); run: go run . schema > server/config.schema.json", err)
	}
}

func TestSchemaDescribesEveryKey(t *testing.T) {
	var walk func(path string, schema map[string]any)
	walk = func(path string, schema map[string]any) {
		properties, _ := schema["properties"].(map[string]any)
		for key, property := range properties {
			if property.(map[string]any)["description"] == nil {
				t.Errorf("%s.%s has no description", path, key)
			}
			walk(path+"."+key, property.(map[string]any))
		}
		for _, each := range []string{"items", "additionalProperties"} {
			if element, ok := schema[each].(map[string]any); ok {
				walk(path+"[]", element)
			}
		}
		forms, _ := schema["anyOf"].([]any)
		for _, form := range forms {
			walk(path, form.(map[string]any))
		}
	}
	walk("", configSchema(t))
}

func TestSchemaAgreesWithLoad(t *testing.T) {
	shipped, err := os.ReadFile("../../config.json")
	if err != nil {
		t.Fatal(err)
	}
	schema := configSchema(t)
	f := func(text string, ok bool) {
		t.Helper()
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		faults := violations(schema, value, "")
		writeConfig(t, text)
		_, err := config.Load("config.json", configEnv)
		if (len(faults) == 0) != ok || (err == nil) != ok {
			t.Errorf("%s\nschema: %q\nLoad: %v\nwant accepted: %v", text, faults, err, ok)
		}
	}
	f(string(shipped), true)
	f(`{}`, true)
	f(`{"server": {"max_body": "2KB", "max_inflight_bytes": 999999, "drain": "1h2.5s"}}`, true)
	f(`{"server": {"max_body": "${SIZE}"}}`, false)
	f(`{"server": {"drain": "${SPAN}"}}`, false)
	f(`{"upstream": {"providers": [{"name": "a", "type": "${TYPE}"}]}}`, false)
	f(`{"cors": {"methods": ["${NAME}"]}}`, false)
	f(`{"upstream": {"models": {"a": "demo/${NAME}"}}}`, false)
	f(`{"auth": {"keys": [{"name": "${NAME}", "key": "${KEY}"}]}}`, false)
	f(`{"auth": {"keys": [{"name": "a", "key": "${KEY}", "expires": "2999-01-01T00:00:00Z"}]}, "server": {"host": "${NAME}"}}`, true)
	f(`{"sever": {}}`, false)
	f(`{"server": {"port": "1"}}`, false)
	f(`{"server": {"drain": "1 hour"}}`, false)
	f(`{"server": {"drain": 30}}`, false)
	f(`{"server": {"max_body": "32M"}}`, false)
	f(`{"server": {"max_body": -1}}`, false)
	f(`{"server": {"hosts": [1]}}`, false)
	f(`{"auth": {"keys": [{"name": "a", "key": "${KEY}", "expires": "soon"}]}}`, false)
	f(`{"upstream": {"providers": [{"name": "a", "type": "gemini"}]}}`, false)
	f(`{"auth": {"keys": [{"name": "a", "key": "${KEY}", "requests_per_minute": 1, "tokens_per_minute": 5000000000, "concurrency": 1}]}}`, true)
	f(`{"auth": {"keys": [{"name": "a", "key": "${KEY}", "tokens_per_minute": "1"}]}}`, false)
	f(`{"upstream": {"models": {"a": "demo/x", "b": ["demo/x", {"to": "demo/y", "weight": 2}], "c": {"targets": "demo/x"}}}}`, true)
	f(`{"upstream": {"models": {"a": {"targets": {"to": "demo/x"}}, "b": {"targets": [{"to": "demo/x"}], "strategy": "weighted"}}}}`, true)
	f(`{"upstream": {"models": {"a": true}}}`, false)
	f(`{"upstream": {"models": {"a": {"to": "demo/x"}}}}`, false)
	f(`{"upstream": {"models": {"a": ["demo/x", ["demo/y"]]}}}`, false)
	f(`{"upstream": {"models": {"a": {"targets": true}}}}`, false)
}

func configSchema(t *testing.T) (schema map[string]any) {
	t.Helper()
	if err := json.Unmarshal(config.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	return schema
}

// violations judges value by the keywords that the schema uses.
func violations(schema map[string]any, value any, path string) (faults []string) {
	fail := func(format string, args ...any) {
		faults = append(faults, path+": "+fmt.Sprintf(format, args...))
	}
	kind := ""
	switch v := value.(type) {
	case map[string]any:
		kind = "object"
		properties, _ := schema["properties"].(map[string]any)
		for key, member := range v {
			if property, ok := properties[key].(map[string]any); ok {
				faults = append(faults, violations(property, member, path+"."+key)...)
			} else if each, ok := schema["additionalProperties"].(map[string]any); ok {
				faults = append(faults, violations(each, member, path+"."+key)...)
			} else if schema["additionalProperties"] == false {
				fail("additional property %q", key)
			}
		}
	case []any:
		kind = "array"
		items, _ := schema["items"].(map[string]any)
		for i, item := range v {
			faults = append(faults, violations(items, item, fmt.Sprintf("%s[%d]", path, i))...)
		}
	case string:
		kind = "string"
		if pattern, ok := schema["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(v) {
			fail("%q does not match %s", v, pattern)
		}
	case bool:
		kind = "boolean"
	case float64:
		kind = "integer" // no key takes a fraction
		if minimum, ok := schema["minimum"].(float64); ok && v < minimum {
			fail("%v is less than %v", v, minimum)
		}
		if maximum, ok := schema["maximum"].(float64); ok && v > maximum {
			fail("%v is more than %v", v, maximum)
		}
	}
	if types := fmt.Sprint(schema["type"]); schema["type"] != nil && !slices.Contains(strings.Fields(strings.Trim(types, "[]")), kind) {
		fail("%s is not %s", kind, types)
	}
	if not, ok := schema["not"].(map[string]any); ok && len(violations(not, value, path)) == 0 {
		fail("%v is what it must not be", value)
	}
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, value) {
		fail("%v is not in %v", value, enum)
	}
	if choices, ok := schema["anyOf"].([]any); ok && !slices.ContainsFunc(choices, func(choice any) bool {
		return len(violations(choice.(map[string]any), value, path)) == 0
	}) {
		fail("%v fits none of the choices", value)
	}
	return faults
}
