package server

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"time"
)

// Memory: how much of it the heap may take before it is collected more often, and what is given back after a busy time.

const (
	memoryEvery      = time.Second
	tidyEvery        = 10       // of memoryEvery
	baseMemory       = 96 << 20 // bytes beside server.max_inflight_bytes
	memoryConnection = 64 << 10 // bytes for each connection beyond freeConnections
	freeConnections  = 500      // that baseMemory has room for
	memoryStep       = 16 << 20 // a smaller change of the limit is not made, since each stops the world
)

// mindMemory keeps the heap in proportion to what is configured and connected, until ctx ends. GOMEMLIMIT sets
// another limit.
func (s *Server) mindMemory(ctx context.Context) {
	_, limited := os.LookupEnv("GOMEMLIMIT")
	look := time.NewTicker(memoryEvery)
	defer look.Stop()
	tidied, limit := int64(0), int64(0)
	for turn := 0; ; turn++ {
		if now := s.memoryLimit(); !limited && now != limit {
			limit = now
			debug.SetMemoryLimit(limit)
		}
		if turn%tidyEvery == tidyEvery-1 {
			tidied = s.tidy(tidied)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// memoryLimit returns the bytes above which the heap is collected as often as it takes.
func (s *Server) memoryLimit() int64 {
	connections := max(0, s.connections.Load()-freeConnections) * memoryConnection / memoryStep * memoryStep
	inflight := s.gateway.Load().config.Server.MaxInflightBytes
	return min(inflight, math.MaxInt64/2) + baseMemory + connections
}

// tidy frees memory once the requests of a busy time are over: the pools and the
// heap that they needed would stay otherwise. before is the count of requests at the
// last look; tidy returns the present one, negative when there is nothing left to do.
func (s *Server) tidy(before int64) int64 {
	now := s.answered.Load()
	switch {
	case now != before && now != -before, s.inFlight.Load() > 0: // busy
		return now
	case before > 0:
		debug.FreeOSMemory() // the first collection empties the pools,
		debug.FreeOSMemory() // the second frees what was in them
		return -now
	}
	return before
}
