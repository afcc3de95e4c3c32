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
	step   steps
	by     []field
	groups map[string]*group // by the values of by as they stand in a line, each with a newline
	other  *group            // what the smallest groups add up to; nil while there is room for all
	sums   int               // in all groups

	key          []byte
	at           time.Time // the step of the record before,
	since, until string    // and its bounds, as those of a sieve
}

// group is the records that have the same values in the fields that a tally groups by.
type group struct {
	values   []string // of those fields
	requests int64
	steps    map[time.Time]*sums // by when the step begins
}

// steps cuts time into parts. Whole days begin at midnight in zone, shorter steps at
// their multiples in UTC.
type steps struct {
	length time.Duration // 0: there are none
	zone   *time.Location
}

// around returns the step that t is in.
func (s steps) around(t time.Time) (from, to time.Time) {
	const day = 24 * time.Hour
	if s.length%day != 0 {
		from = t.UTC().Truncate(s.length)
		return from, from.Add(s.length)
	}
	year, month, date := t.In(s.zone).Date()
	midnight := time.Date(year, month, date, 0, 0, 0, 0, time.UTC)
	date -= int(midnight.Sub(midnight.Truncate(s.length)) / day)
	return time.Date(year, month, date, 0, 0, 0, 0, s.zone), time.Date(year, month, date+int(s.length/day), 0, 0, 0, 0, s.zone)
}

// sums is a Sum that still grows.
type sums struct {
	requests       int64
	errors         Errors
	tokens         Tokens
	duration, ttft histogram
}

func newTally(step steps, by []field) *tally {
	return &tally{step: step, by: by, groups: make(map[string]*group)}
}

// How many sums and groups are held before the smallest groups so far are merged: invented
// names must not fill the memory. Of sums it is twice what the largest answer has, so that
// each merging has made room for as many as remain.
const (
	maxSums       = 2 * (maxGroups + 1) * (maxSteps + 2)
	maxHeldGroups = 100 * maxGroups
)

func (t *tally) add(l *line) {
	stamp := l.stamp()
	if t.step.length > 0 && !(t.since <= string(stamp) && string(stamp) < t.until) {
		at, _ := time.Parse(time.RFC3339, string(stamp))
		from, to := t.step.around(at)
		t.at, t.since, t.until = from, bound(from), bound(to)
	}
	t.key = t.key[:0]
	for _, f := range t.by {
		t.key = append(append(t.key, l.values[f]...), '\n')
	}
	g := t.groups[string(t.key)]
	if g == nil {
		if t.sums >= maxSums || len(t.groups) >= maxHeldGroups {
			t.keepLargest()
		}
		g = &group{steps: make(map[time.Time]*sums)}
		for _, f := range t.by {
			g.values = append(g.values, string(l.textOf(f)))
		}
		t.groups[string(t.key)] = g
	}
	n := max(1, l.numberOf(countField))
	g.requests += n
	s, made := g.at(t.at)
	t.sums += made
	s.add(l, n)
}

// keepLargest merges all but the largest groups into the one of the others.
func (t *tally) keepLargest() {
	if len(t.groups) <= maxGroups {
		return
	}
	keys := slices.SortedFunc(maps.Keys(t.groups), func(a, b string) int {
		return cmp.Or(cmp.Compare(t.groups[b].requests, t.groups[a].requests), cmp.Compare(a, b))
	})
	if t.other == nil {
		t.other = &group{values: slices.Repeat([]string{otherGroups}, len(t.by)), steps: make(map[time.Time]*sums)}
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
func (g *group) at(at time.Time) (s *sums, made int) {
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

// add adds a line that stands for n requests of a kind.
func (s *sums) add(l *line, n int64) {
	s.requests += n
	switch status := l.numberOf(statusField); {
	case status == 499:
		s.errors.Left += n
	case status >= 500:
		s.errors.Server += n
	case status >= 400:
		s.errors.Client += n
	case l.hasError():
		s.errors.Stream += n
	}
	if string(l.textOf(endpointField)) != countTokens { // they were not used
		s.tokens.Input += l.numberOf(inputField)
		s.tokens.Output += l.numberOf(outputField)
		s.tokens.CacheRead += l.numberOf(cacheReadField)
		s.tokens.CacheWrite += l.numberOf(cacheWriteField)
		s.tokens.Reasoning += l.numberOf(reasoningField)
	}
	s.duration.add(bucket(l.microsOf(durationField)), 1) // of one of them: those of the others are not told
	if us := l.microsOf(ttftField); us > 0 {
		s.ttft.add(bucket(us), 1)
	}
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

// stats returns the answer, but for what the query says.
func (t *tally) stats() (stats Stats) {
	t.keepLargest()
	all := group{steps: make(map[time.Time]*sums)}
	groups := slices.Collect(maps.Values(t.groups))
	if t.other != nil {
		groups = append(groups, t.other)
	}
	for _, g := range groups {
		all.merge(g)
		if len(t.by) > 0 {
			stats.Groups = append(stats.Groups, t.answer(g))
		}
	}
	stats.Sum = all.sum()
	stats.Series = t.points(&all)
	slices.SortFunc(stats.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Name, b.Name))
	})
	return stats
}

// answer returns g as it is told.
func (t *tally) answer(g *group) Group {
	answer := Group{Name: Name(strings.Join(g.values, ", ")), Sum: g.sum(), Series: t.points(g)}
	if g == t.other {
		answer.Name = otherGroups
	}
	for i, f := range t.by {
		value := Name(g.values[i])
		switch f {
		case modelField:
			answer.Model = &value
		case providerField:
			answer.Provider = &value
		case keyField:
			answer.Key = &value
		}
	}
	return answer
}

func (g *group) sum() Sum {
	var total sums
	for _, s := range g.steps {
		total.merge(s)
	}
	return total.sum()
}

func (t *tally) points(g *group) (points []Point) {
	if t.step.length == 0 {
		return nil
	}
	for _, at := range slices.SortedFunc(maps.Keys(g.steps), time.Time.Compare) {
		points = append(points, Point{at, g.steps[at].sum()})
	}
	return points
}
