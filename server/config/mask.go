package config

// What a config shows of itself: every secret that it holds, comments included, is a
// mask, both in the file's text and in the config in force. References such as ${NAME}
// are no secrets in the file and stay.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

const secretMask = `"***"`

// token is a part of a text that another takes the place of: a string, or a comment that
// holds a secret.
type token struct {
	id       string // which one it is, in a way that outlives moves: auth.keys{ci}.key; of a comment: what is shown
	from, to int    // a string with its quotes
	value    string // of a string
	shown    string // what stands in its place
}

// Mask returns the text of a config file with masks. A text that cannot be parsed is
// an error: any part of it could be a secret.
func Mask(text []byte) ([]byte, error) {
	secrets, err := secretTokens(text, onlyReferences.MatchString)
	if err != nil {
		return nil, err
	}
	return replaceTokens(text, secrets), nil
}

// Shown returns the config as JSON in the form of the file, with masks: defaults are
// filled in, and references are resolved.
func (c *Config) Shown() json.RawMessage {
	text, err := json.Marshal(fileForm(reflect.ValueOf(*c)))
	if err != nil {
		panic("config: " + err.Error()) // it was made of JSON
	}
	secrets, err := secretTokens(text, func(string) bool { return false })
	if err != nil {
		panic("config: " + err.Error())
	}
	return replaceTokens(text, secrets)
}

// Secrets returns what must not be shown of the config in force: the values of its secret fields, and what addresses have
// of passwords and queries.
func (c *Config) Secrets() (values []string) {
	text, err := json.Marshal(fileForm(reflect.ValueOf(*c)))
	if err != nil {
		panic("config: " + err.Error()) // it was made of JSON
	}
	secrets, err := secretTokens(text, func(string) bool { return false })
	if err != nil {
		panic("config: " + err.Error())
	}
	for _, s := range secrets {
		u, err := url.Parse(s.value)
		if err != nil || u.Host == "" {
			values = append(values, strings.TrimPrefix(s.value, "Bearer "))
			continue
		}
		if password, ok := u.User.Password(); ok {
			values = append(values, password)
		}
		for _, given := range u.Query() {
			values = append(values, given...)
		}
	}
	return values
}

// fileForm returns v as json.Marshal is to write it: by the keys of the file, durations
// as text.
func fileForm(v reflect.Value) any {
	switch value := v.Interface().(type) {
	case time.Duration:
		return value.String()
	case time.Time:
		return value
	}
	switch v.Kind() {
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = fileForm(v.Index(i))
		}
		return list
	case reflect.Map:
		object := map[string]any{}
		for key, value := range v.Seq2() {
			object[key.String()] = fileForm(value)
		}
		return object
	case reflect.Struct:
		object := map[string]any{}
		for _, f := range configFields(v.Type()) {
			if field := v.FieldByIndex(f.Index); !strings.Contains(f.Tag.Get("json"), ",omit") || !field.IsZero() {
				object[f.key] = fileForm(field)
			}
		}
		return object
	}
	return v.Interface()
}

// secretTokens finds the strings of text that are, or may be, secrets: those of
// fields that are secret, unless they are empty or open, addresses with a query, and
// whatever stands under a key that no Config has, which may be a mistyped one; and the
// comments in which something looks like one.
func secretTokens(text []byte, open func(string) bool) ([]token, error) {
	root, err := parseJSONC(text)
	if err != nil {
		return nil, err
	}
	var secrets []token
	var values []string
	walkStrings(root, "", reflect.TypeFor[Config](), false, func(n *jsonNode, id string, secret bool) {
		isQuery := strings.Contains(n.text, "://") && strings.Contains(n.text, "?")
		if !isQuery && (!secret || n.text == "" || open(n.text)) {
			return
		}
		secrets = append(secrets, token{id: id, from: n.at, to: n.end, value: n.text, shown: secretMask})
		if value := string(text[n.at+1 : n.end-1]); len(value) >= shortestQuoted {
			values = append(values, value)
		}
	})
	for _, c := range root.comments {
		comment := string(text[c[0]:c[1]])
		if shown := maskComment(comment, values); shown != comment {
			secrets = append(secrets, token{id: shown, from: c[0], to: c[1], shown: shown})
		}
	}
	return secrets, nil
}

// walkStrings visits the strings below n, which is to fill a value of type t, in the
// order of the text. secret tells that n is part of a secret. Where t is nil there is no
// such value: all below is taken for a secret.
func walkStrings(n *jsonNode, id string, t reflect.Type, secret bool, visit func(n *jsonNode, id string, secret bool)) {
	t, secret = longForm(n, t, secret)
	switch n.kind {
	case jsonString:
		visit(n, id, secret)
	case jsonList:
		for i, item := range n.items {
			name := fmt.Sprint(i)
			for _, m := range item.members {
				if m.key == "name" && m.value.kind == jsonString {
					name = m.value.text
				}
			}
			walkStrings(item, id+"{"+name+"}", elementOf(t, reflect.Slice), secret, visit)
		}
	case jsonObject:
		for _, m := range n.members {
			element, secret := elementOf(t, reflect.Map), secret
			if t != nil && t.Kind() == reflect.Struct {
				for _, f := range configFields(t) {
					if f.key == m.key {
						element, secret = f.Type, secret || f.isSecret()
					}
				}
			}
			walkStrings(m.value, joinKey(id, m.key), element, secret, visit)
		}
	}
}

// longForm returns the type that n fills where a field of type t is written, and whether
// that is secret: a short form fills a field, or an element, of what it stands for.
func longForm(n *jsonNode, t reflect.Type, secret bool) (reflect.Type, bool) {
	for t != nil {
		switch {
		case t.Kind() == reflect.Struct && t != timeType && n.kind != jsonObject:
			short, ok := shortField(t)
			if !ok {
				return nil, true
			}
			t, secret = short.Type, secret || short.isSecret()
		case t.Kind() == reflect.Slice && n.kind != jsonList:
			t = t.Elem()
		default:
			return t, secret
		}
	}
	return nil, true
}

// elementOf returns the type of the elements of t, which is to be of that kind, else nil.
func elementOf(t reflect.Type, kind reflect.Kind) reflect.Type {
	if t == nil || t.Kind() != kind {
		return nil
	}
	return t.Elem()
}

// onlyReferences matches a text of references, in which nothing is written out.
var onlyReferences = regexp.MustCompile(`^(\$\{[^{}]*\}|Bearer )+$`)

// replaceTokens returns text with what is shown in the place of each of tokens, which it
// sorts.
func replaceTokens(text []byte, tokens []token) []byte {
	slices.SortFunc(tokens, func(a, b token) int { return a.from - b.from })
	var out bytes.Buffer
	last := 0
	for _, t := range tokens {
		out.Write(text[last:t.from])
		out.WriteString(t.shown)
		last = t.to
	}
	out.Write(text[last:])
	return out.Bytes()
}
