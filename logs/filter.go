package logs

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrFilter is the error of ParseFilter and ParseStats. Its text is for whoever
// made the query.
var ErrFilter = errors.New("logs: bad query")

// Filter chooses records. The zero Filter matches all.
type Filter struct {
	Limit  int           // rows of a page; 0: 100 for Query, all for Scan
	Before uint64        // only rows of lower seq; 0: all
	Budget time.Duration // what Query may take; 0: 5 s

	since, until time.Time // since <= Time < until
	choices      []choice  // one for each parameter
}

const (
	defaultLimit = 100
	maxLimit     = 1000
	maxValue     = 256 // bytes of one value: no text of a record is longer
	maxValues    = 64  // for one parameter
)

// filters are the parameters that choose, parameters all that a query may have;
// follow and format are for whoever sends the rows.
const (
	filters    = "since, until, status, model, upstream_model, provider, key, path, endpoint, client, error_type, session, trace_id, stream, min_ms, id, q, tz"
	parameters = filters + ", limit, cursor, follow, format"
)

// ParseFilter reads a query. A comma, and a parameter given again, mean or; what stands
// behind a ! must not be; different parameters mean and:
//
//	since, until     since <= time < until: 2026-11-23T10:00:00Z, 2026-11-23 10:00,
//	                 2026-11-23, today, yesterday, or 15m, 24h, 7d, 1w before now; no !
//	tz               the zone of days and times, as in Europe/Berlin; UTC if absent
//	status           500, 5xx, 400-499, or error: 400 and more, or an error_type
//	model, upstream_model, provider, key, path, endpoint, client, error_type, session, trace_id
//	                 the text, in which * stands for any characters. A provider matches
//	                 the attempts before the last too
//	stream           true or false
//	min_ms           the least duration in milliseconds
//	id               our id or the provider's
//	q                a part of error
//	limit            rows of a page, 1 to 1000
//	cursor           Page.Next of the page before
//
// It passes over follow and format. The error wraps ErrFilter and lists what is
// valid.
func ParseFilter(query url.Values, now time.Time) (Filter, error) {
	now, err := inZone(query, now)
	if err != nil {
		return Filter{}, err
	}
	var f Filter
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if err := f.take(name, query[name], now); err != nil {
			return Filter{}, err
		}
	}
	return f, nil
}

// inZone returns now in the zone that days and times of the query are in: that of tz,
// or UTC.
func inZone(query url.Values, now time.Time) (time.Time, error) {
	name := query.Get("tz")
	zone, err := time.LoadLocation(name)
	if err != nil || len(query["tz"]) > 1 {
		return now, badValue("tz", name, "the name of a zone, as in Europe/Berlin")
	}
	return now.In(zone), nil
}

// splitValues returns the values of one parameter, of which commas make several.
func splitValues(name string, given []string) (values []string, err error) {
	for _, text := range given {
		for value := range strings.SplitSeq(text, ",") {
			switch {
			case value == "":
				return nil, fmt.Errorf("%w: %s has an empty value; leave it out", ErrFilter, name)
			case len(value) > maxValue:
				return nil, fmt.Errorf("%w: a value of %s is longer than %d bytes", ErrFilter, name, maxValue)
			case len(values) == maxValues:
				return nil, fmt.Errorf("%w: %s has more than %d values", ErrFilter, name, maxValues)
			}
			values = append(values, value)
		}
	}
	return values, nil
}

func unknownParameter(name, valid string) error {
	return fmt.Errorf("%w: unknown parameter %.64q; valid are %s", ErrFilter, name, valid)
}

// badValue is the error for one value of a parameter.
func badValue(name, value, want string) error {
	return fmt.Errorf("%w: %s=%.64q: want %s", ErrFilter, name, value, want)
}

// take takes all that is given for one parameter.
func (f *Filter) take(name string, given []string, now time.Time) error {
	values, err := splitValues(name, given)
	if err != nil {
		return err
	}
	switch name {
	case "since":
		f.since, err = parseTimes(name, values, now, time.Time.Before)
	case "until":
		f.until, err = parseTimes(name, values, now, time.Time.After)
	case "limit":
		limit, err := strconv.Atoi(values[0])
		if err != nil || limit < 1 || limit > maxLimit || len(values) > 1 {
			return badValue(name, strings.Join(values, ","), "one number from 1 to 1000")
		}
		f.Limit = limit
	case "cursor":
		before, ok := parseCursor(values[0])
		if !ok || len(values) > 1 {
			return badValue(name, strings.Join(values, ","), "the next of a page, unchanged")
		}
		f.Before = before
	case "tz", "follow", "format":
	default:
		return f.choose(name, values)
	}
	return err
}

// choose takes the values of a parameter that chooses by what a record holds.
func (f *Filter) choose(name string, values []string) error {
	parse, want := testOf(name)
	if parse == nil {
		return unknownParameter(name, parameters)
	}
	var c choice
	for _, value := range values {
		text, negated := strings.CutPrefix(value, "!")
		t, ok := parse(text)
		switch {
		case !ok:
			return badValue(name, value, want)
		case negated:
			c.not = append(c.not, t)
		default:
			c.is = append(c.is, t)
		}
	}
	f.choices = append(f.choices, c)
	return nil
}

// parseTimes returns the widest of the times, by which one goes before another.
func parseTimes(name string, values []string, now time.Time, wider func(a, b time.Time) bool) (widest time.Time, err error) {
	for i, value := range values {
		t, ok := parseTime(value, now)
		if !ok {
			return time.Time{}, badValue(name, value, "2026-11-23T10:00:00Z, 2026-11-23 10:00, 2026-11-23, today, yesterday, or 15m, 24h, 7d, 1w before now")
		}
		if i == 0 || wider(t, widest) {
			widest = t
		}
	}
	return widest, nil
}

func parseTime(text string, now time.Time) (time.Time, bool) {
	// The + of an offset is a space in a query that was not escaped.
	if t, err := time.Parse(time.RFC3339, strings.Replace(text, " ", "+", 1)); err == nil {
		return t.UTC(), true
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t.UTC(), true
		}
	}
	year, month, day := now.Date()
	switch text {
	case "today":
		return time.Date(year, month, day, 0, 0, 0, 0, now.Location()).UTC(), true
	case "yesterday":
		return time.Date(year, month, day-1, 0, 0, 0, 0, now.Location()).UTC(), true
	}
	d, ok := parseAge(text)
	return now.Add(-d).UTC(), ok
}

// parseAge reads a duration, which may be in days or weeks.
func parseAge(text string) (time.Duration, bool) {
	const day = 24 * time.Hour
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * day, err == nil
	}
	if weeks, ok := strings.CutSuffix(text, "w"); ok {
		n, err := strconv.ParseUint(weeks, 10, 12)
		return time.Duration(n) * 7 * day, err == nil
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d >= 0 && text[0] != '+' && text[0] != '-'
}

// cursorVersion begins every cursor.
const cursorVersion = 1

func cursor(before uint64) string {
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64([]byte{cursorVersion}, before))
}

func parseCursor(text string) (before uint64, ok bool) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(data) != 9 || data[0] != cursorVersion {
		return 0, false
	}
	before = binary.BigEndian.Uint64(data[1:])
	return before, before > 0
}

// match reports whether f chooses a record. It heeds neither Limit nor Before nor
// Budget.
func (f *Filter) match(l *line) bool {
	for i := range f.choices {
		if !f.choices[i].match(l) {
			return false
		}
	}
	return true
}

// all reports whether f chooses every record.
func (f *Filter) all() bool {
	return f.since.IsZero() && f.until.IsZero() && len(f.choices) == 0
}
