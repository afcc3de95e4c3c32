// What benchmarks of the log put around the gateway: a provider in a process of its own,
// and a load. What the gateway costs beside other proxies, internal_test/bench measures.
package gateway_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
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

// benchProvider makes a process of the test binary the provider, which prints its URL.
const benchProvider = "PROXYCAST_BENCH_PROVIDER"

const (
	benchRounds = 5
	benchTime   = time.Second // of one side in one round
)

func TestMain(m *testing.M) {
	if os.Getenv(benchProvider) != "" {
		serveBenchProvider()
	}
	os.Exit(harness.Main(m))
}

func serveBenchProvider() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("http://%s\n", l.Addr())
	fmt.Fprintln(os.Stderr, http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(chatReply)))
		_, _ = io.WriteString(w, chatReply)
	})))
	os.Exit(1)
}

// startBenchProvider returns the URL of a provider in a process of its own.
func startBenchProvider(b *testing.B) string {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchProvider+"=1")
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
		b.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// side is a gateway under load.
type side struct {
	url      string
	requests int64 // sent in all
	errors   int64
}

// benchRequest is a request with an escaped text of about size bytes, the model last, as
// the Python SDK puts it.
func benchRequest(address string, size int) []byte {
	body := `{"messages":[{"role":"user","content":"` + strings.Repeat(`All work and no \"play\"\n`, size/25) + `"}],"model":"m-1"}`
	return fmt.Appendf(nil, "POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		address, harness.UserKey, len(body), body)
}

// plain sends requests on as many connections for benchTime and counts them.
func (s *side) plain(connections, size int) int64 {
	address := strings.TrimPrefix(s.url, "http://")
	request := benchRequest(address, size)
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
