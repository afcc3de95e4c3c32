// Metrics: what /metrics says, as Prometheus reads it.
package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"proxycast/internal_test/harness"
)

// exposed reads GET /metrics.
func (g *gateway) exposed(t testing.TB) string {
	t.Helper()
	r := g.Send(t, "GET", "/metrics", "", "Authorization: Bearer "+harness.AdminKey)
	if r.Status != 200 || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("/metrics: %d %v %s", r.Status, r.Header, r.Body)
	}
	return string(r.Body)
}

// metric adds up the samples whose lines begin with prefix.
func (g *gateway) metric(t testing.TB, prefix string) (sum float64) {
	t.Helper()
	for line := range strings.Lines(g.exposed(t)) {
		if strings.HasPrefix(line, prefix) {
			value, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' ')+1:]), 64)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			sum += value
		}
	}
	return sum
}

// promtool has no fault to find, with every kind of sample there.
func TestMetricsLint(t *testing.T) {
	harness.NeedTool(t, "promtool", "apt-get install prometheus")
	p := harness.NewProvider(t, kindly)
	g := start(t, relayTo(p, "openai"))
	for _, name := range oddNames {
		g.Send(t, "POST", "/v1/chat/completions", `{"model":`+quoted(name)+`}`)
	}
	for _, name := range []string{`"a\ud800"`, `"a\ud801"`, `"a\ufffd"`, "\"a\xff\"", "\"a\xfe\""} { // refused, or made one
		g.Send(t, "POST", "/v1/chat/completions", `{"model":`+name+`}`)
	}
	g.crowdOnce(t)
	text := g.exposed(t)
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v\n%s", err, out)
	}
	samples := map[string]bool{}
	for line := range strings.Lines(text) {
		series := line[:strings.LastIndexByte(line, ' ')]
		if samples[series] {
			t.Errorf("twice: %s", series)
		}
		samples[series] = !strings.HasPrefix(line, "#")
	}
}

// Prometheus itself scrapes the gateway and answers with its numbers.
func TestPrometheus(t *testing.T) {
	harness.Slow(t)
	harness.NeedTool(t, "prometheus", "apt-get install prometheus")
	p := harness.NewProvider(t, kindly)
	g := start(t, relayTo(p, "openai"))
	for range 7 {
		g.crowdOnce(t)
	}
	dir := t.TempDir()
	harness.WriteFile(t, dir, "admin.key", harness.AdminKey)
	config := harness.WriteFile(t, dir, "prometheus.yml", `
global: {scrape_interval: 200ms, scrape_timeout: 200ms}
scrape_configs:
  - job_name: proxycast
    authorization: {credentials_file: `+filepath.Join(dir, "admin.key")+`}
    static_configs: [{targets: ["`+g.Addr+`"]}]
`)
	address := harness.FreeAddress(t)
	var said harness.Output
	cmd := exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	ask := func(query string) (value string) {
		res, err := http.Get("http://" + address + "/api/v1/query?query=" + url.QueryEscape(query))
		if err != nil {
			return ""
		}
		defer res.Body.Close()
		var answer struct {
			Data struct {
				Result []struct{ Value []any }
			}
		}
		if json.NewDecoder(res.Body).Decode(&answer) != nil || len(answer.Data.Result) != 1 {
			return ""
		}
		return fmt.Sprint(answer.Data.Result[0].Value[1])
	}
	for query, want := range map[string]string{
		`up{job="proxycast"}`:           "1",
		`sum(proxycast_requests_total)`: strconv.Itoa(7 * len(kinds)),
		`sum(proxycast_requests_total{endpoint="chat_completions",provider="fake",model="m-1",code="200"})`: "14",
		`sum(proxycast_requests_total{code="403"})`:                                                         "7",
		`proxycast_tokens_total{provider="fake",model="m-1",type="reasoning"}`:                              "14",
		`proxycast_request_duration_seconds_count{endpoint="models"}`:                                       "7",
		`proxycast_time_to_first_token_seconds_bucket{le="+Inf"}`:                                           "7",
		`histogram_quantile(0.99, sum by (le) (proxycast_request_duration_seconds_bucket)) < bool 10`:       "1",
		`proxycast_provider_up{provider="fake"}`:                                                            "1",
		`proxycast_upstream_attempts_total{provider="fake",outcome="success"}`:                              "14",
		`proxycast_log_dropped_total`:                                                                       "0",
		`proxycast_requests_in_flight`:                                                                      "0",
		`proxycast_config_reload_success`:                                                                   "1",
		`count(proxycast_build_info)`:                                                                       "1",
		`process_resident_memory_bytes > bool 1e6`:                                                          "1",
		`go_goroutines > bool 1`:                                                                            "1",
	} {
		got := ""
		for deadline := time.Now().Add(harness.Patience); got != want && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			got = ask(query)
		}
		if got != want {
			t.Errorf("%s is %q, want %q\n%s", query, got, want, said.String())
		}
	}
}

// However many models a client invents, the metrics and stats stay small.
func TestInventedModels(t *testing.T) {
	p := harness.NewProvider(t, kindly)
	f := func(models list, routed bool) {
		g := start(t, relayTo(p, "openai", object{"models": models}))
		for i := range 1000 {
			g.Send(t, "POST", "/v1/chat/completions", fmt.Sprintf(`{"model":"invented-%d"}`, i))
		}
		names := map[string]bool{}
		for _, match := range regexp.MustCompile(`model="([^"]*)"`).FindAllStringSubmatch(g.exposed(t), -1) {
			names[match[1]] = true
		}
		if want := map[bool]int{true: 201, false: 1}[routed]; len(names) != want || routed != names["other"] {
			t.Errorf("models %v: %d names of models, want %d; other: %v", models, len(names), want, names["other"])
		}
		if n := g.metric(t, "proxycast_requests_total"); n != 1000 {
			t.Errorf("models %v: %v requests", models, n)
		}
		s := g.stats(t, "by=model,key")
		if last := s.Groups[0]; s.Requests != 1000 || len(s.Groups) != 201 || last.Name != "other" || last.Requests != 800 {
			t.Errorf("models %v: %d requests in %d groups, first %q with %d", models, s.Requests, len(s.Groups), last.Name, last.Requests)
		}
	}
	f(list{"*"}, true)
	f(list{"gpt-*"}, false)
}
