package upstream

import (
	"bytes"
	"io"
	"strings"
)

// secret is a credential of a provider's, which must not reach a client.
type secret struct {
	text  string
	bytes []byte // the same, for the streams
}

// scrub masks the provider's credentials in text.
func (p *provider) scrub(text string) string {
	for _, s := range p.secrets {
		if strings.Contains(text, s.text) {
			text = strings.ReplaceAll(text, s.text, "***")
		}
	}
	return text
}

// scrubber passes a stream to w with the provider's credentials replaced by ***,
// however the stream is split. It holds back bytes only where they could be the
// start of a credential, never a line that is complete.
type scrubber struct {
	w       io.Writer
	secrets []secret
	held    []byte
}

// Write takes the next bytes of the stream. n counts those of p that were taken;
// the error is w's.
func (s *scrubber) Write(p []byte) (n int, err error) {
	text := p
	if len(s.held) > 0 {
		text = append(s.held, p...)
		s.held = nil
	}
	for _, secret := range s.secrets {
		if bytes.Contains(text, secret.bytes) {
			text = bytes.ReplaceAll(text, secret.bytes, []byte("***"))
		}
	}
	keep := s.beginning(text)
	if keep > 0 {
		s.held = append([]byte(nil), text[len(text)-keep:]...)
		text = text[:len(text)-keep]
	}
	if len(text) > 0 {
		if _, err := s.w.Write(text); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// beginning gives the length of the longest end of text that a secret begins with.
func (s *scrubber) beginning(text []byte) (longest int) {
	if len(text) == 0 || text[len(text)-1] == '\n' { // no credential has one
		return 0
	}
	for _, secret := range s.secrets {
		for n := min(len(secret.bytes)-1, len(text)); n > longest; n-- {
			if bytes.HasPrefix(secret.bytes, text[len(text)-n:]) {
				longest = n
			}
		}
	}
	return longest
}

// Close passes what is held.
func (s *scrubber) Close() error {
	if len(s.held) == 0 {
		return nil
	}
	_, err := s.w.Write(s.held)
	s.held = nil
	return err
}
