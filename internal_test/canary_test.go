// Canaries: what is said in confidence reaches nothing that the gateway keeps or
// shows, and what a client may name stays data wherever it is shown.
package gateway_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"proxycast/internal_test/harness"
)

// oddNames are model names that mean something to JSON, CSV, HTML, a terminal, the
// SSE or the Prometheus format.
var oddNames = []string{
	`quote"back\slash`, "line\nbreak\r\n\r\ndata: x", "tab\tand\x01", "tab\tand\x02", "\x1b[31mred\x1b[0m", "del\x7fc1\u0085\u009b31m", "sep\u2028\u2029",
	"turn\u202earound\u2066", "<script>alert(1)</script>&amp;", "=cmd|' /C calc'!A0", "@x,y;z", "-1", "+1", "\t=1", "\n=1", `{"a":1}`, `"} 1`, "世界",
}

// harmless fails for any character of text that could act on a terminal or end a
// line where none ends.
func harmless(t testing.TB, what, text string) {
	t.Helper()
	for i, r := range text {
		if r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			t.Errorf("%s: %U stands in %q", what, r, text[max(0, i-40):min(len(text), i+40)])
			return
		}
	}
}

// escapes is text as it stands where a control character may not.
func escapes(text string) string {
	return regexp.MustCompile("[\x00-\x1f\x7f-\u009f\u2028-\u202e\u2066-\u2069]").ReplaceAllStringFunc(text, func(control string) string {
		return fmt.Sprintf(`\u%04x`, []rune(control)[0])
	})
}

// Whatever a client calls a model, every format gives it back as a name.
func TestOddNames(t *testing.T) {
	noSleep(t)
	p := harness.NewProvider(t, kindly)
	g := start(t, relayTo(p, "openai"))
	f := g.follow(t, "", 0)
	for _, name := range oddNames {
		if r := g.Send(t, "POST", "/v1/chat/completions", `{"model":`+quoted(name)+`}`); r.Status != 200 {
			t.Fatalf("%q: %d %s", name, r.Status, r.Body)
		}
	}
	names := func(what string, rows []record) {
		t.Helper()
		var got []string
		for _, rec := range rows {
			got = append(got, rec.Model)
		}
		if !slices.Equal(got, oddNames) {
			t.Errorf("%s gives %q", what, got)
		}
	}
	names("the file", g.Records(t))
	harmless(t, "the file", readText(t, g.LogFile()))
	names("follow", f.rows(t, len(oddNames)))

	for _, format := range []string{"json", "jsonl", "csv"} {
		r := g.Send(t, "GET", "/_logs?format="+format, "", "Authorization: Bearer "+harness.AdminKey)
		harmless(t, format, string(r.Body))
		if strings.Count(string(r.Body), "\n") > len(oddNames)+1 {
			t.Errorf("%s has %d lines", format, strings.Count(string(r.Body), "\n"))
		}
		if kind := r.Header.Get("Content-Type"); strings.Contains(kind, "html") || r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s is sent as %s", format, kind)
		}
		var rows []record
		switch format {
		case "json":
			var page struct{ Data []record }
			if err := json.Unmarshal(r.Body, &page); err != nil {
				t.Fatal(err)
			}
			rows = page.Data
		case "jsonl":
			for line := range strings.Lines(string(r.Body)) {
				var rec record
				if err := json.Unmarshal([]byte(line), &rec); err != nil {
					t.Fatal(err)
				}
				rows = append(rows, rec)
			}
		case "csv":
			table := csv.NewReader(strings.NewReader(string(r.Body)))
			head, _ := table.Read()
			column := slices.Index(head, "model")
			for i := len(oddNames) - 1; i >= 0; i-- {
				row, err := table.Read()
				if err != nil {
					t.Fatal(err)
				}
				want := escapes(oddNames[i])
				if strings.ContainsAny(want[:1], "=+-@") {
					want = "'" + want
				}
				if row[column] != want {
					t.Errorf("csv gives %q, want %q", row[column], want)
				}
			}
			if _, err := table.Read(); err != io.EOF {
				t.Error("csv goes on")
			}
			continue
		}
		slices.Reverse(rows)
		names(format, rows)
	}
	for _, name := range oddNames {
		if strings.Contains(name, ",") { // it would be two
			continue
		}
		if rows, _ := g.page(t, "model="+url.QueryEscape(name)); len(rows) != 1 || rows[0].Model != name {
			t.Errorf("the filter %q finds %+v", name, rows)
		}
	}
	stats := g.Send(t, "GET", "/_stats?by=model,key", "", "Authorization: Bearer "+harness.AdminKey)
	harmless(t, "stats", string(stats.Body))
	var grouped []string
	for _, group := range g.stats(t, "by=model,key").Groups {
		grouped = append(grouped, *group.Model)
	}
	want := slices.Sorted(slices.Values(oddNames))
	if slices.Sort(grouped); !slices.Equal(grouped, want) {
		t.Errorf("stats has groups of %q", grouped)
	}
	text := g.exposed(t)
	harmless(t, "metrics", text)
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "# ") && !strings.HasPrefix(line, "proxycast_") && !strings.HasPrefix(line, "go_") && !strings.HasPrefix(line, "process_") {
			t.Errorf("metrics: %q", line)
		}
	}
	table := g.terminal(t, "logs", "limit=1000")
	harmless(t, "the table", uncoloured(table))
	if n := strings.Count(table, "\n"); n != len(oddNames)+1 {
		t.Errorf("the table has %d lines:\n%s", n, table)
	}
	piped := g.piped(t, "logs", "limit=1000")
	harmless(t, "the piped log", piped)
	if n := strings.Count(piped, "\n"); n != len(oddNames) {
		t.Errorf("the piped log has %d lines", n)
	}
}

