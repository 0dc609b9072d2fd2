//go:build e2e

package openstack_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/ashlar-storage/ashlar/e2e/openstack"
)

// clonesLive begins volumes as others were, and lets go of what they came from.
func (c cloud) clonesLive(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), openstack.Patience)
	defer cancel()
	made := func(v openstack.Volume, err error) openstack.Volume {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	source := c.create(t, "source", 1)
	old, young := random(64<<10), bytes.Repeat([]byte{0x5a}, 64<<10)
	c.put(ctx, t, source.ID, old)
	snap := c.snap(t, source.ID, "old")
	c.put(ctx, t, source.ID, young)

	ofSnapshot := made(c.CreateFromSnapshot(ctx, "of-snapshot", 2, snap.ID))
	c.expectSize(t, ofSnapshot.ID, 2)
	ofVolume := made(c.CreateFromVolume(ctx, "of-volume", 1, source.ID))
	second := c.snap(t, ofSnapshot.ID, "of-a-clone")
	ofClone := made(c.CreateFromSnapshot(ctx, "of-clone", 3, second.ID))
	c.put(ctx, t, source.ID, bytes.Repeat([]byte{0xee}, 4096))
	c.put(ctx, t, ofSnapshot.ID, bytes.Repeat([]byte{0xcc}, 4096))

	for id, want := range map[string][]byte{ofVolume.ID: young, ofClone.ID: old} {
		c.expectData(ctx, t, id, want)
	}
	c.expectData(ctx, t, ofSnapshot.ID, append(bytes.Repeat([]byte{0xcc}, 4096), old[4096:]...))

	// What they came from goes first.
	for _, id := range []string{snap.ID, second.ID} {
		if err := c.DeleteSnapshot(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{source.ID, ofSnapshot.ID} {
		if err := c.Delete(ctx, id); err != nil {
			t.Fatal(err)
		}
		c.expectGone(t, id)
	}
	for id, want := range map[string][]byte{ofVolume.ID: young, ofClone.ID: old} {
		c.expectData(ctx, t, id, want)
		if err := c.Delete(ctx, id); err != nil {
			t.Fatal(err)
		}
		c.expectGone(t, id)
	}
}

// put attaches a volume and writes what it is to begin with.
func (c cloud) put(ctx context.Context, t *testing.T, volume string, data []byte) {
	t.Helper()
	a := c.attach(t, volume)
	host := open(t, a.Info, a.Info.HostNQN)
	c.write(ctx, t, host, data)
	if err := host.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Detach(ctx, a); err != nil {
		t.Fatal(err)
	}
}
