//go:build linux

// The table: medians of the rounds, and what the gateway costs compared with the
// yardstick.
package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"
)

// measurement is what a target did in one round of a row.
type measurement struct {
	outcome                     // of the row's last job; what was sent, failed and lost, of all
	idle, after, rested float64 // MB: before the first job, after the last, after the rest
	added50, added99    float64 // µs, on top of direct
	streams             int     // at once, of the row's last job
	lostRecords         int64
}

// take adds a further job's outcome.
func (m *measurement) take(o outcome) {
	sent, failed, lost, fault := m.Sent+o.Sent, m.Failed+o.Failed, m.Lost+o.Lost, m.Fault
	m.outcome = o
	m.Sent, m.Failed, m.Lost = sent, failed, lost
	if fault != "" {
		m.Fault = fault
	}
}

// disturbance is how far a round is from one on a quiet machine: the foreign CPU, in
// cores, and the share of the streams that ended before they were all measured, since
// some took too long to open.
func (m measurement) disturbance() float64 {
	if m.streams == 0 {
		return m.Foreign
	}
	return m.Foreign + float64(m.Requests)/float64(m.streams)
}

func (m measurement) String() string {
	text := fmt.Sprintf("%d requests, %d chunks, %.2f s CPU in %.1f s, foreign %.2f, %.0f MB", m.Requests, m.Chunks, m.CPU, m.Seconds, m.Foreign, m.Peak)
	if m.P50 > 0 {
		text += fmt.Sprintf(", p50 %.0f µs, p99 %.0f µs", m.P50, m.P99)
	}
	if m.Failed+m.Lost+m.lostRecords != 0 {
		text += fmt.Sprintf("; %d FAILED, %d chunks lost, %d records lost: %s", m.Failed, m.Lost, m.lostRecords, m.Fault)
	}
	return text
}

// cell names a row and a target, or a sum and a target.
type cell struct{ row, target string }

type results map[cell][]measurement

func (r results) add(row, target string, m measurement) {
	r[cell{row, target}] = append(r[cell{row, target}], m)
}

// sum keeps every measurement, the noisy ones too: nothing that was lost is forgotten.
func (r results) sum(target string, m measurement) { r.add("", target, m) }

// line is a line of the table.
type line struct {
	row, label, format string
	value              func(m measurement) float64
}

func lines(rest time.Duration) []line {
	perThousand := func(m measurement) float64 { return m.CPU * 1e6 / float64(m.Requests) }
	perChunk := func(m measurement) float64 { return m.CPU * 1e6 / float64(m.Chunks) }
	return []line{
		{"1KB", "CPU ms per 1,000 requests, %s", "%.0f", perThousand},
		{"1KB", "requests/s, same", "%.0f", func(m measurement) float64 { return float64(m.Requests) / m.Seconds }},
		{"open", "added µs p50, %s", "%.0f", func(m measurement) float64 { return m.added50 }},
		{"open", "added µs p99, same", "%.0f", func(m measurement) float64 { return m.added99 }},
		{"100KB", "CPU ms per 1,000 requests, %s", "%.0f", perThousand},
		{"1MB", "CPU ms per 1,000 requests, %s", "%.0f", perThousand},
		{"fast", "CPU µs per chunk, %s", "%.2f", perChunk},
		{"1000", "CPU µs per chunk, %s", "%.1f", perChunk},
		{"1000", "KB of memory per stream, same", "%.1f", func(m measurement) float64 { return (m.Peak - m.idle) * 1e3 / float64(m.streams) }},
		{"1000", "µs from provider to client p50, same", "%.0f", func(m measurement) float64 { return m.P50 }},
		{"1000", "µs from provider to client p99, same", "%.0f", func(m measurement) float64 { return m.P99 }},
		{"5000", "CPU µs per chunk, %s", "%.1f", perChunk},
		{"5000", "MB, same", "%.0f", func(m measurement) float64 { return m.Peak }},
		{"memory", "MB idle", "%.1f", func(m measurement) float64 { return m.idle }},
		{"memory", "MB after %s", "%.1f", func(m measurement) float64 { return m.after }},
		{"memory", fmt.Sprintf("MB %v later", rest), "%.1f", func(m measurement) float64 { return m.rested }},
	}
}

