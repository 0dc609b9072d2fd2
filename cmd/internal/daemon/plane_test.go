package daemon

import (
	"reflect"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// TestAlarms: what has to be told at once, and what may wait.
func TestAlarms(t *testing.T) {
	base := func() cluster.NodeStats {
		return cluster.NodeStats{Devices: []cluster.DeviceStats{{Device: 1, Free: 9, Healthy: true}},
			Volumes: []cluster.VolumeStats{{Key: cluster.VolumeKey{VUID: 1, Generation: 1}, Epoch: 3, State: "serving",
				Away: 1, Stale: 1, MovingTo: 2}}}
	}
	type (
		device = *cluster.DeviceStats
		volume = *cluster.VolumeStats
	)
	for story, x := range map[string]struct {
		change func(d device, v volume)
		urgent bool
	}{
		"nothing":             {func(device, volume) {}, false},
		"less space":          {func(d device, _ volume) { d.Free = 8 }, false},
		"more chunks away":    {func(_ device, v volume) { v.Away, v.Stale = 7, 7 }, false},
		"progress":            {func(_ device, v volume) { v.MovedGroups, v.Copied = 9, 9 }, false},
		"a sick device":       {func(d device, _ volume) { d.Healthy = false }, true},
		"a silent device":     {func(_ device, v volume) { v.Down = []cluster.DeviceID{4} }, true},
		"all chunks are home": {func(_ device, v volume) { v.Away = 0 }, true},
		"no chunk is stale":   {func(_ device, v volume) { v.Stale = 0 }, true},
		"bad blocks remain":   {func(_ device, v volume) { v.Unrepaired = 2 }, true},
		"the move is over":    {func(_ device, v volume) { v.MovingTo = 0 }, true},
		"another owner epoch": {func(_ device, v volume) { v.Epoch = 4 }, true},
		"not serving":         {func(_ device, v volume) { v.State = "opening" }, true},
	} {
		st := base()
		x.change(&st.Devices[0], &st.Volumes[0])
		if urgent := !reflect.DeepEqual(alarms(st), alarms(base())); urgent != x.urgent {
			t.Errorf("%s: urgent is %v", story, urgent)
		}
	}
}
