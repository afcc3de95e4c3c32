// The settings of a Responses request, which each of its responses repeats.

package demo

import "encoding/json"

type responseSettings struct {
	FrequencyPenalty     float64           `json:"frequency_penalty"`
	Instructions         *string           `json:"instructions"`
	MaxOutputTokens      *int              `json:"max_output_tokens"`
	MaxToolCalls         *int              `json:"max_tool_calls"`
	Metadata             map[string]string `json:"metadata"`
	ParallelToolCalls    bool              `json:"parallel_tool_calls"`
	PresencePenalty      float64           `json:"presence_penalty"`
	PromptCacheKey       *string           `json:"prompt_cache_key"`
	PromptCacheRetention *string           `json:"prompt_cache_retention"`
	Reasoning            struct {
		Effort  *string `json:"effort"`
		Summary *string `json:"summary"`
	} `json:"reasoning"`
	SafetyIdentifier *string `json:"safety_identifier"`
	ServiceTier      string  `json:"service_tier"`
	Store            bool    `json:"store"`
	Temperature      float64 `json:"temperature"`
	Text             struct {
		Format    members `json:"format"`
		Verbosity string  `json:"verbosity"`
	} `json:"text"`
	ToolChoice  *json.RawMessage `json:"tool_choice"`
	Tools       []members        `json:"tools"`
	TopLogprobs int              `json:"top_logprobs"`
	TopP        float64          `json:"top_p"`
	Truncation  string           `json:"truncation"`
	User        *string          `json:"user"`
}

// readSettings returns the settings of a request, and OpenAI's defaults for those that it leaves out or has as null. A
// null changes nothing in what is decoded into a number, a string or a struct, so these have their defaults before.
func readSettings(body []byte) (s responseSettings, err error) {
	s.ParallelToolCalls = true
	s.ServiceTier = "default"
	s.Temperature = 1
	s.Text.Verbosity = "medium"
	s.TopP = 1
	s.Truncation = "disabled"
	if err := decode(body, &s); err != nil {
		return s, err
	}
	if s.Metadata == nil {
		s.Metadata = map[string]string{}
	}
	if s.Text.Format == nil {
		s.Text.Format = members{"type": json.RawMessage(`"text"`)}
	}
	if string(s.Text.Format["type"]) == `"json_schema"` {
		s.Text.Format.setDefault("description", "null")
		s.Text.Format.setDefault("strict", "false")
	}
	if s.ToolChoice == nil {
		auto := json.RawMessage(`"auto"`)
		s.ToolChoice = &auto
	}
	if s.Tools == nil {
		s.Tools = []members{}
	}
	for _, t := range s.Tools {
		if string(t["type"]) == `"function"` {
			t.setDefault("description", "null")
			t.setDefault("parameters", "null")
			t.setDefault("strict", "false")
		}
	}
	return s, nil
}

// members are those of a JSON object.
type members map[string]json.RawMessage

// setDefault states a member that is missing or null.
func (m members) setDefault(name, value string) {
	if v := m[name]; v == nil || string(v) == "null" {
		m[name] = json.RawMessage(value)
	}
}
