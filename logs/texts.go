package logs

import (
	"strconv"
	"strings"
	"time"
)

// A record as a row of texts, for tables.

// Fields returns the names of a record's fields, in the order of AppendTexts.
func Fields() []string {
	return []string{
		"seq", "time", "id", "key", "method", "path", "endpoint", "model", "upstream_model", "provider", "status", "count", "stream",
		"duration_ms", "ttft_ms", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens", "reasoning_tokens",
		"finish_reason", "attempts", "tried", "error_type", "error", "dropped", "request_bytes", "response_bytes", "client", "remote", "upstream_id",
		"session", "trace_id", "instance",
	}
}

// AppendTexts appends the text of each field; what is unknown is empty.
func (r *Record) AppendTexts(dst []string) []string {
	ttft := ""
	if r.TTFT > 0 {
		ttft = millis(r.TTFT)
	}
	counted, tried := "", ""
	if r.Count > 0 {
		counted = strconv.Itoa(r.Count)
	}
	if len(r.Tried) > 0 {
		tried = string(appendTried(nil, r.Tried))
	}
	return append(dst,
		strconv.FormatUint(r.Seq, 10), r.Time.UTC().Format(timeLayout), r.ID, r.Key, r.Method, r.Path, r.Endpoint, r.Model, r.UpstreamModel, r.Provider,
		strconv.Itoa(r.Status), counted, strconv.FormatBool(r.Stream), millis(r.Duration), ttft,
		count(r.InputTokens), count(r.OutputTokens), count(r.CacheReadTokens), count(r.CacheWriteTokens), count(r.CacheWrite1h), count(r.ReasoningTokens),
		r.FinishReason, strconv.Itoa(r.Attempts), tried, r.ErrorType, r.Error, strings.Join(r.Dropped, " "),
		strconv.FormatInt(r.RequestBytes, 10), strconv.FormatInt(r.ResponseBytes, 10), r.Client, r.Remote, r.UpstreamID,
		r.Session, r.TraceID, r.Instance,
	)
}

func millis(d time.Duration) string {
	return string(appendMillis(nil, "", d))
}

func count(n *int64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(*n, 10)
}
