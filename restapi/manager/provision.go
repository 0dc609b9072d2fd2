package manager

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// provision adds to a transaction that changes a volume, makes it (no was) or ends it (no is), what its pool
// is asked for then, and refuses more than the pool takes. Less is never refused.
func (m *Manager) provision(ctx context.Context, t *store.Txn, was, is *cluster.Volume) error {
	return m.provisionPool(ctx, t, poolOf(was, is), was.Provisioned(), is.Provisioned())
}

// provisionPool does so for several volumes of a pool.
func (m *Manager) provisionPool(ctx context.Context, t *store.Txn, pool string,
	before, after cluster.Provisioned) error {
	if before == after {
		return nil
	}
	now, rev, err := m.provisioned(ctx, pool)
	if err != nil {
		return err
	}
	next := now.Minus(before).Plus(after)
	if after.Thin > before.Thin || after.Thick > before.Thick {
		if err := m.takes(ctx, pool, next); err != nil {
			return err
		}
	}
	key := cluster.KeyProvisioned(pool)
	t.If = append(t.If, store.Cond{Key: key, Rev: rev})
	t.Put = append(t.Put, put(key, next))
	return nil
}

func poolOf(was, is *cluster.Volume) string {
	if is != nil {
		return is.Pool
	}
	return was.Pool
}

// provisioned reads what the volumes of a pool ask for now. While nobody has counted it is counted here.
func (m *Manager) provisioned(ctx context.Context, pool string) (sum cluster.Provisioned, rev int64,
	err error) {
	key := cluster.KeyProvisioned(pool)
	read, err := m.store.Read(ctx, store.Key(key))
	if err != nil {
		return sum, 0, err
	}
	if it := read.One(0); it.Rev != 0 {
		sum, err = decode[cluster.Provisioned](it)
		return sum, it.Rev, err
	}
	if read, err = m.store.Read(ctx, store.Key(key), store.All(cluster.PrefixVolumes)); err != nil {
		return sum, 0, err
	}
	if read.One(0).Rev != 0 {
		return sum, 0, fmt.Errorf("count the volumes of pool %q: %w", pool, cluster.ErrConflict)
	}
	for _, it := range read.Results[1].Items {
		rec, err := decode[cluster.Volume](it)
		if err != nil {
			return sum, 0, err
		}
		if rec.Pool == pool {
			sum = sum.Plus(rec.Provisioned())
		}
	}
	return sum, 0, nil
}

// takes refuses what a pool does not take.
func (m *Manager) takes(ctx context.Context, pool string, want cluster.Provisioned) error {
	read, err := m.store.Read(ctx, store.Key(cluster.KeyPool(pool)))
	if err != nil || read.One(0).Rev == 0 {
		return err // no pool: refused elsewhere
	}
	p, err := decode[cluster.Pool](read.One(0))
	if err != nil || p.Overcommit == 0 && want.Thick == 0 {
		return err
	}
	v, err := m.readMap(ctx, store.All(cluster.PrefixStats))
	if err != nil {
		return err
	}
	stats, err := readStats(v.extra[0])
	if err != nil {
		return err
	}
	for n, st := range stats { // a device that is down publishes no size: that of its record counts
		st.Devices = slices.DeleteFunc(st.Devices, func(d cluster.DeviceStats) bool { return d.Total == 0 })
		stats[n] = st
	}
	total := v.capacity(&p, stats).Total
	switch {
	case p.Fits(want, total):
		return nil
	case want.Thick > total:
		return refuse(wire.PoolOvercommitted, "", "pool %q holds %d bytes, its thick volumes would need %d; add "+
			"devices to it", pool, total, want.Thick)
	}
	return refuse(wire.PoolOvercommitted, "", "pool %q holds %d bytes, of which %d are set aside for thick "+
		"volumes; its thin volumes would have %d, which is more than its over-commit ratio %g of the rest; add "+
		"devices, or raise the ratio", pool, total, want.Thick, want.Thin, p.Overcommit)
}

