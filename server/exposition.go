package server

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// The Prometheus text format, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/).

// exposition writes the text format.
type exposition struct {
	text bytes.Buffer
	name string // of the family
}

// family begins a family of samples.
func (p *exposition) family(name, typ, help string) {
	p.name = name
	fmt.Fprintf(&p.text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, typ)
}

// sample writes one value of the family. pairs is label, value, label, value…
func (p *exposition) sample(suffix string, value float64, pairs ...string) {
	p.text.WriteString(p.name + suffix)
	for i := 0; i < len(pairs); i += 2 {
		p.text.WriteByte("{,"[min(i, 1)])
		fmt.Fprintf(&p.text, `%s="%s"`, pairs[i], labelEscaper.Replace(pairs[i+1]))
	}
	if len(pairs) > 0 {
		p.text.WriteByte('}')
	}
	p.text.WriteByte(' ')
	p.text.WriteString(number(value))
	p.text.WriteByte('\n')
}

var labelEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func number(value float64) string { return strconv.FormatFloat(value, 'g', -1, 64) }

func (p *exposition) counter(c counter) {
	p.family(c.name, "counter", c.help)
	for _, l := range sorted(c.values) {
		var pairs []string
		for i, name := range c.labels {
			pairs = append(pairs, name, l[i])
		}
		p.sample("", float64(c.values[l]), pairs...)
	}
}

func (p *exposition) histograms(name, help string, series map[labels]*histogram) {
	p.family(name, "histogram", help)
	for _, l := range sorted(series) {
		h, total := series[l], int64(0)
		for i, bound := range secondBounds {
			total += h.buckets[i]
			p.sample("_bucket", float64(total), "endpoint", l[0], "provider", l[1], "le", number(bound))
		}
		p.sample("_bucket", float64(h.count), "endpoint", l[0], "provider", l[1], "le", "+Inf")
		p.sample("_sum", h.sum, "endpoint", l[0], "provider", l[1])
		p.sample("_count", float64(h.count), "endpoint", l[0], "provider", l[1])
	}
}

func sorted[V any](series map[labels]V) []labels {
	return slices.SortedFunc(maps.Keys(series), func(a, b labels) int { return slices.Compare(a[:], b[:]) })
}
