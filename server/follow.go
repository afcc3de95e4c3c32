package server

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"proxycast/logs"
)

// GET /_logs?follow=1: records as they are added.

const (
	pingEvery  = 15 * time.Second
	spreadEach = time.Millisecond // of waiting for each follower,
	minSpread  = 20 * time.Millisecond
	maxSpread  = 500 * time.Millisecond
	maxCatchUp = 10000       // rows that a follower is given of the past, at most
	lastWrite  = time.Second // that a follower may take to read on, when the gateway stops
)

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

// past returns the newest rows in (after, last], oldest first, want of them at most.
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
