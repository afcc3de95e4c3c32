package config

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// The config's text as the dashboard shows it: every secret that stands in the file
// itself, comments included, is a mask, and a mask that comes back stands for the
// secret that it hides. References such as ${NAME} are no secrets and stay.

const secretMask = `"***"`

// token is a part of a config's text that is shown masked: a string, or a comment
// that holds a secret.
type token struct {
	id       string // which one it is, in a way that outlives moves: auth.keys{ci}.key; of a comment: what is shown
	from, to int    // a string with its quotes
	shown    string
	hidden   string // of a mask that came back: what it stands for
}

// Mask returns text with masks. A text that cannot be parsed is an error: any
// part of it could be a secret.
func Mask(text []byte) ([]byte, error) {
	secrets, err := secretTokens(text)
	if err != nil {
		return nil, err
	}
	return replaceTokens(text, secrets, func(t token) string { return t.shown }), nil
}

// Unmasked is a config's text with its secrets put back.
type Unmasked struct {
	Text   []byte
	lost   []finding // masks that hide nothing, by their offset in the text with masks
	masked []byte
	masks  []token // in masked, those that were replaced
}

// Unmask puts the secrets of the present text back in the places of masks.
func Unmask(text, present []byte) Unmasked {
	u := Unmasked{Text: text, masked: text}
	root, err := parseJSONC(text)
	if err != nil {
		return u // Check will say what is wrong
	}
	known := map[string]string{}
	if secrets, err := secretTokens(present); err == nil {
		for _, t := range secrets {
			known[t.id] = string(present[t.from:t.to])
		}
	}
	walkTokens(text, root, "", func(t token, n *jsonNode) {
		switch _, ok := known[t.id]; {
		case string(text[t.from:t.to]) != secretMask:
		case !ok:
			u.lost = append(u.lost, finding{t.from, t.id, "*** hides nothing that the file holds under this name; write the value"})
		default:
			u.masks = append(u.masks, t)
		}
	})
	for _, c := range root.comments { // one that was edited keeps its mask
		if shown := string(text[c[0]:c[1]]); known[shown] != "" {
			u.masks = append(u.masks, token{id: shown, from: c[0], to: c[1]})
		}
	}
	for i, t := range u.masks {
		u.masks[i].hidden = known[t.id]
	}
	u.Text = replaceTokens(text, u.masks, func(t token) string { return t.hidden })
	return u
}

// Back returns faults of the text with secrets the columns that they have in the text
// with masks.
func (u Unmasked) Back(faults Faults) Faults {
	shift := 0
	var starts []int // of the secrets in Text
	var widths []int // by how many characters each is longer than its mask
	for _, t := range u.masks {
		starts = append(starts, t.from+shift)
		widths = append(widths, utf8.RuneCountInString(t.hidden)-utf8.RuneCount(u.masked[t.from:t.to]))
		shift += len(t.hidden) - (t.to - t.from)
	}
	found := make([]finding, len(starts))
	for i, at := range starts {
		found[i] = finding{at: at}
	}
	moved := slices.Clone(faults)
	for i, secret := range locateFindings("", u.Text, found) {
		for j := range moved {
			if moved[j].Line == secret.Line && faults[j].Column > secret.Column {
				moved[j].Column -= widths[i]
			}
		}
	}
	return moved
}

// Lost returns the masks that hide nothing, as faults of the file at path.
func (u Unmasked) Lost(path string) Faults { return locateFindings(path, u.masked, u.lost) }

// secretTokens finds the strings of text that are, or may be, secrets: those of
// fields that are secret, unless they consist of references only, addresses with a
// query, and whatever stands under a key that no Config has, which may be a
// mistyped one; and the comments in which something looks like one.
func secretTokens(text []byte) ([]token, error) {
	root, err := parseJSONC(text)
	if err != nil {
		return nil, err
	}
	at := map[int]bool{}
	noteSecrets(root, reflect.TypeFor[Config](), "", false, at)
	var secrets []token
	walkTokens(text, root, "", func(t token, n *jsonNode) {
		if at[n.at] {
			secrets = append(secrets, t)
		}
	})
	var values []string
	for _, t := range secrets {
		if value := string(text[t.from+1 : t.to-1]); len(value) >= shortestQuoted {
			values = append(values, value)
		}
	}
	for _, c := range root.comments {
		comment := string(text[c[0]:c[1]])
		if shown := maskComment(comment, values); shown != comment {
			secrets = append(secrets, token{id: shown, from: c[0], to: c[1], shown: shown})
		}
	}
	return secrets, nil
}

// shortestQuoted is the length from which a secret of the file is looked for in its
// comments: a shorter one is a word.
const shortestQuoted = 6

