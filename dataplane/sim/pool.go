package sim

import (
	"fmt"
	"sync"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
)

// The history of every pool is the same: devices of one more node join, the device of victim leaves, devices
// of yet another node join. In a pool that returns, those that joined leave. A schedule goes as far along as
// its map changes take it.
const (
	joins      = 2 // nodes whose devices join
	maxChanges = 3
	victim     = cluster.DeviceID(2)
	leaves     = 2 // the number of the first table without the victim
)

// pool is the group tables of a shape's pool, as far as they have been asked for. Safe for concurrent use: a
// table takes longer to compute than a schedule to play.
type pool struct {
	shape  Shape
	mu     sync.Mutex
	tables []*placement.Table
}

// members are the devices of nodes from..to-1, counted from 0.
func (s Shape) members(from, to int) (out []cluster.Member) {
	for n := from; n < to; n++ {
		for i := range s.PerNode {
			out = append(out, cluster.Member{Device: s.device(n, i), Weight: 16,
				Domain: fmt.Sprintf("az/rack/%d", n+1)})
		}
	}
	return out
}

// device is the number of device i of node n, both counted from 0.
func (s Shape) device(n, i int) cluster.DeviceID { return cluster.DeviceID(n*s.PerNode + i + 1) }

// change is the change that makes table k.
func (s Shape) change(k uint32) cluster.Change {
	switch {
	case k == leaves && s.Returns:
		c := cluster.Change{Kind: cluster.ChangeRemove}
		for i := range s.PerNode {
			c.Members = append(c.Members, cluster.Member{Device: s.device(s.Domains, i)})
		}
		return c
	case k == 1:
		return cluster.Change{Kind: cluster.ChangeAdd, Members: s.members(s.Domains, s.Domains+1)}
	case k == leaves:
		return cluster.Change{Kind: cluster.ChangeRemove, Members: []cluster.Member{{Device: victim}}}
	}
	return cluster.Change{Kind: cluster.ChangeAdd, Members: s.members(s.Domains+1, s.Domains+joins)}
}

// table is the table after so many changes.
func (p *pool) table(number uint32) (*placement.Table, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for uint32(len(p.tables)) <= number {
		t, err := p.next()
		if err != nil {
			return nil, fmt.Errorf("table %d of %v: %w", len(p.tables), p.shape, err)
		}
		p.tables = append(p.tables, t)
	}
	return p.tables[number], nil
}

func (p *pool) next() (*placement.Table, error) {
	if n := uint32(len(p.tables)); n > 0 {
		return p.tables[n-1].Fold(p.shape.change(n))
	}
	return placement.New(&cluster.Pool{Name: "p", Code: cluster.CodeReplica, Data: 1,
		Parity: p.shape.width() - 1, Domain: cluster.DomainNode, ChunkSize: cluster.MinChunkSize,
		StripeUnit: cluster.BlockSize, Members: p.shape.members(0, p.shape.Domains)})
}

// Pools keeps the pools of all shapes. Safe for concurrent use.
type Pools struct {
	mu    sync.Mutex
	pools map[poolKey]*pool
}

// poolKey is what the tables of a pool follow from.
type poolKey struct {
	width, domains, perNode int
	returns                 bool
}

func (p *Pools) of(s Shape) *pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pools == nil {
		p.pools = map[poolKey]*pool{}
	}
	key := poolKey{s.width(), s.Domains, s.PerNode, s.Returns}
	if p.pools[key] == nil {
		p.pools[key] = &pool{shape: s}
	}
	return p.pools[key]
}

// table is one of the pool's tables.
func (w *World) table(number uint32) *placement.Table {
	t, err := w.pool.table(number)
	if err != nil {
		w.failf("%v", err)
	}
	return t
}

// tables are those up to a number.
func (w *World) tables(newest uint32) map[uint32]*placement.Table {
	out := map[uint32]*placement.Table{}
	for k := range newest + 1 {
		out[k] = w.table(k)
	}
	return out
}

// home is the device of a column of a page, as the owner record has it.
func (w *World) home(vol int, page uint64, column uint8) *device {
	group := placement.Group(w.volumes[vol].key, page)
	number := uint32(0)
	for _, b := range w.etcd.records[vol].Layout {
		if uint32(group) < b.Cursor {
			number = b.Table
			break
		}
	}
	return w.devices[w.table(number).Row(group)[column]]
}

// changeMap makes the next table of the pool.
func (w *World) changeMap() bool {
	if w.newest >= w.plan.Changes {
		return false
	}
	w.newest++
	w.logf("the map changes: table %d", w.newest)
	return true
}

// destroy loses the device that leaves the pool next, for good.
func (w *World) destroy() bool {
	if w.newest != leaves-1 || w.plan.Changes < leaves || w.hasLost() || !w.allows(1) || w.shape.Parity == 0 {
		return false
	}
	d := w.devices[victim]
	if !w.plan.Beyond {
		for v := range w.volumes {
			for page := range w.shape.Pages {
				if w.entriesOf(v, page)+w.impaired()+1 > w.shape.Parity {
					return false
				}
			}
		}
	}
	d.die()
	return true
}

func (w *World) hasLost() bool { return w.plan.Changes >= leaves && w.devices[victim].lost }

// rebuilt tells whether nothing depends on the lost device any more.
func (w *World) rebuilt() bool {
	if !w.hasLost() {
		return true
	}
	for i, v := range w.volumes {
		layout := w.etcd.records[i].Layout
		if e := w.owner(v); e == nil || !w.rests(e) || len(layout) != 1 || layout[0].Table < leaves {
			return false
		}
	}
	return true
}
