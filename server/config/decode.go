package config

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"net/url"
	"path/filepath"
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
//	unset    the field that takes the name of an unset ${NAME}, which is a warning then
//	short    "true": what is not an object is this field of it
//	single   "true" on a list: what is not a list is one of a single element
//
// On a list or a map, enum, path, secret and unset are about its elements.

var (
	durationType = reflect.TypeFor[time.Duration]()
	timeType     = reflect.TypeFor[time.Time]()
)

// configField is a struct field that config.json can fill.
type configField struct {
	reflect.StructField
	key string
}

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
	longer  []jsonKind        // the forms that are accepted too where this is a short form
}

// shortOf gives the longer forms of a slot that is a short form of s: that of s
// itself, which is kind, and those that s is a short form of.
func shortOf(s configSlot, kind jsonKind) []jsonKind {
	if slices.Contains(s.longer, kind) {
		return s.longer
	}
	return append([]jsonKind{kind}, s.longer...)
}

// configDecoder fills a Config from the nodes of the file and gathers what is
// wrong with them. A slot that is refused keeps its default.
type configDecoder struct {
	dir              string
	getenv           func(string) (string, bool)
	faults, warnings []finding
	secrets          []finding // where the file itself holds a secret
}

func (d *configDecoder) fault(at int, path, format string, args ...any) {
	d.faults = append(d.faults, finding{at, path, fmt.Sprintf(format, args...)})
}

// refuse is the fault of a value of the wrong kind.
func (d *configDecoder) refuse(n *jsonNode, s configSlot, expected string) {
	for i, kind := range s.longer {
		if i < len(s.longer)-1 {
			expected += ", " + string(kind)
		} else {
			expected += " or " + string(kind)
		}
	}
	d.fault(n.at, s.path, "expected %s, got %s", expected, n.describe())
}

// refuseText is the fault of a string of the wrong form. It is quoted as
// written: what ${NAME} stands for may be a secret.
func (d *configDecoder) refuseText(n *jsonNode, s configSlot, expected string) {
	d.fault(n.at, s.path, "expected %s, got %q", expected, n.text)
}

// decode fills s from n by the type of s.
func (d *configDecoder) decode(n *jsonNode, s configSlot) {
	switch t := s.value.Type(); {
	case t == durationType:
		d.duration(n, s)
	case t == timeType:
		d.time(n, s)
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
		d.boolean(n, s)
	case t.Kind() == reflect.Int || t.Kind() == reflect.Int64:
		d.integer(n, s)
	default:
		panic("config: config.json has no form for " + t.String())
	}
}

// structure fills the defaults first, then what n has.
func (d *configDecoder) structure(n *jsonNode, s configSlot) {
	fields := configFields(s.value.Type())
	slots := map[string]configSlot{}
	var keys []string
	for _, f := range fields {
		slot := configSlot{value: s.value.FieldByIndex(f.Index), path: joinKey(s.path, f.key), tag: f.Tag}
		if name := f.Tag.Get("unset"); name != "" {
			slot.missing = s.value.FieldByName(name).Addr().Interface().(*string)
		}
		if text := f.defaultJSON(); text != nil {
			value, err := parseJSONC(text)
			if err != nil {
				panic("config: default of " + slot.path + ": " + err.Error())
			}
			d.decode(value, slot)
		}
		slots[f.key] = slot
		keys = append(keys, f.key)
	}
	if short, ok := shortField(fields); ok && n.kind != jsonObject {
		slot := slots[short.key]
		slot.longer = shortOf(s, jsonObject)
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
			d.fault(m.at, joinKey(s.path, m.key), "unknown field%s", didYouMean(m.key, keys))
		}
	}
}

// shortField returns the field that the short form of a struct fills.
func shortField(fields []configField) (f configField, ok bool) {
	for _, f := range fields {
		if f.Tag.Get("short") == "true" {
			return f, true
		}
	}
	return configField{}, false
}

// members walks the keys of an object, the first of each name.
func (d *configDecoder) members(n *jsonNode, s configSlot) iter.Seq[jsonMember] {
	return func(yield func(jsonMember) bool) {
		if n.kind != jsonObject {
			d.refuse(n, s, string(jsonObject))
		}
		seen := map[string]bool{}
		for _, m := range n.members {
			if seen[m.key] {
				d.fault(m.at, joinKey(s.path, m.key), "this key is given twice")
			} else if !yield(m) {
				return
			}
			seen[m.key] = true
		}
	}
}

// table fills a map of string keys.
func (d *configDecoder) table(n *jsonNode, s configSlot) {
	t := s.value.Type()
	s.value.Set(reflect.MakeMap(t))
	for m := range d.members(n, s) {
		element := reflect.New(t.Elem()).Elem()
		d.decode(m.value, configSlot{element, joinKey(s.path, m.key), s.tag, s.missing, nil})
		s.value.SetMapIndex(reflect.ValueOf(m.key), element)
	}
}

func (d *configDecoder) list(n *jsonNode, s configSlot) {
	if n.kind != jsonList && s.tag.Get("single") == "true" {
		list := reflect.MakeSlice(s.value.Type(), 1, 1)
		d.decode(n, configSlot{list.Index(0), s.path, s.tag, s.missing, shortOf(s, jsonList)})
		s.value.Set(list)
		return
	}
	if n.kind != jsonList {
		d.refuse(n, s, string(jsonList))
		return
	}
	list := reflect.MakeSlice(s.value.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		d.decode(item, configSlot{list.Index(i), fmt.Sprintf("%s[%d]", s.path, i), s.tag, s.missing, nil})
	}
	s.value.Set(list)
}

