package daemon

import (
	"context"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// purged is how far the devices of this node are with what was deleted.
type purged = map[cluster.DeviceID]*cluster.Purged

// followPurges looks what was deleted and how far the devices of this node are with it, for publish to tell,
// until ctx is done. Every node does; a purge that has ended everywhere is ended by whoever looks first.
func (d *daemon) followPurges(ctx context.Context, plane DataPlane) {
	for pause(ctx, lookAroundEvery) == nil {
		list, err := d.manager.LookAtPurges(ctx)
		if err != nil {
			d.log.WithError(err).Debug("purges not looked at")
			continue
		}
		var now purged
		if len(list) > 0 {
			now = plane.Purged(ctx, list)
		}
		d.purged.Store(&now)
	}
}

// addPurged adds to what is published how far devices are with purges.
func (d *daemon) addPurged(st *cluster.NodeStats) {
	now := d.purged.Load()
	for i := range st.Devices {
		if now != nil {
			st.Devices[i].Purged = (*now)[st.Devices[i].Device]
		}
	}
}
