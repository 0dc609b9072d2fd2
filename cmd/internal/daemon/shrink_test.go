package daemon

import (
	"testing"

	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestAVolumeShrinksForGood: through the API, with real data. What was cut off reads as zeroes when the
// volume has grown again, what was kept is as it was, also in a clone, whose parent shows no more there.
func TestAVolumeShrinksForGood(t *testing.T) {
	w := newWhole(t, testOptions(t, "a"))
	for i := range byte(3) {
		w.put(w.volume, int64(i)<<20, i+1)
	}
	open := w.attach(w.volume)
	_, err := w.c.ShrinkVolume(w.ctx, w.volume.ID, 1<<20, true)
	if !client.Is(err, wire.VolumeExported) {
		t.Errorf("with a host: %v", err)
	}
	w.detach(w.volume, open)
	w.shrinks(w.volume, 2<<20, false, wire.VolumeHoldsData)
	w.wants(w.volume, 1, 2, 3, 0)
	s := w.snapshot(w.volume, "s")
	clone := w.clone("clone", 0, wire.Source{Snapshot: s.ID})
	w.put(clone, 2<<20, 7)
	w.shrinks(w.volume, 2<<20, true, wire.VolumeHasSnapshots)
	w.shrinks(clone, 1<<20, false, wire.VolumeHoldsData)
	w.shrinks(clone, 1<<20, true, "")
	w.grows(clone, 4<<20)
	w.wants(clone, 1, 0, 0, 0)
	if err := w.c.DeleteVolume(w.ctx, clone.ID, ""); err != nil {
		t.Fatal(err)
	}
	if err := w.c.DeleteSnapshot(w.ctx, s.ID, ""); err != nil {
		t.Fatal(err)
	}
	w.shrinks(w.volume, 3<<20, false, "") // nothing is there
	w.shrinks(w.volume, 1<<20, true, "")
	w.grows(w.volume, 4<<20)
	w.wants(w.volume, 1, 0, 0, 0)
	w.put(w.volume, 1<<20, 9)
	w.wants(w.volume, 1, 9, 0, 0)
}

// shrinks shrinks a volume, or is refused to. One that was shrunk a moment ago is still being cleared.
func (w *whole) shrinks(v wire.Volume, size uint64, discard bool, code wire.Code) {
	w.t.Helper()
	eventually(w.t, w.ctx, "the volume shrinks", func() error {
		got, err := w.c.ShrinkVolume(w.ctx, v.ID, size, discard)
		switch {
		case client.Is(err, wire.VolumeShrinking):
			return err
		case code != "" && client.Is(err, code):
		case code != "" || err != nil || got.Size != size:
			w.t.Fatalf("shrinking %s to %d, discarding %v: %v, %+v; want %q", v.Name, size, discard, err, got, code)
		}
		return nil
	})
}

func (w *whole) grows(v wire.Volume, size uint64) {
	w.t.Helper()
	eventually(w.t, w.ctx, "the volume grows", func() error {
		_, err := w.c.ResizeVolume(w.ctx, v.ID, size, "")
		return err
	})
}

// BenchmarkShrink is what a client waits for over loopback until a volume has shrunk, by looking whether
// there is anything or by discarding it. The median and the 99th percentile.
func BenchmarkShrink(b *testing.B) {
	w := newWhole(b, testOptions(b, "a"))
	w.put(w.volume, 0, 1)
	for name, discard := range map[string]bool{"looking": false, "discarding": true} {
		b.Run(name, func(b *testing.B) {
			measure(b, func() (func(), error) {
				_, err := w.c.ShrinkVolume(w.ctx, w.volume.ID, 1<<20, discard)
				return func() { w.grows(w.volume, w.volume.Size) }, err
			})
		})
	}
}
