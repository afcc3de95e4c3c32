package http1

import (
	"fmt"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// This file reads the head of a reply, and checks what heads are made of.

const (
	maxFields  = 1000 // header fields in a head
	maxInterim = 32   // replies of status 1xx before the final one
)

func badReply(what string) error { return fmt.Errorf("%w: %s", ErrBadReply, what) }

// parseHead sets what a head tells of a reply: status, protocol and header. A line may end in LF alone (RFC 9112 §2.2).
func parseHead(head string, res *http.Response) error {
	line, rest, _ := strings.Cut(head, "\n")
	line = strings.TrimSuffix(line, "\r")
	if len(line) < len("HTTP/1.1 200") || line[:7] != "HTTP/1." || line[7] != '0' && line[7] != '1' || line[8] != ' ' ||
		len(line) > 12 && line[12] != ' ' || !isFieldValue(line) {
		return badReply("status line")
	}
	code, err := strconv.ParseUint(line[9:12], 10, 16)
	if err != nil || code < 100 {
		return badReply("status code")
	}
	res.Proto, res.ProtoMajor, res.ProtoMinor = line[:8], 1, int(line[7]-'0')
	res.Status, res.StatusCode = line[9:], int(code)
	res.Header, err = parseFields(rest)
	return err
}

func parseFields(lines string) (http.Header, error) {
	n := strings.Count(lines, "\n")
	if n > maxFields {
		return nil, badReply("too many header fields")
	}
	header := make(http.Header, n)
	values := make([]string, n) // the memory of all values that stand alone
	for lines != "" {
		var line string
		line, lines, _ = strings.Cut(lines, "\n")
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\r"), ":")
		if !ok || !isToken(name) { // a folded line begins with a space
			return nil, badReply("header field")
		}
		if value = strings.Trim(value, " \t"); !isFieldValue(value) {
			return nil, badReply("value of a header field")
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		if before, ok := header[name]; ok {
			header[name] = append(before, value)
			continue
		}
		values[0] = value
		header[name], values = values[:1:1], values[1:]
	}
	return header, nil
}

// frame tells from its head where the body of a reply ends (RFC 9112 §6.3), sets what http.Response says of that,
// and tells whether the connection may be used again.
func frame(res *http.Response, method string) (body framing, keep bool, err error) {
	lengths, codings := res.Header["Content-Length"], res.Header["Transfer-Encoding"]
	length := int64(-1)
	switch {
	case len(lengths) > 1 || len(lengths) == 1 && len(codings) > 0:
		return framing{}, false, badReply("more than one length")
	case len(lengths) == 1:
		n, err := strconv.ParseUint(lengths[0], 10, 63)
		if err != nil {
			return framing{}, false, badReply("length")
		}
		length = int64(n)
	case len(codings) > 1 || len(codings) == 1 && (res.ProtoMinor == 0 || !strings.EqualFold(codings[0], "chunked")):
		return framing{}, false, badReply("transfer coding")
	}
	connection := res.Header["Connection"]
	keep = res.ProtoMinor == 1 && !hasToken(connection, "close") && res.StatusCode != http.StatusSwitchingProtocols
	if len(codings) == 1 {
		res.TransferEncoding = []string{"chunked"}
		delete(res.Header, "Transfer-Encoding")
		delete(res.Header, "Trailer")
	}
	res.ContentLength = length
	switch {
	case method == http.MethodHead:
		body = framing{kind: empty}
	case res.StatusCode < 200, res.StatusCode == http.StatusNoContent: // which have no length either
		keep = keep && length <= 0 && len(codings) == 0
		body, res.ContentLength = framing{kind: empty}, 0
	case res.StatusCode == http.StatusNotModified:
		body, res.ContentLength = framing{kind: empty}, 0
	case len(codings) == 1:
		body = framing{kind: chunked}
	case length == 0:
		body = framing{kind: empty}
	case length > 0:
		body = framing{kind: counted, left: uint64(length)}
	default:
		body, keep = framing{kind: untilClose}, false
	}
	if res.Close = !keep; res.Close && res.ProtoMinor == 1 && hasToken(connection, "close") {
		delete(res.Header, "Connection") // it is in Close now, as net/http has it
	}
	return body, keep, nil
}

// hasToken tells whether one of the comma-separated lists holds a token, in any case.
func hasToken(lists []string, token string) bool {
	for _, list := range lists {
		for item := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.Trim(item, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// isTokenByte holds what tokens are made of (RFC 9110 §5.6.2).
var isTokenByte = func() (set [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
		set[c] = true
	}
	return set
}()

func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte[s[i]] {
			return false
		}
	}
	return s != ""
}

// isFieldValue tells whether s has no control character but the tab.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// isVisible tells whether s has no control character and no space.
func isVisible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}
