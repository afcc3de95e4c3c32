package upstream

import (
	"sync"
	"time"
)

// health knows which targets fail. A target rests after some failures in a row;
// then one request probes it, and what becomes of that decides. It outlives
// reloads. Targets that work take no room in it.
type health struct {
	mu      sync.Mutex
	targets map[targetName]*condition
	worked  map[string]time.Time // when a call of the provider succeeded last
}

type targetName struct{ provider, model string }

type condition struct {
	failures int       // in a row
	since    time.Time // the first of them
	until    time.Time // it rests until then
	probing  bool      // a request is trying whether it works again
}

// maxConditions bounds the memory for failing targets: clients choose the model
// names.
const (
	maxConditions = 4096
	maxModelName  = 256 // bytes of a name that is noted
)

func newHealth() *health {
	return &health{targets: map[targetName]*condition{}, worked: map[string]time.Time{}}
}

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
func (h *health) succeeded(name targetName, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.targets, name)
	h.worked[name.provider] = now
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
		c = &condition{since: now}
		h.targets[name] = c
	}
	c.failures++
	c.probing = false
	if cooldown.After > 0 && c.failures >= cooldown.After {
		c.until = now.Add(cooldown.For)
	}
}

func (h *health) abstained(name targetName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.targets[name]; c != nil {
		c.probing = false
	}
}

// recovered notes that a target which is being probed works, while its call goes on: others need not wait for the end.
func (h *health) recovered(name targetName, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.targets[name]; c != nil && c.probing {
		delete(h.targets, name)
		h.worked[name.provider] = now
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

// TargetState describes a target that has failed lately.
type TargetState struct {
	Model    string     `json:"model"`
	Failures int        `json:"failures"` // in a row
	Rests    *time.Time `json:"rests_until,omitempty"`
}

// States of a provider.
const (
	stateUntested = "untested" // it was not called yet
	stateReady    = "ready"
	stateDegraded = "degraded" // some of its targets rest, others work
	stateFailing  = "failing"  // no call has succeeded since one failed
	stateDisabled = "disabled"
)

// of returns the state of a provider that is enabled, and its failing targets.
func (h *health) of(provider string, now time.Time) (state string, targets []TargetState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	worked := h.worked[provider]
	failing, resting := false, false
	for name, c := range h.targets {
		if name.provider != provider {
			continue
		}
		s := TargetState{Model: name.model, Failures: c.failures}
		if now.Before(c.until) {
			until := c.until.UTC()
			s.Rests, resting = &until, true
		}
		failing = failing || c.since.After(worked)
		targets = append(targets, s)
	}
	switch {
	case failing:
		return stateFailing, targets
	case resting:
		return stateDegraded, targets
	case worked.IsZero():
		return stateUntested, targets
	}
	return stateReady, targets
}
