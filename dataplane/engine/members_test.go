package engine

import "testing"

// TestQuorumsMeet: whichever p of a journal's members are lost, those that are left can be read, and they
// have every entry that ever counted. A list of m members has lost none of them yet, and cannot lose more
// than m - 1.
func TestQuorumsMeet(t *testing.T) {
	for p := range 4 {
		for m := 1; m <= max(3, 2*p+1); m++ {
			q, r := quorum(p, m), readable(p, m)
			lost := min(p, m-1)
			if q > m || q <= lost {
				t.Errorf("p %d, %d members: a quorum of %d", p, m, q)
			}
			if q+r <= m {
				t.Errorf("p %d, %d members: %d that are read may miss a quorum of %d", p, m, r, q)
			}
			if m-lost < r {
				t.Errorf("p %d, %d members: with %d lost fewer than %d are left", p, m, lost, r)
			}
		}
	}
}
