package manager

import (
	"context"
	"reflect"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// SetPoolQoS replaces what bounds the volumes of a pool; their gateways follow at once. ifMatch, when not
// empty, is the ETag that the pool must still have.
func (m *Manager) SetPoolQoS(ctx context.Context, name string, q wire.PoolQoS, ifMatch string) (
	pool wire.Pool, err error,
) {
	want := &cluster.PoolQoS{Total: (*cluster.QoS)(q.Total), Volume: (*cluster.QoS)(q.Volume)}
	if err := want.Validate(); err != nil {
		return pool, invalid(err)
	}
	if want.Total.None() {
		want.Total = nil
	}
	if want.Volume.None() {
		want.Volume = nil
	}
	if *want == (cluster.PoolQoS{}) {
		want = nil
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
		p.QoS = want
		if !reflect.DeepEqual(have.QoS, want) {
			txn := v.change()
			v.set(txn, cluster.KeyPool(name), p)
			if err := v.commit(ctx, m.store, txn); err != nil {
				return err
			}
		}
		pool = v.pool(&p, c)
		return nil
	})
	return pool, err
}

// SetVolumeQoS replaces what bounds a volume; nil: the pool's word counts again. Its gateway follows at once.
// ifMatch, when not empty, is the ETag that the volume must still have.
func (m *Manager) SetVolumeQoS(ctx context.Context, id cluster.UUID, q *wire.QoS, ifMatch string) (
	vol wire.Volume, err error,
) {
	want := (*cluster.QoS)(q)
	if err := want.Validate("qos"); err != nil {
		return vol, invalid(err)
	}
	err = m.decide(ctx, func() error {
		it, rec, err := m.readVolume(ctx, id, ifMatch)
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(rec.QoS, want) {
			rec.QoS = want
			p := put(it.Key, rec)
			if it.Rev, err = m.store.Commit(ctx, store.Txn{If: []store.Cond{{Key: it.Key, Rev: it.Rev}},
				Put: []store.Put{p}}); err != nil {
				return err
			}
			it.Value = p.Value
		}
		vol, err = m.drawVolume(ctx, it)
		return err
	})
	return vol, err
}

func drawPoolQoS(q *cluster.PoolQoS) *wire.PoolQoS {
	if q == nil {
		return nil
	}
	return &wire.PoolQoS{Total: (*wire.QoS)(q.Total), Volume: (*wire.QoS)(q.Volume)}
}
