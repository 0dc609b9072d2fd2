package manager_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// cloning is a cluster with volume 1 and its snapshot 10, both called "golden".
type cloning struct {
	*apitest.Cluster
	volume, snapshot cluster.UUID
}

func newCloning(t *testing.T) *cloning {
	c := &cloning{Cluster: apitest.New(t)}
	c.Pool()
	c.Own()
	c.volume = c.Volume(1, "golden").ID
	c.snapshot = c.Snapshot(c.volume, 10, "golden").ID
	return c
}

// clone asks for volume n as a clone; size 0: that of its source. code is what it is refused with.
func (c *cloning) clone(n int, name string, size uint64, s wire.Source) (wire.Volume, wire.Code, string) {
	c.T.Helper()
	return c.create(wire.VolumeCreate{ID: apitest.UUID(n), Name: name, Size: size, Source: &s})
}

func (c *cloning) create(r wire.VolumeCreate) (wire.Volume, wire.Code, string) {
	c.T.Helper()
	v, _, err := c.Manager.CreateVolume(c.T.Context(), r)
	code, field := c.refusal(err)
	return v, code, field
}

// refusal is what an error refuses with; any other error is the end of the test.
func (c *cloning) refusal(err error) (wire.Code, string) {
	c.T.Helper()
	var refused *manager.Error
	if err != nil && !errors.As(err, &refused) {
		c.T.Fatal(err)
	}
	if err != nil {
		return refused.Code, refused.Field
	}
	return "", ""
}

// must makes a clone of the snapshot.
func (c *cloning) must(n int, name string) wire.Volume {
	c.T.Helper()
	v, code, field := c.clone(n, name, 0, wire.Source{Snapshot: c.snapshot})
	if code != "" {
		c.T.Fatalf("clone %s: %s %s", name, code, field)
	}
	return v
}

func (c *cloning) deleteVolume(n int, cascade bool) wire.Code {
	c.T.Helper()
	code, _ := c.refusal(c.Manager.DeleteVolume(c.T.Context(), apitest.UUID(n), "", cascade))
	return code
}

func (c *cloning) deleteSnapshot(id cluster.UUID) {
	c.T.Helper()
	if _, gone, err := c.Manager.DeleteSnapshot(c.T.Context(), id, ""); err != nil || !gone {
		c.T.Fatalf("snapshot %s: gone %v, %v", id, gone, err)
	}
}

// pins counts what the view list of the first volume keeps.
func (c *cloning) pins() int {
	c.T.Helper()
	r := reverting{Cluster: c.Cluster}
	return len(r.view().Pins)
}

func (c *cloning) sweep() {
	c.T.Helper()
	if err := c.Manager.Sweep(c.T.Context()); err != nil {
		c.T.Fatal(err)
	}
	c.Audit()
}

// lists names all volumes and snapshots that there are for people.
func (c *cloning) lists() (names []string) {
	c.T.Helper()
	volumes, err := c.Manager.Volumes(c.T.Context(), manager.Page{}, manager.VolumeFilter{})
	if err != nil {
		c.T.Fatal(err)
	}
	for _, v := range volumes.Items {
		names = append(names, v.Name)
	}
	snapshots, err := c.Manager.Snapshots(c.T.Context(), manager.Page{}, manager.SnapshotFilter{})
	if err != nil {
		c.T.Fatal(err)
	}
	for _, s := range snapshots.Items {
		names = append(names, "@"+s.Name)
	}
	return names
}

func (c *cloning) want(names ...string) {
	c.T.Helper()
	if got := c.lists(); !slices.Equal(got, names) {
		c.T.Errorf("there are %q, want %q", got, names)
	}
	c.Audit()
}

