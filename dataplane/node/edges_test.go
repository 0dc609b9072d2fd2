package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
)

// says reports whether a node calls its device unhealthy, for a reason.
func (w *world) says(n cluster.NodeID, why string) bool {
	for _, d := range w.running[n].node.Stats().Devices {
		if !d.Healthy && strings.Contains(d.Error, why) {
			return true
		}
	}
	return false
}

// devices changes the devices and the pool of the map.
func (w *world) devices(change func(m *cluster.Map, p *cluster.Pool)) {
	w.ctl.change(func(s *cluster.State) {
		m, p := *s.Map, *s.Map.Pools["p"]
		m.Epoch++
		m.Devices = map[cluster.DeviceID]*cluster.Device{}
		for id, d := range s.Map.Devices {
			cp := *d
			m.Devices[id] = &cp
		}
		p.Changes = slices.Clone(p.Changes)
		change(&m, &p)
		m.Pools = map[string]*cluster.Pool{"p": &p}
		s.Map = &m
	})
}

// TestAFullPool: a host that writes more than there is gets a capacity error, and nothing else: reads go on,
// and what it deallocates it can write again.
func TestAFullPool(t *testing.T) {
	const size = 32 << 20
	w := newWorld(t, 2, 2)
	w.inMemory(1, size)
	w.inMemory(2, size)
	w.start(1)
	w.start(2)
	vol, cfg := w.create(2 * size)
	v := open(t, cfg)
	const piece = 1 << 20
	content := func(i int) []byte { return bytes.Repeat([]byte{byte(i), 0x5c, byte(i >> 8)}, piece)[:piece] }
	written := 0
	for ; ; written++ {
		if written*piece >= size {
			t.Fatal("more was written than the devices hold")
		}
		err := v.Write(t.Context(), content(written), int64(written)*piece)
		if err == nil {
			continue
		}
		var status nvme.Status
		if !errors.As(err, &status) || status.Code() != nvme.CapacityExceeded {
			t.Fatalf("write %d: %v, want capacity exceeded", written, err)
		}
		break
	}
	if written < size/piece/2 {
		t.Fatalf("full after %d MiB", written)
	}
	got := make([]byte, piece)
	for i := range written {
		if err := v.Read(t.Context(), got, int64(i)*piece); err != nil || !bytes.Equal(got, content(i)) {
			t.Fatalf("read of MiB %d of a full volume: %v", i, err)
		}
	}
	if s := w.healing(vol); len(s.Down) > 0 || s.Stale > 0 {
		t.Fatalf("a full device is not at fault: %+v", s)
	}
	if err := v.Deallocate(t.Context(), 0, int64(written/2)*piece); err != nil {
		t.Fatalf("deallocation on a full device: %v", err)
	}
	w.until("space is back", func() bool {
		return min(w.device(1).Free, w.device(2).Free) > uint64(written/2-2)*piece
	})
	for i := range written / 4 { // not to the brim: credit is given a part at a time
		if err := v.Write(t.Context(), content(i+7), int64(i)*piece); err != nil {
			t.Fatalf("write %d after the deallocation: %v", i, err)
		}
	}
	if err := v.Read(t.Context(), got, 3*piece); err != nil || !bytes.Equal(got, content(10)) {
		t.Fatalf("read of what was written again: %v", err)
	}
}

// TestReadsFail: sectors that a device cannot read any more are decoded from the other copy, written again
// elsewhere on the device and counted; hosts notice nothing.
func TestReadsFail(t *testing.T) {
	w := newWorld(t, 3, 2)
	mem := w.inMemory(2, deviceSize)
	w.startAll(3)
	vol, cfg := w.create(16 << 20)
	v := open(t, cfg)
	data := make([]byte, 8<<20)
	for i := range data {
		data[i] = byte(i >> 9)
	}
	if err := v.Write(t.Context(), data, 0); err != nil {
		t.Fatal(err)
	}
	rep, err := pagestore.Check(t.Context(), memory{mem}, pagestore.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// The first half of what was written; what is repaired goes behind it.
	mem.Inject(blockdev.Fault{Kind: blockdev.ReadError, Off: int64(rep.Regions.Data) * cluster.BlockSize,
		Len: int64(rep.Usage.Live) / 2 * cluster.BlockSize})
	before := w.healing(vol).RepairedBad
	w.pass(2)
	w.until("all of it is repaired", func() bool {
		return w.device(2).Bad == 0 && w.healing(vol).RepairedBad >= before+rep.Usage.Live/2
	})
	if st := w.device(2); st.Scrub.Found < rep.Usage.Live/2 || !st.Healthy {
		t.Fatalf("the device says %+v, %+v", st, st.Scrub)
	}
	got := make([]byte, len(data))
	if err := v.Read(t.Context(), got, 0); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("read: %v, equal %v", err, bytes.Equal(got, data))
	}
	if s := w.healing(vol); len(s.Down) > 0 || s.Unrepaired > 0 {
		t.Fatalf("%+v", s)
	}
	mem.Heal()
}

// TestTheWrongDiskAtAPath: another disk, of this cluster or of none, is not served; the node goes on with its
// other device. The right one is taken back and gets what it missed.
func TestTheWrongDiskAtAPath(t *testing.T) {
	w := newWorld(t, 3, 2)
	w.startAll(3)
	vol, l := w.underLoad()
	d := w.ctl.Newest().Map.Devices[2]
	w.stop(2)
	if err := os.Rename(d.Path, d.Path+".right"); err != nil {
		t.Fatal(err)
	}
	wrong := *d
	wrong.UUID = cluster.UUID{9, 9, 9}
	w.format(&wrong)
	w.start(2)
	w.until("the other disk is refused", func() bool { return w.says(2, "want "+d.UUID.String()) })
	if err := os.Truncate(d.Path, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.Path, deviceSize); err != nil {
		t.Fatal(err)
	}
	w.until("an empty disk is refused", func() bool { return w.says(2, "not this cluster's") })
	w.goesOn(l, "writes go on")
	if err := os.Rename(d.Path+".right", d.Path); err != nil {
		t.Fatal(err)
	}
	w.until("everything is home", func() bool { return w.whole(vol) })
	l.finish()
}

