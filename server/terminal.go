package server

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"proxycast/logs"
)

// What is shown on a terminal: records as a table, and text from elsewhere without what
// would act on the terminal.

const tableHead = "TIME      STATUS  MODEL                     PROVIDER    KEY         SECONDS    TTFT      IN     OUT  ERROR\n"

// tableRow shows a record on one line of a terminal.
func tableRow(r *logs.Record) string {
	colour, plain := "\x1b[32m", "\x1b[0m"
	switch {
	case r.Status >= 500:
		colour = "\x1b[31m"
	case r.Status >= 400 || r.ErrorType != "":
		colour = "\x1b[33m"
	}
	ttft := ""
	if r.TTFT > 0 {
		ttft = fmt.Sprintf("%.2f", r.TTFT.Seconds())
	}
	model := r.Model
	if model == "" {
		model = r.Method + " " + r.Path
	}
	failure := r.ErrorType
	if r.Error != "" {
		failure += " " + r.Error
	}
	return fmt.Sprintf("%s  %s%-6d%s  %s  %s  %s  %7.2f  %6s  %6s  %6s  %s\n",
		r.Time.Local().Format(time.TimeOnly), colour, r.Status, plain, cell(model, 24), cell(r.Provider, 10), cell(r.Key, 10),
		r.Duration.Seconds(), ttft, tokenCell(r.InputTokens), tokenCell(r.OutputTokens), printable(failure))
}

func tokenCell(n *int64) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}

// cell cuts or pads text to n characters.
func cell(text string, n int) string {
	text = printable(text)
	if utf8.RuneCountInString(text) > n {
		text = string([]rune(text)[:n-1]) + "…"
	}
	return pad(text, n)
}

// printable replaces what could act on a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if isControl(r) {
			return '�'
		}
		return r
	}, text)
}

// isControl tells what controls a terminal, ends a line, or turns the direction of
// what is shown.
func isControl(r rune) bool {
	switch r {
	case 0x061c, 0x200e, 0x200f, 0xfeff: // marks of direction, and the byte order mark
		return true
	}
	return r < ' ' || 0x7f <= r && r < 0xa0 || 0x2028 <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069
}

// pad widens text to n characters.
func pad(text string, n int) string {
	return text + strings.Repeat(" ", max(0, n-utf8.RuneCountInString(text)))
}
