// Package demo is the embedded provider: it answers the calls of both
// dialects in this process, so that a gateway can be tried with no account and
// no network. It keeps to the wire shapes, the counts and the refusals of a
// careful provider, and shows on request, by model name, how one fails.
package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Transport answers requests for URLs of the scheme demo:, such as
// demo://demo/v1/chat/completions; of the URL only the end of the path counts.
// Any credential is good. The zero value is ready, and safe for concurrent use.
//
// Every model named demo-* is served; its streams take 20 ms a word. Some
// behave in their own way:
//
//	demo-fast       streams without any pause
//	demo-slow       takes 1 s before the first word and 300 ms before each other
//	demo-error-NNN  answers the status NNN, 400 to 599
//	demo-cut        breaks off in the middle of its reply
//	demo-silent     never answers
//
// RoundTrip and the reply's body end with the cause of the request's context
// when that is done.
type Transport struct{}

// routes are tried in order.
var routes = [...]struct {
	path  string
	serve func(call) (reply, error)
}{
	{"/chat/completions", call.chatCompletions},
	{"/responses", call.responses},
	{"/messages", call.messages},
	{"/messages/count_tokens", call.countTokens},
	{"/embeddings", call.embeddings},
}

// call is a request that has a route and a model that is served.
type call struct {
	model    string
	behavior behavior
	body     []byte
}

// reply is a successful answer: a body, or the script of a stream.
type reply struct {
	contentType string
	body        []byte
	words       int // that body holds: a slow model takes its time for them
	script      *script
}

// RoundTrip implements http.RoundTripper.
func (Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := readBody(req)
	if err == errTooLarge {
		return errorResponse(req, err), nil
	}
	if err != nil {
		return nil, fmt.Errorf("demo: read the request: %w", err)
	}
	ctx := req.Context()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, "/models") {
		return plainResponse(req, models()), nil
	}
	c, serve, err := parseCall(req, body)
	if err != nil {
		return errorResponse(req, err), nil
	}
	if c.behavior.silent {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	r, err := serve(c)
	if err != nil {
		return errorResponse(req, err), nil
	}
	if r.script != nil {
		return streamResponse(req, r.script, c.behavior), nil
	}
	if c.behavior.slow {
		if err := wait(ctx, nil, c.behavior.pace.total(r.words)); err != nil {
			return nil, err
		}
	}
	res := plainResponse(req, r)
	if c.behavior.cut {
		res.Body = newBody(ctx, r.body[:len(r.body)/2], nil, io.ErrUnexpectedEOF)
	}
	return res, nil
}

func readBody(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	defer req.Body.Close()
	body, err := io.ReadAll(io.LimitReader(req.Body, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = errTooLarge
	}
	return body, err
}

// maxBody bounds a request's body: it becomes a tree of values, many times its size.
const maxBody = 1 << 20

var errTooLarge = &fault{status: http.StatusRequestEntityTooLarge, message: "the demo provider takes requests of 1 MiB at most"}

// maxModel bounds a model's name, which every event of a stream repeats.
const maxModel = 128

// parseCall finds a request's route and model.
func parseCall(req *http.Request, body []byte) (call, func(call) (reply, error), error) {
	var serve func(call) (reply, error)
	for _, r := range routes {
		if req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, r.path) {
			serve = r.serve
			break
		}
	}
	if serve == nil {
		return call{}, nil, &fault{status: http.StatusNotFound, code: "unknown_url",
			message: fmt.Sprintf("the demo provider has no endpoint %s %.200s; it serves chat/completions, messages, messages/count_tokens, responses, embeddings and models", req.Method, req.URL.Path)}
	}
	if !utf8.Valid(body) {
		return call{}, nil, &fault{status: http.StatusBadRequest, message: "the request body is not valid UTF-8"}
	}
	var head struct {
		Model string `json:"model"`
	}
	if err := decode(body, &head); err != nil {
		return call{}, nil, err
	}
	if head.Model == "" {
		return call{}, nil, missing("model")
	}
	if len(head.Model) > maxModel {
		return call{}, nil, invalid("model", "is longer than %d bytes", maxModel)
	}
	if !strings.HasPrefix(head.Model, "demo-") {
		return call{}, nil, &fault{status: http.StatusNotFound, param: "model", code: "model_not_found",
			message: fmt.Sprintf("%q does not exist at the demo provider; it serves demo-1 and every other demo-*", head.Model)}
	}
	b, status := behave(head.Model)
	if status != 0 {
		return call{}, nil, &fault{status: status, message: "the model " + head.Model + " always fails with this status"}
	}
	return call{head.Model, b, body}, serve, nil
}

