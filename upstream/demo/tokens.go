// The tokenizer by which the demo provider counts what it reads and writes.

package demo

import (
	"iter"
	"unicode"
	"unicode/utf8"
)

// tokens splits text; the tokens joined are text again. A token is a word, a
// CJK character or any other single character, with the marks that combine
// with it and the white space before it. White space at the end belongs to the last token.
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

// firstToken gives the length of the first token of text, which is not empty.
func firstToken(text string) int {
	start := spaces(text)
	r, size := utf8.DecodeRuneInString(text[start:])
	end, word := start+size, isWord(r)
	for end < len(text) {
		next, size := utf8.DecodeRuneInString(text[end:])
		if !(word && isWord(next)) && !combines(next) && r != joiner {
			break
		}
		r = next
		end += size
	}
	if end+spaces(text[end:]) == len(text) {
		return len(text)
	}
	return end
}

// spaces gives the length of the white space at the beginning of text.
func spaces(text string) int {
	for i, r := range text {
		if !unicode.IsSpace(r) {
			return i
		}
	}
	return len(text)
}

func isWord(r rune) bool { return (unicode.IsLetter(r) || unicode.IsDigit(r)) && !isCJK(r) }

// isCJK reports whether r belongs to a script that has no spaces between words, or to Hangul.
func isCJK(r rune) bool {
	return r >= 0x1100 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul)
}

// joiner makes one character of its neighbours, as in a family emoji.
const joiner = '\u200d'

// combines reports whether r belongs to the character before it.
func combines(r rune) bool { return r == joiner || unicode.IsMark(r) }
