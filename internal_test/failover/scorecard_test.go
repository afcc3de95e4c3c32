// The scorecard: the sixteen scenarios of the Failover Bench catalogue, each judged by
// what the caller got, what the provider was asked and what the log says.
package failover_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// score is a scenario's result. A higher one is better.
type score int

const (
	failed  score = iota // a lie: what is cut looks finished, content is doubled or mixed, the record is wrong; or a hang
	partial              // a right answer at a price: a needless call, a wait that was asked for and not kept
	safe                 // not rescued, but the caller knows for certain, and nothing is doubled
	passed               // a whole right answer, or the right error where an error is right
)

func (s score) String() string { return [...]string{"FAIL", "partial", "safe", "pass"}[s] }

// trial is one run of a scenario: a caller who asks for model, and two targets.
type trial struct {
	gateway  *gateway
	provider *provider
	dialect  *dialect
	complete bool // the route's commit
	model    string
	asked    int
}

// outcome is what became of one request.
type outcome struct {
	view
	calls  []*call
	record record
	logErr error // why there is no one record
}

// ask makes one request for a stream.
func (t *trial) ask() outcome {
	t.asked++
	client := fmt.Sprintf("%s#%d", t.model, t.asked)
	o := outcome{view: t.gateway.ask(context.Background(), t.dialect, t.model, client, true)}
	o.calls = t.provider.callsOf(client)
	o.record, o.logErr = t.gateway.recordOf(client)
	return o
}

// whole reports whether the caller got the whole answer to the last call, from its
// first word to its closing marker, and nothing else.
func (o *outcome) whole() bool { return o.wholeText() && o.closed }

func (o *outcome) wholeText() bool {
	last := o.last()
	return last != nil && o.status == 200 && o.broken == nil && o.failure == "" &&
		o.text == last.text(words) && (o.finish == "stop" || o.finish == "end_turn")
}

// told reports whether the caller knows for certain that it has no whole answer.
func (o *outcome) told() bool {
	if o.finish != "" || o.closed {
		return false
	}
	return o.failure != "" && (o.status >= 400 || len(o.events) > 0) || o.broken != nil && !o.timedOut()
}

func (o *outcome) timedOut() bool {
	var timeout net.Error
	return errors.Is(o.broken, context.DeadlineExceeded) || errors.As(o.err, &timeout) && timeout.Timeout()
}

func (o *outcome) last() *call {
	if len(o.calls) == 0 {
		return nil
	}
	return o.calls[len(o.calls)-1]
}

// lie tells what is wrong with an outcome beyond forgiveness, "" if nothing.
func (o *outcome) lie() string {
	last := o.last()
	switch {
	case o.err != nil:
		return fmt.Sprintf("no reply: %v", o.err)
	case o.timedOut():
		return "a hang"
	case last == nil:
		return "no provider was asked"
	case !strings.HasPrefix(last.text(words), o.text):
		return "doubled, mixed or foreign content"
	case !o.wholeText() && !o.told():
		return "neither whole nor told that it is not"
	case o.logErr != nil:
		return fmt.Sprintf("the log: %v", o.logErr)
	case o.record.Attempts != len(o.calls):
		return fmt.Sprintf("the record says %d attempts", o.record.Attempts)
	case o.record.Provider != last.target:
		return fmt.Sprintf("the record names provider %q", o.record.Provider)
	case o.wholeText() != (o.record.ErrorType == ""):
		return fmt.Sprintf("the record says error_type %q", o.record.ErrorType)
	case o.record.Status != o.status:
		return fmt.Sprintf("the record says status %d", o.record.Status)
	case o.wholeText() && !o.billed(last):
		return "the record has other tokens than the answer"
	}
	return ""
}

// billed reports whether the record has the tokens of that call, and no others.
func (o *outcome) billed(x *call) bool {
	input, output := o.record.InputTokens, o.record.OutputTokens
	return input != nil && *input == int64(x.input()) && output != nil && *output == words
}

