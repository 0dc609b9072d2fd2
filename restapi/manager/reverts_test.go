package manager_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// reverting is a cluster with a volume that has snapshots a, b and c, in this order.
type reverting struct {
	*apitest.Cluster
	volume cluster.UUID
	stop   func() // the owner
}

func newReverting(t *testing.T) *reverting {
	c := &reverting{Cluster: apitest.New(t)}
	c.Pool()
	c.volume = c.Volume(1, "v1").ID
	c.stop = c.Own()
	for n, name := range []string{"a", "b", "c"} {
		c.Snapshot(c.volume, 10+n, name)
	}
	return c
}

// revert reverts to snapshot n; code is what it is refused with.
func (c *reverting) revert(n int, force bool, ifMatch string) (vol wire.Volume, done bool, code wire.Code) {
	c.T.Helper()
	vol, done, err := c.Manager.RevertVolume(c.T.Context(), c.volume,
		wire.VolumeRevert{Snapshot: apitest.UUID(n), Force: force}, ifMatch)
	var refused *manager.Error
	switch {
	case errors.As(err, &refused):
		return vol, done, refused.Code
	case err != nil:
		c.T.Fatal(err)
	}
	return vol, done, ""
}

func (c *reverting) view() cluster.View {
	c.T.Helper()
	o, _, err := store.NewArbiter(c.Store).Owner(c.T.Context(), cluster.VolumeKey{VUID: 1, Generation: 1})
	if err != nil {
		c.T.Fatal(err)
	}
	return o.View
}

// TestRevertsHideWhatCameLater, and nothing that another snapshot shows.
func TestRevertsHideWhatCameLater(t *testing.T) {
	c := newReverting(t)
	before, err := c.Manager.Volume(t.Context(), c.volume)
	if err != nil {
		t.Fatal(err)
	}
	vol, done, code := c.revert(12, false, before.ETag)
	if code != "" || !done || vol.Revert == nil || vol.Revert.Snapshot != apitest.UUID(12) ||
		vol.ETag == before.ETag {
		t.Errorf("%s, done %v: %+v", code, done, vol)
	}
	if v := c.view(); len(v.Hidden) != 1 || v.Hidden[0].After != v.Pins[2] {
		t.Errorf("the view list is %+v", v)
	}
	if _, _, code := c.revert(12, false, before.ETag); code != wire.PreconditionFailed {
		t.Errorf("the same again: %q", code)
	}
	if _, _, code := c.revert(10, false, ""); code != wire.SnapshotNotNewest {
		t.Errorf("to an older snapshot: %q", code)
	}
	if _, done, code := c.revert(10, true, ""); code != "" || !done {
		t.Errorf("to an older snapshot, all the same: %q, done %v", code, done)
	}
	if v := c.view(); len(v.Pins) != 3 || v.Hidden[len(v.Hidden)-1].After != v.Pins[0] {
		t.Errorf("the view list is %+v", v)
	}
	list, err := c.Manager.Events(t.Context(), manager.Page{}, manager.EventFilter{Kind: "volume.reverting"})
	if err != nil || len(list.Items) != 2 || list.Items[0].Subject.ID != c.volume.String() {
		t.Errorf("events %+v, %v", list.Items, err)
	}
	c.Audit()
}

// TestNewerSnapshotsAreNamed: who is refused learns what is in the way.
func TestNewerSnapshotsAreNamed(t *testing.T) {
	c := newReverting(t)
	r := wire.VolumeRevert{Snapshot: apitest.UUID(10)}
	_, _, err := c.Manager.RevertVolume(t.Context(), c.volume, r, "")
	for _, want := range []string{"b (" + apitest.UUID(11).String(), "c (" + apitest.UUID(12).String()} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %q", err, want)
		}
	}
	for n := 11; n <= 12; n++ {
		if _, gone, err := c.Manager.DeleteSnapshot(t.Context(), apitest.UUID(n), ""); err != nil || !gone {
			t.Fatal(err)
		}
	}
	if _, done, code := c.revert(10, false, ""); code != "" || !done {
		t.Errorf("now that it is the newest: %q, done %v", code, done)
	}
}

