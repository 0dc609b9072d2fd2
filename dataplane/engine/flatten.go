package engine

import (
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// A flatten makes a clone stand on its own: what its parent shows now is copied into it, some rows at a time,
// each under its lock, as row writes like any other. Blocks of zeroes stay absent: without a parent they are
// the same. It goes no faster than it is allowed to (Flatten), and begins anew behind a revert, for then what
// was copied may be hidden.
//
// Pins that were taken before it was complete may see absent blocks, and with them the parent. So the parent
// is not needed any more once all pins of the view list are later than that moment, which waits for pins that
// no list names yet.

// flattenRows is how many rows are locked, and copied, at a time.
const flattenRows = 8

// flattener goes through the rows that the parent may show in, once.
type flattener struct {
	allowed int // rows that may be looked at
	busy    bool
	retry   backoff
	done    cluster.Flattened
}

// walks go through all rows of the volume, in the background.
type walks struct {
	audit auditor
	flat  flattener
	pages sparse
	cut   *cutter // nil: nothing is cut off
}

// Flatten allows so many more block rows to be looked at, and copied from the parent where it shows.
func (e *Engine) Flatten(rows int) { e.flat.allowed = min(e.flat.allowed+rows, auditMost) }

// Flattened tells how far the flatten is, under which view list. It may be recorded beside that list, not
// beside a newer one: a revert sets it back.
func (e *Engine) Flattened() (cluster.Flattened, uint32) { return e.flat.done, e.cfg.View.Version }

func (e *Engine) tickFlatten() {
	f := &e.flat
	if !f.busy && f.allowed > 0 && f.done.At == 0 && e.cfg.Parent > 0 && e.ticks >= f.retry.at {
		f.busy = true
		e.flattenMore()
	}
}

// flattenMore goes on until nothing is allowed any more.
func (e *Engine) flattenMore() {
	f := &e.flat
	page, row := f.done.Rows/e.geo.ChunkBlocks, uint16(f.done.Rows%e.geo.ChunkBlocks)
	switch {
	case e.mode != modeServing || f.allowed <= 0:
		f.busy = false
		return
	case page >= e.geo.Pages(e.cfg.Parent) && len(e.win.pinned) > 0: // who looks at the list must find them
		f.busy = false
		return
	case page >= e.geo.Pages(e.cfg.Parent):
		f.busy, f.done.At = false, e.freshSeq()
		return
	}
	rows := min(max(flattenRows, e.unit), uint16(e.geo.ChunkBlocks)-row)
	f.allowed -= int(rows)
	e.whileLocked(page, row, rows, func(x *extent) {
		e.flattenSlice(page, row, rows, func(ok bool) {
			e.unlockInternal(x)
			if !ok && !e.cfg.Mutant.Is(mutant.FlattenSkips) {
				f.busy = false
				f.retry.failed(e.ticks, repairPauseTicks)
				return
			}
			f.done.Rows += uint64(rows)
			f.retry = backoff{}
			e.flattenMore()
		})
	})
}

// flattenSlice copies what the parent shows in some rows, which are locked.
func (e *Engine) flattenSlice(page uint64, row, rows uint16, done func(ok bool)) {
	if e.isStuck(page) || e.mode != modeServing {
		done(false)
		return
	}
	g := &gather{page: page, first: row, count: rows, want: stripe.FirstCols(e.n)}
	e.gather(g, func() {
		if e.mode != modeServing {
			done(false)
			return
		}
		b := e.newBatch(page, row, rows)
		b.then = done
		b.plans = grow(b.plans, int(rows))
		clear(b.plans)
		e.giveShards(b)
		for i := range b.plans {
			for c := range e.n {
				x := &g.cols[c].cells[i]
				if x.state != cellFact {
					e.endBatch(b, Media)
					return
				}
				copy(block(b.shards[c], i), x.data)
				if b.plans[i].noteOld(e, c, &x.info); !e.masked(c, &x.info) {
					b.plans[i].bare |= stripe.ColsOf(c)
				}
			}
		}
		e.underlay(b)
	})
}

// copyUp writes what the parent gave, unless that is nothing.
func (e *Engine) copyUp(b *batch) {
	changed := false
	unit := int(e.unit)
	for i := 0; i < len(b.plans); i += unit {
		for c := range b.plans[i].bare.All() {
			if e.void(e.unitAt(b.shards[c], i)) {
				continue
			}
			for j := range unit {
				b.plans[i+j].full |= stripe.ColsOf(c)
			}
			e.Counters.Flattened += uint64(unit)
			changed = true
		}
		for j := range unit {
			b.plans[i+j].bare = 0
		}
	}
	if !changed {
		e.endBatch(b, OK)
		return
	}
	e.pack(b)
	e.claim(b)
}

// reflatten begins anew when a newer view list has a revert that the one before has not.
func (e *Engine) reflatten(was, now []chunk.Interval) {
	last := func(all []chunk.Interval) cluster.Seq {
		if len(all) == 0 {
			return 0
		}
		return all[len(all)-1].To
	}
	if e.cfg.Parent > 0 && last(now) > last(was) && !e.cfg.Mutant.Is(mutant.FlattenKept) {
		e.flat.done = cluster.Flattened{}
	}
}
