package node

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/initiator"
)

// askTogether asks for group snapshot n of volumes, as the control plane does.
func (w *world) askTogether(n int, hosts []string, vols ...*cluster.Volume) (ids []cluster.UUID) {
	set := &cluster.SnapshotSet{UUID: cluster.UUID{6, byte(n), byte(n >> 8)}, Volumes: uint32(len(vols))}
	w.ctl.change(func(s *cluster.State) {
		for i, vol := range vols {
			rec := cluster.Snapshot{UUID: cluster.UUID{5, byte(n), byte(n >> 8), byte(i + 1)}, Name: fmt.Sprint("g",
				n),
				Volume: vol.UUID, Key: vol.Key, State: cluster.SnapshotCreating, Size: vol.Size, Set: set,
				Hosts: hosts}
			s.Snapshots[rec.UUID] = &cluster.SnapshotAt{Snapshot: rec, Revision: s.Revision}
			ids = append(ids, rec.UUID)
		}
	})
	return ids
}

// taken tells how many of some snapshots are, at one moment.
func (w *world) taken(ids []cluster.UUID) (n int) {
	s := w.ctl.Newest()
	for _, id := range ids {
		if x := s.Snapshots[id]; x != nil && x.State == cluster.SnapshotAvailable {
			n++
		}
	}
	return n
}

// chain writes 1, 2, 3 ... into one volume after the other, each when the write before is acknowledged.
func chain(t testing.TB, stop chan struct{}, written *atomic.Uint64, vols ...*initiator.Volume) error {
	block := make([]byte, cluster.BlockSize)
	for i := uint64(1); ; i++ {
		for _, v := range vols {
			select {
			case <-stop:
				return nil
			default:
			}
			binary.LittleEndian.PutUint64(block, i)
			if err := v.Write(t.Context(), block, 0); err != nil {
				return err
			}
		}
		written.Store(i)
	}
}

// stampOf is what the first block of a snapshot holds.
func (w *world) stampOf(cfg initiator.VolumeConfig, id cluster.UUID) uint64 {
	w.t.Helper()
	cfg.SubNQN = cluster.SnapshotNQN(id)
	v := open(w.t, cfg)
	block := make([]byte, cluster.BlockSize)
	w.must(v.Read(w.t.Context(), block, 0))
	return binary.LittleEndian.Uint64(block)
}

// TestAGroupSnapshotIsOneMoment: a host writes each number to three volumes of three owners, one after the
// other; no group snapshot has a number in a later volume that the earlier ones lack, though owners die.
func TestAGroupSnapshotIsOneMoment(t *testing.T) {
	w := newWorld(t, 3, 2)
	w.startAll(3)
	var vols []*cluster.Volume
	var cfgs []initiator.VolumeConfig
	var hosts []*initiator.Volume
	for n := range cluster.NodeID(3) {
		vol, cfg := w.createBy(&cluster.Volume{Name: fmt.Sprint("v", n), Pool: "p", Size: 1 << 20,
			Hosts: []string{testHost}}, n+1)
		vols, cfgs, hosts = append(vols, vol), append(cfgs, cfg), append(hosts, open(t, cfg))
	}
	stop, ended := make(chan struct{}), make(chan error, 1)
	var written atomic.Uint64
	go func() { ended <- chain(t, stop, &written, hosts...) }()
	rounds := 12
	if testing.Short() {
		rounds = 6
	}
	var all [][]cluster.UUID
	for n := range rounds {
		from := written.Load()
		w.until("the host writes", func() bool { return written.Load() > from+3 })
		order := slices.Clone(vols)
		slices.Reverse(order[n%3:])
		ids := w.askTogether(n+1, []string{testHost}, order...)
		if n == rounds/2 {
			w.stop(w.owner(vols[n%3]).Gateway)
		}
		w.until("the group snapshot is taken", func() bool {
			switch w.taken(ids) {
			case 0:
				return false
			case len(ids):
				return true
			}
			t.Fatal("a part of the group snapshot is taken")
			return false
		})
		back := make([]cluster.UUID, len(vols)) // in the order of the volumes
		for i, vol := range order {
			back[slices.Index(vols, vol)] = ids[i]
		}
		all = append(all, back)
	}
	close(stop)
	w.must(<-ended)
	last := uint64(0)
	for n, ids := range all {
		var got []uint64
		for i, id := range ids {
			got = append(got, w.stampOf(cfgs[i], id))
		}
		first, end := got[0], got[len(got)-1]
		if !slices.IsSortedFunc(got, func(a, b uint64) int { return int(b) - int(a) }) || first > end+1 ||
			end < last {
			t.Errorf("group snapshot %d shows %v, after %d", n, got, last)
		}
		last = end
	}
	if last == 0 {
		t.Error("nothing was written")
	}
}

