// OpenAI embeddings. https://platform.openai.com/docs/api-reference/embeddings

package demo

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"strings"
)

const (
	maxDimensions = 4096
	maxNumbers    = 1 << 20 // of all vectors of a reply
)

func (c call) embeddings() (reply, error) {
	var q struct {
		Input          embedInputs `json:"input"`
		Dimensions     int         `json:"dimensions"`
		EncodingFormat string      `json:"encoding_format"`
	}
	q.Dimensions, q.EncodingFormat = 256, "float" // which null leaves
	if err := decode(c.body, &q); err != nil {
		return reply{}, err
	}
	switch {
	case len(q.Input) == 0:
		return reply{}, noEntry("input")
	case q.Dimensions < 1 || q.Dimensions > maxDimensions:
		return reply{}, invalid("dimensions", "must be 1 to %d", maxDimensions)
	case q.Dimensions*len(q.Input) > maxNumbers:
		return reply{}, invalid("dimensions", "times the entries of 'input' is more than %d", maxNumbers)
	case q.EncodingFormat != "float" && q.EncodingFormat != "base64":
		return reply{}, invalid("encoding_format", "must be float or base64")
	}
	data := make([]json.RawMessage, len(q.Input))
	read := 0
	for i, text := range q.Input {
		read += countTokens(text)
		vector := embed(text, q.Dimensions)
		numbers := encode(vector)
		if q.EncodingFormat == "base64" {
			raw, _ := binary.Append(nil, binary.LittleEndian, vector) // does not fail for floats
			numbers = encode(raw)                                     // which JSON has in base64
		}
		data[i] = fill(`{"object":"embedding","index":%s,"embedding":%s}`, i, numbers)
	}
	return reply{body: fill(`{"object":"list","data":%s,"model":%s,"usage":{"prompt_tokens":%s,"total_tokens":%s}}`, data, c.model, read, read)}, nil
}

// embedInputs is what is to be embedded: a text or texts, or, as LangChain sends them, a list or lists of token
// numbers, whose text is their digits.
type embedInputs []string

func (l *embedInputs) UnmarshalJSON(raw []byte) error {
	var lists [][]int
	if one := []int(nil); json.Unmarshal(raw, &one) == nil && len(one) > 0 {
		lists = [][]int{one}
	} else if json.Unmarshal(raw, &lists) != nil || len(lists) == 0 {
		return (*stringList)(l).UnmarshalJSON(raw)
	}
	*l = make(embedInputs, len(lists))
	for i, list := range lists {
		(*l)[i] = strings.Trim(fmt.Sprint(list), "[]")
	}
	return nil
}

// embed returns the unit vector of text: each of its words, whatever their order and case, adds to the place that its
// hash chooses, so that texts which share words are near each other.
func embed(text string, dimensions int) []float32 {
	v := make([]float64, dimensions)
	for token := range tokens(strings.ToLower(text)) {
		h := fnv.New32a()
		h.Write([]byte(strings.TrimSpace(token)))
		bits := h.Sum32()
		v[bits>>1%uint32(dimensions)] += 1 - 2*float64(bits&1)
	}
	square := 0.0
	for _, x := range v {
		square += x * x
	}
	if square == 0 {
		v[0], square = 1, 1
	}
	unit := make([]float32, dimensions)
	for i, x := range v {
		unit[i] = float32(x / math.Sqrt(square))
	}
	return unit
}
