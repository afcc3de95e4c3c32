package config

// What a config shows of itself: every secret that it holds, comments included, is a
// mask, both in the file's text and in the config in force. References such as ${NAME}
// are no secrets in the file and stay.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
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
	address  string // where it is sent
	shown    string // what stands in its place
}

// Mask returns the text of a config file with masks. A text that cannot be parsed is
// an error: any part of it could be a secret.
func Mask(text []byte) ([]byte, error) {
	secrets, err := secretTokens(text, isOpen)
	if err != nil {
		return nil, err
	}
	return replaceTokens(text, secrets), nil
}

// Shown returns the config as JSON in the form of the file, with masks: defaults are
// filled in, and references stand as they are written.
func (c *Config) Shown() json.RawMessage {
	text, secrets := c.secretsInForce(c.written)
	return replaceTokens(text, secrets)
}

// Written returns the text of a field whose references are resolved, as in server.host. ok: it is one.
func (c *Config) Written(path string) (text string, ok bool) {
	text, ok = c.written[path]
	return text, ok
}

// secretsInForce returns the config as JSON in the form of the file, with the texts of written in their places, and the
// secrets in it.
func (c *Config) secretsInForce(written map[string]string) ([]byte, []token) {
	text, err := json.Marshal(fileForm("", reflect.ValueOf(*c), written))
	if err != nil {
		panic("config: " + err.Error()) // it was made of JSON
	}
	secrets, err := secretTokens(text, func(string) bool { return false })
	if err != nil {
		panic("config: " + err.Error())
	}
	return text, secrets
}

// Secrets returns what must not be shown of the config in force: the values of its secret fields, what addresses have
// of passwords and queries, and what references stand for, unless it is an address of this machine or of a network.
func (c *Config) Secrets() (values []string) {
	for _, value := range c.resolved {
		if _, err := netip.ParseAddr(value); err != nil && !IsLoopback(value) {
			values = append(values, value)
		}
	}
	_, secrets := c.secretsInForce(nil)
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

// fileForm returns v, which stands at path, as json.Marshal is to write it: by the keys of the file, durations
// as text, and the texts of written in their places.
func fileForm(path string, v reflect.Value, written map[string]string) any {
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
			list[i] = fileForm(fmt.Sprintf("%s[%d]", path, i), v.Index(i), written)
		}
		return list
	case reflect.Map:
		object := map[string]any{}
		for key, value := range v.Seq2() {
			object[key.String()] = fileForm(joinKey(path, key.String()), value, written)
		}
		return object
	case reflect.Struct:
		object := map[string]any{}
		for _, f := range configFields(v.Type()) {
			if field := v.FieldByIndex(f.Index); !strings.Contains(f.Tag.Get("json"), ",omit") || !field.IsZero() {
				object[f.key] = fileForm(joinKey(path, f.key), field, written)
			}
		}
		return object
	}
	if text, ok := written[path]; ok {
		return text
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
	walkStrings(root, place{t: reflect.TypeFor[Config]()}, func(n *jsonNode, p place) {
		isQuery := strings.Contains(n.text, "://") && strings.Contains(n.text, "?")
		if !isQuery && (!p.secret || n.text == "" || open(n.text)) {
			return
		}
		secrets = append(secrets, token{id: p.id, from: n.at, to: n.end, value: n.text, address: p.address, shown: secretMask})
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

// onlyReferences matches a text of references, in which nothing is written out.
var onlyReferences = regexp.MustCompile(`^(\$\{[^{}]*\}|Bearer )+$`)

// isOpen reports whether the value of a secret field may be shown: it has references only, and no credential for a
// name.
func isOpen(text string) bool {
	return onlyReferences.MatchString(text) && hideCredentials(text) == text
}

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
