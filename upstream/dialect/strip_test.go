package dialect_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"proxycast/upstream/dialect"
)

// strip returns what passes a Stripper, and the sizes of the writes before Close.
func strip(pieces []string) (out string, writes []int) {
	var w countingWriter
	s := dialect.NewStripper(dialect.NewSniffer(dialect.ChatCompletions, true), &w)
	for _, p := range pieces {
		if n, err := s.Write([]byte(p)); n != len(p) || err != nil {
			panic("a Stripper failed without cause")
		}
	}
	writes = slices.Clone(w.writes)
	if err := s.Close(); err != nil {
		panic(err)
	}
	return w.String(), writes
}

type countingWriter struct {
	bytes.Buffer
	writes []int
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.writes = append(w.writes, len(p))
	return w.Buffer.Write(p)
}

var stripShapes = []struct {
	name              string
	before, gone, end string
}{
	{"the usage event", events(roleChunk, helloChunk, finishChunk), events(usageChunk), events("[DONE]")},
	{"at the end", events(helloChunk), events(usageChunk), ""},
	{"alone", "", events(usageChunk), ""},
	{"after a comment of its own", events(helloChunk) + ": keep alive\n", events(usageChunk), events("[DONE]")},
	{"with a name and a comment inside", "", "event: chunk\n: inside\n" + events(usageChunk), events("[DONE]")},
	{"choices are null", "", events(`{"choices":null,"usage":{}}`), ""},
	{"only the first", events(helloChunk), events(usageChunk), events(usageChunk, "[DONE]") + "data: {"},
	{"with blank lines around", events(helloChunk) + "\n\n", events(usageChunk), "\n\n" + events("[DONE]")},
	{"in 16 KiB", "", "data: " + strings.Repeat(" ", 16<<10-6-len(usageChunk)-2) + usageChunk + "\n\n", events("[DONE]")},
	{"nothing: larger than 16 KiB", "data: " + strings.Repeat(" ", 16<<10) + usageChunk + "\n\n: c\n\n", "", events("[DONE]")},
	{"nothing: Azure's first chunk", events(azureChunk, helloChunk), "", events("[DONE]")},
	{"nothing: usage is null", events(`{"choices":[],"usage":null}`), "", ""},
	{"nothing: usage with choices", events(`{"choices":[{"index":0,"delta":{}}],"usage":{"prompt_tokens":1}}`), "", ""},
	{"nothing: usage without choices", events(`{"usage":{"prompt_tokens":1}}`), "", ""},
	{"nothing: usage elsewhere", events(`{"choices":[],"x_groq":{"usage":{"prompt_tokens":1}}}`), "", ""},
	{"nothing: an error", events(`{"choices":[],"usage":{},"error":{"message":"m"}}`), "", ""},
	{"nothing: not JSON", events(usageChunk + "}"), "", ""},
	{"nothing: cut", events(helloChunk) + "data: " + usageChunk + "\n", "", ""},
}

func TestStripper(t *testing.T) {
	for _, s := range stripShapes {
		for _, end := range []string{"\n", "\r\n", "\r"} {
			if len(s.gone) == 16<<10 && end != "\n" {
				continue // the size is exact for '\n'
			}
			t.Run(s.name+" "+strings.NewReplacer("\n", "LF", "\r", "CR").Replace(end), func(t *testing.T) {
				line := strings.NewReplacer("\n", end)
				want := line.Replace(s.before + s.end)
				for _, pieces := range splits(line.Replace(s.before + s.gone + s.end)) {
					if got, _ := strip(pieces); got != want {
						t.Fatalf("in %d pieces:\ngot  %q\nwant %q", len(pieces), got, want)
					}
				}
			})
		}
	}
}

