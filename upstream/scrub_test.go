package upstream

import (
	"bytes"
	"strings"
	"testing"
)

// However a stream is split, no credential passes, nothing else changes, and a
// complete line is never held back.
func TestScrubber(t *testing.T) {
	secrets := []secret{{"sk-abcabd", []byte("sk-abcabd")}, {"abcabx", []byte("abcabx")}}
	for _, c := range []struct{ in, want string }{
		{"data: hello\n\n", "data: hello\n\n"},
		{"a sk-abcabd b sk-abcabdsk-abcabd\n", "a ********* b ******************\n"},
		{"sk-abcab", "sk-abcab"},
		{"sk-abcsk-abcabd abcabcabx\n", "sk-abc********* abc******\n"},
		{"s\nsk-abcab\nd", "s\nsk-abcab\nd"},
	} {
		for size := 1; size <= len(c.in); size++ {
			var out bytes.Buffer
			s := &scrubber{w: &out, secrets: secrets}
			for rest := c.in; rest != ""; {
				n := min(size, len(rest))
				if _, err := s.Write([]byte(rest[:n])); err != nil {
					t.Fatal(err)
				}
				if strings.HasSuffix(rest[:n], "\n") && len(s.held) > 0 {
					t.Errorf("%q in pieces of %d: a complete line is held", c.in, size)
				}
				rest = rest[n:]
			}
			s.Close()
			if out.String() != c.want {
				t.Errorf("%q in pieces of %d: got %q", c.in, size, &out)
			}
		}
	}
}
