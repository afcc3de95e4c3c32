package demo_test

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"slices"
	"testing"
)

type embedded struct {
	Data []struct {
		Index     int
		Embedding []float32
	}
	Usage struct {
		PromptTokens int `json:"prompt_tokens"`
		TotalTokens  int `json:"total_tokens"`
	}
}

func embed(t *testing.T, fields string) embedded {
	t.Helper()
	var e embedded
	ok(t, "/embeddings", `{"model":"demo-fast",`+fields+`}`, &e)
	for i, d := range e.Data {
		if norm := cosine(d.Embedding, d.Embedding); math.Abs(norm-1) > 1e-5 || d.Index != i {
			t.Errorf("%s: vector %d of %d has the square length %v", fields, d.Index, i, norm)
		}
	}
	return e
}

func cosine(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

func TestEmbeddings(t *testing.T) {
	for _, c := range []struct {
		fields             string
		entries, dimension int
		tokens             int
	}{
		{`"input":"one two"`, 1, 256, 2},
		{`"input":["one two","three"],"encoding_format":"float"`, 2, 256, 3},
		{`"input":["one","two"],"dimensions":1`, 2, 1, 2},
		{`"input":"one","dimensions":4096`, 1, 4096, 1},
		{`"input":" ","dimensions":2`, 1, 2, 1},
		{`"input":"` + "你好" + `","dimensions":null,"encoding_format":null,"user":"u"`, 1, 256, 2},
	} {
		e := embed(t, c.fields)
		if len(e.Data) != c.entries || e.Usage.PromptTokens != c.tokens || e.Usage.TotalTokens != c.tokens {
			t.Errorf("%s: %d entries, %+v", c.fields, len(e.Data), e.Usage)
			continue
		}
		for _, d := range e.Data {
			if len(d.Embedding) != c.dimension {
				t.Errorf("%s: %d dimensions", c.fields, len(d.Embedding))
			}
		}
	}
}

func TestEmbeddingsMeanSomething(t *testing.T) {
	e := embed(t, `"input":["the cat sat on the mat","The cat sat on the mat","a cat on a mat","stock prices fell sharply today"]`)
	first := e.Data[0].Embedding
	if !slices.Equal(first, e.Data[1].Embedding) {
		t.Error("the case of a letter makes a difference")
	}
	if near, far := cosine(first, e.Data[2].Embedding), cosine(first, e.Data[3].Embedding); near < far+0.2 {
		t.Errorf("a like text is at %v, another at %v", near, far)
	}
	again := embed(t, `"input":"the cat sat on the mat"`)
	if !slices.Equal(first, again.Data[0].Embedding) {
		t.Error("the same text has two vectors")
	}
}

// LangChain sends the numbers of tokens in the place of texts.
func TestEmbeddingsOfTokens(t *testing.T) {
	lists := embed(t, `"input":[[9906,1917],[0]]`)
	one := embed(t, `"input":[9906,1917]`)
	if len(lists.Data) != 2 || len(one.Data) != 1 || !slices.Equal(lists.Data[0].Embedding, one.Data[0].Embedding) {
		t.Errorf("%d and %d vectors", len(lists.Data), len(one.Data))
	}
}

func TestEmbeddingsInBase64(t *testing.T) {
	want := embed(t, `"input":"one two"`).Data[0].Embedding
	var packed struct{ Data []struct{ Embedding string } }
	ok(t, "/embeddings", `{"model":"demo-fast","input":"one two","encoding_format":"base64"}`, &packed)
	raw, err := base64.StdEncoding.DecodeString(packed.Data[0].Embedding)
	if err != nil || len(raw) != 4*len(want) {
		t.Fatalf("%d bytes, %v", len(raw), err)
	}
	for i := range want {
		if got := math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])); got != want[i] {
			t.Errorf("number %d is %v, want %v", i, got, want[i])
		}
	}
}
