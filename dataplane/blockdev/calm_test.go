package blockdev

import "testing"

// TestBetweenBurstsTheRingStaysInUse: what comes alone leaves it only when there was no burst for a while. A
// flush that comes alone needs no ring.
func TestBetweenBurstsTheRingStaysInUse(t *testing.T) {
	r := &ring{lone: newPlain(nil, loneOps+1)}
	burst, one, flush := make([]*Op, loneOps+1), []*Op{{Kind: Write}}, []*Op{{Kind: Flush}}
	for range 2 {
		if r.alone(burst) {
			t.Fatal("a burst left the ring")
		}
		if !r.alone(flush) {
			t.Error("a flush behind a burst did not leave the ring")
		}
		for i := range calmOps - 1 {
			if r.alone(one) {
				t.Fatalf("operation %d behind a burst left the ring", i)
			}
		}
		if !r.alone(one) {
			t.Error("nothing leaves the ring any more")
		}
	}
}
