// Leaks: after thousands of requests, some of them aborted, nothing is left over.
package gateway_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

func TestLeaks(t *testing.T) {
	p := harness.NewProvider(t, func(x *exchange) bool {
		if !strings.Contains(string(x.Body), `"stream":true`) {
			return ok(chatReply).serve(whole)(x)
		}
		if !strings.Contains(string(x.Body), "endless") {
			return events(chatStream).serve(byEvent)(x)
		}
		x.Write([]byte(events("").head()+harness.Chunk(chatStart+chatDelta)), whole)
		<-x.Gone
		return false
	})
	g := start(t, relayTo(p, "openai"))
	const atOnce = 16
	run := func(n int) {
		t.Helper()
		var next atomic.Int64
		var working sync.WaitGroup
		for range atOnce {
			working.Go(func() {
				for i := next.Add(1); i <= int64(n); i = next.Add(1) {
					if err := g.leakRequest(t, i); err != nil {
						t.Errorf("request %d: %v", i, err)
					}
				}
			})
		}
		working.Wait()
		g.Client.CloseIdleConnections()
	}
	usage := func() (goroutines, descriptors int) {
		g.Client.CloseIdleConnections()
		p.HangUp() // kept connections are no leak
		time.Sleep(lag)
		n, ok := g.AsAdmin(t, "/_status")["goroutines"].(float64)
		if !ok {
			t.Fatal("/_status has no goroutines")
		}
		files, err := g.OpenFiles()
		if err != nil {
			harness.Missing(t, "descriptors cannot be counted: %v", err)
		}
		return int(n), files
	}
	run(200)
	g.Expect(t, 200)
	time.Sleep(200 * time.Millisecond)
	goroutines, descriptors := usage()

	requests := 2000
	run(requests)
	ends := map[int]int{}
	for _, rec := range g.Expect(t, requests) {
		ends[rec.Status]++
	}
	if ends[499] != requests/10 || ends[200] != requests-requests/10 {
		t.Errorf("records by status: %v", ends)
	}
	const slack = 2
	var nowGoroutines, nowDescriptors int
	for deadline := time.Now().Add(harness.Patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if nowGoroutines, nowDescriptors = usage(); nowGoroutines <= goroutines+slack && nowDescriptors <= descriptors+slack {
			break
		}
	}
	t.Logf("goroutines %d → %d, descriptors %d → %d", goroutines, nowGoroutines, descriptors, nowDescriptors)
	if nowGoroutines > goroutines+slack || nowDescriptors > descriptors+slack {
		t.Error("they have not come back")
	}
	if n := p.Count(); n != requests+200 {
		t.Errorf("%d requests reached the provider, want %d", n, requests+200)
	}
}

// leakRequest makes request i: each tenth aborts in mid-stream, of the others half are streams.
func (g *gateway) leakRequest(t testing.TB, i int64) error {
	if i%10 != 0 {
		body, want := chatRequest, chatReply
		if i%2 == 0 {
			body, want = chatStreamRequest, chatStream
		}
		r, err := g.Try(g.Request(context.Background(), "POST", "/v1/chat/completions", body))
		switch {
		case err != nil:
			return err
		case r.Status != 200 || r.Cut != nil || string(r.Body) != want:
			return fmt.Errorf("%d %v %s", r.Status, r.Cut, r.Body)
		}
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	res, err := g.Client.Do(g.Request(ctx, "POST", "/v1/chat/completions", `{"model":"endless","stream":true}`))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.ReadFull(res.Body, make([]byte, len(chatStart)))
	return err
}
