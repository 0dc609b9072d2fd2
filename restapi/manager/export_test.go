package manager

import (
	"context"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// LookAtPurgesAtMost is LookAtPurges with another bound.
func (m *Manager) LookAtPurgesAtMost(ctx context.Context, most int) ([]cluster.PurgeAt, error) {
	return m.lookAtPurges(ctx, most)
}
