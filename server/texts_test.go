package server

import (
	"strings"
	"testing"
)

// No cell of a table is a formula to a spreadsheet, also not in full-width letters, or moves a terminal's cursor.
func TestPlainCell(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "m-1": "m-1", "1=2": "1=2", "=1": "'=1", "+1": "'+1", "-1": "'-1", "@x": "'@x",
		"＝1": "'＝1", "＋1": "'＋1", "－1": "'－1", "＠x": "'＠x",
		"a\nb": `a\u000ab`, "\u202ea": `\u202ea`, "\u200fa": `\u200fa`, "\ufeff=1": `\ufeff=1`, "\u061ca": `\u061ca`,
	} {
		if got := plainCell(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestTraceID(t *testing.T) {
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	for header, want := range map[string]string{
		"00-" + id + "-00f067aa0ba902b7-01": id, "cc-" + id + "-00f067aa0ba902b7-01-more": id,
		"": "", "00": "", id: "", "ff-" + id + "-00f067aa0ba902b7-01": "", "00-" + id[1:] + "-x": "", "00-" + strings.ToUpper(id) + "-x": "",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01": "",
	} {
		if got := traceID(header); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}
