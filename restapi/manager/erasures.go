package manager

import (
	"context"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// EraseVolume deletes an encrypted volume for good: its data key goes with its record, so whatever devices
// still hold is noise, and the purge that follows ends with the event volume.erased, which says that and on
// which devices nothing is left. It is refused for what has no key, may be used by
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
		destroyed := &cluster.DestroyedKey{DataKey: rec.Encryption.DataKey,
			ClusterKey: rec.Encryption.ClusterKey, At: m.stamp()}
		txn, err := m.deletion(ctx, it, &rec, false, destroyed)
		if err != nil {
			return err
		}
		m.note(&txn, wire.Warning, "volume.key_destroyed", aboutVolume(&rec), rec.Project,
			"volume %s of pool %s deleted, and its data key %s destroyed; devices have to confirm", rec.Name,
			rec.Pool, destroyed.DataKey)
		_, err = m.store.Commit(ctx, txn)
		return err
	})
}
