package config

import (
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The fields of the sections' Config structs say in their tags how config.json
// fills them, and the schema describes them by the same tags:
//
//	json     the key; "-" or none: not in the file
//	default  the value of an absent key: bare text for what is a string in the file, else JSON
//	doc      the description in the schema
//	enum     the strings that are accepted, separated by commas
//	unit     "bytes" on an int64: "32MiB" or a number
//	min, max the least and the greatest number, with a unit where the field has one
//	path     "true": a file, relative to the config file's folder
//	secret   "true": the value shows up in no message
//	refs     "true": references are resolved, as they are in a path and a secret; elsewhere they are refused
//	address  "true": the secrets of the struct are sent there, so that their masks are void once it changes;
//	         "self": what is secret of the field itself is sent there alone, and its own mask stays
//	unset    the field that takes the name of an unset ${NAME}, which is a warning then
//	short    "true": what is not an object is this field of it
//	single   "true" on a list: what is not a list is one of a single element
//
// On a list or a map, enum, path, secret, refs and unset are about its elements.

var (
	durationType = reflect.TypeFor[time.Duration]()
	timeType     = reflect.TypeFor[time.Time]()
)

// configField is a struct field that config.json can fill.
type configField struct {
	reflect.StructField
	key string
}

// configFields returns the fields of the struct t that the file can fill.
func configFields(t reflect.Type) (fields []configField) {
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if key != "" && key != "-" {
			fields = append(fields, configField{f, key})
		}
	}
	return fields
}

// isText reports whether the field is a string in the file.
func (f configField) isText() bool {
	return f.Type.Kind() == reflect.String || f.Type == durationType || f.Type == timeType || f.Tag.Get("unit") == "bytes"
}

// isSecret reports whether what the field holds shows up in no message and no view.
func (f configField) isSecret() bool { return f.Tag.Get("secret") == "true" }

// takesReferences reports whether references are resolved in the field of that tag.
func takesReferences(tag reflect.StructTag) bool {
	return tag.Get("refs") == "true" || tag.Get("path") == "true" || tag.Get("secret") == "true"
}

// defaultJSON is the default as the file would have it, nil if there is none.
func (f configField) defaultJSON() []byte {
	text, ok := f.Tag.Lookup("default")
	switch {
	case !ok && f.Type.Kind() == reflect.Struct && f.Type != timeType:
		return []byte("{}")
	case !ok:
		return nil
	case f.isText():
		return strconv.AppendQuote(nil, text)
	}
	return []byte(text)
}

// configSlot is a value to fill.
type configSlot struct {
	value   reflect.Value
	path    string            // its key in the file, in full
	tag     reflect.StructTag // of the field that it is, or is an element of
	missing *string           // takes the name of an unset variable; nil: that is a fault
}

// jsonForm is a way to write a value, and what a message calls it.
type jsonForm struct {
	kind  jsonKind
	words string
}

// formsOf returns the ways to write a value of type t: the short ones first.
func formsOf(t reflect.Type, tag reflect.StructTag) []jsonForm {
	switch {
	case t == durationType:
		return []jsonForm{{jsonString, `a duration such as "30s"`}}
	case t == timeType:
		return []jsonForm{{jsonString, `a time such as "2027-01-01T00:00:00Z"`}}
	case t.Kind() == reflect.Int64 && tag.Get("unit") == "bytes":
		return []jsonForm{{jsonString, `a size such as "32MiB"`}, {jsonNumber, "a number of bytes"}}
	case t.Kind() == reflect.Int || t.Kind() == reflect.Int64:
		return []jsonForm{{jsonNumber, "a whole number"}}
	case t.Kind() == reflect.String:
		return []jsonForm{{jsonString, string(jsonString)}}
	case t.Kind() == reflect.Bool:
		return []jsonForm{{jsonBool, string(jsonBool)}}
	}
	whole, short := jsonForm{jsonObject, string(jsonObject)}, []jsonForm(nil)
	if f, ok := shortField(t); ok {
		short = formsOf(f.Type, f.Tag)
	}
	if t.Kind() == reflect.Slice {
		whole = jsonForm{jsonList, string(jsonList)}
		if tag.Get("single") == "true" {
			short = formsOf(t.Elem(), tag)
		}
	}
	return append(slices.DeleteFunc(short, func(f jsonForm) bool { return f.kind == whole.kind }), whole)
}

