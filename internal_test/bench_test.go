// The benchmark: the gateway, with authentication, routing, metering and logging,
// against a bare httputil.ReverseProxy in a process of its own, in turn, with the
// same provider behind them. It prints ratios; on a shared machine only these say
// anything. It fails only on errors and on missing records.
package gateway_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// benchRole names what a process of the test binary is, when it is not the tests:
// "provider" or "reverseproxy" (to the URL in benchTarget). Each prints its URL.
const (
	benchRole   = "PROXYCAST_BENCH_ROLE"
	benchTarget = "PROXYCAST_BENCH_TARGET"
)

const (
	benchRounds  = 5
	benchTime    = time.Second // of one side in one round
	benchStreams = 200
	benchEvents  = 50 // a stream
	benchPause   = 20 * time.Millisecond
)

func TestMain(m *testing.M) {
	switch os.Getenv(benchRole) {
	case "provider":
		serveBenchProvider()
	case "reverseproxy":
		serveReverseProxy()
	default:
		os.Exit(harness.Main(m))
	}
}

func serveBench(h http.Handler) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("http://%s\n", l.Addr())
	fmt.Fprintln(os.Stderr, http.Serve(l, h))
	os.Exit(1)
}

func serveBenchProvider() {
	reply := []byte(strings.Replace(chatReply, "Hello!", strings.Repeat("Hello! ", 100), 1))
	serveBench(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var tail [64]byte
		_, _ = io.CopyN(io.Discard, r.Body, max(0, r.ContentLength-int64(len(tail))))
		n, _ := io.ReadFull(r.Body, tail[:])
		if !bytes.Contains(tail[:n], []byte(`"stream":true`)) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", strconv.Itoa(len(reply)))
			_, _ = w.Write(reply)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for range benchEvents {
			_, _ = io.WriteString(w, chatDelta)
			w.(http.Flusher).Flush()
			time.Sleep(benchPause)
		}
		_, _ = io.WriteString(w, chatFinish+chatUsage+chatDone)
	}))
}

func serveReverseProxy() {
	target, err := url.Parse(os.Getenv(benchTarget))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:  &http.Transport{MaxIdleConnsPerHost: 10000, DisableCompression: true},
		BufferPool: buffers{&sync.Pool{New: func() any { return make([]byte, 32<<10) }}},
	}
	serveBench(proxy)
}

// buffers keeps the copy buffers of the ReverseProxy: without it a third of its
// speed is lost to allocation.
type buffers struct{ pool *sync.Pool }

func (b buffers) Get() []byte  { return b.pool.Get().([]byte) }
func (b buffers) Put(p []byte) { b.pool.Put(p) }

// benchProcess runs the test binary in a role.
func benchProcess(b *testing.B, role, target string) *side {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchRole+"="+role, benchTarget+"="+target)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatalf("%s: %v", role, err)
	}
	return &side{url: strings.TrimSpace(line), pid: cmd.Process.Pid}
}

// side is one of the two that are compared.
type side struct {
	url      string
	pid      int
	requests int64 // sent in all
	errors   int64
}