// TestADamagedDeviceIsReplaced: a device whose metadata is destroyed is refused with a message that says so.
// The volume lives on; the device is declared failed and its content made anew, and a blank one takes its
// place under a new number.
func TestADamagedDeviceIsReplaced(t *testing.T) {
	w := newWorld(t, 4, 2)
	w.startAll(4)
	vol, l := w.underLoad()
	d := *w.ctl.Newest().Map.Devices[2]
	w.stop(2)
	w.broken[2] = true
	destroyMetadata(t, &d)
	w.start(2)
	w.until("it is refused", func() bool { return w.says(2, "device damaged") })
	w.goesOn(l, "writes go on")
	w.devices(func(m *cluster.Map, p *cluster.Pool) {
		m.Devices[2].State = cluster.DeviceFailed
		p.Changes = append(p.Changes, cluster.Change{Kind: cluster.ChangeFail,
			Members: []cluster.Member{{Device: 2}}})
	})
	rebuilt := func() bool {
		s := w.healing(vol)
		return s.State == "serving" && s.Away == 0 && s.MovingTo == 0 &&
			len(w.owner(vol).Layout) == 1 && w.owner(vol).Layout[0].Table == uint32(len(w.pool().Changes))
	}
	w.until("its content is made anew", rebuilt)
	d.Number, d.UUID, d.Path = 5, cluster.UUID{9, 5}, d.Path+".new"
	w.format(&d)
	w.devices(func(m *cluster.Map, p *cluster.Pool) {
		m.Devices[5] = &d
		p.Changes = append(p.Changes, cluster.Change{Kind: cluster.ChangeAdd,
			Members: []cluster.Member{{Device: 5, Weight: 1, Domain: "az/rack/2"}}})
	})
	w.until("the new device has its share", func() bool { return rebuilt() && w.running[2] != nil })
	if st, _ := w.running[2].node.chunks.Device(5); st.LiveBlocks == 0 {
		t.Fatal("nothing is on the new device")
	}
	w.stop(w.owner(vol).Gateway%4 + 1)
	l.finish()
}

func (w *world) pool() *cluster.Pool { return w.ctl.Newest().Map.Pools["p"] }

// destroyMetadata overwrites the log and every copy of the checkpoint.
func destroyMetadata(t *testing.T, d *cluster.Device) {
	t.Helper()
	dev, err := blockdev.OpenFile(d.Path, blockdev.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rep, err := pagestore.Check(context.Background(), dev, pagestore.CheckOptions{})
	if err = errors.Join(err, dev.Close()); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(d.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := rep.Regions
	for _, region := range [][2]uint64{{r.Log, r.LogBlocks}, {r.CheckpointA, r.CheckpointBlocks},
		{r.CheckpointB, r.CheckpointBlocks}} {
		noise := bytes.Repeat([]byte{0xdb}, int(region[1])*cluster.BlockSize)
		if _, err := f.WriteAt(noise, int64(region[0])*cluster.BlockSize); err != nil {
			t.Fatal(err)
		}
	}
}

// TestADeviceVanishesAndComesBack while the node runs: all its I/O fails, then works again. The node opens it
// anew by itself, and it gets what it missed.
func TestADeviceVanishesAndComesBack(t *testing.T) {
	w := newWorld(t, 3, 2)
	mem := w.inMemory(2, deviceSize)
	w.startAll(3)
	vol, l := w.underLoad()
	for _, kind := range []blockdev.FaultKind{blockdev.ReadError, blockdev.WriteError, blockdev.FlushError} {
		mem.Inject(blockdev.Fault{Kind: kind})
	}
	w.until("the device is missed", func() bool { return slices.Contains(w.healing(vol).Down, 2) })
	w.until("its node reports it", func() bool { return w.says(2, "I/O error") })
	w.goesOn(l, "writes go on")
	mem.Heal()
	w.until("everything is home", func() bool { return w.whole(vol) })
	w.until("its node is content", func() bool { return w.device(2).Healthy })
	w.stop(1)
	l.finish()
}

// TestAnUncleanRestart: a node loses its power with everything that its device had not flushed. It recovers,
// and gets what it missed.
func TestAnUncleanRestart(t *testing.T) {
	w := newWorld(t, 3, 2)
	mem := w.inMemory(2, deviceSize)
	w.startAll(3)
	vol, cfg := w.create(16 << 20)
	l := startLoad(t, open(t, cfg), 1024, 4)
	for round := range 3 {
		w.goesOn(l, "writes")
		// The device fails first, then its power: what it said was flushed between the two would be lost.
		w.broken[2] = true
		for _, kind := range []blockdev.FaultKind{blockdev.FlushError, blockdev.WriteError, blockdev.ReadError} {
			mem.Inject(blockdev.Fault{Kind: kind})
		}
		after := mem.CrashClone(uint64(round))
		w.stop(2)
		if err := mem.Close(); err != nil {
			t.Fatal(err)
		}
		mem = after
		w.inMem[w.ctl.Newest().Map.Devices[2].Path] = after
		w.broken[2] = false
		w.start(2)
		w.until(fmt.Sprint("everything is home, round ", round), func() bool { return w.whole(vol) })
	}
	w.stop(1)
	l.finish()
}
