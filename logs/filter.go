package logs

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
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
	Limit  int           // rows of a page; 0: Query gives 100, Scan all
	Before uint64        // only rows of lower seq; 0: all
	Budget time.Duration // what Query may take; 0: 5 s

	since, until time.Time // since <= Time < until
	status       []statusRange
	failed       bool         // or: status >= 400, or an error type
	texts        []textFilter // one for each field that is asked for
	stream       []bool
	minDuration  time.Duration
	ids          []string
	inError      []string

	sieve sieve
}

type statusRange struct{ from, to int }

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

// ParseFilter reads a query. A comma, and a parameter given again, mean or;
// different parameters mean and:
//
//	since, until     since <= time < until: 2026-11-23T10:00:00Z, 2026-11-23 10:00,
//	                 2026-11-23, today, yesterday, or 15m, 24h, 7d, 1w before now
//	tz               the zone of days and times, as in Europe/Berlin; UTC if absent
//	status           500, 5xx, 400-499, or error: 400 and more, or an error_type
//	model, upstream_model, provider, key, path, endpoint, client, error_type, session, trace_id
//	                 the text, in which * stands for any characters; after a ! it must
//	                 not match. A provider matches the attempts before the last too
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
	for _, name := range sortedNames(query) {
		if err := f.take(name, query[name], now); err != nil {
			return Filter{}, err
		}
	}
	f.sieve = newSieve(&f)
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

