// Time: limits on a provider, and clients that leave or read slowly.
package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// Each event of a slow stream reaches the client at once.
func TestSlowDrip(t *testing.T) {
	const n = 50
	sent := make(chan time.Time, n)
	p := harness.NewProvider(t, func(x *exchange) bool {
		x.Write([]byte(events("").head()), whole)
		for range n {
			time.Sleep(10 * time.Millisecond)
			sent <- time.Now()
			x.Write([]byte(harness.Chunk(chatDelta)), whole)
		}
		x.Write([]byte(harness.Chunk(chatFinish+chatUsage+chatDone)+"0\r\n\r\n"), whole)
		return true
	})
	g := start(t, relayTo(p, "openai"))
	res, err := g.Client.Do(g.Request(context.Background(), "POST", "/v1/chat/completions", chatStreamRequest))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	in := bufio.NewReader(res.Body)
	var worst time.Duration
	for range n {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		worst = max(worst, time.Since(<-sent))
		if !strings.HasPrefix(line, "data: ") {
			t.Fatalf("%q", line)
		}
		if _, err = in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("the slowest of %d events took %v", n, worst)
	if worst > time.Second {
		t.Errorf("an event took %v", worst)
	}
	rec := g.Next(t)
	if rec.TTFTMS == nil || *rec.TTFTMS < 5 || rec.DurationMS < *rec.TTFTMS+300 {
		t.Errorf("record: %+v", rec)
	}
}

// A plain reply may take longer than its headers may in a stream; package failover_test has
// what happens at each limit.
func TestHeadersLimitIsForStreams(t *testing.T) {
	p := harness.NewProvider(t, func(x *exchange) bool {
		time.Sleep(300 * time.Millisecond)
		return ok(chatReply).serve(whole)(x)
	})
	g := start(t, relayTo(p, "openai", object{"timeouts": object{"headers": "100ms"}}))
	if r := g.Send(t, "POST", "/v1/chat/completions", chatRequest); r.Status != 200 {
		t.Errorf("%d %s", r.Status, r.Body)
	}
}

// One provider's silence is nobody else's.
func TestOthersUnaffected(t *testing.T) {
	p := harness.NewProvider(t, func(x *exchange) bool {
		if bytes.Contains(x.Body, []byte("silent")) {
			<-x.Gone
			return false
		}
		return ok(chatReply).serve(whole)(x)
	})
	g := start(t, relayTo(p, "openai"))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{}, 20)
	for range 20 {
		go func() {
			_, _ = g.Try(g.Request(ctx, "POST", "/v1/chat/completions", `{"model":"silent"}`))
			ended <- struct{}{}
		}()
	}
	harness.Eventually(t, "20 requests wait", func() bool { return p.Count() == 20 })
	for range 20 {
		begin := time.Now()
		if r := g.Send(t, "POST", "/v1/chat/completions", chatRequest); r.Status != 200 || time.Since(begin) > 3*time.Second {
			t.Errorf("%d after %v", r.Status, time.Since(begin))
		}
	}
	cancel()
	for range 20 {
		<-ended
	}
	gone := 0
	for _, rec := range g.Expect(t, 40) {
		if rec.Status == 499 {
			gone++
		}
	}
	if gone != 20 {
		t.Errorf("%d records say 499, want 20", gone)
	}
}

// A client's leaving cancels the provider's request, at every stage.
func TestClientLeaves(t *testing.T) {
	stage := func(before string) script {
		return func(x *exchange) bool {
			x.Write([]byte(before), whole)
			<-x.Gone
			return false
		}
	}
	f := func(name string, answer script, read string) {
		t.Run(name, func(t *testing.T) {
			harness.Soon(t, func() time.Duration { return leave(t, answer, read) })
		})
	}
	head := events("").head()
	f("before the head", stage(""), "")
	f("behind the first event", stage(head+harness.Chunk(chatStart+chatDelta)), chatStart)
	f("in a flood", func(x *exchange) bool {
		x.Write([]byte(head), whole)
		for {
			if _, err := x.Conn.Write([]byte(harness.Chunk(chatDelta))); err != nil {
				return false
			}
		}
	}, chatDelta)
}

// leave sends a request, leaves after having read as much of the reply as read is long,
// and returns how long the provider's request lived on.
func leave(t *testing.T, answer script, read string) (took time.Duration) {
	t.Helper()
	p := harness.NewProvider(t, answer)
	g := start(t, relayTo(p, "openai"))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	left := make(chan time.Time, 1)
	req := g.Request(ctx, "POST", "/v1/chat/completions", chatStreamRequest)
	go func() {
		if res, err := g.Client.Do(req); err == nil {
			_, _ = io.ReadFull(res.Body, make([]byte, len(read)))
			left <- time.Now()
			cancel()
			res.Body.Close()
		}
	}()
	if read == "" {
		harness.Eventually(t, "the request reached the provider", func() bool { return p.Count() == 1 })
		left <- time.Now()
		cancel()
	}
	harness.Eventually(t, "the request reached the provider", func() bool { return p.Count() == 1 })
	harness.Wait(t, "the provider's request is cancelled", p.Last(t).Gone)
	took = time.Since(<-left)
	if rec := g.Next(t); rec.Status != 499 || rec.Attempts != 1 || rec.ErrorType != "client_closed" {
		t.Errorf("record: %+v", rec)
	}
	return took
}

// A slow reader holds the provider back; the gateway does not store for it.
func TestSlowReader(t *testing.T) {
	const size = 256 << 20
	sent := make(chan int, 1)
	p := harness.NewProvider(t, func(x *exchange) bool {
		x.Write([]byte(events("").head()), whole)
		event := []byte(harness.Chunk(strings.Repeat(chatDelta, 200)))
		n := 0
		for n < size {
			_ = x.Conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
			if _, err := x.Conn.Write(event); err != nil {
				break
			}
			n += len(event)
		}
		sent <- n
		return false
	})
	g := start(t, relayTo(p, "openai"))
	res, err := g.Client.Do(g.Request(context.Background(), "POST", "/v1/chat/completions", chatStreamRequest))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.ReadFull(res.Body, make([]byte, 1000))
	n := <-sent
	t.Logf("the provider could send %d KiB", n>>10)
	if n > 64<<20 {
		t.Errorf("no back-pressure: %d bytes went through", n)
	}
	res.Body.Close()
	g.Next(t)
}
