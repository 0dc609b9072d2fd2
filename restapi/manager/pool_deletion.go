package manager

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// DeletePool deletes a pool that holds nothing: no volume, not even one that is kept for clones, and nothing
// that a deleted one has left on devices. So its devices are free for other pools, and its name is for
// another pool, which gets a number of its own. ifMatch, when not empty, is the ETag that it must still have.
//
// A volume that is being made names the pool's record as one that must not have changed, and changes what the
// pool's volumes ask for together, which this names: of the two, whoever comes second decides again.
func (m *Manager) DeletePool(ctx context.Context, name, ifMatch string) error {
	return m.decide(ctx, func() error {
		v, err := m.readMap(ctx, store.Key(cluster.KeyProvisioned(name)), store.All(cluster.PrefixVolumes),
			store.All(cluster.PrefixSnapshots), store.All(cluster.PrefixPurges), store.All(cluster.PrefixAlive),
			store.All(cluster.PrefixStats))
		if err != nil {
			return err
		}
		p, key := v.Pools[name], cluster.KeyPool(name)
		if p == nil {
			return notFound("pool", name)
		}
		if err := matches(ifMatch, v.revs[key]); err != nil {
			return err
		}
		if err := m.refuseContent(ctx, v, name); err != nil {
			return err
		}
		txn := v.change()
		v.unset(txn, key)
		asked := store.Snapshot{Results: v.extra}.One(0)
		asked.Key = cluster.KeyProvisioned(name)
		txn.If = append(txn.If, store.Cond{Key: asked.Key, Rev: asked.Rev})
		txn.Delete = append(txn.Delete, asked.Key)
		m.note(txn, wire.Info, "pool.deleted", about("pool", name), "",
			"pool %s (%s %d+%d) deleted; it was on devices %v", name, p.Code, p.Data, p.Parity, p.Devices())
		return v.commit(ctx, m.store, txn)
	})
}

// refuseContent refuses what still holds something. extra of the view is what DeletePool has read.
func (m *Manager) refuseContent(ctx context.Context, v *view, pool string) error {
	volumes, snapshots, hidden := 0, 0, 0
	in := make(map[cluster.UUID]bool)
	for _, it := range v.extra[1].Items {
		rec, err := decode[cluster.Volume](it)
		switch {
		case err != nil:
			return err
		case rec.Pool != pool:
		case rec.Hidden:
			hidden++
		default:
			in[rec.UUID] = true
			volumes++
		}
	}
	for _, it := range v.extra[2].Items {
		rec, err := decode[cluster.Snapshot](it)
		if err != nil {
			return err
		}
		if in[rec.Volume] && !rec.Hidden {
			snapshots++
		}
	}
	leaving, waits, err := m.leaving(ctx, v, pool)
	if err != nil {
		return err
	}
	var has []string
	for _, x := range []struct {
		n    int
		what string
	}{{volumes, "volumes"}, {snapshots, "snapshots"}, {hidden, "deleted volumes that are kept for clones"},
		{leaving, "deleted volumes whose space comes back"}} {
		if x.n > 0 {
			has = append(has, fmt.Sprintf("%d %s", x.n, x.what))
		}
	}
	if len(has) == 0 {
		return nil
	}
	text := fmt.Sprintf("pool %q has %s", pool, strings.Join(has, ", "))
	if len(waits) > 0 {
		text += fmt.Sprintf(" (devices %v have still to give it back)", waits)
	}
	return refuse(wire.PoolNotEmpty, "", "%s", text)
}

// leaving counts the deleted volumes of a pool whose purge has not ended, and names the devices that it waits
// for. Purges of snapshots are left out: their volumes are there, or have a purge of their own.
func (m *Manager) leaving(ctx context.Context, v *view, pool string) (n int, waits []cluster.DeviceID,
	err error) {
	stats, err := readStats(v.extra[5])
	if err != nil {
		return 0, nil, err
	}
	p, err := m.followPurges(ctx, v, v.extra[3], v.extra[4], stats)
	if err != nil {
		return 0, nil, err
	}
	left := make(map[cluster.DeviceID]bool)
	for i := range p.list {
		if x := &p.list[i]; x.Pool == pool && x.Ended == "" {
			n++
			for _, d := range p.outcome(x).waits() {
				left[d] = true
			}
		}
	}
	return n, slices.Sorted(maps.Keys(left)), nil
}
