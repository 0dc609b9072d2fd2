package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
)

// arbitration: several gateways want a volume at the same revision; one gets it, and a record of a deleted
// volume stays deleted.
func arbitration(t *testing.T, ctx context.Context, s Store) {
	vol := cluster.VolumeKey{VUID: 7, Generation: 1}
	a := store.NewArbiter(s)
	if _, _, err := a.Owner(ctx, vol); !errors.Is(err, cluster.ErrNoRecord) {
		t.Fatalf("owner of nothing: %v", err)
	}
	if _, err := a.SwapOwner(ctx, vol, 0, cluster.Owner{Gateway: 1, Epoch: 1}); !errors.Is(err,
		cluster.ErrNoRecord) {
		t.Errorf("swap from nothing: %v", err)
	}
	put(t, ctx, s, cluster.KeyOwner(vol), `{"gateway":2,"epoch":0}`)
	o, rev, err := a.Owner(ctx, vol)
	if err != nil || o.Gateway != 2 || o.Epoch != 0 {
		t.Fatalf("got %+v, %v", o, err)
	}
	var wg sync.WaitGroup
	var won atomic.Int32
	for n := range cluster.NodeID(4) {
		wg.Go(func() {
			_, err := a.SwapOwner(ctx, vol, rev, cluster.Owner{Gateway: n + 1, Epoch: o.Epoch + 1})
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, cluster.ErrConflict):
				t.Errorf("gateway %d: %v", n+1, err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d gateways won", won.Load())
	}
	o, rev, _ = a.Owner(ctx, vol)
	next := o.Clone()
	next.Journal = cluster.Journal{Version: 2, Members: []cluster.DeviceID{3, 1, 2}}
	next.Layout = []cluster.Boundary{{Table: 3}, {Table: 2}, {Table: 0, Cursor: cluster.Groups}}
	if rev, err = a.SwapOwner(ctx, vol, rev, next); err != nil {
		t.Fatal(err)
	}
	got, rev2, err := a.Owner(ctx, vol)
	if err != nil || rev2 != rev || !reflect.DeepEqual(got, next) {
		t.Errorf("got %+v@%d, %v, want %+v@%d", got, rev2, err, next, rev)
	}
	key := cluster.KeyOwner(vol)
	if _, err := s.Commit(ctx, store.Txn{If: []store.Cond{{Key: key, Rev: rev}},
		Delete: []string{key}}); err != nil {
		t.Fatal(err)
	}
	next.Epoch++
	if _, err := a.SwapOwner(ctx, vol, rev, next); !errors.Is(err, cluster.ErrConflict) {
		t.Errorf("swap of a deleted volume: %v", err)
	}
	if _, _, err := a.Owner(ctx, vol); !errors.Is(err, cluster.ErrNoRecord) {
		t.Errorf("owner of a deleted volume: %v", err)
	}
}

func impossibleOwners(t *testing.T, ctx context.Context, s Store) {
	vol := cluster.VolumeKey{VUID: 1, Generation: 1}
	rev := put(t, ctx, s, cluster.KeyOwner(vol), `{"gateway":1,"epoch":3}`)
	a := store.NewArbiter(s)
	for name, o := range map[string]cluster.Owner{
		"nobody":      {Epoch: 4},
		"no epoch":    {Gateway: 1},
		"epoch spent": {Gateway: 1, Epoch: cluster.MaxOwnerEpoch + 1},
		"a member twice": {Gateway: 1, Epoch: 4, Journal: cluster.Journal{Version: 1,
			Members: []cluster.DeviceID{1, 2, 1}}},
		"no member": {Gateway: 1, Epoch: 4, Journal: cluster.Journal{Version: 1,
			Members: make([]cluster.DeviceID, 1)}},
		"no version":           {Gateway: 1, Epoch: 4, Journal: cluster.Journal{Members: []cluster.DeviceID{1}}},
		"groups without table": {Gateway: 1, Epoch: 4, Layout: []cluster.Boundary{{Table: 1, Cursor: 65535}}},
		"too many groups":      {Gateway: 1, Epoch: 4, Layout: []cluster.Boundary{{Table: 1, Cursor: 65537}}},
		"cursors that go back": {Gateway: 1, Epoch: 4, Layout: []cluster.Boundary{{Table: 3, Cursor: 9},
			{Table: 2, Cursor: 8}, {Table: 1, Cursor: cluster.Groups}}},
		"a move to an older table": {Gateway: 1, Epoch: 4, Layout: []cluster.Boundary{{Table: 1, Cursor: 9},
			{Table: 2, Cursor: cluster.Groups}}},
	} {
		if _, err := a.SwapOwner(ctx, vol, rev, o); err == nil || errors.Is(err, cluster.ErrConflict) {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
	if o, now, err := a.Owner(ctx, vol); err != nil || now != rev || o.Epoch != 3 {
		t.Errorf("refused swaps changed the record: %+v@%d, %v", o, now, err)
	}
}

func snapshotsWithOwner(t *testing.T, ctx context.Context, s Store) {
	vol := cluster.VolumeKey{VUID: 7, Generation: 1}
	a := store.NewArbiter(s)
	snap := cluster.Snapshot{UUID: cluster.UUID{1}, Name: "s", Volume: cluster.UUID{2}, Key: vol, Size: 4096,
		State: cluster.SnapshotAvailable, Pin: cluster.MakeSeq(3, 9)}
	key, name := cluster.KeySnapshot(snap.UUID), cluster.KeySnapshotName(snap.Volume, snap.Name)
	rev := put(t, ctx, s, cluster.KeyOwner(vol), `{"gateway":1,"epoch":3}`, key, "{}", name, "{}")
	next := cluster.Owner{Gateway: 1, Epoch: 3, View: cluster.View{Version: 1, Pins: []cluster.Seq{snap.Pin}}}
	stale := cluster.SnapshotAt{Snapshot: snap, Revision: rev - 1}
	if _, err := a.SwapOwner(ctx, vol, rev, next, stale); !errors.Is(err, cluster.ErrConflict) {
		t.Errorf("the snapshot has moved: %v", err)
	}
	if o, now, err := a.Owner(ctx, vol); err != nil || now != rev || !o.View.IsZero() {
		t.Fatalf("the owner record changed without the snapshot: %+v, %v", o, err)
	}
	broken := cluster.SnapshotAt{Snapshot: snap, Revision: rev}
	broken.Pin = 0
	if _, err := a.SwapOwner(ctx, vol, rev, next, broken); err == nil || errors.Is(err, cluster.ErrConflict) {
		t.Errorf("available without a pin: %v", err)
	}
	now, err := a.SwapOwner(ctx, vol, rev, next, cluster.SnapshotAt{Snapshot: snap, Revision: rev})
	if err != nil {
		t.Fatal(err)
	}
	var got cluster.Snapshot
	it := read(t, ctx, s, store.Key(key)).One(0)
	if err := json.Unmarshal(it.Value, &got); err != nil || !reflect.DeepEqual(got, snap) || it.Rev != now {
		t.Errorf("got %+v@%d, %v", got, it.Rev, err)
	}
	gone := cluster.SnapshotAt{Snapshot: snap, Revision: now}
	gone.State = cluster.SnapshotGone
	next.View = next.View.WithPins(nil, []cluster.Seq{snap.Pin})
	if _, err := a.SwapOwner(ctx, vol, now, next, gone); err != nil {
		t.Fatal(err)
	}
	left := read(t, ctx, s, store.Key(key), store.Key(name))
	if left.One(0).Rev != 0 || left.One(1).Rev != 0 {
		t.Errorf("a snapshot that is gone left %+v", left)
	}
}
