package manager_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestScrubWishes: what is asked for stands in the device's record, a second start differs from the first,
// and what a request leaves out stays.
func TestScrubWishes(t *testing.T) {
	c := apitest.New(t)
	d := c.Device(1, 1)
	ctx := t.Context()
	record := func() cluster.DeviceScrub {
		snap, err := c.Store.Read(ctx, store.Key(cluster.KeyDevice(d)))
		if err != nil {
			t.Fatal(err)
		}
		var rec cluster.Device
		if err := json.Unmarshal(snap.One(0).Value, &rec); err != nil {
			t.Fatal(err)
		}
		return *rec.Scrub
	}
	ask := func(r wire.ScrubRequest) wire.Device {
		t.Helper()
		got, err := c.Manager.ScrubDevice(ctx, d, r, "")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if dev, err := c.Manager.Device(ctx, d); err != nil || dev.ScrubPolicy != (wire.ScrubPolicy{
		Rate: cluster.DefaultScrubRate, Interval: cluster.DefaultScrubInterval}) {
		t.Fatalf("a new device: %+v, %v", dev.ScrubPolicy, err)
	}
	ask(wire.ScrubRequest{Action: wire.ScrubStart})
	first := record()
	c.Advance(time.Second)
	ask(wire.ScrubRequest{Action: wire.ScrubStart})
	if second := record(); second.Wanted <= first.Wanted || second.Paused {
		t.Fatalf("after the second start %+v, before %+v", second, first)
	}
	rate := uint64(5)
	ask(wire.ScrubRequest{Rate: &rate})
	if got := ask(wire.ScrubRequest{Action: wire.ScrubPause}); got.ScrubPolicy != (wire.ScrubPolicy{Paused: true,
		Rate: 5, Interval: cluster.DefaultScrubInterval}) {
		t.Fatalf("after the pause %+v", got.ScrubPolicy)
	}
	c.Advance(time.Hour)
	if got := ask(wire.ScrubRequest{Action: wire.ScrubStart}); got.ScrubPolicy.Paused ||
		record().Wanted < first.Wanted+3600 {
		t.Fatalf("after the last start %+v, %+v", got.ScrubPolicy, record())
	}
	if _, err := c.Manager.UpdateDevice(ctx, d, wire.DeviceUpdate{State: cluster.DeviceFailed}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Manager.ScrubDevice(ctx, d, wire.ScrubRequest{Action: wire.ScrubStart}, ""); code(err) !=
		wire.Conflict {
		t.Fatalf("scrubbing of a failed device: %v", err)
	}
}

// TestPublishedScrubbing is shown with the device.
func TestPublishedScrubbing(t *testing.T) {
	c := apitest.New(t)
	d := c.Device(1, 1)
	st := cluster.NodeStats{Node: 1, Devices: []cluster.DeviceStats{{Device: d, Total: 100, Bad: 2,
		Scrub: &cluster.ScrubStats{State: cluster.ScrubRunning, Percent: 40, Began: 1e9, Found: 7}}}}
	if err := c.Manager.PublishStats(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	dev, err := c.Manager.Device(t.Context(), d)
	want := wire.Scrub{State: "running", Percent: 40, Began: "2001-09-09T01:46:40Z", Found: 7}
	if err != nil || dev.Stats.Bad != 2 || *dev.Stats.Scrub != want {
		t.Fatalf("%+v, %v", dev.Stats, err)
	}
}
