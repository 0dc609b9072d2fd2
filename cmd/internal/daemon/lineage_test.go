package daemon

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/initiator"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// attach lets the host use a volume and connects it.
func (w *whole) attach(v wire.Volume) *initiator.Volume {
	w.t.Helper()
	if _, err := w.c.PutExport(w.ctx, v.ID, testHost); err != nil {
		w.t.Fatal(err)
	}
	cfg := initiator.VolumeConfig{Portals: []string{w.o.Listen.Hosts}}
	cfg.SubNQN, cfg.HostNQN, cfg.HostID = v.NQN, testHost, [16]byte{1}
	open, err := initiator.Open(w.ctx, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return open
}

// attachSnapshot lets the host read a snapshot and connects it.
func (w *whole) attachSnapshot(s wire.Snapshot) *initiator.Volume {
	w.t.Helper()
	x, err := w.c.PutSnapshotExport(w.ctx, s.ID, testHost)
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := initiator.VolumeConfig{Portals: []string{w.o.Listen.Hosts}}
	cfg.SubNQN, cfg.HostNQN, cfg.HostID = x.NQN, testHost, [16]byte{1}
	open, err := initiator.Open(w.ctx, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return open
}

// put writes a megabyte of a stamp as a host, then detaches.
func (w *whole) put(v wire.Volume, at int64, stamp byte) {
	w.t.Helper()
	open := w.attach(v)
	if err := open.Write(w.ctx, bytes.Repeat([]byte{stamp}, 1<<20), at); err != nil {
		w.t.Fatal(err)
	}
	w.detach(v, open)
}

func (w *whole) detach(v wire.Volume, open *initiator.Volume) {
	w.t.Helper()
	_ = open.Close()
	if err := w.c.DeleteExports(w.ctx, v.ID); err != nil {
		w.t.Fatal(err)
	}
}

// wants reads a volume as a host: a megabyte of each stamp.
func (w *whole) wants(v wire.Volume, stamps ...byte) {
	w.t.Helper()
	open := w.attach(v)
	got := make([]byte, len(stamps)<<20)
	if err := open.Read(w.ctx, got, 0); err != nil {
		w.t.Fatal(err)
	}
	for i, stamp := range stamps {
		if !bytes.Equal(got[i<<20:(i+1)<<20], bytes.Repeat([]byte{stamp}, 1<<20)) {
			w.t.Errorf("megabyte %d of volume %s is not all %d: it begins with %v", i, v.Name, stamp,
				got[i<<20:i<<20+8])
		}
	}
	w.detach(v, open)
}

func (w *whole) clone(name string, size uint64, s wire.Source) wire.Volume {
	w.t.Helper()
	v, err := w.c.CreateVolume(w.ctx, wire.VolumeCreate{Name: name, Size: size, Source: &s})
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func (w *whole) snapshot(v wire.Volume, name string) wire.Snapshot {
	w.t.Helper()
	s, err := w.c.CreateSnapshot(w.ctx, wire.SnapshotCreate{Volume: v.ID, Name: name})
	if err != nil || s.State != cluster.SnapshotAvailable {
		w.t.Fatalf("%+v, %v", s, err)
	}
	return s
}

// TestAVolumeGoesBack: through the API, with real data.
func TestAVolumeGoesBack(t *testing.T) {
	w := newWhole(t, testOptions(t, "a"))
	w.put(w.volume, 0, 1)
	s := w.snapshot(w.volume, "s")
	w.put(w.volume, 0, 2)
	w.put(w.volume, 1<<20, 3)
	v, err := w.c.RevertVolume(w.ctx, w.volume.ID, wire.VolumeRevert{Snapshot: s.ID})
	if err != nil || v.Revert == nil || v.Revert.Snapshot != s.ID {
		t.Fatalf("%+v, %v", v, err)
	}
	w.wants(w.volume, 1, 0)
	open := w.attach(w.volume)
	_, err = w.c.RevertVolume(w.ctx, w.volume.ID, wire.VolumeRevert{Snapshot: s.ID})
	if !client.Is(err, wire.VolumeExported) {
		t.Errorf("with a host: %v", err)
	}
	w.detach(w.volume, open)
}

// TestClonesOutliveTheirSource: through the API, with real data, clones of clones too.
func TestClonesOutliveTheirSource(t *testing.T) {
	w := newWhole(t, testOptions(t, "a"))
	w.put(w.volume, 0, 1)
	w.put(w.volume, 1<<20, 2)
	s := w.snapshot(w.volume, "s")
	w.put(w.volume, 0, 9)
	child := w.clone("child", 32<<20, wire.Source{Snapshot: s.ID})
	w.wants(child, 1, 2, 0)
	w.put(child, 1<<20, 3)
	grandchild := w.clone("grandchild", 0, wire.Source{Volume: child.ID})
	w.put(child, 2<<20, 8)
	w.put(child, 1<<20, 8)
	if grandchild.Size != child.Size {
		t.Errorf("the clone of %d bytes has %d", child.Size, grandchild.Size)
	}
	for _, v := range []wire.Volume{w.volume, child} {
		if err := w.c.DeleteVolumeAndSnapshots(w.ctx, v.ID, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := w.c.GetVolume(w.ctx, v.ID); !client.Is(err, wire.NotFound) {
			t.Errorf("volume %s after its end: %v", v.Name, err)
		}
	}
	w.wants(grandchild, 1, 3, 0)
	w.put(grandchild, 0, 4)
	w.wants(grandchild, 4, 3, 0)
	if _, err := w.c.FlattenVolume(w.ctx, grandchild.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, w.ctx, "all to be copied", func() error {
		v, err := w.c.GetVolume(w.ctx, grandchild.ID)
		if err == nil && v.Parent != nil && !v.Parent.Flatten.Pinned {
			err = fmt.Errorf("%+v", v.Parent.Flatten)
		}
		return err
	})
	w.wants(grandchild, 4, 3, 0)
	if err := w.c.DeleteVolume(w.ctx, grandchild.ID, ""); err != nil {
		t.Fatal(err)
	}
}

// space wants a volume to hold so many megabytes now, alone and with snapshots, and each of them likewise.
func (w *whole) space(v wire.Volume, want ...[2]uint64) {
	w.t.Helper()
	eventually(w.t, w.ctx, "what is not stable yet to come back", func() error {
		s, err := w.c.GetVolumeSpace(w.ctx, v.ID)
		if err != nil {
			return err
		}
		got := [][2]uint64{}
		for _, h := range append([]wire.SnapshotSpace{{Holding: s.Present}}, s.Snapshots...) {
			got = append(got, [2]uint64{h.Exclusive.Data >> 20, h.Shared.Data >> 20})
		}
		if !slices.Equal(got, want) || len(s.Missing) > 0 || s.Reclaimable.Raw > 0 {
			return fmt.Errorf("%d MiB alone and shared, want %d; %+v", got, want, s)
		}
		return nil
	})
}

// TestSpaceIsTold: what a volume and its snapshots hold, alone and together, after writes, after a revert,
// and when a snapshot is deleted that a clone needs.
func TestSpaceIsTold(t *testing.T) {
	w := newWhole(t, testOptions(t, "a"))
	w.space(w.volume, [2]uint64{0, 0})
	w.put(w.volume, 0, 1)
	w.put(w.volume, 1<<20, 2)
	w.space(w.volume, [2]uint64{2, 0})
	s := w.snapshot(w.volume, "s")
	w.put(w.volume, 0, 3)
	w.put(w.volume, 3<<20, 3)
	w.space(w.volume, [2]uint64{2, 1}, [2]uint64{1, 1})
	later := w.snapshot(w.volume, "later")
	w.put(w.volume, 0, 4)
	w.space(w.volume, [2]uint64{1, 2}, [2]uint64{1, 1}, [2]uint64{1, 2})
	back := wire.VolumeRevert{Snapshot: s.ID, Force: true}
	if _, err := w.c.RevertVolume(w.ctx, w.volume.ID, back); err != nil {
		t.Fatal(err)
	}
	w.space(w.volume, [2]uint64{0, 2}, [2]uint64{0, 2}, [2]uint64{2, 1})
	clone := w.clone("clone", 0, wire.Source{Snapshot: later.ID})
	w.put(clone, 0, 5)
	w.space(clone, [2]uint64{1, 0})
	for _, x := range []wire.Snapshot{s, later} {
		if err := w.c.DeleteSnapshot(w.ctx, x.ID, ""); err != nil {
			t.Fatal(err)
		}
	}
	w.space(w.volume, [2]uint64{1, 1}, [2]uint64{2, 1})
	if err := w.c.DeleteVolume(w.ctx, clone.ID, ""); err != nil {
		t.Fatal(err)
	}
	w.space(w.volume, [2]uint64{2, 0})
}

// TestAHostIsShownAndRevoked: a connected host is listed with what it is connected to, and loses it all at
// once.
func TestAHostIsShownAndRevoked(t *testing.T) {
	w := newWhole(t, testOptions(t, "a"))
	w.put(w.volume, 0, 1)
	s := w.snapshot(w.volume, "s")
	for _, open := range []*initiator.Volume{w.attach(w.volume), w.attachSnapshot(s)} {
		defer func() { _ = open.Close() }()
	}
	h, err := w.c.GetHost(w.ctx, testHost)
	if err != nil || len(h.Access) != 2 || len(h.Connections) != 2 || len(h.Missing) != 0 {
		t.Fatalf("%+v, %v", h, err)
	}
	for i, nqn := range []string{s.NQN, w.volume.NQN} {
		c := h.Connections[i]
		since, err := time.Parse(time.RFC3339, c.Since)
		if c.NQN != nqn || c.Volume != w.volume.ID || c.Node != 1 || c.Queues == 0 || err != nil ||
			time.Since(since) > time.Hour {
			t.Errorf("connection %d: %+v", i, c)
		}
	}
	if err := w.c.RevokeHost(w.ctx, testHost); err != nil {
		t.Fatal(err)
	}
	eventually(t, w.ctx, "its connections to be closed", func() error {
		if h, err = w.c.GetHost(w.ctx, testHost); client.Is(err, wire.NotFound) {
			return nil
		}
		return fmt.Errorf("%+v, %w", h, err)
	})
}

// BenchmarkLineage is what a client waits for over loopback until a snapshot is taken, until a clone of a
// snapshot or of a volume is made and answers its first read, and until a volume is reverted: one node, etcd
// and a device included. The median and the 99th percentile.
func BenchmarkLineage(b *testing.B) {
	w := newWhole(b, testOptions(b, "a"))
	w.put(w.volume, 0, 1)
	s := w.snapshot(w.volume, "s")
	w.put(w.volume, 0, 2)
	n := 0
	number := func() string { n++; return fmt.Sprint("n", n) }
	b.Run("snapshot", func(b *testing.B) {
		measure(b, func() (func(), error) {
			s, err := w.c.CreateSnapshot(w.ctx, wire.SnapshotCreate{Volume: w.volume.ID, Name: number()})
			return func() { _ = w.c.DeleteSnapshot(w.ctx, s.ID, "") }, err
		})
	})
	b.Run("revert", func(b *testing.B) {
		measure(b, func() (func(), error) {
			_, err := w.c.RevertVolume(w.ctx, w.volume.ID, wire.VolumeRevert{Snapshot: s.ID})
			return func() {}, err
		})
	})
	for name, from := range map[string]wire.Source{"clone": {Snapshot: s.ID},
		"clone-of-volume": {Volume: w.volume.ID}} {
		clone := func() (wire.Volume, func(), error) {
			v, err := w.c.CreateVolume(w.ctx, wire.VolumeCreate{Name: number(), Source: &from})
			return v, func() { _ = w.c.DeleteVolume(w.ctx, v.ID, "") }, err
		}
		b.Run(name, func(b *testing.B) {
			measure(b, func() (func(), error) { _, undo, err := clone(); return undo, err })
		})
		b.Run(name+"-first-read", func(b *testing.B) {
			measure(b, func() (func(), error) {
				v, undo, err := clone()
				if err == nil {
					w.wants(v, 1)
				}
				return undo, err
			})
		})
	}
}

// BenchmarkChain takes a thousand snapshots of a volume, a host writing 4 KiB to a megabyte in turn between
// them, and reports what the first and the last hundred took, and what a host's reads of the present and of
// the oldest snapshot took after ten and after a thousand, medians; and what a snapshot takes of a device of
// one copy.
func BenchmarkChain(b *testing.B) {
	const chain, few, blocks = 1000, 10, 256
	for b.Loop() {
		w := newWhole(b, testOptions(b, "a"))
		w.put(w.volume, 0, 1)
		open := w.attach(w.volume)
		var took []time.Duration
		var first wire.Snapshot
		for i := range chain {
			begin := time.Now()
			s := w.snapshot(w.volume, fmt.Sprint("n", i))
			took = append(took, time.Since(begin))
			if i == 0 {
				first = s
			}
			at := int64(i%blocks) * cluster.BlockSize
			if err := open.Write(w.ctx, bytes.Repeat([]byte{byte(i)}, cluster.BlockSize), at); err != nil {
				b.Fatal(err)
			}
			if i+1 == few || i+1 == chain {
				b.ReportMetric(w.readTime(open), fmt.Sprintf("read-us-of-%d", i+1))
			}
		}
		w.detach(w.volume, open)
		w.reportSpace(b)
		old := w.attachSnapshot(first)
		b.ReportMetric(w.readTime(old), "read-oldest-us")
		_ = old.Close()
		if err := w.c.DeleteSnapshotExports(w.ctx, first.ID); err != nil {
			b.Fatal(err)
		}
		if err := w.c.DeleteVolumeAndSnapshots(w.ctx, w.volume.ID, ""); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(median(took[:100]), "first-ms")
		b.ReportMetric(median(took[chain-100:]), "last-ms")
	}
}

// reportSpace reports what the volume's snapshots take and how long it takes to be told.
func (w *whole) reportSpace(b *testing.B) {
	var took []time.Duration
	var s wire.VolumeSpace
	for range 9 {
		begin := time.Now()
		var err error
		if s, err = w.c.GetVolumeSpace(w.ctx, w.volume.ID); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	b.ReportMetric(median(took), "space-ms")
	b.ReportMetric(float64(s.Pinned.Raw)/float64(len(s.Snapshots)), "B/snapshot")
}

// readTime is how long reads of 4 KiB take a host, in microseconds.
func (w *whole) readTime(from *initiator.Volume) float64 {
	var took []time.Duration
	for i := range 500 {
		begin := time.Now()
		err := from.Read(w.ctx, make([]byte, cluster.BlockSize), int64(i%256)*cluster.BlockSize)
		if err != nil {
			w.t.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	return median(took) * 1000
}

// median is that of some times, in milliseconds; it sorts them.
func median(took []time.Duration) float64 {
	slices.Sort(took)
	return float64(took[len(took)/2].Nanoseconds()) / 1e6
}

// measure reports how long do takes. What it returns is done in between. What the process takes of the
// processors meanwhile, undoing and all, depends less on how busy the machine is than how long that takes.
func measure(b *testing.B, do func() (undo func(), err error)) {
	var took []time.Duration
	cpu := cpuTime(b)
	for b.Loop() {
		begin := time.Now()
		undo, err := do()
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
		undo()
	}
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/1000/float64(len(took)), "cpu-ms/op")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
