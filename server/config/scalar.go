package config

// Values that are no objects and lists: how a string, a number, a size, a duration or
// a time fills its field, and what refuses it.

import (
	"errors"
	"math"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// noReference refuses a reference where none is resolved: what is not secret is shown, and so would be any file.
const noReference = "${…} is resolved in keys, headers, base_url, proxy, server.host and paths of files, not here"

// text returns the string n, with its references resolved where the field takes any; ok: there was nothing to refuse.
func (d *configDecoder) text(n *jsonNode, s configSlot) (text string, ok bool) {
	if !takesReferences(s.tag) {
		if strings.Contains(n.text, "${") {
			d.fault(n.at, s.path, noReference)
			return "", false
		}
		return n.text, true
	}
	x, err := expandReferences(n.text, d.dir, d.getenv)
	if err != nil {
		d.fault(n.at, s.path, "%v", err)
		return "", false
	}
	for _, name := range x.unset {
		name = hideCredentials(name)
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
	if x.text != n.text {
		d.written[s.path] = n.text
		d.resolved = append(d.resolved, x.values...)
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

// string fills a string, which is one of the enum where there is one.
func (d *configDecoder) string(n *jsonNode, s configSlot) {
	text, ok := d.text(n, s)
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

// integer fills a whole number, written without exponent or point.
func (d *configDecoder) integer(n *jsonNode, s configSlot) {
	i, err := strconv.ParseInt(n.text, 10, s.value.Type().Bits())
	switch {
	case errors.Is(err, strconv.ErrRange):
		d.fault(n.at, s.path, "%s is out of range", shortNumber(n.text))
	case err != nil:
		d.fault(n.at, s.path, "expected a whole number, got %s", shortNumber(n.text))
	default:
		d.bounded(n, s, i)
	}
}

// shortNumber returns a number for a message, which does not quote a long one.
func shortNumber(text string) string {
	if len(text) > longestNumber {
		return "a longer one"
	}
	return text
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
	n, err := parseSize(text)
	if err != nil {
		panic("config: a bound that is no number: " + text)
	}
	return n
}

// size fills a number of bytes.
func (d *configDecoder) size(n *jsonNode, s configSlot) {
	if n.kind == jsonNumber {
		d.integer(n, s)
	} else if bytes, ok := parsed(d, n, s, parseSize); ok {
		d.bounded(n, s, bytes)
	}
}

// duration fills a time span.
func (d *configDecoder) duration(n *jsonNode, s configSlot) {
	span, ok := parsed(d, n, s, parseDuration)
	switch {
	case ok && span < 0:
		d.fault(n.at, s.path, "must not be negative")
	case ok:
		s.value.SetInt(int64(span))
	}
}

// parsed returns what parse makes of the text n; ok: there was nothing to refuse.
func parsed[T any](d *configDecoder, n *jsonNode, s configSlot, parse func(string) (T, error)) (value T, ok bool) {
	text, ok := d.text(n, s)
	if !ok {
		return value, false
	}
	value, err := parse(text)
	if err != nil {
		d.refuseText(n, s, s.expected())
	}
	return value, err == nil
}

// parseSize reads a whole number of bytes, or of the unit that follows it.
func parseSize(text string) (bytes int64, err error) {
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
	if err == nil && int64(number) > math.MaxInt64/factor {
		err = strconv.ErrRange
	}
	return int64(number) * factor, err
}

// parseDuration is time.ParseDuration and whole days, as in 7d.
func parseDuration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(text)
}

// parseTime reads a time of RFC 3339.
func parseTime(text string) (time.Time, error) { return time.Parse(time.RFC3339, text) }
