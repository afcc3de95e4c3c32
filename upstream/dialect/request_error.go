package dialect

// What is wrong with a request body, in words for the client that sent it.

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// BodyError is a fault in a request body. Its text is a sentence for the client and holds nothing of the body.
type BodyError struct {
	Offset int    // bytes before the fault
	Line   int    // from 1
	Column int    // in characters, from 1
	Param  string // the member at fault: "model", or "" if it is none in particular
	Msg    string
}

func (e *BodyError) Error() string { return e.Msg }

func newBodyError(body []byte, offset int, param, msg string) *BodyError {
	line, column := position(body, offset)
	return &BodyError{Offset: offset, Line: line, Column: column, Param: param, Msg: msg}
}

// newSyntaxError makes the error for a body that is not JSON.
func newSyntaxError(body []byte, offset int, fault string) *BodyError {
	e := newBodyError(body, offset, "", "")
	e.Msg = fmt.Sprintf("invalid JSON at line %d, column %d: %s", e.Line, e.Column, fault)
	return e
}

// position returns the line and the column, in characters, of an offset into a body; both count from 1.
func position(body []byte, offset int) (line, column int) {
	before := body[:offset]
	line = 1 + bytes.Count(before, []byte("\n"))
	column = 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	return line, column
}
