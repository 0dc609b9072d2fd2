package watch

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// table is the state under construction. Owned by one goroutine; what state returns is never changed
// afterwards: a collection is copied before its first change after a state was taken.
type table struct {
	next    cluster.State
	m       cluster.Map
	volumes map[cluster.UUID]cluster.VolumeKey // a deletion names only the uuid
	broken  map[string]struct{}                // keys of volume records that could not be read
	news    cluster.News                       // since the last state; Since is 0 before the first

	shared struct{ nodes, devices, pools, volumes, owners, snapshots bool } // part of a state that was given out
}

func newTable() *table {
	return &table{
		next: cluster.State{Volumes: map[cluster.VolumeKey]*cluster.Volume{},
			Owners: map[cluster.VolumeKey]*cluster.OwnerAt{}, Snapshots: map[cluster.UUID]*cluster.SnapshotAt{}},
		m: cluster.Map{Nodes: map[cluster.NodeID]*cluster.Node{}, Devices: map[cluster.DeviceID]*cluster.Device{},
			Pools: map[string]*cluster.Pool{}},
		volumes: map[cluster.UUID]cluster.VolumeKey{}, broken: map[string]struct{}{},
	}
}

// state gives out what was built, as of a revision.
func (t *table) state(revision int64) *cluster.State {
	m, s := t.m, t.next
	s.Map, s.Revision = &m, revision
	s.Unreadable = len(t.broken) > 0
	if news := t.news; news.Since != 0 {
		s.News = &news
	}
	t.news = cluster.News{Since: revision}
	t.shared.nodes, t.shared.devices, t.shared.pools = true, true, true
	t.shared.volumes, t.shared.owners, t.shared.snapshots = true, true, true
	return &s
}

// note adds a volume to what the next state has for news; before the first one there is none.
func (t *table) note(list *[]cluster.VolumeKey, key cluster.VolumeKey) {
	if t.news.Since != 0 && !slices.Contains(*list, key) {
		*list = append(*list, key)
	}
}

// own makes a collection safe to change.
func own[K comparable, V any](m *map[K]V, shared *bool) map[K]V {
	if *shared {
		*m = maps.Clone(*m)
		*shared = false
	}
	return *m
}

// put applies one key that was written. changed is false for keys that no state shows. On an error the record
// before stays; that a volume's record cannot be read is a change, too.
func (t *table) put(kv *mvccpb.KeyValue) (changed bool, err error) {
	key := string(kv.Key)
	switch {
	case key == cluster.KeyCluster:
		err = decode(kv, &t.m.Cluster)
	case key == cluster.KeyVoters:
		err = decode(kv, &t.m.Voters)
	case key == cluster.KeyClusterKeys:
		err = decode(kv, &t.next.ClusterKeys)
	case key == cluster.KeyAuthority:
		err = decode(kv, &t.next.Authority)
	case key == cluster.KeyMapEpoch:
		err = decodeNumber(kv, &t.m.Epoch)
	case key == cluster.KeyCounterVUID:
		err = decodeNumber(kv, &t.next.LastSerial)
	case strings.HasPrefix(key, cluster.PrefixNodes):
		err = t.putNode(kv)
	case strings.HasPrefix(key, cluster.PrefixDevices):
		err = t.putDevice(kv)
	case strings.HasPrefix(key, cluster.PrefixPools):
		err = t.putPool(kv)
	case strings.HasPrefix(key, cluster.PrefixVolumes):
		err = t.putVolume(kv)
	case strings.HasPrefix(key, cluster.PrefixOwners):
		err = t.putOwner(kv)
	case strings.HasPrefix(key, cluster.PrefixSnapshots):
		return t.putSnapshot(kv)
	default:
		return false, nil
	}
	delete(t.broken, key)
	if err != nil {
		if strings.HasPrefix(key, cluster.PrefixVolumes) {
			t.broken[key] = struct{}{}
			changed = true
		}
		return changed, fmt.Errorf("record %s at revision %d ignored: %w", key, kv.ModRevision, err)
	}
	return true, nil
}

func (t *table) putNode(kv *mvccpb.KeyValue) error {
	n := new(cluster.Node)
	if err := decode(kv, n); err != nil {
		return err
	}
	if err := atKey(kv, cluster.KeyNode(n.Number)); err != nil {
		return err
	}
	own(&t.m.Nodes, &t.shared.nodes)[n.Number] = n
	return nil
}

func (t *table) putDevice(kv *mvccpb.KeyValue) error {
	d := new(cluster.Device)
	if err := decode(kv, d); err != nil {
		return err
	}
	if err := atKey(kv, cluster.KeyDevice(d.Number)); err != nil {
		return err
	}
	own(&t.m.Devices, &t.shared.devices)[d.Number] = d
	return nil
}

func (t *table) putPool(kv *mvccpb.KeyValue) error {
	p := new(cluster.Pool)
	if err := decode(kv, p); err != nil {
		return err
	}
	if err := p.Validate(); err != nil {
		return err
	}
	if err := atKey(kv, cluster.KeyPool(p.Name)); err != nil {
		return err
	}
	own(&t.m.Pools, &t.shared.pools)[p.Name] = p
	return nil
}

