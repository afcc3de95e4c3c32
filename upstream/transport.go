package upstream

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/proxy"

	"proxycast/upstream/http1"
)

// This file is the seam to the network: which client speaks to a provider, how its connections come about, and all
// that is known of the behaviour of net/http's, its error texts included.

// Limits on a provider's reply head, and on the connections kept for reuse.
const (
	maxReplyHeader   = 32 << 10
	maxIdlePerHost   = 512
	idleConnLifetime = 90 * time.Second
	maxStreamBuffer  = 64 << 10         // HTTP/2: of what a stalled client leaves unread
	pingAfter        = 15 * time.Second // HTTP/2: silence after which a connection is probed
)

// newTransport returns the client of the provider at base: our own of HTTP/1.1, or net/http's where the config asks for
// it, which alone speaks HTTP/2.
func newTransport(cfg ProviderConfig, base *url.URL) (http.RoundTripper, error) {
	via, err := proxyOf(cfg.Proxy, base)
	if err != nil {
		return nil, err
	}
	d := &dialer{
		limit: cfg.Timeouts.Connect, proxy: via,
		tls: &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(64), RootCAs: cfg.roots},
	}
	if cfg.HTTP == httpTransport {
		return d.netTransport(base), nil
	}
	return d.ownTransport(base), nil
}

// absolute reports whether the proxy is asked in the absolute form (RFC 9112 §3.2.2), without a tunnel.
func (d *dialer) absolute(base *url.URL) bool {
	return base.Scheme == "http" && d.proxy != nil && strings.HasPrefix(d.proxy.Scheme, "http")
}

func (d *dialer) ownTransport(base *url.URL) *http1.Transport {
	t := &http1.Transport{MaxIdle: maxIdlePerHost, IdleTimeout: idleConnLifetime, MaxHead: maxReplyHeader}
	d.tls.NextProtos = []string{"http/1.1"}
	d.tls.DynamicRecordSizingDisabled = true // a large body would begin in records of a packet each
	secure, address := base.Scheme == "https", hostAndPort(base)
	if d.absolute(base) {
		secure, address = d.proxy.Scheme == "https", proxyAddress(d.proxy)
		t.Absolute, t.ProxyAuthorization = true, basicAuthorization(d.proxy.User)
		d.proxy = nil
	}
	t.Dial = func(ctx context.Context) (net.Conn, error) { return d.dial(ctx, "tcp", address) }
	if secure {
		t.Dial = func(ctx context.Context) (net.Conn, error) { return d.dialTLS(ctx, "tcp", address) }
	}
	return t
}

func (d *dialer) netTransport(base *url.URL) *http.Transport {
	d.tls.NextProtos = []string{"h2", "http/1.1"}
	t := &http.Transport{
		DialContext:            d.dial,
		DialTLSContext:         d.dialTLS,
		TLSClientConfig:        d.tls,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingAfter, MaxReceiveBufferPerStream: maxStreamBuffer},
		MaxIdleConns:           0,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        idleConnLifetime,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxReplyHeader,
	}
	if d.absolute(base) {
		t.Proxy = http.ProxyURL(d.proxy)
		d.proxy = nil
	}
	return t
}

// hostAndPort returns the address of a server with the port that its scheme has.
func hostAndPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// basicAuthorization returns the field value for a user of a proxy (RFC 7617), "" for none.
func basicAuthorization(user *url.Userinfo) string {
	if user == nil {
		return ""
	}
	password, _ := user.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password))
}

// proxyOf returns the proxy on the way to base, nil for none. text is the config's.
func proxyOf(text string, base *url.URL) (*url.URL, error) {
	switch text {
	case "":
		return http.ProxyFromEnvironment(&http.Request{URL: base})
	case "none":
		return nil, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		return nil, fmt.Errorf("expected an http://, https:// or socks5:// URL, or none")
	}
	return u, nil
}

// dialer makes connections to a provider. One limit covers all that it takes until a connection can be used: TCP,
// the proxy's part and TLS. net/http's own limits are one for each step, and none for some.
type dialer struct {
	limit time.Duration // 0: none
	proxy *url.URL      // nil: direct
	tls   *tls.Config
}

// connectError tells which step to a connection failed.
type connectError struct {
	step cause
	err  error
}

func (e *connectError) Error() string { return e.err.Error() }
func (e *connectError) Unwrap() error { return e.err }

func (d *dialer) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if d.limit == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d.limit)
}

// dial and dialTLS connect to the provider's address, for http:// and https://.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := d.within(ctx)
	defer cancel()
	return d.reach(ctx, network, address)
}

func (d *dialer) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := d.within(ctx)
	defer cancel()
	conn, err := d.reach(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return shakeHands(ctx, conn, d.tls, address, badTLS)
}

// reach connects to the address, through the proxy if there is one.
func (d *dialer) reach(ctx context.Context, network, address string) (conn net.Conn, err error) {
	direct := &net.Dialer{KeepAlive: 30 * time.Second}
	step := badProxy
	switch {
	case d.proxy == nil:
		step = unreachable
		conn, err = direct.DialContext(ctx, network, address)
	case strings.HasPrefix(d.proxy.Scheme, "socks5"):
		conn, err = dialSOCKS(ctx, direct, d.proxy, address)
	default:
		conn, err = d.dialTunnel(ctx, direct, address)
	}
	if err != nil {
		return nil, &connectError{step, err}
	}
	return conn, nil
}

