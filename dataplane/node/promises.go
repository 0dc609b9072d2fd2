package node

import (
	"maps"
	"math"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/delta"
)

// promises are the blocks of devices that volumes can count on.
type promises map[cluster.DeviceID]map[cluster.VolumeKey]uint64

// promisesOf is what devices owe to thick volumes: of every page its chunks, spread as the newest group table
// of the pool spreads them. Chance puts a few more chunks here and a few less there; what finds no room on
// its device goes to another.
func promisesOf(s *cluster.State, shares func(cluster.PoolID) map[cluster.DeviceID]float64) promises {
	var out promises
	known := make(map[string]map[cluster.DeviceID]float64)
	for key, v := range s.Volumes {
		p := s.Map.Pools[v.Pool]
		if !v.Thick || p == nil {
			continue
		}
		if known[v.Pool] == nil {
			known[v.Pool] = shares(p.ID)
		}
		pages := (v.Size + p.PageSize() - 1) / p.PageSize()
		blocks := float64(pages) * float64(p.Width()) * float64(p.ChunkSize/cluster.BlockSize)
		for id, share := range known[v.Pool] {
			if out[id] == nil {
				if out == nil {
					out = make(promises)
				}
				out[id] = make(map[cluster.VolumeKey]uint64)
			}
			out[id][key] = uint64(math.Ceil(blocks * share))
		}
	}
	return out
}

// thickened reports that a thick volume is new, another one or gone.
func thickened(was, is *cluster.State) bool {
	return slices.ContainsFunc(delta.Volumes(was, is), func(k cluster.VolumeKey) bool {
		a, b := was.Volumes[k], is.Volumes[k]
		return a != nil && a.Thick || b != nil && b.Thick
	})
}

// promise tells the open devices what they owe by a state, and keeps it for those that will be open.
func (d *disks) promise(s *cluster.State, shares func(cluster.PoolID) map[cluster.DeviceID]float64) {
	was := d.promised
	if d.promised = s; was != nil && len(delta.Keys(was.Map.Pools, s.Map.Pools)) == 0 && !thickened(was, s) {
		return
	}
	owed := promisesOf(s, shares)
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, k := range d.mu.open {
		if k.store != nil && !maps.Equal(owed[id], d.mu.owed[id]) {
			k.store.Promise(owed[id])
		}
	}
	d.mu.owed = owed
}
