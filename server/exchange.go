package server

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"log"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"proxycast/auth"
	"proxycast/logs"
	"proxycast/upstream"
	"proxycast/upstream/dialect"
)

// One request and its answer: what is written, within which deadlines, and how it ends.

// How long a peer may hold a connection up.
const (
	bodyProgress    = 15 * time.Second // without a byte of the request's body
	bodyTotal       = 30 * time.Second // for the whole body, plus a second for each
	bodyPerSecond   = 128 << 10        // bytes
	writeProgress   = 60 * time.Second // for a chunk of the reply to be taken
	deadlineRenewal = 5 * time.Second  // how stale a write deadline may be: saves a system call a chunk
)

// exchange is one request and its answer: the one ResponseWriter wrapper, which
// counts what passes, and the record that comes of it.
//
// Where the reply has a Content-Length it withholds the last byte until the
// record is written, so that a client that has seen the whole reply finds it in
// the log.
type exchange struct {
	http.ResponseWriter
	server  *Server
	gateway *gateway
	control *http.ResponseController
	dialect dialect.Dialect
	key     *auth.Key // whose limits the answer tells; nil: no API call
	rec     logs.Record
	start   time.Time

	recording recording
	onPage    bool // it comes from the dashboard, by its session
	aborted   bool // the connection must be broken
	status    int
	declared  int64 // the reply's Content-Length; -1: none
	written   int64
	held      []byte // the withheld last byte
	deadline  time.Time

	multiplexed bool // HTTP/2
}

// newExchange begins the exchange and its record. Every answer carries the request's id,
// under OpenAI's name for it and Anthropic's.
func (s *Server) newExchange(g *gateway, w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{
		ResponseWriter: w, server: s, gateway: g, control: http.NewResponseController(w),
		dialect: pathDialect(r), start: time.Now(), declared: -1, multiplexed: r.ProtoMajor == 2,
	}
	x.rec = logs.Record{
		Time: x.start, ID: "req_" + rand.Text(), Method: r.Method, Path: r.URL.Path,
		Client: r.UserAgent(), Remote: peer(r, g.trusted), TraceID: traceID(r.Header.Get("Traceparent")),
	}
	ids := []string{x.rec.ID}
	w.Header()["X-Request-Id"] = ids
	w.Header()["Request-Id"] = ids
	if r.Body != http.NoBody {
		x.control.SetReadDeadline(x.start.Add(bodyProgress)) // or net/http drains a refused body without a limit
	}
	return x
}

// traceID returns the trace that a W3C traceparent names ("Trace Context", §3.2), "" if it is none.
func traceID(traceparent string) string {
	version, rest, _ := strings.Cut(traceparent, "-")
	id, _, _ := strings.Cut(rest, "-")
	if len(version) != 2 || version == "ff" || len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" || strings.Trim(id, "0") == "" {
		return ""
	}
	return id
}

// Unwrap serves http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

func (x *exchange) WriteHeader(status int) {
	if status >= 200 && x.status == 0 {
		x.status = status
		if x.key != nil {
			setQuota(x.Header(), x.dialect, x.key, time.Now())
		}
		if n, err := strconv.ParseInt(x.Header().Get("Content-Length"), 10, 64); err == nil {
			x.declared = n
		}
	}
	x.renewDeadline()
	x.ResponseWriter.WriteHeader(status)
	x.restDeadline()
}

func (x *exchange) Write(p []byte) (int, error) {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	x.renewDeadline()
	body := p
	if last := x.declared - x.written - 1; x.declared > 0 && int64(len(p)) == last+1 && len(p) > 0 {
		x.held = append(x.held, p[last])
		body = p[:last]
	}
	n, err := x.ResponseWriter.Write(body)
	x.restDeadline()
	x.written += int64(n)
	if err == nil && len(body) < len(p) {
		x.written++
		n++
	}
	return n, err
}

// renewDeadline allows the next write writeProgress, or up to deadlineRenewal less.
func (x *exchange) renewDeadline() {
	if now := time.Now(); now.Add(writeProgress - deadlineRenewal).After(x.deadline) {
		x.deadline = now.Add(writeProgress)
		x.control.SetWriteDeadline(x.deadline)
	}
}

// FlushError serves http.ResponseController.
func (x *exchange) FlushError() error {
	x.renewDeadline()
	defer x.restDeadline()
	return x.control.Flush()
}

// restDeadline ends the write deadline between two writes under HTTP/2, where it
// is a timer that resets the stream whether or not a write waits.
func (x *exchange) restDeadline() {
	if x.multiplexed {
		x.deadline = time.Time{}
		x.control.SetWriteDeadline(x.deadline)
	}
}

// finish ends the exchange: it answers a panic, writes the record, and only
// then lets the reply end. It is deferred, and panics on where the connection
// must be broken.
func (x *exchange) finish(r *http.Request) {
	if p := recover(); p != nil {
		x.recovered(p)
	}
	if x.recorded() {
		x.record()
	}
	if x.aborted {
		x.breakOff(r)
		panic(http.ErrAbortHandler)
	}
	x.renewDeadline() // for what ends the reply
	if len(x.held) > 0 {
		x.ResponseWriter.Write(x.held) // its deadline stands until the reply has ended
	}
	if r.Body != http.NoBody && x.status >= 400 {
		x.control.SetReadDeadline(time.Now().Add(refusedBody))
	}
}