func sortedNames(query url.Values) []string {
	names := make([]string, 0, len(query))
	for name := range query {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
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

// take takes all that is given for one parameter.
func (f *Filter) take(name string, given []string, now time.Time) error {
	values, err := splitValues(name, given)
	if err != nil {
		return err
	}
	return f.set(name, values, now)
}

func unknownParameter(name, valid string) error {
	return fmt.Errorf("%w: unknown parameter %.64q; valid are %s", ErrFilter, name, valid)
}

// badValue is the error for one value of a parameter.
func badValue(name, value, want string) error {
	return fmt.Errorf("%w: %s=%.64q: want %s", ErrFilter, name, value, want)
}

// set takes all values of one parameter.
func (f *Filter) set(name string, values []string, now time.Time) (err error) {
	switch name {
	case "since":
		f.since, err = parseTimes(name, values, now, time.Time.Before)
	case "until":
		f.until, err = parseTimes(name, values, now, time.Time.After)
	case "status":
		err = f.setStatus(values)
	case "stream":
		for _, value := range values {
			if value != "true" && value != "false" {
				return badValue(name, value, "true or false")
			}
			f.stream = append(f.stream, value == "true")
		}
	case "min_ms":
		f.minDuration = math.MaxInt64
		for _, value := range values {
			ms, err := strconv.ParseFloat(value, 64)
			if err != nil || !(ms >= 0 && ms < math.MaxInt64/1e6) {
				return badValue(name, value, "milliseconds, as in 250")
			}
			f.minDuration = min(f.minDuration, time.Duration(ms*1e6))
		}
	case "id":
		f.ids = values
	case "q":
		f.inError = values
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
		return f.setText(name, values)
	}
	return err
}

// setText takes the patterns for a field; those behind a ! must not match.
func (f *Filter) setText(name string, values []string) error {
	i := slices.IndexFunc(textFields, func(field textField) bool { return field.name == name })
	if i < 0 {
		return unknownParameter(name, parameters)
	}
	t := textFilter{field: textFields[i]}
	for _, value := range values {
		if pattern, negated := strings.CutPrefix(value, "!"); negated {
			t.not = append(t.not, strings.Split(pattern, "*"))
		} else {
			t.is = append(t.is, strings.Split(value, "*"))
		}
	}
	f.texts = append(f.texts, t)
	return nil
}

func (f *Filter) setStatus(values []string) error {
	for _, value := range values {
		r, ok := parseStatus(value)
		if value == "error" {
			f.failed = true
		} else if ok {
			f.status = append(f.status, r)
		} else {
			return badValue("status", value, "500, 5xx, 400-499 or error")
		}
	}
	return nil
}

func parseStatus(text string) (statusRange, bool) {
	code := func(s string) (int, bool) {
		n, err := strconv.ParseUint(s, 10, 16)
		return int(n), err == nil && len(s) == 3 && n >= 100
	}
	if class := strings.ToLower(text); len(class) == 3 && class[1:] == "xx" && '1' <= class[0] && class[0] <= '9' {
		from := 100 * int(class[0]-'0')
		return statusRange{from, from + 99}, true
	}
	low, high, isRange := strings.Cut(text, "-")
	from, ok := code(low)
	if !isRange {
		return statusRange{from, from}, ok
	}
	to, ok2 := code(high)
	return statusRange{from, to}, ok && ok2 && from <= to
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

// textField is a field of a record that a filter may ask for. The name is that of
// the parameter and of the member in a line.
type textField struct {
	name string
	of   func(rec *Record) string
}

var textFields = []textField{
	{"model", func(rec *Record) string { return rec.Model }},
	{"upstream_model", func(rec *Record) string { return rec.UpstreamModel }},
	{"provider", func(rec *Record) string { return rec.Provider }},
	{"key", func(rec *Record) string { return rec.Key }},
	{"path", func(rec *Record) string { return rec.Path }},
	{"endpoint", func(rec *Record) string { return rec.Endpoint }},
	{"client", func(rec *Record) string { return rec.Client }},
	{"error_type", func(rec *Record) string { return rec.ErrorType }},
	{"session", func(rec *Record) string { return rec.Session }},
	{"trace_id", func(rec *Record) string { return rec.TraceID }},
}

// textFilter chooses by one field: one pattern of is must match, if there are any,
// and none of not.
type textFilter struct {
	field   textField
	is, not globs
}

func (t *textFilter) match(rec *Record) bool {
	return (len(t.is) == 0 || t.matchAny(t.is, rec)) && !t.matchAny(t.not, rec)
}

// matchAny looks at the providers that were tried too.
func (t *textFilter) matchAny(patterns globs, rec *Record) bool {
	return patterns.match(t.field.of(rec)) || t.field.name == "provider" &&
		slices.ContainsFunc(rec.Tried, func(try Try) bool { return patterns.match(try.Provider) })
}

func (f *Filter) matchTexts(rec *Record) bool {
	return !slices.ContainsFunc(f.texts, func(t textFilter) bool { return !t.match(rec) })
}

// globs is a list of patterns.
type globs []glob

// glob is a pattern, split at each *.
type glob []string

func (g globs) match(text string) bool {
	return slices.ContainsFunc(g, func(p glob) bool { return p.match(text) })
}

func (g glob) match(text string) bool {
	first, last := g[0], g[len(g)-1]
	if len(g) == 1 {
		return text == first
	}
	if len(text) < len(first)+len(last) || !strings.HasPrefix(text, first) || !strings.HasSuffix(text, last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, part := range g[1 : len(g)-1] {
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return true
}

// Match tells whether f chooses rec. It heeds neither Limit nor Before nor Budget.
func (f *Filter) Match(rec *Record) bool {
	return (f.since.IsZero() || !rec.Time.Before(f.since)) &&
		(f.until.IsZero() || rec.Time.Before(f.until)) &&
		f.matchStatus(rec) &&
		f.matchTexts(rec) &&
		(len(f.stream) == 0 || slices.Contains(f.stream, rec.Stream)) &&
		rec.Duration >= f.minDuration &&
		(len(f.ids) == 0 || slices.Contains(f.ids, rec.ID) || slices.Contains(f.ids, rec.UpstreamID)) &&
		(len(f.inError) == 0 || slices.ContainsFunc(f.inError, func(q string) bool { return strings.Contains(rec.Error, q) }))
}

func (f *Filter) matchStatus(rec *Record) bool {
	if len(f.status) == 0 && !f.failed {
		return true
	}
	return f.failed && (rec.Status >= 400 || rec.ErrorType != "") ||
		slices.ContainsFunc(f.status, func(r statusRange) bool { return r.from <= rec.Status && rec.Status <= r.to })
}

// all tells whether f matches every record.
func (f *Filter) all() bool {
	return f.since.IsZero() && f.until.IsZero() && len(f.status) == 0 && !f.failed &&
		len(f.texts) == 0 &&
		len(f.stream) == 0 && f.minDuration == 0 && len(f.ids) == 0 && len(f.inError) == 0
}
