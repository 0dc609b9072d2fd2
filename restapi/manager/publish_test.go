package manager_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/embedetcd/etcdtest"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
)

// etcdTakes is how large etcd lets a request become.
const etcdTakes = 1.5 * (1 << 20)

// TestPublishVeryManyVolumes: what a node says of its volumes may be more than etcd takes at once, and what
// has changed of it is little.
func TestPublishVeryManyVolumes(t *testing.T) {
	c := apitest.NewOn(t, store.NewEtcd(etcdtest.Run(t).Client()))
	c.Pool()
	v := c.Volume(1, "v")
	alive(t, c, 2)
	key := owned(t, c, v, 2)
	st := cluster.NodeStats{Node: 2}
	var shelf []cluster.DeviceID
	for d := range cluster.DeviceID(24) {
		shelf = append(shelf, 3+d)
	}
	for i := range uint32(60_000) {
		st.Volumes = append(st.Volumes, cluster.VolumeStats{Key: cluster.VolumeKey{VUID: i + 1, Generation: 1},
			Epoch: 1, State: "serving", Down: shelf})
	}
	if text, _ := json.Marshal(st.Volumes); len(text) < etcdTakes {
		t.Fatalf("%d bytes are no test", len(text))
	}
	at := int64(0) // the revision of the last write
	publish := func(what string, volumes, written int) {
		t.Helper()
		c.Advance(time.Minute)
		if err := c.Manager.PublishStats(t.Context(), st); err != nil {
			t.Fatal(err)
		}
		there, news, now := told(c, at)
		at = now
		if there != volumes || news != written {
			t.Errorf("%s: %d volumes are told of, %d slices were written; want %d, %d", what, there, news, volumes,
				written)
		}
	}
	all := st.Volumes
	st.Volumes = nil
	publish("none yet", 0, 0)
	st.Volumes = all
	publish("at first", len(st.Volumes), cluster.Slices)
	publish("the same", len(st.Volumes), 0)
	st.Volumes = slices.Clone(st.Volumes)
	st.Volumes[key.VUID-1].Copied = 4096
	publish("one has changed", len(st.Volumes), 1)
	got, err := c.Manager.Volume(t.Context(), v.ID)
	if err != nil || got.State != "serving" || got.Healing == nil || got.Healing.Copied != 4096 {
		t.Errorf("the volume that has: %+v, %v", got, err)
	}
	if h, err := c.Manager.Health(t.Context()); err != nil || h.Volumes.Degraded != 1 {
		t.Errorf("a device does not answer: %+v, %v", h.Volumes, err)
	}
	st.Volumes = st.Volumes[:1]
	st.Volumes[0].Down = nil
	publish("nearly all have gone", 1, 1)
	news, err := c.Manager.Events(t.Context(), manager.Page{Limit: 100}, manager.EventFilter{Kind: "device"})
	kinds := map[string]int{}
	for _, e := range news.Items {
		kinds[e.Kind]++
	}
	const told = 17 // of 16, and of the others
	if err != nil || kinds["device.unreachable"] != told || kinds["device.reachable"] != told {
		t.Errorf("%v, %v", kinds, err)
	}
	st.Volumes = nil
	publish("all have gone", 0, 0)
}

// told counts the volumes of which something is published, and the slices of them that were written after a
// revision, and tells that of the last one.
func told(c *apitest.Cluster, after int64) (volumes, written int, last int64) {
	c.T.Helper()
	snap, err := c.Store.Read(c.T.Context(), store.All(cluster.PrefixVolumeStats))
	if err != nil {
		c.T.Fatal(err)
	}
	last = after
	for _, it := range snap.Results[0].Items {
		var slice cluster.VolumeSlice
		if err := json.Unmarshal(it.Value, &slice); err != nil {
			c.T.Fatal(err)
		}
		volumes += len(slice.Volumes)
		last = max(last, it.Rev)
		if it.Rev > after {
			written++
		}
	}
	return volumes, written, last
}

// TestARackGoes: hundreds of devices that are lost at the same moment, and come back, are told of all the
// same.
func TestARackGoes(t *testing.T) {
	c := apitest.NewOn(t, store.NewEtcd(etcdtest.Run(t).Client()))
	c.Pool() // and nodes
	v := cluster.VolumeStats{Key: cluster.VolumeKey{VUID: 1, Generation: 1}, Epoch: 1, State: "serving"}
	for d := range cluster.DeviceID(300) {
		v.Down = append(v.Down, 100+d)
	}
	lost := []cluster.VolumeStats{v}
	v.Down = nil
	for _, volumes := range [][]cluster.VolumeStats{{v}, lost, {v}} {
		if err := c.Manager.PublishStats(t.Context(), cluster.NodeStats{Node: 2, Volumes: volumes}); err != nil {
			t.Fatal(err)
		}
	}
	news, err := c.Manager.Events(t.Context(), manager.Page{Limit: 100}, manager.EventFilter{Kind: "device"})
	if err != nil || len(news.Items) != 2*17+3 { // three devices were added
		t.Errorf("%d events, %v", len(news.Items), err)
	}
}
