package server

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"proxycast/auth"
	"proxycast/logs"
	"proxycast/upstream"
	"proxycast/upstream/dialect"
)

// relay answers one API request from start to end.
func relay(e dialect.Endpoint) func(*exchange, *http.Request, *auth.Key) {
	return func(x *exchange, r *http.Request, key *auth.Key) {
		x.server.answered.Add(1)
		x.server.inFlight.Add(1)
		defer x.server.inFlight.Add(-1)
		x.rec.Endpoint = e.String()
		if x.server.paused.Load() {
			x.fail(errPaused, nil)
			return
		}
		x.key = key
		done, err := key.Begin()
		if err != nil {
			x.failKey(err)
			return
		}
		tokens := int64(0)
		defer func() { done(tokens) }() // whatever happens, the key gets its place back
		body, ok := x.readBody(r, key)
		if !ok {
			return
		}
		q, err := dialect.Parse(e, body.Bytes())
		if err != nil {
			body.Release()
			x.failBody(err)
			return
		}
		model := q.Model()
		x.rec.Model, x.rec.Stream = model, q.Stream
		if q.Stream {
			x.server.streams.Add(1)
			defer x.server.streams.Add(-1)
		}
		if err := key.Permit(model); err != nil {
			body.Release()
			x.failKey(err)
			return
		}
		if q.OtherModel() && key.HasModels() {
			body.Release()
			x.fail(errOtherModel, nil)
			return
		}
		inputGuess := int64(0)
		if key.HasTokenLimit() { // while the body is here
			inputGuess = dialect.EstimateTokens(body.Bytes())
		}
		dropKeys(r, x.gateway.keys)
		rep := x.gateway.proxy.Relay(x, r, &q, body, r.PathValue("provider"))
		if e != dialect.CountTokens { // counted tokens are not used
			tokens = charge(rep, inputGuess)
		}
		x.report(rep)
	}
}

// dropKeys removes the client's key from where clients of other APIs put it, as in X-Goog-Api-Key or ?key=: it is the
// gateway's and no provider's.
func dropKeys(r *http.Request, keys *auth.Keys) {
	for name, values := range r.Header {
		switch name {
		case "Accept", "Accept-Encoding", "Accept-Language", "Connection", "Content-Length", "Content-Type", "User-Agent",
			"Authorization", "X-Api-Key": // what every request has, and nobody's key or the one that goes no further anyway
			continue
		}
		if !strings.HasPrefix(name, "X-Stainless-") && slices.ContainsFunc(values, keys.Holds) {
			delete(r.Header, name)
		}
	}
	if r.URL.RawQuery == "" {
		return
	}
	pairs := strings.Split(r.URL.RawQuery, "&")
	kept := slices.DeleteFunc(slices.Clone(pairs), func(pair string) bool {
		_, raw, _ := strings.Cut(pair, "=")
		value, err := url.QueryUnescape(raw)
		return keys.Holds(raw) || err == nil && keys.Holds(value)
	})
	if len(kept) < len(pairs) {
		r.URL.RawQuery = strings.Join(kept, "&")
	}
}

// errOtherModel refuses what could make a list of models void.
var errOtherModel = dialect.Failure{
	Status: http.StatusBadRequest, Code: "model_ambiguous", Param: "model",
	Message: `this key is for certain models, and the body names more than one: it may have no "models", no "fallbacks" and nothing like "model" in another case`,
}

// charge returns the tokens that a call counts for in its key's limits: what the provider said, and a guess where it
// said nothing or the client left before it could. A call that failed and brought nothing costs nothing, unless it was
// the client that did not wait.
func charge(rep upstream.Report, inputGuess int64) int64 {
	u := rep.Usage
	left := rep.Err != nil && rep.Err.Status == statusClientGone && rep.Attempts > 0 // the provider has the request
	if rep.Err != nil && u.Input == nil && u.Output == nil && rep.OutputGuess == 0 && !left {
		return 0
	}
	input, output := inputGuess, rep.OutputGuess
	if u.Input != nil {
		input = *u.Input
	}
	if u.Output != nil {
		output = *u.Output
		if rep.Err != nil { // it was told at the start, as Anthropic does, for what came until then
			output = max(output, rep.OutputGuess)
		}
	}
	return input + output
}

// report copies what became of the call into the record, and answers where the
// relay has sent nothing.
func (x *exchange) report(rep upstream.Report) {
	rec := &x.rec
	rec.Provider, rec.UpstreamModel, rec.Attempts, rec.UpstreamID = rep.Provider, rep.Model, rep.Attempts, rep.UpstreamID
	rec.Status, rec.FinishReason, rec.Session = rep.Status, rep.FinishReason, rep.Session
	for _, a := range rep.Tried {
		rec.Tried = append(rec.Tried, logs.Try{Provider: a.Provider, Model: a.Model, Status: a.Status, ErrorType: a.Code, Duration: a.Took})
	}
	x.server.metrics.malformed(rep.Provider, rep.Malformed)
	rec.Stream = rec.Stream || rep.Stream
	rec.InputTokens, rec.OutputTokens = rep.Usage.Input, rep.Usage.Output
	rec.CacheReadTokens, rec.CacheWriteTokens, rec.ReasoningTokens = rep.Usage.CacheRead, rep.Usage.CacheWrite, rep.Usage.Reasoning
	rec.CacheWrite1h = rep.Usage.CacheWrite1h
	if !rep.FirstContent.IsZero() {
		rec.TTFT = rep.FirstContent.Sub(x.start)
	}
	switch {
	case rep.Err == nil:
	case rep.Status == 0:
		x.failWith(rep.Err)
	default:
		rec.ErrorType, rec.Error = rep.Err.Code, rep.Err.Error()
		x.aborted = rep.Aborted
	}
}

