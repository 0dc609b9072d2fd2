package sim

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	seedFlag  = flag.Uint64("sim.seed", 0, "play only this seed, with its whole trace if it fails")
	seedsFlag = flag.Uint64("sim.seeds", 400, "play so many seeds")
	firstFlag = flag.Uint64("sim.first", 1, "the first seed")
	longFlag  = flag.Duration("sim.long", 0, "play seeds for so long")
	linesFlag = flag.Int("sim.trace", 400, "print so many lines of a failure's trace")
	backFlag  = flag.Bool("sim.returns", false, "play pools that change back before volumes have moved")
	cloneFlag = flag.Bool("sim.clones", false, "make clones in every schedule that there is room in")
	sizeFlag  = flag.Bool("sim.resizes", false, "let volumes become smaller and larger in every schedule")
	joinFlag  = flag.Bool("sim.together", false, "take group snapshots in every schedule")
	moveFlag  = flag.Bool("sim.moves", false, "move volumes about in every schedule")
	packFlag  = flag.Bool("sim.packed", false, "pack the stripe units in every schedule")
	allFlag   = flag.Bool("sim.all", false, "go on after a failure and print one line for each")
)

// TestSchedules plays schedules on two cores until one breaks a promise.
func TestSchedules(t *testing.T) {
	first, n := *firstFlag, *seedsFlag
	switch {
	case *seedFlag != 0:
		first, n = *seedFlag, 1
	case testing.Short():
		n = min(n, 40)
	}
	r := &runner{t: t, plan: NewPlan, next: first, last: first + n - 1, began: time.Now()}
	if *backFlag {
		r.plan = NewReturn
	}
	if *cloneFlag {
		r.plan = NewClones
	}
	if *packFlag {
		r.plan = NewPacked
	}
	if *packFlag && *cloneFlag {
		r.plan = NewPackedClones
	}
	if *sizeFlag {
		r.plan = NewResizes
	}
	if *joinFlag {
		r.plan = NewTogether
	}
	if *moveFlag {
		r.plan = NewMoves
	}
	if *longFlag > 0 {
		r.last = ^uint64(0)
		r.until = time.Now().Add(*longFlag)
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r.work()
		}()
	}
	wg.Wait()
	t.Log(r.summary())
	if r.failed != nil {
		t.Fatal(r.report())
	}
}

// runner hands seeds to workers.
type runner struct {
	t          *testing.T
	pools      Pools
	plan       func(seed uint64) Plan
	mu         sync.Mutex
	next, last uint64
	began      time.Time
	until      time.Time // zero: until the last seed
	played     int
	failures   int
	total      Stats
	failed     *Failure // of the smallest seed
}

func (r *runner) take() (uint64, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next > r.last || r.failed != nil && !*allFlag || !r.until.IsZero() && time.Now().After(r.until) {
		return 0, false
	}
	r.next++
	return r.next - 1, true
}

func (r *runner) work() {
	for {
		seed, ok := r.take()
		if !ok {
			return
		}
		stats, err := Run(r.plan(seed), &r.pools, Options{})
		r.mu.Lock()
		r.played++
		r.total.Add(stats)
		var f *Failure
		if errors.As(err, &f) {
			r.failures++
			if *allFlag {
				reason, _, _ := strings.Cut(f.Reason, "\n")
				r.t.Logf("seed %d: %.300s", seed, reason)
			}
			if r.failed == nil || f.Plan.Seed < r.failed.Plan.Seed {
				r.failed = f
			}
		}
		r.mu.Unlock()
	}
}

func (r *runner) summary() string {
	text := fmt.Sprintf("%d schedules in %.1f s, %d failures, %d operations, %d owners; %+v; faults:", r.played,
		time.Since(r.began).Seconds(), r.failures, r.total.Ops, r.total.Epochs, r.total.Counters)
	for k, n := range r.total.Faults {
		text += fmt.Sprintf(" %v %d,", Kind(k), n)
	}
	return text + fmt.Sprintf(" left out %d; %d volumes cut, %d operations out of range, "+
		"%d group snapshots, %d homeward", r.total.Skipped, r.total.Cuts, r.total.Beyond, r.total.Together,
		r.total.Homed)
}

// report plays the failed schedule again, as small as it can be made, with a trace.
func (r *runner) report() string {
	plan := r.failed.Plan
	if *seedFlag == 0 {
		plan = Shrink(plan, &r.pools, Options{})
	}
	_, err := Run(plan, &r.pools, Options{Trace: true})
	var f *Failure
	if !errors.As(err, &f) {
		return fmt.Sprintf("%v\nand does not fail again: the simulator is not deterministic", r.failed)
	}
	lines := f.Trace[max(0, len(f.Trace)-*linesFlag):]
	return fmt.Sprintf("%v\n\nmade smaller: %v\n%s", r.failed, f, strings.Join(lines, "\n"))
}
