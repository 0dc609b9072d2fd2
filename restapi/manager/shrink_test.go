package manager_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// shrinking is a cluster with volume v1, of 16 MiB, in project acme.
type shrinking struct {
	*apitest.Cluster
	volume cluster.UUID
}

func newShrinking(t testing.TB) *shrinking {
	c := &shrinking{Cluster: apitest.NewOn(t, &crashing{Mem: store.NewMem()}), volume: apitest.UUID(1)}
	c.Pool()
	_, _, err := c.Manager.CreateVolume(t.Context(), wire.VolumeCreate{ID: c.volume, Name: "v1", Project: "acme",
		Pool: "gold", Size: 16 * apitest.MiB})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func shrinkTo(size uint64, discard bool) wire.VolumeUpdate {
	return wire.VolumeUpdate{Size: &size, AllowShrink: true, DiscardData: discard}
}

func growTo(size uint64) wire.VolumeUpdate { return wire.VolumeUpdate{Size: &size} }

// codeOf is what a call was refused with; empty: it was not.
func (c *shrinking) codeOf(err error) wire.Code {
	c.T.Helper()
	var refused *manager.Error
	if err != nil && !errors.As(err, &refused) {
		c.T.Fatal(err)
	}
	if refused == nil {
		return ""
	}
	return refused.Code
}

// update changes the volume; code is what it is refused with.
func (c *shrinking) update(r wire.VolumeUpdate) (vol wire.Volume, code wire.Code) {
	c.T.Helper()
	vol, err := c.Manager.UpdateVolume(c.T.Context(), c.volume, r, "")
	c.Audit()
	return vol, c.codeOf(err)
}

func (c *shrinking) show() wire.Volume {
	c.T.Helper()
	vol, err := c.Manager.Volume(c.T.Context(), c.volume)
	if err != nil {
		c.T.Fatal(err)
	}
	return vol
}

// TestAVolumeShrinks: what is empty is cut off, the project is charged for less, and when that is over the
// volume grows again. It is asked for in words.
func TestAVolumeShrinks(t *testing.T) {
	c := newShrinking(t)
	stop := c.Own()
	if _, code := c.update(growTo(8 * apitest.MiB)); code != wire.ShrinkNotAllowed {
		t.Errorf("without a word: %q", code)
	}
	vol, code := c.update(shrinkTo(8*apitest.MiB, false))
	if code != "" || vol.Size != 8*apitest.MiB {
		t.Fatalf("%q, %+v", code, vol)
	}
	p, err := c.Manager.Project(t.Context(), "acme")
	if err != nil || p.Used.Bytes != 8*apitest.MiB {
		t.Errorf("the project uses %+v, %v", p.Used, err)
	}
	c.Shrunk(c.volume)
	stop()
	task, err := c.Manager.Task(t.Context(), "shrink-"+c.volume.String())
	if err != nil || task.State != wire.TaskDone {
		t.Errorf("%+v, %v", task, err)
	}
	if vol, code := c.update(growTo(32 * apitest.MiB)); code != "" ||
		vol.Size != 32*apitest.MiB {
		t.Errorf("growing again: %q, %+v", code, vol)
	}
}

// TestDataIsKept: the volume stays as it is when its owner finds something, unless that may go.
func TestDataIsKept(t *testing.T) {
	c := newShrinking(t)
	c.Fill(c.volume, 12*apitest.MiB)
	c.Own()
	for range 2 {
		if _, code := c.update(shrinkTo(8*apitest.MiB, false)); code != wire.VolumeHoldsData {
			t.Fatalf("%q", code)
		}
		if vol := c.show(); vol.Size != 16*apitest.MiB || vol.Shrink != nil {
			t.Fatalf("%+v", vol)
		}
		if _, err := c.Manager.Task(t.Context(), "shrink-"+c.volume.String()); c.codeOf(err) != wire.NotFound {
			t.Errorf("there is a task: %v", err)
		}
	}
	if vol, code := c.update(shrinkTo(12*apitest.MiB, false)); code != "" || vol.Size != 12*apitest.MiB {
		t.Errorf("behind the data: %q, %+v", code, vol)
	}
	c.Shrunk(c.volume)
	if vol, code := c.update(shrinkTo(8*apitest.MiB, true)); code != "" || vol.Size != 8*apitest.MiB {
		t.Errorf("discarding: %q, %+v", code, vol)
	}
}

// TestWhatForbidsAShrink: hosts, snapshots, and clones of the volume.
func TestWhatForbidsAShrink(t *testing.T) {
	c := newShrinking(t)
	c.Own()
	if _, _, err := c.Manager.Allow(t.Context(), manager.OfVolume(c.volume), apitest.HostA, ""); err != nil {
		t.Fatal(err)
	}
	if _, code := c.update(shrinkTo(8*apitest.MiB, true)); code != wire.VolumeExported {
		t.Errorf("with a host: %q", code)
	}
	if err := c.Manager.DisallowAll(t.Context(), manager.OfVolume(c.volume), ""); err != nil {
		t.Fatal(err)
	}
	c.Snapshot(c.volume, 10, "a")
	if _, code := c.update(shrinkTo(8*apitest.MiB, true)); code != wire.VolumeHasSnapshots {
		t.Errorf("with a snapshot: %q", code)
	}
	if _, _, err := c.Manager.DeleteSnapshot(t.Context(), apitest.UUID(10), ""); err != nil {
		t.Fatal(err)
	}
	_, _, err := c.Manager.CreateVolume(t.Context(), wire.VolumeCreate{ID: apitest.UUID(2), Name: "clone",
		Source: &wire.Source{Volume: c.volume}})
	if err != nil {
		t.Fatal(err)
	}
	if _, code := c.update(shrinkTo(8*apitest.MiB, true)); code != wire.VolumeHasSnapshots {
		t.Errorf("with a clone: %q", code)
	}
	c.volume = apitest.UUID(2) // shows its parent everywhere
	if _, code := c.update(shrinkTo(8*apitest.MiB, false)); code != wire.VolumeHoldsData {
		t.Errorf("a clone: %q", code)
	}
	vol, code := c.update(shrinkTo(8*apitest.MiB, true))
	if code != "" || vol.Size != 8*apitest.MiB || vol.Parent.Size != 8*apitest.MiB {
		t.Errorf("a clone, discarding: %q, %+v", code, vol)
	}
}

// TestWhatWaitsForAShrink: no snapshot is taken and the volume does not grow as long as something is cut off;
// hosts do not get it while that is being decided. Nobody owns the volume meanwhile.
func TestWhatWaitsForAShrink(t *testing.T) {
	c := newShrinking(t)
	impatient(c.Cluster)
	for _, discard := range []bool{false, true} {
		vol, code := c.update(shrinkTo(8*apitest.MiB, discard))
		if code != "" || vol.Shrink == nil || (vol.Size == 8*apitest.MiB) != discard {
			t.Fatalf("%+v", vol)
		}
		if _, code := c.update(growTo(32 * apitest.MiB)); code != wire.VolumeShrinking {
			t.Errorf("growing: %q", code)
		}
		if _, code := c.update(shrinkTo(4*apitest.MiB, true)); code != wire.VolumeShrinking {
			t.Errorf("shrinking more: %q", code)
		}
		_, _, err := c.Manager.CreateSnapshot(t.Context(), wire.SnapshotCreate{Volume: c.volume, Name: "s"})
		if code := c.codeOf(err); code != wire.VolumeShrinking {
			t.Errorf("a snapshot: %q", code)
		}
		_, _, err = c.Manager.Allow(t.Context(), manager.OfVolume(c.volume), apitest.HostA, "")
		if code := c.codeOf(err); (code == wire.VolumeShrinking) == discard {
			t.Errorf("a host, discarding %v: %q", discard, code)
		}
		_, err = c.Manager.CancelTask(t.Context(), "shrink-"+c.volume.String())
		if code := c.codeOf(err); (code == wire.NotSupported) != discard {
			t.Errorf("cancelled: %q", code)
		}
		c.Audit()
	}
	if err := c.Manager.DisallowAll(t.Context(), manager.OfVolume(c.volume), ""); err != nil {
		t.Fatal(err)
	}
	if err := c.Manager.DeleteVolume(t.Context(), c.volume, "", false); err != nil {
		t.Errorf("deleted meanwhile: %v", err)
	}
	c.Audit()
}

// impatient has no call wait for owners until the function that it returns is called.
func impatient(c *apitest.Cluster) (end func()) {
	s := c.Store.(*crashing)
	s.armed = true
	return func() { s.armed = false }
}

// shrinkChanges: a volume that shrinks, at each of its stages.
func shrinkChanges() []change {
	chance := func(ctx context.Context) context.Context {
		return manager.WithChance(ctx, strings.NewReader(strings.Repeat("7", 64)))
	}
	ask := func(c *apitest.Cluster, discard bool) doer {
		return func(ctx context.Context) error {
			return errOf(c.Manager.UpdateVolume(chance(ctx), apitest.UUID(1), shrinkTo(8*apitest.MiB, discard), ""))
		}
	}
	// asked prepares a volume that is being shrunk; told: its owner has said how far it is.
	asked := func(c *apitest.Cluster, discard, told bool) {
		c.Pool()
		c.Volume(1, "v1")
		end := impatient(c)
		if err := ask(c, discard)(c.T.Context()); err != nil {
			c.T.Fatal(err)
		}
		end()
		if !told {
			return
		}
		stop := c.Own()
		waitFor(c.T, "the owner has recorded it", func() bool {
			o, _, err := store.NewArbiter(c.Store).Owner(c.T.Context(), cluster.VolumeKey{VUID: 1, Generation: 1})
			return err == nil && !o.Cleared.Cut.IsZero()
		})
		stop()
	}
	sweep := func(c *apitest.Cluster) doer { return c.Manager.Sweep }
	var out []change
	for _, discard := range []bool{false, true} {
		name := map[bool]string{false: "if nothing is there", true: "whatever is there"}[discard]
		out = append(out,
			change{"shrink " + name, func(c *apitest.Cluster) doer {
				c.Pool()
				c.Volume(1, "v1")
				return ask(c, discard)
			}},
			change{"go on with a shrink " + name, func(c *apitest.Cluster) doer {
				asked(c, discard, true)
				return sweep(c)
			}},
			change{"delete a volume that shrinks " + name, func(c *apitest.Cluster) doer {
				asked(c, discard, false)
				return func(ctx context.Context) error { return c.Manager.DeleteVolume(ctx, apitest.UUID(1), "", false) }
			}})
	}
	return append(out,
		change{"keep the data that a shrink has found", func(c *apitest.Cluster) doer {
			c.Fill(apitest.UUID(1), 16*apitest.MiB)
			asked(c, false, true)
			return sweep(c)
		}},
		change{"cancel a shrink", func(c *apitest.Cluster) doer {
			asked(c, false, false)
			return func(ctx context.Context) error { return c.Manager.CancelShrink(ctx, apitest.UUID(1)) }
		}})
}
