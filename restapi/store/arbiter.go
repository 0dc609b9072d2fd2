package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// KV is what an Arbiter needs of a store; Etcd and Mem have it.
type KV interface {
	Read(ctx context.Context, queries ...Query) (Snapshot, error)
	Commit(ctx context.Context, t Txn) (int64, error)
}

// Arbiter decides, through compare-and-swap, who owns a volume and which devices are out for it. A former
// owner finds that the revision moved and learns that it is former.
type Arbiter struct {
	kv KV
}

// NewArbiter makes an arbiter whose records are in kv.
func NewArbiter(kv KV) *Arbiter { return &Arbiter{kv: kv} }

// Owner reads the owner record of a volume and the revision that the next swap must name. The error wraps
// cluster.ErrNoRecord when the volume does not exist (any more).
func (a *Arbiter) Owner(ctx context.Context, vol cluster.VolumeKey) (cluster.Owner, int64, error) {
	s, err := a.kv.Read(ctx, Key(cluster.KeyOwner(vol)))
	if err != nil {
		return cluster.Owner{}, 0, fmt.Errorf("owner of volume %v: %w", vol, err)
	}
	it := s.One(0)
	if it.Rev == 0 {
		return cluster.Owner{}, 0, fmt.Errorf("owner of volume %v: %w", vol, cluster.ErrNoRecord)
	}
	var o cluster.Owner
	if err := json.Unmarshal(it.Value, &o); err != nil {
		return cluster.Owner{}, 0, fmt.Errorf("owner of volume %v: %w", vol, err)
	}
	return o, it.Rev, nil
}

// SwapOwner replaces the owner record if it still has revision rev, and returns its new revision. The error
// wraps cluster.ErrConflict when someone else was faster or the volume was deleted. After any other error the
// outcome is unknown and Owner tells it.
func (a *Arbiter) SwapOwner(ctx context.Context, vol cluster.VolumeKey, rev int64,
	next cluster.Owner) (int64, error) {
	if err := checkOwner(next); err != nil {
		return 0, fmt.Errorf("swap owner of volume %v: %w", vol, err)
	}
	value, err := json.Marshal(next)
	if err != nil {
		return 0, fmt.Errorf("swap owner of volume %v: %w", vol, err)
	}
	if rev == 0 {
		return 0, fmt.Errorf("swap owner of volume %v: %w", vol, cluster.ErrNoRecord)
	}
	key := cluster.KeyOwner(vol)
	newRev, err := a.kv.Commit(ctx, Txn{If: []Cond{{key, rev}}, Put: []Put{{key, value}}})
	if err != nil {
		return 0, fmt.Errorf("swap owner of volume %v: %w", vol, err)
	}
	return newRev, nil
}

// checkOwner refuses records that no rule allows. What they say is the gateway's to decide.
func checkOwner(o cluster.Owner) error {
	if o.Gateway == 0 {
		return fmt.Errorf("owner record names no gateway")
	}
	if o.Epoch == 0 || o.Epoch > cluster.MaxOwnerEpoch {
		return fmt.Errorf("owner epoch %d is not in 1..%d", o.Epoch, cluster.MaxOwnerEpoch)
	}
	seen := make([]cluster.DeviceID, 0, len(o.Out))
	for _, x := range o.Out {
		if slices.Contains(seen, x.Device) {
			return fmt.Errorf("device %d is out twice", x.Device)
		}
		seen = append(seen, x.Device)
	}
	return nil
}
