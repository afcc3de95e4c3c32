// Operating: the commands that steer a running gateway, also where there are two of them,
// or one that hangs.
package gateway_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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

// A faulty config does not keep the gateway from being asked and steered: just then that is needed.
func TestCommandsWithFaultyConfig(t *testing.T) {
	noSleep(t)
	g := start(t, object{})
	port := fmt.Sprintf(`"server": {"port": %s}`, g.Port())
	key := `"auth": {"keys": [{"name": "root", "key": "` + harness.AdminKey + `", "admin": true}]}`
	const generated = "pc_0123456789ABCDEFGHIJabcdefghij01"
	for name, c := range map[string]struct{ text, adminKey, fault string }{
		"unknown field":  {`{` + port + `, ` + key + `, "nonsense": 1}`, generated, "nonsense: unknown field"},
		"wrong value":    {`{"upstream": {"retries": "x", "providers": [{"name": "p", "type": "grpc"}]}, ` + port + `, ` + key + `}`, "", "upstream.retries"},
		"cut off":        {`{` + port + `, ` + key + `, "upstream": {"providers": [{"name": `, generated, "expected a value"},
		"no comma":       {`{` + port + `, ` + key + ` "upstream": {}}`, generated, `expected ","`},
		"unset variable": {`{` + port + `, "auth": {"keys": [{"name": "root", "key": "${NO_SUCH_VARIABLE}", "admin": true}]}}`, harness.AdminKey, "NO_SUCH_VARIABLE"},
		"older key":      {`{` + port + `, "auth": {"keys": [{"name": "root", "key": "` + generated + `", "admin": true}]}, "nonsense": 1}`, harness.AdminKey, "nonsense"},
		"key file":       {`{` + port + `, "auth": {"keys": [{"name": "root", "key_file": "data/root.key", "admin": true}]}, "nonsense": 1}`, generated, "nonsense"},
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
		harness.WriteFile(t, dir, "config.json", c.text)
		harness.WriteFile(t, dir, "data/root.key", harness.AdminKey)
		if c.adminKey != "" {
			harness.WriteFile(t, dir, "data/admin.key", c.adminKey)
		}
		for _, args := range [][]string{{"status"}, {"logs"}, {"stop"}, {"start"}, {"reload"}, {"restart"}, {"healthcheck"}} {
			code, _, stderr := harness.Command(t, dir, args...)
			if code != 0 || !strings.Contains(stderr, c.fault) || !strings.Contains(stderr, "warning: ") || strings.Contains(stderr, harness.AdminKey) {
				t.Errorf("%s: proxycast %s: exit code %d\n%s", name, args, code, stderr)
			}
		}
		for _, args := range [][]string{{"check"}, {"serve"}, {"snippet", "curl"}} {
			if code, _, stderr := harness.Command(t, dir, args...); code != 2 || !strings.Contains(stderr, c.fault) {
				t.Errorf("%s: proxycast %s: exit code %d\n%s", name, args, code, stderr)
			}
		}
	}
}

// What should not be is told at every reload, whoever asks for it.
func TestReloadWarns(t *testing.T) {
	noSleep(t)
	port := harness.PortOf(harness.FreeAddress(t))
	g := startIn(t, t.TempDir(), harness.WithDefaults(object{"server": object{"port": port}}))
	const warning = "the variable NO_SUCH_VARIABLE is not set"
	cfg := harness.WithDefaults(object{"server": object{"port": port}, "upstream": object{"providers": list{
		object{"name": "p", "type": "openai", "api_key": "${NO_SUCH_VARIABLE}"},
	}}})
	harness.WriteConfig(t, g.Dir, cfg)
	harness.Eventually(t, "the change of the file is told", func() bool { return strings.Count(g.Stderr.String(), warning) == 1 })
	g.Signal(t, syscall.SIGHUP)
	harness.Eventually(t, "SIGHUP is told", func() bool { return strings.Count(g.Stderr.String(), warning) == 2 })
	for _, verb := range []string{"reload", "status", "restart"} {
		code, stdout, stderr := harness.Command(t, g.Dir, verb)
		if code != 0 || strings.Count(stdout+stderr, warning) != 1 {
			t.Errorf("%s: exit code %d\n%s%s", verb, code, stdout, stderr)
		}
	}
}