// print writes the table: a column for each target, and one for the first one's ratio to
// each of the others.
func (r results) print(w io.Writer, rows []row, targets []target, rest time.Duration) {
	fmt.Fprintf(w, "\n%s, %d cores, %s, target on core %s, load and provider on %s\n\n", runtime.Version(), runtime.NumCPU(), time.Now().Format(time.DateOnly), orAny(targetCore), orAny(otherCores))
	columns := append([]target{direct}, targets...)
	fmt.Fprint(w, "| |")
	for _, t := range columns {
		fmt.Fprintf(w, " %s |", t.Name)
	}
	for _, t := range targets[1:] {
		fmt.Fprintf(w, " %s to %s |", targets[0].Name, t.Name)
	}
	fmt.Fprintf(w, "\n|---|%s\n", strings.Repeat("--:|", len(columns)+len(targets)-1))
	for _, l := range lines(rest) {
		if i := slices.IndexFunc(rows, func(r row) bool { return r.name == l.row }); i >= 0 && len(r[cell{l.row, targets[0].Name}]) > 0 {
			r.printLine(w, l, strings.Replace(l.label, "%s", rows[i].about, 1), columns)
		}
	}
	for _, total := range []struct {
		label string
		value func(m measurement) float64
	}{
		{"requests sent", func(m measurement) float64 { return float64(m.Sent) }},
		{"errors", func(m measurement) float64 { return float64(m.Failed) }},
		{"lost chunks", func(m measurement) float64 { return float64(m.Lost) }},
		{"lost records", func(m measurement) float64 { return float64(m.lostRecords) }},
	} {
		fmt.Fprintf(w, "| %s |", total.label)
		for _, t := range columns {
			sum := 0.0
			for _, m := range r[cell{"", t.Name}] {
				sum += total.value(m)
			}
			fmt.Fprintf(w, " %.0f |", sum)
		}
		fmt.Fprintln(w, strings.Repeat(" |", len(targets)-1))
	}
	r.printDisturbance(w, rows, columns)
}

func orAny(cores string) string {
	if cores == "" {
		return "any"
	}
	return cores
}

func (r results) printLine(w io.Writer, l line, label string, columns []target) {
	fmt.Fprintf(w, "| %s |", label)
	medians := make([]float64, len(columns))
	for i, t := range columns {
		medians[i] = r.median(cell{l.row, t.Name}, l.value)
		if medians[i] == 0 {
			fmt.Fprint(w, " – |")
			continue
		}
		fmt.Fprintf(w, " "+l.format+" |", medians[i])
	}
	for _, other := range medians[2:] {
		fmt.Fprintf(w, " %.2f |", medians[1]/other)
	}
	fmt.Fprintln(w)
}

// printDisturbance says how quiet the machine was in the rounds that counted.
func (r results) printDisturbance(w io.Writer, rows []row, columns []target) {
	var all []float64
	for _, row := range rows {
		for _, t := range columns {
			for _, m := range r[cell{row.name, t.Name}] {
				all = append(all, m.disturbance())
			}
		}
	}
	slices.Sort(all)
	if n := len(all); n > 0 {
		fmt.Fprintf(w, "\nForeign CPU in a round, and share of streams cut short: median %.2f, at most %.2f", all[n/2], all[n-1])
		if all[n-1] > quiet {
			fmt.Fprintf(w, ". The machine was not quiet (over %.2f): do not publish these figures", quiet)
		}
		fmt.Fprintln(w, ".")
	}
}

// median is that of the rounds of a cell; 0 without any.
func (r results) median(c cell, value func(m measurement) float64) float64 {
	var all []float64
	for _, m := range r[c] {
		all = append(all, value(m))
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}
