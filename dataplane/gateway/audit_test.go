package gateway

import (
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// TestVolumesTakeTurns: the one that has waited longest begins, one at a time, and none that does not serve.
func TestVolumesTakeTurns(t *testing.T) {
	g := &Gateway{o: Options{Audit: AuditOptions{Rate: 1 << 20, Interval: time.Hour}}}
	start := time.Unix(1e9, 0)
	var all []*session
	for i := range 3 {
		s := &session{v: &Volume{g: g, shape: shape{geometry: stripe.Geometry{Data: 1, Parity: 1}}},
			eng: new(engine.Engine)}
		s.walking.audit.due = start.Add(time.Duration(i) * time.Minute)
		s.serving.Store(true)
		all = append(all, s)
	}
	turn := func(now time.Time, want int) {
		t.Helper()
		g.auditTurn(now, all)
		got := -1
		for i, s := range all {
			if s == g.auditing {
				got = i
			}
		}
		if got != want {
			t.Fatalf("at %v it is the turn of %d, want %d", now.Sub(start), got, want)
		}
	}
	turn(start.Add(-time.Second), -1)
	turn(start.Add(time.Second), 0)
	turn(start.Add(5*time.Minute), 0)
	all[0].eng.Counters.AuditPasses++
	turn(start.Add(5*time.Minute), -1)
	all[1].serving.Store(false)
	turn(start.Add(5*time.Minute), 2)
	all[1].serving.Store(true)
	turn(start.Add(6*time.Minute), 2)
	all[2].serving.Store(false) // its turn is over
	turn(start.Add(6*time.Minute), 1)
	all[1].eng.Counters.AuditPasses++
	turn(start.Add(7*time.Minute), -1)
	turn(start.Add(66*time.Minute), 0) // an hour after its last pass
}
