package node

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/initiator"
	"github.com/ashlar-storage/ashlar/dataplane/lease"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

func open(t testing.TB, cfg initiator.VolumeConfig) *initiator.Volume {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	v, err := initiator.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// load writes stamped blocks until it is stopped, and knows what each block must hold.
type load struct {
	t      testing.TB
	v      *initiator.Volume
	blocks int
	stamps []uint64
	writes atomic.Int64
	stop   chan struct{}
	wg     sync.WaitGroup
}

func startLoad(t testing.TB, v *initiator.Volume, blocks, workers int) *load {
	l := &load{t: t, v: v, blocks: blocks, stamps: make([]uint64, blocks), stop: make(chan struct{})}
	for w := range workers {
		l.wg.Add(1)
		go func() {
			defer l.wg.Done()
			rng := rand.New(rand.NewSource(int64(w)))
			buf := make([]byte, cluster.BlockSize)
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				b := rng.Intn(blocks/workers)*workers + w // each worker has blocks of its own
				l.stamps[b]++
				fill(buf, b, l.stamps[b])
				if err := v.Write(context.Background(), buf, int64(b)*cluster.BlockSize); err != nil {
					t.Errorf("write of block %d: %v", b, err)
					return
				}
				l.writes.Add(1)
			}
		}()
	}
	return l
}

// underLoad makes a volume that a host writes to.
func (w *world) underLoad() (*cluster.Volume, *load) {
	vol, cfg := w.create(16 << 20)
	l := startLoad(w.t, open(w.t, cfg), 1024, 4)
	w.goesOn(l, "first writes")
	return vol, l
}

// goesOn waits until the host has written for a while.
func (w *world) goesOn(l *load, what string) {
	w.t.Helper()
	n := l.writes.Load()
	w.until(what, func() bool { return l.writes.Load() > n+200 })
}

func fill(b []byte, block int, stamp uint64) {
	for i := 0; i < len(b); i += 16 {
		binary.LittleEndian.PutUint64(b[i:], uint64(block))
		binary.LittleEndian.PutUint64(b[i+8:], stamp)
	}
}

func (l *load) finish() {
	l.t.Helper()
	close(l.stop)
	l.wg.Wait()
	l.verify(l.v)
}

func (l *load) verify(v *initiator.Volume) {
	l.t.Helper()
	got, want := make([]byte, cluster.BlockSize), make([]byte, cluster.BlockSize)
	for b, s := range l.stamps {
		if err := v.Read(context.Background(), got, int64(b)*cluster.BlockSize); err != nil {
			l.t.Fatalf("read of block %d: %v", b, err)
		}
		if clear(want); s > 0 {
			fill(want, b, s)
		}
		if !bytes.Equal(got, want) {
			l.t.Fatalf("block %d holds stamp %d of block %d, want %d", b, binary.LittleEndian.Uint64(got[8:]),
				binary.LittleEndian.Uint64(got), s)
		}
	}
}

func TestAVolumeServesHosts(t *testing.T) {
	w := newWorld(t, 3, 2)
	w.startAll(3)
	_, cfg := w.create(64 << 20)
	v := open(t, cfg)
	ctx := t.Context()
	data := make([]byte, 3<<20+512) // crosses pages, ends within a block
	rand.New(rand.NewSource(1)).Read(data)
	const at = 250<<10 + 512 // begins within a block
	if err := v.Write(ctx, data, at); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(data))
	if err := v.Read(ctx, got, at); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("read back: %v, equal %v", err, bytes.Equal(got, data))
	}
	if err := v.Deallocate(ctx, 1<<20, 1<<20); err != nil {
		t.Fatal(err)
	}
	clear(data[1<<20-at : 2<<20-at])
	if err := v.Read(ctx, got, at); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("after deallocation: %v, equal %v", err, bytes.Equal(got, data))
	}
}

// TestANodeStopsAndReturns: a planned stop moves the volume without an error; what was written meanwhile is
// brought to the node's device before it counts again.
func TestANodeStopsAndReturns(t *testing.T) {
	w := newWorld(t, 3, 2)
	w.startAll(3)
	vol, cfg := w.create(16 << 20)
	v := open(t, cfg)
	l := startLoad(t, v, 1024, 4)
	w.until("first writes", func() bool { return l.writes.Load() > 200 })
	owner := w.owner(vol).Gateway
	w.stop(owner)
	w.goesOn(l, "writes at the next owner")
	if o := w.owner(vol); o.Gateway == owner {
		t.Fatalf("the stopped node still owns the volume: %+v", o)
	}
	w.until("the stopped node's device is missed", func() bool { return len(w.healing(vol).Down) == 1 })
	w.start(owner)
	w.until("everything is home", func() bool { return w.whole(vol) })
	w.stop(w.owner(vol).Gateway) // now the returned device must hold everything
	w.goesOn(l, "writes after the second stop")
	l.finish()
}

