package dialect

import (
	"bytes"
	"strconv"
)

// Usage is what a provider says that a call took, in tokens; nil is unknown. Input includes cached tokens in every
// dialect: Anthropic's input_tokens leaves them out, so they are added.
type Usage struct {
	Input, Output, CacheRead, CacheWrite, Reasoning *int64

	CacheWrite1h *int64 // of CacheWrite, what is kept for an hour, which Anthropic bills differently
}

// The counts that usage objects give, by the place that a provider gives them in. Some providers give one in two
// places, with a zero in the wrong one; Usage chooses.
const (
	promptTokens = iota
	promptCached
	promptCacheWrite
	promptCacheHit
	completionTokens
	completionReasoning
	inputTokens
	inputCached
	inputCacheWrite
	cacheReadInput
	cacheCreationInput
	outputTokens
	outputReasoning
	outputThinking
	cacheWrite1h
	totalTokens
	countPlaces
)

type tokenCounts struct {
	known uint16 // bit i is set: n[i] is known
	n     [countPlaces]int64
}

// set takes over a count. Counts only grow, and some providers end a stream with a zero in the place of one that they
// have told: the larger stays.
func (c *tokenCounts) set(place int, kind walkKind, text []byte) {
	if n, ok := tokenCount(kind, text); ok {
		c.known |= 1 << place
		c.n[place] = max(c.n[place], n)
	}
}

// update takes over the counts that are known in from.
func (c *tokenCounts) update(from *tokenCounts) {
	c.known |= from.known
	for i, n := range from.n {
		c.n[i] = max(c.n[i], n)
	}
}

// first returns the count of the first place that has one.
func (c *tokenCounts) first(places ...int) *int64 {
	for _, i := range places {
		if c.known>>i&1 != 0 {
			n := c.n[i]
			return &n
		}
	}
	return nil
}

// sum returns the count at place with those at more that are known.
func (c *tokenCounts) sum(place int, more ...int) *int64 {
	total := c.first(place)
	if total == nil {
		return nil
	}
	for _, i := range more {
		if n := c.first(i); n != nil {
			*total += *n
		}
	}
	return total
}

const bytesPerToken = 4

// deltaSizes sums up the events of a stream that carry content. One has at least a token; the smallest shows what the
// rest of an event takes.
type deltaSizes struct{ count, total, least int64 }

func (d *deltaSizes) add(size int64) {
	if d.count == 0 || size < d.least {
		d.least = size
	}
	d.count++
	d.total += size
}

func (d *deltaSizes) tokens() int64 { return d.count + (d.total-d.count*d.least)/bytesPerToken }

// maxTokens is beyond what any call can take: a larger count is a provider's mistake or lie, which would spoil every
// sum.
const maxTokens = 1 << 31

// tokenCount reads a non-negative integer up to maxTokens. Some write it 7.0.
func tokenCount(kind walkKind, text []byte) (n int64, ok bool) {
	if kind != sawNumber {
		return 0, false
	}
	if whole, fraction, found := bytes.Cut(text, []byte(".")); found && len(bytes.Trim(fraction, "0")) == 0 {
		text = whole
	}
	u, err := strconv.ParseUint(string(text), 10, 32)
	return int64(u), err == nil && u <= maxTokens
}

func (f *facts) seeUsage(path uint64, kind walkKind, text []byte) {
	switch path {
	case idPromptTokens:
		f.counts.set(promptTokens, kind, text)
	case idPromptTokensDetails<<8 | idCachedTokens:
		f.counts.set(promptCached, kind, text)
	case idPromptTokensDetails<<8 | idCacheWriteTokens:
		f.counts.set(promptCacheWrite, kind, text)
	case idPromptCacheHitTokens:
		f.counts.set(promptCacheHit, kind, text)
	case idCompletionTokens:
		f.counts.set(completionTokens, kind, text)
	case idCompletionTokensDetails<<8 | idReasoningTokens:
		f.counts.set(completionReasoning, kind, text)
	case idInputTokens:
		f.counts.set(inputTokens, kind, text)
	case idInputTokensDetails<<8 | idCachedTokens:
		f.counts.set(inputCached, kind, text)
	case idInputTokensDetails<<8 | idCacheWriteTokens:
		f.counts.set(inputCacheWrite, kind, text)
	case idCacheReadInputTokens:
		f.counts.set(cacheReadInput, kind, text)
	case idCacheCreationInputTokens:
		f.counts.set(cacheCreationInput, kind, text)
	case idOutputTokens:
		f.counts.set(outputTokens, kind, text)
	case idOutputTokensDetails<<8 | idReasoningTokens:
		f.counts.set(outputReasoning, kind, text)
	case idOutputTokensDetails<<8 | idThinkingTokens:
		f.counts.set(outputThinking, kind, text)
	case idCacheCreation<<8 | idEphemeral1h:
		f.counts.set(cacheWrite1h, kind, text)
	case idTotalTokens:
		f.counts.set(totalTokens, kind, text)
	}
}
