package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// KV is what an Arbiter needs of a store; Etcd and Mem have it.
type KV interface {
	Read(ctx context.Context, queries ...Query) (Snapshot, error)
	Commit(ctx context.Context, t Txn) (int64, error)
}

// Arbiter decides, through compare-and-swap, who owns a volume, what its owners rely on, and what has become
// of its snapshots. A former owner finds that the revision moved and learns that it is former.
type Arbiter struct {
	ways []KV
	turn atomic.Uint32
}

// NewArbiter makes an arbiter whose records are in kv. Further ways lead to the same store; a way that does
// not answer is left for the next one, until that one does not answer either. The first one is best a member
// of the store on this machine: it is up when this process is, while a request that goes to a machine that
// hangs is lost, and whoever takes its volumes over needs an answer at once.
func NewArbiter(kv KV, further ...KV) *Arbiter { return &Arbiter{ways: append([]KV{kv}, further...)} }

// way is how to reach the store now. judge is told the outcome.
func (a *Arbiter) way() (kv KV, judge func(error)) {
	n := a.turn.Load()
	return a.ways[int(n)%len(a.ways)], func(err error) {
		if errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
			a.turn.CompareAndSwap(n, n+1)
		}
	}
}

// Owner reads the owner record of a volume and the revision that the next swap must name. The error wraps
// cluster.ErrNoRecord when the volume does not exist (any more).
func (a *Arbiter) Owner(ctx context.Context, vol cluster.VolumeKey) (cluster.Owner, int64, error) {
	kv, judge := a.way()
	s, err := kv.Read(ctx, Key(cluster.KeyOwner(vol)))
	judge(err)
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

// SwapOwner replaces the owner record if it still has revision rev, and returns its new revision; in the same
// transaction the records of snapshots with, which must still have their revisions, too, are replaced or, if
// they are gone, removed. The error wraps cluster.ErrConflict when someone else was faster or the volume was
// deleted. After any other error the outcome is unknown and Owner tells it.
func (a *Arbiter) SwapOwner(ctx context.Context, vol cluster.VolumeKey, rev int64, next cluster.Owner,
	with ...cluster.SnapshotAt) (int64, error) {
	t, err := swapTxn(vol, rev, next, with)
	if err != nil {
		return 0, fmt.Errorf("swap owner of volume %v: %w", vol, err)
	}
	kv, judge := a.way()
	newRev, err := kv.Commit(ctx, t)
	judge(err)
	if err != nil {
		return 0, fmt.Errorf("swap owner of volume %v: %w", vol, err)
	}
	return newRev, nil
}

// SwapOwners does what SwapOwner does for the records of several volumes, all in one transaction. Their new
// revisions are not told: owners find them.
func (a *Arbiter) SwapOwners(ctx context.Context, swaps []cluster.OwnerSwap,
	with ...cluster.SnapshotAt) error {
	t, err := swapsTxn(swaps, with)
	if err == nil {
		kv, judge := a.way()
		_, err = kv.Commit(ctx, t)
		judge(err)
	}
	if err != nil {
		return fmt.Errorf("swap the owner records of %d volumes: %w", len(swaps), err)
	}
	return nil
}

func swapTxn(vol cluster.VolumeKey, rev int64, next cluster.Owner, with []cluster.SnapshotAt) (Txn, error) {
	return swapsTxn([]cluster.OwnerSwap{{Volume: vol, Revision: rev, Next: next}}, with)
}

func swapsTxn(swaps []cluster.OwnerSwap, with []cluster.SnapshotAt) (t Txn, err error) {
	for _, s := range swaps {
		if err := checkOwner(s.Next); err != nil {
			return t, err
		}
		if s.Revision == 0 {
			return t, cluster.ErrNoRecord
		}
		value, err := json.Marshal(s.Next)
		if err != nil {
			return t, err
		}
		key := cluster.KeyOwner(s.Volume)
		t.If, t.Put = append(t.If, Cond{key, s.Revision}), append(t.Put, Put{Key: key, Value: value})
	}
	for i := range with {
		s := &with[i].Snapshot
		key := cluster.KeySnapshot(s.UUID)
		t.If = append(t.If, Cond{key, with[i].Revision})
		if s.State == cluster.SnapshotGone {
			name := s.NameKey()
			t.Delete, t.Blind = append(t.Delete, key, name), append(t.Blind, name) // the snapshot's alone
			if err := leavePurge(&t, s, swaps); err != nil {
				return t, err
			}
			continue
		}
		if err := s.Validate(); err != nil {
			return Txn{}, fmt.Errorf("snapshot %v: %w", s.UUID, err)
		}
		value, err := json.Marshal(s)
		if err != nil {
			return Txn{}, err
		}
		t.Put = append(t.Put, Put{Key: key, Value: value})
	}
	return t, nil
}

// leavePurge adds to the transaction that takes a snapshot out of its volume's view list that devices have to
// give back what only the snapshot saw. One that was never taken, or that people deleted before, is no news.
func leavePurge(t *Txn, s *cluster.Snapshot, swaps []cluster.OwnerSwap) error {
	i := slices.IndexFunc(swaps, func(x cluster.OwnerSwap) bool { return x.Volume == s.Key })
	if i < 0 || s.Pin == 0 || s.Hidden {
		return nil
	}
	value, err := json.Marshal(cluster.Purge{UUID: s.UUID, Name: s.Name, Project: s.Project, Volume: s.Volume,
		Key: s.Key, Pin: s.Pin, View: swaps[i].Next.View.Version})
	key := cluster.KeyPurge(s.Key, s.Pin)
	t.Put, t.Blind = append(t.Put, Put{Key: key, Value: value}), append(t.Blind, key) // the snapshot's alone
	return err
}

// checkOwner refuses records that no rule allows. What they say is the gateway's to decide.
func checkOwner(o cluster.Owner) error {
	if o.Gateway == 0 {
		return fmt.Errorf("owner record names no gateway")
	}
	if o.Epoch == 0 || o.Epoch > cluster.MaxOwnerEpoch {
		return fmt.Errorf("owner epoch %d is not in 1..%d", o.Epoch, cluster.MaxOwnerEpoch)
	}
	seen := make(map[cluster.DeviceID]bool, len(o.Journal.Members))
	for _, d := range o.Journal.Members {
		if d == 0 || seen[d] {
			return fmt.Errorf("device %d is a journal member twice, or none", d)
		}
		seen[d] = true
	}
	if len(o.Journal.Members) > 0 && o.Journal.Version == 0 {
		return errors.New("the journal has members but no version")
	}
	if err := o.View.Validate(); err != nil {
		return err
	}
	return checkLayout(o.Layout)
}

// checkLayout refuses layouts that leave a group without a table, or that would move one back to an older
// table.
func checkLayout(layout []cluster.Boundary) error {
	for i, b := range layout {
		below := cluster.Boundary{}
		if i > 0 {
			below = layout[i-1]
		}
		switch {
		case b.Cursor > cluster.Groups || b.Cursor < below.Cursor:
			return fmt.Errorf("boundary %d of the layout is at group %d, after %d", i, b.Cursor, below.Cursor)
		case i > 0 && b.Table >= below.Table:
			return fmt.Errorf("boundary %d of the layout leads from table %d to %d", i, below.Table, b.Table)
		}
	}
	if n := len(layout); n > 0 && layout[n-1].Cursor != cluster.Groups {
		return fmt.Errorf("the layout ends at group %d of %d", layout[n-1].Cursor, cluster.Groups)
	}
	return nil
}
