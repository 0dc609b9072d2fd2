package engine

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// A clone shows its parent's blocks, as of the pin that it was made from, where nothing was ever written in
// it. Its rows are its own: the parities cover what was written in the clone, and an absent column counts as
// zeroes there. So three states of a block are to be told apart, always, and for good (chunk.View.Cloned):
//
//	absent     nothing of the clone's: the parent's block shows; its bit in the present mask is clear
//	tombstone  zeroes, which hide the parent; its bit is set, and no device drops it
//	data       anything else; its bit is set
//
// Whoever writes zeroes writes a tombstone, in data columns and in parities. So what a row decodes to says
// what the record of the column is, and a version that is completed or made anew is the same as the first
// time. A whole row of tombstones takes no space. (Where units are packed, one more is needed: a tombstone
// with its bit clear, see pack.go.)
//
// Pages in which the clone holds nothing at all are known (sparse.go); their devices are not asked.
//
// What the parent shows is read by way of its owner, who knows where its columns are and what may be missing:
// the engine asks for a range (Ready.Parent) and holds the cells, or rows, meanwhile. A read that fails parks
// like one that lacks a device, and a write that lacks the rest of a block parks before anything was sent.

// ParentRead asks for whole blocks of the parent, as of the pin. Whoever carries it out fills Data, whatever
// it held, and calls [Engine.ParentDone] exactly once. There are at most chunk.MaxBlocks.
type ParentRead struct {
	Block uint64 // first, of the volume and of the parent
	Data  []byte // of the blocks

	tag any // *extent or *batch
}

// cloned reports that absent blocks of the volume are not the same as zeroes.
func (e *Engine) cloned() bool { return e.cfg.View.Cloned }

// SetParent says how many blocks of the parent show from now on: 0 once nobody needs it any more.
func (e *Engine) SetParent(blocks uint64) { e.cfg.Parent = blocks }

// masked reports that a column with such a record has its bit set in the present mask of its row; a parity,
// that the mask is not empty.
func (e *Engine) masked(c int, info *chunk.BlockInfo) bool {
	return info.State == chunk.Data ||
		info.State == chunk.Tombstone && e.cloned() && !e.empty(c, stripe.Cols(info.Mask))
}

// void reports that blocks which hold nothing are tombstones of a clone.
func (e *Engine) void(blocks []byte) bool {
	return e.cloned() && e.allZero(blocks) && !e.cfg.Mutant.Is(mutant.ZeroesKept)
}

// behind reports that the parent shows where a block of a page is absent.
func (e *Engine) behind(page uint64, off uint16) bool {
	return page*e.geo.PageBlocks()+uint64(off) < e.cfg.Parent
}

// lacks notes that a block of a read is absent.
func (e *Engine) lacks(x *extent, off uint16) {
	if e.behind(x.page, off) {
		x.absent = append(x.absent, off)
	}
}

// fromParent asks the parent for the blocks that a read lacks; false when it lacks none. A part of a block
// is read by way of a bounce buffer.
func (e *Engine) fromParent(x *extent) bool {
	if len(x.absent) == 0 {
		return false
	}
	slices.Sort(x.absent) // columns answer in any order
	for i := 0; i < len(x.absent); {
		j := i + 1
		for j < len(x.absent) && x.absent[j] == x.absent[j-1]+1 && j-i < chunk.MaxBlocks {
			j++
		}
		first := x.absent[i]
		data := x.data
		if x.partial {
			x.bounce = grow(x.bounce, e.n)
			c, _ := e.geo.Cell(uint64(x.off))
			x.bounce[c] = grow(x.bounce[c], cluster.BlockSize)
			data = x.bounce[c]
		}
		at := int(first-x.off) * cluster.BlockSize
		x.waiting++
		e.askParent(x, x.page, first, data[at:at+(j-i)*cluster.BlockSize])
		i = j
	}
	x.absent = x.absent[:0]
	if e.cfg.Mutant.Is(mutant.ParentUnlocked) {
		x.count, x.rows = 0, 0
		e.startWaiting(x.page)
	}
	return true
}

// parentGave takes an answer for a read.
func (e *Engine) parentGave(x *extent, s Status) {
	x.waiting--
	x.parent = max(x.parent, s) // a lost block counts more than one that may be had later
	switch {
	case x.waiting > 0:
	case e.mode == modeStopped:
		e.finish(x, PathGone)
	case x.parent == OK, x.parent == Media:
		if x.partial {
			e.unbounce(x)
		}
		e.finish(x, x.parent)
	default:
		x.kind, x.parent = extRead, OK
		e.lock.soon = true
		e.park(x)
	}
}

// underlay reads from the parent what shows in blocks that a batch changes a part of, then composes. The
// parities know nothing of that: they count zeroes there.
func (e *Engine) underlay(b *batch) {
	e.bareUnits(b)
	b.inFlight++ // until all are sent
	for i := range b.plans {
		for c := range b.plans[i].bare.All() {
			off := uint16(e.geo.Offset(c, b.row+uint16(i)))
			if !e.behind(b.page, off) || e.cfg.Mutant.Is(mutant.PartOverZeroes) {
				continue
			}
			b.inFlight++
			e.askParent(b, b.page, off, block(b.shards[c], i))
		}
	}
	e.underlaid(b, OK)
}

// underlaid takes an answer for a write.
func (e *Engine) underlaid(b *batch, s Status) {
	b.inFlight--
	b.parent = max(b.parent, s)
	switch {
	case b.inFlight > 0:
	case e.mode == modeStopped:
		e.endBatch(b, PathGone)
	case b.parent == Media:
		e.endBatch(b, Media)
	case b.parent != OK:
		e.lock.soon = true
		e.parkBatch(b)
	case b.then != nil:
		e.copyUp(b)
	default:
		e.compose(b)
	}
}

// askParent asks for blocks from one of a page on.
func (e *Engine) askParent(tag any, page uint64, off uint16, data []byte) {
	var r *ParentRead
	if n := len(e.parents); n > 0 {
		r = e.parents[n-1]
		e.parents = e.parents[:n-1]
	} else {
		r = new(ParentRead)
	}
	*r = ParentRead{Block: page*e.geo.PageBlocks() + uint64(off), Data: data, tag: tag}
	e.Counters.Inherited += uint64(len(data) / cluster.BlockSize)
	e.out.Parent = append(e.out.Parent, r)
}

// ParentDone takes a read of the parent back: OK, Media when the parent has lost a block for good, or
// anything else when it cannot be read now.
func (e *Engine) ParentDone(r *ParentRead, s Status) {
	if s != OK && e.cfg.Mutant.Is(mutant.ParentFailedZero) {
		clear(r.Data)
		s = OK
	}
	switch t := r.tag.(type) {
	case *extent:
		e.parentGave(t, s)
	case *batch:
		e.underlaid(t, s)
	default:
		panic("engine: a read of the parent came back with a foreign tag")
	}
	*r = ParentRead{}
	e.parents = append(e.parents, r)
}