// TestACloneBeginsAsItsSnapshot: in the same pool, as large or larger, and says what it began as.
func TestACloneBeginsAsItsSnapshot(t *testing.T) {
	c := newCloning(t)
	same := c.must(2, "same")
	if same.Size != 16*apitest.MiB || same.Pool != "gold" || same.Parent == nil ||
		same.Parent.Volume != c.volume || same.Parent.Snapshot != c.snapshot || same.Parent.Size != same.Size {
		t.Errorf("made %+v of %+v", same, same.Parent)
	}
	r := wire.VolumeCreate{ID: apitest.UUID(3), Name: "larger", Pool: "gold", Size: 32 * apitest.MiB,
		Source: &wire.Source{Snapshot: c.snapshot}}
	larger, code, _ := c.create(r)
	if code != "" || larger.Size != r.Size || larger.Parent.Size != same.Size {
		t.Errorf("%s: made %+v of %+v", code, larger, larger.Parent)
	}
	again, code, _ := c.create(r)
	if code != "" || again.VUID != larger.VUID {
		t.Errorf("the same again: %s, %+v", code, again)
	}
	s, err := c.Manager.Snapshot(t.Context(), c.snapshot)
	if err != nil || s.Clones != 2 {
		t.Errorf("%d clones, %v", s.Clones, err)
	}
	c.want("golden", "same", "larger", "@golden")
}

// TestACloneOfAVolume is one of a snapshot that people do not see, and that goes with it.
func TestACloneOfAVolume(t *testing.T) {
	c := newCloning(t)
	v, code, _ := c.clone(2, "copy", 0, wire.Source{Volume: c.volume})
	if code != "" || v.Parent == nil || v.Parent.Volume != c.volume || v.Parent.Snapshot == c.snapshot {
		t.Fatalf("%s: made %+v of %+v", code, v, v.Parent)
	}
	if again, code, _ := c.clone(2, "copy", 0, wire.Source{Volume: c.volume}); code != "" || again.ID != v.ID {
		t.Errorf("the same again: %s, %+v", code, again)
	}
	c.want("golden", "copy", "@golden")
	if n := c.pins(); n != 2 {
		t.Errorf("%d pins", n)
	}
	if _, err := c.Manager.Snapshot(t.Context(), v.Parent.Snapshot); err == nil {
		t.Error("the hidden snapshot is shown")
	}
	if _, code, _ := c.clone(3, "sly", 0, wire.Source{Snapshot: v.Parent.Snapshot}); code != wire.InvalidField {
		t.Errorf("a clone of the hidden snapshot: %q", code)
	}
	if code := c.deleteVolume(2, false); code != "" {
		t.Error(code)
	}
	waitFor(t, "the hidden snapshot to go", func() bool { return c.pins() == 1 })
	c.want("golden", "@golden")
}

// TestWhatClonesNeedIsHidden: people may delete a snapshot and its volume at any time; both end when the last
// clone does.
func TestWhatClonesNeedIsHidden(t *testing.T) {
	c := newCloning(t)
	c.must(2, "a")
	c.must(3, "b")
	c.deleteSnapshot(c.snapshot)
	c.want("golden", "a", "b")
	if code := c.deleteVolume(1, false); code != "" {
		t.Fatal(code)
	}
	c.want("a", "b")
	hidden, err := c.Manager.Volumes(t.Context(), manager.Page{}, manager.VolumeFilter{Hidden: true})
	if err != nil || len(hidden.Items) != 1 || hidden.Items[0].ID != c.volume || !hidden.Items[0].Hidden {
		t.Errorf("hidden are %+v, %v", hidden.Items, err)
	}
	tenant := auth.With(t.Context(), auth.Principal{Role: auth.Tenant, Project: "acme"})
	hidden, err = c.Manager.Volumes(tenant, manager.Page{}, manager.VolumeFilter{Hidden: true})
	if err != nil || len(hidden.Items) != 0 {
		t.Errorf("a tenant sees %+v, %v", hidden.Items, err)
	}
	for what, err := range map[string]error{
		"volume":   errOf(c.Manager.Volume(t.Context(), c.volume)),
		"snapshot": errOf(c.Manager.Snapshot(t.Context(), c.snapshot)),
		"delete":   c.Manager.DeleteVolume(t.Context(), c.volume, "", false),
	} {
		if code, _ := c.refusal(err); code != wire.NotFound {
			t.Errorf("%s: %q", what, code)
		}
	}
	if v, code, _ := c.create(wire.VolumeCreate{ID: apitest.UUID(4), Name: "golden", Pool: "gold",
		Size: apitest.MiB}); code != "" {
		t.Errorf("the name is not free: %s, %+v", code, v)
	}
	_, code, field := c.create(wire.VolumeCreate{ID: c.volume, Name: "x", Pool: "gold", Size: apitest.MiB})
	if code != wire.Conflict || field != "id" {
		t.Errorf("the id of a hidden volume: %s %s", code, field)
	}
	if code := c.deleteVolume(2, false); code != "" {
		t.Fatal(code)
	}
	c.sweep()
	if n := c.pins(); n != 1 {
		t.Errorf("with one clone left there are %d pins", n)
	}
	if code := c.deleteVolume(3, false); code != "" {
		t.Fatal(code)
	}
	waitFor(t, "the hidden snapshot to go", func() bool { return c.pins() == 0 })
	c.sweep()
	if _, err := c.Manager.RewrapVolume(t.Context(), c.volume); err == nil {
		t.Error("the hidden volume is still there")
	}
	c.want("golden")
}

