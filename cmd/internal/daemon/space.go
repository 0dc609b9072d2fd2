package daemon

import (
	"context"
	"errors"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/node"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// VolumeSpace implements api.Surveyor.
func (d *daemon) VolumeSpace(ctx context.Context, vol cluster.VolumeKey, view uint32) ([]wire.VolumeSpace,
	error) {
	p := d.plane.Load()
	if p == nil {
		return nil, errors.New("the node has no data plane yet")
	}
	parts, err := (*p).Space(ctx, vol, view)
	if err != nil {
		return nil, err
	}
	out := make([]wire.VolumeSpace, len(parts))
	for i := range parts {
		out[i] = d.drawSpace(&parts[i])
	}
	return out, nil
}

// drawSpace is what one device keeps in the form of the API. Why it cannot be counted is said in words that
// do not show its disk.
func (d *daemon) drawSpace(s *node.DeviceSpace) wire.VolumeSpace {
	switch {
	case errors.Is(s.Err, node.ErrBehind):
		return d.uncounted(s.Device, node.ErrBehind.Error())
	case errors.Is(s.Err, context.DeadlineExceeded):
		return d.uncounted(s.Device, "counting it takes too long")
	case s.Err != nil:
		return d.uncounted(s.Device, "is not open")
	}
	out := wire.VolumeSpace{Present: holding(s.Present), Pinned: amount(s.Pinned),
		Reclaimable: amount(s.Reclaimable), Devices: []cluster.DeviceID{s.Device}}
	for _, pin := range s.Pins {
		out.Snapshots = append(out.Snapshots, wire.SnapshotSpace{Pin: pin.Pin.String(),
			Holding: holding(pin.Holding)})
	}
	return out
}

func (d *daemon) uncounted(id cluster.DeviceID, why string) wire.VolumeSpace {
	return wire.VolumeSpace{Missing: []wire.Uncounted{{Device: id, Node: d.state.Node, Reason: why}}}
}

func holding(h pagemap.Holding) wire.Holding {
	return wire.Holding{Exclusive: amount(h.Exclusive), Shared: amount(h.Shared)}
}

func amount(b pagemap.Blocks) wire.Amount {
	return wire.Amount{Data: b.Data * cluster.BlockSize, Raw: (b.Data + b.Parity) * cluster.BlockSize}
}
