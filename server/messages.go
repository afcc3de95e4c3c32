package server

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

// How much the gateway says. What is more is counted and left out.
const (
	messageBurst   = 100
	messageEvery   = 200 * time.Millisecond // beyond the burst
	maxMessage     = 16 << 10               // bytes: a panic's stack is the longest
	maxUnread      = 256 << 10              // bytes that wait for a reader
	shortestMasked = 8                      // bytes of a secret
	messagesGrace  = 500 * time.Millisecond // for them to be read at the end
)

// Messages is the gateway's talk to its operator, behind the standard logger. It passes each message to a writer that
// may be slow, full or gone, and never waits for it. Secrets are masked, and so is what net/http quotes of a peer.
type Messages struct {
	mu      sync.Mutex
	mask    func(string) string
	unread  [][]byte
	size    int // of unread
	left    int // messages that were left out since the last one that was not
	allowed int // messages, of messageBurst
	filled  time.Time
	more    chan struct{} // has one element if there is something to write
	closed  chan struct{}
	done    chan struct{}
}

// NewMessages returns Messages that write to w until Close.
func NewMessages(w io.Writer) *Messages {
	m := &Messages{
		mask: func(s string) string { return s }, allowed: messageBurst, filled: time.Now(),
		more: make(chan struct{}, 1), closed: make(chan struct{}), done: make(chan struct{}),
	}
	go m.pass(w)
	return m
}

// MaskWith has every message pass through mask first.
func (m *Messages) MaskWith(mask func(string) string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mask = mask
}

// Write takes one message. It never fails and never blocks.
func (m *Messages) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.admit(time.Now()) {
		m.left++
		return len(p), nil
	}
	text := m.mask(withoutQuotes(string(p[:min(len(p), maxMessage)])))
	if m.left > 0 {
		text = fmt.Sprintf("proxycast: %d messages were left out\n%s", m.left, text)
		m.left = 0
	}
	line := append(bytes.TrimRight([]byte(strings.Map(visible, text)), "\n"), '\n')
	m.unread = append(m.unread, line)
	m.size += len(line)
	select {
	case m.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

// admit takes a message of those allowed, if there is one and room for it.
func (m *Messages) admit(now time.Time) bool {
	if n := int(now.Sub(m.filled) / messageEvery); n > 0 {
		m.allowed = min(messageBurst, m.allowed+n)
		m.filled = m.filled.Add(time.Duration(n) * messageEvery)
	}
	if m.allowed == 0 || m.size+maxMessage > maxUnread {
		return false
	}
	m.allowed--
	return true
}

// maskOf returns what replaces secrets by a mask; a short one is a word.
func maskOf(secrets []string) *strings.Replacer {
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) }) // one may be a part of another
	var pairs []string
	for _, secret := range secrets {
		if len(secret) >= shortestMasked {
			pairs = append(pairs, secret, "***")
		}
	}
	return strings.NewReplacer(pairs...)
}

// maskedError is an error whose text hides the secrets of the config that it comes of.
type maskedError struct {
	error
	text string
}

func (e *maskedError) Error() string { return e.text }
func (e *maskedError) Unwrap() error { return e.error }

// masked hides the secrets of cfg, and what its references stand for, in an error: a file's name may be one.
func masked(err error, cfg *Config) error {
	if err == nil || cfg == nil {
		return err
	}
	return &maskedError{err, maskOf(cfg.Secrets()).Replace(err.Error())}
}

// Mask masks the secrets of the config in force.
func (s *Server) Mask(text string) string { return s.gateway.Load().mask.Replace(text) }

// withoutQuotes cuts what net/http quotes of a reply that nobody asked for: a prompt or a credential may be in it.
func withoutQuotes(text string) string {
	before, _, found := strings.Cut(text, " starting with ")
	if found && strings.Contains(before, "Unsolicited response") {
		return before
	}
	return text
}

// visible replaces the characters that would act on a terminal.
func visible(r rune) rune {
	if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)) {
		return '\uFFFD'
	}
	return r
}

// pass writes what there is until the end. An error of w is not ours to mend: the next message may find another reader.
func (m *Messages) pass(w io.Writer) {
	defer close(m.done)
	for {
		m.mu.Lock()
		lines := m.unread
		m.unread = nil
		m.mu.Unlock()
		for _, line := range lines {
			w.Write(line)
			m.mu.Lock()
			m.size -= len(line)
			m.mu.Unlock()
		}
		if len(lines) > 0 {
			continue
		}
		select {
		case <-m.more:
		case <-m.closed:
			return
		}
	}
}

// Close ends the talk once all is written, or at once where nobody reads.
func (m *Messages) Close() {
	close(m.closed)
	select {
	case <-m.done:
	case <-time.After(messagesGrace):
	}
}
