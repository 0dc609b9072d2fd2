//go:build e2e

package openstack_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/ashlar-storage/ashlar/e2e/openstack"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// volumeServiceKilled has the calls of the driver that make and delete under way at once, with nodes
// that stand still, and kills cinder-volume. When it is back nothing is lost or left over, and all of it can
// be deleted.
func (c cloud) volumeServiceKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), openstack.Patience)
	defer cancel()
	must := func(id string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	source, other := c.create(t, "crash-source", 1), c.create(t, "crash-other", 1)
	deleted := c.create(t, "crash-deleted", 1)
	snap, going := c.snap(t, source.ID, "stays"), c.snap(t, source.ID, "goes")
	var vols, snaps []string
	c.killAmid(t, 6, func() {
		vols = []string{source.ID, deleted.ID, other.ID, must(c.Begin(ctx, "crash-new", "", "")),
			must(c.Begin(ctx, "crash-of-volume", source.ID, "")),
			must(c.Begin(ctx, "crash-of-snapshot", "", snap.ID))}
		snaps = []string{snap.ID, going.ID, must(c.BeginSnapshot(ctx, other.ID))}
		must("", c.BeginDelete(ctx, deleted.ID))
		must("", c.BeginDeleteSnapshot(ctx, going.ID))
	})

	for _, id := range vols {
		t.Logf("volume %s: %q", id, must(c.Settled(ctx, id)))
	}
	c.audit(ctx, t)
	for _, id := range snaps {
		must("", c.EndSnapshot(ctx, id))
	}
	for _, id := range vols {
		if must(c.Settled(ctx, id)) != "" {
			must("", c.Delete(ctx, id))
		}
		c.expectGone(t, id)
	}
	c.audit(ctx, t)
}

// killAmid has calls of the driver under way, with nodes that stand still, kills cinder-volume, and starts it
// again when the nodes go on.
func (c cloud) killAmid(t *testing.T, calls int, begin func()) {
	t.Helper()
	c.leaveKilled(t, calls, begin)
	if err := c.StartVolumeService(); err != nil {
		t.Fatal(err)
	}
}

// leaveKilled is killAmid without the start.
func (c cloud) leaveKilled(t *testing.T, calls int, begin func()) {
	t.Helper()
	before := c.calls(t)
	for _, n := range c.cluster.Nodes {
		n.Pause()
	}
	begin()
	c.cluster.Eventually("the driver's calls are under way", func() error {
		if c.calls(t) < before+calls {
			return errors.New("not all of them")
		}
		return nil
	})
	if err := c.KillVolumeService(); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.cluster.Nodes {
		n.Resume()
	}
}

// calls counts those of the driver to the cluster that have begun.
func (c cloud) calls(t *testing.T) (n int) {
	t.Helper()
	each, err := c.Calls()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range each {
		n += one
	}
	return n
}

// changesKilled is volumeServiceKilled for the calls that change a volume. Cinder goes on with none of them:
// an operator resets the status, and the same can be asked for again.
func (c cloud) changesKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), openstack.Patience)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.CreateType(ctx, "crash-type", map[string]string{"total_iops_sec": "200"}))
	extended, retyped := c.create(t, "crash-extended", 1).ID, c.create(t, "crash-retyped", 1).ID
	reverted, attached := c.create(t, "crash-reverted", 1).ID, c.create(t, "crash-attached", 1).ID
	old := random(64 << 10)
	c.put(ctx, t, reverted, old)
	snap := c.snap(t, reverted, "old").ID
	c.put(ctx, t, reverted, bytes.Repeat([]byte{0x5a}, len(old)))
	a, err := c.Reserve(ctx, attached)
	must(err)
	waiting, stop := context.WithCancel(ctx)
	gone := make(chan struct{})
	c.killAmid(t, 4, func() {
		must(c.BeginExtend(ctx, extended, 2))
		must(c.BeginRetype(ctx, retyped, "crash-type"))
		must(c.BeginRevert(ctx, reverted, snap))
		go func() {
			defer close(gone)
			_, _ = c.Connect(waiting, a, hostA()) // nobody is left to answer
		}()
	})
	stop()
	<-gone

	c.audit(ctx, t)
	for _, id := range []string{extended, retyped, reverted} {
		must(c.Reset(ctx, id))
	}
	must(c.ResetSnapshot(ctx, snap))
	_, err = c.Extend(ctx, extended, 2)
	must(err)
	c.expectSize(t, extended, 2)
	must(c.Retype(ctx, retyped, "crash-type"))
	c.expectBounds(t, retyped, &wire.QoS{IOPS: 200})
	must(c.Revert(ctx, reverted, snap))
	c.expectData(ctx, t, reverted, old)
	must(c.Detach(ctx, a))
	c.audit(ctx, t, "--repair")
	c.expectHosts(t, attached)

	must(c.DeleteSnapshot(ctx, snap))
	for _, id := range []string{extended, retyped, reverted, attached} {
		must(c.Delete(ctx, id))
		c.expectGone(t, id)
	}
	c.audit(ctx, t)
}
