package sim

import (
	"errors"
	"slices"
	"testing"
)

// TestTheSameSeedIsTheSameRun: a failure could not be looked into otherwise.
func TestTheSameSeedIsTheSameRun(t *testing.T) {
	var pools Pools
	for seed := uint64(1); seed <= 60; seed++ {
		w, v := trace(t, seed, &pools), trace(t, seed, &pools)
		for i := range w {
			if i >= len(v) || w[i] != v[i] {
				t.Fatalf("seed %d: line %d differs:\n%s\n%s", seed, i, w[i], v[min(i, len(v)-1)])
			}
		}
		if !slices.Equal(w, v) {
			t.Fatalf("seed %d: the second run is longer", seed)
		}
	}
}

func trace(t *testing.T, seed uint64, pools *Pools) []string {
	t.Helper()
	plan := NewPlan(seed)
	w := newWorld(Options{Trace: true}, plan, pools.of(plan.Shape))
	var f *Failure
	if err := w.finish(); err != nil && !errors.As(err, &f) {
		t.Fatal(err)
	}
	return w.lines
}
