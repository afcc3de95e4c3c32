package upstream

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/fnv"
	"io"
	"math"
	"net/http"

	"proxycast/upstream/dialect"
)

// One conversation stays with one credential and one weighted target as long as they are healthy: providers keep what
// they have computed of a prompt for the account that sent it. Which they are follows from the conversation's name
// alone, so that every replica of the gateway chooses alike; what rests or fails is passed over (rendezvous hashing).

// conversationOf returns the name of the conversation that a request belongs to, "" if it has none: Claude Code's
// session, Codex's, else what the body says.
func conversationOf(h http.Header, q *dialect.Request) string {
	for _, name := range []string{"X-Claude-Code-Session-Id", "Session_id", "Session-Id"} {
		if id := h.Get(name); id != "" {
			return id
		}
	}
	return q.Conversation()
}

// sessionOf returns a short name for a conversation that does not tell it: twelve digits of its SHA-256, "" for none.
func sessionOf(conversation string) string {
	if conversation == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(conversation))
	return hex.EncodeToString(sum[:6])
}

// rank returns how much a conversation belongs to the candidate of that name: the largest of all wins. Of candidates
// with weights each wins its share of the conversations.
func rank(conversation, candidate string, weight int) float64 {
	h := fnv.New64a()
	io.WriteString(h, conversation)
	h.Write([]byte{0})
	io.WriteString(h, candidate)
	mixed := h.Sum64()
	mixed ^= mixed >> 33 // FNV's upper bits hardly depend on the last bytes
	mixed *= 0xff51afd7ed558ccd
	mixed ^= mixed >> 33
	even := (float64(mixed>>11) + 0.5) / (1 << 53) // in (0, 1)
	return -float64(weight) / math.Log(even)
}
