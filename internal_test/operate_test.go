// Operating: the commands that steer a running gateway, also where there are two of them,
// or one that hangs.
package gateway_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// Two gateways on a host know nothing of each other, and share neither port nor log.
func TestTwoGateways(t *testing.T) {
	one, two := start(t, object{}), start(t, object{})
	command := func(g *gateway, verb, says string) {
		t.Helper()
		if said := g.piped(t, verb); !strings.Contains(said, says) {
			t.Errorf("%s: %s", verb, said)
		}
	}
	answer := func(g *gateway, status int) {
		t.Helper()
		r := g.Send(t, "POST", "/v1/chat/completions", `{"model":"demo-fast","messages":[{"role":"user","content":"hi"}]}`)
		if rec := g.Next(t); r.Status != status || rec.Status != status {
			t.Errorf("%d %s, record %+v", r.Status, r.Body, rec)
		}
	}
	command(one, "stop", "paused")
	command(one, "status", "paused")
	command(one, "status", one.URL)
	command(two, "status", "running")
	command(two, "status", two.URL)
	answer(one, 503)
	answer(two, 200)
	command(two, "restart", "running")
	answer(one, 503)
	answer(two, 200)
	command(one, "start", "running")
	answer(one, 200)
	one.Expect(t, 0)
	two.Expect(t, 0)

	third := func(cfg object, says string) {
		t.Helper()
		dir := t.TempDir()
		harness.WriteConfig(t, dir, harness.WithDefaults(cfg))
		code, stdout, stderr := harness.Command(t, dir)
		if code != 3 || stdout != "" || !strings.Contains(stderr, says) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("a third gateway ends with %d\n%s%s", code, stdout, stderr)
		}
	}
	third(object{"server": object{"port": one.Port()}}, one.Addr)
	third(object{"logs": object{"file": one.LogFile()}}, one.LogFile())
	answer(one, 200)
	answer(two, 200)
}

// A gateway that hangs does not hang those who ask for it.
func TestHungGateway(t *testing.T) {
	hung, err := net.Listen("tcp", "127.0.0.1:0") // the kernel connects, nobody answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hung.Close() })
	dir := t.TempDir()
	harness.WriteConfig(t, dir, harness.WithDefaults(object{"server": object{"port": harness.PortOf(hung.Addr().String())}}))
	for _, verb := range []string{"healthcheck", "status", "stop", "start", "restart", "reload", "logs"} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			p := harness.Execute(t, dir, nil, verb)
			code, said := p.Exit(t, 15*time.Second), p.Stderr.String()
			if code != 1 || p.Stdout.String() != "" || !strings.Contains(said, "no gateway answers at http://"+hung.Addr().String()) || strings.Count(said, "\n") != 1 {
				t.Errorf("exit code %d\n%s%s", code, p.Stdout.String(), said)
			}
		})
	}
}
