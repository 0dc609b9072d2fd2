//go:build e2e

package cluster

import (
	"testing"
)

// TestClusterLives starts a cluster, takes a node away in each of the three ways and gives it back.
func TestClusterLives(t *testing.T) {
	c := Start(t, Options{})
	v := c.CreateVolume("first", 64<<20)
	owner := c.Owner(v.ID)
	t.Logf("node %d owns %s", owner.Number, v.NQN)

	owner.Kill()
	next := c.Owner(v.ID)
	if next == owner {
		t.Error("the killed node is still the owner")
	}
	owner.Restart()
	c.Back(owner)
	c.WholeAgain(v.ID)

	next.Stop()
	if again := c.Owner(v.ID); again == next {
		t.Error("the stopped node is still the owner")
	}
	next.Restart()
	c.Back(next)
	c.WholeAgain(v.ID)
	c.Healthy()
}
