package logs

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// tally adds records up by group and step. Tallies can be merged.
type tally struct {
	step       time.Duration
	by         Grouping
	groups     map[groupKey]map[int64]*sums // by the step's begin in Unix ms
	overflowed bool                         // some are in the group of the others
}

// groupKey is the values of a group's fields; those that it is not grouped by are
// empty.
type groupKey struct{ model, provider, key string }

func (k groupKey) compare(other groupKey) int {
	return cmp.Or(cmp.Compare(k.model, other.model), cmp.Compare(k.provider, other.provider), cmp.Compare(k.key, other.key))
}

// sums is a Sum that still grows.
type sums struct {
	requests       int64
	errors         Errors
	tokens         Tokens
	duration, ttft histogram
}

func newTally(step time.Duration, by Grouping) *tally {
	return &tally{step: step, by: by, groups: make(map[groupKey]map[int64]*sums)}
}

func (t *tally) add(rec *Record) {
	var at int64
	if t.step > 0 {
		at = rec.Time.Truncate(t.step).UnixMilli()
	}
	t.sums(t.by.of(rec.Model, rec.Provider, rec.Key), at).add(rec)
}

// sums gives the place for a group and step.
func (t *tally) sums(group groupKey, at int64) *sums {
	steps := t.groups[group]
	if steps == nil && len(t.groups) >= maxGroups {
		t.overflowed = true
		group = t.by.of(otherGroups, otherGroups, otherGroups)
		steps = t.groups[group]
	}
	if steps == nil {
		steps = make(map[int64]*sums)
		t.groups[group] = steps
	}
	s := steps[at]
	if s == nil {
		s = new(sums)
		steps[at] = s
	}
	return s
}

func (t *tally) merge(other *tally) {
	for _, group := range slices.SortedFunc(maps.Keys(other.groups), groupKey.compare) {
		for at, s := range other.groups[group] {
			t.sums(group, at).merge(s)
		}
	}
}

func (s *sums) add(rec *Record) {
	s.requests++
	switch {
	case rec.Status == 499:
		s.errors.Left++
	case rec.Status >= 500:
		s.errors.Server++
	case rec.Status >= 400:
		s.errors.Client++
	case rec.ErrorType != "":
		s.errors.Stream++
	}
	s.tokens.Input += value(rec.InputTokens)
	s.tokens.Output += value(rec.OutputTokens)
	s.tokens.CacheRead += value(rec.CacheReadTokens)
	s.tokens.CacheWrite += value(rec.CacheWriteTokens)
	s.tokens.Reasoning += value(rec.ReasoningTokens)
	s.duration.add(bucket(rec.Duration), 1)
	if rec.TTFT > 0 {
		s.ttft.add(bucket(rec.TTFT), 1)
	}
}

func value(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

func (s *sums) merge(other *sums) {
	s.requests += other.requests
	s.errors.Client += other.errors.Client
	s.errors.Server += other.errors.Server
	s.errors.Left += other.errors.Left
	s.errors.Stream += other.errors.Stream
	s.tokens.Input += other.tokens.Input
	s.tokens.Output += other.tokens.Output
	s.tokens.CacheRead += other.tokens.CacheRead
	s.tokens.CacheWrite += other.tokens.CacheWrite
	s.tokens.Reasoning += other.tokens.Reasoning
	s.duration.merge(other.duration)
	s.ttft.merge(other.ttft)
}

func (s *sums) sum() Sum {
	e := s.errors
	return Sum{
		Requests:  s.requests,
		Errors:    e,
		ErrorRate: float64(e.Client+e.Server+e.Left+e.Stream) / float64(max(s.requests, 1)),
		Tokens:    s.tokens,
		Duration:  s.duration.percentiles(),
		TTFT:      s.ttft.percentiles(),
	}
}

// stats gives the answer, but for its times.
func (t *tally) stats() Stats {
	stats := Stats{Step: t.step.Seconds(), By: t.by.String(), PercentileError: percentileError}
	var total sums
	series := make(map[int64]*sums)
	for key, steps := range t.groups {
		var group sums
		for at, s := range steps {
			group.merge(s)
			if series[at] == nil {
				series[at] = new(sums)
			}
			series[at].merge(s)
		}
		total.merge(&group)
		if t.by != (Grouping{}) {
			stats.Groups = append(stats.Groups, t.by.group(key, group.sum(), t.points(steps)))
		}
	}
	stats.Sum = total.sum()
	stats.Series = t.points(series)
	slices.SortFunc(stats.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Name, b.Name))
	})
	return stats
}

func (t *tally) points(steps map[int64]*sums) (points []Point) {
	if t.step == 0 {
		return nil
	}
	for _, at := range slices.Sorted(maps.Keys(steps)) {
		points = append(points, Point{time.UnixMilli(at).UTC(), steps[at].sum()})
	}
	return points
}

// size is about what t, which may be nil, takes in memory.
func (t *tally) size() (bytes int) {
	bytes = 200
	if t == nil {
		return bytes
	}
	for group, steps := range t.groups {
		bytes += len(group.model) + len(group.provider) + len(group.key) + 96
		for _, s := range steps {
			bytes += 200 + 8*(len(s.duration)+len(s.ttft))
		}
	}
	return bytes
}