// rescued passes a whole answer for which just the given targets were called.
func (o *outcome) rescued(targetNames ...string) (score, string) {
	called := targets(o.calls)
	switch lie := o.lie(); {
	case lie != "":
		return failed, lie
	case !o.wholeText():
		return safe, "the caller knows that it failed"
	case !o.closed:
		return failed, "the closing marker was lost"
	case !slices.Equal(called, targetNames):
		return partial, "needless or missing calls"
	}
	return passed, ""
}

// scenario is one row. judge plays it; the scripts are those of its two targets.
type scenario struct {
	name          string
	first, second []answer
	judge         func(t *trial) (score, string)
	inFlight      bool // it cannot be rescued once content has passed: safe, unless streams are held
}

// once judges one request, which is to end in a whole answer after just these calls.
func once(targetNames ...string) func(t *trial) (score, string) {
	return func(t *trial) (score, string) {
		o := t.ask()
		s, why := o.rescued(targetNames...)
		return s, o.explain(s, why)
	}
}

// explain adds what was seen to a bad score's reason.
func (o *outcome) explain(s score, why string) string {
	if s == passed {
		return ""
	}
	return fmt.Sprintf("%s; called %v; caller: %v; record %+v", why, targets(o.calls), o.view, o.record)
}

// What the scorecard's gateways are configured with.
const (
	headersAndIdle = time.Second
	firstToken     = 1200 * time.Millisecond
	cooldown       = 400 * time.Millisecond
)

var scenarios = []scenario{
	// Pass: the second attempt, at the same target, after the time that was asked for.
	// Partial: before it, or elsewhere although the wait is short.
	{name: "429 with Retry-After", first: []answer{refuse(429, "Retry-After: 1"), whole}, judge: func(t *trial) (score, string) {
		o := t.ask()
		s, why := o.rescued("first", "first")
		if s == passed && o.calls[1].At.Sub(o.calls[0].At) < time.Second {
			s, why = partial, "Retry-After was not kept"
		}
		return s, o.explain(s, why)
	}},
	// Pass: the same target again, after a short pause of our own.
	{name: "429 without Retry-After", first: []answer{refuse(429), whole}, judge: once("first", "first")},
	// Pass: the same target again.
	{name: "one 5xx", first: []answer{refuse(503), whole}, judge: once("first", "first")},
	// Pass: the other target, within the budget of three attempts.
	{name: "lasting 5xx", first: []answer{refuse(500), refuse(503)}, judge: once("first", "first", "second")},
	// Pass: like a 5xx, since no byte of an answer had come.
	{name: "reset before headers", first: []answer{reset}, judge: once("first", "first", "second")},
	// Pass: the other target when the limit is over. A silent target is not asked twice.
	{name: "no response at all", first: []answer{silent}, judge: once("first", "second")},
	// Pass: the other target. A head and empty deltas are no content.
	{name: "slow first token", first: []answer{after(0, silent)}, judge: once("first", "second")},
	// Safe: an error event in the dialect, a broken connection, no further call. Pass (streams held): a clean restart elsewhere.
	{name: "cut after 40 of 60", first: []answer{after(40, hangUp)}, inFlight: true, judge: broken(40, "reply_cut", "first", "second")},
	// The same, by the idle limit: the error names it. A silent target is not asked twice.
	{name: "stall after 20", first: []answer{after(20, silent)}, inFlight: true, judge: broken(20, "timeout", "first", "second")},
	// Pass: the malformed event reaches the caller as it is, and so does all the rest; it is not for us to judge.
	{name: "malformed tenth event", first: []answer{after(9, malformed)}, judge: func(t *trial) (score, string) {
		o := t.ask()
		if len(o.calls) != 1 {
			return failed, o.explain(failed, "it was tried again")
		}
		x := o.calls[0]
		want := x.dialect.start(x.input()) + x.events(0, 9) + brokenEvent + x.events(10, words) + x.dialect.finish(words) + x.dialect.closing
		got := bytes.ReplaceAll(o.raw, []byte(keepalive), nil)
		switch {
		case o.broken != nil || string(got) != want:
			return failed, o.explain(failed, "other bytes than the provider's")
		case o.logErr != nil || o.record.Attempts != 1 || o.record.ErrorType != "" || !o.billed(x):
			return failed, o.explain(failed, "the record is wrong")
		}
		return passed, ""
	}},
	// Pass: the content is whole and its end was stated: a clean end, without an error, without a marker of our making.
	{name: "no closing marker", first: []answer{unclosed}, judge: func(t *trial) (score, string) {
		o := t.ask()
		if lie := o.lie(); lie != "" {
			return failed, o.explain(failed, lie)
		}
		if o.closed || !o.wholeText() || len(o.calls) != 1 {
			return failed, o.explain(failed, "a marker was made up, or the answer thrown away")
		}
		return passed, ""
	}},
	// Pass: the other target, which may have room; the same one never again.
	{name: "context length exceeded", first: []answer{tooLong}, judge: once("first", "second")},
	// Pass: the provider's own error, byte for byte, after one call: nobody else is asked to answer it.
	{name: "content policy refusal", first: []answer{refusal}, judge: func(t *trial) (score, string) {
		o := t.ask()
		switch lie := o.lie(); {
		case lie != "":
			return failed, o.explain(failed, lie)
		case o.status != 400 || string(o.raw) != t.dialect.refusal:
			return failed, o.explain(failed, "not the provider's own error")
		case len(o.calls) != 1:
			return partial, o.explain(partial, "needless calls")
		}
		return passed, ""
	}},
	// As a cut: what was generated is never sent on as a prefill, which the fallback refuses.
	{name: "cut, fallback without prefill", first: []answer{after(40, hangUp)}, second: []answer{noPrefill}, inFlight: true, judge: broken(40, "reply_cut", "first", "second")},
	// Pass: every caller gets a whole answer; a target that is down is asked until it rests, and then only by probes;
	// one that is up again is used again.
	{name: "flapping", judge: flapping},
	// Pass: one record; it counts every call, names the target that answered, and has its tokens only, although a
	// failed attempt stated some too.
	{name: "accounting", first: []answer{after(0, usageAndError), refuse(502)}, judge: once("first", "first", "second")},
}

