package logs

import (
	"bytes"
	"errors"
	"io"
	"os"
)

// backward reads a file of lines from its end, in blocks of whole lines.
type backward struct {
	file  *os.File
	end   int64 // where the next block ends
	space []byte
	lines [][]byte
}

// blockSize holds any line of ours. A longer line is damaged and comes in pieces.
const blockSize = 256 << 10

func (b *backward) reset(file *os.File, end int64) {
	b.file, b.end = file, end
	if b.space == nil {
		b.space = make([]byte, blockSize)
	}
}

// block gives the lines, without newlines and in the order of the file, of the
// block that ends at end, and moves end to where it begins. The lines are good
// until the next call. A file that became shorter meanwhile has fewer lines.
func (b *backward) block() ([][]byte, error) {
	from := max(b.end-blockSize, 0)
	n, err := b.file.ReadAt(b.space[:b.end-from], from)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	block := b.space[:n]
	b.end = from
	if from > 0 { // it begins within a line, which is left to the next block
		if start := bytes.IndexByte(block, '\n') + 1; 0 < start && start < n {
			block = block[start:]
			b.end += int64(start)
		}
	}
	b.lines = b.lines[:0]
	for len(block) > 0 {
		line, rest, _ := bytes.Cut(block, newline)
		b.lines = append(b.lines, line)
		block = rest
	}
	return b.lines, nil
}

// offsetBefore gives an offset before which stand all lines of lower seq than
// before, found in few reads. Some lines of no lower seq may stand there too.
func offsetBefore(file *os.File, size int64, before uint64) int64 {
	space := make([]byte, blockSize/4)
	low, high := int64(0), size // lines that begin below low are of lower seq, from high on of no lower one
	for high-low > int64(len(space)) {
		middle := low + (high-low)/2
		n, _ := file.ReadAt(space, middle)
		start, seq := firstRow(space[:n])
		if at := middle + int64(start); seq == 0 || at >= high {
			break
		} else if seq < before {
			low = at + 1
		} else {
			high = at
		}
	}
	return high
}

// firstRow finds the first row that begins after a newline in block; seq is 0 if
// there is none.
func firstRow(block []byte) (start int, seq uint64) {
	for {
		i := bytes.IndexByte(block[start:], '\n')
		if i < 0 {
			return 0, 0
		}
		start += i + 1
		line, _, whole := bytes.Cut(block[start:], newline)
		if seq, ok := lineSeq(line); ok && whole {
			return start, seq
		}
	}
}
