package engine

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// copying brings a column of a page, whose rows are locked, to a place: as it is now, and before that as
// every pin sees it, oldest first.
type copying struct {
	colKey
	to chunk.Place
	// read gives the column as of a pin, 0 for now.
	read func(asOf cluster.Seq, done func(cells []cell, ok bool))
	// cloned: what is absent shows the parent, and is never written over anything. It stays absent.
	cloned bool
	// tombstones lie over something at the place and are copied, too; else only over what was copied before.
	tombstones bool
	had        []bool        // blocks of which something was copied
	bare       []bool        // blocks that were empty to a view before anything was copied
	again      bool          // the second time, for tombstones
	views      []cluster.Seq // that differ, oldest first
	unread     bool          // failed because the column could not be read
}

// copyViews copies one view after the other. A view that a revert has changed may see versions that are older
// than the emptiness that one before it has seen: then that needs its tombstone after all, over what has come
// under it.
func (e *Engine) copyViews(c *copying, done func(ok bool)) {
	c.cloned = e.cloned() && !e.packs() && !e.cfg.Mutant.Is(mutant.AbsentCopied)
	c.had, c.bare = make([]bool, e.geo.ChunkBlocks), make([]bool, e.geo.ChunkBlocks)
	c.views = nil
	e.findViews(c, 0, e.pins(), func(oldest []cell, ok bool) {
		if !ok {
			done(false)
			return
		}
		e.copyView(c, oldest, c.views, func(ok bool) {
			if !ok || len(e.cfg.View.Hidden) == 0 || !c.undercut() || e.cfg.Mutant.Is(mutant.TombUncovered) {
				done(ok)
				return
			}
			c.again = true
			e.copyView(c, oldest, c.views, done)
		})
	})
}

// findViews finds the views to copy, asOf being one, among that and the pins before it. A pin that sees the
// same as the view after it needs no copy: of a thousand snapshots few tell a column of one page apart. It
// gives what the oldest view sees.
func (e *Engine) findViews(c *copying, asOf cluster.Seq, pins []cluster.Seq,
	done func(oldest []cell, ok bool)) {
	c.views = append(c.views, asOf)
	c.read(asOf, func(cells []cell, ok bool) {
		if !ok {
			c.unread = true
			done(nil, false)
			return
		}
		newest := cluster.Seq(0)
		for i := range cells {
			newest = max(newest, cells[i].info.W)
		}
		n := len(pins)
		for n > 0 && e.seesSame(pins[n-1], asOf, newest) {
			n--
		}
		if n > 0 {
			e.findViews(c, pins[n-1], pins[:n-1], done)
			return
		}
		slices.Reverse(c.views)
		done(cells, true)
	})
}

// seesSame reports that a pin sees what a later view (0: the present) sees, of which the newest version is
// given: it was there at the pin, and no revert came between.
func (e *Engine) seesSame(pin, view, newest cluster.Seq) bool {
	v := &e.cfg.View
	return newest <= pin && (v.Reverts(pin) == v.Reverts(view) || e.cfg.Mutant.Is(mutant.RevertOverlooked)) ||
		e.cfg.Mutant.Is(mutant.PinOverlooked)
}

// undercut reports that something was copied to a block that had been empty to an earlier view.
func (c *copying) undercut() bool {
	for i := range c.bare {
		if c.bare[i] && c.had[i] {
			return true
		}
	}
	return false
}

// copyView copies views of which the first sees these cells.
func (e *Engine) copyView(c *copying, cells []cell, views []cluster.Seq, done func(ok bool)) {
	for i := range cells {
		e.mark(c, i, &cells[i])
	}
	e.putCells(c.to, c.colKey, cells, func(ok bool) {
		if views = views[1:]; !ok || len(views) == 0 {
			done(ok)
			return
		}
		c.read(views[0], func(cells []cell, ok bool) {
			if !ok {
				c.unread = true
				done(false)
				return
			}
			e.copyView(c, cells, views, done)
		})
	})
}

// mark marks a cell as found when it has to be written. The tombstones of a clone that hide the parent are as
// good as data.
func (e *Engine) mark(c *copying, i int, x *cell) {
	if c.cloned {
		x.found = x.info.State != chunk.Absent
		return
	}
	held := e.masked(c.c, &x.info)
	if !held {
		x.info.State = chunk.Tombstone
		if e.cfg.Mutant.Is(mutant.AbsentCopied) {
			x.info.Mask = ^uint16(0)
		}
	}
	if c.again {
		x.found = !held && x.info.W != 0 && c.bare[i] && c.had[i]
		return
	}
	c.bare[i] = c.bare[i] || !held && !c.had[i] && x.info.W != 0
	x.found = held || x.info.W != 0 && (c.tombstones || c.had[i]) &&
		!(e.cloned() && e.cfg.Mutant.Is(mutant.TailCopied))
	c.had[i] = c.had[i] || x.found
}

// refill empties a place, then copies to it.
func (e *Engine) refill(c *copying, done func(ok bool)) {
	e.drop(c.to, c.colKey, func(ok bool) {
		if !ok {
			done(false)
			return
		}
		e.copyViews(c, done)
	})
}