const (
	brokenEvent = "data: {\"choices\": [{\"delta\": {\"cont\n\n"
	keepalive   = ": keepalive\n\n"
)

// malformed goes on from word 9 with an event that is not JSON, and then as it should.
func malformed(x *call) bool {
	return x.write(harness.Chunk(brokenEvent), harness.Chunk(x.events(10, words)+x.ending()+x.dialect.closing), lastChunk)
}

// unclosed leaves the closing marker out.
func unclosed(x *call) bool {
	return x.write(streamHead, harness.Chunk(x.dialect.start(x.input())+x.events(0, words)+x.ending()), lastChunk)
}

func tooLong(x *call) bool { return x.write(document(400, "application/json", x.dialect.tooLong)) }

func refusal(x *call) bool { return x.write(document(400, "application/json", x.dialect.refusal)) }

// noPrefill refuses a conversation that ends with the assistant.
func noPrefill(x *call) bool {
	if bytes.Contains(x.Body, []byte(`"assistant"`)) {
		return refuse(400)(x)
	}
	return whole(x)
}

// usageAndError states tokens, and fails before any content.
func usageAndError(x *call) bool {
	return x.write(harness.Chunk(x.dialect.usage(9999, 9999))) && errorEvent(x)
}

// broken judges a stream that fails after n words: unless it is held, the caller gets
// them, an error event in the dialect and a broken connection, and the record has the
// code.
func broken(n int, code string, heldCalls ...string) func(t *trial) (score, string) {
	return func(t *trial) (score, string) {
		o := t.ask()
		if t.complete {
			s, why := o.rescued(heldCalls...)
			return s, o.explain(s, why)
		}
		switch lie := o.lie(); {
		case lie != "":
			return failed, o.explain(failed, lie)
		case o.wholeText():
			return passed, ""
		case o.text != o.calls[0].text(n) || o.failure == "" || o.record.ErrorType != code:
			return failed, o.explain(failed, "words, the error event or the record's error are missing")
		case len(o.calls) > 1:
			return failed, o.explain(failed, "a further call after content had passed")
		}
		return safe, o.explain(safe, "told")
	}
}