// processor is the CPU time that the process has used.
func (s *side) processor(b *testing.B) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid))
	if err != nil {
		b.Skipf("CPU time cannot be read: %v", err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+2:]))
	var ticks int64
	for _, field := range fields[11:13] { // utime, stime; proc(5)
		n, _ := strconv.ParseInt(field, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100
}

// cost is what a side's units (requests or events) took.
type cost struct {
	units     int64
	wall, cpu time.Duration
}

func (c *cost) add(b *testing.B, s *side, load func(s *side) int64) {
	begin, cpu := time.Now(), s.processor(b)
	c.units += load(s)
	c.wall += time.Since(begin)
	c.cpu += s.processor(b) - cpu
}

func (c *cost) perUnit() float64 { return c.cpu.Seconds() / float64(c.units) }
func (c *cost) rate() float64    { return float64(c.units) / c.wall.Seconds() }

func BenchmarkGateway(b *testing.B) {
	provider := benchProcess(b, "provider", "")
	bare := benchProcess(b, "reverseproxy", provider.url)
	g := start(b, object{
		"logs": object{"max_file": "1GiB", "max_total": "4GiB"},
		"upstream": object{"providers": list{
			object{"name": "bench", "type": "openai", "base_url": provider.url, "api_key": harness.ProviderKey, "models": list{"m-*"}, "stream_usage": false},
		}},
	})
	ours := &side{url: g.URL, pid: g.PID()}
	f := func(name, unit string, load func(s *side) int64) {
		b.Run(name, func(b *testing.B) {
			load(ours) // warm up
			load(bare)
			var our, their cost
			for range benchRounds {
				our.add(b, ours, load)
				their.add(b, bare, load)
			}
			b.ReportMetric(0, "ns/op") // the ratios are the result
			b.ReportMetric(our.perUnit()*1e6, "µs-CPU/"+unit)
			b.ReportMetric(our.perUnit()/their.perUnit(), "CPU-ratio")
			if unit == "request" {
				b.ReportMetric(our.rate(), "requests/s")
				b.ReportMetric(our.rate()/their.rate(), "rate-ratio")
			}
		})
	}
	f("1KB", "request", func(s *side) int64 { return s.plain(64, 1<<10) })
	f("100KB", "request", func(s *side) int64 { return s.plain(64, 100<<10) })
	f("1MB", "request", func(s *side) int64 { return s.plain(64, 1<<20) })
	f("200streams", "event", (*side).streams)

	if b.Logf("errors of the bare proxy: %d", bare.errors); ours.errors > 0 {
		b.Errorf("errors: %d", ours.errors)
	}
	if n := countRecords(b, filepath.Dir(g.LogFile())); n != ours.requests {
		b.Errorf("%d records of %d requests", n, ours.requests)
	}
}

// benchRequest is a request with an escaped text of about size bytes; its body ends
// in the given fields, as the Python SDK puts the model last.
func benchRequest(address, end string, size int) []byte {
	body := `{"messages":[{"role":"user","content":"` + strings.Repeat(`All work and no \"play\"\n`, size/25) + `"}],` + end + `}`
	return fmt.Appendf(nil, "POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		address, harness.UserKey, len(body), body)
}

// plain sends requests on as many connections for benchTime and counts them.
func (s *side) plain(connections, size int) int64 {
	address := strings.TrimPrefix(s.url, "http://")
	request := benchRequest(address, `"model":"m-1"`, size)
	until := time.Now().Add(benchTime)
	var done, failed atomic.Int64
	var working sync.WaitGroup
	for range connections {
		working.Go(func() {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				failed.Add(1)
				return
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			for time.Now().Before(until) {
				if _, err = conn.Write(request); err == nil {
					err = skipReply(in)
				}
				if done.Add(1); err != nil {
					failed.Add(1)
					return
				}
			}
		})
	}
	working.Wait()
	s.requests += done.Load()
	s.errors += failed.Load()
	return done.Load()
}

// skipReply reads over one reply with a content-length, as cheaply as it can.
func skipReply(in *bufio.Reader) error {
	length, first := -1, true
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.Contains(line, []byte(" 200 ")) {
			return fmt.Errorf("%s", line)
		}
		first = false
		if len(line) == 2 {
			break
		}
		const name = "content-length:"
		if len(line) > len(name) && strings.EqualFold(string(line[:len(name)]), name) {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(line[len(name):])))
		}
	}
	_, err := in.Discard(length)
	return err
}

// streams runs benchStreams streams at once and counts events.
func (s *side) streams() int64 {
	address := strings.TrimPrefix(s.url, "http://")
	request := benchRequest(address, `"stream":true,"model":"m-1"`, 1<<10)
	var done, failed atomic.Int64
	var working sync.WaitGroup
	for range benchStreams {
		working.Go(func() {
			n, err := readStream(address, request)
			if done.Add(n); err != nil || n != benchEvents+3 {
				failed.Add(1)
			}
		})
	}
	working.Wait()
	s.requests += benchStreams
	s.errors += failed.Load()
	return done.Load()
}

func readStream(address string, request []byte) (events int64, err error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if _, err := conn.Write(request); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err
	}
	body, err := io.ReadAll(res.Body)
	return int64(bytes.Count(body, []byte("\n\n"))), err
}

// countRecords counts the lines of all log files.
func countRecords(b *testing.B, dir string) int64 {
	b.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "requests*.jsonl"))
	var n int64
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		n += int64(bytes.Count(text, []byte("\n")))
	}
	return n
}
