package logs

import (
	"sync"
	"time"
)

// tallyCache keeps the tallies of whole rotated files; nil says that one cannot be
// kept. The zero value is ready.
type tallyCache struct {
	mu    sync.Mutex
	kept  map[tallyKey]*tally
	order []tallyKey // oldest first
	size  int
}

type tallyKey struct {
	path string
	step time.Duration
	by   Grouping
}

const maxTallies = 8 << 20 // bytes, about

func (c *tallyCache) get(key tallyKey) (t *tally, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, known = c.kept[key]
	return t, known
}

// put keeps t, which must not change any more, and lets the oldest go for it.
func (c *tallyCache) put(key tallyKey, t *tally) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil {
		c.kept = make(map[tallyKey]*tally)
	}
	if _, known := c.kept[key]; known {
		return
	}
	c.kept[key] = t
	c.order = append(c.order, key)
	c.size += t.size()
	for c.size > maxTallies {
		c.size -= c.kept[c.order[0]].size()
		delete(c.kept, c.order[0])
		c.order = c.order[1:]
	}
}
