// Reranking, in the shape on which Cohere, Jina and their like agree.
// https://docs.cohere.com/reference/rerank

package demo

import (
	"cmp"
	"encoding/json"
	"slices"
)

// rerank orders documents by the nearness of their embeddings to the query's.
func (c call) rerank() (reply, error) {
	var q struct {
		Query           string     `json:"query"`
		Documents       []document `json:"documents"`
		TopN            *int       `json:"top_n"`
		ReturnDocuments bool       `json:"return_documents"`
	}
	if err := decode(c.body, &q); err != nil {
		return reply{}, err
	}
	switch {
	case q.Query == "":
		return reply{}, missing("query")
	case len(q.Documents) == 0:
		return reply{}, invalid("documents", "must not be empty")
	case len(q.Documents) > maxInputs:
		return reply{}, invalid("documents", "has more than %d entries", maxInputs)
	case q.TopN != nil && *q.TopN < 1:
		return reply{}, invalid("top_n", "must be 1 or more")
	}
	type result struct {
		Index    int       `json:"index"`
		Score    float64   `json:"relevance_score"`
		Document *document `json:"document,omitempty"`
	}
	words := countTokens(q.Query)
	query := embed(q.Query, defaultDimensions)
	results := make([]result, len(q.Documents))
	for i, d := range q.Documents {
		words += countTokens(d.Text)
		results[i] = result{Index: i, Score: max(0, min(1, dot(query, embed(d.Text, defaultDimensions))))}
		if q.ReturnDocuments {
			results[i].Document = &q.Documents[i]
		}
	}
	slices.SortStableFunc(results, func(a, b result) int { return cmp.Compare(b.Score, a.Score) })
	if q.TopN != nil {
		results = results[:min(len(results), *q.TopN)]
	}
	type usage struct {
		TotalTokens int `json:"total_tokens"`
	}
	return jsonReply(struct {
		ID      string   `json:"id"`
		Model   string   `json:"model"`
		Results []result `json:"results"`
		Usage   usage    `json:"usage"`
	}{newID("rerank-"), c.model, results, usage{words}}, 0), nil
}

// dot is the cosine of two unit vectors.
func dot(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// document is a text, or an object that holds one.
type document struct {
	Text string `json:"text"`
}

func (d *document) UnmarshalJSON(raw []byte) error {
	type object document // without this method
	switch raw[0] {
	case '"':
		return json.Unmarshal(raw, &d.Text)
	case '{':
		return json.Unmarshal(raw, (*object)(d))
	}
	return wrongType(raw)
}
