package logs_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"proxycast/logs"
)

// next returns the seqs of the next rows; the Tail must have some, without a loss.
func next(t *testing.T, tail *logs.Tail) (list []uint64) {
	t.Helper()
	rows, lost, err := tail.Next(t.Context(), time.Minute)
	if err != nil || lost != 0 || len(rows) == 0 {
		t.Fatal(len(rows), lost, err)
	}
	for _, row := range rows {
		list = append(list, row.Seq)
	}
	return list
}

func TestTail(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, small(dir))
		for range 10 {
			add(t, s, logs.Record{})
		}
		tail := s.Tail(logs.Filter{}, 7)
		defer tail.Close()
		same(t, "resumed", next(t, tail), []uint64{8, 9, 10})

		begin := time.Now()
		rows, lost, err := tail.Next(t.Context(), 15*time.Second)
		if len(rows) > 0 || lost != 0 || err != nil || time.Since(begin) != 15*time.Second {
			t.Error("no time for a ping", rows, lost, err, time.Since(begin))
		}
		go func() {
			time.Sleep(time.Hour)
			s.Add(&logs.Record{ID: "x"})
		}()
		rows, _, err = tail.Next(t.Context(), 2*time.Hour)
		rec := logs.Record{Seq: 11, ID: "x"}
		if len(rows) != 1 || string(rows[0].Line) != string(rec.AppendJSON(nil)) || err != nil {
			t.Error(rows, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := tail.Next(ctx, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}

		add(t, s, logs.Record{})
		go func() {
			time.Sleep(time.Second)
			s.Close()
		}()
		same(t, "last", next(t, tail), []uint64{12})
		if rows, _, err := tail.Next(t.Context(), time.Minute); len(rows) > 0 || err != io.EOF {
			t.Error("after Close", rows, err)
		}
	})
}

func TestTailFilter(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, small(dir))
		tail := s.Tail(filter(t, "status=5xx&model=gpt-*"), s.Last())
		defer tail.Close()
		for i := range 90 {
			add(t, s, logs.Record{Status: 200 + i%3*150, Model: []string{"gpt-4o", "claude"}[i/3%2]})
		}
		var got []uint64
		for len(got) < 15 {
			got = append(got, next(t, tail)...)
		}
		for i, seq := range got {
			if seq != uint64(6*i+3) {
				t.Fatal(got)
			}
		}
		add(t, s, logs.Record{Status: 200})
		if rows, lost, err := tail.Next(t.Context(), time.Second); len(rows) > 0 || lost != 0 || err != nil {
			t.Error(rows, lost, err)
		}
	})
}

// A slow follower is told how much it lost, and goes on with what is there.
func TestTailGap(t *testing.T) {
	s := open(t, small(t.TempDir())) // keeps 100
	tail := s.Tail(logs.Filter{}, s.Last())
	defer tail.Close()
	for range 250 {
		add(t, s, logs.Record{})
	}
	rows, lost, err := tail.Next(t.Context(), time.Minute)
	if lost != 150 || err != nil || len(rows) == 0 || rows[0].Seq != 151 {
		t.Fatal(len(rows), lost, err)
	}
	got := []uint64{}
	for _, row := range rows {
		got = append(got, row.Seq)
	}
	for len(got) < 100 {
		got = append(got, next(t, tail)...)
	}
	same(t, "rows", got, upTo(250)[150:])
}

func TestTailOfTheFuture(t *testing.T) {
	s := open(t, small(t.TempDir()))
	tail := s.Tail(logs.Filter{}, 1<<63)
	defer tail.Close()
	add(t, s, logs.Record{})
	same(t, "rows", next(t, tail), []uint64{1})
}

// Many followers each see every row, once and in order.
func TestManyTails(t *testing.T) {
	cfg := small(t.TempDir())
	cfg.Ring = 10_000
	s := open(t, cfg)
	var wait sync.WaitGroup
	for range 50 {
		tail := s.Tail(logs.Filter{}, s.Last())
		wait.Go(func() {
			defer tail.Close()
			want := uint64(1)
			for {
				rows, lost, err := tail.Next(context.Background(), time.Minute)
				if err == io.EOF {
					break
				}
				for _, row := range rows {
					if row.Seq != want || lost != 0 {
						t.Errorf("got %d, want %d; %d lost", row.Seq, want, lost)
						return
					}
					want++
				}
			}
			if want != 2001 {
				t.Errorf("saw %d rows", want-1)
			}
		})
	}
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for range 500 {
				s.Add(&logs.Record{})
			}
		})
	}
	writers.Wait()
	s.Close()
	wait.Wait()
}
