package node

import (
	"bytes"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/gateway"
)

// wantScrub asks for a pass on a device, as the control plane does.
func (w *world) wantScrub(id cluster.DeviceID, s cluster.DeviceScrub) {
	w.ctl.change(func(st *cluster.State) {
		m := *st.Map
		m.Devices = map[cluster.DeviceID]*cluster.Device{}
		for n, d := range st.Map.Devices {
			m.Devices[n] = d
		}
		d := *m.Devices[id]
		d.Scrub = &s
		rate, interval := uint64(1<<30), uint64(0)
		d.Scrub.Rate, d.Scrub.Interval = &rate, &interval
		m.Devices[id] = &d
		st.Map = &m
	})
}

// device is what its node says of a device.
func (w *world) device(id cluster.DeviceID) cluster.DeviceStats {
	if r := w.running[w.ctl.Newest().Map.Devices[id].Node]; r != nil {
		for _, d := range r.node.Stats().Devices {
			if d.Device == id && d.Scrub != nil {
				return d
			}
		}
	}
	return cluster.DeviceStats{Scrub: &cluster.ScrubStats{}}
}

// pass has a device scrubbed once.
func (w *world) pass(id cluster.DeviceID) cluster.ScrubStats {
	w.t.Helper()
	before := w.device(id).Scrub.Passes
	w.wantScrub(id, cluster.DeviceScrub{Wanted: time.Now().Unix() + int64(before)})
	w.until("the end of a pass", func() bool { return w.device(id).Scrub.Passes > before })
	return *w.device(id).Scrub
}

// rot flips a bit in every block of a device that holds one of some patterns.
func (w *world) rot(id cluster.DeviceID, patterns [][]byte) (blocks int) {
	w.t.Helper()
	f, err := os.OpenFile(w.ctl.Newest().Map.Devices[id].Path, os.O_RDWR, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	all, err := io.ReadAll(f)
	if err != nil {
		w.t.Fatal(err)
	}
	for at := 0; at < len(all); at += cluster.BlockSize {
		if !slices.ContainsFunc(patterns, func(p []byte) bool { return bytes.HasPrefix(all[at:], p) }) {
			continue
		}
		if _, err := f.WriteAt([]byte{all[at+100] ^ 4}, int64(at+100)); err != nil {
			w.t.Fatal(err)
		}
		blocks++
	}
	return blocks
}

// TestScrubbingFindsAndRepairs what nobody reads: blocks of both copies of a volume, each in another place,
// so that every device tells an owner on its own node or on another.
func TestScrubbingFindsAndRepairs(t *testing.T) {
	w := newWorld(t, 3, 2)
	w.startAll(3)
	vol, cfg := w.create(16 << 20)
	v := open(t, cfg)
	const blocks = 300
	patterns := make([][]byte, blocks)
	for b := range patterns {
		patterns[b] = bytes.Repeat([]byte{byte(b), byte(b >> 8), 0xa5, 0x5a}, cluster.BlockSize/4)
		if err := v.Write(t.Context(), patterns[b], int64(b)*cluster.BlockSize); err != nil {
			t.Fatal(err)
		}
	}
	rotten := map[cluster.DeviceID]int{}
	for id := range cluster.DeviceID(3) {
		rotten[id+1] = w.rot(id+1, patterns[id*100:id*100+20])
	}
	repaired := w.healing(vol).RepairedBad
	total := 0
	for id, n := range rotten {
		total += n
		if s := w.pass(id); s.Found != uint64(n) || s.Bad != uint64(n) || s.State != cluster.ScrubIdle {
			t.Fatalf("device %d: %+v, want %d bad blocks found", id, s, n)
		}
	}
	if total < 10 {
		t.Fatalf("only %d blocks were spoiled", total)
	}
	w.until("everything is repaired", func() bool {
		return w.device(1).Bad+w.device(2).Bad+w.device(3).Bad == 0 &&
			w.healing(vol).RepairedBad == repaired+uint64(total)
	})
	for id := range rotten {
		if s := w.pass(id); s.Bad != 0 {
			t.Fatalf("device %d after the repair: %+v", id, s)
		}
	}
}

// TestScrubbingIsPausedAndGoesOn, also over a restart of the node.
func TestScrubbingIsPausedAndGoesOn(t *testing.T) {
	w := newWorld(t, 1, 1)
	w.start(1)
	_, cfg := w.create(16 << 20)
	v := open(t, cfg)
	if err := v.Write(t.Context(), make([]byte, 1<<20), 0); err != nil {
		t.Fatal(err)
	}
	before := w.pass(1)
	w.wantScrub(1, cluster.DeviceScrub{Paused: true, Wanted: time.Now().Unix() + 5})
	w.until("paused", func() bool { return w.device(1).Scrub.State == cluster.ScrubPaused })
	v.Close()
	w.stop(1)
	w.start(1)
	w.until("paused after a restart", func() bool { return w.device(1).Scrub.State == cluster.ScrubPaused })
	if s := w.device(1).Scrub; s.Passes != before.Passes || s.Read != 1<<20 || s.Began != before.Began {
		t.Fatalf("after the restart %+v", s)
	}
	w.wantScrub(1, cluster.DeviceScrub{Wanted: time.Now().Unix() + 5})
	w.until("the pass that was asked for", func() bool { return w.device(1).Scrub.Passes > before.Passes })
}

// TestOwnersCompareRows, again and again, while hosts write.
func TestOwnersCompareRows(t *testing.T) {
	w := newWorld(t, 2, 2)
	w.audit = gateway.AuditOptions{Rate: 1 << 30, Interval: time.Second}
	w.start(1)
	w.start(2)
	vol, cfg := w.create(16 << 20)
	l := startLoad(t, open(t, cfg), 1024, 4)
	w.until("writes", func() bool { return l.writes.Load() > 200 })
	w.until("three passes", func() bool { return w.healing(vol).Compared >= 3 })
	if s := w.healing(vol); s.Disagreed > 0 || s.RepairedBad > 0 {
		t.Fatalf("found in a healthy volume: %+v", s)
	}
	l.finish()
}
