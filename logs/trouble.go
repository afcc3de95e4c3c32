package logs

import (
	"fmt"
	"io"
	"time"
)

// trouble tells the operator what is wrong with the disk: at once, then at most
// once a minute, and when it is over.
type trouble struct {
	out  io.Writer
	last time.Time // of the last bad news
	told bool      // bad news without good news since
	lost int       // records since all was well
}

// report takes the result of a write, and how many records it lost.
func (t *trouble) report(err error, lost int) {
	if err == nil {
		if t.told {
			fmt.Fprintf(t.out, "proxycast: logs: writing again; records that did not reach the disk: %d\n", t.lost)
		}
		t.told, t.lost = false, 0
		return
	}
	t.lost += lost
	if !t.last.IsZero() && time.Since(t.last) < time.Minute {
		return
	}
	t.last, t.told = time.Now(), true
	fmt.Fprintf(t.out, "proxycast: %v; trying again; records that did not reach the disk: %d\n", err, t.lost)
}
