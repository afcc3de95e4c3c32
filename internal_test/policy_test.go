// Policy: what those without a key may write into the log, who a client is behind a
// proxy, how often a login may fail, and the trace that operators leave.
package gateway_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// counted adds up the requests that the rows stand for.
func counted(rows []record) (n int64) {
	for _, rec := range rows {
		n += max(rec.Count, 1)
	}
	return n
}

// Refusals without a key are recorded one by one up to a burst of 1,000, and then ten a
// second; the others are added up.
func TestRefusalsAreAddedUp(t *testing.T) {
	const all = 4000
	g := start(t, object{})
	begin := time.Now()
	var sent atomic.Int64
	together(8, func() {
		for sent.Add(1) <= all {
			r, err := g.Try(g.Request(t.Context(), "POST", "/v1/chat/completions", chatRequest, "Authorization: Bearer wrong-key-0123456789"))
			if err != nil || r.Status != 401 {
				t.Errorf("%v %d %s", err, r.Status, r.Body)
			}
		}
	})
	harness.Eventually(t, "all requests are in the log", func() bool { return counted(g.Records(t)) == all })
	took := time.Since(begin)
	rows := g.Records(t)
	single := 0
	for _, rec := range rows {
		if rec.Count == 0 {
			single++
		}
		if rec.Status != 401 || rec.Key != "" || rec.Count != 0 && (rec.Path != "" || rec.Model != "" || rec.Client != "") {
			t.Errorf("record: %+v", rec)
		}
	}
	if seconds := int(took.Seconds()) + 1; single < 1000 || single > 1000+10*seconds || len(rows)-single > seconds+1 {
		t.Errorf("%d single rows and %d sums in %v", single, len(rows)-single, took)
	}
	if s := g.stats(t, "window=1h"); s.Requests != 0 {
		t.Errorf("the statistics have %d requests", s.Requests)
	}
	if s := g.stats(t, "window=1h&key=*"); s.Requests != all {
		t.Errorf("asked for, the statistics have %d requests", s.Requests)
	}
	if n := g.metric(t, "proxycast_requests_total"); n != all {
		t.Errorf("the metrics have %v requests", n)
	}
	g.SecretFree(t, "wrong-key-0123456789")
}

