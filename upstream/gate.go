package upstream

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// gate lets a bounded number of calls of one provider run at a time, and as many
// times queueFactor wait. A nil gate lets all pass.
type gate struct {
	slots   *semaphore.Weighted
	waiting atomic.Int64
	most    int64
}

const queueFactor = 4

// newGate returns a gate of so many places; 0 is no limit.
func newGate(slots int) *gate {
	if slots <= 0 {
		return nil
	}
	return &gate{slots: semaphore.NewWeighted(int64(slots)), most: int64(slots) * queueFactor}
}

// enter waits for a place. full tells that too many are waiting already; err is
// that of ctx. leave gives the place back.
func (g *gate) enter(ctx context.Context) (full bool, err error) {
	if g == nil || g.slots.TryAcquire(1) {
		return false, nil
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > g.most {
		return true, nil
	}
	return false, g.slots.Acquire(ctx, 1)
}

func (g *gate) leave() {
	if g != nil {
		g.slots.Release(1)
	}
}
