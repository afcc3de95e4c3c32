package logs

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"
)

// What the values of a filter's parameters ask of a record.

// choice is what one parameter asks for: one test of is must hold, if there are any,
// and none of not.
type choice struct{ is, not []test }

func (c *choice) match(l *line) bool {
	holds := func(t test) bool { return t.holds(l) }
	return (len(c.is) == 0 || slices.ContainsFunc(c.is, holds)) && !slices.ContainsFunc(c.not, holds)
}

// leaveOut has f choose no record for which holds does.
func (f *Filter) leaveOut(holds func(l *line) bool) {
	f.choices = append(f.choices, choice{not: []test{{holds: holds}}})
}

// test is one value of a parameter. A line for which it holds has one of its needles, a
// line for which it does not has unless; there are none if that may show in more ways
// than they can tell.
type test struct {
	holds   func(l *line) bool
	needles []needle
	unless  []needle
}

// testOf returns what reads a value of a parameter, and what to say of a bad one. It
// returns nil for a name that is no parameter of this kind.
func testOf(name string) (parse func(text string) (test, bool), want string) {
	switch name {
	case "status":
		return statusTest, "500, 5xx, 400-499 or error"
	case "stream":
		return streamTest, "true or false"
	case "min_ms":
		return durationTest, "milliseconds, as in 250"
	case "id":
		return idTest, ""
	case "q":
		return errorTest, ""
	}
	i := slices.IndexFunc(globFields, func(f field) bool { return f.String() == name })
	if i < 0 {
		return nil, ""
	}
	return func(text string) (test, bool) { return globTest(globFields[i], text), true }, ""
}

var globFields = []field{modelField, upstreamModelField, providerField, keyField, pathField, endpointField, clientField, errorTypeField, sessionField, traceIDField}

func statusTest(text string) (test, bool) {
	if text == "error" {
		errors := span{400, math.MaxInt}
		return test{
			holds:   func(l *line) bool { return errors.has(l.numberOf(statusField)) || l.hasError() },
			needles: []needle{statusNeedle(errors.has), memberNeedle(errorTypeField, nil)},
			unless:  []needle{statusNeedle(errors.hasNot)},
		}, true
	}
	s, ok := parseStatus(text)
	return test{
		holds:   func(l *line) bool { return s.has(l.numberOf(statusField)) },
		needles: []needle{statusNeedle(s.has)},
		unless:  []needle{statusNeedle(s.hasNot)},
	}, ok
}

// span is some numbers, both ends included.
type span struct{ from, to int64 }

func (s span) has(n int64) bool    { return s.from <= n && n <= s.to }
func (s span) hasNot(n int64) bool { return !s.has(n) }

func parseStatus(text string) (span, bool) {
	code := func(s string) (int64, bool) {
		n, err := strconv.ParseUint(s, 10, 16)
		return int64(n), err == nil && len(s) == 3 && n >= 100
	}
	if class := strings.ToLower(text); len(class) == 3 && class[1:] == "xx" && '1' <= class[0] && class[0] <= '9' {
		from := 100 * int64(class[0]-'0')
		return span{from, from + 99}, true
	}
	low, high, isRange := strings.Cut(text, "-")
	from, ok := code(low)
	if !isRange {
		return span{from, from}, ok
	}
	to, ok2 := code(high)
	return span{from, to}, ok && ok2 && from <= to
}

func streamTest(text string) (test, bool) {
	return test{holds: func(l *line) bool {
			return string(l.values[streamField]) == text || text == "false" && l.values[streamField] == nil
		}},
		text == "true" || text == "false"
}

func durationTest(text string) (test, bool) {
	ms, err := strconv.ParseFloat(text, 64)
	ok := err == nil && ms >= 0 && ms < math.MaxInt64/1e6
	least := int64(math.Ceil(ms * 1e3))
	t := test{holds: func(l *line) bool { return l.microsOf(durationField) >= least }}
	if least > 0 { // it may be left out
		t.needles = []needle{durationNeedle(least)}
	}
	return t, ok
}

func idTest(text string) (test, bool) {
	return test{
		holds: func(l *line) bool {
			return string(l.textOf(idField)) == text || string(l.textOf(upstreamIDField)) == text
		},
		needles: partNeedle(text),
	}, true
}

func errorTest(text string) (test, bool) {
	part := []byte(text)
	return test{
		holds:   func(l *line) bool { return bytes.Contains(l.textOf(errorField), part) },
		needles: partNeedle(text),
	}, true
}

func globTest(f field, text string) test {
	g := newGlob(text)
	t := test{holds: func(l *line) bool { return g.match(l.textOf(f)) }, needles: textNeedle(f, g)}
	if f == providerField {
		t.holds = func(l *line) bool {
			return g.match(l.textOf(f)) ||
				slices.ContainsFunc(l.tried(), func(try Try) bool { return g.match([]byte(try.Provider)) })
		}
	}
	return t
}

// glob is a pattern, split at each *.
type glob [][]byte

func newGlob(text string) glob {
	return bytes.Split([]byte(text), []byte("*"))
}

func (g glob) match(text []byte) bool {
	first, last := g[0], g[len(g)-1]
	if len(g) == 1 {
		return bytes.Equal(text, first)
	}
	if len(text) < len(first)+len(last) || !bytes.HasPrefix(text, first) || !bytes.HasSuffix(text, last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, part := range g[1 : len(g)-1] {
		i := bytes.Index(text, part)
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return true
}
