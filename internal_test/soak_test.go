// The soak: good, bad, cut and slow requests at once, for as long as PROXYCAST_SOAK says.
// Each answer is held against what its request has to get, each row against its answer.
package gateway_test

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// soaked is one kind of request of the soak. The provider does what its model says.
type soaked struct {
	path, body, key string
	status          int
	ends            string // the end of the body; empty: an error of its dialect
	cut             bool   // by the provider
	leaves          bool   // the client does, after a moment
}

func soakKinds() []soaked {
	chat := func(model string, stream bool) string {
		return fmt.Sprintf(`{"model":%q,"stream":%t,"messages":[{"role":"user","content":"hi"}]}`, model, stream)
	}
	const path = "/v1/chat/completions"
	return []soaked{
		{path, chat("whole", false), harness.UserKey, 200, chatReply, false, false},
		{path, chat("whole", true), harness.UserKey, 200, chatDone, false, false},
		{path, chat("slow", true), harness.UserKey, 200, chatDone, false, false},
		{path, chat("cut", true), harness.UserKey, 200, "\n\n", true, false},
		{path, chat("cut", false), harness.UserKey, 200, "{", true, false},
		{path, chat("error", false), harness.UserKey, 429, "", false, false},
		{path, chat("garbage", false), harness.UserKey, 502, "", false, false},
		{path, chat("slow", true), harness.UserKey, 0, "", true, true},
		{path, chat("demo-fast", false), harness.UserKey, 200, "}", false, false},
		{path, chat("whole", false) + "}", harness.UserKey, 400, "", false, false},
		{path, `{"model":7}`, harness.UserKey, 400, "", false, false},
		{path, chat("nobody/x", false), harness.UserKey, 404, "", false, false},
		{path, chat("whole", false), "wrong-key-0123456789", 401, "", false, false},
		{"/_status", "{}", harness.UserKey, 405, "", false, false},
		{"/v1/messages", strings.Repeat("[", 20_000), harness.UserKey, 400, "", false, false},
	}
}

// soakProvider answers as the model says.
func soakProvider(x *exchange) bool {
	is := func(model string) bool { return bytes.Contains(x.Body, []byte(`"model":"`+model+`"`)) }
	stream := bytes.Contains(x.Body, []byte(`"stream":true`))
	switch {
	case is("cut") && stream:
		x.Write([]byte(events("").head()+harness.Chunk(chatStart+chatDelta)), whole)
		return false
	case is("cut"):
		x.Write([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"), whole)
		return false
	case is("error"):
		return canned{status: 429, header: []string{"Content-Type: application/json"}, body: `{"error":{"message":"slow down","type":"rate_limit_error"}}`}.serve(whole)(x)
	case is("garbage"):
		x.Write([]byte("no HTTP at all\r\n\r\n"), whole)
		return false
	case is("slow"):
		for _, piece := range events(chatStream).pieces() {
			x.Write([]byte(piece), whole)
			time.Sleep(20 * time.Millisecond)
		}
		return true
	}
	return kindly(x)
}

func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("PROXYCAST_SOAK"))
	if err != nil {
		t.Skip("PROXYCAST_SOAK=10m go test ./internal_test -run TestSoak -timeout 0 -v runs it")
	}
	p := harness.NewProvider(t, soakProvider)
	cfg := relayTo(p, "openai", object{"models": list{"whole", "slow", "cut", "error", "garbage"}})
	upstream := cfg["upstream"].(object)
	upstream["providers"] = append(upstream["providers"].(list), object{"name": "demo", "type": "demo", "models": list{"demo-*"}})
	upstream["cooldown"] = object{"after": 1_000_000, "for": "1ms"}
	cfg["logs"] = object{"max_file": "1GiB", "max_total": "4GiB"}
	g := start(t, cfg)

	var clients sync.WaitGroup
	var answered sync.Map // id → status
	var counts [15]atomic.Int64
	kinds := soakKinds()
	stop := time.Now().Add(length)
	for worker := range 16 {
		clients.Go(func() {
			for i := worker; time.Now().Before(stop) && !t.Failed(); i++ {
				n := i % len(kinds)
				g.soak(t, kinds[n], &answered)
				counts[n].Add(1)
			}
		})
	}
	clients.Wait()
	g.soakedRows(t, kinds, &answered, counts[:])
	t.Logf("peak memory %d MiB", g.PeakMemory(t)>>20)
	g.SecretFree(t, "wrong-key-0123456789")
}

// soak sends one request and holds its answer against what it should be.
func (g *gateway) soak(t *testing.T, kind soaked, answered *sync.Map) {
	req := g.Request(t.Context(), "POST", kind.path, kind.body, "Authorization: Bearer "+kind.key)
	if kind.leaves {
		res, err := g.Client.Do(req)
		if err == nil {
			answered.Store(res.Header.Get("X-Request-Id"), 200)
			_, _ = res.Body.Read(make([]byte, 10))
			res.Body.Close()
		}
		return
	}
	r, err := g.Try(req)
	if err != nil {
		t.Errorf("%+v: %v", kind, err)
		return
	}
	if _, twice := answered.LoadOrStore(r.Header.Get("X-Request-Id"), r.Status); twice {
		t.Errorf("two answers have the id %s", r.Header.Get("X-Request-Id"))
	}
	switch {
	case r.Status != kind.status, (r.Cut != nil) != kind.cut:
		t.Errorf("%+v: %d %v %.300s", kind, r.Status, r.Cut, r.Body)
	case kind.ends == "":
		understood(t, r)
	case !strings.HasSuffix(string(r.Body), kind.ends) && !strings.HasSuffix(string(r.Body), kind.ends+"\n"):
		t.Errorf("%+v: it ends in %.300s", kind, r.Body)
	}
}

// soakedRows holds the rows against the answers: one for each, of the same status; what had
// no key may be added up.
func (g *gateway) soakedRows(t *testing.T, kinds []soaked, answered *sync.Map, counts []atomic.Int64) {
	var sent, keyless, summed int64
	for i, kind := range kinds {
		t.Logf("%7d × %d %s %.60s", counts[i].Load(), kind.status, kind.path, kind.body)
		sent += counts[i].Load()
		if kind.status == 401 {
			keyless += counts[i].Load()
		}
	}
	var rows []record
	for deadline := time.Now().Add(6 * harness.Patience); counted(rows) < sent && time.Now().Before(deadline); time.Sleep(time.Second) {
		rows = g.Records(t)
	}
	for _, rec := range rows {
		if rec.Count > 0 {
			summed += rec.Count
			continue
		}
		status, known := answered.LoadAndDelete(cmp.Or(rec.UpstreamID, rec.ID)) // a provider's id passes
		if !known && rec.Status != 499 || known && rec.Status != status && rec.Status != 499 {
			t.Errorf("answered %v, record %v", status, rec)
		}
	}
	left := int64(0)
	answered.Range(func(id, status any) bool {
		if left++; status != 401 {
			t.Errorf("no record of %v, answered %v", id, status)
		}
		return true
	})
	t.Logf("%d requests, %d rows, of %d without a key %d were added up", sent, len(rows), keyless, summed)
	if counted(rows) != sent || summed < left {
		t.Errorf("the rows stand for %d requests, %d without a row of their own in sums of %d", counted(rows), left, summed)
	}
}
