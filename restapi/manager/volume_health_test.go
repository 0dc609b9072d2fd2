package manager

import (
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestVolumeHealth: "ok" is said only on the word of the present owner that nothing is left to heal. Each
// story changes one thing of a volume that is ok: epoch 7, served by node 2, at rest on table 3 of its pool.
func TestVolumeHealth(t *testing.T) {
	type volume struct {
		owner  cluster.Owner
		stats  cluster.VolumeStats
		by     cluster.NodeID // who published
		alive  cluster.NodeID
		newest uint32
	}
	key := cluster.VolumeKey{VUID: 9, Generation: 1}
	for story, x := range map[string]struct {
		spoil func(v *volume)
		want  wire.Status
		why   string
	}{
		"at rest": {func(*volume) {}, wire.OK, ""},
		"never served": {func(v *volume) { v.owner, v.by, v.alive = cluster.Owner{Gateway: 2}, 0, 0 },
			wire.OK, ""},
		"nothing published": {func(v *volume) { v.by = 0 }, wire.Unknown, "epoch 7"},
		"of an older epoch": {func(v *volume) { v.stats.Epoch = 6 }, wire.Unknown, "epoch 7"},
		"of a newer epoch":  {func(v *volume) { v.stats.Epoch = 8 }, wire.Unknown, "epoch 7"},
		"by another node":   {func(v *volume) { v.by = 1 }, wire.Unknown, "node 2"},
		"of another volume": {func(v *volume) { v.stats.Key.VUID = 8 }, wire.Unknown, "node 2"},
		"its owner is dead": {func(v *volume) { v.alive = 1 }, wire.Degraded, "node 2, does not keep itself alive"},
		"dead and silent":   {func(v *volume) { v.alive, v.by = 0, 0 }, wire.Degraded, "alive"},
		"being opened":      {func(v *volume) { v.stats.State = "opening" }, wire.Degraded, "opening"},
		"a device is away": {func(v *volume) { v.stats.Down = []cluster.DeviceID{4, 6} }, wire.Degraded,
			"device 4 does not answer|device 6"},
		"chunks are away":  {func(v *volume) { v.stats.Away = 5 }, wire.Degraded, "5 chunks are away"},
		"chunks are stale": {func(v *volume) { v.stats.Stale = 2 }, wire.Degraded, "2 chunks missed"},
		"blocks are lost":  {func(v *volume) { v.stats.Unrepaired = 3 }, wire.Degraded, "3 bad blocks"},
		"it moves": {func(v *volume) { v.stats.MovingTo, v.stats.MovedGroups = 3, 99 }, wire.OnTheWay,
			"99 of"},
		"moved chunks are no harm": {func(v *volume) { v.stats.MovingTo, v.stats.Away = 3, 5 }, wire.OnTheWay,
			"table 3"},
		"it moves while a device is away": {func(v *volume) {
			v.stats.MovingTo, v.stats.Down = 3, []cluster.DeviceID{4}
		}, wire.Degraded, "device 4"},
		"its pool has changed": {func(v *volume) { v.newest = 4 }, wire.OnTheWay, "table 4, 0 of"},
		"its record says that it moves": {func(v *volume) {
			v.owner.Layout = []cluster.Boundary{{Table: 3, Cursor: 9}, {Table: 2, Cursor: cluster.Groups}}
		}, wire.OnTheWay, "table 3"},
	} {
		v := volume{owner: cluster.Owner{Gateway: 2, Epoch: 7, Served: 7,
			Layout: []cluster.Boundary{{Table: 3, Cursor: cluster.Groups}}},
			stats: cluster.VolumeStats{Key: key, Epoch: 7, State: stateServing}, by: 2, alive: 2, newest: 3}
		x.spoil(&v)
		slice := put("a slice", cluster.VolumeSlice{Node: v.by, Volumes: []cluster.VolumeStats{v.stats}})
		s, err := newSituation(store.Result{Items: []store.Item{{Key: slice.Key, Value: slice.Value}}},
			store.Result{Items: []store.Item{{Key: cluster.KeyNodeAlive(v.alive)}}})
		if err != nil {
			t.Fatal(err)
		}
		s.pools["p"] = &cluster.Pool{Name: "p", Changes: make([]cluster.Change, v.newest)}
		got, why := s.judge(&cluster.Volume{Key: key, Pool: "p"}, &v.owner)
		text := strings.Join(why, "\n")
		if got != x.want || (len(why) == 0) != (x.want == wire.OK) {
			t.Errorf("%s: %s %q, want %s", story, got, why, x.want)
		}
		for _, w := range strings.Split(x.why, "|") {
			if !strings.Contains(text, w) {
				t.Errorf("%s: %q does not say %q", story, why, w)
			}
		}
	}
}
