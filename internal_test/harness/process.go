// The process: one run of the binary, and what it writes.
package harness

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Output collects what a process writes.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Process is one run of the binary.
type Process struct {
	Stdout, Stderr Output
	Ended          chan struct{}
	cmd            *exec.Cmd
}

// Execute starts the binary in dir. At the test's end it is killed, and the test fails if
// it reported a panic or a data race.
func Execute(t testing.TB, dir string, env []string, args ...string) *Process {
	t.Helper()
	return execute(t, dir, env, nil, nil, args...)
}

// execute is Execute with stdout and stderr on files. Where they are nil, the Process
// collects what is written.
func execute(t testing.TB, dir string, env []string, stdout, stderr *os.File, args ...string) *Process {
	t.Helper()
	p := &Process{Ended: make(chan struct{})}
	p.cmd = exec.Command(Binary, args...)
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), "OPENAI_API_KEY=", "ANTHROPIC_API_KEY=", "HTTP_PROXY=", "http_proxy=", "HTTPS_PROXY=", "https_proxy=")
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.Stdout, &p.Stderr
	if stdout != nil {
		p.cmd.Stdout, p.cmd.Stderr = stdout, stderr
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // exit codes are read from ProcessState
		close(p.Ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.Ended
		for _, mark := range []string{"panic:", "fatal error:", "DATA RACE"} {
			if strings.Contains(p.Stderr.String(), mark) {
				t.Errorf("the gateway wrote %q:\n%s", mark, p.Stderr.String())
			}
		}
	})
	return p
}

// Command runs the binary to its end.
func Command(t testing.TB, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := Execute(t, dir, nil, args...)
	code = p.Exit(t, Patience)
	return code, p.Stdout.String(), p.Stderr.String()
}

// Exit waits for the process to end by itself and returns its exit code.
func (p *Process) Exit(t testing.TB, within time.Duration) int {
	t.Helper()
	select {
	case <-p.Ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		t.Fatalf("still running after %v\nstderr:\n%s", within, p.Stderr.String())
		return -1
	}
}

// Signal sends sig to the process.
func (p *Process) Signal(t testing.TB, sig os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// Kill ends the process as a crash does.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.Ended
}

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// OpenFiles is how many descriptors the process holds. It fails where there is no /proc.
func (p *Process) OpenFiles() (int, error) {
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID()))
	return len(files), err
}

// PeakMemory is the most memory that the process has had resident, in bytes.
func (p *Process) PeakMemory(t testing.TB) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		Missing(t, "memory cannot be read: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmHWM:" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10
		}
	}
	t.Fatal("there is no VmHWM")
	return 0
}