// text gives the string n with its references resolved, if there is nothing to refuse.
func (d *configDecoder) text(n *jsonNode, s configSlot, expected string) (text string, ok bool) {
	if n.kind != jsonString {
		d.refuse(n, s, expected)
		return "", false
	}
	x, err := expandReferences(n.text, d.dir, d.getenv)
	if err != nil {
		d.fault(n.at, s.path, "%v", err)
		return "", false
	}
	for _, name := range x.unset {
		if s.missing == nil {
			d.fault(n.at, s.path, "the variable %s is not set", name)
			continue
		}
		d.warnings = append(d.warnings, finding{n.at, s.path, "the variable " + name + " is not set; this entry is disabled"})
		if *s.missing == "" {
			*s.missing = name
		}
	}
	if len(x.unset) > 0 {
		return "", s.missing != nil
	}
	if x.literal && s.tag.Get("secret") == "true" && looksSecret(x.text) {
		d.secrets = append(d.secrets, finding{at: n.at, path: s.path})
	}
	return x.text, true
}

// looksSecret reports whether the value of a secret field gives something away.
// A short word as in proxy "none" does not, nor does an address without a user.
func looksSecret(text string) bool {
	u, err := url.Parse(text)
	isAddress := err == nil && u.Host != "" && u.User == nil
	return len(text) >= 8 && !isAddress
}

func (d *configDecoder) string(n *jsonNode, s configSlot) {
	text, ok := d.text(n, s, string(jsonString))
	if !ok {
		return
	}
	if enum := s.tag.Get("enum"); enum != "" {
		if choices := strings.Split(enum, ","); !slices.Contains(choices, text) {
			d.refuseText(n, s, "one of "+strings.Join(choices, ", "))
			return
		}
	}
	if s.tag.Get("path") == "true" && text != "" && !filepath.IsAbs(text) {
		text = filepath.Join(d.dir, text)
	}
	s.value.SetString(text)
}

func (d *configDecoder) boolean(n *jsonNode, s configSlot) {
	if n.kind != jsonBool {
		d.refuse(n, s, string(jsonBool))
		return
	}
	s.value.SetBool(n.text == "true")
}

func (d *configDecoder) integer(n *jsonNode, s configSlot) {
	if n.kind != jsonNumber {
		d.refuse(n, s, "a whole number")
		return
	}
	i, err := strconv.ParseInt(n.text, 10, s.value.Type().Bits())
	switch {
	case errors.Is(err, strconv.ErrRange):
		d.fault(n.at, s.path, "%s is out of range", n.text)
	case err != nil:
		d.fault(n.at, s.path, "expected a whole number, got %s", n.text)
	default:
		d.bounded(n, s, i)
	}
}

// bounded fills a number that must be within the bounds of its field.
func (d *configDecoder) bounded(n *jsonNode, s configSlot, i int64) {
	least, greatest := s.tag.Get("min"), s.tag.Get("max")
	low, high := bound(least, math.MinInt64), bound(greatest, math.MaxInt64)
	switch {
	case low <= i && i <= high:
		s.value.SetInt(i)
	case greatest == "":
		d.fault(n.at, s.path, "must be at least %s", least)
	default:
		d.fault(n.at, s.path, "must be from %s to %s", least, greatest)
	}
}

// bound returns the number in a min or max tag, unlimited where there is none.
func bound(text string, unlimited int64) int64 {
	if text == "" {
		return unlimited
	}
	n, ok := parseSize(text)
	if !ok {
		panic("config: a bound that is no number: " + text)
	}
	return n
}

// size fills a number of bytes.
func (d *configDecoder) size(n *jsonNode, s configSlot) {
	if n.kind == jsonNumber {
		d.integer(n, s)
		return
	}
	const expected = `a size such as "32MiB" or a number of bytes`
	text, ok := d.text(n, s, expected)
	if !ok {
		return
	}
	bytes, ok := parseSize(text)
	if !ok {
		d.refuseText(n, s, expected)
		return
	}
	d.bounded(n, s, bytes)
}

// parseSize reads a whole number of bytes, or of the unit that follows it.
func parseSize(text string) (bytes int64, ok bool) {
	factor := int64(1)
	for _, unit := range []struct {
		name  string
		bytes int64
	}{
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
		{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
	} {
		if number, found := strings.CutSuffix(text, unit.name); found {
			text, factor = number, unit.bytes
			break
		}
	}
	number, err := strconv.ParseUint(text, 10, 63)
	if err != nil || int64(number) > math.MaxInt64/factor {
		return 0, false
	}
	return int64(number) * factor, true
}

func (d *configDecoder) duration(n *jsonNode, s configSlot) {
	const expected = `a duration such as "30s"`
	text, ok := d.text(n, s, expected)
	if !ok {
		return
	}
	duration, err := parseDuration(text)
	switch {
	case err != nil:
		d.refuseText(n, s, expected)
	case duration < 0:
		d.fault(n.at, s.path, "must not be negative")
	default:
		s.value.SetInt(int64(duration))
	}
}

// parseDuration is time.ParseDuration and whole days, as in 7d.
func parseDuration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(text)
}

func (d *configDecoder) time(n *jsonNode, s configSlot) {
	const expected = `a time such as "2027-01-01T00:00:00Z"`
	text, ok := d.text(n, s, expected)
	if !ok {
		return
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		d.refuseText(n, s, expected)
		return
	}
	s.value.Set(reflect.ValueOf(t))
}

// joinKey is the path of key in the object at path.
func joinKey(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
