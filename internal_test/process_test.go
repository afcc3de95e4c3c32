// The process: the banner, what it cannot share, signals, reload.
package gateway_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

func TestBanner(t *testing.T) {
	g := start(t, object{})
	for name, want := range map[string]string{"openai_base_url": g.URL + "/v1", "anthropic_base_url": g.URL} {
		if got := g.Banner[name]; got != want {
			t.Errorf("%s %v, want %s", name, got, want)
		}
	}
	r := g.Send(t, "POST", "/v1/chat/completions", `{"model":"demo-1","messages":[{"role":"user","content":"hi"}]}`)
	if r.Status != 200 {
		t.Errorf("the demo provider answers %d %s", r.Status, r.Body)
	}
	g.Signal(t, syscall.SIGTERM)
	if code := g.Exit(t, harness.Patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := strings.Count(g.Stdout.String(), "\n"); n != 1 {
		t.Errorf("stdout has %d lines:\n%s", n, g.Stdout.String())
	}
}

// stream begins a stream whose provider goes on until more is closed.
func (g *gateway) stream(t *testing.T) (*http.Response, *bufio.Reader) {
	t.Helper()
	res, err := g.Client.Do(g.Request(context.Background(), "POST", "/v1/chat/completions", chatStreamRequest))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	in := bufio.NewReader(res.Body)
	if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "data:") {
		t.Fatalf("%q %v", line, err)
	}
	return res, in
}

// heldStream begins a stream at once and ends it when more is closed.
func heldStream(more chan struct{}) script {
	return func(x *exchange) bool {
		x.Write([]byte(events("").head()+harness.Chunk(chatStart+chatDelta)), whole)
		select {
		case <-more:
		case <-x.Gone:
			return false
		}
		x.Write([]byte(harness.Chunk(chatFinish+chatUsage+chatDone)+"0\r\n\r\n"), whole)
		return true
	}
}

func TestTermDrains(t *testing.T) {
	more := make(chan struct{})
	p := harness.NewProvider(t, heldStream(more))
	g := start(t, relayTo(p, "openai"))
	_, in := g.stream(t)
	g.Signal(t, syscall.SIGTERM)
	harness.Eventually(t, "the listener is closed", func() bool {
		conn, err := net.Dial("tcp", g.Addr)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	close(more)
	rest, err := io.ReadAll(in)
	if err != nil || !strings.HasSuffix(string(rest), chatFinish+chatDone) {
		t.Errorf("the stream ended in %v: %q", err, rest)
	}
	if code := g.Exit(t, 3*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if rec := g.Next(t); rec.Status != 200 || rec.FinishReason != "stop" || rec.ErrorType != "" {
		t.Errorf("record: %+v", rec)
	}
}

func TestDrainIsBounded(t *testing.T) {
	p := harness.NewProvider(t, heldStream(nil))
	cfg := relayTo(p, "openai")
	cfg["server"] = object{"drain": "500ms"}
	g := start(t, cfg)
	_, in := g.stream(t)
	g.Signal(t, syscall.SIGTERM)
	rest, err := io.ReadAll(in)
	if err == nil || !strings.Contains(string(rest), `data: {"error":`) || strings.Contains(string(rest), "[DONE]") {
		t.Errorf("the stream ended in %v: %q", err, rest)
	}
	if code := g.Exit(t, 4*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if rec := g.Next(t); rec.ErrorType == "" || rec.Status != 200 {
		t.Errorf("record: %+v", rec)
	}
}

func TestSecondSignal(t *testing.T) {
	p := harness.NewProvider(t, heldStream(nil))
	cfg := relayTo(p, "openai")
	cfg["server"] = object{"drain": "60s"}
	g := start(t, cfg)
	g.stream(t)
	g.Signal(t, syscall.SIGINT)
	time.Sleep(300 * time.Millisecond)
	select {
	case <-g.Ended:
		t.Fatal("it ended at the first signal")
	default:
	}
	g.Signal(t, syscall.SIGINT)
	g.Exit(t, 3*time.Second)
}

func TestReload(t *testing.T) {
	more := make(chan struct{})
	p := harness.NewProvider(t, heldStream(more))
	cfg := harness.WithDefaults(relayTo(p, "openai"))
	g := startIn(t, t.TempDir(), cfg)
	_, in := g.stream(t)
	with := func(key string) int {
		return g.Send(t, "GET", "/v1/models", "", "Authorization: Bearer "+key).Status
	}
	keys := cfg["auth"].(object)["keys"].(list)
	addKey := func(key string) {
		cfg["auth"] = object{"keys": append(keys, object{"name": "added", "key": key})}
		harness.WriteConfig(t, g.Dir, cfg)
	}
	const first, second = "first-added-key-0123456789", "second-added-key-0123456789"
	if with(first) != 401 {
		t.Error("a key works before it exists")
	}
	addKey(first)
	g.Signal(t, syscall.SIGHUP)
	harness.Eventually(t, "the added key works", func() bool { return with(first) == 200 })

	harness.WriteFile(t, g.Dir, "config.json", `{"auth": {"enabled": false, "kyes": []}}`)
	g.Signal(t, syscall.SIGHUP)
	harness.Eventually(t, "/_status names the fault", func() bool {
		r := g.Send(t, "GET", "/_status", "", "Authorization: Bearer "+harness.AdminKey)
		return r.Status == 200 && strings.Contains(string(r.Body), "kyes")
	})
	if with(first) != 200 || with(second) != 401 || g.Raw(t, []byte(wireRequest("GET", "/v1/models", "", "Authorization:")), 0).Status != 401 {
		t.Error("a bad config changed who may come in")
	}
	addKey(second)
	g.Signal(t, syscall.SIGHUP)
	harness.Eventually(t, "the second key works", func() bool { return with(second) == 200 })
	if with(first) != 401 {
		t.Error("a removed key still works")
	}
	if strings.Contains(string(g.Send(t, "GET", "/_status", "", "Authorization: Bearer "+harness.AdminKey).Body), "kyes") {
		t.Error("the fault outlives the good reload")
	}
	close(more)
	if rest, err := io.ReadAll(in); err != nil || !strings.HasSuffix(string(rest), chatDone) {
		t.Errorf("a stream from before the reloads ended in %v: %q", err, rest)
	}
	g.SecretFree(t, first, second)
}

// A changed file is enough for a reload.
func TestReloadChangedFile(t *testing.T) {
	cfg := harness.WithDefaults(object{})
	g := startIn(t, t.TempDir(), cfg)
	const added = "first-added-key-0123456789"
	cfg["auth"] = object{"keys": append(cfg["auth"].(object)["keys"].(list), object{"name": "added", "key": added})}
	harness.WriteConfig(t, g.Dir, cfg)
	harness.Eventually(t, "the added key works", func() bool {
		return g.Send(t, "GET", "/v1/models", "", "Authorization: Bearer "+added).Status == 200
	})
}
