package daemon

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestVolumesWithoutRoom: a device has room for the metadata of so many volumes and no more. Those that have
// none say so, and are served once others are deleted.
func TestVolumesWithoutRoom(t *testing.T) {
	const volumes = 130
	w := newWholeOn(t, testOptions(t, "a"), 16<<20)
	for n := range volumes {
		_, err := w.c.CreateVolume(w.ctx, wire.VolumeCreate{Name: fmt.Sprint("v", n), Pool: "gold", Size: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
	}
	served := func() (served, without []wire.Volume) {
		t.Helper()
		all, err := w.c.FindVolumes(w.ctx, client.VolumeListOpts{})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range all {
			why := strings.Join(v.Reasons, "; ")
			switch {
			case v.Health == wire.OK && v.State == "serving":
				served = append(served, v)
			case v.Health == wire.Degraded && why == "no room for its metadata on devices [1]":
				without = append(without, v)
			}
		}
		return served, without
	}
	var have []wire.Volume
	eventually(t, w.ctx, "every volume is served or says why not", func() error {
		var without []wire.Volume
		if have, without = served(); len(have)+len(without) != volumes+1 || len(without) == 0 {
			return fmt.Errorf("%d are served, %d have no room", len(have), len(without))
		}
		return nil
	})
	w.p.stop(t)
	w.o.First.Bootstrap = false
	w.p = start(t, w.o)
	waitUp(t, w.ctx, w.o)
	eventually(t, w.ctx, "they are served after a restart", func() error {
		if n := int(w.metric(`ashlar_takeovers_total{outcome="served"}`)); n < len(have) {
			return fmt.Errorf("%d are, of %d", n, len(have))
		}
		return nil
	})
	t.Logf("%d of %d are served", len(have), volumes+1)
	// A device refuses new volumes before its room is used up, so it may have had more than it would take anew:
	// nearly all of them go.
	for _, v := range have[:len(have)-10] {
		if err := w.c.DeleteVolume(w.ctx, v.ID, ""); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, w.ctx, "the others are served", func() error {
		if _, without := served(); len(without) > 0 {
			return errors.New("some have no room")
		}
		return nil
	})
}
