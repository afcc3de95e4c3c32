package upstream_test

import (
	"net/http"
	"strings"
	"testing"

	"proxycast/upstream"
	"proxycast/upstream/dialect"
)

func labelled(contentType, encoding, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		if encoding != "" {
			w.Header().Set("Content-Encoding", encoding)
		}
		w.Write([]byte(body))
	}
}

// A document that is called a stream is a document: an answer is passed on as one and not bought again, and no web page is a
// success.
func TestADocumentCalledAStream(t *testing.T) {
	for _, body := range []string{notStream, `{"model":"smart","stream":true}`} {
		p, a, b := pair(t, labelled("text/event-stream", "", reply), plain(reply), nil)
		w, rep := relay(t, p, dialect.ChatCompletions, body)
		if a.calls() != 1 || b.calls() != 0 || rep.Err != nil || w.Body.String() != reply || rep.Usage.Output == nil || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d and %d calls, %v %q %v", body, a.calls(), b.calls(), rep.Err, w.Body, w.Header())
		}
	}
	for _, text := range []string{"<html>no</html>", "null", `"text"`} {
		contentType := "application/json"
		if strings.HasPrefix(text, "<") {
			contentType = "text/event-stream"
		}
		p, _, _ := pair(t, labelled(contentType, "", text), nil, func(cfg *upstream.Config) { cfg.Models["smart"] = route("a/m") })
		w, rep := relay(t, p, dialect.ChatCompletions, streaming)
		if rep.Status != 0 || rep.Err == nil || rep.Err.Status != 502 || w.Body.Len() > 0 || rep.Attempts != 1 {
			t.Errorf("%s: %+v %v %q", text, rep, rep.Err, w.Body)
		}
	}
}

// Names of encodings have no case (RFC 9110 §8.4.1), identity neither.
func TestIdentityInAnyCase(t *testing.T) {
	p, _, _ := pair(t, labelled("text/event-stream", "Identity", role+chunk+finish+usage+done), nil, nil)
	w, rep := relay(t, p, dialect.ChatCompletions, `{"model":"smart","stream":true}`)
	if w.Body.String() != role+chunk+finish+done || rep.Usage.Output == nil {
		t.Errorf("%+v %q", rep, w.Body)
	}
}