// expected says how to write the value of s.
func (s configSlot) expected() string {
	var words []string
	for _, f := range formsOf(s.value.Type(), s.tag) {
		words = append(words, f.words)
	}
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// configDecoder fills a Config from the nodes of the file and gathers what is
// wrong with them. A slot that is refused keeps its default.
type configDecoder struct {
	dir              string
	getenv           func(string) (string, bool)
	faults, warnings []finding
	secrets          []finding         // where the file itself holds a secret
	places           map[string]int    // the offset of each path that the file has
	written          map[string]string // the text of each path whose references are resolved
	resolved         []string          // what the references stand for
}

func newDecoder(dir string, getenv func(string) (string, bool)) *configDecoder {
	return &configDecoder{dir: dir, getenv: getenv, places: map[string]int{}, written: map[string]string{}}
}

// place returns the offset of path, or of the nearest above it that the file has.
func (d *configDecoder) place(path string) int {
	for {
		if at, ok := d.places[path]; ok {
			return at
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

func (d *configDecoder) fault(at int, path, format string, args ...any) {
	d.faults = append(d.faults, finding{at, path, fmt.Sprintf(format, args...)})
}

// refuseText is the fault of a string of the wrong form.
func (d *configDecoder) refuseText(n *jsonNode, s configSlot, expected string) {
	got := "a text of another form"
	if quotable(n.text) {
		got = strconv.Quote(n.text)
	}
	d.fault(n.at, s.path, "expected %s, got %s", expected, got)
}

// decode fills s from n by the type of s.
func (d *configDecoder) decode(n *jsonNode, s configSlot) {
	d.places[s.path] = n.at
	t := s.value.Type()
	if !slices.ContainsFunc(formsOf(t, s.tag), func(f jsonForm) bool { return f.kind == n.kind }) {
		d.fault(n.at, s.path, "expected %s, got %s", s.expected(), n.describe())
		return
	}
	switch {
	case t == durationType:
		d.duration(n, s)
	case t == timeType:
		if at, ok := parsed(d, n, s, parseTime); ok {
			s.value.Set(reflect.ValueOf(at))
		}
	case t.Kind() == reflect.Int64 && s.tag.Get("unit") == "bytes":
		d.size(n, s)
	case t.Kind() == reflect.Struct:
		d.structure(n, s)
	case t.Kind() == reflect.Map:
		d.table(n, s)
	case t.Kind() == reflect.Slice:
		d.list(n, s)
	case t.Kind() == reflect.String:
		d.string(n, s)
	case t.Kind() == reflect.Bool:
		s.value.SetBool(n.text == "true")
	case t.Kind() == reflect.Int || t.Kind() == reflect.Int64:
		d.integer(n, s)
	default:
		panic("config: config.json has no form for " + t.String())
	}
}

// structure fills the defaults first, then what n has.
func (d *configDecoder) structure(n *jsonNode, s configSlot) {
	slots := map[string]configSlot{}
	var keys []string
	defaults := newDecoder(d.dir, d.getenv)
	for _, f := range configFields(s.value.Type()) {
		slot := configSlot{value: s.value.FieldByIndex(f.Index), path: joinKey(s.path, f.key), tag: f.Tag}
		if name := f.Tag.Get("unset"); name != "" {
			slot.missing = s.value.FieldByName(name).Addr().Interface().(*string)
		}
		if text := f.defaultJSON(); text != nil {
			value, err := parseJSONC(text)
			if err != nil {
				panic("config: default of " + slot.path + ": " + err.Error())
			}
			defaults.decode(value, slot)
		}
		slots[f.key] = slot
		keys = append(keys, f.key)
	}
	if short, ok := shortField(s.value.Type()); ok && n.kind != jsonObject {
		slot := slots[short.key]
		if n.kind != jsonList || slot.value.Kind() != reflect.Slice { // the elements of a list keep their full path
			slot.path = s.path
		}
		d.decode(n, slot)
		return
	}
	for m := range d.members(n, s) {
		if slot, ok := slots[m.key]; ok {
			d.decode(m.value, slot)
		} else {
			d.fault(m.at, s.nameOf(m.key), "unknown field%s", didYouMean(m.key, keys))
		}
	}
}

// shortField returns the field that the short form of t fills, if it is a struct that has
// one.
func shortField(t reflect.Type) (f configField, ok bool) {
	if t.Kind() != reflect.Struct {
		return f, false
	}
	for _, f := range configFields(t) {
		if f.Tag.Get("short") == "true" {
			return f, true
		}
	}
	return configField{}, false
}

// members walks the keys of an object, the first of each name.
func (d *configDecoder) members(n *jsonNode, s configSlot) iter.Seq[jsonMember] {
	return func(yield func(jsonMember) bool) {
		seen := map[string]bool{}
		for _, m := range n.members {
			if seen[m.key] {
				d.fault(m.at, s.nameOf(m.key), "this key is given twice")
			} else if !yield(m) {
				return
			}
			seen[m.key] = true
		}
	}
}

// nameOf is the path of a key of s for a message. A key that s does not have may be a secret.
func (s configSlot) nameOf(key string) string {
	if s.value.Kind() == reflect.Struct && !plainKey.MatchString(key) {
		key = "***"
	}
	return joinKey(s.path, key)
}

// table fills a map of string keys.
func (d *configDecoder) table(n *jsonNode, s configSlot) {
	t := s.value.Type()
	s.value.Set(reflect.MakeMap(t))
	for m := range d.members(n, s) {
		if strings.Contains(m.key, "${") {
			d.fault(m.at, s.path, noReference)
			continue
		}
		element := reflect.New(t.Elem()).Elem()
		d.decode(m.value, configSlot{element, joinKey(s.path, m.key), s.tag, s.missing})
		s.value.SetMapIndex(reflect.ValueOf(m.key), element)
	}
}

// list fills a slice.
func (d *configDecoder) list(n *jsonNode, s configSlot) {
	items, path := n.items, func(i int) string { return fmt.Sprintf("%s[%d]", s.path, i) }
	if n.kind != jsonList { // a single element
		items, path = []*jsonNode{n}, func(int) string { return s.path }
	}
	list := reflect.MakeSlice(s.value.Type(), len(items), len(items))
	for i, item := range items {
		d.decode(item, configSlot{list.Index(i), path(i), s.tag, s.missing})
	}
	s.value.Set(list)
}

// joinKey is the path of key in the object at path.
func joinKey(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
