// The models: how each of them answers, apart from what it says.

package demo

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// models is the answer to GET /models, in OpenAI's list shape.
var models = json.RawMessage(`{"object":"list","data":[{"id":"demo-1","object":"model","created":1750000000,"owned_by":"proxycast"}]}`)

// behavior is what Transport documents of a model.
type behavior struct {
	pace   pace
	status int  // with which the model always fails; 0 if it does not
	slow   bool // plain replies take their time too
	cut    bool
	silent bool
}

func behaviorOf(model string) behavior {
	lively := pace{first: 20 * time.Millisecond, word: 20 * time.Millisecond}
	switch model {
	case "demo-fast":
		return behavior{}
	case "demo-slow":
		return behavior{pace: pace{first: time.Second, word: 300 * time.Millisecond}, slow: true}
	case "demo-cut":
		return behavior{pace: lively, cut: true}
	case "demo-silent":
		return behavior{silent: true}
	}
	if digits, ok := strings.CutPrefix(model, "demo-error-"); ok {
		if n, err := strconv.Atoi(digits); err == nil && 400 <= n && n <= 599 {
			return behavior{status: n}
		}
	}
	return behavior{pace: lively}
}
