package http1_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"proxycast/upstream/http1"
)

// replies is each framing of a reply, and what is made of it. After a whole reply the connection is used again or not.
var replies = []struct {
	name, reply string
	method      string // empty: GET
	body        string
	err         error // of RoundTrip or of the body
	reused      bool
}{
	{name: "length", reply: helloReply, body: "hello", reused: true},
	{name: "no length", reply: "HTTP/1.1 200 OK\r\n\r\nhello", body: "hello"},
	{name: "length 0", reply: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", reused: true},
	{name: "cut length", reply: "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", body: "hello", err: io.ErrUnexpectedEOF},
	{name: "bytes behind", reply: helloReply + "!", body: "hello"},
	{name: "bytes behind no body", reply: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n!"},
	{name: "reply behind", reply: helloReply + helloReply, body: "hello"},
	{name: "chunks", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n03\r\nllo\r\n0\r\n\r\n", body: "hello", reused: true},
	{name: "CHUNKED", reply: "HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", body: "hello", reused: true},
	{name: "padded chunk size", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5  \r\nhello\r\n0\r\n\r\n", body: "hello", reused: true},
	{name: "chunk extension", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0;c\r\n\r\n", body: "hello", reused: true},
	{name: "huge chunk extension", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;" + strings.Repeat("a", 5000) + "\r\nhello\r\n0\r\n\r\n", err: http1.ErrBadReply},
	{name: "LF in chunk extension", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a\n\r\nhello\r\n0\r\n\r\n", err: http1.ErrBadReply},
	{name: "trailers", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\n", body: "hello", reused: true},
	{name: "huge trailers", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n" + strings.Repeat("A: b\r\n", 2000) + "\r\n", body: "hello", err: http1.ErrBadReply},
	{name: "bad trailer", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA b\r\n\r\n", body: "hello", err: http1.ErrBadReply},
	{name: "folded trailer", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n", body: "hello", err: http1.ErrBadReply},
	{name: "bytes behind chunks", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n\r\n", body: "hello"},
	{name: "cut in chunk", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello", body: "hello", err: io.ErrUnexpectedEOF},
	{name: "cut between chunks", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", body: "hello", err: io.ErrUnexpectedEOF},
	{name: "cut before the last line", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", body: "hello", err: io.ErrUnexpectedEOF},
	{name: "chunk size without digits", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", err: http1.ErrBadReply},
	{name: "negative chunk size", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", err: http1.ErrBadReply},
	{name: "chunk size 0x5", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", err: http1.ErrBadReply},
	{name: "chunk size 5 5", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5 5\r\nhello\r\n0\r\n\r\n", err: http1.ErrBadReply},
	{name: "chunk size overflow", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n", err: http1.ErrBadReply},
	{name: "chunk size LF", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", err: http1.ErrBadReply},
	{name: "chunk longer than its size", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n", body: "hell", err: http1.ErrBadReply},
	{name: "chunk end LF", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n", body: "hello", err: http1.ErrBadReply},
	{name: "two lengths", reply: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "the same length twice", reply: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "list of lengths", reply: "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "length and chunks", reply: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", err: http1.ErrBadReply},
	{name: "negative length", reply: "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "signed length", reply: "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "empty length", reply: "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "length overflow", reply: "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "gzip, chunked", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", err: http1.ErrBadReply},
	{name: "two codings", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", err: http1.ErrBadReply},
	{name: "identity", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "chunks of HTTP/1.0", reply: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", err: http1.ErrBadReply},
	{name: "HTTP/1.0", reply: "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello", body: "hello"},
	{name: "Connection: close", reply: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x, Close\r\n\r\nhello", body: "hello"},
	{name: "204", reply: "HTTP/1.1 204 No Content\r\n\r\n", reused: true},
	{name: "204 with a length", reply: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"},
	{name: "304", reply: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", reused: true},
	{name: "HEAD", method: "HEAD", reply: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", reused: true},
	{name: "HEAD in chunks", method: "HEAD", reply: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", reused: true},
	{name: "HEAD with a body", method: "HEAD", reply: helloReply},
	{name: "interim", reply: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + helloReply, body: "hello", reused: true},
	{name: "interim flood", reply: strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 40) + helloReply, err: http1.ErrBadReply},
	{name: "101", reply: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nbytes"},
	{name: "LF only", reply: "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", body: "hello", reused: true},
	{name: "no reason", reply: "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", body: "hello", reused: true},
	{name: "status 600", reply: "HTTP/1.1 600 What\r\nContent-Length: 5\r\n\r\nhello", body: "hello", reused: true},
	{name: "status 20", reply: "HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "status 099", reply: "HTTP/1.1 099 OK\r\nContent-Length: 5\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "status 2000", reply: "HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "status +20", reply: "HTTP/1.1 +20 OK\r\nContent-Length: 5\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "HTTP/2.0", reply: "HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "HTTP/1.2", reply: "HTTP/1.2 200 OK\r\nContent-Length: 5\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "http/1.1", reply: "http/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "bare CR in a value", reply: "HTTP/1.1 200 OK\r\nA: b\rc\r\nContent-Length: 5\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "bare CR in the status line", reply: "HTTP/1.1 200 O\rK\r\nContent-Length: 5\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "two CR", reply: "HTTP/1.1 200 OK\r\r\nContent-Length: 5\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "NUL", reply: "HTTP/1.1 200 OK\r\nA: b\x00c\r\nContent-Length: 5\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "fold", reply: "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 5\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "first line folded", reply: "HTTP/1.1 200 OK\r\n A: b\r\nContent-Length: 5\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "space before the colon", reply: "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "no colon", reply: "HTTP/1.1 200 OK\r\nContent-Length 5\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "no name", reply: "HTTP/1.1 200 OK\r\n: 5\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "not HTTP", reply: "SSH-2.0-OpenSSH_9.9\r\n", err: http1.ErrBadReply},
	{name: "empty line first", reply: "\r\n" + helloReply, err: http1.ErrBadReply},
	{name: "nothing", reply: "", err: http1.ErrClosed},
	{name: "cut in the status line", reply: "HTTP/1.1 2", err: http1.ErrClosed},
	{name: "cut in the head", reply: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", err: http1.ErrClosed},
	{name: "cut after an interim reply", reply: "HTTP/1.1 100 Continue\r\n\r\n", err: http1.ErrClosed},
	{name: "large head", reply: "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 200<<10) + "\r\nContent-Length: 5\r\n\r\nhello", body: "hello", reused: true},
	{name: "too large head", reply: "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 300<<10) + "\r\nContent-Length: 5\r\n\r\nhello", err: http1.ErrBadReply},
	{name: "endless line", reply: "HTTP/1.1 200 " + strings.Repeat("a", 300<<10), err: http1.ErrBadReply},
	{name: "many fields", reply: "HTTP/1.1 200 OK\r\n" + strings.Repeat("a: b\r\n", 2000) + "\r\n", err: http1.ErrBadReply},
	{name: "large interim replies", reply: strings.Repeat("HTTP/1.1 103 Early Hints\r\nA: "+strings.Repeat("a", 20<<10)+"\r\n\r\n", 20) + helloReply, err: http1.ErrBadReply},
}

// TestReplies has each reply come whole and byte by byte, and each body read in large and in small pieces.
func TestReplies(t *testing.T) {
	for _, c := range replies {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, slowly := range []bool{false, true} {
				if slowly && len(c.reply) > 1000 {
					continue
				}
				p := newPeer(t, func(_ int, conn net.Conn, r *bufio.Reader) {
					for {
						if _, _, ok := readRequest(r); !ok {
							return
						}
						if !slowly {
							io.WriteString(conn, c.reply)
						}
						for i := 0; slowly && i < len(c.reply); i++ {
							io.WriteString(conn, c.reply[i:i+1])
							time.Sleep(50 * time.Microsecond)
						}
						if !c.reused {
							return
						}
					}
				})
				for _, one := range []bool{false, true} {
					testReply(t, p.client(t), c.method, c.body, c.err, one)
				}
				if slowly {
					continue
				}
				client := p.client(t)
				before := p.conns.Load()
				for range 3 {
					testReply(t, client, c.method, c.body, c.err, false)
					rest()
				}
				if conns := p.conns.Load() - before; (conns == 1) != c.reused {
					t.Errorf("3 requests took %d connections, reuse: %v", conns, c.reused)
				}
			}
		})
	}
}

func testReply(t *testing.T, client *http1.Transport, method, body string, want error, oneByOne bool) {
	t.Helper()
	res, err := client.RoundTrip(newRequest(t, method, ""))
	if err != nil {
		if want == nil || !errors.Is(err, want) || body != "" {
			t.Errorf("RoundTrip: %v, want %v", err, want)
		}
		return
	}
	defer res.Body.Close()
	var r io.Reader = res.Body
	if oneByOne {
		r = iotest.OneByteReader(r)
	}
	text, err := io.ReadAll(r)
	if string(text) != body || !errors.Is(err, want) {
		t.Errorf("body %q, %v; want %q, %v (one by one: %v)", text, err, body, want, oneByOne)
	}
}

func TestReplyFields(t *testing.T) {
	p := newPeer(t, answering("HTTP/1.1 201 Made It\r\nx-request-id: a\r\nSet-Cookie:  b \r\nset-cookie: c\r\nEmpty:\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
	req := newRequest(t, "GET", "")
	res, err := p.client(t).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Status != "201 Made It" || res.StatusCode != 201 || res.Proto != "HTTP/1.1" || res.ProtoMajor != 1 || res.ProtoMinor != 1 ||
		res.ContentLength != -1 || res.Close || res.Uncompressed || res.Request != req || res.TLS != nil ||
		len(res.TransferEncoding) != 1 || res.TransferEncoding[0] != "chunked" {
		t.Errorf("%+v", res)
	}
	if res.Header.Get("X-Request-Id") != "a" || strings.Join(res.Header["Set-Cookie"], ",") != "b,c" || len(res.Header["Empty"]) != 1 || len(res.Header) != 3 {
		t.Errorf("header %q", res.Header)
	}
}

// TestNotHTTPIsToldAtOnce: a server that speaks first and waits is not waited for.
func TestNotHTTPIsToldAtOnce(t *testing.T) {
	p := newPeer(t, func(_ int, c net.Conn, r *bufio.Reader) {
		io.WriteString(c, "SSH-2.0")
		io.Copy(io.Discard, r)
	})
	if _, err := p.client(t).RoundTrip(newRequest(t, "GET", "")); !errors.Is(err, http1.ErrBadReply) {
		t.Error(err)
	}
}

func TestClosedBody(t *testing.T) {
	p := newPeer(t, func(_ int, c net.Conn, r *bufio.Reader) {
		for {
			if _, _, ok := readRequest(r); !ok {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
		}
	})
	client := p.client(t)
	res, err := client.RoundTrip(newRequest(t, "GET", ""))
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan error)
	go func() {
		_, err := io.ReadAll(res.Body)
		waited <- err
	}()
	time.Sleep(20 * time.Millisecond)
	res.Body.Close()
	select {
	case err := <-waited:
		if err == nil {
			t.Error("a read that Close ended reports success")
		}
	case <-time.After(time.Second):
		t.Fatal("Close does not end a read")
	}
	if n, err := res.Body.Read(make([]byte, 9)); n != 0 || err == nil || err == io.EOF {
		t.Error(n, err)
	}
	res.Body.Close()
	rest()
	get2, err := client.RoundTrip(newRequest(t, "GET", ""))
	if err != nil {
		t.Fatal(err)
	}
	get2.Body.Close()
	if n := p.conns.Load(); n != 2 {
		t.Errorf("%d connections for a reply that was not read and another one", n)
	}
}

// TestCloseBeforeTheLastChunk: who stops at a mark of the content's own keeps the connection, if the end is here.
func TestCloseBeforeTheLastChunk(t *testing.T) {
	p := newPeer(t, answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"))
	client := p.client(t)
	for range 3 {
		res, err := client.RoundTrip(newRequest(t, "GET", ""))
		if err != nil {
			t.Fatal(err)
		}
		io.ReadFull(res.Body, make([]byte, 5))
		res.Body.Close()
		rest()
	}
	if n := p.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
