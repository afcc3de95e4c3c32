//go:build linux

// Processes: each part of the benchmark is one, on a core of its own where there are
// several, and /proc tells what it used.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Go raises the limit of open files at each process's start (package os): 5,000 streams
// take 10,000 of a gateway.

// Cores, as taskset takes them: the target has one to itself, load and provider the rest.
var targetCore, otherCores = cores()

func cores() (target, others string) {
	n := runtime.NumCPU()
	if _, err := exec.LookPath("taskset"); err != nil || n < 2 {
		return "", ""
	}
	return strconv.Itoa(n - 1), fmt.Sprintf("0-%d", n-2)
}

// command runs argv in dir on the given cores ("": any); it dies with this process.
func command(ctx context.Context, cores, dir string, argv ...string) *exec.Cmd {
	if cores != "" {
		argv = append([]string{"taskset", "-c", cores}, argv...)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// process is a running target.
type process struct {
	address string // host:port
	dir     string
	cmd     *exec.Cmd
	ended   chan struct{}
	pids    []int // the process and its children
}

// startTarget runs t with its config in a new folder of dir, before the provider, and
// waits until it answers.
func startTarget(ctx context.Context, t target, dir, provider string) (*process, error) {
	dir, err := os.MkdirTemp(dir, t.Name+"-")
	if err != nil {
		return nil, err
	}
	port := t.Port
	if port == 0 {
		if port, err = freePort(); err != nil {
			return nil, err
		}
	}
	argv, err := t.prepare(dir, port, provider)
	if err != nil {
		return nil, err
	}
	p := &process{address: fmt.Sprintf("127.0.0.1:%d", port), dir: dir, ended: make(chan struct{})}
	p.cmd = command(ctx, targetCore, dir, argv...)
	output, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		return nil, err
	}
	defer output.Close()
	p.cmd.Stdout, p.cmd.Stderr = output, output
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // a killed process is no error here
		close(p.ended)
	}()
	if !p.answers() {
		p.stop()
		text, _ := os.ReadFile(output.Name())
		return nil, fmt.Errorf("%s does not answer on %s:\n%s", t.Name, p.address, text)
	}
	p.pids = family(p.cmd.Process.Pid)
	return p, nil
}

// answers waits until the process answers anything at all; false: it has ended, or takes
// too long.
func (p *process) answers() bool {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	for limit := time.Now().Add(30 * time.Second); time.Now().Before(limit); {
		if res, err := client.Get("http://" + p.address + "/livez"); err == nil {
			res.Body.Close()
			return true
		}
		select {
		case <-p.ended:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// stop ends the process, gently at first, so that it writes its log.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// lines counts the lines of the files in the process's folder that match pattern.
func (p *process) lines(pattern string) (n int64) {
	files, _ := filepath.Glob(filepath.Join(p.dir, pattern))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		n += int64(bytes.Count(text, []byte("\n")))
	}
	return n
}

// startMock runs the provider; it returns its address and its process.
func startMock(ctx context.Context, self string) (address string, pid int, err error) {
	cmd := command(ctx, otherCores, "", self, "mock")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", 0, err
	}
	if err := cmd.Start(); err != nil {
		return "", 0, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	return strings.TrimSpace(line), cmd.Process.Pid, err
}

// runLoad runs the job in a process of its own.
func runLoad(ctx context.Context, self string, j job) (o outcome, err error) {
	text, err := json.Marshal(j)
	if err != nil {
		return o, err
	}
	cmd := command(ctx, otherCores, "", self, "load")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(text), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return o, fmt.Errorf("load: %w", err)
	}
	return o, json.Unmarshal(out, &o)
}

// family returns the process and all below it.
func family(pid int) []int {
	pids := []int{pid}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(text)) {
			child, _ := strconv.Atoi(field)
			pids = append(pids, family(child)...)
		}
	}
	return pids
}

// tick is the unit of the times in /proc; USER_HZ is 100 on every Linux (proc(5)).
const tick = 10 * time.Millisecond

// cpuOf is the CPU time that the processes have used.
func cpuOf(pids []int) (sum time.Duration) {
	for _, pid := range pids {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := strings.Cut(string(text), ") ")
		sum += ticks(strings.Fields(rest), 11, 12) // utime, stime
	}
	return sum
}

// busyCPU is the CPU time that all processes of the machine have used.
func busyCPU() time.Duration {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	return ticks(strings.Fields(line), 1, 2, 3, 8) // user, nice, system, steal
}

func ticks(fields []string, places ...int) (sum time.Duration) {
	for _, i := range places {
		if i < len(fields) {
			n, _ := strconv.ParseInt(fields[i], 10, 64)
			sum += time.Duration(n) * tick
		}
	}
	return sum
}

// memoryOf is what the processes have resident, in MB.
func memoryOf(pids []int) (sum float64) {
	for _, pid := range pids {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if fields := strings.Fields(string(text)); len(fields) > 1 {
			pages, _ := strconv.ParseFloat(fields[1], 64)
			sum += pages * float64(os.Getpagesize()) / 1e6
		}
	}
	return sum
}
