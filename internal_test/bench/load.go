//go:build linux

// The load: a closed loop of connections, an open loop that keeps its rate whatever the
// gateway does, or slow streams side by side; and what it saw.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// key is the client's in every target's config.
const key = "bench-key-0123456789abcdef"

// job is what a load does.
type job struct {
	Address     string // of the target, host:port
	Anthropic   bool   // else OpenAI
	Size        int    // of a request's body, in bytes, about
	Connections int
	Streams     bool          // one stream a connection, opened one after another; else requests in a loop
	Rate        float64       // requests a second over all connections; 0: each as soon as its connection is free
	Script      script        // what the provider answers
	Time        time.Duration // of what is measured, after warming up
	Target      []int         // the target's processes, whose CPU and memory are measured
	Others      []int         // further processes of the benchmark
}

// warmUp passes before the measured window, and is what streams have to settle.
const warmUp = 300 * time.Millisecond

// outcome is what a load saw. Sent, Failed and Lost are of the whole job, the others of
// the measured window.
type outcome struct {
	Sent, Failed int64
	Lost         int64  // chunks of streams
	Fault        string // the first
	Requests     int64  // answered
	Chunks       int64  // received
	Seconds      float64
	CPU          float64 // the target's, in seconds
	Foreign      float64 // CPU time of what is no part of the benchmark, in cores
	Peak         float64 // the target's memory, MB
	P50, P99     float64 // µs: open loop from the intended send time to the reply's end, slow streams from a chunk's send time to its receipt
}

type load struct {
	job
	request                  []byte
	sent, failed, lost       atomic.Int64
	requests, chunks, opened atomic.Int64
	measuring, stopping      atomic.Bool
	mu                       sync.Mutex
	fault                    string
	took                     []int64 // nanoseconds
}

