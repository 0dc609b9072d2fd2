package sim

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// kill lets devices die for good, as many as the code can stand, in the same moment; perhaps the owner's
// process ends with them, or another one, for a while: that as soon as every owner knows of the deaths. If it
// came to know of this process first, it would let its columns become stale and go on with n others, and
// stale ones count among those that the code can stand to lose. Nothing takes the place of the dead: from
// then on hosts live on what is left.
func (w *World) kill(f Fault) bool {
	more := 1 + int(f.B%uint64(max(w.shape.Parity, 1)))
	var dead []*device
	for _, d := range w.order {
		if d.lost {
			dead = append(dead, d)
		}
	}
	for i := range w.order {
		if d := w.order[(f.A+uint64(i))%uint64(len(w.order))]; !d.lost && more > 0 {
			dead = append(dead, d)
			more--
		}
	}
	if !w.survives(dead) {
		return false
	}
	if f.C&1 == 1 {
		w.nodes[w.etcd.records[0].Gateway-1].stopFor(f.duration())
	}
	for _, d := range dead {
		d.die()
	}
	if f.C&2 == 2 {
		w.whenKnown(dead, func() { w.nodes[f.B>>32%uint64(len(w.nodes))].stopFor(f.duration()) })
	}
	return true
}

// whenKnown waits until the owners of all volumes take devices to be down.
func (w *World) whenKnown(dead []*device, do func()) {
	known := true
	for _, v := range w.volumes {
		e := w.owner(v)
		known = known && e != nil && !slices.ContainsFunc(dead, func(d *device) bool {
			return !slices.Contains(e.Stats().Down, d.id)
		})
	}
	switch {
	case w.load.quiet:
	case known:
		do()
	default:
		w.after(20*millisecond, func() { w.whenKnown(dead, do) })
	}
}

// stopFor ends the process of a node, for a while.
func (n *node) stopFor(d int64) {
	if n.up {
		n.stop(true)
		n.w.after(d, n.start)
	}
}

// die loses a device for good. Its process lives on.
func (d *device) die() {
	if d.lost {
		return
	}
	d.w.logf("device %d is lost", d.id)
	under := slices.Clone(d.queue)
	d.crash()
	d.lost = true
	for _, f := range under {
		f.answered(chunk.IOError)
	}
}

// survives tells whether all volumes can do without some devices: each is served, nobody else lacks anything,
// of no page more columns are gone than writes can do without, and enough of the journal is left.
func (w *World) survives(dead []*device) bool {
	spare := w.shape.width() - max(w.shape.Data, w.shape.MinColumns)
	if len(dead) > spare || w.plan.Beyond {
		return false
	}
	for _, d := range w.order {
		if !d.lost && d.impaired() {
			return false
		}
	}
	for i, v := range w.volumes {
		e := w.owner(v)
		if e == nil || slices.ContainsFunc(e.Stats().Down, func(id cluster.DeviceID) bool {
			return !w.devices[id].lost
		}) {
			return false
		}
		for _, d := range w.order {
			if x, known := d.disk.pages.Volume(v.key); known && !d.lost && x.Settled != e.Epoch() {
				return false // it may have versions in question
			}
		}
		for page := range w.shape.Pages {
			if w.goneOf(i, page, dead) > spare {
				return false
			}
		}
		if !w.journalSurvives(i, dead) {
			return false
		}
	}
	return true
}

// goneOf counts the columns of a page that are not at home, or that would lose it.
func (w *World) goneOf(vol int, page uint64, dead []*device) (n int) {
	away := w.awayOf(vol, page)
	for c := range w.shape.width() {
		if away>>c&1 == 1 || slices.Contains(dead, w.home(vol, page, uint8(c))) {
			n++
		}
	}
	return n
}

// journalSurvives tells whether enough members of a volume's journal are left to read it.
func (w *World) journalSurvives(vol int, dead []*device) bool {
	members := w.etcd.records[vol].Journal.Members
	left := len(members)
	for _, d := range dead {
		if slices.Contains(members, d.id) {
			left--
		}
	}
	quorum := max(min(w.shape.Parity, len(members)-1)+1, len(members)/2+1)
	return left >= len(members)-quorum+1
}

// bereaved tells whether devices died that nothing replaces.
func (w *World) bereaved() bool {
	return w.plan.Changes < leaves && slices.ContainsFunc(w.order, func(d *device) bool { return d.lost })
}