// asProvisioned settles whether a new volume is thick. snap is what readForCreate has read.
func asProvisioned(snap store.Snapshot, rec *cluster.Volume, asked string) error {
	if snap.One(1).Rev == 0 {
		return nil // no pool: refused by makeVolume
	}
	pool, err := decode[cluster.Pool](snap.One(1))
	rec.Thick = thick(asked, &pool)
	return err
}

// thick tells whether a volume is to be thick: as asked, else as its pool says.
func thick(asked string, pool *cluster.Pool) bool {
	if asked == "" {
		return pool.Thick
	}
	return asked == wire.Thick
}

func validProvisioning(asked string) error {
	switch asked {
	case "", wire.Thin, wire.Thick:
		return nil
	}
	return refuse(wire.InvalidField, "provisioning", "%q is neither %s nor %s", asked, wire.Thin, wire.Thick)
}

func provisioning(thick bool) string {
	if thick {
		return wire.Thick
	}
	return wire.Thin
}

func drawVolumePolicy(rec *cluster.Volume) wire.VolumePolicy {
	return wire.VolumePolicy{Provisioning: provisioning(rec.Thick), ReadOnly: rec.ReadOnly,
		QoS: (*wire.QoS)(rec.QoS), Home: rec.Home, Compression: cmp.Or(rec.Compression, cluster.CompressionNone)}
}

// UpdatePool changes what r names of a pool; the rest stays. A ratio below what its volumes ask for takes
// nothing away; it only stops growth. ifMatch, when not empty, is the ETag that the pool must still have.
func (m *Manager) UpdatePool(ctx context.Context, name string, r wire.PoolUpdate, ifMatch string) (
	pool wire.Pool, err error,
) {
	if err := validProvisioning(r.Provisioning); err != nil {
		return pool, err
	}
	err = m.decide(ctx, func() error {
		v, c, err := m.readPools(ctx)
		if err != nil {
			return err
		}
		have := v.Pools[name]
		if have == nil {
			return notFound("pool", name)
		}
		if err := matches(ifMatch, v.revs[cluster.KeyPool(name)]); err != nil {
			return err
		}
		p := *have
		if r.Overcommit != nil {
			p.Overcommit = *r.Overcommit
		}
		p.Thick = thick(r.Provisioning, have)
		if r.Compression != "" {
			p.Compression = orNone(r.Compression)
		}
		if p.Locality, err = v.localityAfter(have, r); err != nil {
			return err
		}
		if err := p.ValidatePolicy(); err != nil {
			return invalid(err, "overcommit", "overcommit_ratio")
		}
		if p.Overcommit != have.Overcommit || p.Thick != have.Thick || p.Compression != have.Compression ||
			!same(p.Locality, have.Locality) {
			txn := v.change()
			v.set(txn, cluster.KeyPool(name), p)
			m.note(txn, wire.Info, "pool.updated", about("pool", name), "",
				"pool %s: volumes are %s, compression %s, home %s, unless they say otherwise; balanced: %v; "+
					"over-commit ratio %g (0: not bounded)", name, provisioning(p.Thick),
				cmp.Or(p.Compression, cluster.CompressionNone), cmp.Or(p.HomeOf(&cluster.Volume{}), "nowhere"),
				p.Balances(), p.Overcommit)
			if err := v.commit(ctx, m.store, txn); err != nil {
				return err
			}
		}
		pool = v.pool(&p, c)
		return nil
	})
	return pool, err
}

// provisioned checks that what is counted for each pool is what its volumes have.
func (a *audit) provisioned(volumes, counted store.Result) error {
	sums := make(map[string]cluster.Provisioned)
	for _, it := range volumes.Items {
		rec, err := decode[cluster.Volume](it)
		if err != nil {
			return err
		}
		key := cluster.KeyProvisioned(rec.Pool)
		sums[key] = sums[key].Plus(rec.Provisioned())
	}
	for _, it := range counted.Items {
		have, err := decode[cluster.Provisioned](it)
		if err != nil {
			return err
		}
		a.say(have == sums[it.Key], "%s counts %+v, the volumes have %+v", it.Key, have, sums[it.Key])
	}
	return nil
}
