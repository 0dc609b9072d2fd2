package gateway

import (
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
)

// pool is what a gateway keeps of a pool. Pools are told apart by their numbers: when one was deleted,
// another may be made of the same name, with other tables, other limits, and nothing counted. The volumes of
// a pool that is gone, which are on their way out, keep what there was.
type pool struct {
	id       cluster.PoolID
	name     string
	tables   []*placement.Table // by number; Gateway.mu is held
	past     tally              // of sessions that have ended; Gateway.books is held
	throttle *throttle          // nil: nothing bounds it; Gateway.bounds is held
}

// followPools computes the group tables of new pools and of changes of known ones, forgets pools that are
// gone, and names the sessions whose pool has changed. A pool's history is only ever appended to, so a table
// that was computed stays right. g.mu is held.
func (g *Gateway) followPools(s *cluster.State) (moved []*session, err error) {
	known, changed := make(map[cluster.PoolID]*pool, len(s.Map.Pools)), make(map[*pool]bool)
	for name, rec := range s.Map.Pools {
		p := g.mu.known[rec.ID]
		if p == nil {
			p = &pool{id: rec.ID, name: name}
		}
		known[rec.ID] = p
		for len(p.tables) <= len(rec.Changes) {
			t, failed := nextTable(rec, p.tables)
			if failed != nil {
				err = fmt.Errorf("group table %d of pool %q: %w", len(p.tables), name, failed)
				break
			}
			p.tables = append(p.tables, t)
			changed[p] = true
		}
	}
	if g.mu.known = known; len(changed) == 0 {
		return nil, err
	}
	for _, v := range g.mu.volumes {
		if ses := v.session.Load(); ses != nil && changed[v.pool] {
			moved = append(moved, ses)
		}
	}
	return moved, err
}

// nextTable is the first table of a pool, or the fold of its next change.
func nextTable(p *cluster.Pool, known []*placement.Table) (*placement.Table, error) {
	if n := len(known); n > 0 {
		return known[n-1].Fold(p.Changes[n-1])
	}
	first := *p
	first.Changes = nil
	return placement.New(&first)
}

// known are the pools that there are now.
func (g *Gateway) known() map[cluster.PoolID]*pool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.known
}

// tables are the group tables of a volume's pool by number.
func (g *Gateway) tables(v *Volume) map[uint32]*placement.Table {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make(map[uint32]*placement.Table)
	for _, t := range v.pool.tables {
		out[t.Number()] = t
	}
	return out
}

// Shares tells which part of a pool's data every device is to have, 0 to 1; nil for a pool that it does not
// know.
func (g *Gateway) Shares(id cluster.PoolID) map[cluster.DeviceID]float64 {
	g.mu.Lock()
	var newest *placement.Table
	if p := g.mu.known[id]; p != nil && len(p.tables) > 0 {
		newest = p.tables[len(p.tables)-1]
	}
	g.mu.Unlock()
	if newest == nil {
		return nil
	}
	return newest.Shares()
}
