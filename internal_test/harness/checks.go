// Checks that a script of Node's makes.
package harness

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

// Check is the outcome of one check of a script.
type Check struct {
	Name    string
	OK      bool
	Detail  string
	MS      int
	Model   string // of a check that aborted a request
	Aborted int64  // when, in Unix milliseconds
}

// Checks runs a script in dir, each of whose lines is a Check, with args.
func Checks(t *testing.T, dir string, env []string, script string, args ...string) (checks []Check) {
	t.Helper()
	cmd := exec.Command("node", append([]string{script}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		t.Errorf("%s: %v\n%s", script, err, stderr.String())
	}
	for line := range bytes.Lines(stdout) {
		var c Check
		if json.Unmarshal(line, &c) != nil {
			t.Errorf("%s wrote %q", script, line)
			continue
		}
		checks = append(checks, c)
	}
	if len(checks) == 0 {
		t.Fatalf("%s made no check", script)
	}
	return checks
}

// Judge fails the test if the check did.
func (c Check) Judge(t *testing.T) {
	t.Helper()
	t.Logf("%d ms: %s", c.MS, c.Detail)
	if !c.OK {
		t.Error("it failed")
	}
}
