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
)

// Each event of a slow stream reaches the client at once.
func TestSlowDrip(t *testing.T) {
	const n = 50
	sent := make(chan time.Time, n)
	p := newProvider(t, func(x *exchange) bool {
		x.write([]byte(events("").head()), whole)
		for range n {
			time.Sleep(10 * time.Millisecond)
			sent <- time.Now()
			x.write([]byte(chunk(chatDelta)), whole)
		}
		x.write([]byte(chunk(chatFinish+chatUsage+chatDone)+"0\r\n\r\n"), whole)
		return true
	})
	g := start(t, relayTo(p, "openai"))
	res, err := g.client.Do(g.request(t, context.Background(), "POST", "/v1/chat/completions", chatStreamRequest))
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
	rec := g.next(t)
	if rec.TTFTMS == nil || *rec.TTFTMS < 5 || rec.DurationMS < *rec.TTFTMS+300 {
		t.Errorf("record: %+v", rec)
	}
}

// The configured limits, and none below them.
func TestTimeouts(t *testing.T) {
	silent := func(x *exchange) bool { <-x.Gone; return false }
	f := func(name string, timeouts object, answer script, check func(t *testing.T, g *gateway, p *provider)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t, answer)
			check(t, start(t, relayTo(p, "openai", object{"timeouts": timeouts})), p)
		})
	}
	answers := func(status int) func(t *testing.T, g *gateway, p *provider) {
		return func(t *testing.T, g *gateway, p *provider) {
			checkError(t, g.send(t, "POST", "/v1/chat/completions", chatStreamRequest), "openai", status)
			if rec := g.next(t); rec.Status != status || rec.ErrorType == "" {
				t.Errorf("record: %+v", rec)
			}
			wait(t, "the provider's request is cancelled", p.last(t).Gone)
		}
	}
	f("headers", object{"headers": "300ms"}, silent, answers(504))
	f("total", object{"total": "300ms"}, silent, answers(504))
	f("headers do not count for plain replies", object{"headers": "100ms"}, func(x *exchange) bool {
		time.Sleep(500 * time.Millisecond)
		return ok(chatReply).serve(whole)(x)
	}, func(t *testing.T, g *gateway, p *provider) {
		if r := g.send(t, "POST", "/v1/chat/completions", chatRequest); r.status != 200 {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	stalls := func(text string) script {
		return func(x *exchange) bool {
			x.write([]byte(events("").head()+chunk(text)), whole)
			<-x.Gone
			return false
		}
	}
	cut := func(t *testing.T, g *gateway, p *provider) {
		r := g.send(t, "POST", "/v1/chat/completions", chatStreamRequest)
		if r.status == 200 && (r.cut == nil || !strings.Contains(string(r.body), `"error"`) || strings.Contains(string(r.body), "[DONE]")) {
			t.Errorf("%d %q, ended in %v", r.status, r.body, r.cut)
		}
		if rec := g.next(t); rec.ErrorType == "" {
			t.Errorf("record: %+v", rec)
		}
		wait(t, "the provider's request is cancelled", p.last(t).Gone)
	}
	f("idle", object{"idle": "300ms"}, stalls(chatStart+chatDelta), cut)
	f("first token", object{"first_token": "300ms"}, stalls(chatStart), cut)
	f("total in mid-stream", object{"total": "300ms"}, func(x *exchange) bool {
		x.write([]byte(events("").head()), whole)
		for {
			if _, err := x.conn.Write([]byte(chunk(chatDelta))); err != nil {
				return false
			}
			time.Sleep(20 * time.Millisecond)
		}
	}, cut)
}

// One provider's silence is nobody else's.
func TestOthersUnaffected(t *testing.T) {
	p := newProvider(t, func(x *exchange) bool {
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
			_, _ = g.try(g.request(t, ctx, "POST", "/v1/chat/completions", `{"model":"silent"}`))
			ended <- struct{}{}
		}()
	}
	eventually(t, "20 requests wait", func() bool { return p.count() == 20 })
	for range 20 {
		begin := time.Now()
		if r := g.send(t, "POST", "/v1/chat/completions", chatRequest); r.status != 200 || time.Since(begin) > 3*time.Second {
			t.Errorf("%d after %v", r.status, time.Since(begin))
		}
	}
	cancel()
	for range 20 {
		<-ended
	}
	gone := 0
	for _, rec := range g.expect(t, 40) {
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
			x.write([]byte(before), whole)
			<-x.Gone
			return false
		}
	}
	f := func(name string, answer script, read string) {
		t.Run(name, func(t *testing.T) {
			soon(t, func() time.Duration { return leave(t, answer, read) })
		})
	}
	head := events("").head()
	f("before the head", stage(""), "")
	f("behind the first event", stage(head+chunk(chatStart+chatDelta)), chatStart)
	f("in a flood", func(x *exchange) bool {
		x.write([]byte(head), whole)
		for {
			if _, err := x.conn.Write([]byte(chunk(chatDelta))); err != nil {
				return false
			}
		}
	}, chatDelta)
}

// soon holds a cancellation against the promise of 100 ms. A busy machine gets half as
// much again and three tries; the race detector makes the time meaningless.
func soon(t *testing.T, cancelled func() time.Duration) {
	t.Helper()
	const most = 150 * time.Millisecond
	for try := range 3 {
		took := cancelled()
		t.Logf("try %d: cancelled after %v", try+1, took)
		if took <= most || raceEnabled {
			return
		}
	}
	t.Errorf("cancelled after more than %v, each time", most)
}

// leave sends a request, leaves after having read as much of the reply as read is long,
// and returns how long the provider's request lived on.
func leave(t *testing.T, answer script, read string) (took time.Duration) {
	t.Helper()
	p := newProvider(t, answer)
	g := start(t, relayTo(p, "openai"))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	left := make(chan time.Time, 1)
	req := g.request(t, ctx, "POST", "/v1/chat/completions", chatStreamRequest)
	go func() {
		if res, err := g.client.Do(req); err == nil {
			_, _ = io.ReadFull(res.Body, make([]byte, len(read)))
			left <- time.Now()
			cancel()
			res.Body.Close()
		}
	}()
	if read == "" {
		eventually(t, "the request reached the provider", func() bool { return p.count() == 1 })
		left <- time.Now()
		cancel()
	}
	eventually(t, "the request reached the provider", func() bool { return p.count() == 1 })
	wait(t, "the provider's request is cancelled", p.last(t).Gone)
	took = time.Since(<-left)
	if rec := g.next(t); rec.Status != 499 || rec.Attempts != 1 {
		t.Errorf("record: %+v", rec)
	}
	return took
}

// A slow reader holds the provider back; the gateway does not store for it.
func TestSlowReader(t *testing.T) {
	const size = 256 << 20
	sent := make(chan int, 1)
	p := newProvider(t, func(x *exchange) bool {
		x.write([]byte(events("").head()), whole)
		event := []byte(chunk(strings.Repeat(chatDelta, 200)))
		n := 0
		for n < size {
			_ = x.conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
			if _, err := x.conn.Write(event); err != nil {
				break
			}
			n += len(event)
		}
		sent <- n
		return false
	})
	g := start(t, relayTo(p, "openai"))
	res, err := g.client.Do(g.request(t, context.Background(), "POST", "/v1/chat/completions", chatStreamRequest))
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
	g.next(t)
}
