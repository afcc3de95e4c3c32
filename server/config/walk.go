package config

import (
	"fmt"
	"reflect"
	"strconv"
)

// What stands where in a config's text: whether it is secret, and where it is sent.

// place is where a value stands in a config.
type place struct {
	id      string       // as in a token
	path    string       // its key, in full
	t       reflect.Type // of what it fills; nil: there is no such value, and all below is taken for a secret
	secret  bool         // it is part of a secret
	address string       // where secrets beside it are sent

	isAddress    bool // it is a part of that
	keepsSecrets bool // what it hides goes to itself, whatever the other parts are
}

// walkStrings visits the strings at and below n, in the order of the text.
func walkStrings(n *jsonNode, p place, visit func(n *jsonNode, p place)) {
	p.t, p.secret = longForm(n, p.t, p.secret)
	switch n.kind {
	case jsonString:
		visit(n, p)
	case jsonList:
		for i, item := range n.items {
			name := fmt.Sprint(i)
			for _, m := range item.members {
				if m.key == "name" && m.value.kind == jsonString {
					name = m.value.text
				}
			}
			inner := p
			inner.id, inner.path, inner.t = p.id+"{"+name+"}", fmt.Sprintf("%s[%d]", p.path, i), elementOf(p.t, reflect.Slice)
			walkStrings(item, inner, visit)
		}
	case jsonObject:
		if address, ok := addressIn(n, p.t); ok {
			p.address = address
		}
		for _, m := range n.members {
			inner := p
			inner.id, inner.path, inner.t = joinKey(p.id, m.key), joinKey(p.path, m.key), elementOf(p.t, reflect.Map)
			inner.isAddress, inner.keepsSecrets = false, false
			if f, ok := fieldOf(p.t, m.key); ok {
				inner.t, inner.secret = f.Type, p.secret || f.isSecret()
				inner.isAddress, inner.keepsSecrets = f.Tag.Get("address") != "", f.Tag.Get("address") == "self"
			}
			walkStrings(m.value, inner, visit)
		}
	}
}

// addressIn returns where the secrets of n, which fills a t, are sent: its fields that are tagged so. ok: it has such.
func addressIn(n *jsonNode, t reflect.Type) (address string, ok bool) {
	if t == nil || t.Kind() != reflect.Struct || t == timeType {
		return "", false
	}
	for _, f := range configFields(t) {
		if f.Tag.Get("address") == "" {
			continue
		}
		ok = true
		for _, m := range n.members {
			if m.key == f.key {
				address += f.key + strconv.Quote(m.value.text)
			}
		}
	}
	return address, ok
}

// fieldOf returns the field of t that the key fills, if t is a struct that has one.
func fieldOf(t reflect.Type, key string) (field configField, ok bool) {
	if t == nil || t.Kind() != reflect.Struct || t == timeType {
		return field, false
	}
	for _, f := range configFields(t) {
		if f.key == key {
			return f, true
		}
	}
	return field, false
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
