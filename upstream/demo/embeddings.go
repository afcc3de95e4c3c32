// OpenAI embeddings. https://platform.openai.com/docs/api-reference/embeddings

package demo

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"math"
	"strings"
)

const (
	defaultDimensions = 256
	maxDimensions     = 4096
	maxNumbers        = 1 << 20 // of all vectors of a reply
)

func (c call) embeddings() (reply, error) {
	var q struct {
		Input          inputs  `json:"input"`
		Dimensions     *int    `json:"dimensions"`
		EncodingFormat *string `json:"encoding_format"`
	}
	if err := decode(c.body, &q); err != nil {
		return reply{}, err
	}
	if err := q.Input.check("input"); err != nil {
		return reply{}, err
	}
	dimensions, packed := defaultDimensions, false
	if q.Dimensions != nil {
		dimensions = *q.Dimensions
	}
	if q.EncodingFormat != nil {
		packed = *q.EncodingFormat == "base64"
	}
	switch {
	case dimensions < 1 || dimensions > maxDimensions:
		return reply{}, invalid("dimensions", "must be 1 to %d", maxDimensions)
	case dimensions*len(q.Input) > maxNumbers:
		return reply{}, invalid("dimensions", "times the entries of 'input' is more than %d", maxNumbers)
	case q.EncodingFormat != nil && !packed && *q.EncodingFormat != "float":
		return reply{}, invalid("encoding_format", "must be float or base64")
	}
	type entry struct {
		Object    string `json:"object"`
		Index     int    `json:"index"`
		Embedding any    `json:"embedding"`
	}
	data := make([]entry, len(q.Input))
	for i, in := range q.Input {
		v := embed(in.text, dimensions)
		data[i] = entry{"embedding", i, v}
		if packed {
			data[i].Embedding = float32Base64(v)
		}
	}
	type usage struct {
		PromptTokens int `json:"prompt_tokens"`
		TotalTokens  int `json:"total_tokens"`
	}
	n := q.Input.tokens()
	return jsonReply(struct {
		Object string  `json:"object"`
		Data   []entry `json:"data"`
		Model  string  `json:"model"`
		Usage  usage   `json:"usage"`
	}{"list", data, c.model, usage{n, n}}, 0), nil
}

// embed gives the unit vector of text: each of its words, whatever their
// order and case, adds to places that its hash chooses, so that texts which
// share words are near each other.
func embed(text string, dimensions int) []float32 {
	v := make([]float64, dimensions)
	for token := range tokens(strings.ToLower(text)) {
		h := fnv.New64a()
		h.Write([]byte(strings.TrimSpace(token)))
		bits := h.Sum64()
		for range 4 {
			place := int((bits >> 1 & 0x7fff) % uint64(dimensions))
			v[place] += 1 - 2*float64(bits&1)
			bits >>= 16
		}
	}
	sum := 0.0
	for _, x := range v {
		sum += x * x
	}
	if sum == 0 {
		v[0], sum = 1, 1
	}
	unit := make([]float32, dimensions)
	for i, x := range v {
		unit[i] = float32(x / math.Sqrt(sum))
	}
	return unit
}

// float32Base64 gives the little-endian bytes of v in base64.
func float32Base64(v []float32) string {
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(raw)
}
