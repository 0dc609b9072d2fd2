//go:build e2e && full

package chaos

import (
	"flag"
	"testing"
	"time"
)

var forFlag = flag.Duration("chaos.for", 20*time.Minute, "how long faults go on")

// TestFaultsForLong inflicts faults at random.
func TestFaultsForLong(t *testing.T) {
	chosen := choose(t)
	w := newWorld(t, *seedFlag)
	n := 0
	for end := time.Now().Add(*forFlag); time.Now().Before(end); n++ {
		w.inflict(chosen[w.rng.IntN(len(chosen))], w.volumes[w.rng.IntN(len(w.volumes))])
	}
	t.Logf("%d faults", n)
	w.finish()
}
