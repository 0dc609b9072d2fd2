package engine

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// A device that scrubs its blocks finds some that nobody has read for long and that cannot be read any more.
// It tells the owner (Suspect), who asks what is bad and has each block decoded and written again under the
// version that it has, row by row, under the row's lock: what a read does when it meets such a block.
// Versions that only a pin sees are decoded as of that pin.
//
// What cannot be repaired now stays bad, is counted, and is tried again when the device speaks up again, each
// time after a longer pause: a block that is lost for good must not keep anybody busy.

const (
	repairWidth      = 4  // blocks of a device that are repaired at the same time
	repairPauseTicks = 10 // after a look that has left something bad; doubles up to maxDoublings times
)

// repairing is what an owner knows of the bad blocks of a device.
type repairing struct {
	asked   bool // the device has said that there are some
	busy    bool
	retry   backoff
	left    int // that the last look could not repair
	todo    []chunk.Entry
	active  int
	unlucky int // of the present look
}

// Suspect says that a device holds bad blocks of the volume. They are repaired at the next ticks.
func (e *Engine) Suspect(id cluster.DeviceID) {
	if d := e.devices[id]; d != nil {
		d.repair.asked = true
	}
}

// tickRepair looks after a device that has asked for it.
func (e *Engine) tickRepair(d *device) {
	r := &d.repair
	if !r.asked || r.busy || e.ticks < r.retry.at {
		return
	}
	r.asked, r.busy, r.unlucky = false, true, 0
	e.repairFrom(d, chunk.Cursor{})
}

func (e *Engine) repairFrom(d *device, after chunk.Cursor) {
	q := e.request(chunk.OpList, d, control(func(d *device, r *chunk.Request) {
		if e.lost(d, r) || e.mode != modeServing {
			d.repair.busy, d.repair.asked = false, true
			return
		}
		d.repair.todo = append(d.repair.todo[:0], r.Entries...)
		if n := len(r.Entries); r.More && n > 0 {
			next := r.Entries[n-1].Cursor
			e.repairMore(d, func() { e.repairFrom(d, next) })
			return
		}
		e.repairMore(d, func() { e.repaired(d) })
	}))
	q.Mode, q.Count, q.After = chunk.ListBad, chunk.MaxEntries, after
	e.send(q)
}

// repaired ends a look.
func (e *Engine) repaired(d *device) {
	r := &d.repair
	r.busy, r.left = false, r.unlucky
	if r.left == 0 {
		r.retry = backoff{}
		return
	}
	r.retry.failed(e.ticks, repairPauseTicks)
}

// repairMore repairs what was listed, some at a time, then goes on.
func (e *Engine) repairMore(d *device, then func()) {
	r := &d.repair
	r.active++ // then is called once, below
	for r.active <= repairWidth && len(r.todo) > 0 && e.mode == modeServing {
		x := r.todo[0]
		r.todo = r.todo[1:]
		r.active++
		e.repairBlock(d, x, func(ok bool) {
			if !ok {
				r.unlucky++
			}
			r.active--
			e.repairMore(d, then)
		})
	}
	if r.active--; r.active > 0 || len(r.todo) > 0 && e.mode == modeServing {
		return
	}
	if e.mode != modeServing {
		r.busy = false
		return
	}
	then()
}

// repairBlock repairs one version of a block, unless nobody looks at it there.
func (e *Engine) repairBlock(d *device, x chunk.Entry, done func(ok bool)) {
	c, at := int(x.Column), chunk.Place{Device: d.id, Residency: x.Residency}
	switch {
	case !e.looksAt(x.Page, c, at):
		done(true) // it is swept, or goes when the column comes home
		return
	case e.isStuck(x.Page) || e.rowInQuestion(at, x.Page, c, x.Block):
		done(false)
		return
	}
	e.whileLocked(x.Page, x.Block, 1, func(ext *extent) {
		views := slices.DeleteFunc(e.pins(), func(p cluster.Seq) bool { return p < x.W })
		e.repairView(x, append(views, 0), func(ok bool) {
			e.unlockInternal(ext)
			done(ok)
		})
	})
}

// repairView has the row read as the first of some views sees it: that repairs what it finds bad. Once a view
// has seen the version, it is done; one that nobody sees will be freed.
func (e *Engine) repairView(x chunk.Entry, views []cluster.Seq, done func(ok bool)) {
	if len(views) == 0 || e.mode != modeServing {
		done(e.mode == modeServing)
		return
	}
	c := int(x.Column)
	g := &gather{page: x.Page, first: x.Block, count: 1, asOf: views[0], want: stripe.ColsOf(c)}
	e.gather(g, func() {
		switch cell := g.cell(c, x.Block); {
		case cell.found && cell.info.W == x.W:
			done(cell.state == cellFact && !cell.repair)
		case !cell.found && cell.state != cellFact: // its device is gone meanwhile
			done(false)
		case cell.repair: // it has lost a write, which it could not be given again
			e.repairView(x, views[1:], func(bool) { done(false) })
		default:
			e.repairView(x, views[1:], done)
		}
	})
}
