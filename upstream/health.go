package upstream

import (
	"sync"
	"time"
)

// Cooldown says when a target that fails is left alone.
type Cooldown struct {
	After int           `json:"after" default:"3" min:"0" max:"1000000" doc:"Failures in a row after which a target rests. 0: it never does."`
	For   time.Duration `json:"for" default:"30s" doc:"How long it rests; then one request tries it."`
}

// health knows which targets fail. A target rests after some failures in a row;
// then one request probes it, and what becomes of that decides. It outlives
// reloads. Targets that work take no room in it.
type health struct {
	mu      sync.Mutex
	targets map[targetName]*condition
}

type targetName struct{ provider, model string }

type condition struct {
	failures int
	until    time.Time // it rests until then
	probing  bool      // a request is trying whether it works again
}

// maxConditions bounds the memory for failing targets: clients choose the model
// names.
const (
	maxConditions = 4096
	maxModelName  = 256 // bytes of a name that is noted
)

func newHealth() *health { return &health{targets: map[targetName]*condition{}} }

// claim reports whether a request may go to the target: it does not rest. If its
// rest is over, the request is the probe, and others have to wait for its end.
func (h *health) claim(name targetName, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.targets[name]
	if c == nil || c.until.IsZero() {
		return true
	}
	if c.probing || now.Before(c.until) {
		return false
	}
	c.probing = true
	return true
}

// succeeded, failed and abstained note how a request to the target ended; the last
// says nothing about the target.
func (h *health) succeeded(name targetName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.targets, name)
}

func (h *health) failed(name targetName, cooldown Cooldown, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.targets[name]
	if c == nil {
		if len(h.targets) >= maxConditions {
			h.forget(now)
		}
		if len(h.targets) >= maxConditions || len(name.model) > maxModelName {
			return
		}
		c = &condition{}
		h.targets[name] = c
	}
	c.failures++
	c.probing = false
	if cooldown.After > 0 && c.failures >= cooldown.After {
		c.until = now.Add(cooldown.For)
	}
}

// forget makes room: targets that do not rest now are as good as unknown. If all
// rest, the one whose rest ends first goes.
func (h *health) forget(now time.Time) {
	var soonest targetName
	var ends time.Time
	for name, c := range h.targets {
		switch {
		case c.probing:
		case !now.Before(c.until):
			delete(h.targets, name)
		case ends.IsZero() || c.until.Before(ends):
			soonest, ends = name, c.until
		}
	}
	if len(h.targets) >= maxConditions {
		delete(h.targets, soonest)
	}
}

func (h *health) abstained(name targetName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.targets[name]; c != nil {
		c.probing = false
	}
}

// TargetState describes a target that has failed lately.
type TargetState struct {
	Model    string     `json:"model"`
	Failures int        `json:"failures"` // in a row
	Rests    *time.Time `json:"rests_until,omitempty"`
}

// of returns the failing targets of a provider.
func (h *health) of(provider string, now time.Time) (states []TargetState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, c := range h.targets {
		if name.provider != provider {
			continue
		}
		s := TargetState{Model: name.model, Failures: c.failures}
		if now.Before(c.until) {
			until := c.until.UTC()
			s.Rests = &until
		}
		states = append(states, s)
	}
	return states
}
