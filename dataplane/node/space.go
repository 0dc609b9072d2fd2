package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
)

const (
	// listPatience is how long a device may take to get the view list that the owner has just recorded.
	listPatience = time.Second
	// listLook is the pause before it is looked at again.
	listLook = 20 * time.Millisecond
)

// ErrBehind is of a device that would count for other snapshots than there are.
var ErrBehind = errors.New("has not got the newest list of snapshots from the volume's owner yet")

// DeviceSpace is what one device keeps of a volume, and for whom.
type DeviceSpace struct {
	Device cluster.DeviceID
	pagemap.Space
	Err error // why it could not be counted; nil: it was
}

// Space counts what each device of this node keeps of a volume, one device after the other. view is the
// version of the view list that they must have for that.
func (n *Node) Space(ctx context.Context, vol cluster.VolumeKey, view uint32) ([]DeviceSpace, error) {
	s := n.state.Load()
	if s == nil || s.Volumes[vol] == nil || s.Map.Pools[s.Volumes[vol].Pool] == nil {
		return nil, fmt.Errorf("node %d does not know volume %v yet", n.o.Self, vol)
	}
	select {
	case n.disks.survey <- struct{}{}: // one at a time: I/O comes first
		defer func() { <-n.disks.survey }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	data := uint8(s.Map.Pools[s.Volumes[vol].Pool].Data)
	var out []DeviceSpace
	for _, d := range n.disks.stores() {
		one := DeviceSpace{Device: d.id, Err: d.err}
		if d.store != nil {
			one.Space, one.Err = survey(ctx, d.store, vol, view, data)
		}
		out = append(out, one)
	}
	return out, nil
}

// survey counts on one device, once it has the list.
func survey(ctx context.Context, store *pagestore.Store, vol cluster.VolumeKey, view uint32,
	data uint8) (pagemap.Space, error) {
	late := time.After(listPatience)
	for {
		space, err := store.Survey(ctx, vol, data)
		if err != nil || !space.Known || space.View >= view {
			return space, err
		}
		select {
		case <-ctx.Done():
			return pagemap.Space{}, ctx.Err()
		case <-late:
			return pagemap.Space{}, ErrBehind
		case <-time.After(listLook):
		}
	}
}

// servedStore is a device of this node and its store, or why it has none.
type servedStore struct {
	id    cluster.DeviceID
	store *pagestore.Store
	err   error
}

// stores lists the devices of this node by number.
func (d *disks) stores() []servedStore {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]servedStore, 0, len(d.mu.open))
	for id, k := range d.mu.open {
		one := servedStore{id: id, store: k.store, err: k.err}
		if one.store == nil && one.err == nil {
			one.err = errors.New("is being opened")
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b servedStore) int { return cmp.Compare(a.id, b.id) })
	return out
}
