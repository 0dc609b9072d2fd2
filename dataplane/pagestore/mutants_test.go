//go:build mutants

package pagestore

import (
	"fmt"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/mutant"
)

// TestMutants drops each rule that makes changes durable, one at a time: power cuts must show it. After how
// many they do is told in docs/formats.md.
func TestMutants(t *testing.T) {
	for _, name := range mutant.PageStore() {
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			cuts := uint64(0)
			for seed := uint64(1); cuts < 100_000; seed++ {
				st, err := planted(seed, mutant.Of(name))
				if cuts += st.cuts; err != nil {
					t.Logf("%s: after %d power cuts: %v", name, cuts, err)
					return
				}
			}
			t.Errorf("%s: nobody notices within %d power cuts", name, cuts)
		})
	}
}

// planted runs a world with a bug. A store that notices a contradiction itself may panic.
func planted(seed uint64, m mutant.Set) (st crashStats, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("seed %d: panic: %v", seed, p)
		}
	}()
	return powerCuts(seed, 200, m)
}
