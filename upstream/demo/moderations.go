// OpenAI moderations: nothing is ever flagged. https://platform.openai.com/docs/api-reference/moderations

package demo

import "encoding/json"

func (c call) moderations() (reply, error) {
	var q struct {
		Input json.RawMessage `json:"input"`
	}
	if err := decode(c.body, &q); err != nil {
		return reply{}, err
	}
	if absent(q.Input) {
		return reply{}, missing("input")
	}
	var texts stringList
	var parts content
	n := 1 // an array of parts is one input
	switch {
	case json.Unmarshal(q.Input, &texts) == nil:
		n = len(texts)
	case json.Unmarshal(q.Input, &parts) != nil:
		return reply{}, invalid("input", "must be a string, an array of strings or an array of parts")
	}
	if n == 0 || n > maxInputs {
		return reply{}, invalid("input", "must have 1 to %d entries", maxInputs)
	}
	type result struct {
		Flagged    bool                `json:"flagged"`
		Categories map[string]bool     `json:"categories"`
		Scores     map[string]float64  `json:"category_scores"`
		Applied    map[string][]string `json:"category_applied_input_types"`
	}
	clean := result{Categories: map[string]bool{}, Scores: map[string]float64{}, Applied: map[string][]string{}}
	for _, category := range [...]string{
		"harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
		"self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
	} {
		clean.Categories[category] = false
		clean.Scores[category] = 0
		clean.Applied[category] = []string{"text"}
	}
	results := make([]result, n)
	for i := range results {
		results[i] = clean
	}
	return jsonReply(struct {
		ID      string   `json:"id"`
		Model   string   `json:"model"`
		Results []result `json:"results"`
	}{newID("modr-"), c.model, results}, 0), nil
}