// TestAnOwnerYields: a newer owner asks and gets the volume at once, an older one gets nothing. Hosts see no
// error.
func TestAnOwnerYields(t *testing.T) {
	w := newWorld(t, 3, 2)
	w.startAll(3)
	vol, l := w.underLoad()
	o := w.owner(vol)
	gw := w.running[o.Gateway].node.gateway
	gw.Yield(lease.Fence{Vol: vol.Key, Epoch: o.Epoch})
	if st := gw.Volume(vol.Key).ANAState(); st != nvme.ANAOptimized {
		t.Fatalf("after the wish of an older owner: %v", st)
	}
	gw.Yield(lease.Fence{Vol: vol.Key, Epoch: o.Epoch + 1})
	if st := gw.Volume(vol.Key).ANAState(); st == nvme.ANAOptimized {
		t.Fatal("after the wish of a newer owner the volume is still served")
	}
	// nobody has changed the record, so the old owner takes the volume again
	w.goesOn(l, "writes go on")
	if now := w.owner(vol); now.Epoch <= o.Epoch {
		t.Fatalf("the epoch is still %d", now.Epoch)
	}
	l.finish()
}

// TestAllNodesRestart: all nodes stop and start; every acknowledged write is there.
func TestAllNodesRestart(t *testing.T) {
	w := newWorld(t, 3, 3)
	w.startAll(3)
	_, cfg := w.create(16 << 20)
	v := open(t, cfg)
	l := startLoad(t, v, 512, 2)
	w.until("writes", func() bool { return l.writes.Load() > 300 })
	close(l.stop)
	l.wg.Wait()
	v.Close()
	for n := range cluster.NodeID(3) {
		w.stop(n + 1)
	}
	w.startAll(3)
	l.verify(open(t, cfg))
}

// TestGrowAndDelete: a resize reaches the host; a deleted volume leaves nothing on the devices.
func TestGrowAndDelete(t *testing.T) {
	w := newWorld(t, 2, 2)
	w.start(1)
	w.start(2)
	vol, cfg := w.create(8 << 20)
	resized := make(chan int64, 8)
	cfg.OnResize = func(n int64) { resized <- n }
	v := open(t, cfg)
	block := bytes.Repeat([]byte{7}, 4096)
	if err := v.Write(t.Context(), block, 8<<20-4096); err != nil {
		t.Fatal(err)
	}
	w.ctl.change(func(s *cluster.State) { s.Volumes[vol.Key].Size = 12 << 20 })
	select {
	case n := <-resized:
		if n != 12<<20 {
			t.Fatalf("size %d after the resize", n)
		}
	case <-time.After(time.Minute):
		t.Fatal("the host was not told of the resize")
	}
	if err := v.Write(t.Context(), block, 12<<20-4096); err != nil {
		t.Fatal(err)
	}
	v.Close()
	w.ctl.change(func(s *cluster.State) { delete(s.Volumes, vol.Key); delete(s.Owners, vol.Key) })
	w.until("purge", func() bool {
		for _, r := range w.running {
			for _, d := range r.node.Stats().Devices {
				if st, _ := r.node.chunks.Device(d.Device); st.LiveBlocks+st.PendingBlocks > 0 {
					return false
				}
			}
		}
		return true
	})
}

// TestARefusedHost: a host that is not on the list gets no connection.
func TestARefusedHost(t *testing.T) {
	w := newWorld(t, 1, 1)
	w.start(1)
	_, cfg := w.create(8 << 20)
	cfg.HostNQN += "x"
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if v, err := initiator.Open(ctx, cfg); err == nil {
		v.Close()
		t.Fatal("a host that is not allowed was connected")
	}
}

// TestADeviceIsLost: all I/O of one device fails; hosts notice nothing, and the device is reported.
func TestADeviceIsLost(t *testing.T) {
	w := newWorld(t, 3, 2)
	fd, err := unix.MemfdCreate("disk", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	disk := os.NewFile(uintptr(fd), "disk")
	defer disk.Close()
	if err := disk.Truncate(deviceSize); err != nil {
		t.Fatal(err)
	}
	w.broken[2] = true
	d := w.ctl.Newest().Map.Devices[2]
	d.Path = fmt.Sprintf("/proc/self/fd/%d", fd)
	w.format(d)
	w.startAll(3)
	vol, l := w.underLoad()
	if st := w.running[2].node.Stats().Devices; st[0].Engine != "plain" || !st[0].VolatileCache {
		t.Errorf("a file in memory is served as %+v", st)
	}
	if _, err := unix.FcntlInt(disk.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_GROW); err != nil {
		t.Fatal(err)
	}
	if err := disk.Truncate(0); err != nil { // from now on every write fails
		t.Fatal(err)
	}
	w.until("the device is missed", func() bool { return slices.Contains(w.healing(vol).Down, 2) })
	w.goesOn(l, "writes go on")
	w.until("the node reports it", func() bool {
		st := w.running[2].node.Stats().Devices
		return len(st) == 1 && !st[0].Healthy && st[0].Error != ""
	})
	l.finish()
}

// TestSteadyStateNeedsNoArbiter: with the owner records out of reach I/O goes on for longer than a lease
// lasts (promise P4), also when a device is lost meanwhile: the placement journal is kept by devices.
func TestSteadyStateNeedsNoArbiter(t *testing.T) {
	w := newWorld(t, 3, 2)
	w.startAll(3)
	vol, l := w.underLoad()
	w.ctl.setAway(true)
	since, n := time.Now(), l.writes.Load()
	w.until("writes without the arbiter", func() bool {
		return time.Since(since) > 3*time.Second && l.writes.Load() > n+200
	})
	owner := w.owner(vol).Gateway
	w.stop(owner%3 + 1) // another node, whose device holds a third of the pages' copies
	w.goesOn(l, "writes go on")
	w.ctl.setAway(false)
	l.finish()
}