func (t *table) putVolume(kv *mvccpb.KeyValue) error {
	v := new(cluster.Volume)
	if err := decode(kv, v); err != nil {
		return err
	}
	if err := v.Validate(); err != nil {
		return err
	}
	if err := atKey(kv, cluster.KeyVolume(v.UUID)); err != nil {
		return err
	}
	if before, ok := t.volumes[v.UUID]; ok && before != v.Key {
		return fmt.Errorf("volume key changed from %v to %v", before, v.Key)
	}
	own(&t.next.Volumes, &t.shared.volumes)[v.Key] = v
	t.note(&t.news.Volumes, v.Key)
	t.volumes[v.UUID] = v.Key
	return nil
}

func (t *table) putOwner(kv *mvccpb.KeyValue) error {
	key, err := cluster.ParseOwnerKey(string(kv.Key))
	if err != nil {
		return err
	}
	o := &cluster.OwnerAt{Revision: kv.ModRevision}
	if err := decode(kv, &o.Owner); err != nil {
		return err
	}
	if before := t.next.Owners[key]; before != nil && o.Epoch < before.Epoch {
		return fmt.Errorf("owner epoch went back from %d to %d", before.Epoch, o.Epoch)
	}
	own(&t.next.Owners, &t.shared.owners)[key] = o
	t.note(&t.news.Owners, key)
	return nil
}

// putSnapshot keeps only what nodes have to do with: a volume may have very many snapshots that just are.
func (t *table) putSnapshot(kv *mvccpb.KeyValue) (changed bool, err error) {
	s := &cluster.SnapshotAt{Revision: kv.ModRevision}
	if err = decode(kv, &s.Snapshot); err == nil {
		err = s.Validate()
	}
	if err == nil {
		err = atKey(kv, cluster.KeySnapshot(s.UUID))
	}
	if err != nil {
		return false, fmt.Errorf("record %s at revision %d ignored: %w", kv.Key, kv.ModRevision, err)
	}
	if !s.Unsettled() && len(s.Hosts) == 0 {
		return drop(&t.next.Snapshots, &t.shared.snapshots, s.UUID), nil
	}
	own(&t.next.Snapshots, &t.shared.snapshots)[s.UUID] = s
	return true, nil
}

// remove applies one key that was deleted. changed is as for put.
func (t *table) remove(key string) (changed bool) {
	if u, ok := strings.CutPrefix(key, cluster.PrefixVolumes); ok {
		_, changed = t.broken[key]
		delete(t.broken, key)
		return t.removeVolume(u) || changed
	}
	if _, ok := strings.CutPrefix(key, cluster.PrefixOwners); ok {
		k, err := cluster.ParseOwnerKey(key)
		if err != nil {
			return false
		}
		t.note(&t.news.Owners, k)
		return drop(&t.next.Owners, &t.shared.owners, k)
	}
	if u, ok := strings.CutPrefix(key, cluster.PrefixSnapshots); ok {
		id, err := cluster.ParseUUID(u)
		return err == nil && drop(&t.next.Snapshots, &t.shared.snapshots, id)
	}
	if name, ok := strings.CutPrefix(key, cluster.PrefixPools); ok {
		return drop(&t.m.Pools, &t.shared.pools, name)
	}
	if n, ok := cutNumber(key, cluster.PrefixNodes); ok {
		return drop(&t.m.Nodes, &t.shared.nodes, cluster.NodeID(n))
	}
	if n, ok := cutNumber(key, cluster.PrefixDevices); ok {
		return drop(&t.m.Devices, &t.shared.devices, cluster.DeviceID(n))
	}
	return false
}

func (t *table) removeVolume(uuid string) bool {
	u, err := cluster.ParseUUID(uuid)
	key, ok := t.volumes[u]
	if err != nil || !ok {
		return false
	}
	delete(t.volumes, u)
	t.note(&t.news.Volumes, key)
	return drop(&t.next.Volumes, &t.shared.volumes, key)
}

func drop[K comparable, V any](m *map[K]V, shared *bool, key K) bool {
	if _, ok := (*m)[key]; !ok {
		return false
	}
	delete(own(m, shared), key)
	return true
}

func decode[T any](kv *mvccpb.KeyValue, to *T) error {
	var v T // decoded aside: a broken value must not leave half of itself behind
	if err := json.Unmarshal(kv.Value, &v); err != nil {
		return err
	}
	*to = v
	return nil
}

func decodeNumber[T ~uint32 | ~uint64](kv *mvccpb.KeyValue, to *T) error {
	n, err := strconv.ParseUint(string(kv.Value), 10, 64)
	if err != nil {
		return err
	}
	if uint64(T(n)) != n {
		return fmt.Errorf("number %d is out of range", n)
	}
	*to = T(n)
	return nil
}

func atKey(kv *mvccpb.KeyValue, want string) error {
	if string(kv.Key) != want {
		return fmt.Errorf("the record says it belongs at %s", want)
	}
	return nil
}

func cutNumber(key, prefix string) (uint64, bool) {
	s, ok := strings.CutPrefix(key, prefix)
	n, err := strconv.ParseUint(s, 10, 32)
	return n, ok && err == nil
}
