//go:build e2e

package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// figures are the longest pauses that hosts felt, one for each volume and fault, by kind of fault.
type figures map[string][]time.Duration

func (f figures) add(name string, volumes []*volume) {
	for _, v := range volumes {
		gap, _ := v.pause.longest()
		f[name] = append(f[name], gap)
	}
}

// table tells how often each kind of fault happened and how long hosts waited.
func (f figures) table(volumes int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-75s %6s %10s %8s %8s", "longest pause, ms", "faults", "median", "p90", "max")
	var all []time.Duration
	row := func(name string, pauses []time.Duration) {
		slices.Sort(pauses)
		last := len(pauses) - 1
		fmt.Fprintf(&b, "\n%-75s %6d %10d %8d %8d", name, len(pauses)/volumes, pauses[last/2].Milliseconds(),
			pauses[last*9/10].Milliseconds(), pauses[last].Milliseconds())
	}
	for _, name := range slices.Sorted(maps.Keys(f)) {
		row(name, f[name])
		all = append(all, f[name]...)
	}
	if len(all) > 0 {
		row("all", all)
	}
	return b.String()
}

// tell prints the figures of the whole test.
func (w *world) tell() {
	var reads, writes, answered, refused, acked int64
	for _, v := range w.volumes {
		reads, writes = reads+v.reads.Load(), writes+v.writes.Load()
	}
	for _, at := range w.witnesses {
		for _, x := range at {
			answered, refused, acked = answered+x.answered.Load(), refused+x.refused.Load(), acked+x.acked.Load()
		}
	}
	w.t.Logf("hosts: %d reads, %d writes; witnesses: %d answered, %d of them writes, %d refused\n%s",
		reads, writes, answered, acked, refused, w.figures.table(len(w.volumes)))
}