// TestHostsAndRevertsExcludeEachOther: nobody may have a volume mounted while its content changes.
func TestHostsAndRevertsExcludeEachOther(t *testing.T) {
	c := newReverting(t)
	allow := func(host string) wire.Code {
		_, _, err := c.Manager.Allow(t.Context(), manager.OfVolume(c.volume), host, "")
		var refused *manager.Error
		switch {
		case errors.As(err, &refused):
			return refused.Code
		case err != nil:
			t.Fatal(err)
		}
		return ""
	}
	if code := allow(apitest.HostA); code != "" {
		t.Fatal(code)
	}
	r := wire.VolumeRevert{Snapshot: apitest.UUID(12)}
	_, _, err := c.Manager.RevertVolume(t.Context(), c.volume, r, "")
	var refused *manager.Error
	if !errors.As(err, &refused) || refused.Code != wire.VolumeExported ||
		!slices.Equal(refused.Hosts, []string{apitest.HostA}) {
		t.Errorf("with a host: %v", err)
	}
	c.stop()
	c.pending(true)
	if code := allow(apitest.HostB); code != wire.Conflict {
		t.Errorf("another host, while it is reverted: %q", code)
	}
	if code := allow(apitest.HostA); code != "" {
		t.Errorf("the same host again: %q", code)
	}
	c.Own()
	waitFor(t, "the revert", func() bool { return allow(apitest.HostB) == "" })
	c.Audit()
}

// pending asks for a revert to c that nobody carries out, and leaves it at that.
func (c *reverting) pending(force bool) {
	c.T.Helper()
	short := &crashing{Mem: c.Store.(*store.Mem), armed: true} // it does not wait for the owner
	m := manager.New(manager.Options{Store: short, Members: c.Members, Now: c.Now})
	vol, done, err := m.RevertVolume(c.T.Context(), c.volume,
		wire.VolumeRevert{Snapshot: apitest.UUID(12), Force: force}, "")
	if err != nil || done || vol.Revert == nil {
		c.T.Fatalf("%+v, done %v, %v", vol, done, err)
	}
}

// TestWhatARevertUnderWayKeepsOut: another one, the end of its snapshot, and that of the volume.
func TestWhatARevertUnderWayKeepsOut(t *testing.T) {
	c := newReverting(t)
	c.stop()
	c.pending(false)
	for n := 11; n <= 12; n++ {
		if _, _, code := c.revert(n, true, ""); code != wire.Conflict {
			t.Errorf("a revert to snapshot %d: %q", n, code)
		}
	}
	var refused *manager.Error
	_, _, err := c.Manager.DeleteSnapshot(t.Context(), apitest.UUID(12), "")
	if !errors.As(err, &refused) || refused.Code != wire.Conflict {
		t.Errorf("deleting the snapshot: %v", err)
	}
	err = c.Manager.DeleteVolume(t.Context(), c.volume, "", true)
	if !errors.As(err, &refused) || refused.Code != wire.Conflict {
		t.Errorf("deleting the volume: %v", err)
	}
	c.Audit()
}

// TestAVolumeHidesOnlySoMuch: each snapshot from between two reverts needs an interval to be hidden.
func TestAVolumeHidesOnlySoMuch(t *testing.T) {
	c := newReverting(t)
	code := wire.Code("")
	n := 0
	for ; code == "" && n <= cluster.MaxHidden; n++ {
		if _, _, code = c.revert(10, true, ""); code == "" {
			c.Snapshot(c.volume, 100+n, "s"+strings.Repeat("x", n))
		}
	}
	if code != wire.Conflict || len(c.view().Hidden) != cluster.MaxHidden {
		t.Errorf("after %d reverts: %q, %+v", n, code, c.view())
	}
	if _, gone, err := c.Manager.DeleteSnapshot(t.Context(), apitest.UUID(101), ""); err != nil || !gone {
		t.Fatal(err)
	}
	if _, _, code := c.revert(10, true, ""); code != "" {
		t.Errorf("with one snapshot less: %q", code)
	}
	c.Audit()
}

// TestRevertsOfWhatIsNotThere.
func TestRevertsOfWhatIsNotThere(t *testing.T) {
	c := newReverting(t)
	c.Volume(2, "v2")
	c.Snapshot(apitest.UUID(2), 20, "a")
	for what, n := range map[string]int{"no snapshot": 99, "one of another volume": 20} {
		if _, _, code := c.revert(n, true, ""); code != wire.InvalidField {
			t.Errorf("%s: %q", what, code)
		}
	}
	c.volume = apitest.UUID(98)
	if _, _, code := c.revert(10, true, ""); code != wire.NotFound {
		t.Errorf("no volume: %q", code)
	}
	c.Audit()
}
