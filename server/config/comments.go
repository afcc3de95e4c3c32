package config

import (
	"reflect"
	"regexp"
	"strings"
)

// What a comment is shown without: entries are commented out with their secrets.

// shortestQuoted is the length from which a secret of the file is looked for in its
// comments: a shorter one is a word.
const shortestQuoted = 6

var (
	// commentString matches a string in a comment, and the colon that makes it a key.
	commentString = regexp.MustCompile(`"((?:\\.|[^"\\\n])*)"(\s*:)?`)
	// bearer matches a credential by the word before it.
	bearer = regexp.MustCompile(`\bBearer [-._A-Za-z0-9+/=~]*[0-9][-._A-Za-z0-9+/=~]*`)
)

// maskComment returns a comment without what may be a secret: the values of the
// file's secrets, strings under a key that is secret, unknown or absent, as in an entry
// that is commented out, and what is written like a credential.
func maskComment(comment string, values []string) string {
	for _, value := range values {
		comment = strings.ReplaceAll(comment, value, "***")
	}
	key := ""
	comment = commentString.ReplaceAllStringFunc(comment, func(text string) string {
		m := commentString.FindStringSubmatch(text)
		value, isKey := m[1], m[2] != ""
		switch {
		case isKey:
			key = value
			return text
		case plainKeys[key], value == "", isOpen(value):
			return text
		}
		return secretMask
	})
	return hideCredentials(bearer.ReplaceAllString(comment, "Bearer ***"))
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
			keys[f.key] = !f.isSecret() && (plain || !known)
			notePlainKeys(f.Type, keys)
		}
	}
}