// gatherColumn gives a whole column of a page, decoded from the others if it is in not.
func (e *Engine) gatherColumn(k colKey, asOf cluster.Seq, not stripe.Cols, done func(cells []cell, ok bool)) {
	g := &gather{page: k.page, count: uint16(e.geo.ChunkBlocks), asOf: asOf, want: stripe.ColsOf(k.c), not: not}
	e.gather(g, func() {
		cells := g.cols[k.c].cells
		ok := e.mode == modeServing && !slices.ContainsFunc(cells, func(x cell) bool { return x.state != cellFact })
		if ok && g.anew && asOf == 0 && !e.cfg.Mutant.Is(mutant.ParityTrusted) {
			e.disown(k, g.answered(), func(ok bool) { done(cells, ok) })
			return
		}
		done(cells, ok)
	})
}

// answered are the columns that were asked and that said what they know.
func (g *gather) answered() (cols stripe.Cols) {
	for c := range g.asked.All() {
		if !slices.ContainsFunc(g.cols[c].cells, func(x cell) bool { return x.state == cellMissing }) {
			cols |= stripe.ColsOf(c)
		}
	}
	return cols
}

// disown declares the other parities stale that did not answer when one was made anew. That has the newest
// version of the data columns, but there may have been a newer one, of which only tombstones were left that
// are gone: to a parity that is away and knows it, the new one would seem to have lost a write.
func (e *Engine) disown(k colKey, known stripe.Cols, done func(ok bool)) {
	for c := e.n; c < e.n+e.p; c++ {
		other := colKey{k.page, c}
		x := e.entry(k.page, c)
		if known.Has(c) || c == k.c || x != nil && x.Stale && len(over(x)) == 0 {
			continue
		}
		if e.jour.pending[other] != nil || e.others(k.page, c) < e.n {
			done(false)
			return
		}
		next := chunk.JournalEntry{Page: k.page, Column: uint8(c)}
		if x != nil {
			next = *x
		}
		next.Stale, next.Places = true, next.Places[:based(&next):based(&next)]
		e.putEntry(next, func(ok bool) {
			if !ok {
				done(false)
				return
			}
			e.disown(k, known|stripe.ColsOf(c), done)
		})
		return
	}
	done(e.mode == modeServing)
}

// collect reads what the places that lie over a base hold, the last one first.
func (e *Engine) collect(k colKey, places []chunk.Place, asOf cluster.Seq, cells []cell, done func(ok bool)) {
	if len(places) == 0 {
		done(true)
		return
	}
	at := places[len(places)-1]
	if !e.devices[at.Device].usable() || e.pageInQuestion(at, k.page, k.c) {
		done(false)
		return
	}
	n := uint16(len(cells))
	r := e.requestAt(chunk.OpRead, at, k.page, k.c, 0, n, control(func(d *device, r *chunk.Request) {
		if e.failed(d, r) || e.mode != modeServing {
			done(false)
			return
		}
		for i, info := range r.Blocks {
			if cells[i].found || info.State == chunk.Absent {
				continue
			}
			if info.State.Spoiled() {
				done(false)
				return
			}
			cells[i] = cell{found: true, data: block(r.Data, i), info: info}
		}
		e.collect(k, places[:len(places)-1], asOf, cells, done)
	}))
	r.W = asOf
	r.Data, r.Blocks = make([]byte, len(cells)*cluster.BlockSize), make([]chunk.BlockInfo, len(cells))
	e.send(r)
}

// putCells writes the cells that were found to a place, a request for every run of one version.
func (e *Engine) putCells(at chunk.Place, k colKey, cells []cell, done func(ok bool)) {
	waiting, good := 1, true
	end := func(ok bool) {
		good = good && ok
		if waiting--; waiting == 0 {
			done(good && e.mode == modeServing)
		}
	}
	for i := 0; i < len(cells); {
		j := i + 1
		for j < len(cells) && cells[j].found && cells[i].found && cells[j].info.W == cells[i].info.W &&
			cells[j].info.State == cells[i].info.State {
			j++
		}
		if cells[i].found && e.devices[at.Device].usable() {
			waiting++
			e.putRun(at, k, i, cells[i:j], end)
		} else if cells[i].found {
			good = false
		}
		i = j
	}
	end(true)
}

func (e *Engine) putRun(at chunk.Place, k colKey, first int, cells []cell, done func(ok bool)) {
	op := chunk.OpWrite
	if cells[0].info.State != chunk.Data {
		op = chunk.OpTombstone
	}
	n := uint16(len(cells))
	r := e.requestAt(op, at, k.page, k.c, uint16(first), n, control(func(d *device, r *chunk.Request) {
		if !e.failed(d, r) {
			e.Counters.Copied += uint64(r.Count)
			done(true)
			return
		}
		done(false)
	}))
	r.W = cells[0].info.W
	for _, c := range cells {
		r.Blocks = append(r.Blocks, c.info)
		if op == chunk.OpWrite {
			r.Data = append(r.Data, c.data...)
		}
	}
	e.send(r)
}