func dialSOCKS(ctx context.Context, direct *net.Dialer, via *url.URL, address string) (net.Conn, error) {
	var auth *proxy.Auth
	if via.User != nil {
		auth = &proxy.Auth{User: via.User.Username()}
		auth.Password, _ = via.User.Password()
	}
	raw := &rawDialer{direct, nil}
	socks, err := proxy.SOCKS5("tcp", proxyAddress(via), auth, raw)
	if err != nil {
		return nil, err
	}
	if _, err := socks.(proxy.ContextDialer).DialContext(ctx, "tcp", address); err != nil {
		return nil, err
	}
	return raw.conn, nil
}

// rawDialer keeps the connection that x/net/proxy wraps, though nothing wraps what passes on it: http1 looks at the
// socket before it uses a connection again.
type rawDialer struct {
	*net.Dialer
	conn net.Conn
}

func (r *rawDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := r.Dialer.DialContext(ctx, network, address)
	r.conn = conn
	return conn, err
}

// dialTunnel asks an HTTP proxy for a tunnel to the address (RFC 9110 §9.3.6).
func (d *dialer) dialTunnel(ctx context.Context, direct *net.Dialer, address string) (net.Conn, error) {
	conn, err := direct.DialContext(ctx, "tcp", proxyAddress(d.proxy))
	if err != nil {
		return nil, err
	}
	if d.proxy.Scheme == "https" {
		config := d.tls.Clone()
		config.NextProtos = nil
		if conn, err = shakeHands(ctx, conn, config, proxyAddress(d.proxy), badProxy); err != nil {
			return nil, err
		}
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err = askTunnel(conn, d.proxy.User, address)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func askTunnel(conn net.Conn, user *url.Userinfo, address string) error {
	ask := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if authorization := basicAuthorization(user); authorization != "" {
		ask.Header["Proxy-Authorization"] = []string{authorization}
	}
	if err := ask.Write(conn); err != nil {
		return err
	}
	// What the reader has buffered beyond the head is lost, but in TLS the server is not the first to speak.
	res, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxReplyHeader)), ask)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("upstream: the proxy refused the tunnel with status %d", res.StatusCode)
	}
	return nil
}

// proxyAddress returns the host and port of a proxy's URL.
func proxyAddress(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if port == "" {
		port = "1080" // of SOCKS
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// shakeHands begins TLS with the server at the address. conn is closed when that fails.
func shakeHands(ctx context.Context, conn net.Conn, config *tls.Config, address string, step cause) (net.Conn, error) {
	config = config.Clone()
	config.ServerName, _, _ = net.SplitHostPort(address)
	secure := http1.TLSClient(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, &connectError{step, err}
	}
	return secure, nil
}

// cause is why a transport returned an error instead of a reply.
type cause uint8

const (
	unexplained     cause = iota
	unresolved            // the host name is not known
	unreachable           // no connection
	badProxy              // the proxy did not lead to the provider
	badTLS                // the handshake failed
	badHTTP               // what came is not HTTP, or its head is too large
	closedEarly           // the connection ended without a reply
	closedWhileIdle       // the same, before any of the request was on it: sending again repeats nothing
	connectTimeout        // no usable connection within timeouts.connect
)

// classify tells why a call has failed. It alone reads the texts of net/http, which keeps most of its errors to
// itself (errServerClosedIdle, badStringError, errTransportReadFromServer).
func classify(err error) cause {
	var connect *connectError
	var dns *net.DNSError
	var timeout net.Error
	text := err.Error()
	switch {
	case errors.Is(err, http1.ErrStale):
		return closedWhileIdle
	case errors.Is(err, http1.ErrClosed):
		return closedEarly
	case errors.Is(err, http1.ErrBadReply):
		return badHTTP
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return connectTimeout
	case errors.As(err, &dns):
		return unresolved
	case strings.HasPrefix(text, "proxyconnect"): // a proxy that is asked in the absolute form
		return badProxy
	case errors.As(err, &connect):
		return connect.step
	case strings.HasSuffix(text, "http: server closed idle connection"),
		strings.Contains(text, "graceful shutdown GOAWAY"), strings.Contains(text, "REFUSED_STREAM"): // RFC 9113 §6.8, §8.7: not processed
		return closedWhileIdle
	case strings.Contains(text, "tls:") || strings.Contains(text, "x509:"):
		return badTLS
	case strings.Contains(text, "malformed") || strings.Contains(text, "exceeded"):
		return badHTTP
	case strings.Contains(text, "EOF") || strings.Contains(text, "reset") || strings.Contains(text, "closed"):
		return closedEarly
	}
	return unexplained
}

// maxCopied is the size up to which a request's body is copied for net/http.
const maxCopied = 3 << 10

// requestBody returns a reader of parts, n bytes in all, which are slices of the body or of fresh memory.
//
// For net/http a small body is copied: of a bytes.Reader it knows that it will not block, and sends it in one packet
// with the head. Our own client does that with all of them.
func (p *provider) requestBody(b *Body, parts net.Buffers, n int64) io.ReadCloser {
	if _, own := p.transport.(*http1.Transport); own || n > maxCopied {
		return b.reader(parts)
	}
	text := make([]byte, 0, n)
	for _, part := range parts {
		text = append(text, part...)
	}
	return io.NopCloser(bytes.NewReader(text))
}
