//go:build mutants

package sim

import (
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/mutant"
)

var (
	mutantFlag = flag.String("sim.mutant", "", "look for this planted bug only")
	limitFlag  = flag.Uint64("sim.limit", 1000, "seeds that may be needed to find a bug")
)

// TestMutants plants one bug after the other: each must make a schedule fail that does not fail without it.
func TestMutants(t *testing.T) {
	names := mutant.All()
	if *mutantFlag != "" {
		names = []mutant.Name{mutant.Name(*mutantFlag)}
	}
	h := &hunt{sound: map[seedOf]bool{}, found: make([]string, len(names))}
	var wg sync.WaitGroup
	next := make(chan int)
	for range 2 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range next {
				h.found[i] = h.look(names[i])
			}
		}()
	}
	for i := range names {
		next <- i
	}
	close(next)
	wg.Wait()
	missed := 0
	for i, name := range names {
		if h.found[i] == "" {
			h.found[i] = fmt.Sprintf("not found by %d seeds", *limitFlag)
			if mutant.Rare(name) {
				h.found[i] += ", but by a story of the engine"
			} else {
				missed++
			}
		}
		t.Logf("%-20s %s", name, h.found[i])
	}
	if missed > 0 {
		t.Errorf("%d of %d bugs were not found", missed, len(names))
	}
}

// hunt shares what is known of seeds without a bug.
type hunt struct {
	pools Pools
	mu    sync.Mutex
	sound map[seedOf]bool
	found []string
}

// seedOf is a seed of schedules of one kind.
type seedOf struct {
	kind int
	seed uint64
}

// kindsOf are the kinds of schedules that are played, one after the other.
func kindsOf() []struct {
	name string
	plan func(seed uint64) Plan
} {
	return []struct {
		name string
		plan func(seed uint64) Plan
	}{{"", NewPlan}, {"resizes: ", NewResizes}, {"together: ", NewTogether}, {"returns: ", NewReturn},
		{"moves: ", NewMoves}, {"packed clones: ", NewPackedClones}}
}

// look gives the first seed that finds a bug, with what it found; "" if none does.
func (h *hunt) look(name mutant.Name) string {
	for i, k := range kindsOf() {
		for seed := uint64(1); seed <= *limitFlag; seed++ {
			_, err := Run(k.plan(seed), &h.pools, Options{Mutant: mutant.Of(name)})
			if err != nil && h.isSound(seedOf{i, seed}) {
				reason, _, _ := strings.Cut(err.Error(), "\n")
				return k.name + fmt.Sprintf("%.150s", reason)
			}
		}
	}
	return ""
}

// isSound tells whether a seed passes without a bug.
func (h *hunt) isSound(s seedOf) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	sound, known := h.sound[s]
	if !known {
		_, err := Run(kindsOf()[s.kind].plan(s.seed), &h.pools, Options{})
		sound = err == nil
		h.sound[s] = sound
	}
	return sound
}