// Whoever has no key cannot flush the log.
func TestRefusalsDoNotFlushTheLog(t *testing.T) {
	g := start(t, object{})
	refused := wireRequest("POST", "/v1/chat/completions", "", "Authorization: Bearer wrong-key-0123456789", "Connection:")
	stop := time.Now().Add(2 * time.Second)
	together(4, func() {
		conn, err := net.Dial("tcp", g.Addr)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(stop)
		go func() {
			for err := error(nil); err == nil; {
				_, err = io.WriteString(conn, strings.Repeat(refused, 100))
			}
		}()
		_, _ = io.Copy(io.Discard, conn)
	})
	info, err := os.Stat(g.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v refused requests, %d KiB of log", g.metric(t, "proxycast_requests_total"), info.Size()>>10)
	if info.Size() > 2<<20 {
		t.Errorf("the log has grown by %d bytes", info.Size())
	}
}

// The peer is the right-most address of X-Forwarded-For that is no trusted proxy.
func TestTrustedProxies(t *testing.T) {
	trusting := start(t, object{"server": object{"trusted_proxies": list{"127.0.0.1", "10.0.0.0/8", "2001:db8::/32"}}})
	plain := start(t, object{})
	f := func(want string, forwarded ...string) {
		t.Helper()
		var header []string
		for _, value := range forwarded {
			header = append(header, "+X-Forwarded-For: "+value)
		}
		for g, want := range map[*gateway]string{trusting: want, plain: "127.0.0.1"} {
			request := wireRequest("GET", "/v1/models", "")
			request = strings.Replace(request, "\r\n\r\n", "\r\n"+strings.ReplaceAll(strings.Join(append(header, ""), "\r\n"), "+X", "X")+"\r\n", 1)
			if r := g.Raw(t, []byte(request), 0); r.Status != 200 {
				t.Fatalf("%d %s", r.Status, r.Body)
			}
			if rec := g.Next(t); rec.Remote != want {
				t.Errorf("%q: the peer is %s, want %s", forwarded, rec.Remote, want)
			}
		}
	}
	f("127.0.0.1")
	f("127.0.0.1", "")
	f("127.0.0.1", ",, ,")
	f("127.0.0.1", "garbage")
	f("203.0.113.7", "203.0.113.7")
	f("203.0.113.7", "  203.0.113.7\t")
	f("203.0.113.7", "203.0.113.7, 10.0.0.1")
	f("203.0.113.7", "198.51.100.1, 203.0.113.7,10.0.0.1, 10.9.9.9")
	f("203.0.113.7", "198.51.100.1", "203.0.113.7", "10.0.0.1")
	f("10.0.0.1", "203.0.113.7, garbage, 10.0.0.1")
	f("10.0.0.1", "10.0.0.1")
	f("203.0.113.7", "203.0.113.7:5123")
	f("203.0.113.7", "::ffff:203.0.113.7, ::ffff:10.0.0.1")
	f("2a00::1", "2a00::1, 2001:db8::5")
	f("2a00::1", "[2a00::1]:443, [2001:db8::5]:443")
	f("2a00::1", "[2a00::1]")
	f("fe80::1", "fe80::1%eth0")
	f("127.0.0.1", "203.0.113.7/8")
	f("127.0.0.1", strings.Repeat("1", 5000))
	f("203.0.113.7", "203.0.113.7, "+strings.Repeat("10.0.0.1, ", 500)+"10.0.0.1")
}

// After ten failures a minute an address has to wait, behind a trusted proxy, too.
func TestLoginIsSlowed(t *testing.T) {
	login := func(g *gateway, key, from string) reply {
		t.Helper()
		return g.Send(t, "POST", "/_ui/login", fmt.Sprintf(`{"key":%q}`, key), "Authorization:", "X-Forwarded-For: "+from)
	}
	fail := func(g *gateway, n int, from func(i int) string) {
		t.Helper()
		for i := range n {
			key, status := "wrong-key-0123456789", 401
			if i%2 == 1 {
				key, status = harness.UserKey, 403
			}
			if r := login(g, key, from(i)); r.Status != status {
				t.Errorf("try %d: %d %s", i, r.Status, r.Body)
			}
		}
	}
	slowed := func(g *gateway, from string) {
		t.Helper()
		r := login(g, harness.AdminKey, from)
		after, _ := strconv.Atoi(r.Header.Get("Retry-After"))
		if r.Status != 429 || after < 1 || after > 61 || len(r.Header["Set-Cookie"]) > 0 {
			t.Errorf("%d, retry-after %d: %s", r.Status, after, r.Body)
		}
	}
	plain := start(t, object{})
	fail(plain, 10, func(i int) string { return fmt.Sprint("203.0.113.", i) }) // it says what it likes
	slowed(plain, "198.51.100.1")
	slowed(plain, "")
	if !plain.admits(t, harness.UserKey) {
		t.Error("the API is slowed, too")
	}
	trusting := start(t, object{"server": object{"trusted_proxies": list{"127.0.0.1"}}})
	fail(trusting, 10, func(i int) string { return fmt.Sprintf("198.51.100.%d, 203.0.113.7", i) })
	slowed(trusting, "203.0.113.7")
	slowed(trusting, "198.51.100.200, 203.0.113.7")
	if r := login(trusting, harness.AdminKey, "203.0.113.8"); r.Status != 204 {
		t.Errorf("another address: %d %s", r.Status, r.Body)
	}
	plain.SecretFree(t, "wrong-key-0123456789")
}

// What changes something leaves one row and one line on stderr, without its body, and
// counts in no client's statistics.
func TestOperatorTrace(t *testing.T) {
	p := harness.NewProvider(t, ok(`{"object":"list","data":[{"id":"m-1"}]}`).serve(whole))
	g := start(t, relayTo(p, "openai"))
	admin := "Authorization: Bearer " + harness.AdminKey
	seen := 0
	f := func(what string, status int, key string, do func()) {
		t.Helper()
		said := len(g.Stderr.String())
		do()
		var rows []record
		harness.Eventually(t, "the row and the line of "+what, func() bool {
			all, err := harness.ReadRecords(g.LogFile())
			rows = all[min(seen, len(all)):]
			return err == nil && len(rows) > 0 && strings.Contains(g.Stderr.String()[said:], "\n")
		})
		seen += len(rows)
		method, path, _ := strings.Cut(what, " ")
		rec := rows[0]
		if len(rows) != 1 || rec.Endpoint != "operator" || rec.Method != method || rec.Path != path || rec.Key != key || rec.Status != status || rec.Remote == "" && path != "config" {
			t.Errorf("%s: rows %v", what, rows)
		}
		if line := g.Stderr.String()[said:]; strings.Count(line, "\n") != 1 {
			t.Errorf("%s: said\n%s", what, line)
		}
	}
	call := func(method, path, body string, header ...string) func() {
		return func() {
			t.Helper()
			if r := g.Send(t, method, path, body, append([]string{admin}, header...)...); r.Status/100 == 5 {
				t.Errorf("%s %s: %d %s", method, path, r.Status, r.Body)
			}
		}
	}
	const body = "canary-in-a-body"
	f("POST /_service/stop", 200, "tests", call("POST", "/_service/stop", ""))
	f("POST /_service/start", 200, "tests", call("POST", "/_service/start", ""))
	f("POST /_service/reload", 200, "tests", call("POST", "/_service/reload", ""))
	f("POST /_keys", 200, "tests", call("POST", "/_keys", `{"name":"`+body+`"}`))
	f("POST /_keys", 400, "tests", call("POST", "/_keys", body))
	f("POST /_providers/fake/test", 200, "tests", call("POST", "/_providers/fake/test", `{}`))
	f("POST /_ui/login", 204, "tests", call("POST", "/_ui/login", `{"key":"`+harness.AdminKey+`"}`, "Authorization:"))
	f("POST /_ui/login", 403, "user", call("POST", "/_ui/login", `{"key":"`+harness.UserKey+`"}`, "Authorization:"))
	f("POST /_ui/logout", 204, "", call("POST", "/_ui/logout", "", "Authorization:"))
	f("POST /_service/stop", 403, "user", call("POST", "/_service/stop", "", "Authorization: Bearer "+harness.UserKey))
	f("PUT /_config", 412, "tests", call("PUT", "/_config", `{}`))
	f("PUT /_config", 422, "tests", call("PUT", "/_config", `{"`+body+`":1}`))
	shown := g.Send(t, "GET", "/_config", "", admin)
	f("PUT /_config", 200, "tests", call("PUT", "/_config", string(shown.Body)+"\n", "If-Match: "+shown.Header.Get("Etag")))
	f("SIGHUP config", 200, "", func() { g.Signal(t, syscall.SIGHUP) })
	text := readText(t, g.Dir+"/config.json")
	f("FILE config", 200, "", func() { harness.WriteFile(t, g.Dir, "config.json", text+"\n") })
	f("POST /_service/restart", 200, "tests", call("POST", "/_service/restart", ""))
	time.Sleep(3 * time.Second) // what was saved or reloaded here is no change of the file
	if all := harness.OnDisk(t, g.LogFile()); len(all) != seen {
		t.Errorf("more rows: %v", all[seen:])
	}
	if s := g.stats(t, "window=1h"); s.Requests != 0 {
		t.Errorf("the statistics have %d requests", s.Requests)
	}
	if s := g.stats(t, "window=1h&endpoint=operator"); s.Requests != int64(seen) {
		t.Errorf("asked for, the statistics have %d requests of %d", s.Requests, seen)
	}
	g.SecretFree(t, body)
}
