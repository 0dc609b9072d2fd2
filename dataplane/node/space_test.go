package node

import (
	"errors"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// space adds up what the nodes that run tell, by pin; pin 0 is the present.
func (w *world) space(vol *cluster.Volume) map[cluster.Seq]pagemap.Holding {
	w.t.Helper()
	sum := map[cluster.Seq]pagemap.Holding{}
	add := func(pin cluster.Seq, h pagemap.Holding) {
		was := sum[pin]
		was.Exclusive.Data += h.Exclusive.Data
		was.Exclusive.Parity += h.Exclusive.Parity
		was.Shared.Data += h.Shared.Data
		was.Shared.Parity += h.Shared.Parity
		sum[pin] = was
	}
	for n, r := range w.running {
		parts, err := r.node.Space(w.t.Context(), vol.Key, w.owner(vol).View.Version)
		w.must(err)
		for _, p := range parts {
			if p.Err != nil {
				w.t.Fatalf("device %d of node %d: %v", p.Device, n, p.Err)
			}
			add(0, p.Present)
			for _, pin := range p.Pins {
				add(pin.Pin, pin.Holding)
			}
		}
	}
	return sum
}

// TestSpaceOfSnapshots: what a snapshot was said to hold alone is what devices get back when it goes, data
// and parity.
func TestSpaceOfSnapshots(t *testing.T) {
	w := newWorld(t, 3, 2)
	p := w.ctl.Newest().Map.Pools["p"]
	p.Code, p.Data, p.Parity = cluster.CodeRS, 2, 1
	w.startAll(3)
	vol, cfg := w.create(8 << 20)
	v := open(t, cfg)
	write := func(n int) {
		t.Helper()
		data := make([]byte, n)
		fill(data, 1, uint64(n))
		w.must(v.Write(t.Context(), data, 0))
	}
	hold := func(exclusive, shared uint64) pagemap.Holding {
		blocks := func(n uint64) pagemap.Blocks { return pagemap.Blocks{Data: n, Parity: n / 2} }
		return pagemap.Holding{Exclusive: blocks(exclusive), Shared: blocks(shared)}
	}
	want := map[cluster.Seq]pagemap.Holding{}
	check := func(when string) {
		t.Helper()
		got := w.space(vol)
		for pin, h := range want {
			if got[pin] != h {
				t.Errorf("%s pin %v holds %+v, want %+v", when, pin, got[pin], h)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s there are %d viewpoints, want %d", when, len(got), len(want))
		}
	}
	write(1 << 20)
	first := w.snapshot(vol, 1)
	write(256 << 10)
	second := w.snapshot(vol, 2)
	want[0], want[first.Pin], want[second.Pin] = hold(0, 256), hold(64, 192), hold(0, 256)
	check("after two snapshots")
	write(128 << 10)
	want[0], want[second.Pin] = hold(32, 224), hold(32, 224)
	check("after a write")

	live := func() (n uint64) {
		for _, r := range w.running {
			for _, d := range r.node.Figures().Devices {
				n += d.Store.LiveBlocks
			}
		}
		return n
	}
	was := live()
	w.ask(first.UUID, cluster.SnapshotDeleting)
	w.until("the space of the first comes back", func() bool { return live() == was-64-32 })
	delete(want, first.Pin)
	check("without the first")
}

// TestADeviceWithoutTheListIsNotCounted: what it says would be about other snapshots.
func TestADeviceWithoutTheListIsNotCounted(t *testing.T) {
	w := newWorld(t, 1, 1)
	w.start(1)
	vol, cfg := w.create(8 << 20)
	w.must(open(t, cfg).Write(t.Context(), make([]byte, 4096), 0))
	w.snapshot(vol, 1)
	node := w.running[1].node
	parts, err := node.Space(t.Context(), vol.Key, w.owner(vol).View.Version+1)
	if err != nil || len(parts) != 1 || !errors.Is(parts[0].Err, ErrBehind) {
		t.Errorf("%+v, %v", parts, err)
	}
	if _, err := node.Space(t.Context(), cluster.VolumeKey{VUID: 77, Generation: 1}, 0); err == nil {
		t.Error("a volume that is not in the node's map was counted")
	}
}
