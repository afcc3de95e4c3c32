package logs

import (
	"cmp"
	"math"
	"slices"
)

// histogram counts durations in buckets that each begin growth times as high as the
// one before. It holds the buckets in use, in their order.
type histogram []bar

type bar struct {
	bucket uint8
	count  uint32
}

const (
	growth          = 1.1  // the 256 buckets reach from 1 µs to 10 hours
	percentileError = 0.05 // the square root of growth, less 1, rounded up
)

// bucket returns the bucket of a duration in microseconds, which is growth to the power
// of it.
func bucket(us int64) uint8 {
	return uint8(min(math.Log(float64(max(us, 1)))/math.Log(growth), math.MaxUint8))
}

func (h *histogram) add(bucket uint8, count uint32) {
	i, found := slices.BinarySearchFunc(*h, bucket, func(b bar, bucket uint8) int { return cmp.Compare(b.bucket, bucket) })
	if found {
		(*h)[i].count += count
		return
	}
	*h = slices.Insert(*h, i, bar{bucket, count})
}

func (h *histogram) merge(other histogram) {
	for _, e := range other {
		h.add(e.bucket, e.count)
	}
}

// percentiles is nil if nothing was counted.
func (h histogram) percentiles() *Percentiles {
	if len(h) == 0 {
		return nil
	}
	return &Percentiles{P50: h.percentile(0.50), P95: h.percentile(0.95), P99: h.percentile(0.99)}
}

// percentile returns the middle of the bucket of the lowest duration that the given
// part of all does not exceed, in milliseconds.
func (h histogram) percentile(part float64) float64 {
	var total, passed float64
	for _, e := range h {
		total += float64(e.count)
	}
	for _, e := range h {
		if passed += float64(e.count); passed >= part*total {
			us := math.Pow(growth, float64(e.bucket)+0.5)
			return math.Round(us*10) / 1e4
		}
	}
	return 0
}
