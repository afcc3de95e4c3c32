package server

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"proxycast/logs"
	"proxycast/upstream/dialect"
)

// GET /_logs: a page, an export, or a live tail of the request log. GET /_stats:
// what its records add up to.

const (
	pingEvery  = 15 * time.Second
	spreadEach = time.Millisecond // of waiting for each follower,
	minSpread  = 20 * time.Millisecond
	maxSpread  = 500 * time.Millisecond
	maxCatchUp = 10000       // rows that a follower is given of the past, at most
	lastWrite  = time.Second // that a follower may take to read on, when the gateway stops
)

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
	if text != "" && strings.IndexByte("=+-@", text[0]) >= 0 {
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

// followLogs sends records as they are added, as server-sent events whose id is
// the record's seq. Before them stand the newest limit rows, or, for a client
// that resumes, those since its Last-Event-ID.
func (x *exchange) followLogs(r *http.Request, filter logs.Filter) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(x.server.stopping, func() {
		cancel()
		x.control.SetWriteDeadline(time.Now().Add(lastWrite))
	})()

	x.server.followers.Add(1)
	defer x.server.followers.Add(-1)

	last := x.server.log().Last()
	f := follower{x: x, control: http.NewResponseController(x)}
	after, want, resumes := uint64(0), filter.Limit, false
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		seq, err := strconv.ParseUint(id, 10, 64)
		if err != nil {
			x.failQuery(fmt.Errorf("Last-Event-ID %.20q: want the id of a row", id))
			return
		}
		after, want, resumes = min(seq, last), maxCatchUp, true
	}
	past, more, err := x.past(ctx, filter, after, last, want)
	if err != nil {
		x.failLog(err)
		return
	}
	h := x.Header()
	h["Cache-Control"] = []string{"no-cache"}
	h["X-Accel-Buffering"] = []string{"no"}
	x.begin("text/event-stream")
	tail := x.server.log().Tail(filter, last)
	defer tail.Close()
	if resumes {
		f.gap(more)
	}
	f.rows(past)
	for f.flush() == nil {
		x.spread(ctx)
		rows, lost, err := tail.Next(ctx, pingEvery)
		if err != nil || !x.stillAdmin(r) {
			return
		}
		f.gap(lost)
		f.rows(rows)
		if len(rows) == 0 && lost == 0 {
			f.write(": ping\n\n")
		}
	}
}

// past gives the newest rows in (after, last], oldest first, want of them at most.
// If there are more, more is up to which row they reach, counted from after.
func (x *exchange) past(ctx context.Context, filter logs.Filter, after, last uint64, want int) (rows []logs.Row, more uint64, err error) {
	if want == 0 || after == last {
		return nil, 0, nil
	}
	filter.Limit, filter.Before = 0, last+1
	err = x.server.log().Scan(ctx, filter, func(row logs.Row) bool {
		switch {
		case row.Seq <= after:
			return false
		case len(rows) == want:
			more = row.Seq - after
			return false
		}
		rows = append(rows, logs.Row{Seq: row.Seq, Line: bytes.Clone(row.Line)})
		return true
	})
	slices.Reverse(rows)
	return rows, more, err
}

// spread lets a follower among many wait a random while before it looks again: all
// together would hold up the requests that come just then. A row is late by
// maxSpread at most.
func (x *exchange) spread(ctx context.Context) {
	if most := min(time.Duration(x.server.followers.Load())*spreadEach, maxSpread); most > minSpread {
		select {
		case <-time.After(rand.N(most)):
		case <-ctx.Done():
		}
	}
}

// follower gathers server-sent events and sends them together.
type follower struct {
	x       *exchange
	control *http.ResponseController
	buf     []byte
}

func (f *follower) write(text string) {
	f.buf = append(f.buf, text...)
}

func (f *follower) rows(rows []logs.Row) {
	for _, row := range rows {
		f.buf = append(f.buf, "id: "...)
		f.buf = strconv.AppendUint(f.buf, row.Seq, 10)
		f.buf = append(f.buf, "\ndata: "...)
		f.buf = append(f.buf, row.Line...)
		f.buf = append(f.buf, "\n\n"...)
	}
}

// gap tells that rows were lost, because the reader was too slow or too late.
func (f *follower) gap(lost uint64) {
	if lost > 0 {
		f.write(fmt.Sprintf("event: gap\ndata: {\"lost\":%d}\n\n", lost))
	}
}

func (f *follower) flush() error {
	if _, err := f.x.Write(f.buf); err != nil {
		return err
	}
	f.buf = f.buf[:0]
	return f.control.Flush()
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
