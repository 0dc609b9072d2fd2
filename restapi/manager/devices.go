package manager

import (
	"context"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// weightUnit is the bytes per unit of a device's weight.
const weightUnit = 64 << 20

// DeviceAdd registers a device. Its node has formatted it and gives UUID and Size (usable bytes).
type DeviceAdd struct {
	Node cluster.NodeID
	Path string
	UUID cluster.UUID
	Size uint64
}

func (a DeviceAdd) validate() error {
	switch {
	case a.UUID.IsZero():
		return refuse(wire.InvalidField, "uuid", "must be set")
	case a.Size == 0 || a.Size%cluster.BlockSize != 0:
		return refuse(wire.InvalidField, "size_bytes", "%d is no multiple of %d above 0", a.Size, cluster.BlockSize)
	}
	return ValidateDevicePath(a.Path)
}

// ValidateDevicePath refuses what cannot be the path of a disk or file.
func ValidateDevicePath(path string) error {
	if len(path) < 2 || len(path) > 1024 || path[0] != '/' || slices.Contains([]byte(path), 0) {
		return refuse(wire.InvalidField, "path", "%.64q is no absolute path of 2 to 1024 bytes", path)
	}
	return nil
}

// AddDevice gives the device a number; created is false when it had one.
func (m *Manager) AddDevice(ctx context.Context, a DeviceAdd) (dev wire.Device, created bool, err error) {
	if err := a.validate(); err != nil {
		return dev, false, err
	}
	err = m.decide(ctx, func() error {
		v, err := m.readMap(ctx, store.Key(cluster.KeyCounterDevice), store.All(cluster.PrefixStats))
		if err != nil {
			return err
		}
		rec, known, err := v.placeDevice(a)
		if err != nil {
			return err
		}
		created = !known
		if known {
			dev, err = v.device(&rec, v.extra[1])
			return err
		}
		count := store.Snapshot{Results: v.extra}.One(0)
		last, err := counter(count)
		if err != nil {
			return err
		}
		rec.Number = cluster.DeviceID(last + 1)
		txn := v.change()
		v.set(txn, cluster.KeyDevice(rec.Number), rec)
		txn.If = append(txn.If, store.Cond{Key: cluster.KeyCounterDevice, Rev: count.Rev})
		txn.Put = append(txn.Put, put(cluster.KeyCounterDevice, rec.Number))
		m.note(txn, wire.Info, "device.added", about("device", rec.Number), "", "device %d added: %s of node %d",
			rec.Number, rec.Path, rec.Node)
		if err := v.commit(ctx, m.store, txn); err != nil {
			return err
		}
		dev, err = v.device(&rec, store.Result{})
		return err
	})
	return dev, created, err
}

// placeDevice finds the device by its uuid, or makes its record (without number) if the map has room for it.
func (v *view) placeDevice(a DeviceAdd) (rec cluster.Device, known bool, err error) {
	if v.Nodes[a.Node] == nil {
		return rec, false, refuse(wire.InvalidField, "node", "node %d does not exist", a.Node)
	}
	for _, d := range v.Devices {
		switch {
		case d.UUID == a.UUID && d.Node == a.Node && d.Path == a.Path && d.State == cluster.DeviceOnline:
			return *d, true, nil
		case d.UUID == a.UUID:
			return rec, false, refuse(wire.Conflict, "uuid", "is device %d, %s, at %s of node %d",
				d.Number, d.State, d.Path, d.Node)
		case d.Node == a.Node && d.Path == a.Path && d.State == cluster.DeviceOnline:
			return rec, false, refuse(wire.Conflict, "path", "node %d has device %d (%s) there",
				a.Node, d.Number, d.UUID)
		}
	}
	return cluster.Device{UUID: a.UUID, Node: a.Node, Path: a.Path, Size: a.Size,
		Weight: uint32(min(max(a.Size/weightUnit, 1), 1<<32-1)), State: cluster.DeviceOnline}, false, nil
}

// Devices lists devices by number, only those of a node when that is not 0.
func (m *Manager) Devices(ctx context.Context, p Page, node cluster.NodeID) (wire.Page[wire.Device], error) {
	none := wire.Page[wire.Device]{}
	v, err := m.readMap(ctx, store.All(cluster.PrefixStats))
	if err != nil {
		return none, err
	}
	var all []wire.Device
	for _, d := range v.SortedDevices() {
		if node != 0 && d.Node != node {
			continue
		}
		w, err := v.device(d, v.extra[0])
		if err != nil {
			return none, err
		}
		all = append(all, w)
	}
	return cut("devices", p, all, func(d wire.Device) uint32 { return uint32(d.Number) })
}

// Device shows one device.
func (m *Manager) Device(ctx context.Context, number cluster.DeviceID) (wire.Device, error) {
	v, err := m.readMap(ctx, store.Key(cluster.KeyDevice(number)), store.All(cluster.PrefixStats))
	if err != nil {
		return wire.Device{}, err
	}
	d := v.Devices[number]
	if d == nil {
		return wire.Device{}, notFound("device", number)
	}
	return v.device(d, v.extra[1])
}

// device draws a device with what its node published.
func (v *view) device(d *cluster.Device, published store.Result) (wire.Device, error) {
	w := wire.Device{Versioned: v.version(cluster.KeyDevice(d.Number)), Number: d.Number, UUID: d.UUID,
		Node: d.Node, Path: d.Path, Size: d.Size, Weight: d.Weight,
		State: d.State, ScrubPolicy: scrubPolicy(d.Scrub)}
	stats, err := readStats(published)
	if err != nil {
		return w, err
	}
	st := stats[d.Node]
	for _, x := range st.Devices {
		if x.Device == d.Number {
			w.Stats = &wire.DeviceStats{Total: x.Total, Free: min(x.Free, x.Total),
				Used:   x.Total - min(x.Free, x.Total),
				Engine: x.Engine, VolatileCache: x.VolatileCache,
				Healthy: x.Healthy, Error: x.Error, Updated: st.Updated, Bad: x.Bad, Scrub: scrubbing(x.Scrub)}
		}
	}
	return w, nil
}
