package server

import (
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"proxycast/logs"
	"proxycast/upstream/dialect"
)

// What the request log answers: GET /_logs with records, as a page or an export, and
// GET /_stats with what they add up to.

// errNoFollow is the one combination that /_logs does not take.
var errNoFollow = errors.New("follow=1 sends server-sent events; leave format and cursor out")

func queryLogs(x *exchange, r *http.Request) {
	query := r.URL.Query()
	filter, err := logs.ParseFilter(query, time.Now())
	follow, format := query.Get("follow"), query.Get("format")
	switch {
	case err != nil:
	case follow != "" && follow != "0" && follow != "1":
		err = fmt.Errorf("follow=%.20q: want 0 or 1", follow)
	case follow == "1" && (query.Has("format") || query.Has("cursor")):
		err = errNoFollow
	case follow == "1":
		x.followLogs(r, filter)
		return
	case format == "", format == "json":
		x.pageOfLogs(filter)
		return
	case format == "jsonl":
		x.exportLines(r, filter)
		return
	case format == "csv":
		x.exportCSV(r, filter)
		return
	default:
		err = fmt.Errorf("format=%.20q: want json, jsonl or csv", format)
	}
	x.failQuery(err)
}

// failQuery answers a query that is not understood.
func (x *exchange) failQuery(err error) {
	x.fail(dialect.Failure{Status: http.StatusBadRequest, Code: "invalid_query", Message: err.Error()}, errQuery)
}

// errQuery is what the log says: queries stay out of it.
var errQuery = errors.New("the query is not understood")

// failLog answers a query that the log could not be read for.
func (x *exchange) failLog(err error) {
	x.fail(dialect.Failure{Status: http.StatusInternalServerError, Code: "log_unreadable", Message: "the request log cannot be read"}, err)
}

func (x *exchange) pageOfLogs(filter logs.Filter) {
	page, err := x.server.log().Query(filter)
	if err != nil {
		x.failLog(err)
		return
	}
	x.sendJSON(http.StatusOK, page)
}

// exportLines sends every record that filter chooses, newest first. An export
// that breaks off ends in a broken connection.
func (x *exchange) exportLines(r *http.Request, filter logs.Filter) {
	x.begin("application/x-ndjson")
	x.export(r, filter, func(line []byte) error {
		if _, err := x.Write(line); err != nil {
			return err
		}
		_, err := x.Write([]byte{'\n'})
		return err
	})
}

// exportCSV does the same as a table whose columns are the record's fields.
func (x *exchange) exportCSV(r *http.Request, filter logs.Filter) {
	x.begin("text/csv; charset=utf-8")
	table := csv.NewWriter(x)
	table.Write(logs.Fields())
	row := make([]string, 0, len(logs.Fields()))
	done := x.export(r, filter, func(line []byte) error {
		row = logs.AppendTexts(row[:0], line)
		return table.Write(plainCells(row))
	})
	if table.Flush(); done && table.Error() != nil {
		x.aborted = true
	}
}

func plainCells(row []string) []string {
	for i, cell := range row {
		row[i] = plainCell(cell)
	}
	return row
}

// plainCell keeps a spreadsheet from taking a text for a formula (OWASP, CSV
// injection), and a terminal from acting on it: such characters stand as they do
// in JSON.
func plainCell(text string) string {
	if strings.ContainsFunc(text, isControl) {
		var b strings.Builder
		for _, r := range text {
			if isControl(r) {
				fmt.Fprintf(&b, `\u%04x`, r)
			} else {
				b.WriteRune(r)
			}
		}
		text = b.String()
	}
	if first, _ := utf8.DecodeRuneInString(text); text != "" && strings.ContainsRune("=+-@＝＋－＠", first) {
		return "'" + text
	}
	return text
}

func (x *exchange) begin(contentType string) {
	h := x.Header()
	h["Content-Type"] = []string{contentType}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	x.WriteHeader(http.StatusOK)
}

// export sends rows until the last one. It reports whether it came to the end.
func (x *exchange) export(r *http.Request, filter logs.Filter, send func(line []byte) error) bool {
	var failed error
	err := x.server.log().Scan(r.Context(), filter, func(row logs.Row) bool {
		failed = send(row.Line)
		return failed == nil
	})
	x.aborted = err != nil || failed != nil
	return !x.aborted
}

// showStats answers GET /_stats.
func showStats(x *exchange, r *http.Request) {
	query, err := logs.ParseStats(r.URL.Query(), time.Now())
	format := r.URL.Query().Get("format")
	if err == nil && format != "" && format != "json" && format != "csv" {
		err = fmt.Errorf("format=%.20q: want json or csv", format)
	}
	if err != nil {
		x.failQuery(err)
		return
	}
	stats, err := x.server.log().Stats(query)
	switch {
	case err != nil:
		x.failLog(err)
	case format == "csv":
		x.begin("text/csv; charset=utf-8")
		table := csv.NewWriter(x)
		for _, row := range stats.Table() {
			table.Write(plainCells(row))
		}
		table.Flush()
		x.aborted = table.Error() != nil
	default:
		x.sendJSON(http.StatusOK, stats)
	}
}
