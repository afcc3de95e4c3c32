package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"proxycast/upstream/dialect"
)

// testTimeout is what a provider has to answer an operator's test.
const testTimeout = 30 * time.Second

// maxTestAnswer is how many bytes of the answer to a test are read.
const maxTestAnswer = 1 << 20

// TestResult is what a test of a provider gave.
type TestResult struct {
	OK     bool     `json:"ok"`
	Millis int64    `json:"ms"`
	Models []string `json:"models,omitempty"`
	Text   string   `json:"text,omitempty"`
	Error  string   `json:"error,omitempty"`
}

// Test asks a provider for its models or, when model is not empty, that model for a
// few words. It goes past routing, retries and health.
func (p *Proxy) Test(ctx context.Context, name, model string) (result TestResult) {
	start := time.Now()
	defer func() { result.Millis = time.Since(start).Milliseconds() }()
	targets, refused := p.ready(name, model)
	if refused != nil {
		result.Error = refused.Message
		return result
	}
	provider := targets[0].provider
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	var err error
	if model == "" {
		var models []Model
		if models, err = provider.fetchModels(ctx); err == nil {
			for _, m := range models {
				result.Models = append(result.Models, m.ID)
			}
		}
	} else {
		result.Text, err = provider.say(ctx, model)
	}
	if err != nil {
		result.Error = provider.scrub(err.Error())
	}
	result.Text = provider.scrub(result.Text)
	result.OK = err == nil
	if name := targets[0].name(); result.OK {
		p.health.succeeded(name, time.Now())
	} else if model != "" {
		p.health.failed(name, p.cooldown, time.Now())
	}
	return result
}

// say has a model answer one short prompt.
func (p *provider) say(ctx context.Context, model string) (text string, err error) {
	e := dialect.ChatCompletions
	if p.config.Type == typeAnthropic {
		e = dialect.Messages
	}
	request := map[string]any{"model": model, "messages": []map[string]string{{"role": "user", "content": "Say hello."}}}
	if e == dialect.Messages { // which demands a limit; of the others some models refuse max_tokens, and some a low one
		request["max_tokens"] = 1024
	}
	body, err := json.Marshal(request)
	if err != nil {
		return "", err
	}
	res, err := p.transport.RoundTrip(p.newRequest(ctx, p.keys.pick(time.Now(), ""), providerRequest{
		method: http.MethodPost, path: e.Path(), header: http.Header{"Content-Type": {"application/json"}},
		body: io.NopCloser(bytes.NewReader(body)), length: int64(len(body)),
	}))
	if err != nil {
		return "", errUnreachable(p.config.Name, err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusUnauthorized { // its body quotes the key
		return "", fmt.Errorf("the provider rejected the credential (status 401)")
	}
	var answer struct {
		Choices []struct{ Message struct{ Content string } }
		Content []struct{ Text string }
		Error   struct{ Message string }
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxTestAnswer)).Decode(&answer); err != nil {
		return "", fmt.Errorf("status %d with a body that is not JSON", res.StatusCode)
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d: %s", res.StatusCode, answer.Error.Message)
	}
	for _, c := range answer.Choices {
		text += c.Message.Content
	}
	for _, c := range answer.Content {
		text += c.Text
	}
	return text, nil
}
