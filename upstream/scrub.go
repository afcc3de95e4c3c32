package upstream

import (
	"bytes"
	"io"
	"slices"
	"strings"
)

// minSecret is the least length of a credential that is looked for in replies.
// Local providers are given placeholders such as "ollama", which are words.
const minSecret = 16

// secret is a credential of a provider's, which must not reach a client.
type secret struct {
	text  string
	bytes []byte // the same, for the replies
}

// secretsOf returns the forms that a credential may stand in: as it is, and as JSON
// writers escape it.
func secretsOf(credential string) (secrets []secret) {
	if len(credential) < minSecret {
		return nil
	}
	forms := []string{credential, strings.ReplaceAll(credential, "/", `\/`)}
	for _, escapes := range [][]string{
		{"&", `\u0026`, "<", `\u003c`, ">", `\u003e`, "+", `\u002b`, "=", `\u003d`, "/", `\u002f`},
		{"&", `\u0026`, "<", `\u003C`, ">", `\u003E`, "+", `\u002B`, "=", `\u003D`, "/", `\u002F`},
	} {
		forms = append(forms, strings.NewReplacer(escapes...).Replace(credential))
		forms = append(forms, strings.NewReplacer(escapes[:len(escapes)-2]...).Replace(credential))
	}
	slices.Sort(forms)
	for _, form := range slices.Compact(forms) {
		secrets = append(secrets, secret{form, []byte(form)})
	}
	return secrets
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

// scrubber passes a reply to w with the provider's credentials overwritten by as
// many asterisks, however the reply is split. It holds back bytes only where they
// could be the start of a credential, never a line that is complete.
type scrubber struct {
	w       io.Writer
	secrets []secret
	held    []byte
}

// Write takes the next bytes of the reply. n counts those of p that were taken;
// the error is w's.
func (s *scrubber) Write(p []byte) (n int, err error) {
	text := p
	if len(s.held) > 0 {
		text = append(s.held, p...)
		s.held = nil
	}
	for _, secret := range s.secrets {
		if bytes.Contains(text, secret.bytes) {
			text = bytes.ReplaceAll(text, secret.bytes, bytes.Repeat([]byte{'*'}, len(secret.bytes)))
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

// beginning returns the length of the longest end of text that a secret begins with.
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
