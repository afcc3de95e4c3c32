// The tokenizer by which the demo provider counts what it reads and writes.

package demo

import (
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"
)

// tokens splits text; the tokens joined are text again. A token is a word, a CJK character or any other single
// character, with the marks that combine with it and the white space before it.
func tokens(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for text != "" {
			n := firstToken(text)
			if !yield(text[:n]) {
				return
			}
			text = text[n:]
		}
	}
}

func countTokens(text string) int {
	n := 0
	for range tokens(text) {
		n++
	}
	return n
}

// firstToken returns the length of the first token of text, which is not empty.
func firstToken(text string) int {
	start := len(text) - len(strings.TrimLeftFunc(text, unicode.IsSpace))
	first, size := utf8.DecodeRuneInString(text[start:])
	end := start + size
	for end < len(text) {
		next, size := utf8.DecodeRuneInString(text[end:])
		if !unicode.IsMark(next) && !(isWord(first) && isWord(next)) {
			break
		}
		end += size
	}
	return end
}

// isWord reports whether r belongs to a script that has spaces between words.
func isWord(r rune) bool {
	return (unicode.IsLetter(r) || unicode.IsDigit(r)) && !unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul)
}
