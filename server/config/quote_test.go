package config_test

import (
	"strings"
	"testing"

	"proxycast/server/config"
)

// Faults name what the operator has to find, unless it is written like a credential.
func TestFaultsQuoteNames(t *testing.T) {
	f := func(name string, shown bool) {
		t.Helper()
		writeConfig(t, `{"upstream": {"models": {"`+name+`": 1}}}`)
		_, err := config.Load("config.json", configEnv)
		if err == nil || strings.Contains(err.Error(), "models."+name+":") != shown {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{
		"gpt-4.1", "gpt-4o-mini", "o4-mini", "claude-sonnet-4-5-20250929", "claude-3-5-haiku@20241022", "mixtral-8x7b-instruct", "llama-v3p1-405b-instruct",
		"text-embedding-ada-002", "qwen2.5-72b", "deepseek/deepseek-r1", "anthropic.claude-v2:1", "gemini-2.5-flash-lite-preview-06-17", "vertex-v1beta1", "mixtral-8x22b", "phi3mini", "快", "skip-this", "hf.co/a/b",
	} {
		f(name, true)
	}
	for _, name := range []string{
		"sk-proj-Ab12Cd34Ef56", "sk-ant-api03-abcdef", "AIzaSyA1234567890abcdef", "AKIAIOSFODNN7EXAMPLE", "gsk_abcdefgh", "ghp_abcdefghij", "xai-abcdefgh", "pc_abcdefghij",
		"3f9c2b7d8e1a", "my-key-0123456789", "eyJhbGciOiJIUzI1NiJ9", "d41d8cd9-8f00-b204-e980-0998ecf8427e", "xoxb-abcdefgh", "Tr0ub4dor3", "s3cr3tword", "key=sk-abcdefgh", "demo/sk-abcdefgh", "canary-7f3a9b", "pa55w0rd-admin",
	} {
		f(name, false)
	}
}
