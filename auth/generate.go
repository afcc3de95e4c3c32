package auth

// How a key is made and hashed.

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

const (
	generatedPrefix = "pc_" // lets secret scanners know our keys
	generatedLen    = 32    // characters after the prefix: 190 random bits
	alphanumerics   = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// Generate makes a new key: "pc_" and 32 random letters or digits.
func Generate() string {
	// A byte below the largest multiple of 62 picks each character with the same
	// probability; the others are thrown away.
	const fair = 256 - 256%len(alphanumerics)

	key := []byte(generatedPrefix)
	var random [64]byte
	for {
		rand.Read(random[:]) // never fails
		for _, b := range random {
			if int(b) >= fair {
				continue
			}
			key = append(key, alphanumerics[int(b)%len(alphanumerics)])
			if len(key) == len(generatedPrefix)+generatedLen {
				return string(key)
			}
		}
	}
}

// isGenerated reports whether key has the form of a generated key.
func isGenerated(key string) bool {
	random, ok := strings.CutPrefix(key, generatedPrefix)
	return ok && len(random) == generatedLen && strings.Trim(random, alphanumerics) == ""
}

// Digest returns the hexadecimal SHA-256 of key, as key_sha256 takes it.
func Digest(key string) string {
	sum := sha256Of(key)
	return hex.EncodeToString(sum[:])
}

type digest = [sha256.Size]byte

// parseDigest is the inverse of Digest, up to the case of its digits.
func parseDigest(text string) (sum digest, ok bool) {
	if len(text) != hex.EncodedLen(len(sum)) {
		return sum, false
	}
	_, err := hex.Decode(sum[:], []byte(text))
	return sum, err == nil
}

func sha256Of(key string) digest {
	// A key that fits the buffer is hashed without an allocation.
	var buffer [128]byte
	return sha256.Sum256(append(buffer[:0], key...))
}
