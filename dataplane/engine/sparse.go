package engine

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
)

// Of most pages a young clone holds nothing, and its devices need not be asked for that: once they have
// listed their chunks the owner knows, for it is the only one who writes. So a block that lies levels up is
// read at the level that has it, and what lies between costs no device anything.

// sparse knows which pages of a clone hold something, of those that the parent shows in. A page that held
// something once is not forgotten.
type sparse struct {
	held    []uint64 // bit per page; nil: nothing is known yet
	known   bool     // all devices have listed what they have
	listing int
	retryAt uint64
}

// bare reports that a page holds nothing, now or as of any pin.
func (e *Engine) bare(page uint64) bool {
	s := &e.pages
	return s.known && page/64 < uint64(len(s.held)) && s.held[page/64]>>(page%64)&1 == 0
}

// notePresent notes that a page holds something from now on. It is called before anything is sent.
func (e *Engine) notePresent(page uint64) {
	if held := e.pages.held; page/64 < uint64(len(held)) {
		held[page/64] |= 1 << (page % 64)
	}
}

// tickSparse has the devices list what they hold, once. What is up must name every page, see mayList.
func (e *Engine) tickSparse() {
	s := &e.pages
	if s.known || s.listing > 0 || !e.cloned() || e.cfg.Parent == 0 || e.ticks < s.retryAt {
		return
	}
	if !e.mayList() {
		s.retryAt = e.ticks + moveRetryTicks
		return
	}
	s.held = make([]uint64, (e.geo.Pages(e.cfg.Parent)+63)/64)
	s.listing = 1
	for i := range e.lock.buckets {
		for _, x := range e.lock.buckets[i] { // what is on its way may come after the list
			if x.started && x.kind > extRows {
				e.notePresent(x.page)
			}
		}
	}
	for _, k := range e.jour.keys() {
		e.notePresent(k.page)
	}
	for _, d := range e.order {
		if d.state == devUp {
			s.listing++
			e.listHeld(d, chunk.Cursor{})
		}
	}
	e.heldListed(true)
}

func (e *Engine) listHeld(d *device, after chunk.Cursor) {
	r := e.request(chunk.OpList, d, control(func(d *device, r *chunk.Request) {
		if e.lost(d, r) || e.mode != modeServing {
			e.heldListed(false)
			return
		}
		for _, x := range r.Entries {
			e.notePresent(x.Page)
		}
		if n := len(r.Entries); r.More && n > 0 {
			e.listHeld(d, r.Entries[n-1].Cursor)
			return
		}
		e.heldListed(true)
	}))
	r.Mode, r.Count, r.After = chunk.ListChunks, chunk.MaxEntries, after
	e.send(r)
}

// heldListed takes the end of one list. A device that failed: begin again.
func (e *Engine) heldListed(ok bool) {
	s := &e.pages
	if !ok {
		s.held, s.retryAt = nil, e.ticks+moveRetryTicks
	}
	if s.listing--; s.listing == 0 {
		s.known = s.held != nil
	}
}

// showParent reads what lies in a page that holds nothing.
func (e *Engine) showParent(x *extent) {
	clear(x.data)
	x.absent = slices.Grow(x.absent, int(x.count))
	for i := range x.count {
		e.lacks(x, x.off+i)
	}
	if !e.fromParent(x) {
		e.finish(x, OK)
	}
}
