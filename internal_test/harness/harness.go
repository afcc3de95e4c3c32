// Package harness is what the black-box tests share: one build of the gateway, its
// process, a client, a provider to put behind it, and its log.
//
// PROXYCAST_FULL=1 adds the slow tests and turns a missing tool into a failure.
package harness

import (
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

// Patience bounds every wait for something that should happen at once.
const Patience = 10 * time.Second

// A config, and other JSON.
type (
	Object = map[string]any
	List   = []any
)

// Binary is the built gateway, and root the folder it was built from; Main sets them.
var Binary, root string

// Main builds the gateway and runs the tests; it returns the exit code.
func Main(m *testing.M) int {
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build puts the binary into a place of this checkout's. The go command leaves it there
// as long as it is up to date, so all packages of a test run share one build.
func build() error {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	root = strings.TrimSpace(string(out))
	sum := sha256.Sum256(fmt.Append(nil, root, os.Getuid(), Race()))
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("proxycast-test-%x", sum[:8]))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	Binary = filepath.Join(dir, "proxycast")
	cmd := exec.Command("go", "build", fmt.Sprintf("-race=%t", Race()), "-o", Binary, ".")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// Race reports whether the tests, and so the gateway, run with the race detector.
func Race() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// Full reports whether all tests were asked for.
func Full() bool { return os.Getenv("PROXYCAST_FULL") == "1" }

// Slow skips the test unless all tests were asked for, and else lets it run beside other
// slow ones.
func Slow(t *testing.T) {
	t.Helper()
	if !Full() {
		t.Skip("slow; PROXYCAST_FULL=1 runs it")
	}
	t.Parallel()
}

// Missing skips the test for want of something, or fails it when all tests were asked for.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if Full() {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// NeedTool returns the program's path, and is Missing without it; install is the line that
// installs it.
func NeedTool(t testing.TB, name, install string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, "%s is missing: %s", name, install)
	}
	return path
}

// NeedModule is Missing unless Node is there, and the module in folder, a path from the
// root of the repository.
func NeedModule(t testing.TB, folder, module string) {
	t.Helper()
	install := fmt.Sprintf("(cd %s && npm install --no-save --no-package-lock)", folder)
	NeedTool(t, "node", "install Node 20.19 or newer, then: "+install)
	if _, err := os.Stat(filepath.Join(root, folder, "node_modules", module)); err != nil {
		Missing(t, "%s is not installed: %s", module, install)
	}
}

// Eventually waits until ok holds.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", Patience, what)
		}
	}
}

// Wait fails unless done is closed in time.
func Wait(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(Patience):
		t.Fatalf("not within %v: %s", Patience, what)
	}
}

// Soon holds a cancellation against the promise of 100 ms. A busy machine gets half as
// much again and three tries; the race detector makes the time meaningless.
func Soon(t testing.TB, cancelled func() time.Duration) {
	t.Helper()
	const most = 150 * time.Millisecond
	for try := range 3 {
		took := cancelled()
		t.Logf("try %d: cancelled after %v", try+1, took)
		if took <= most || Race() {
			return
		}
	}
	t.Errorf("cancelled after more than %v, each time", most)
}

// FreeAddress is one on loopback that nobody listens on.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
