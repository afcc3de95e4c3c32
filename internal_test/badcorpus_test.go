// A corpus of bad input that grows: each file of testdata/bad is a request, a provider's
// reply or a config, each line of its queries a query. Whatever it is, the answer is one
// that a client understands or a closed connection, there is one record, no secret gets
// out, and the next good request is answered.
package gateway_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

const badFolder = "testdata/bad"

// badFiles calls f for each file of a folder of the corpus.
func badFiles(t *testing.T, folder string, f func(t *testing.T, text []byte)) {
	files, err := filepath.Glob(filepath.Join(badFolder, folder, "*"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files in %s: %v", len(files), folder, err)
	}
	t.Logf("%d %s", len(files), folder)
	for _, file := range files {
		t.Run(folder+"/"+filepath.Base(file), func(t *testing.T) { f(t, []byte(readText(t, file))) })
	}
}

// sound fails if g does not answer a good request, or any of the bytes that it has sent or
// written holds a secret. It passes over the record of the good request.
func (g *gateway) sound(t *testing.T, p *provider, answers ...[]byte) {
	t.Helper()
	p.Play(ok(chatReply).serve(whole))
	before := len(g.Records(t))
	if r := g.Send(t, "POST", "/v1/chat/completions", chatRequest, "Authorization: Bearer "+harness.AdminKey); r.Status != 200 {
		t.Errorf("a good request: %d %s", r.Status, r.Body)
	}
	harness.Eventually(t, "the record of the good request", func() bool { return len(g.Records(t)) > before })
	g.Seen = len(g.Records(t))
	for _, answer := range answers {
		for _, secret := range []string{harness.AdminKey, harness.UserKey, harness.ProviderKey} {
			if bytes.Contains(answer, []byte(secret)) {
				t.Errorf("the answer has %s: %.500q", secret, answer)
			}
		}
	}
	g.SecretFree(t)
}

// understood fails if an error is none that a client understands.
func understood(t *testing.T, r reply) {
	t.Helper()
	var fault struct {
		Error struct{ Type, Message string }
	}
	if kind := r.Header.Get("Content-Type"); r.Status >= 400 && r.Status != 412 &&
		(!strings.HasPrefix(kind, "application/json") || json.Unmarshal(r.Body, &fault) != nil || fault.Error.Type == "" || fault.Error.Message == "") {
		t.Errorf("%d, %s: %.300q", r.Status, kind, r.Body)
	}
}

// answerTo sends bytes as they are, and reads one answer; an error is that of a connection
// that closes without one, or stays open for a moment.
func (g *gateway) answerTo(t *testing.T, request []byte) (reply, error) {
	t.Helper()
	conn, err := net.Dial("tcp", g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
	_, _ = conn.Write(request)
	method, _, _ := strings.Cut(string(request[:min(len(request), 20)]), " ")
	in := bufio.NewReader(conn)
	for {
		res, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return reply{}, err
		}
		if r := harness.Read(res); r.Status/100 != 1 {
			return r, nil
		}
	}
}

func TestBadCorpus(t *testing.T) {
	g, p := startBoth(t)
	g.sound(t, p)
	badFiles(t, "requests", func(t *testing.T, request []byte) {
		r, err := g.answerTo(t, request)
		id := r.Header.Get("X-Request-Id")
		switch {
		case err != nil: // closed, or still waited for
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Logf("closed: %v", err)
			}
			time.Sleep(20 * time.Millisecond) // a record of it comes before that of the good request
			if n := len(g.Records(t)) - g.Seen; n > 1 {
				t.Errorf("%d records", n)
			}
		case id == "": // net/http's own, before it is a request
			if r.Status < 400 {
				t.Errorf("an answer without an id: %d %v %q", r.Status, r.Header, r.Body)
			}
			g.Expect(t, 0)
		case strings.HasPrefix(string(request), "OPTIONS"), strings.HasPrefix(string(request), "HEAD"):
		default:
			understood(t, r)
			if rec := g.Next(t); rec.ID != id || rec.Status != r.Status {
				t.Errorf("answered %d as %s, record %+v", r.Status, id, rec)
			}
		}
		g.sound(t, p, r.Body, []byte(strings.Join(r.Header.Values("Location"), "")))
	})
	badFiles(t, "replies", func(t *testing.T, text []byte) {
		var answers [][]byte
		p.Play(func(x *exchange) bool {
			x.Write(text, whole)
			return false
		})
		for _, path := range []string{"/v1/chat/completions", "/v1/messages", "/v1/embeddings"} {
			for _, request := range []string{chatRequest, chatStreamRequest} {
				if path == "/v1/messages" {
					request = strings.Replace(request, "m-1", "claude-1", 1)
				}
				r := g.Send(t, "POST", path, request)
				if r.Status >= 400 && !json.Valid(r.Body) {
					t.Errorf("%d: %.300q", r.Status, r.Body)
				}
				if rec := g.Next(t); rec.ID != r.Header.Get("X-Request-Id") || rec.Status != r.Status || r.Cut != nil && rec.ErrorType == "" {
					t.Errorf("answered %d %v, record %+v", r.Status, r.Cut, rec)
				}
				var head bytes.Buffer
				_ = r.Header.Write(&head)
				answers = append(answers, r.Body, head.Bytes())
			}
		}
		g.sound(t, p, answers...)
	})
	badFiles(t, "configs", func(t *testing.T, text []byte) {
		admin := "Authorization: Bearer " + harness.AdminKey
		before := readText(t, filepath.Join(g.Dir, "config.json"))
		tag := "If-Match: " + g.Send(t, "GET", "/_config", "", admin).Header.Get("Etag")
		checked := g.Send(t, "PUT", "/_config?check=1", string(text), admin)
		r := g.Send(t, "PUT", "/_config", string(text), admin, tag)
		understood(t, r)
		if checked.Status != 200 || !json.Valid(checked.Body) || r.Status != 422 || readText(t, filepath.Join(g.Dir, "config.json")) != before {
			t.Errorf("checked: %d %s\nsaved: %d %s", checked.Status, checked.Body, r.Status, r.Body)
		}
		file := harness.WriteFile(t, t.TempDir(), "config.json", string(text))
		code, stdout, stderr := harness.Command(t, filepath.Dir(file), "check", "-config", file)
		if code != 2 || strings.TrimSpace(stderr) == "" {
			t.Errorf("check: %d %s%s", code, stdout, stderr)
		}
		g.sound(t, p, r.Body, checked.Body, []byte(stdout+stderr))
	})
}

// A query that is not understood is a 400 that says why; what it asked for stands nowhere.
func TestBadQueries(t *testing.T) {
	g, p := startBoth(t)
	queries := strings.Fields(readText(t, filepath.Join(badFolder, "queries")))
	t.Logf("%d queries", len(queries))
	for _, query := range queries {
		request := wireRequest("GET", query, "", "Authorization: Bearer "+harness.AdminKey)
		r := g.Raw(t, []byte(request), 0)
		if r.Header.Get("X-Request-Id") != "" {
			understood(t, r)
		}
		if _, err := url.Parse(query); r.Status >= 500 || r.Status == 200 && !json.Valid(r.Body) || err != nil && r.Status == 200 {
			t.Errorf("%s: %d %.200s", query, r.Status, r.Body)
		}
		g.sound(t, p, r.Body)
	}
}