// behavior is how a model answers, apart from what it says.
type behavior struct {
	pace   pace
	slow   bool // plain replies take their time too
	cut    bool
	silent bool
}

// behave gives a model's behavior, or the status with which it always fails.
func behave(model string) (b behavior, status int) {
	lively := behavior{pace: pace{first: 20 * time.Millisecond, word: 20 * time.Millisecond}}
	switch model {
	case "demo-fast":
		return behavior{}, 0
	case "demo-slow":
		return behavior{pace: pace{first: time.Second, word: 300 * time.Millisecond}, slow: true}, 0
	case "demo-cut":
		lively.cut = true
	case "demo-silent":
		lively.silent = true
	}
	if digits, ok := strings.CutPrefix(model, "demo-error-"); ok {
		if n, err := strconv.Atoi(digits); err == nil && 400 <= n && n <= 599 {
			return behavior{}, n
		}
	}
	return lively, 0
}

// models is the reply to GET /models, in OpenAI's list shape.
func models() reply {
	type model struct {
		ID      string `json:"id"`
		Object  string `json:"object"`
		Created int64  `json:"created"`
		OwnedBy string `json:"owned_by"`
	}
	return jsonReply(struct {
		Object string  `json:"object"`
		Data   []model `json:"data"`
	}{"list", []model{{"demo-1", "model", 1_750_000_000, "proxycast"}}}, 0)
}

func jsonReply(v any, words int) reply {
	return reply{contentType: "application/json", body: encode(v), words: words}
}

func plainResponse(req *http.Request, r reply) *http.Response {
	res := newResponse(req, http.StatusOK, r.contentType)
	setBody(res, r.body)
	return res
}

func streamResponse(req *http.Request, s *script, b behavior) *http.Response {
	res := newResponse(req, http.StatusOK, "text/event-stream; charset=utf-8")
	res.ContentLength = -1
	events, end := s.events.Bytes(), io.EOF
	if b.cut {
		events, end = s.half(), io.ErrUnexpectedEOF
	}
	res.Body = newBody(req.Context(), events, s.beats, end)
	return res
}

// errorResponse answers err in the dialect of the request's path.
func errorResponse(req *http.Request, err error) *http.Response {
	f := asFault(err)
	res := newResponse(req, f.status, "application/json")
	d := dialectOf(req.URL.Path)
	setBody(res, f.body(d, res.Header.Get(requestIDHeader(d))))
	switch f.status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, statusOverloaded:
		res.Header.Set("Retry-After", "1")
	}
	return res
}

func newResponse(req *http.Request, status int, contentType string) *http.Response {
	h := make(http.Header, 4)
	h.Set("Content-Type", contentType)
	h.Set(requestIDHeader(dialectOf(req.URL.Path)), newID("req_"))
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

func setBody(res *http.Response, data []byte) {
	res.ContentLength = int64(len(data))
	res.Header.Set("Content-Length", strconv.Itoa(len(data)))
	res.Body = newBody(res.Request.Context(), data, nil, io.EOF)
}

func newID(prefix string) string { return prefix + rand.Text() }

// encode gives v as JSON without the escapes that are meant for HTML. Every v
// is one of this package's own shapes, which always have a JSON form.
func encode(v any) []byte {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("demo: encode: " + err.Error())
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}
