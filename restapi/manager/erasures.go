package manager

import (
	"context"
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// EraseVolume deletes an encrypted volume for good: its data key goes with its record, so whatever devices
// still hold is noise, and every device that is online confirms that it holds nothing any more. The last of
// them makes the event volume.erased, which says all that. It is refused for what has no key, may be used by
// hosts, or shares its key: with snapshots, clones, or its parent. ifMatch is as for UpdateVolume.
//
// etcd keeps the former record until it is compacted and defragmented, and backups of etcd keep it longer:
// with these and the cluster key of that time the data key could be had.
func (m *Manager) EraseVolume(ctx context.Context, id cluster.UUID, ifMatch string) error {
	return m.decide(ctx, func() error {
		it, rec, err := m.readVolume(ctx, id, ifMatch)
		switch {
		case err != nil:
			return err
		case rec.Encryption == nil:
			return refuse(wire.NotSupported, "erase", "volume %s is not encrypted: there is no key to destroy, and "+
				"what was written may stay readable on the media; delete it without erasing, and wipe the devices", id)
		case len(rec.Hosts) > 0:
			return &Error{Code: wire.VolumeExported, Hosts: rec.Hosts,
				Detail: fmt.Sprintf("volume %s is exported to %d host(s): %v", id, len(rec.Hosts), rec.Hosts)}
		}
		if err := m.soleUser(ctx, &rec); err != nil {
			return err
		}
		txn, err := m.deletion(ctx, it, &rec, false)
		if err != nil {
			return err
		}
		v, err := m.readMap(ctx)
		if err != nil {
			return err
		}
		e := cluster.Erasure{Volume: id, Name: rec.Name, Project: rec.Project, Pool: rec.Pool, Key: rec.Key,
			DataKey: rec.Encryption.DataKey, ClusterKey: rec.Encryption.ClusterKey, Destroyed: m.stamp(),
			Devices: make(map[cluster.DeviceID]string)}
		for _, d := range v.Devices {
			if d.State == cluster.DeviceOnline {
				e.Devices[d.Number] = ""
			}
		}
		key := cluster.KeyErasure(id)
		txn.Put, txn.Blind = append(txn.Put, put(key, e)), append(txn.Blind, key) // belongs to the volume alone
		m.note(&txn, wire.Warning, "volume.key_destroyed", aboutVolume(&rec), rec.Project,
			"volume %s of pool %s deleted, and its data key %s destroyed; %d devices have to confirm", rec.Name,
			rec.Pool, e.DataKey, len(e.Devices))
		_, err = m.store.Commit(ctx, txn)
		return err
	})
}

func decodeErasures(r store.Result) ([]cluster.Erasure, error) {
	out := make([]cluster.Erasure, len(r.Items))
	for i, it := range r.Items {
		var err error
		if out[i], err = decode[cluster.Erasure](it); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ConfirmErasure notes that devices hold nothing any more of a volume that was erased. When all have
// confirmed that are still online, the erasure has ended; repeating it changes nothing. A device that has
// failed or was removed comes back blank, so nobody waits for it.
func (m *Manager) ConfirmErasure(ctx context.Context, volume cluster.UUID, by ...cluster.DeviceID) error {
	return m.decide(ctx, func() error {
		key := cluster.KeyErasure(volume)
		v, err := m.readMap(ctx, store.Key(key))
		if err != nil {
			return err
		}
		it := store.Snapshot{Results: v.extra}.One(0)
		if it.Rev == 0 {
			return nil
		}
		e, err := decode[cluster.Erasure](it)
		if err != nil || e.Ended != "" {
			return err
		}
		news := false
		for _, d := range by {
			if when, asked := e.Devices[d]; asked && when == "" {
				e.Devices[d], news = m.stamp(), true
			}
		}
		confirmed, gone, pending := v.outcome(&e)
		if len(pending) > 0 && !news {
			return nil
		}
		p := put(key, e)
		txn := store.Txn{If: []store.Cond{{Key: key, Rev: it.Rev}}}
		if len(pending) == 0 {
			e.Ended = m.stamp()
			p = put(key, e).Lasting(eventLife)
			m.note(&txn, wire.Info, "volume.erased", about("volume", volume), e.Project, "volume %s of pool %s (%s): "+
				"data key %s, wrapped by cluster key %q, destroyed %s; nothing is left on devices %v, as they confirmed "+
				"by %s; devices %v have failed or were removed meanwhile", e.Name, e.Pool, e.Key, e.DataKey,
				e.ClusterKey, e.Destroyed, confirmed, e.Ended, gone)
		}
		txn.Put = append(txn.Put, p)
		_, err = m.store.Commit(ctx, txn)
		return err
	})
}

// outcome sorts the devices of an erasure.
func (v *view) outcome(e *cluster.Erasure) (confirmed, gone, pending []cluster.DeviceID) {
	for d, when := range e.Devices {
		rec := v.Devices[d]
		switch {
		case when != "":
			confirmed = append(confirmed, d)
		case rec == nil || rec.State != cluster.DeviceOnline:
			gone = append(gone, d)
		default:
			pending = append(pending, d)
		}
	}
	slices.Sort(confirmed)
	slices.Sort(gone)
	slices.Sort(pending)
	return confirmed, gone, pending
}

// PendingErasure is the erasure of a volume that has not ended, and which devices of a node it waits for.
type PendingErasure struct {
	Volume  cluster.UUID
	Key     cluster.VolumeKey
	Devices []cluster.DeviceID
}

// PendingErasures lists the erasures that have not ended, with the devices of a node that they wait for.
func (m *Manager) PendingErasures(ctx context.Context, node cluster.NodeID) ([]PendingErasure, error) {
	v, err := m.readMap(ctx, store.All(cluster.PrefixErasures))
	if err != nil {
		return nil, err
	}
	all, err := decodeErasures(v.extra[0])
	if err != nil {
		return nil, err
	}
	var out []PendingErasure
	for i := range all {
		if all[i].Ended != "" {
			continue
		}
		p := PendingErasure{Volume: all[i].Volume, Key: all[i].Key}
		_, _, pending := v.outcome(&all[i])
		for _, d := range pending {
			if v.Devices[d].Node == node {
				p.Devices = append(p.Devices, d)
			}
		}
		out = append(out, p)
	}
	return out, nil
}

// eraseTask is an erasure that devices have still to confirm.
func eraseTask(e *cluster.Erasure) wire.Task {
	t := task(wire.TaskErase, about("volume", e.Volume), "devices")
	t.Project, t.Total = e.Project, uint64(len(e.Devices))
	for _, when := range e.Devices {
		if when != "" {
			t.Done++
		}
	}
	t.Detail = fmt.Sprintf("data key %s destroyed %s", e.DataKey, e.Destroyed)
	if e.Ended == "" {
		t.State = wire.TaskRunning
	}
	return t
}
