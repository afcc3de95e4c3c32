// Package demo is the built-in provider. It answers in this process, in both dialects, so that a first answer, a first
// stream and a first embedding need no account and no network; models such as demo-cut show how a provider fails.
//
// Its model says the same few sentences every time, in the wire shapes and with the token counts and refusals of a real
// provider. It ignores the options that shape what a real model says, such as temperature, stop sequences and n.
package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Transport answers requests for URLs of the scheme demo:, such as demo://demo/v1/chat/completions; only the end of
// the path counts. Any credential is good. The zero value is ready, and safe for concurrent use.
//
// Every model named demo-* is served; its streams take 20 ms a word. Some behave in their own way:
//
//	demo-fast       streams without any pause
//	demo-slow       takes 1 s before the first word and 300 ms before each other
//	demo-error-NNN  answers the status NNN, 400 to 599
//	demo-cut        breaks off in the middle of its reply
//	demo-silent     never answers
//
// RoundTrip and the reply's body end with the cause of the request's context when that is done.
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
	serve    func(call) (reply, error)
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
		return reply{body: models}.response(req, false), nil
	}
	c, err := parseCall(req, body)
	if err != nil {
		return errorResponse(req, err), nil
	}
	if c.behavior.silent {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	r, err := c.serve(c)
	if err != nil {
		return errorResponse(req, err), nil
	}
	if c.behavior.slow && r.script == nil {
		if err := wait(ctx, c.behavior.pace.total(r.words)); err != nil {
			return nil, err
		}
	}
	return r.response(req, c.behavior.cut), nil
}

// maxBody bounds a request's body, since the values read from it can take many times its size.
const maxBody = 1 << 20

var errTooLarge = &fault{status: http.StatusRequestEntityTooLarge, message: "the demo provider takes requests of 1 MiB at most"}

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

// maxModel bounds a model's name, which every event of a stream repeats.
const maxModel = 128

// parseCall finds a request's route and model.
func parseCall(req *http.Request, body []byte) (call, error) {
	c := call{body: body}
	for _, r := range routes {
		if req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, r.path) {
			c.serve = r.serve
			break
		}
	}
	if c.serve == nil {
		return call{}, &fault{status: http.StatusNotFound, code: "unknown_url",
			message: fmt.Sprintf("the demo provider has no endpoint %s %.200s; it serves chat/completions, messages, messages/count_tokens, responses, embeddings and models", req.Method, req.URL.Path)}
	}
	var head struct {
		Model string `json:"model"`
	}
	if err := decode(body, &head); err != nil {
		return call{}, err
	}
	switch c.model = head.Model; {
	case c.model == "":
		return call{}, missing("model")
	case len(c.model) > maxModel:
		return call{}, invalid("model", "is longer than %d bytes", maxModel)
	case !strings.HasPrefix(c.model, "demo-"):
		return call{}, &fault{status: http.StatusNotFound, param: "model", code: "model_not_found",
			message: fmt.Sprintf("%q does not exist at the demo provider; it serves demo-1 and every other demo-*", c.model)}
	}
	c.behavior = behaviorOf(c.model)
	if c.behavior.status != 0 {
		return call{}, &fault{status: c.behavior.status, message: "the model " + c.model + " always fails with this status"}
	}
	return c, nil
}
