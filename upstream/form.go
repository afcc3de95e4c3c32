package upstream

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
)

// What form a reply's body has. Many providers' heads are wrong about it, so the bytes decide.

// isEventStream reports whether a reply says that it is one.
func isEventStream(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(media), "text/event-stream")
}

// maxPeek is how far the first byte of a reply that says something is looked for.
const maxPeek = 512

// peek reads on until it has a byte that is not blank, or no more comes. It returns what it has read, and the body
// with that in front again.
func peek(body io.ReadCloser) (begin []byte, whole io.ReadCloser) {
	begin = make([]byte, 0, maxPeek)
	for len(begin) < maxPeek {
		n, err := body.Read(begin[len(begin):maxPeek])
		begin = begin[:len(begin)+n]
		if text := trimBlank(begin); err != nil || len(text) >= len("retry:") || len(text) > 0 && bytes.IndexByte([]byte("{[<"), text[0]) >= 0 {
			if err != nil && err != io.EOF {
				return begin, &peeked{io.MultiReader(bytes.NewReader(begin), brokenReader{err}), body}
			}
			break
		}
	}
	return begin, &peeked{io.MultiReader(bytes.NewReader(begin), body), body}
}

// peeked is a body of which a part was read before.
type peeked struct {
	io.Reader
	io.Closer
}

type brokenReader struct{ err error }

func (r brokenReader) Read([]byte) (int, error) { return 0, r.err }

// trimBlank returns text without a byte order mark and the white space before its first word.
func trimBlank(text []byte) []byte {
	return bytes.TrimLeft(bytes.TrimPrefix(text, []byte("\uFEFF")), " \t\r\n")
}

// looksLikeEvents reports whether a reply begins as an event stream does, whatever it says that it is.
func looksLikeEvents(begin []byte) bool {
	text := trimBlank(begin)
	for _, field := range []string{"data:", "event:", "id:", "retry:", ":"} {
		if bytes.HasPrefix(text, []byte(field)) {
			return true
		}
	}
	return false
}

// isEncoded reports whether a reply is in a content encoding.
func isEncoded(h http.Header) bool {
	encoding := h.Get("Content-Encoding")
	return encoding != "" && !strings.EqualFold(encoding, "identity")
}

// unpack takes the content encoding off a reply that has one though none was asked for. It fails where it knows none
// of that name.
func unpack(res *http.Response) error {
	switch strings.ToLower(res.Header.Get("Content-Encoding")) {
	case "", "identity":
		return nil
	case "gzip", "x-gzip":
	default:
		return errEncoding
	}
	unzipped, err := gzip.NewReader(res.Body)
	if err != nil {
		return err
	}
	res.Body = &unpackedBody{unzipped, res.Body}
	res.ContentLength = -1
	for _, name := range []string{"Content-Encoding", "Content-Length", "Etag"} { // of the body as it came
		res.Header.Del(name)
	}
	return nil
}

// errEncoding is a content encoding that cannot be taken off: the reply is as it came.
var errEncoding = errors.New("upstream: an unknown content encoding")

// unpackedBody is a body without its encoding; closing it closes the one that it is read from.
type unpackedBody struct {
	io.Reader
	packed io.Closer
}

func (b *unpackedBody) Close() error { return b.packed.Close() }

// isJSONObject reports whether a body is one JSON object.
func isJSONObject(body []byte) bool {
	return len(body) > 0 && body[0] == '{' && json.Valid(body)
}
