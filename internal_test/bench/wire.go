//go:build linux

// HTTP/1.1 as the mock provider and the load read it: as little as both need, since
// what they spend is taken from whom they measure.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http/httputil"
	"strconv"
)

// head is the head of a request or of a reply.
type head struct {
	first   string // its first line
	length  int64  // of the body; -1: unknown
	chunked bool
}

func readHead(in *bufio.Reader) (head, error) {
	h := head{length: -1}
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return h, err
		}
		line = bytes.TrimRight(line, "\r\n")
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case h.first == "":
			h.first = string(line)
		case len(line) == 0:
			return h, nil
		case bytes.EqualFold(name, []byte("Content-Length")):
			h.length, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			h.chunked = bytes.EqualFold(bytes.TrimSpace(value), []byte("chunked"))
		}
		if err != nil {
			return h, err
		}
	}
}

// readBody writes the body that follows h to w, through buf.
func readBody(in *bufio.Reader, h head, w io.Writer, buf []byte) error {
	switch {
	case h.chunked:
		if _, err := io.CopyBuffer(w, httputil.NewChunkedReader(in), buf); err != nil {
			return err
		}
		for { // trailers
			line, err := in.ReadSlice('\n')
			if err != nil || len(bytes.TrimRight(line, "\r\n")) == 0 {
				return err
			}
		}
	case h.length < 0:
		return errors.New("a body without length")
	case w == io.Discard:
		_, err := in.Discard(int(h.length))
		return err
	}
	_, err := io.CopyBuffer(w, io.LimitReader(in, h.length), buf)
	return err
}
