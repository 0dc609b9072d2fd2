package manager

import (
	"context"
	"fmt"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// view is the cluster map with the revisions it was read at, and the answers to further queries of the same
// revision.
type view struct {
	*cluster.Map
	rev   int64            // of the read
	revs  map[string]int64 // of every key under map/
	extra []store.Result
}

// readMap reads the whole map. The error is a refusal while the cluster does not exist.
func (m *Manager) readMap(ctx context.Context, extra ...store.Query) (*view, error) {
	queries := append([]store.Query{store.Key(cluster.KeyCluster), store.All(cluster.PrefixMap)}, extra...)
	snap, err := m.store.Read(ctx, queries...)
	if err != nil {
		return nil, err
	}
	v := &view{
		Map: &cluster.Map{
			Nodes:   make(map[cluster.NodeID]*cluster.Node),
			Devices: make(map[cluster.DeviceID]*cluster.Device),
			Pools:   make(map[string]*cluster.Pool),
		},
		rev:   snap.Rev,
		revs:  make(map[string]int64),
		extra: snap.Results[2:],
	}
	if snap.One(0).Rev == 0 {
		return nil, refuse(wire.Unavailable, "", "the cluster is not set up yet")
	}
	if v.Cluster, err = decode[cluster.ClusterInfo](snap.One(0)); err != nil {
		return nil, err
	}
	for _, it := range snap.Results[1].Items {
		v.revs[it.Key] = it.Rev
		if err := v.add(it); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// add puts one record of the map into its place.
func (v *view) add(it store.Item) (err error) {
	switch {
	case it.Key == cluster.KeyMapEpoch:
		v.Epoch, err = decode[cluster.Epoch](it)
	case it.Key == cluster.KeyVoters:
		v.Voters, err = decode[cluster.VoterList](it)
	case strings.HasPrefix(it.Key, cluster.PrefixNodes):
		var n cluster.Node
		n, err = decode[cluster.Node](it)
		v.Nodes[n.Number] = &n
	case strings.HasPrefix(it.Key, cluster.PrefixDevices):
		var d cluster.Device
		d, err = decode[cluster.Device](it)
		v.Devices[d.Number] = &d
	case strings.HasPrefix(it.Key, cluster.PrefixPools):
		var p cluster.Pool
		p, err = decode[cluster.Pool](it)
		v.Pools[p.Name] = &p
	default:
		err = fmt.Errorf("record %s: no part of the map is called so", it.Key)
	}
	return err
}

// change starts a transaction that changes the map: it holds only if no other change came in between, because
// every one of them raises the epoch.
func (v *view) change() *store.Txn {
	return &store.Txn{
		If:  []store.Cond{{Key: cluster.KeyMapEpoch, Rev: v.revs[cluster.KeyMapEpoch]}},
		Put: []store.Put{put(cluster.KeyMapEpoch, v.Epoch+1)},
	}
}

// set adds a record of the map to a change.
func (v *view) set(t *store.Txn, key string, record any) {
	t.If = append(t.If, store.Cond{Key: key, Rev: v.revs[key]})
	t.Put = append(t.Put, put(key, record))
}

// unset adds to a change that a record of the map is gone.
func (v *view) unset(t *store.Txn, key string) {
	t.If = append(t.If, store.Cond{Key: key, Rev: v.revs[key]})
	t.Delete = append(t.Delete, key)
}

// commit does a change of the map. What is drawn afterwards has the new revisions.
func (v *view) commit(ctx context.Context, s Store, t *store.Txn) error {
	rev, err := s.Commit(ctx, *t)
	if err != nil {
		return err
	}
	for _, p := range t.Put {
		v.revs[p.Key] = rev
	}
	return nil
}

// version is the ETag of what is drawn from a record of the map.
func (v *view) version(key string) wire.Versioned { return wire.Versioned{ETag: etag(v.revs[key])} }

// storageNodes are the nodes that have a device, removed ones not counted, by number.
func (v *view) storageNodes() []*cluster.Node {
	has := make(map[cluster.NodeID]bool)
	for _, d := range v.Devices {
		if d.State != cluster.DeviceRemoved {
			has[d.Node] = true
		}
	}
	var out []*cluster.Node
	for _, n := range v.SortedNodes() {
		if has[n.Number] {
			out = append(out, n)
		}
	}
	return out
}

// readStats decodes what the nodes published.
func readStats(r store.Result) (map[cluster.NodeID]cluster.NodeStats, error) {
	out := make(map[cluster.NodeID]cluster.NodeStats, len(r.Items))
	for _, it := range r.Items {
		st, err := decode[cluster.NodeStats](it)
		if err != nil {
			return nil, err
		}
		out[st.Node] = st
	}
	return out, nil
}