var (
	// commentString matches a string in a comment, and the colon that makes it a key.
	commentString = regexp.MustCompile(`"((?:\\.|[^"\\\n])*)"(\s*:)?`)
	// credentialShape matches what is written like a credential: a vendor's prefix, or
	// a long run of letters and digits.
	credentialShape = regexp.MustCompile(`\b(?:sk|pk|pc|rk|gsk|xai|key|ghp|hf|AIza|Bearer )[-_A-Za-z0-9+/=]{8,}|[A-Za-z0-9_]{20,}`)
)

// maskComment returns a comment without what may be a secret: the values of the
// file's secrets, strings under a key that is secret, unknown or absent, as in an entry
// that is commented out, and what is written like a credential.
func maskComment(comment string, values []string) string {
	for _, value := range values {
		comment = strings.ReplaceAll(comment, value, "***")
	}
	var out strings.Builder
	key, last := "", 0
	for _, m := range commentString.FindAllStringSubmatchIndex(comment, -1) {
		value := comment[m[2]:m[3]]
		if m[4] >= 0 {
			key = value
			continue
		}
		if plainKeys[key] || value == "" || onlyReferences.MatchString(value) {
			continue
		}
		out.WriteString(comment[last:m[2]])
		out.WriteString("***")
		last = m[3]
	}
	out.WriteString(comment[last:])
	return credentialShape.ReplaceAllStringFunc(out.String(), func(word string) string {
		if !strings.ContainsAny(word, "0123456789") {
			return word
		}
		return "***"
	})
}

// plainKeys are the keys whose values are no secrets, wherever they stand.
var plainKeys = func() map[string]bool {
	keys := map[string]bool{}
	notePlainKeys(reflect.TypeFor[Config](), keys)
	return keys
}()

// notePlainKeys notes the keys of t, and of what it is made of. A key that is secret
// in one place is so in all.
func notePlainKeys(t reflect.Type, keys map[string]bool) {
	switch {
	case t.Kind() == reflect.Slice, t.Kind() == reflect.Map:
		notePlainKeys(t.Elem(), keys)
	case t.Kind() == reflect.Struct && t != timeType:
		for _, f := range configFields(t) {
			plain, known := keys[f.key]
			keys[f.key] = f.Tag.Get("secret") != "true" && (plain || !known)
			notePlainKeys(f.Type, keys)
		}
	}
}

// noteSecrets notes the offsets of the secret strings below n, which is to fill a
// value of type t; nil: no value.
func noteSecrets(n *jsonNode, t reflect.Type, tag reflect.StructTag, secret bool, at map[int]bool) {
	secret = secret || tag.Get("secret") == "true" || t == nil
	switch n.kind {
	case jsonString:
		if n.text != "" && secret && onlyReferences.FindString(n.text) == "" || strings.Contains(n.text, "://") && strings.Contains(n.text, "?") {
			at[n.at] = true
		}
	case jsonList:
		for _, item := range n.items {
			noteSecrets(item, elementOf(t), tag, secret, at)
		}
	case jsonObject:
		fields := map[string]configField{}
		isStruct := t != nil && t.Kind() == reflect.Struct
		if isStruct {
			for _, f := range configFields(t) {
				fields[f.key] = f
			}
		}
		for _, m := range n.members {
			f, known := fields[m.key]
			switch {
			case known:
				noteSecrets(m.value, f.Type, f.Tag, secret, at)
			case isStruct || t == nil:
				noteSecrets(m.value, nil, "", true, at)
			default:
				noteSecrets(m.value, elementOf(t), tag, secret, at)
			}
		}
	}
}

// onlyReferences matches a text of references, in which nothing is written out.
var onlyReferences = regexp.MustCompile(`^(\$\{[^{}]*\}|Bearer )+$`)

// elementOf gives the type of the elements of t, or t itself where it has none: a
// short form.
func elementOf(t reflect.Type) reflect.Type {
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Map) {
		return t.Elem()
	}
	return t
}

// walkTokens visits the string values below n, in the order of the text.
func walkTokens(text []byte, n *jsonNode, id string, visit func(token, *jsonNode)) {
	switch n.kind {
	case jsonString:
		visit(token{id: id, from: n.at, to: stringEnd(text, n.at), shown: secretMask}, n)
	case jsonList:
		for i, item := range n.items {
			name := fmt.Sprint(i)
			for _, m := range item.members {
				if m.key == "name" && m.value.kind == jsonString {
					name = m.value.text
				}
			}
			walkTokens(text, item, id+"{"+name+"}", visit)
		}
	case jsonObject:
		for _, m := range n.members {
			walkTokens(text, m.value, joinKey(id, m.key), visit)
		}
	}
}

// stringEnd gives the offset after the string that begins at from.
func stringEnd(text []byte, from int) int {
	for i := from + 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

func replaceTokens(text []byte, tokens []token, by func(token) string) []byte {
	slices.SortFunc(tokens, func(a, b token) int { return a.from - b.from })
	var out bytes.Buffer
	last := 0
	for _, t := range tokens {
		out.Write(text[last:t.from])
		out.WriteString(by(t))
		last = t.to
	}
	out.Write(text[last:])
	return out.Bytes()
}