// TestWritesWaitForTheLastPin: between the pins of two volumes time passes, and a host that writes each
// number to the one and then to the other goes on with the first only.
func TestWritesWaitForTheLastPin(t *testing.T) {
	w := newWorld(t, 3, 2)
	w.startAll(3)
	var vols []*cluster.Volume
	var cfgs []initiator.VolumeConfig
	for n := range cluster.NodeID(2) {
		vol, cfg := w.createBy(&cluster.Volume{Name: fmt.Sprint("v", n), Pool: "p", Size: 1 << 20,
			Hosts: []string{testHost}}, n+1)
		vols, cfgs = append(vols, vol), append(cfgs, cfg)
	}
	stop, ended := make(chan struct{}), make(chan error, 1)
	var written atomic.Uint64
	a, b, beside := open(t, cfgs[0]), open(t, cfgs[1]), open(t, cfgs[0])
	go func() { ended <- chain(t, stop, &written, a, b) }()
	w.until("the host writes", func() bool { return written.Load() > 3 })
	step := func(i int, round uint64, step cluster.GroupStep) cluster.Pinned {
		t.Helper()
		p, err := w.running[w.owner(vols[i]).Gateway].node.gateway.GroupStep(vols[i].Key, round, step)
		w.must(err)
		return p
	}
	step(0, 7, cluster.GroupHold)
	step(1, 7, cluster.GroupHold)
	pins := []cluster.Pinned{step(0, 7, cluster.GroupPin)}
	block := make([]byte, cluster.BlockSize)
	for range 20 { // time enough for two writes of the chain, and they must not be
		w.must(beside.Write(t.Context(), block, 1<<19))
	}
	pins = append(pins, step(1, 7, cluster.GroupPin))
	var swaps []cluster.OwnerSwap
	recs := make([]cluster.SnapshotAt, len(vols))
	w.ctl.change(func(s *cluster.State) {
		for i, vol := range vols {
			recs[i] = cluster.SnapshotAt{Snapshot: cluster.Snapshot{UUID: cluster.UUID{5, byte(i)}, Name: "g",
				Volume: vol.UUID, Key: vol.Key, State: cluster.SnapshotCreating, Size: vol.Size,
				Set:   &cluster.SnapshotSet{UUID: cluster.UUID{6}, Volumes: 3}, // not complete: nobody else takes it
				Hosts: []string{testHost}}, Revision:                           s.Revision}
			s.Snapshots[recs[i].UUID] = &recs[i]
		}
	})
	taken := slices.Clone(recs)
	for i, vol := range vols {
		taken[i].State, taken[i].Pin = cluster.SnapshotAvailable, pins[i].Pin
		next := w.owner(vol)
		next.View = next.View.WithPins([]cluster.Seq{pins[i].Pin}, nil)
		swaps = append(swaps, cluster.OwnerSwap{Volume: vol.Key, Revision: pins[i].Revision, Next: next})
	}
	w.must(w.ctl.SwapOwners(t.Context(), swaps, taken...))
	from := written.Load()
	w.until("the host goes on", func() bool { return written.Load() > from+3 })
	close(stop)
	w.must(<-ended)
	first, second := w.stampOf(cfgs[0], recs[0].UUID), w.stampOf(cfgs[1], recs[1].UUID)
	if second > first || first > second+1 || second == 0 {
		t.Errorf("the first volume shows %d, the second %d", first, second)
	}
}

// BenchmarkGroupSnapshot takes snapshots of a group of volumes whose owners are on three nodes, and deletes
// them again, under hosts that write one block after the other to each: how long it takes from the records to
// those that say it is there, without etcd, and how long the writes take that meet one, beside the others.
func BenchmarkGroupSnapshot(b *testing.B) {
	for _, count := range []int{2, 8} {
		b.Run(fmt.Sprint("volumes=", count), func(b *testing.B) {
			w := newWorld(b, 3, 2)
			w.startAll(3)
			stop, ended := make(chan struct{}), make(chan []timedWrite)
			var vols []*cluster.Volume
			var written atomic.Int64
			for n := range count {
				vol, cfg := w.createBy(&cluster.Volume{Name: fmt.Sprint("v", n), Pool: "p", Size: benchSize,
					Hosts: []string{testHost}}, cluster.NodeID(n%3+1))
				vols = append(vols, vol)
				if v := open(b, cfg); n < 2 { // two hosts that write are what this machine can bear
					go func() { ended <- writeUntil(b, v, stop, &written) }()
				}
			}
			var taken []timedWrite
			for n := 1; b.Loop(); n++ {
				began := time.Now()
				ids := w.askTogether(n, nil, vols...)
				w.soon(func() bool { return w.taken(ids) == len(ids) })
				taken = append(taken, timedWrite{began, time.Since(began)})
				for _, id := range ids {
					w.ask(id, cluster.SnapshotDeleting)
				}
				w.soon(func() bool { return len(w.ctl.Newest().Snapshots) == 0 })
				next := written.Load() + 40
				w.soon(func() bool { return written.Load() >= next })
			}
			close(stop)
			report(b, "group-snapshot", taken, slices.Concat(<-ended, <-ended))
		})
	}
}
