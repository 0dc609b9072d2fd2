package node

import (
	"context"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
)

// Purged says of the devices of this node that are served how far they are with purges, as they are on the
// devices durably. Devices that hold anything of a deleted volume are told again to drop it, in the
// background until ctx is done.
func (n *Node) Purged(ctx context.Context, purges []cluster.PurgeAt) map[cluster.DeviceID]*cluster.Purged {
	s := n.state.Load()
	if s == nil {
		return nil
	}
	out := make(map[cluster.DeviceID]*cluster.Purged)
	missed := false
	for _, d := range n.disks.stores() {
		if d.store == nil {
			continue
		}
		left := leftovers{state: s, store: d.store, dropping: d.store.Dropping()}
		out[d.id] = cluster.PurgedOf(purges, left.of)
		if d.store.Closed() { // it knew nothing any more
			delete(out, d.id)
		}
		missed = missed || left.missed
	}
	if missed {
		n.disks.purgeAgain(ctx)
	}
	return out
}

// purgeAgain is purge, for who does not hold d.mu.
func (d *disks) purgeAgain(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.purge(ctx)
}

// leftovers looks for what a device has still to give back.
type leftovers struct {
	state    *cluster.State
	store    *pagestore.Store
	dropping map[cluster.VolumeKey]uint64
	missed   bool // something of a deleted volume is there that was not dropped
}

// of tells whether there is anything, and how many bytes as far as that is known.
func (l *leftovers) of(p *cluster.Purge) (bytes uint64, some bool) {
	v, known := l.store.Volume(p.Key)
	if p.Pin != 0 { // a device without the view list keeps what it has to, and says nothing of it
		return 0, known && v.Blocks > 0 && (v.Sweeping || v.View.Version < p.View)
	}
	blocks, dropped := l.dropping[p.Key]
	deleted := l.state.Deleted(p.Key)
	l.missed = l.missed || known && deleted
	return (v.Blocks + blocks) * cluster.BlockSize, known || dropped || !deleted
}