// Nothing that a client says beside the model's name is kept or shown: no key, body,
// query or header, whether the request is good, bad or refused.
func TestCanaries(t *testing.T) {
	p := harness.NewProvider(t, kindly)
	g := start(t, relayTo(p, "openai"))
	f := g.follow(t, "", 0)
	n, sent := 0, []string{}
	canary := func(where string) string {
		n++
		sent = append(sent, fmt.Sprintf("CANARY-%s-%d-X", where, n))
		return sent[len(sent)-1]
	}
	body := func() string {
		return `{"model":"m-1","messages":[{"role":"user","content":"` + canary("body") + `"}],"` + canary("field") + `":1,"user":"` + canary("user") + `"}`
	}
	secret := func() []string {
		return []string{"X-Secret: " + canary("header"), "Cookie: s=" + canary("cookie"), "Referer: http://h/" + canary("referer"),
			"Proxy-Authorization: Basic " + canary("proxy"), "Anthropic-Beta: " + canary("beta"), "X-Forwarded-For: " + canary("forwarded")}
	}
	query := func() string { return "?" + canary("name") + "=1&q=" + canary("query") }
	send := func(method, path, body string, header ...string) {
		g.Send(t, method, path, body, append(secret(), header...)...)
	}
	const chat = "/v1/chat/completions"
	send("POST", chat+query(), body())
	send("POST", chat+query(), strings.Replace(body(), "{", `{"stream":true,`, 1))
	send("POST", "/v1/messages"+query(), body())
	send("POST", "/v1/responses"+query(), body())
	send("POST", "/v1/embeddings"+query(), body())
	send("POST", "/v1/completions"+query(), body())
	send("GET", "/v1/models"+query(), "")
	send("GET", "/v1/nothing"+query(), "")
	send("DELETE", chat+query(), "")
	send("POST", chat+query(), body()+canary("trailing"))
	send("POST", chat+query(), `{"model":"m-1",`+canary("invalid"))
	send("POST", chat+query(), `{"model":{"x":"`+canary("object")+`"}}`)
	send("POST", chat+query(), `{"messages":"`+canary("modelless")+`"}`)
	send("POST", chat+query(), body(), "Content-Type: text/"+canary("type"))
	send("POST", chat+query(), body(), "Content-Encoding: "+canary("encoding"))
	send("POST", chat+query(), body(), "Expect: "+canary("expect"))
	send("POST", chat+query(), body(), "Authorization: Bearer "+canary("key"))
	send("POST", chat+query(), body(), "Authorization: "+canary("scheme")+" x")
	send("POST", chat+query(), body(), "X-Api-Key: "+canary("otherkey"))
	send("POST", chat+query(), body(), "Authorization:", "X-Api-Key: "+canary("xkey"))
	g.Raw(t, []byte("GET /v1/models"+query()+" HTTP/1.1\r\nHost: "+canary("host")+"\r\nAuthorization: Bearer "+harness.UserKey+"\r\n\r\n"), 0)
	admin := "Authorization: Bearer " + harness.AdminKey
	for _, bad := range []string{"status=", "since=", "min_ms=", "stream=", "limit=", "cursor=", "format=", "follow=", "nonsense="} {
		send("GET", "/_logs?"+bad+canary("filter"), "", admin)
	}
	send("GET", "/_logs?"+canary("parameter")+"=1", "", admin)
	send("GET", "/_logs?follow=1", "", admin, "Last-Event-ID: "+canary("lastid"))
	send("GET", "/_logs?q="+canary("q"), "", admin)
	for _, bad := range []string{"window=", "step=", "by=", "nonsense="} {
		send("GET", "/_stats?"+bad+canary("stats"), "", admin)
	}
	send("GET", "/_logs?q="+canary("refused"), "")
	send("GET", "/_status"+query(), "", "Authorization: Bearer "+canary("adminkey"))

	all := g.Records(t)
	followed, _ := json.Marshal(f.rows(t, len(all)))
	kept := map[string]string{
		"file": readText(t, g.LogFile()), "stderr": g.Stderr.String(), "stdout": g.Stdout.String(), "follow": string(followed), "metrics": g.exposed(t),
	}
	for _, path := range []string{"/_logs?limit=1000", "/_logs?format=csv", "/_stats?by=model,provider,key&step=1m", "/_status"} {
		kept[path] = string(g.Send(t, "GET", path, "", admin).Body)
	}
	for place, text := range kept {
		for _, canary := range append(sent, harness.AdminKey, harness.UserKey, harness.ProviderKey, "nobodys-key") {
			if at := strings.Index(strings.ToLower(text), strings.ToLower(canary)); at >= 0 {
				t.Errorf("%s stands in %s: …%s", canary, place, text[max(0, at-100):min(len(text), at+60)])
			}
		}
	}
	t.Logf("%d canaries in %d records", len(sent), len(all))
}
