// Replies: the JSON of an answer, and its HTTP response.

package demo

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// reply is a successful answer: a JSON body, or the script of a stream.
type reply struct {
	body   json.RawMessage
	words  int // that body holds: a slow model takes its time for them
	script *script
}

// fill returns template, a JSON text, with each %s replaced by the JSON of the next value.
func fill(template string, values ...any) json.RawMessage {
	texts := make([]any, len(values))
	for i, v := range values {
		texts[i] = encode(v)
	}
	return fmt.Appendf(nil, template, texts...)
}

// encode returns v as JSON without the escapes that are meant for HTML. Every v is one of this package's own shapes,
// which always have a JSON form.
func encode(v any) json.RawMessage {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("demo: encode: " + err.Error())
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

func newID(prefix string) string { return prefix + rand.Text() }

// response returns r as it is sent; one that is cut breaks off in the middle.
func (r reply) response(req *http.Request, cut bool) *http.Response {
	res := newResponse(req, http.StatusOK)
	steps, end := []step{{data: r.body}}, io.EOF
	if r.script == nil {
		setLength(res, len(r.body))
	} else {
		res.Header.Set("Content-Type", "text/event-stream; charset=utf-8")
		res.ContentLength = -1
		steps = r.script.steps
	}
	if cut {
		steps, end = half(steps), io.ErrUnexpectedEOF
	}
	res.Body = newBody(req.Context(), end, steps...)
	return res
}

// errorResponse answers err in the dialect of the request's path.
func errorResponse(req *http.Request, err error) *http.Response {
	var f *fault
	if !errors.As(err, &f) {
		f = &fault{status: http.StatusInternalServerError, message: err.Error()}
	}
	res := newResponse(req, f.status)
	d, idHeader := dialectOf(req.URL.Path)
	body := f.body(d, res.Header.Get(idHeader))
	setLength(res, len(body))
	res.Body = newBody(req.Context(), io.EOF, step{data: body})
	switch f.status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, statusOverloaded:
		res.Header.Set("Retry-After", "1")
	}
	return res
}

// newResponse returns a response of JSON that lacks its body.
func newResponse(req *http.Request, status int) *http.Response {
	_, idHeader := dialectOf(req.URL.Path)
	h := make(http.Header, 4)
	h.Set("Content-Type", "application/json")
	h.Set(idHeader, newID("req_"))
	return &http.Response{
		Status:     strconv.Itoa(status) + " " + http.StatusText(status),
		StatusCode: status,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     h,
		Request:    req,
	}
}

func setLength(res *http.Response, n int) {
	res.ContentLength = int64(n)
	res.Header.Set("Content-Length", strconv.Itoa(n))
}