// TestLineagesEndOneAfterTheOther: clones of clones, all but the youngest deleted, with their snapshots.
func TestLineagesEndOneAfterTheOther(t *testing.T) {
	c := newCloning(t)
	c.must(2, "child")
	c.snapshot = c.Snapshot(apitest.UUID(2), 20, "s").ID
	c.must(3, "grandchild")
	for n := 1; n <= 2; n++ {
		if code := c.deleteVolume(n, false); code != wire.VolumeHasSnapshots {
			t.Errorf("volume %d with a snapshot: %q", n, code)
		}
		if code := c.deleteVolume(n, true); code != "" {
			t.Errorf("volume %d with its snapshots: %q", n, code)
		}
	}
	c.want("grandchild")
	if code := c.deleteVolume(3, false); code != "" {
		t.Fatal(code)
	}
	waitFor(t, "the whole lineage to go", func() bool {
		c.sweep()
		_, err := c.Manager.RewrapVolume(t.Context(), c.volume)
		return err != nil
	})
	c.want()
}

// TestASnapshotForACloneThatIsNotMade is given up after a while.
func TestASnapshotForACloneThatIsNotMade(t *testing.T) {
	c := newCloning(t)
	source := wire.Source{Volume: c.volume}
	if _, code, _ := c.clone(2, "small", apitest.MiB, source); code != wire.InvalidField || c.pins() != 1 {
		t.Errorf("%q; of what cannot be there are %d pins", code, c.pins())
	}
	if _, code, _ := c.clone(2, "golden", 0, source); code != wire.Conflict { // its name is taken
		t.Fatal(code)
	}
	c.sweep()
	if n := c.pins(); n != 2 {
		t.Errorf("given up at once: %d pins", n)
	}
	c.Advance(time.Hour)
	if _, code, _ := c.clone(2, "right", 0, source); code != "" { // late, but in time
		t.Fatal(code)
	}
	c.sweep()
	if n := c.pins(); n != 2 {
		t.Errorf("%d pins", n)
	}
	if _, code, _ := c.clone(3, "golden", 0, source); code != wire.Conflict {
		t.Fatal(code)
	}
	c.Advance(time.Hour)
	c.sweep()
	waitFor(t, "the hidden snapshot to go", func() bool { return c.pins() == 2 })
	c.Audit()
}

