// The client: requests to the gateway, and what is read of the answers.
package harness

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Reply is an answer as a client saw it.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
	Cut    error // why the body did not end cleanly; nil: it did
}

// Request makes a request with the ordinary key and a JSON content type. Each header is
// "Name: value" and replaces; "Name:" removes.
func (g *Gateway) Request(ctx context.Context, method, path, body string, header ...string) *http.Request {
	req, err := http.NewRequestWithContext(ctx, method, g.URL+path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Authorization", "Bearer "+UserKey)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ":")
		switch value = strings.TrimSpace(value); {
		case value == "":
			req.Header.Del(name)
		case name == "Host":
			req.Host = value
		default:
			req.Header.Set(name, value)
		}
	}
	return req
}

// Send makes a request and reads its answer to the end.
func (g *Gateway) Send(t testing.TB, method, path, body string, header ...string) Reply {
	t.Helper()
	r, err := g.Try(g.Request(context.Background(), method, path, body, header...))
	if err != nil {
		t.Fatalf("%s %s: %v\nstderr:\n%s", method, path, err, g.Stderr.String())
	}
	return r
}

// Try sends req and reads its answer to the end.
func (g *Gateway) Try(req *http.Request) (Reply, error) {
	res, err := g.Client.Do(req)
	if err != nil {
		return Reply{}, err
	}
	return Read(res), nil
}

// Read reads an answer to its end.
func Read(res *http.Response) Reply {
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return Reply{res.StatusCode, res.Header, body, err}
}

// AsAdmin reads a route of the operator API into a JSON object.
func (g *Gateway) AsAdmin(t testing.TB, path string) Object {
	t.Helper()
	r := g.Send(t, "GET", path, "", "Authorization: Bearer "+AdminKey)
	if r.Status != 200 {
		t.Fatalf("GET %s: %d %s", path, r.Status, r.Body)
	}
	return Parse(t, r.Body)
}

// Raw sends bytes on a connection of their own, size bytes a write (0: all in one), and
// reads one answer. The writing goes on beside the reading, since a server may answer
// before it has read all.
func (g *Gateway) Raw(t testing.TB, request []byte, size int) Reply {
	t.Helper()
	conn, err := net.Dial("tcp", g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	var writing sync.WaitGroup
	defer writing.Wait()
	defer conn.Close()
	writing.Go(func() { _ = writeBy(conn, request, size) })
	in, method := bufio.NewReader(conn), string(bytes.SplitN(request, []byte(" "), 2)[0])
	for {
		res, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("no answer to %.80q: %v", request, err)
		}
		r := Read(res)
		if r.Status/100 != 1 {
			return r
		}
	}
}

// writeBy writes b, size bytes a write (0: all in one).
func writeBy(w io.Writer, b []byte, size int) error {
	if size == 0 {
		size = max(len(b), 1)
	}
	for len(b) > 0 {
		n := min(size, len(b))
		if _, err := w.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// Parse reads a JSON object.
func Parse(t testing.TB, text []byte) Object {
	t.Helper()
	var doc Object
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatalf("not a JSON object: %v\n%.300s", err, text)
	}
	return doc
}
