// Following: GET /_logs?follow=1 gives every row, soon, once, also over a restart,
// and tells what it could not give.
package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// follower reads server-sent events of rows.
type follower struct {
	in    *bufio.Reader
	leave func()
}

// follow begins to follow. after, if not 0, is sent as the Last-Event-ID.
func (g *gateway) follow(t testing.TB, query string, after uint64) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	header := []string{"Authorization: Bearer " + harness.AdminKey}
	if after > 0 {
		header = append(header, fmt.Sprint("Last-Event-ID: ", after))
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(g.Request(ctx, "GET", "/_logs?follow=1&"+query, "", header...))
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s: %d %v", query, res.StatusCode, res.Header)
	}
	f := &follower{bufio.NewReaderSize(res.Body, 64<<10), func() { cancel(); res.Body.Close() }}
	t.Cleanup(f.leave)
	return f
}

// event is one server-sent event, or the error that ended them.
type event struct {
	name, data string
	id         uint64
	row        record
	err        error
}

func (f *follower) read() (e event) {
	for {
		line, err := f.in.ReadString('\n')
		if err != nil {
			e.err = err
			return e
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "event":
			e.name = value
		case "id":
			e.id, e.err = strconv.ParseUint(value, 10, 64)
		case "data":
			if e.data = value; e.name == "" {
				e.err = json.Unmarshal([]byte(value), &e.row)
			}
		case "":
			if e.data != "" || e.err != nil {
				return e
			}
		}
	}
}

// rows reads n rows, each within the time that a row may take.
func (f *follower) rows(t testing.TB, n int) (rows []record) {
	t.Helper()
	stuck := time.AfterFunc(harness.Patience, f.leave)
	defer stuck.Stop()
	for len(rows) < n {
		e := f.read()
		if e.err != nil || e.name != "" || e.id != e.row.Seq {
			t.Fatalf("after %d of %d rows: %+v", len(rows), n, e)
		}
		rows = append(rows, e.row)
	}
	return rows
}

func seqs(rows []record) (list []uint64) {
	for _, rec := range rows {
		list = append(list, rec.Seq)
	}
	return list
}

// A follower with any filter is given what a query with that filter finds later.
func TestFollowFilters(t *testing.T) {
	p := harness.NewProvider(t, kindly)
	g := start(t, relayTo(p, "openai"))
	filters := []string{"", "status=5xx,401", "status=error", "status=200&stream=true", "stream=false", "model=m-*", "provider=fake", "provider=*",
		"key=user", "path=/v1/chat/*", "path=/v1/nothing", "endpoint=models", "min_ms=0.001", "min_ms=100000", "q=key+is+not+valid", "q=*",
		"since=1h", "until=1h", "since=" + time.Now().UTC().Add(-time.Hour).Format(time.RFC3339), "id=none"}
	var followers []*follower
	for _, filter := range filters {
		followers = append(followers, g.follow(t, filter, 0))
	}
	for range 3 {
		g.crowdOnce(t)
	}
	failed := g.Send(t, "GET", "/v1/last", "") // the last one, for followers of nothing
	if failed.Status != 404 {
		t.Fatal(failed.Status)
	}
	for i, filter := range filters {
		want, _ := g.page(t, filter+"&limit=1000")
		slices.Reverse(want)
		if got := seqs(followers[i].rows(t, len(want))); !slices.Equal(got, seqs(want)) {
			t.Errorf("%s: followed %v, found %v", filter, got, seqs(want))
		}
	}
	last := g.Records(t)
	byID := g.follow(t, "id="+last[4].ID+"&limit=10", 0) // limit gives of the past
	if rows := byID.rows(t, 1); rows[0].Seq != last[4].Seq {
		t.Errorf("by id came %+v", rows[0])
	}
	checkError(t, g.Send(t, "GET", "/_logs?follow=1&format=csv", "", "Authorization: Bearer "+harness.AdminKey), "openai", 400)
	checkError(t, g.Send(t, "GET", "/_logs?follow=1", "", "Authorization: Bearer "+harness.AdminKey, "Last-Event-ID: x"), "openai", 400)
}