// flapping lets the first target go down and come up three times, under callers who
// ask all the time.
func flapping(t *trial) (score, string) {
	for range 3 {
		t.provider.play("first", t.model, refuse(503))
		begin, before := time.Now(), len(t.callsOfFirst())
		for range 8 {
			if o := t.ask(); o.lie() != "" || !o.whole() {
				return failed, o.explain(failed, "down: "+o.lie())
			}
		}
		probes := 1 + int(time.Since(begin)/cooldown)
		if calls := len(t.callsOfFirst()) - before; calls > 3+probes {
			return partial, fmt.Sprintf("%d calls of a target that is down, in %v", calls, time.Since(begin))
		}
		t.provider.play("first", t.model, whole)
		time.Sleep(cooldown + cooldown/4)
		for i := range 4 {
			o := t.ask()
			if o.lie() != "" || !o.whole() {
				return failed, o.explain(failed, "up: "+o.lie())
			}
			if !slices.Equal(targets(o.calls), []string{"first"}) {
				return partial, o.explain(partial, fmt.Sprintf("request %d after the target has come back", i))
			}
		}
	}
	return passed, ""
}

// callsOfFirst returns all calls of the first target for this trial's model.
func (t *trial) callsOfFirst() (calls []*call) {
	for _, x := range t.provider.callsOf("") {
		if x.target == "first" && x.model == t.model {
			calls = append(calls, x)
		}
	}
	return calls
}

// column is one side of the scorecard: a dialect, and the commit of its routes.
type column struct {
	dialect  *dialect
	complete bool
	results  []result // by scenario
}

type result struct {
	score score
	why   string
}

func (c *column) String() string {
	if c.complete {
		return c.dialect.name + " complete"
	}
	return c.dialect.name
}

// want is the least that a scenario has to score.
func (c *column) want(s scenario) score {
	if s.inFlight && !c.complete {
		return safe
	}
	return passed
}

func TestScorecard(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	timeouts := object{"timeouts": object{"connect": "5s", "headers": headersAndIdle.String(), "first_token": firstToken.String(), "idle": headersAndIdle.String(), "total": "30s"}}
	targets := list{"first/*", "second/*"}
	var columns []*column
	var running sync.WaitGroup
	for _, d := range dialects {
		g := start(t, object{
			"providers": list{p.as("first", d, timeouts), p.as("second", d, timeouts)},
			"models":    object{"complete *": object{"targets": targets, "commit": "complete"}, "*": targets},
			"retries":   2, "cooldown": object{"after": 3, "for": cooldown.String()}, "keepalive": "300ms",
		})
		for _, complete := range []bool{false, true} {
			c := &column{d, complete, make([]result, len(scenarios))}
			columns = append(columns, c)
			for i, s := range scenarios {
				model := d.name + " " + s.name
				if complete {
					model = "complete " + model
				}
				p.play("first", model, s.first...)
				p.play("second", model, s.second...)
				running.Go(func() {
					score, why := s.judge(&trial{gateway: g, provider: p, dialect: d, complete: complete, model: model})
					c.results[i] = result{score, why}
				})
			}
		}
	}
	running.Wait()
	for _, c := range columns {
		for i, s := range scenarios {
			if r := c.results[i]; r.score < c.want(s) {
				t.Errorf("%s, %s: %s, want %s: %s", c, s.name, r.score, c.want(s), r.why)
			}
		}
	}
	t.Logf("the scorecard\n%s", table(columns))
}

// table prints the scores, and how many there are of each.
func table(columns []*column) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-33s", "")
	for _, c := range columns {
		fmt.Fprintf(&b, "%-20s", c)
	}
	for i, s := range scenarios {
		fmt.Fprintf(&b, "\n%2d %-30s", i+1, s.name)
		for _, c := range columns {
			fmt.Fprintf(&b, "%-20s", c.results[i].score)
		}
	}
	for s := passed; s >= failed; s-- {
		fmt.Fprintf(&b, "\n%31s  ", s)
		for _, c := range columns {
			n := 0
			for _, r := range c.results {
				if r.score == s {
					n++
				}
			}
			fmt.Fprintf(&b, "%-20d", n)
		}
	}
	return b.String()
}
