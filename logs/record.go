package logs

import "time"

// Record is one finished request, whatever its end. It holds no query string,
// header or body. Token counts are the provider's own; nil is unknown.
type Record struct {
	Seq              uint64    // append order, goes on after a restart; set by Store.Add
	Time             time.Time // when the request began
	ID               string    // our request id
	Key              string    // the name of the client's key
	Method           string
	Path             string // capped at 256 bytes
	Endpoint         string
	Model            string // as asked for; capped at 256 bytes
	UpstreamModel    string // as sent to the provider
	Provider         string
	Status           int // 499: the client left; a stream that failed after its 200 keeps 200
	Stream           bool
	Duration         time.Duration // to the last byte
	TTFT             time.Duration // to the first content; 0 is unknown
	InputTokens      *int64        // cached tokens included
	OutputTokens     *int64
	CacheReadTokens  *int64
	CacheWriteTokens *int64
	ReasoningTokens  *int64
	FinishReason     string
	Attempts         int
	ErrorType        string
	Error            string   // for the operator; capped at 256 bytes
	Dropped          []string // fields that a translation could not carry
	RequestBytes     int64
	ResponseBytes    int64
	Client           string // user agent, first 120 characters
	Remote           string
	UpstreamID       string // the provider's request id
}