// TestClonesThatAreRefused.
func TestClonesThatAreRefused(t *testing.T) {
	c := newCloning(t)
	if _, _, err := c.Manager.CreatePool(t.Context(), wire.PoolCreate{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	type request = wire.VolumeCreate
	for _, x := range []struct {
		what   string
		change func(r *request)
		code   wire.Code
		field  string
	}{
		{"smaller", func(r *request) { r.Size = apitest.MiB }, wire.InvalidField, "size_bytes"},
		{"part of a block", func(r *request) { r.Size = 16*apitest.MiB + 1 }, wire.InvalidField, "size_bytes"},
		{"another pool", func(r *request) { r.Pool = "other" }, wire.NotSupported, "pool"},
		{"encrypted", func(r *request) { r.Encryption = cluster.AES256XTS }, wire.NotSupported, "encryption"},
		{"compressed by nothing known", func(r *request) { r.Compression = "zip" }, wire.InvalidField,
			"compression"},
		{"a name", func(r *request) { r.Name = "a/b" }, wire.InvalidField, "name"},
		{"a taken name", func(r *request) { r.Name = "golden" }, wire.Conflict, "name"},
		{"of nothing", func(r *request) { r.Source = &wire.Source{} }, wire.InvalidField, "source"},
		{"of both", func(r *request) { r.Source.Volume = c.volume }, wire.InvalidField, "source"},
		{"no snapshot", func(r *request) { r.Source.Snapshot = apitest.UUID(99) }, wire.InvalidField,
			"source.snapshot"},
		{"no volume", func(r *request) { r.Source = &wire.Source{Volume: apitest.UUID(99)} }, wire.InvalidField,
			"source.volume"},
		{"of itself", func(r *request) { r.ID = c.volume }, wire.Conflict, "id"},
	} {
		r := request{ID: apitest.UUID(2), Name: "clone", Source: &wire.Source{Snapshot: c.snapshot}}
		x.change(&r)
		if _, code, field := c.create(r); code != x.code || field != x.field {
			t.Errorf("%s: %q %q, want %s %s", x.what, code, field, x.code, x.field)
		}
	}
	c.want("golden", "@golden")
}

// TestNoMoreClonesThanPins: clones of a volume take one each, clones of a snapshot none.
func TestNoMoreClonesThanPins(t *testing.T) {
	c := newCloning(t)
	of := wire.Source{Volume: c.volume}
	for n := c.pins(); n < cluster.MaxPins; n++ {
		if _, code, _ := c.clone(100+n, fmt.Sprint("clone", n), 0, of); code != "" {
			t.Fatalf("clone %d: %s", n, code)
		}
	}
	if _, code, field := c.clone(99, "more", 0, of); code != wire.SnapshotLimit || field == "" {
		t.Errorf("one more: %q %q", code, field)
	}
	if _, code, _ := c.clone(98, "of-a-snapshot", 0, wire.Source{Snapshot: c.snapshot}); code != "" {
		t.Errorf("one of a snapshot: %s", code)
	}
}

// TestTenantsCloneTheirOwn: what belongs to another project is no source, and a clone is charged in full.
func TestTenantsCloneTheirOwn(t *testing.T) {
	c := newCloning(t)
	tenant := auth.With(t.Context(), auth.Principal{Role: auth.Tenant, Project: "acme"})
	ask := func(n int, s wire.Source) error {
		r := wire.VolumeCreate{ID: apitest.UUID(n), Name: "clone", Source: &s}
		return made(c.Manager.CreateVolume(tenant, r))
	}
	for _, s := range []wire.Source{{Snapshot: c.snapshot}, {Volume: c.volume}} {
		if code, _ := c.refusal(ask(2, s)); code != wire.InvalidField {
			t.Errorf("of a stranger's: %q", code)
		}
	}
	r := wire.VolumeCreate{ID: apitest.UUID(3), Name: "own", Pool: "gold", Size: apitest.MiB}
	own, _, err := c.Manager.CreateVolume(tenant, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := ask(4, wire.Source{Volume: own.ID}); err != nil {
		t.Fatal(err)
	}
	limit := uint64(2)
	if _, _, err := c.Manager.SetQuota(t.Context(), "acme", wire.Quota{Volumes: &limit}, ""); err != nil {
		t.Fatal(err)
	}
	if code, _ := c.refusal(ask(5, wire.Source{Volume: own.ID})); code != wire.Conflict { // the name, first
		t.Errorf("one too many: %q", code)
	}
	if err := c.Manager.DeleteVolume(tenant, own.ID, "", false); err != nil {
		t.Fatal(err)
	}
	p, err := c.Manager.Project(tenant, "acme")
	if err != nil || p.Used.Volumes != 1 || p.Used.Bytes != apitest.MiB {
		t.Errorf("with a hidden volume and its clone it is charged for %+v, %v", p.Used, err)
	}
	c.Audit()
}

// TestAKeyThatClonesNeedIsNotDestroyed: they are encrypted with that of their parent.
func TestAKeyThatClonesNeedIsNotDestroyed(t *testing.T) {
	c := newCloning(t)
	c.Key("k1")
	if _, err := c.Manager.RotateKey(t.Context(), wire.KeyRotation{To: "k1"}, ""); err != nil {
		t.Fatal(err)
	}
	parent := encryptedVolume(c.Cluster, 5)
	c.snapshot = c.Snapshot(parent.ID, 50, "s").ID
	clone := c.must(6, "clone")
	if clone.Encryption != cluster.AES256XTS || clone.ClusterKey != "k1" {
		t.Errorf("made %+v", clone)
	}
	c.deleteSnapshot(c.snapshot)
	for _, id := range []cluster.UUID{parent.ID, clone.ID} {
		if code, _ := c.refusal(c.Manager.DestroyKey(t.Context(), id, "")); code != wire.Conflict {
			t.Errorf("the key of volume %s: %q", id, code)
		}
	}
	if code := c.deleteVolume(5, false); code != "" {
		t.Fatal(code)
	}
	c.Key("k2")
	if _, err := c.Manager.RotateKey(t.Context(), wire.KeyRotation{To: "k2"}, ""); err != nil {
		t.Fatal(err)
	}
	for _, id := range []cluster.UUID{parent.ID, clone.ID} {
		if changed, err := c.Manager.RewrapVolume(t.Context(), id); err != nil || !changed {
			t.Errorf("volume %s, hidden or not: wrapped again %v, %v", id, changed, err)
		}
	}
	c.Audit()
}

// TestAFlattenEndsALink: unless a snapshot of the clone is older, and then when that goes.
func TestAFlattenEndsALink(t *testing.T) {
	c := newCloning(t)
	c.must(2, "clone")
	old := c.Snapshot(apitest.UUID(2), 20, "old")
	if _, code, _ := c.clone(3, "other", 0, wire.Source{Snapshot: c.snapshot}); code != "" {
		t.Fatal(code)
	}
	c.deleteSnapshot(c.snapshot)
	flatten := func(n int) wire.Volume {
		t.Helper()
		v, err := c.Manager.FlattenVolume(t.Context(), apitest.UUID(n), "")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := flatten(1); v.Parent != nil {
		t.Errorf("what is no clone: %+v", v.Parent)
	}
	if v := flatten(3); v.Parent == nil || v.Parent.Flatten == nil || v.Parent.Flatten.Total != 16*apitest.MiB {
		t.Errorf("a clone: %+v", v.Parent)
	}
	flat := func(n int) bool {
		c.sweep()
		v, err := c.Manager.Volume(t.Context(), apitest.UUID(n))
		return err == nil && v.Parent == nil
	}
	waitFor(t, "the flatten", func() bool { return flat(3) })
	if v := flatten(2); v.Parent == nil {
		t.Error("flattened at once")
	}
	waitFor(t, "all to be copied", func() bool { return flatten(2).Parent.Flatten.Pinned })
	if flat(2) || c.pins() != 1 {
		t.Errorf("its snapshot may still show the parent; %d pins", c.pins())
	}
	c.Snapshot(apitest.UUID(2), 21, "young")
	c.deleteSnapshot(old.ID)
	waitFor(t, "the flatten", func() bool { return flat(2) })
	waitFor(t, "the hidden snapshot to go", func() bool { return c.pins() == 0 })
	if code := c.deleteVolume(1, false); code != "" {
		t.Errorf("the former parent: %s", code)
	}
	c.want("clone", "other", "@young")
	list, err := c.Manager.Events(t.Context(), manager.Page{}, manager.EventFilter{Kind: "volume.flattened"})
	if err != nil || len(list.Items) != 2 {
		t.Errorf("events %+v, %v", list.Items, err)
	}
}

// lineage makes volume 1 with snapshots a and b; volumes 3 and 4 are clones of a. stop stops the owner.
func lineage(c *apitest.Cluster) (x *cloning, stop func()) {
	x = &cloning{Cluster: c, volume: apitest.UUID(1), snapshot: apitest.UUID(10)}
	c.Pool()
	c.Volume(1, "v1")
	stop = c.Own()
	c.Snapshot(x.volume, 11, "b")
	c.Snapshot(x.volume, 10, "a")
	x.must(3, "clone")
	x.must(4, "other")
	return x, stop
}

// cloneChanges make and end clones of a lineage.
func cloneChanges() []change {
	create := func(c *apitest.Cluster, s wire.Source) doer {
		r := wire.VolumeCreate{ID: apitest.UUID(5), Name: "new", Source: &s}
		return func(ctx context.Context) error { return made(c.Manager.CreateVolume(ctx, r)) }
	}
	return []change{
		{"clone a snapshot", func(c *apitest.Cluster) doer {
			x, stop := lineage(c)
			stop()
			return create(c, wire.Source{Snapshot: x.snapshot})
		}},
		{"clone a volume whose snapshot was taken", func(c *apitest.Cluster) doer {
			x, stop := lineage(c)
			x.clone(5, "v1", 0, wire.Source{Volume: x.volume}) // the name is taken
			stop()
			return create(c, wire.Source{Volume: x.volume})
		}},
		{"delete a snapshot with clones", func(c *apitest.Cluster) doer {
			x, stop := lineage(c)
			stop()
			return func(ctx context.Context) error {
				_, _, err := c.Manager.DeleteSnapshot(ctx, x.snapshot, "")
				return err
			}
		}},
		{"flatten", func(c *apitest.Cluster) doer {
			_, stop := lineage(c)
			stop()
			return func(ctx context.Context) error { return errOf(c.Manager.FlattenVolume(ctx, apitest.UUID(3), "")) }
		}},
		{"end a flatten", func(c *apitest.Cluster) doer {
			x, stop := lineage(c)
			x.deleteSnapshot(x.snapshot)
			for _, n := range []int{3, 4} { // both, so that the snapshot goes
				if _, err := c.Manager.FlattenVolume(c.T.Context(), apitest.UUID(n), ""); err != nil {
					c.T.Fatal(err)
				}
				waitFor(c.T, "all to be copied", func() bool {
					v, err := c.Manager.Volume(c.T.Context(), apitest.UUID(n))
					return err == nil && v.Parent.Flatten.Done == v.Parent.Flatten.Total
				})
			}
			stop()
			return c.Manager.Sweep
		}},
		{"delete a clone that is being flattened", func(c *apitest.Cluster) doer {
			_, stop := lineage(c)
			stop()
			if _, err := c.Manager.FlattenVolume(c.T.Context(), apitest.UUID(3), ""); err != nil {
				c.T.Fatal(err)
			}
			return func(ctx context.Context) error { return c.Manager.DeleteVolume(ctx, apitest.UUID(3), "", false) }
		}},
		{"give a snapshot up that was taken for a clone", func(c *apitest.Cluster) doer {
			x, stop := lineage(c)
			x.clone(5, "v1", 0, wire.Source{Volume: x.volume}) // the name is taken
			stop()
			c.Advance(time.Hour)
			return c.Manager.Sweep
		}},
	}
}

// hiddenChanges are about a lineage whose beginning people have deleted.
func hiddenChanges() []change {
	hide := func(x *cloning) {
		x.deleteSnapshot(x.snapshot)
		x.deleteSnapshot(apitest.UUID(11))
	}
	return []change{
		{"delete a volume with clones", func(c *apitest.Cluster) doer {
			x, stop := lineage(c)
			hide(x)
			stop()
			return func(ctx context.Context) error { return c.Manager.DeleteVolume(ctx, x.volume, "", false) }
		}},
		{"delete the last clone", func(c *apitest.Cluster) doer {
			x, stop := lineage(c)
			hide(x)
			x.deleteVolume(3, false)
			stop()
			return func(ctx context.Context) error { return c.Manager.DeleteVolume(ctx, apitest.UUID(4), "", false) }
		}},
		{"end a hidden volume that is a clone", func(c *apitest.Cluster) doer {
			x, stop := lineage(c)
			x.snapshot = c.Snapshot(apitest.UUID(4), 40, "s").ID
			x.must(5, "grandchild")
			for _, n := range []int{4, 5} {
				x.deleteVolume(n, true)
			}
			waitFor(c.T, "the hidden snapshot to go", func() bool {
				read, err := c.Store.Read(c.T.Context(), store.Key(cluster.KeySnapshot(x.snapshot)))
				return err == nil && read.One(0).Rev == 0
			})
			stop()
			return c.Manager.Sweep
		}},
	}
}
