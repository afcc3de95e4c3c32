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

// after returns the block in which the rows of higher seq than the given one begin, and
// the block after it. lost is how many rows between seq and the oldest row the ring let
// go.
func (r *ring) after(seq uint64) (blocks [2][]byte, lost uint64) {
	if seq >= r.newest {
		return blocks, 0
	}
	i := len(r.blocks) - 1
	first := firstSeq(r.blocks[i])
	for i > 0 && first > seq+1 {
		i--
		first = firstSeq(r.blocks[i])
	}
	copy(blocks[:], r.blocks[i:])
	return blocks, max(first, seq+1) - seq - 1
}

// rowsAfter returns at most limit rows of blocks, those of higher seq than the given one.
func rowsAfter(seq uint64, blocks [2][]byte, limit int) (rows []Row) {
	for _, block := range blocks {
		for line := range bytes.Lines(block) {
			line = bytes.TrimSuffix(line, newline)
			if at, ok := lineSeq(line); ok && at > seq {
				rows = append(rows, Row{at, line})
			}
			if len(rows) == limit {
				return rows
			}
		}
	}
	return rows
}

func firstSeq(block []byte) uint64 {
	line, _, _ := bytes.Cut(block, newline)
	seq, _ := lineSeq(line)
	return seq
}
