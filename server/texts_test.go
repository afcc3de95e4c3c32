package server

import (
	"strings"
	"testing"

	"proxycast/logs"
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

// A provider's last error is that of its last attempt, in words, also where one of its own attempts went before.
func TestLastErrorIsTheLast(t *testing.T) {
	m := newMetrics()
	m.observe(&logs.Record{
		Provider: "q", Status: 502, ErrorType: "reply_cut", Error: "the reply was cut", Attempts: 3,
		Tried: []logs.Try{{Provider: "p", Status: 503, ErrorType: "busy"}, {Provider: "q", Status: 504, ErrorType: "timeout"}},
	}, false)
	if e := m.lastError("q"); e == nil || e.Type != "reply_cut" || e.Text != "the reply was cut" {
		t.Errorf("q: %+v", e)
	}
	if e := m.lastError("p"); e == nil || e.Type != "busy" || !strings.Contains(e.Text, "503") {
		t.Errorf("p: %+v", e)
	}
}
