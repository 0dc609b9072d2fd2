package manager

import (
	"context"
	"hash/fnv"
	"maps"
	"reflect"
	"strconv"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
)

// publishedAtOnce bounds the bytes of the slices that one transaction writes; etcd takes 1.5 MiB.
const publishedAtOnce = 512 << 10

// PublishStats keeps what a node says of itself, for every node to show. It writes only what changed, and
// nothing if that is only the time, so a daemon may call it every few seconds. Volumes may take more than one
// transaction; what is told of each of them is always as of one moment.
func (m *Manager) PublishStats(ctx context.Context, st cluster.NodeStats) error {
	slices := sliced(&st)
	for more := true; more; {
		err := m.decide(ctx, func() (err error) {
			more, err = m.publishSome(ctx, st, slices)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sliced makes the records of slices of a node's volumes, and leaves in st what its own record tells of them.
func sliced(st *cluster.NodeStats) map[uint32]store.Put {
	members := make(map[uint32][]cluster.VolumeStats)
	st.Slices, st.Down = nil, nil
	for _, v := range st.Volumes {
		n := cluster.SliceOf(v.Key)
		members[n] = append(members[n], v)
		for _, d := range v.Down {
			if st.Down == nil {
				st.Down = make(map[cluster.DeviceID]int)
			}
			st.Down[d]++
		}
	}
	st.Volumes = nil
	out := make(map[uint32]store.Put, len(members))
	for n, volumes := range members {
		if st.Slices == nil {
			st.Slices = make(map[uint32]string, len(members))
		}
		out[n] = put(cluster.KeyVolumeStats(n, st.Node), cluster.VolumeSlice{Node: st.Node, Volumes: volumes})
		sum := fnv.New64a()
		_, _ = sum.Write(out[n].Value)
		st.Slices[n] = strconv.FormatUint(sum.Sum64(), 36)
	}
	return out
}

// publishSome writes st and as many slices that changed as one transaction takes, and tells whether there are
// more.
func (m *Manager) publishSome(ctx context.Context, st cluster.NodeStats, slices map[uint32]store.Put) (
	more bool, err error,
) {
	key, nodeKey := cluster.KeyNodeStats(st.Node), cluster.KeyNode(st.Node)
	snap, err := m.store.Read(ctx, store.Key(nodeKey), store.Key(key))
	if err != nil {
		return false, err
	}
	node, old := snap.One(0), snap.One(1)
	if node.Rev == 0 {
		return false, notFound("node", st.Node)
	}
	st.Updated = m.stamp()
	txn := store.Txn{If: []store.Cond{{Key: nodeKey, Rev: node.Rev}, {Key: key, Rev: old.Rev}}}
	var was cluster.NodeStats
	if old.Rev != 0 {
		was, err = decode[cluster.NodeStats](old)
		was.Updated = st.Updated
		if err == nil && reflect.DeepEqual(was, st) {
			return false, nil
		}
		if err == nil {
			m.noteStats(&txn, &was, &st)
		}
	}
	st.Slices, more = addSlices(&txn, &was, &st, slices)
	txn.Put = append(txn.Put, put(key, st))
	_, err = m.store.Commit(ctx, txn)
	return more, err
}

// addSlices adds the slices that changed to a transaction that changes the node's own record, as far as there
// is room, and returns the checksums of those that there are then.
func addSlices(t *store.Txn, was, is *cluster.NodeStats, slices map[uint32]store.Put) (
	sums map[uint32]string, more bool,
) {
	sums = make(map[uint32]string, len(is.Slices))
	maps.Copy(sums, was.Slices)
	bytes := 0
	for n := range uint32(cluster.Slices) {
		if was.Slices[n] == is.Slices[n] {
			continue
		}
		p, full := slices[n], len(t.Put)+len(t.Delete) >= store.MaxOps-1
		if full || bytes > 0 && bytes+len(p.Value) > publishedAtOnce {
			return sums, true
		}
		key := cluster.KeyVolumeStats(n, is.Node)
		t.Blind = append(t.Blind, key) // nobody else writes it, and this node only with its own record
		if p.Key == "" {
			t.Delete = append(t.Delete, key)
			delete(sums, n)
			continue
		}
		t.Put = append(t.Put, p)
		sums[n] = is.Slices[n]
		bytes += len(p.Value)
	}
	return sums, false
}
