package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"proxycast/upstream/http1"
)

// oracle returns net/http's client for the same server.
func oracle(t testing.TB, addr string) *http.Transport {
	c := &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// TestLikeNetHTTP has both clients send the same random requests to net/http's server, which answers as it was asked. The
// server gets the same and both report the same.
func TestLikeNetHTTP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(echo))
	defer server.Close()
	addr := server.Listener.Addr().String()
	ours, theirs := (&peer{addr: addr}).client(t), oracle(t, addr)
	random := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		method := []string{"GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS"}[random.IntN(6)]
		query := fmt.Sprintf("status=%d&size=%d&flushes=%d", []int{200, 204, 304, 404, 500}[random.IntN(5)], random.IntN(60000), random.IntN(3))
		text := strings.Repeat("x", random.IntN(5)*random.IntN(30000))
		unknown := text != "" && random.IntN(2) == 0
		build := func() *http.Request {
			req, _ := http.NewRequest(method, server.URL+"/a%2Fb?"+query, strings.NewReader(text))
			if unknown {
				req.ContentLength, req.Body = -1, io.NopCloser(io.MultiReader(strings.NewReader(text)))
			}
			req.Header.Set("User-Agent", "test")
			req.Header["X-Several"] = []string{"a", "b"}
			return req
		}
		a, b := tell(ours, build()), tell(theirs, build())
		if a != b {
			t.Fatalf("%s %s, %d bytes:\nours   %.600s\ntheirs %.600s", method, query, len(text), a, b)
		}
	}
}

// echo answers with what it was asked, in the way the query says.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var status, size, flushes int
	fmt.Sscanf(r.URL.RawQuery, "status=%d&size=%d&flushes=%d", &status, &size, &flushes)
	w.Header()["Date"] = nil
	w.Header().Set("X-Asked", fmt.Sprint(r.Method, r.RequestURI, r.Host, r.ContentLength, r.TransferEncoding, r.Header, len(body), err))
	w.WriteHeader(status)
	for range flushes {
		w.(http.Flusher).Flush()
		io.WriteString(w, strings.Repeat("y", size/3))
	}
	io.WriteString(w, strings.Repeat("z", size))
}

// tell describes a reply.
func tell(client http.RoundTripper, req *http.Request) string {
	res, err := client.RoundTrip(req)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return fmt.Sprint(res.Status, res.StatusCode, res.Proto, res.ProtoMajor, res.ProtoMinor, res.ContentLength, res.TransferEncoding, res.Close,
		res.Uncompressed, res.Header, err, string(body))
}

// TestRepliesLikeNetHTTP: of the raw replies too, what both take they take alike.
func TestRepliesLikeNetHTTP(t *testing.T) {
	for _, c := range replies {
		excess := strings.Contains(c.name, "behind") || strings.Contains(c.name, " with a ")
		if c.err != nil || excess || c.name == "101" || c.name == "HTTP/1.0" { // of which Close differs
			continue
		}
		p := newPeer(t, once(c.reply))
		if a, b := tell(p.client(t), newRequest(t, c.method, "")), tell(oracle(t, p.addr), newRequest(t, c.method, "")); a != b {
			t.Errorf("%s:\nours   %.300s\ntheirs %.300s", c.name, a, b)
		}
	}
}

// script is a connection whose server says the same to everybody, a few bytes at a time.
type script struct {
	net.Conn
	text []byte
	step int
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.text) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.text[:min(len(s.text), s.step)])
	s.text = s.text[n:]
	return n, nil
}
func (s *script) Write(p []byte) (int, error) { return len(p), nil }
func (s *script) Close() error                { return nil }

// FuzzReply compares with http.ReadResponse: what we take it takes, to the same bytes. We refuse more: other versions than 1.0
// and 1.1, status codes below 100, two spaces after the version, folded lines, control characters in the reason, lengths
// given twice, length and chunks together, chunks of HTTP/1.0, 16 digits of a chunk's size, a Trailer field's forbidden names, and
// more interim replies, fields, extensions and trailers than our limits.
func FuzzReply(f *testing.F) {
	for _, c := range replies {
		if len(c.reply) < 1000 {
			f.Add([]byte(c.reply), c.method == "HEAD", 7)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, head bool, step int) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		step = max(1, step&0xff)
		client := &http1.Transport{Dial: func(context.Context) (net.Conn, error) { return &script{text: text, step: step}, nil }}
		req, _ := http.NewRequest(method, "http://x/", nil)
		res, err := client.RoundTrip(req)
		if err != nil {
			if !errors.Is(err, http1.ErrBadReply) && !errors.Is(err, http1.ErrClosed) {
				t.Fatal(err)
			}
			return
		}
		ours, err := io.ReadAll(res.Body)
		res.Body.Close()
		r := bufio.NewReaderSize(bytes.NewReader(text), 64<<10)
		var want *http.Response
		for want == nil || want.StatusCode < 200 && want.StatusCode != 101 {
			var failed error
			if want, failed = http.ReadResponse(r, req); failed != nil {
				if bytes.Contains(bytes.ToLower(text), []byte("trailer")) {
					t.Skip()
				}
				t.Fatalf("net/http refuses %q: %v", text, failed)
			}
		}
		theirs, failed := io.ReadAll(want.Body)
		if err == nil && (failed != nil || !bytes.Equal(ours, theirs)) || !bytes.HasPrefix(theirs, ours) {
			t.Fatalf("%q\nours   %q, %v\ntheirs %q, %v", text, ours, err, theirs, failed)
		}
		delete(want.Header, "Cache-Control") // which it makes of Pragma
		delete(res.Header, "Cache-Control")
		if res.Status != want.Status || res.ContentLength != want.ContentLength || !reflect.DeepEqual(res.Header, want.Header) {
			t.Fatalf("%q\nours   %v %d %q\ntheirs %v %d %q", text, res.Status, res.ContentLength, res.Header, want.Status, want.ContentLength, want.Header)
		}
	})
}
