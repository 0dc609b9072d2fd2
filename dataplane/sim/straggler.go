package sim

import "github.com/ashlar-storage/ashlar/dataplane/chunk"

// straggler arms a device: the moment it is the first to carry out a row write, its node is cut off and the
// owner's process ends, so mostly nobody else has it. The next open goes without the device, which comes back
// when hosts work again.
func (w *World) straggler(f Fault, d *device) bool {
	owner := w.nodes[w.etcd.records[0].Gateway-1]
	if !w.armable(d, owner) {
		return false
	}
	d.written = func(r *chunk.Request) {
		if r.Op != chunk.OpWrite || !w.first(d, r) {
			return
		}
		d.written = nil
		if w.load.quiet || !owner.up || !w.allows(len(w.order)) {
			return
		}
		w.logf("device %d is left alone", d.id)
		w.workBeside(r)
		w.alone(d.node, w.now+8*second)
		epoch := w.etcd.records[0].Epoch
		for _, n := range sortedKeys(owner.gw.conns) { // what is on its way is lost
			for _, x := range owner.gw.conns[n].flights {
				x.gone = true
			}
		}
		owner.stop(true)
		w.after(100*millisecond, owner.start)
		w.succeeded(f, d, epoch)
	}
	return true
}

// armable tells whether a device can wait for a write of a volume that is served by another node.
func (w *World) armable(d *device, owner *node) bool {
	return d.node != owner && d.node.up && owner.gw != nil && owner.gw.serving(0) != nil && d.written == nil
}

// hermit arms a device: soon after it has emptied a block of a row that holds other data, its node ends, and
// hosts empty the rest of the row. Then the power fails: the device is there for the next owner, and has not
// heard that anything of this is complete.
func (w *World) hermit(d *device) bool {
	if !w.armable(d, w.nodes[w.etcd.records[0].Gateway-1]) {
		return false
	}
	d.written = func(r *chunk.Request) {
		x := r.Blocks[0]
		if r.Op != chunk.OpTombstone || int(r.Column) >= w.shape.Data || x.Set&x.Mask == 0 || w.load.quiet {
			return
		}
		if _, held := d.disk.Versions(r.Vol, r.Page, r.Column, r.Block); len(held) < 2 {
			return // nothing lies under it
		}
		d.written = nil
		w.logf("device %d goes away", d.id)
		w.workBeside(r)
		w.load.beside.empty = true
		w.after(2*millisecond, func() {
			if !w.load.quiet {
				d.node.stop(true)
			}
		})
		w.after(second, func() { w.load.pauseUntil = w.now + second }) // so that tombstones go
		w.after(2*second, func() {
			if !w.load.quiet {
				w.powerCut(Fault{})
			}
		})
	}
	return true
}

// beside is where hosts like to work for a while: the blocks of a row but that of one column.
type beside struct {
	v      *volume
	blocks []uint64
	until  int64
	empty  bool // what hosts do there is to empty them
}

// workBeside has hosts work on the row that a straggler has written, not on its own column: what it has alone
// is not written over.
func (w *World) workBeside(r *chunk.Request) {
	g := w.shape.geometry()
	x := beside{v: w.volumeOf(r.Vol), until: w.now + 4*second}
	for c := range g.Data {
		if c != int(r.Column) {
			x.blocks = append(x.blocks, r.Page*g.PageBlocks()+uint64(g.Offset(c, r.Block)))
		}
	}
	if len(x.blocks) > 0 {
		w.load.beside = x
	}
}

// first tells whether no other device has a write that one has just carried out.
func (w *World) first(d *device, r *chunk.Request) bool {
	for c := range w.shape.width() {
		at := w.home(w.volumeOf(r.Vol).index, r.Page, uint8(c))
		if at != d && at.newest(r.Vol, r.Page, uint8(c), r.Block).W >= r.W {
			return false
		}
	}
	return true
}

// alone cuts a node off from all others.
func (w *World) alone(n *node, until int64) {
	for _, o := range w.nodes {
		if o != n {
			sever(w.cuts, n, o, until)
		}
	}
}

// succeeded waits for the next owner. Either the device comes back when that one has served for a while; or
// the arbiter is away meanwhile, so that it cannot record that it serves, and it ends before the device is
// back.
func (w *World) succeeded(f Fault, d *device, epoch uint32) {
	r := w.etcd.records[0]
	switch {
	case w.load.quiet:
		return
	case r.Epoch == epoch:
		w.after(20*millisecond, func() { w.succeeded(f, d, epoch) })
		return
	}
	last := 3*second/2 + int64(f.C>>8%uint64(second))
	if f.C%2 == 0 {
		w.etcd.mute = w.now + last + second
	}
	w.after(last, func() {
		if w.load.quiet {
			return
		}
		w.alone(d.node, 0)
		if n := w.node(r.Gateway); f.C%2 == 0 && n.up && w.allows(len(w.order)) {
			n.stop(true)
			w.after(second, n.start)
		}
	})
}