// run does the job to its end.
func (j job) run() outcome {
	l := &load{job: j, request: j.compose()}
	var working sync.WaitGroup
	due := make(chan time.Time, 1<<16)
	for i := range j.Connections {
		working.Go(func() {
			switch {
			case j.Streams:
				time.Sleep(time.Second * time.Duration(i) / time.Duration(j.Connections))
				l.stream()
			case j.Rate > 0:
				l.answerDue(due)
			default:
				l.closedLoop()
			}
		})
	}
	if j.Rate > 0 {
		runtime.GOMAXPROCS(4) // on one core too: replies are read while the pacer sleeps in the kernel
		working.Go(func() { l.pace(due) })
	}
	for limit := time.Now().Add(20 * time.Second); j.Streams && l.opened.Load()+l.failed.Load() < int64(j.Connections) && time.Now().Before(limit); {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(warmUp)
	o := l.measure()
	l.stopping.Store(true)
	working.Wait()
	o.Sent, o.Failed, o.Lost, o.Fault = l.sent.Load(), l.failed.Load(), l.lost.Load(), l.fault
	slices.Sort(l.took)
	if n := len(l.took); n > 0 {
		o.P50, o.P99 = float64(l.took[n/2])/1e3, float64(l.took[n*99/100])/1e3
	}
	return o
}

// measure observes the load for its Time.
func (l *load) measure() (o outcome) {
	begin, target, others, busy := time.Now(), cpuOf(l.Target), cpuOf(l.Others), busyCPU()
	requests, chunks := l.requests.Load(), l.chunks.Load()
	l.measuring.Store(true)
	for time.Since(begin) < l.Time {
		time.Sleep(min(250*time.Millisecond, l.Time-time.Since(begin)))
		o.Peak = max(o.Peak, memoryOf(l.Target))
	}
	l.measuring.Store(false)
	o.Seconds = time.Since(begin).Seconds()
	o.Requests, o.Chunks = l.requests.Load()-requests, l.chunks.Load()-chunks
	o.CPU = (cpuOf(l.Target) - target).Seconds()
	o.Foreign = max(0, (busyCPU()-busy-(cpuOf(l.Others)-others)).Seconds()-o.CPU) / o.Seconds
	return o
}

// compose makes the request: escaped code in the body, the model last, as the Python SDK
// sends it.
func (j job) compose() []byte {
	const code = `func main() {\n\tfmt.Println(\"hello, \\\"world\\\"\")\n}\n`
	d, start, model, auth := openai, `{`, "m-1", "Authorization: Bearer "+key
	if j.Anthropic {
		d, start, model, auth = anthropic, `{"max_tokens":1024,`, "claude-1", "anthropic-version: 2023-06-01\r\nx-api-key: "+key
	}
	body := fmt.Sprintf(`%s"messages":[{"role":"user","content":"%s"}],"stream":%t,"model":%q}`, start, strings.Repeat(code, 1+j.Size/len(code)), j.Script.Chunks > 0, model)
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\n%s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", d.path, j.Address, auth, len(body), body)
}

// closedLoop sends requests on one connection, each when the last is answered.
func (l *load) closedLoop() {
	c := client{load: l}
	defer c.hangUp()
	for !l.stopping.Load() {
		c.exchange()
	}
}

// pace makes requests due at the rate, until the load stops. It sleeps in the kernel:
// the runtime's timers are late by up to a millisecond.
func (l *load) pace(due chan<- time.Time) {
	defer close(due)
	runtime.LockOSThread()
	next := time.Now()
	for !l.stopping.Load() {
		if wait := syscall.NsecToTimespec(time.Until(next).Nanoseconds()); wait.Nano() > 0 {
			_ = syscall.Nanosleep(&wait, nil)
		}
		due <- next
		next = next.Add(time.Duration(float64(time.Second) / l.Rate))
	}
}

// answerDue sends what is due on one connection; a request that waits for a connection
// gets later, and that counts.
func (l *load) answerDue(due <-chan time.Time) {
	c := client{load: l}
	defer c.hangUp()
	for intended := range due {
		counts := l.measuring.Load()
		if c.exchange() && counts {
			c.spent = append(c.spent, int64(time.Since(intended)))
		}
	}
}

// stream has one stream answered.
func (l *load) stream() {
	c := client{load: l}
	defer c.hangUp()
	c.exchange()
}

// client is one connection of a load.
type client struct {
	*load
	conn  net.Conn
	in    *bufio.Reader
	buf   []byte
	got   int    // chunks of the present reply
	carry []byte // of a chunk's stamp
	spent []int64
}

// exchange sends the request and reads its reply, on a new connection when the last one
// failed. It returns whether all of it came.
func (c *client) exchange() bool {
	if err := c.dial(); err != nil {
		c.fail(err)
		return false
	}
	c.sent.Add(1)
	c.got, c.carry = 0, c.carry[:0]
	err := c.sendAndRead()
	if missing := c.Script.Chunks - c.got; missing > 0 {
		c.lost.Add(int64(missing))
		err = cmp.Or(err, fmt.Errorf("%d chunks are missing", missing))
	}
	if err != nil {
		c.fail(err)
		return false
	}
	c.requests.Add(1)
	return true
}

func (c *client) dial() (err error) {
	if c.conn != nil {
		return nil
	}
	if c.conn, err = net.DialTimeout("tcp", c.Address, 10*time.Second); err != nil {
		return err
	}
	_ = c.conn.SetDeadline(time.Now().Add(5 * time.Minute))
	c.in, c.buf = bufio.NewReader(c.conn), make([]byte, 4<<10)
	return nil
}

func (c *client) sendAndRead() error {
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	h, err := readHead(c.in)
	if err != nil {
		return err
	}
	if !strings.Contains(h.first, " 200 ") {
		return fmt.Errorf("%s", h.first)
	}
	if c.Streams {
		c.opened.Add(1)
	}
	if c.Script.Chunks == 0 {
		return readBody(c.in, h, io.Discard, c.buf)
	}
	return readBody(c.in, h, c, c.buf)
}

// Write counts the chunks in a part of a stream, and how long they took. A stamp may
// reach over into the next part.
func (c *client) Write(part []byte) (int, error) {
	text := part
	if len(c.carry) > 0 {
		c.carry = append(c.carry, part...)
		text = c.carry
	}
	for {
		i := bytes.IndexByte(text, mark)
		if i < 0 {
			c.carry = c.carry[:0]
			return len(part), nil
		}
		if text = text[i:]; len(text) < 1+stampDigits {
			c.carry = append(c.carry[:0], text...)
			return len(part), nil
		}
		c.got++
		c.chunks.Add(1)
		if c.Streams && c.measuring.Load() {
			sent, _ := strconv.ParseInt(string(text[1:1+stampDigits]), 10, 64)
			c.spent = append(c.spent, time.Now().UnixNano()-sent)
		}
		text = text[1+stampDigits:]
	}
}

// fail counts what went wrong; the next exchange has a connection of its own.
func (c *client) fail(err error) {
	c.failed.Add(1)
	c.mu.Lock()
	c.fault = cmp.Or(c.fault, err.Error())
	c.mu.Unlock()
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
	time.Sleep(10 * time.Millisecond) // a target that refuses is not to be dialled in a frenzy
}

// hangUp ends the client and hands in what it measured.
func (c *client) hangUp() {
	if c.conn != nil {
		c.conn.Close()
	}
	c.mu.Lock()
	c.took = append(c.took, c.spent...)
	c.mu.Unlock()
}