// A row arrives within a second.
func TestFollowSoon(t *testing.T) {
	g := start(t, relayTo(harness.NewProvider(t, kindly), "openai"))
	f := g.follow(t, "", 0)
	var took []time.Duration
	for range 20 {
		begin := time.Now()
		g.Send(t, "POST", "/v1/chat/completions", chatRequest)
		f.rows(t, 1)
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	t.Logf("a request and its row took %v, at most %v", took[len(took)/2].Round(100*time.Microsecond), took[len(took)-1].Round(100*time.Microsecond))
	if took[len(took)/2] > time.Second {
		t.Errorf("a row takes %v", took[len(took)/2])
	}
}

// A follower that comes again is given what it missed, whether it is still in
// memory or only in files, and nothing twice; one that missed nothing is given
// nothing.
func TestFollowResumes(t *testing.T) {
	cfg := relayTo(harness.NewProvider(t, kindly), "openai")
	cfg["logs"] = object{"ring": 20, "max_file": "64KiB"}
	dir := t.TempDir()
	g := startIn(t, dir, harness.WithDefaults(cfg))
	f := g.follow(t, "", 0)
	g.crowdOnce(t)
	seen := f.rows(t, len(kinds))
	f.leave()

	again := func(rounds int, query string) {
		t.Helper()
		last := seen[len(seen)-1].Seq
		f := g.follow(t, query, last)
		missed := f.rows(t, rounds*len(kinds))
		if missed[0].Seq != last+1 {
			t.Errorf("after %d came %d", last, missed[0].Seq)
		}
		seen = append(seen, missed...)
		g.crowdOnce(t)
		seen = append(seen, f.rows(t, len(kinds))...)
		f.leave()
	}
	again(quiet(g, t, 1), "")
	again(quiet(g, t, 60), "") // from files
	// limit is for those who begin, not for those who come again
	again(quiet(g, t, 2), "limit=5")
	f = g.follow(t, "limit=5", seen[len(seen)-1].Seq)
	g.crowdOnce(t)
	seen = append(seen, f.rows(t, len(kinds))...)
	f.leave()

	quiet(g, t, 3)
	g.Kill()
	g = startIn(t, dir, nil)
	again(3, "")
	for i, rec := range seen {
		if rec.Seq != uint64(i+1) {
			t.Fatalf("row %d is %d", i+1, rec.Seq)
		}
	}
	// An id that is yet to come, as after a restart that lost what no disk took.
	f = g.follow(t, "", 1_000_000)
	g.crowdOnce(t)
	if rows := f.rows(t, 1); rows[0].Seq != uint64(len(seen)+1) {
		t.Errorf("after an id from the future came %d", rows[0].Seq)
	}
}

// quiet sends requests that nobody follows.
func quiet(g *gateway, t testing.TB, rounds int) int {
	t.Helper()
	for range rounds {
		g.crowdOnce(t)
	}
	return rounds
}

// slowFollower follows without reading, through small buffers.
func (g *gateway) slowFollower(t testing.TB) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /_logs?follow=1 HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", g.Addr, harness.AdminKey)
	return conn.(*net.TCPConn)
}

// flood sends requests whose rows are as long as rows can be.
func (g *gateway) flood(t testing.TB, n int) {
	t.Helper()
	path := "/v1/" + strings.Repeat(url.PathEscape("\x01"), 250)
	for range n {
		if r := g.Send(t, "GET", path, ""); r.Status != 404 {
			t.Fatal(r.Status)
		}
	}
}

// A reader that is too slow is told how many rows it lost, and delays nobody.
func TestFollowGap(t *testing.T) {
	harness.Slow(t)
	cfg := relayTo(harness.NewProvider(t, kindly), "openai")
	cfg["logs"] = object{"ring": 100}
	g := start(t, cfg)
	conn := g.slowFollower(t)
	res, err := http.ReadResponse(bufio.NewReaderSize(conn, 1), nil)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	g.flood(t, 4000)
	if err := conn.SetReadBuffer(4 << 20); err != nil {
		t.Fatal(err)
	}
	f := &follower{bufio.NewReader(res.Body), func() {}}
	rows, lost, gaps, next := 0, 0, 0, uint64(1)
	for next <= 4000 {
		e := f.read()
		if e.err != nil {
			t.Fatal(e.err)
		}
		if e.name == "gap" {
			var gap struct{ Lost int }
			if json.Unmarshal([]byte(e.data), &gap) != nil || gap.Lost < 1 {
				t.Fatalf("%+v", e)
			}
			lost += gap.Lost
			gaps++
			next += uint64(gap.Lost)
			continue
		}
		if e.id != next {
			t.Fatalf("row %d came where %d was due", e.id, next)
		}
		rows++
		next++
	}
	t.Logf("a slow reader got %d rows and was told of %d lost in %d gaps", rows, lost, gaps)
	if gaps == 0 || rows+lost != 4000 {
		t.Errorf("%d rows and %d lost of 4000", rows, lost)
	}
}

// When the gateway stops, followers end at once, also those that do not read.
func TestFollowEndsAtShutdown(t *testing.T) {
	f := func(name string, drain string, stuck bool) {
		t.Run(name, func(t *testing.T) {
			if stuck {
				harness.Slow(t)
			}
			cfg := relayTo(harness.NewProvider(t, kindly), "openai")
			cfg["server"] = object{"drain": drain}
			g := start(t, cfg)
			reader := g.follow(t, "", 0)
			if stuck {
				g.slowFollower(t)
				g.flood(t, 2500)
			} else {
				g.crowdOnce(t)
			}
			g.Signal(t, syscall.SIGTERM)
			begin := time.Now()
			for {
				if e := reader.read(); e.err != nil {
					if e.err.Error() != "EOF" {
						t.Errorf("the follower's end is %v", e.err)
					}
					break
				}
			}
			if code := g.Exit(t, harness.Patience); code != 0 {
				t.Errorf("exit code %d", code)
			}
			t.Logf("ended after %v", time.Since(begin).Round(time.Millisecond))
		})
	}
	f("reading", "60s", false)
	f("stuck", "60s", true)
}
