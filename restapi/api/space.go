package api

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Surveyor looks at the devices and the hosts of the node it runs on. The daemon provides it.
type Surveyor interface {
	// VolumeSpace tells what each device keeps of a volume, or why it is missing. They must have the view list
	// of that version.
	VolumeSpace(ctx context.Context, vol cluster.VolumeKey, view uint32) ([]wire.VolumeSpace, error)
	// Connections lists the hosts that are connected to the node, with these connections: all, whoever may see
	// them, and by their subsystems' names only.
	Connections() []wire.Host
}

// surveyTimeout is how long all nodes together may count.
const surveyTimeout = 20 * time.Second

func (s *Server) getVolumeSpace(c *gin.Context) error {
	id, err := uuidParam(c, "volume")
	if err != nil {
		return err
	}
	own := func(ctx context.Context) (wire.VolumeSpace, error) { return s.ownSpace(ctx, id) }
	if forwarded(c) {
		part, err := own(c.Request.Context())
		if err != nil {
			return err
		}
		return answer(c, part)
	}
	// The snapshots first: devices are asked for a list of pins that has all of them.
	out, err := s.o.Manager.SpaceOf(c.Request.Context(), id)
	if err != nil {
		return err
	}
	kept, err := s.o.Manager.Kept(c.Request.Context(), id)
	if err != nil {
		return err
	}
	nodes, err := s.o.Manager.AllNodes(c.Request.Context())
	if err != nil {
		return err
	}
	having := slices.Collect(maps.Values(kept.Devices))
	nodes = slices.DeleteFunc(nodes, func(n wire.Node) bool { return !slices.Contains(having, n.Number) })
	fan(s, c, nodes, surveyTimeout, own, func(_ wire.Node, part wire.VolumeSpace, err error) {
		if err == nil {
			addSpace(&out, &part)
		}
	})
	for device, node := range kept.Devices {
		if !slices.Contains(out.Devices, device) && !slices.ContainsFunc(out.Missing, about(device)) {
			out.Missing = append(out.Missing, wire.Uncounted{Device: device, Node: node,
				Reason: "its node does not answer, or does not serve it"})
		}
	}
	// A pin without record is of a snapshot that is going, or that was taken meanwhile.
	out.Snapshots = slices.DeleteFunc(out.Snapshots, func(x wire.SnapshotSpace) bool {
		return x.Snapshot.IsZero() && !x.Hidden
	})
	slices.Sort(out.Devices)
	slices.SortFunc(out.Missing, func(a, b wire.Uncounted) int { return int(a.Device) - int(b.Device) })
	return answer(c, out)
}

func about(d cluster.DeviceID) func(wire.Uncounted) bool {
	return func(m wire.Uncounted) bool { return m.Device == d }
}

// ownSpace adds up the devices of this node.
func (s *Server) ownSpace(ctx context.Context, id cluster.UUID) (wire.VolumeSpace, error) {
	sum := wire.VolumeSpace{Volume: id, Snapshots: []wire.SnapshotSpace{}, Devices: []cluster.DeviceID{},
		Missing: []wire.Uncounted{}}
	kept, err := s.o.Manager.Kept(ctx, id)
	if err != nil {
		return sum, err
	}
	parts, err := s.o.Surveyor.VolumeSpace(ctx, kept.Key, kept.View)
	if err != nil {
		return sum, refuse(wire.Unavailable, "", "the devices of this node cannot be counted: %v", err)
	}
	for i := range parts {
		addSpace(&sum, &parts[i])
	}
	return sum, nil
}

// addSpace adds what other devices keep. Snapshots are the same if their pins are.
func addSpace(to, from *wire.VolumeSpace) {
	addHolding(&to.Present, from.Present)
	addAmount(&to.Pinned, from.Pinned)
	addAmount(&to.Reclaimable, from.Reclaimable)
	to.Devices = append(to.Devices, from.Devices...)
	to.Missing = append(to.Missing, from.Missing...)
	at := make(map[string]int, len(to.Snapshots))
	for i, x := range to.Snapshots {
		at[x.Pin] = i
	}
	for _, x := range from.Snapshots {
		if i, known := at[x.Pin]; known {
			addHolding(&to.Snapshots[i].Holding, x.Holding)
			continue
		}
		to.Snapshots = append(to.Snapshots, x)
	}
}

func addHolding(to *wire.Holding, from wire.Holding) {
	addAmount(&to.Exclusive, from.Exclusive)
	addAmount(&to.Shared, from.Shared)
}

func addAmount(to *wire.Amount, from wire.Amount) {
	to.Data += from.Data
	to.Raw += from.Raw
}
