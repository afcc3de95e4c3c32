package logs

import (
	"bytes"
	"slices"
)

// ring is the newest rows, as blocks of lines. What stands in a block is never
// changed, so that its bytes are handed out without copying. The Store's lock guards
// it.
type ring struct {
	limit  int
	blocks [][]byte // oldest first; whole lines, each with its newline
	rows   int      // in all blocks
	newest uint64   // seq of the last row; 0: none
}

const ringBlock = 32 << 10

// add takes a line, which ends with a newline; its seq is the highest yet.
func (r *ring) add(seq uint64, line []byte) {
	last := len(r.blocks) - 1
	if last < 0 || cap(r.blocks[last])-len(r.blocks[last]) < len(line) {
		r.blocks = append(r.blocks, make([]byte, 0, max(ringBlock, len(line))))
		last++
	}
	r.blocks[last] = append(r.blocks[last], line...)
	r.newest = seq
	if r.rows++; r.rows > r.limit {
		r.dropOldest()
	}
}

func (r *ring) dropOldest() {
	oldest := r.blocks[0]
	r.blocks[0] = oldest[bytes.IndexByte(oldest, '\n')+1:]
	if r.rows--; len(r.blocks[0]) == 0 {
		r.blocks = slices.Delete(r.blocks, 0, 1)
	}
}

// after returns at most limit rows of higher seq than the given one, oldest first.
// lost is how many rows between seq and the first of them the ring let go.
func (r *ring) after(seq uint64, limit int) (rows []Row, lost uint64) {
	if seq >= r.newest {
		return nil, 0
	}
	i := len(r.blocks) - 1
	for i > 0 && firstSeq(r.blocks[i]) > seq+1 {
		i--
	}
	if first := firstSeq(r.blocks[i]); first > seq+1 {
		lost = first - seq - 1
	}
	for _, block := range r.blocks[i:] {
		for line := range bytes.Lines(block) {
			line = bytes.TrimSuffix(line, newline)
			if at, ok := lineSeq(line); ok && at > seq {
				rows = append(rows, Row{at, line})
			}
			if len(rows) == limit {
				return rows, lost
			}
		}
	}
	return rows, lost
}

func firstSeq(block []byte) uint64 {
	line, _, _ := bytes.Cut(block, newline)
	seq, _ := lineSeq(line)
	return seq
}
