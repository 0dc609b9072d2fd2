package manager

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// maxPoolsOfDevice bounds the pools that one transaction takes a failed device from.
const maxPoolsOfDevice = 100

// UpdateDevice declares a device failed or removes it. A repetition changes nothing; no state leads back to
// online: a device that was lost or removed comes back blank, under a new number. ifMatch, when not empty,
// is the ETag that the device must still have.
func (m *Manager) UpdateDevice(ctx context.Context, number cluster.DeviceID, r wire.DeviceUpdate,
	ifMatch string) (dev wire.Device, err error) {
	if r.State != cluster.DeviceFailed && r.State != cluster.DeviceRemoved {
		return dev, refuse(wire.InvalidField, "state", "%q is neither %s nor %s", r.State, cluster.DeviceFailed,
			cluster.DeviceRemoved)
	}
	err = m.decide(ctx, func() error {
		v, err := m.readMap(ctx, store.All(cluster.PrefixStats), store.All(cluster.PrefixVolumes),
			store.All(cluster.PrefixOwners))
		if err != nil {
			return err
		}
		d := v.Devices[number]
		if d == nil {
			return notFound("device", number)
		}
		if err := matches(ifMatch, v.revs[cluster.KeyDevice(number)]); err != nil {
			return err
		}
		if d.State != r.State && d.State != cluster.DeviceRemoved {
			if d, err = m.changeState(ctx, v, d, r.State); err != nil {
				return err
			}
		}
		if d.State != r.State {
			return refuse(wire.Conflict, "state", "device %d is %s", number, d.State)
		}
		dev, err = v.device(d, v.extra[0])
		return err
	})
	return dev, err
}

// changeState commits another state of a device, for failed together with its leaving all pools. extra[1] and
// extra[2] of the view are all volumes and owners.
func (m *Manager) changeState(ctx context.Context, v *view, d *cluster.Device,
	state cluster.DeviceState) (*cluster.Device, error) {
	txn := v.change()
	if state == cluster.DeviceFailed {
		if err := v.leaveAllPools(txn, d.Number); err != nil {
			return nil, err
		}
	} else if err := v.unused(d.Number, v.extra[1], v.extra[2]); err != nil {
		return nil, err
	}
	next := *d
	next.State = state
	v.set(txn, cluster.KeyDevice(d.Number), next)
	severity := wire.Info
	if state == cluster.DeviceFailed {
		severity = wire.Warning
	}
	m.note(txn, severity, "device."+string(state), about("device", d.Number), "",
		"device %d of node %d is %s now", d.Number, d.Node, state)
	return &next, v.commit(ctx, m.store, txn)
}

// leaveAllPools adds the end of a device in all its pools to a transaction.
func (v *view) leaveAllPools(txn *store.Txn, d cluster.DeviceID) error {
	pools := slices.DeleteFunc(v.sortedPools(), func(p *cluster.Pool) bool {
		return !slices.Contains(p.Devices(), d)
	})
	if len(pools) > maxPoolsOfDevice {
		return refuse(wire.NotSupported, "state", "%d pools are on the device, at most %d are possible: "+
			"remove it from some first", len(pools), maxPoolsOfDevice)
	}
	for _, p := range pools {
		c := cluster.Change{Kind: cluster.ChangeFail, Members: []cluster.Member{{Device: d}}}
		if _, err := v.append(txn, p, c); err != nil {
			var e *Error
			if errors.As(err, &e) {
				return refuse(e.Code, "state", "pool %q needs it: %s. Add a device to the pool first", p.Name, e.Detail)
			}
			return err
		}
	}
	return nil
}

// unused refuses while a pool, or a volume on its way, still relies on a device.
func (v *view) unused(d cluster.DeviceID, volumes, owners store.Result) error {
	left := make(map[string]uint32) // pool -> the table from which on the device is not in it
	for _, p := range v.sortedPools() {
		if slices.Contains(p.Devices(), d) {
			return refuse(wire.Conflict, "state", "pool %q is on it: remove it from there first", p.Name)
		}
		for i, c := range p.Changes {
			if slices.ContainsFunc(c.Members, func(m cluster.Member) bool { return m.Device == d }) {
				left[p.Name] = uint32(i + 1)
			}
		}
	}
	poolOf := make(map[string]string, len(volumes.Items)) // owner key -> pool
	for _, it := range volumes.Items {
		rec, err := decode[cluster.Volume](it)
		if err != nil {
			return err
		}
		poolOf[cluster.KeyOwner(rec.Key)] = rec.Pool
	}
	for _, it := range owners.Items {
		o, err := decode[cluster.Owner](it)
		if err != nil {
			return err
		}
		if table, was := left[poolOf[it.Key]]; was && relies(&o, d, table) {
			return refuse(wire.Conflict, "state", "volume %s of pool %q has not moved away from it yet",
				strings.TrimPrefix(it.Key, cluster.PrefixOwners), poolOf[it.Key])
		}
	}
	return nil
}

// relies reports whether a volume may have something on a device that its pool's tables do not have from that
// number on. Of a volume whose owner has not recorded a layout yet nothing is known.
func relies(o *cluster.Owner, d cluster.DeviceID, table uint32) bool {
	settled := len(o.Layout) == 1 && o.Layout[0].Table >= table
	return o.Epoch > 0 && (!settled || slices.Contains(o.Journal.Members, d))
}