// breakOff lets what was sent of a reply arrive before the connection breaks, so that the client sees that it is cut.
// One of HTTP/1.0 takes the end of the connection for the end of the reply: only a reset tells it.
func (x *exchange) breakOff(r *http.Request) {
	if x.status == 0 || x.multiplexed {
		return
	}
	x.FlushError()
	if r.ProtoAtLeast(1, 1) {
		return
	}
	conn, _, err := x.control.Hijack()
	if err != nil {
		return
	}
	raw := conn
	for wrapped, ok := raw.(interface{ NetConn() net.Conn }); ok; wrapped, ok = raw.(interface{ NetConn() net.Conn }) {
		raw = wrapped.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	raw.Close()
}

// recovered answers a panic with p where nothing was sent yet, else has the connection
// broken. The value may hold a secret: stderr shows its type only.
func (x *exchange) recovered(p any) {
	if p == http.ErrAbortHandler {
		x.aborted = true
		return
	}
	log.Printf("proxycast: request %s: panic of type %T\n%s", x.rec.ID, p, debug.Stack())
	x.rec.ErrorType, x.recording = "internal", recordAlways
	if x.status != 0 {
		x.aborted = true
		return
	}
	x.fail(dialect.Failure{Status: http.StatusInternalServerError, Code: "internal", Message: "the gateway failed on this request; its log has the details"}, nil)
}

// refusedBody is how long the rest of a refused request's body may take.
const refusedBody = 2 * time.Second

// record completes the record, counts it and puts it into the log.
func (x *exchange) record() {
	x.rec.Status = cmp.Or(x.rec.Status, x.status, http.StatusOK)
	x.rec.Duration = time.Since(x.start)
	x.rec.ResponseBytes = x.written
	for _, text := range []*string{&x.rec.Path, &x.rec.Model, &x.rec.UpstreamModel, &x.rec.Client, &x.rec.Session, &x.rec.Error} {
		*text = x.gateway.mask.Replace(*text) // somebody put a key into the wrong place
	}
	switch refused := x.rec.Key == "" && x.rec.Status >= 400; {
	case refused:
		x.server.metrics.observe(&x.rec, x.gateway.proxy.Names(x.rec.Model))
		x.server.refusals.take(&x.rec, x.server.add)
	case x.recording == recordOperator:
		x.traceOperator()
		x.server.add(&x.rec)
	default:
		x.server.metrics.observe(&x.rec, x.gateway.proxy.Names(x.rec.Model))
		x.server.add(&x.rec)
	}
}

// fail answers with an error of the gateway's own, in the dialect of the path:
// the one place that does. cause, which may be nil, is for the log.
func (x *exchange) fail(f dialect.Failure, cause error) {
	if x.rec.ErrorType == "" {
		x.rec.ErrorType = f.Code
	}
	x.rec.Error = f.Message
	if cause != nil {
		x.rec.Error = cause.Error()
	}
	x.rec.Status = f.Status
	if f.Status == statusClientGone {
		x.aborted = true
		return
	}
	f.RequestID = x.rec.ID
	h := x.Header()
	if 400 <= f.Status && f.Status < 500 && f.Status != http.StatusRequestTimeout && f.Status != http.StatusTooManyRequests {
		h["X-Should-Retry"] = []string{"false"} // it would fail in the same way
	}
	switch f.Status {
	case http.StatusUnauthorized:
		h["Www-Authenticate"] = []string{"Bearer"}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if len(h["Retry-After"]) == 0 {
			h["Retry-After"] = []string{"1"}
		}
	}
	x.send(f.Status, "application/json", f.Body(x.dialect))
}

// statusClientGone is the record's status of a request whose client has left.
const statusClientGone = 499

// failWith answers with an error of upstream's.
func (x *exchange) failWith(e *upstream.Error) {
	x.fail(dialect.Failure{Status: e.Status, Code: e.Code, Param: e.Param, Message: e.Message}, e)
}

// sendJSON answers with v.
func (x *exchange) sendJSON(status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // v is ours and always encodes
	}
	x.send(status, "application/json", append(body, '\n'))
}

// send answers with body, of which a HEAD request gets the headers only.
func (x *exchange) send(status int, contentType string, body []byte) {
	h := x.Header()
	h["Content-Type"] = []string{contentType}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	x.WriteHeader(status)
	if x.rec.Method != http.MethodHead {
		x.Write(body)
	}
}

// pathDialect returns the dialect of a path: anthropic where the segment after
// the base is messages, or models with an anthropic-version header.
func pathDialect(r *http.Request) dialect.Dialect {
	path := r.URL.Path
	if rest, ok := strings.CutPrefix(path, "/api/provider/"); ok {
		_, rest, _ = strings.Cut(rest, "/")
		path = "/" + rest
	}
	for range 2 {
		path = strings.TrimPrefix(path, "/v1")
	}
	path = strings.TrimPrefix(path, "/")
	segment, _, _ := strings.Cut(path, "/")
	if segment == "messages" || segment == "models" && len(r.Header["Anthropic-Version"]) > 0 {
		return dialect.Anthropic
	}
	return dialect.OpenAI
}