func TestStripperWrites(t *testing.T) {
	hello, usage, done := events(helloChunk), events(usageChunk), events("[DONE]")
	large := "data: " + strings.Repeat("x", 20<<10)
	f := func(name string, pieces []string, want ...int) {
		t.Helper()
		if _, got := strip(pieces); !slices.Equal(got, want) {
			t.Errorf("%s: writes of %v bytes, want %v", name, got, want)
		}
	}
	f("events that are complete pass together", []string{hello + hello + hello}, 3*len(hello))
	f("a comment passes at once", []string{": keep alive\n"}, 13)
	f("an unfinished event waits", []string{hello + hello[:50]}, len(hello))
	f("and passes with its end", []string{hello + hello[:50], hello[50:] + hello}, len(hello), 50, 2*len(hello)-50)
	f("around the usage event", []string{hello + usage + done}, len(hello), len(done))
	f("after the usage event nothing waits", []string{usage, hello[:50], hello[50:]}, 50, len(hello)-50)
	f("a large event passes as it comes", []string{large[:10<<10], large[10<<10 : 17<<10], large[17<<10:], "\n\n"}, 10<<10, 7<<10, len(large)-17<<10, 2)
}

func TestStripperErrors(t *testing.T) {
	hello, usage := events(helloChunk), events(usageChunk)
	f := func(name string, room int, pieces []string, want int) {
		t.Helper()
		w := &narrowWriter{room: room}
		s := dialect.NewStripper(dialect.NewSniffer(dialect.ChatCompletions, true), w)
		var n int
		var err error
		for _, p := range pieces {
			if err != nil {
				t.Fatalf("%s: an error before the last piece", name)
			}
			n, err = s.Write([]byte(p))
		}
		if n != want || !errors.Is(err, errNarrow) {
			t.Errorf("%s: took %d, %v; want %d, %v", name, n, err, want, errNarrow)
		}
	}
	f("in the first event", 7, []string{hello}, 7)
	f("in what was held", 7, []string{hello[:20], hello[20:]}, 0)
	f("behind what was held", 27, []string{hello[:20], hello[20:]}, 7)
	f("behind the usage event", len(hello)+7, []string{hello + usage + hello}, len(hello+usage)+7)

	s := dialect.NewStripper(dialect.NewSniffer(dialect.ChatCompletions, true), &narrowWriter{})
	s.Write([]byte("data: {"))
	if err := s.Close(); !errors.Is(err, errNarrow) {
		t.Errorf("Close: %v, want %v", err, errNarrow)
	}
}

var errNarrow = errors.New("no room")

// narrowWriter fails when its room is used up.
type narrowWriter struct{ room int }

func (w *narrowWriter) Write(p []byte) (int, error) {
	n := min(len(p), w.room)
	w.room -= n
	if n < len(p) {
		return n, errNarrow
	}
	return n, nil
}

func FuzzStripper(f *testing.F) {
	for _, s := range stripShapes {
		f.Add([]byte(s.before+s.gone+s.end), uint64(1))
		f.Add([]byte(strings.ReplaceAll(s.before+s.gone+s.end, "\n", "\r\n")), uint64(2))
	}
	for _, s := range streamShapes {
		f.Add([]byte(s.text), uint64(3))
	}
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		want := withoutUsageEvent(string(text))
		for _, pieces := range [][]string{{string(text)}, randomSplit(string(text), seed)} {
			if got, _ := strip(pieces); got != want {
				t.Errorf("in %d pieces:\ngot  %q\nwant %q", len(pieces), got, want)
			}
		}
	})
}

// withoutUsageEvent does the same as a Stripper, the simple way.
func withoutUsageEvent(text string) string {
	parsed, _ := parseStream(text)
	at := 0
	for _, ev := range parsed {
		at += strings.Index(text[at:], ev.raw)
		end := at + len(ev.raw)
		doc := decode(ev.data)
		_, usage := doc["usage"].(map[string]any)
		choices, has := doc["choices"]
		_, array := choices.([]any)
		empty := has && (choices == nil || array && len(list(choices)) == 0)
		if usage && empty && doc["error"] == nil && doc["type"] != "error" && len(ev.raw) <= 16<<10 {
			if strings.HasSuffix(ev.raw, "\r") && strings.HasPrefix(text[end:], "\n") {
				end++
			}
			return text[:at] + text[end:]
		}
		at = end
	}
	return text
}
