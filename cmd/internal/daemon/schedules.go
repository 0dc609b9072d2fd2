package daemon

import (
	"context"
	"errors"

	"github.com/ashlar-storage/ashlar/restapi/store"
)

// runSchedules has snapshots taken that are due, and those removed that are not to be kept, until ctx is
// done. Every node does; who is first does it. While etcd does not answer nothing is lost but time.
func (d *daemon) runSchedules(ctx context.Context) {
	for pause(ctx, lookAroundEvery) == nil {
		err := d.manager.RunSchedules(ctx, d.state.Node)
		log := d.log.WithError(err)
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, store.ErrUnavailable):
			log.Debug("schedules of snapshots are not looked at")
		default:
			log.Warn("not all schedules of snapshots could be run; they are tried again")
		}
	}
}
