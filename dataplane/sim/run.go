package sim

import (
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
)

// Options of a run.
type Options struct {
	Trace  bool
	Mutant mutant.Set
}

// Failure is a schedule that broke a promise.
type Failure struct {
	Plan   Plan
	Reason string
	Trace  []string
}

// Error names the seed, the pool and the faults.
func (f *Failure) Error() string {
	p := &f.Plan
	return fmt.Sprintf("seed %d: %s\n%v, %d volumes, %d clones (flattened %v), %d hosts, %d operations, "+
		"beyond the budget %v, faults %v", p.Seed, f.Reason, p.Shape, p.Volumes, p.Clones, p.Flatten, p.Hosts,
		p.Ops, p.Beyond, p.Faults)
}

// Run plays a schedule. The same plan is the same run. The error is a *Failure.
func Run(plan Plan, pools *Pools, o Options) (stats Stats, err error) {
	w := newWorld(o, plan, pools.of(plan.Shape))
	err = w.finish()
	return w.stats, err
}

// finish plays the schedule to its end, or to the broken promise.
func (w *World) finish() (err error) {
	defer func() {
		if x := recover(); x != nil {
			reason, ok := x.(broken)
			if !ok {
				reason = broken(fmt.Sprintf("panic: %v\n%s", x, debug.Stack()))
			}
			err = &Failure{Plan: w.plan, Reason: string(reason), Trace: w.lines}
		}
	}()
	w.play()
	return nil
}

// Shrink looks for a smaller schedule that fails too: fewer faults, fewer operations, fewer hosts.
func Shrink(plan Plan, pools *Pools, o Options) Plan {
	o.Trace = false
	fails := func(p Plan) bool {
		_, err := Run(p, pools, o)
		return err != nil
	}
	for again := true; again; {
		again = false
		for n := max(len(plan.Faults)/2, 1); n > 0; n /= 2 {
			for i := 0; i+n <= len(plan.Faults); {
				smaller := plan
				smaller.Faults = slices.Delete(slices.Clone(plan.Faults), i, i+n)
				if fails(smaller) {
					plan, again = smaller, true
				} else {
					i += n
				}
			}
		}
		for _, less := range []func(*Plan){
			func(p *Plan) { p.Ops /= 2 }, func(p *Plan) { p.Ops -= p.Ops / 8 }, func(p *Plan) { p.Hosts-- },
			func(p *Plan) { p.Volumes = 1 },
			func(p *Plan) { p.Clones /= 2 }, func(p *Plan) { p.Flatten = false },
			func(p *Plan) { p.Length -= p.Length / 4 }} {
			smaller := plan
			less(&smaller)
			for smaller.Hosts > 0 && smaller.Ops > 0 && fmt.Sprint(smaller) != fmt.Sprint(plan) && fails(smaller) {
				plan, again = smaller, true
				less(&smaller)
			}
		}
	}
	return plan
}

// add sums the figures of engines.
func (s *Stats) add(c engine.Counters) {
	s.Repaired += c.Repaired
	s.Degraded += c.Degraded
	s.Forward += c.Forward
	s.Undone += c.Undone
	s.Judged += c.Judged
	s.Entries += c.Entries
	s.Copied += c.Copied
	s.Renumbered += c.Renumbered
	s.Disagreed += c.Disagreed
	s.AuditPasses += c.AuditPasses
	s.Inherited += c.Inherited
	s.Flattened += c.Flattened
	s.Packed += c.Packed
	s.PackedInto += c.PackedInto
}

// Add sums the figures of schedules.
func (s *Stats) Add(o Stats) {
	s.Ops += o.Ops
	s.NoSpace += o.NoSpace
	s.Media += o.Media
	s.Skipped += o.Skipped
	s.Epochs += o.Epochs
	s.Beyond += o.Beyond
	s.Cuts += o.Cuts
	s.Homed += o.Homed
	s.Together += o.Together
	for k := range o.Faults {
		s.Faults[k] += o.Faults[k]
	}
	s.add(o.Counters)
}
