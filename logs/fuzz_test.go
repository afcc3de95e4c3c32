package logs_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/url"
	"os"
	"reflect"
	"testing"

	"proxycast/logs"
)

// FuzzFilter: a query is refused or chooses the same from lines of ours, read whole or
// passed over in blocks, as from the same records in other spellings.
func FuzzFilter(f *testing.F) {
	for _, q := range queries {
		f.Add(q.text)
	}
	f.Add("limit=5&cursor=AQAAAAAAAABk")
	f.Add("since=1e9h&until=99999d&min_ms=1e308")
	f.Add("status=100-999&model=**&path=*/*")
	r := rand.New(rand.NewPCG(5, 6))
	var recs []logs.Record
	for i := range 500 {
		rec := random(r)
		rec.Seq = uint64(i + 1)
		recs = append(recs, rec)
	}
	ours, foreign := open(f, written(f, recs, false)), open(f, written(f, recs, true))
	f.Fuzz(func(t *testing.T, text string) {
		values, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		filter, err := logs.ParseFilter(values, noon)
		if err != nil {
			return
		}
		filter.Limit = 1000
		page, err := ours.Query(filter)
		other, err2 := foreign.Query(filter)
		if err != nil || err2 != nil || page.Next != "" || page.Truncated {
			t.Fatal(err, err2, page.Next, page.Truncated)
		}
		if !reflect.DeepEqual(page, other) {
			t.Fatalf("%s chooses %d rows of ours, %d of the others", text, len(page.Data), len(other.Data))
		}
	})
}

// lines are what a line, or a file, may hold.
func lines(add func(args ...any)) {
	rec := full()
	line := rec.AppendJSON(nil)
	add(line)
	add(append(append(bytes.Clone(line), '\n'), line[:100]...))
	add([]byte("{\"seq\":7}\n{\"seq\":3,\"error\":\"\\ud800\\n\"}\n\n\x00\x00\n"))
	add([]byte(`{"seq":1,"time":"2026-11-23T10:20:30.045Z","x":{"status":[503]},"status":200,"duration_ms":1e3}`))
	add([]byte(`{"seq":18446744073709551615}`))
	add([]byte("{}\x00"))
}

// FuzzLine: what is read is written in the same way again.
func FuzzLine(f *testing.F) {
	lines(f.Add)
	f.Fuzz(func(t *testing.T, data []byte) {
		var rec, again logs.Record
		if err := rec.UnmarshalJSON(data); err != nil {
			return
		}
		line := rec.AppendJSON(nil)
		if err := again.UnmarshalJSON(line); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		if second := again.AppendJSON(nil); !bytes.Equal(line, second) {
			t.Fatalf("%q became %q", line, second)
		}
	})
}

// FuzzFile: whatever stands in the file, the Store leaves it alone, or opens, goes on,
// and finds the same rows after a restart.
func FuzzFile(f *testing.F) {
	lines(f.Add)
	cfg := small(f.TempDir())
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(cfg.File, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := logs.Open(cfg)
		if errors.Is(err, logs.ErrNotLog) {
			if left, _ := os.ReadFile(cfg.File); !bytes.Equal(left, data) {
				t.Fatalf("%q was to be left alone and is %q", data, left)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		first, err := s.Query(logs.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		add(t, s, logs.Record{ID: "new"})
		second, err := s.Query(logs.Filter{})
		if err != nil || len(second.Data) != len(first.Data)+1 || record(t, second.Data[0]).ID != "new" {
			t.Fatal(err, len(first.Data), len(second.Data))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		defer s.Close()
		third, err := s.Query(logs.Filter{})
		if err != nil || !reflect.DeepEqual(third, second) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, third, second)
		}
	})
}

// FuzzCursor: a cursor is refused or begins a page.
func FuzzCursor(f *testing.F) {
	s := open(f, small(f.TempDir()))
	for range 300 {
		add(f, s, logs.Record{})
	}
	page, err := s.Query(logs.Filter{Limit: 10})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(page.Next)
	f.Add("AQAAAAAAAAAA")
	f.Add("AP__________")
	f.Add("AQAAAAAAAAEs\n")
	f.Fuzz(func(t *testing.T, text string) {
		filter, err := logs.ParseFilter(url.Values{"cursor": {text}}, noon)
		if err != nil {
			return
		}
		page, err := s.Query(filter)
		if err != nil {
			t.Fatal(err)
		}
		for i, rec := range page.Data {
			if want := min(filter.Before-1, 300) - uint64(i); rec.Seq != want {
				t.Fatalf("row %d of %q is %d, want %d", i, text, rec.Seq, want)
			}
		}
	})
}
