package config

import (
	"regexp"
	"strings"
)

// What a message may quote of a config: a secret may stand in any wrong place of it.

var (
	// plainWord matches what is short and made of letters: nobody's credential.
	plainWord = regexp.MustCompile(`^[A-Za-z]{1,10}$`)
	// plainNumber matches a number with its unit, however mistyped.
	plainNumber = regexp.MustCompile(`^[-+]?[0-9]{1,7}(\.[0-9]{1,3})?( ?[A-Za-z]{1,5})?$`)
	// plainKey matches what is written like a key of the file.
	plainKey = regexp.MustCompile(`^[A-Za-z]{1,12}([_ ][A-Za-z]{1,10}){0,3}$`)

	// longWord matches what could be a credential as a whole.
	longWord = regexp.MustCompile(`[-_A-Za-z0-9+/=~]{8,}`)
	// vendorPrefix matches the beginning by which vendors mark their credentials.
	vendorPrefix = regexp.MustCompile(`(?:^|[/=+~])(?:(?:sk|pk|rk|pc|gsk|xai|ghp|gho|glpat|xox[abprs])[-_]|hf_|github_pat_|AIza|AKIA|eyJ)`)
	// run matches letters and digits in a row.
	run = regexp.MustCompile(`[A-Za-z0-9]+`)
	// disorder matches digits among letters as no name has them, or letters among digits.
	disorder = regexp.MustCompile(`[A-Za-z][0-9]+[A-Za-z]+[0-9]|[0-9][A-Za-z]+[0-9]+[A-Za-z]`)
	// version matches what looks like that and is none.
	version = regexp.MustCompile(`^v[0-9]+[a-z]{1,5}[0-9]*$`)
)

const (
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	digits  = "0123456789"

	shortestMixed  = 10 // of letters and digits in a row, which models and variables do not have
	shortestOdd    = 6  // of those in disorder
	shortestNumber = 9  // of digits in a row, beside letters: one more than in a date
	longestNumber  = 20
)

// quotable reports whether a message may quote a value that is refused.
func quotable(text string) bool {
	return plainWord.MatchString(text) || plainNumber.MatchString(text)
}

// hideCredentials returns text with a mask for every word that is written like a credential.
func hideCredentials(text string) string {
	return longWord.ReplaceAllStringFunc(text, func(word string) string {
		if isCredential(word) {
			return "***"
		}
		return word
	})
}

// isCredential reports whether word is written like a credential: with the prefix of a vendor, or with letters and
// digits in disorder.
func isCredential(word string) bool {
	if vendorPrefix.MatchString(word) {
		return true
	}
	hasLetters := strings.ContainsAny(word, letters)
	for _, part := range run.FindAllString(word, -1) {
		switch number := strings.Trim(part, digits) == ""; {
		case number && hasLetters && len(part) >= shortestNumber:
			return true
		case number || plainNumber.MatchString(part) || version.MatchString(part):
		case len(part) >= shortestMixed && strings.ContainsAny(part, digits), len(part) >= shortestOdd && disorder.MatchString(part):
			return true
		}
	}
	return false
}
