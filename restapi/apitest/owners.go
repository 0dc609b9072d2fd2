package apitest

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
)

// Own starts the owner of all volumes: it settles snapshots, flattens, cuts off and moves, as gateways do,
// with sequence numbers that it counts up. The function that it returns, and the end of the test, stop it.
func (c *Cluster) Own() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var asked moves
	if err := asked.follow(ctx, c.Store, &wg); err != nil {
		c.T.Fatal(err)
	}
	wg.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := c.settle(ctx, &asked); err != nil && !errors.Is(err, cluster.ErrConflict) &&
					!errors.Is(err, cluster.ErrNoRecord) && ctx.Err() == nil && !errors.Is(err, store.ErrUnavailable) {
					c.T.Errorf("the owner of the volumes: %v", err)
				}
			}
		}
	})
	stop = func() {
		cancel()
		wg.Wait()
	}
	c.T.Cleanup(stop)
	return stop
}

// listed reads the records of the volumes that the keys below prefix name.
func (c *Cluster) listed(ctx context.Context, prefix string) (out []cluster.Volume, err error) {
	read, err := c.Store.Read(ctx, store.All(prefix))
	if err != nil {
		return nil, err
	}
	for _, it := range read.Results[0].Items {
		var id cluster.UUID
		var rec cluster.Volume
		if err := json.Unmarshal(it.Value, &id); err != nil {
			return nil, err
		}
		vol, err := c.Store.Read(ctx, store.Key(cluster.KeyVolume(id)))
		if err != nil {
			return nil, err
		}
		if vol.One(0).Rev == 0 { // deleted this moment
			continue
		}
		if err := json.Unmarshal(vol.One(0).Value, &rec); err != nil {
			return nil, err
		}
		out = append(out, rec)
	}
	return out, nil
}

// flatten completes what is being flattened.
func (c *Cluster) flatten(ctx context.Context, arbiter *store.Arbiter) error {
	volumes, err := c.listed(ctx, cluster.PrefixFlattening)
	if err != nil {
		return err
	}
	for _, rec := range volumes {
		owner, rev, err := arbiter.Owner(ctx, rec.Key)
		if err != nil {
			return err
		}
		if owner.Flattened.At != 0 {
			continue
		}
		owner.Epoch = max(owner.Epoch, 1)
		owner.Flattened.At = cluster.MakeSeq(owner.Epoch, uint64(owner.View.Version)+1)
		owner.View.Version++ // the next number is larger
		if _, err := arbiter.SwapOwner(ctx, rec.Key, rev, owner); err != nil {
			return err
		}
	}
	return nil
}

// Fill says that a volume holds data up to some byte, for owners that look for it.
func (c *Cluster) Fill(id cluster.UUID, end uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.data == nil {
		c.data = make(map[cluster.UUID]uint64)
	}
	c.data[id] = end
}

// Shrunk sweeps until nothing is being cut off a volume any more.
func (c *Cluster) Shrunk(id cluster.UUID) {
	c.T.Helper()
	for end := time.Now().Add(10 * time.Second); ; {
		if err := c.Manager.Sweep(c.T.Context()); err != nil {
			c.T.Fatal(err)
		}
		switch vol, err := c.Manager.Volume(c.T.Context(), id); {
		case err != nil:
			c.T.Fatal(err)
		case vol.Shrink == nil:
			return
		case time.Now().After(end):
			c.T.Fatalf("the volume still shrinks: %+v", vol.Shrink)
		}
	}
}

func (c *Cluster) filled(id cluster.UUID) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.data[id]
}

// cut looks for what Fill has said, and clears what is to be cleared, of volumes that are being shrunk.
func (c *Cluster) cut(ctx context.Context, arbiter *store.Arbiter) error {
	volumes, err := c.listed(ctx, cluster.PrefixShrinking)
	if err != nil {
		return err
	}
	for _, rec := range volumes {
		if rec.Cut == nil {
			continue
		}
		owner, rev, err := arbiter.Owner(ctx, rec.Key)
		if err != nil {
			return err
		}
		done := cluster.Cleared{Cut: rec.Cut.ID, Look: rec.Looking(), Until: rec.Cut.To, End: true}
		if done.Look && c.filled(rec.UUID) > rec.Cut.From {
			done.Until, done.Found, done.End = rec.Cut.From, true, false
		}
		if owner.Cleared == done {
			continue
		}
		owner.Epoch, owner.Cleared = max(owner.Epoch, 1), done
		if _, err := arbiter.SwapOwner(ctx, rec.Key, rev, owner); err != nil {
			return err
		}
	}
	return nil
}

// settle settles every snapshot once.
func (c *Cluster) settle(ctx context.Context, asked *moves) error {
	read, err := c.Store.Read(ctx, store.All(cluster.PrefixSnapshots))
	if err != nil {
		return err
	}
	arbiter := store.NewArbiter(c.Store)
	if err := c.flatten(ctx, arbiter); err != nil {
		return err
	}
	if err := c.cut(ctx, arbiter); err != nil {
		return err
	}
	if err := asked.move(ctx, c.Store, arbiter); err != nil {
		return err
	}
	sets := make(map[cluster.UUID][]cluster.SnapshotAt)
	for _, it := range read.Results[0].Items {
		x := cluster.SnapshotAt{Revision: it.Rev}
		if err := json.Unmarshal(it.Value, &x.Snapshot); err != nil {
			return err
		}
		if !x.Unsettled() {
			continue
		}
		if x.State == cluster.SnapshotCreating && x.Set != nil {
			set := append(sets[x.Set.UUID], x)
			if sets[x.Set.UUID] = set; len(set) < int(x.Set.Volumes) {
				continue
			}
			if err := takeTogether(ctx, arbiter, set); err != nil {
				return err
			}
			continue
		}
		owner, rev, err := arbiter.Owner(ctx, x.Key)
		if err != nil {
			return err
		}
		owner.Epoch = max(owner.Epoch, 1)
		switch x.State {
		case cluster.SnapshotCreating:
			x.State, x.Pin = cluster.SnapshotAvailable, cluster.MakeSeq(owner.Epoch, uint64(owner.View.Version)+1)
			owner.View = owner.View.WithPins([]cluster.Seq{x.Pin}, nil)
		case cluster.SnapshotReverting:
			x.State = cluster.SnapshotAvailable
			owner.View = owner.View.Reverted(x.Pin, cluster.MakeSeq(owner.Epoch, uint64(owner.View.Version)+1))
		case cluster.SnapshotDeleting:
			x.State = cluster.SnapshotGone
			owner.View = owner.View.WithPins(nil, []cluster.Seq{x.Pin})
		default:
			continue
		}
		if _, err := arbiter.SwapOwner(ctx, x.Key, rev, owner, x); err != nil {
			return err
		}
	}
	return nil
}

// takeTogether takes the parts of a group snapshot.
func takeTogether(ctx context.Context, arbiter *store.Arbiter, set []cluster.SnapshotAt) error {
	var swaps []cluster.OwnerSwap
	for i := range set {
		owner, rev, err := arbiter.Owner(ctx, set[i].Key)
		if err != nil {
			return err
		}
		owner.Epoch = max(owner.Epoch, 1)
		set[i].State, set[i].Pin = cluster.SnapshotAvailable,
			cluster.MakeSeq(owner.Epoch, uint64(owner.View.Version)+1)
		owner.View = owner.View.WithPins([]cluster.Seq{set[i].Pin}, nil)
		swaps = append(swaps, cluster.OwnerSwap{Volume: set[i].Key, Revision: rev, Next: owner})
	}
	return arbiter.SwapOwners(ctx, swaps, set...)
}
