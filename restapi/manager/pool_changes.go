package manager

import (
	"context"
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// ChangePool adds devices to a pool, takes them from it or gives them another weight; the volumes move by
// themselves. What is so already is left alone, so a repetition changes nothing. ifMatch, when not empty, is
// the ETag that the pool must still have.
func (m *Manager) ChangePool(ctx context.Context, name string, r wire.PoolChange,
	ifMatch string) (wire.Pool, error) {
	if err := validateChange(&r); err != nil {
		return wire.Pool{}, err
	}
	var pool wire.Pool
	err := m.decide(ctx, func() error {
		v, c, err := m.readPools(ctx)
		if err != nil {
			return err
		}
		p := v.Pools[name]
		if p == nil {
			return notFound("pool", name)
		}
		if err := matches(ifMatch, v.revs[cluster.KeyPool(name)]); err != nil {
			return err
		}
		change, err := v.changeOf(p, r)
		if err != nil {
			return err
		}
		if len(change.Members) > 0 {
			txn := v.change()
			next, err := v.append(txn, p, change)
			if err != nil {
				return err
			}
			before, after := v.capacity(p, c.stats), v.capacity(next, c.stats)
			if r.Kind == cluster.ChangeRemove && after.Total < before.Used {
				return refuse(wire.Conflict, "devices", "the pool holds %d bytes%s, and would have room for %d then",
					before.Used, comingBack(before), after.Total)
			}
			m.note(txn, wire.Info, "pool.changed", about("pool", name), "", "pool %s: %s of devices %v", name,
				r.Kind, r.Devices)
			if err := v.commit(ctx, m.store, txn); err != nil {
				return err
			}
			p = next
		}
		pool = v.pool(p, c)
		return nil
	})
	return pool, err
}

// comingBack says what of the space that is used is on its way back: waiting may be enough.
func comingBack(c wire.Capacity) string {
	if c.Returning == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d of them of deleted volumes, which devices are giving back)", c.Returning)
}

func validateChange(r *wire.PoolChange) error {
	switch r.Kind {
	case cluster.ChangeAdd, cluster.ChangeRemove:
		if r.Weight != 0 {
			return refuse(wire.InvalidField, "weight", "is given only to reweight; a device joins with its own")
		}
	case cluster.ChangeReweight:
		if r.Weight < 1 || r.Weight > cluster.MaxWeight {
			return refuse(wire.InvalidField, "weight", "%d is not from 1 to %d", r.Weight, cluster.MaxWeight)
		}
	case cluster.ChangeFail:
		return refuse(wire.NotSupported, "kind",
			"a device fails for all its pools: set its state to %q instead", cluster.DeviceFailed)
	default:
		return refuse(wire.InvalidField, "kind", "%q is none of add, remove, reweight", r.Kind)
	}
	if len(r.Devices) == 0 {
		return refuse(wire.InvalidField, "devices", "must name a device")
	}
	if len(r.Devices) > cluster.MaxMembers {
		return refuse(wire.InvalidField, "devices", "names more than %d devices", cluster.MaxMembers)
	}
	sorted := slices.Sorted(slices.Values(r.Devices))
	if len(slices.Compact(slices.Clone(sorted))) != len(sorted) {
		return refuse(wire.InvalidField, "devices", "names a device twice")
	}
	r.Devices = sorted // so that the table does not depend on how a request was typed
	return nil
}

// changeOf is what of a request is not so yet.
func (v *view) changeOf(p *cluster.Pool, r wire.PoolChange) (cluster.Change, error) {
	c := cluster.Change{Kind: r.Kind}
	roster, err := p.Roster()
	if err != nil {
		return c, fmt.Errorf("pool %q: %w", p.Name, err)
	}
	for _, id := range r.Devices {
		i, known := roster.At(id)
		present := known && roster.Members[i].Weight > 0
		d := v.Devices[id]
		switch {
		case d == nil:
			return c, refuse(wire.InvalidField, "devices", "device %d does not exist", id)
		case r.Kind == cluster.ChangeAdd && present:
		case r.Kind == cluster.ChangeAdd && known:
			return c, refuse(wire.Conflict, "devices", "device %d has left the pool; it can come back only as a "+
				"device of a new number", id)
		case r.Kind == cluster.ChangeAdd && d.State != cluster.DeviceOnline:
			return c, refuse(wire.InvalidField, "devices", "device %d is %s", id, d.State)
		case r.Kind == cluster.ChangeAdd:
			members, err := v.Members([]cluster.DeviceID{id})
			if err != nil {
				return c, invalid(err)
			}
			c.Members = append(c.Members, members...)
		case !known:
			return c, refuse(wire.InvalidField, "devices", "device %d does not belong to the pool", id)
		case r.Kind == cluster.ChangeReweight && !present:
			return c, refuse(wire.InvalidField, "devices", "device %d has left the pool", id)
		case r.Kind == cluster.ChangeReweight && roster.Members[i].Weight == r.Weight:
		case present:
			c.Members = append(c.Members, cluster.Member{Device: id, Weight: r.Weight})
		}
	}
	return c, nil
}

// append adds a pool with one more change to a transaction, if its devices still are enough then.
func (v *view) append(t *store.Txn, p *cluster.Pool, c cluster.Change) (*cluster.Pool, error) {
	next := *p
	next.Changes = append(slices.Clone(p.Changes), c)
	roster, err := next.Roster()
	if err != nil {
		return nil, invalid(err, "members", "devices")
	}
	if err := enoughDomains(&next, roster.Present()); err != nil {
		return nil, err
	}
	v.set(t, cluster.KeyPool(p.Name), next)
	return &next, nil
}
