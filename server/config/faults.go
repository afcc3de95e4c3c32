package config

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What is wrong with a config, where, and what was meant.

// Fault is one thing that is wrong with a config file.
type Fault struct {
	File    string `json:"-"`      // as the user named it
	Line    int    `json:"line"`   // from 1
	Column  int    `json:"column"` // from 1, in characters
	Path    string `json:"path"`   // of the key, as in auth.keys[0].key; empty: the file as a whole
	Message string `json:"message"`
}

// String is the fault on one line, as in
// config.json:5:22: auth.keys[0].kye: unknown field (did you mean "key"?)
func (f Fault) String() string {
	if f.Path == "" {
		return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", f.File, f.Line, f.Column, f.Path, f.Message)
}

// Faults are all that is wrong with a config file, in the file's order.
type Faults []Fault

// Error has one fault a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// finding is a fault or a warning whose place is still a byte offset.
type finding struct {
	at            int
	path, message string
}

// locateFindings sorts found by place and turns offsets in text into lines and columns. What is written like a
// credential becomes a mask: a name of the file may be one.
func locateFindings(file string, text []byte, found []finding) Faults {
	slices.SortStableFunc(found, func(a, b finding) int { return cmp.Compare(a.at, b.at) })
	faults := make(Faults, len(found))
	line, column, passed := 1, 1, 0
	if bytes.HasPrefix(text, []byte(byteOrderMark)) {
		column = 0 // not a character that an editor shows
	}
	for i, f := range found {
		between := text[passed:f.at]
		passed = f.at
		if end := bytes.LastIndexByte(between, '\n'); end >= 0 {
			line += bytes.Count(between, []byte("\n"))
			column = 1
			between = between[end+1:]
		}
		column += utf8.RuneCount(between)
		faults[i] = Fault{file, line, column, oneLine(hideCredentials(f.path)), oneLine(hideCredentials(f.message))}
	}
	return faults
}

// oneLine keeps what a message quotes from breaking its line.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}

// didYouMean is the end of a message that refuses word: the candidate that is
// near enough to have been meant, or nothing.
func didYouMean(word string, candidates []string) string {
	// Letter case and the style of word joints are never what was meant.
	plain := func(s string) string {
		return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s))
	}
	nearest, least := "", max(1, len(word)/3)+1
	for _, candidate := range candidates {
		a, b := plain(word), plain(candidate)
		if max(len(a)-len(b), len(b)-len(a)) >= least {
			continue
		}
		if distance := editDistance(a, b); distance < least {
			nearest, least = candidate, distance
		}
	}
	if nearest == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", nearest)
}

// editDistance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b.
func editDistance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			rows[i][j] = min(replace, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
