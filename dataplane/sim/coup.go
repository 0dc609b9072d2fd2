package sim

import (
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Faults that look at what is going on and strike at the worst moment.

// sever cuts two nodes off from each other.
func sever(links cuts, a, b *node, until int64) {
	links[[2]cluster.NodeID{a.id, b.id}] = until
	links[[2]cluster.NodeID{b.id, a.id}] = until
}

// The kinds of coups: why the owner does not hear of its successor.
const (
	votersRestart  = iota // right after they have stored the fence
	leaseLate             // its last renewals are answered, but late
	voterAlone            // no other voter than its own stores the successor's fence
	isolated              // it hears nothing at all
	heard                 // it does hear of it, from voters
	devicesRestart        // after they have stored the fence; then it reaches them again
	unrecorded            // it hears nothing; its successor ends before the arbiter knows that it serves
)

// kindOf draws what kind of coup a fault is.
func kindOf(f Fault) int {
	return [...]int{votersRestart, leaseLate, leaseLate, leaseLate, voterAlone, isolated, isolated, heard,
		devicesRestart, unrecorded, unrecorded}[f.C%11]
}

// coup lets a gateway take over from an owner that is cut off from it, reaches only the devices of its own
// node, and hears nothing of the arbiter.
func (w *World) coup(f Fault) bool {
	vol := int(f.A % uint64(len(w.volumes)))
	at := int(w.etcd.records[vol].Gateway) - 1
	owner := w.nodes[at]
	n := w.nodes[(at+1+int(f.B%uint64(w.shape.Gateways-1)))%w.shape.Gateways]
	if n.gw == nil || n.gw.sessions[vol] != nil || owner.gw == nil || owner.gw.serving(vol) == nil ||
		w.now < owner.thaw || w.now < n.thaw {
		return false
	}
	until, late := w.now+4*second+f.duration()/2, int64(0)
	sever(w.cuts, owner, n, until)
	owner.blindUntil = until
	if k := kindOf(f); k == leaseLate || k == unrecorded { // much is under way when it is cut off
		owner.lagUntil, late = until, 3*second/2
		until += late
	}
	w.after(late, func() {
		if w.load.quiet {
			return
		}
		for _, o := range w.nodes {
			if o != owner {
				sever(w.wires, owner, o, until)
				w.strand(f, owner, n, o, until)
			}
		}
		n.at(n.life, func() {
			n.gw.known[vol] = w.etcd.records[vol]
			n.gw.takeOver(vol)
		})
		if kindOf(f) == unrecorded {
			w.depose(owner, n, 11*second/5+int64(f.C>>8%uint64(second)))
		}
	})
	return true
}

// depose ends a new owner before the arbiter has heard that it serves, and lets the old one back.
func (w *World) depose(owner, n *node, after int64) {
	w.after(100*millisecond, func() { w.etcd.downUntil = w.now + 4*second })
	w.after(after, func() {
		if w.load.quiet || !n.up {
			return
		}
		n.stop(true)
		for _, o := range w.nodes {
			sever(w.cuts, owner, o, 0)
			sever(w.wires, owner, o, 0)
		}
		owner.blindUntil = 0
		w.after(second, n.start)
	})
}

// strand does to another node what a coup needs.
func (w *World) strand(f Fault, owner, n, o *node, until int64) {
	again := func(d int64, then func()) {
		w.after(d, func() {
			if !w.load.quiet {
				o.stop(true)
				w.after(10*millisecond, func() {
					o.start()
					then()
				})
			}
		})
	}
	soon := int64(f.C >> 8 % uint64(150*millisecond))
	switch kindOf(f) {
	case votersRestart:
		if o.votes && o != n {
			again(10*millisecond+soon, func() {})
		}
	case leaseLate:
		w.cuts[[2]cluster.NodeID{owner.id, o.id}] = until
	case voterAlone:
		if o != n {
			o.deafUntil = until
		}
	case isolated, unrecorded:
		sever(w.cuts, owner, o, until)
	case devicesRestart:
		owner.muteUntil = until
		if o != n {
			again(3*second/2+soon, func() { sever(w.wires, owner, o, 0) })
		}
	}
}

// relay is a column of a page whose home goes, comes back while the device is away that stood in for it, and
// goes again the very moment that this one is back.
type relay struct {
	w        *World
	vol      int
	page     uint64
	column   uint8
	home, by *node
	pause    int64
	deadline int64
}

func (w *World) relay(f Fault) bool {
	r := &relay{w: w, vol: int(f.A % uint64(len(w.volumes))), page: f.B % w.shape.Pages,
		column: uint8(f.C % uint64(w.shape.width())), pause: int64(f.C >> 8 % uint64(500*millisecond)),
		deadline: w.now + 15*second}
	r.home = w.home(r.vol, r.page, r.column).node
	if !r.home.up || w.now < r.home.thaw || w.etcd.records[r.vol].Gateway == r.home.id {
		return false
	}
	r.home.stop(true)
	r.when(r.standIn, func() {
		r.by.stop(true)
		r.home.start()
		r.when(func() bool { return r.entry() == nil }, func() {
			r.by.start()
			r.when(r.back, func() {
				for _, d := range r.by.devices {
					d.lazyUntil = w.now + second
				}
				w.after(r.pause, func() {
					if !w.load.quiet {
						r.home.stop(true)
						w.after(2*second, r.home.start)
					}
				})
			})
		})
	})
	return true
}

// when does something as soon as a condition holds; if it takes too long both nodes come back.
func (r *relay) when(ripe func() bool, do func()) {
	switch w := r.w; {
	case w.load.quiet:
	case w.now > r.deadline:
		r.home.start()
		if r.by != nil {
			r.by.start()
		}
	case ripe():
		do()
	default:
		w.after(5*millisecond, func() { r.when(ripe, do) })
	}
}

// entry is the newest journal entry of the column, if it is not gone.
func (r *relay) entry() (newest *chunk.JournalEntry) {
	for _, d := range r.w.order {
		for _, x := range d.journal(r.w.volumes[r.vol].key) {
			if x.Page == r.page && x.Column == r.column && (newest == nil || x.Seq > newest.Seq) {
				newest = &x
			}
		}
	}
	if newest == nil || newest.Gone {
		return nil
	}
	return newest
}

// standIn tells whether an alternate has data of the column.
func (r *relay) standIn() bool {
	x := r.entry()
	if x == nil || len(x.Places) == 0 {
		return false
	}
	at := x.Places[len(x.Places)-1]
	d := r.w.devices[at.Device]
	held, ok := d.disk.residency(r.w.volumes[r.vol].key, r.page, r.column)
	if !ok || held != at.Residency || r.w.etcd.records[r.vol].Gateway == d.node.id || d.node == r.home {
		return false
	}
	r.by = d.node
	return true
}

// back tells whether the owner reckons with the stand-in again.
func (r *relay) back() bool {
	e := r.w.owner(r.w.volumes[r.vol])
	if e == nil || !r.by.up {
		return false
	}
	for _, id := range e.Stats().Down {
		if r.w.devices[id].node == r.by {
			return false
		}
	}
	return true
}

// amnesia lets a device forget the next write of a block of parity, once the row is complete. A block of data
// is left alone: who reads only that cannot notice. So is the only parity: a partial write that reads a data
// column that was not written later cannot notice.
func (w *World) amnesia(f Fault) bool {
	if w.shape.Data == 1 || w.shape.Parity < 2 || w.plan.Changes > 0 || w.plan.Beyond {
		return false
	}
	vol := int(f.A % uint64(len(w.volumes)))
	page, row := f.B%w.shape.Pages, uint16(f.B>>32%w.shape.ChunkBlocks)
	column := uint8(w.shape.Data + int(f.C%uint64(w.shape.Parity)))
	d, key := w.home(vol, page, column), w.volumes[vol].key
	old, data := d.disk.newest(key, page, column, row)
	if old.State != chunk.Data {
		return false
	}
	was := append([]byte(nil), data...)
	w.after(int64(f.C>>8%uint64(2*second)), func() {
		now := d.newest(key, page, column, row)
		s := spot{d: d, vol: vol, page: page, column: column, row: row, version: now.W, older: true}
		if w.load.quiet || now.W <= old.W || now.State != chunk.Data || w.home(vol, page, column) != d ||
			!w.affords(s) || !w.plan.Beyond && !w.complete(vol, page, row) ||
			w.volumes[vol].pinned(old.W, now.W) {
			return
		}
		if d.disk.forget(key, page, column, row, now.W, old, was) {
			w.faults.spots = append(w.faults.spots, s)
			w.logf("forgotten: page %d column %d row %d on device %d: %v, now %v", page, column, row, d.id, now.W,
				old.W)
		}
	})
	return true
}