// readBody reads the request's body, or answers why it does not.
func (x *exchange) readBody(r *http.Request, key *auth.Key) (*upstream.Body, bool) {
	if f := x.refuseBody(r); f != nil {
		x.fail(*f, errBodyHeaders)
		return nil, false
	}
	src := &progressReader{src: r.Body, x: x}
	holder := key.Name
	if !x.gateway.config.Auth.Enabled {
		holder = "" // all are one
	}
	body, err := x.gateway.buffers.Read(holder, src, r.ContentLength, x.gateway.config.Server.MaxBody)
	x.rec.RequestBytes = src.read
	if err != nil {
		x.fail(x.bodyFailure(r, err), err)
		return nil, false
	}
	if r.Body != http.NoBody {
		x.control.SetReadDeadline(time.Time{}) // or net/http takes its passing for the client's going
	}
	return body, true
}

// errBodyHeaders is what the log says of a refused body: headers stay out of it.
var errBodyHeaders = errors.New("the body's Content-Type or Content-Encoding is not taken")

// refuseBody tells what is wrong with a body by its headers.
func (x *exchange) refuseBody(r *http.Request) *dialect.Failure {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return &dialect.Failure{Status: http.StatusUnsupportedMediaType, Code: "unsupported_encoding",
			Message: fmt.Sprintf("a request body in Content-Encoding %.40q is not taken; send it plain", encoding)}
	}
	contentType := r.Header.Get("Content-Type")
	if contentType == "" && x.gateway.config.Auth.Enabled {
		return nil
	}
	if !isJSON(r) || !isInASCII(r) {
		return &dialect.Failure{Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type",
			Message: fmt.Sprintf("a body of type %.100q is not taken; send JSON in UTF-8 with Content-Type: application/json", contentType)}
	}
	return nil
}

// isJSON reports whether a request says that its body is JSON.
func isJSON(r *http.Request) bool {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && (media == "application/json" || strings.HasSuffix(media, "+json"))
}

// isInASCII reports whether a request's charset, if it states one, writes what JSON is built of as ASCII does. In another (utf-7,
// shift_jis) a provider would read names that the gateway has not seen. JSON has no charset but UTF-8 (RFC 8259 §8.1).
func isInASCII(r *http.Request) bool {
	_, parameters, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch strings.ToLower(parameters["charset"]) {
	case "", "utf-8", "utf8", "us-ascii", "iso-8859-1":
		return true
	}
	return false
}

// bodyFailure tells why a body could not be read.
func (x *exchange) bodyFailure(r *http.Request, err error) dialect.Failure {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, upstream.ErrBodyTooLarge), errors.As(err, &tooLarge):
		return dialect.Failure{Status: http.StatusRequestEntityTooLarge, Code: "request_too_large",
			Message: fmt.Sprintf("the body is larger than %d bytes, the gateway's server.max_body", x.gateway.config.Server.MaxBody)}
	case errors.Is(err, upstream.ErrMemoryFull):
		return dialect.Failure{Status: http.StatusServiceUnavailable, Code: "overloaded",
			Message: "the gateway holds as many request bytes as server.max_inflight_bytes allows; try again shortly"}
	case errors.Is(err, upstream.ErrShareFull):
		return dialect.Failure{Status: http.StatusServiceUnavailable, Code: "overloaded",
			Message: "this key's requests under way hold its share of server.max_inflight_bytes; try again shortly"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		x.Header()["Connection"] = []string{"close"}
		return dialect.Failure{Status: http.StatusRequestTimeout, Code: "request_timeout",
			Message: "the request body came too slowly"}
	case r.Context().Err() != nil, errors.Is(err, io.ErrUnexpectedEOF):
		return dialect.Failure{Status: statusClientGone, Code: "client_closed", Message: "the client closed the connection"}
	}
	x.Header()["Connection"] = []string{"close"}
	return dialect.Failure{Status: http.StatusBadRequest, Code: "invalid_body", Message: "the request body could not be read"}
}

// failBody answers a body that Parse refused.
func (x *exchange) failBody(err error) {
	f := dialect.Failure{Status: http.StatusBadRequest, Code: "invalid_body", Message: err.Error()}
	var bad *dialect.BodyError
	if errors.As(err, &bad) {
		f.Param = bad.Param
	}
	x.fail(f, nil)
}

// progressReader reads a request body, which must come on: each read has
// bodyProgress, and the whole bodyTotal plus a second for each bodyPerSecond bytes.
type progressReader struct {
	src  io.Reader
	x    *exchange
	read int64
}

func (p *progressReader) Read(b []byte) (int, error) {
	if p.read > 0 {
		total := p.x.start.Add(bodyTotal + time.Duration(p.read/bodyPerSecond)*time.Second)
		next := time.Now().Add(bodyProgress)
		if total.Before(next) {
			next = total
		}
		p.x.control.SetReadDeadline(next)
	}
	n, err := p.src.Read(b)
	p.read += int64(n)
	return n, err
}
