//go:build e2e && full

package chaos

import (
	"flag"
	"testing"
	"time"
)

var forFlag = flag.Duration("chaos.for", time.Hour, "how long faults go on, in all")

// TestFaultsForLong inflicts faults at random.
func TestFaultsForLong(t *testing.T) {
	chosen := choose(t)
	configurations := chooseConfigurations(t, true)
	for _, c := range configurations {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c, *seedFlag)
			share := *forFlag / time.Duration(len(configurations))
			for end := time.Now().Add(share); time.Now().Before(end); {
				w.inflict(chosen[w.rng.IntN(len(chosen))], w.volumes[w.rng.IntN(len(w.volumes))])
			}
			w.finish()
		})
	}
}
