package daemon

import "context"

// eraseDeleted has the devices of this node confirm that nothing is left of volumes that were erased, until
// ctx is done. Every node does; an erasure whose last device has failed is ended by whoever looks first.
func (d *daemon) eraseDeleted(ctx context.Context, plane DataPlane) {
	for pause(ctx, lookAroundEvery) == nil {
		list, err := d.manager.PendingErasures(ctx, d.state.Node)
		if err != nil {
			d.log.WithError(err).Debug("erasures not looked at")
			continue
		}
		for _, e := range list {
			log := d.log.WithField("volume", e.Volume)
			done, err := plane.Purge(ctx, e.Key, e.Devices)
			if err != nil {
				log.WithError(err).Warn("not every device could confirm yet that an erased volume is gone")
			}
			if err := d.manager.ConfirmErasure(ctx, e.Volume, done...); err != nil {
				log.WithError(err).Debug("erasure not confirmed")
			}
		}
	}
}
