package server

import "testing"

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
