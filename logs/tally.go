package logs

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// tally adds records up by group and step.
type tally struct {
	step   time.Duration
	by     Grouping
	groups map[groupKey]*group
	other  *group // what the smallest groups add up to; nil while there is room for all
	sums   int    // in all groups
}

// group is the records that have the same values in the fields of a Grouping.
type group struct {
	requests int64
	steps    map[int64]*sums // by the step's begin in Unix ms
}

// groupKey is the values of a group's fields; those that it is not grouped by are
// empty.
type groupKey struct{ model, provider, key string }

func (k groupKey) compare(other groupKey) int {
	return cmp.Or(cmp.Compare(k.model, other.model), cmp.Compare(k.provider, other.provider), cmp.Compare(k.key, other.key))
}

// clone returns k without the texts that it is a part of.
func (k groupKey) clone() groupKey {
	return groupKey{strings.Clone(k.model), strings.Clone(k.provider), strings.Clone(k.key)}
}

// sums is a Sum that still grows.
type sums struct {
	requests       int64
	errors         Errors
	tokens         Tokens
	duration, ttft histogram
}

func newTally(step time.Duration, by Grouping) *tally {
	return &tally{step: step, by: by, groups: make(map[groupKey]*group)}
}

// maxSums is how many sums are held before those of the smallest groups so far are
// merged: invented names must not fill the memory. It is twice what the largest
// answer has, so that each merging has made room for as many as remain.
const maxSums = 2 * (maxGroups + 1) * (maxSteps + 2)

func (t *tally) add(rec *Record) {
	var at int64
	if t.step > 0 {
		at = rec.Time.Truncate(t.step).UnixMilli()
	}
	key := t.by.of(rec.Model, rec.Provider, rec.Key)
	g := t.groups[key]
	if g == nil {
		if t.sums >= maxSums {
			t.keepLargest()
		}
		g = &group{steps: make(map[int64]*sums)}
		t.groups[key.clone()] = g // a key may be a part of much text
	}
	g.requests++
	s, made := g.at(at)
	t.sums += made
	s.add(rec)
}

// keepLargest merges all but the largest groups into the one of the others.
func (t *tally) keepLargest() {
	if len(t.groups) <= maxGroups {
		return
	}
	keys := slices.SortedFunc(maps.Keys(t.groups), func(a, b groupKey) int {
		return cmp.Or(cmp.Compare(t.groups[b].requests, t.groups[a].requests), a.compare(b))
	})
	if t.other == nil {
		t.other = &group{steps: make(map[int64]*sums)}
	}
	for _, key := range keys[maxGroups:] {
		t.other.merge(t.groups[key])
		delete(t.groups, key)
	}
	t.sums = len(t.other.steps)
	for _, g := range t.groups {
		t.sums += len(g.steps)
	}
}

// at returns the place of a step, and how many places it made.
func (g *group) at(at int64) (s *sums, made int) {
	if s = g.steps[at]; s == nil {
		s, made = new(sums), 1
		g.steps[at] = s
	}
	return s, made
}

func (g *group) merge(other *group) {
	g.requests += other.requests
	for at, s := range other.steps {
		sum, _ := g.at(at)
		sum.merge(s)
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
	if rec.UsedTokens() {
		s.tokens.Input += value(rec.InputTokens)
		s.tokens.Output += value(rec.OutputTokens)
		s.tokens.CacheRead += value(rec.CacheReadTokens)
		s.tokens.CacheWrite += value(rec.CacheWriteTokens)
		s.tokens.Reasoning += value(rec.ReasoningTokens)
	}
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

// stats returns the answer, but for its times.
func (t *tally) stats() Stats {
	t.keepLargest()
	stats := Stats{Step: t.step.Seconds(), By: t.by.String(), PercentileError: percentileError}
	all := group{steps: make(map[int64]*sums)}
	take := func(key groupKey, g *group) {
		all.merge(g)
		if t.by != (Grouping{}) {
			stats.Groups = append(stats.Groups, t.by.group(key, g.sum(), t.points(g)))
		}
	}
	for key, g := range t.groups {
		take(key, g)
	}
	if t.other != nil {
		take(t.by.of(otherGroups, otherGroups, otherGroups), t.other)
	}
	stats.Sum = all.sum()
	stats.Series = t.points(&all)
	slices.SortFunc(stats.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Name, b.Name))
	})
	return stats
}

func (g *group) sum() Sum {
	var total sums
	for _, s := range g.steps {
		total.merge(s)
	}
	return total.sum()
}

func (t *tally) points(g *group) (points []Point) {
	if t.step == 0 {
		return nil
	}
	for _, at := range slices.Sorted(maps.Keys(g.steps)) {
		points = append(points, Point{time.UnixMilli(at).UTC(), g.steps[at].sum()})
	}
	return points
}
