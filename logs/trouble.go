package logs

import (
	"fmt"
	"io"
	"time"
)

// trouble tells the operator what is wrong with the disk: at once, then at most
// once a minute, and when it is over.
type trouble struct {
	out    io.Writer
	last   time.Time // of the last bad news
	failed time.Time // of the last failed write
	told   bool      // bad news without good news since
	lost   int       // records since the last good news
}

// steady is how long no write may have failed before it is over: on a full disk a
// short record still fits now and then.
const steady = 3 * lookEvery

// report takes the result of a write, and how many records it lost.
func (t *trouble) report(err error, lost int) {
	if err == nil && !t.told {
		return
	}
	now := time.Now()
	if err == nil {
		if now.Sub(t.failed) >= steady {
			fmt.Fprintf(t.out, "proxycast: logs: writing again; records that did not reach the disk: %d\n", t.lost)
			t.told, t.lost = false, 0
		}
		return
	}
	t.lost += lost
	t.failed = now
	if !t.last.IsZero() && now.Sub(t.last) < time.Minute {
		return
	}
	t.last, t.told = now, true
	fmt.Fprintf(t.out, "proxycast: %v; trying again; records that did not reach the disk: %d\n", err, t.lost)
}
