package engine

import "slices"

// Of most pages a young clone holds nothing, and its devices need not be asked for that: once they have
// listed their chunks the owner knows, for it is the only one who writes. So a block that lies levels up is
// read at the level that has it, and what lies between costs no device anything.

// sparse knows which pages of a clone hold something, of those that the parent shows in. A page that held
// something once is not forgotten.
type sparse struct {
	held    []uint64 // bit per page; nil: nothing is known yet
	known   bool     // all devices have listed what they have
	listing bool
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
	if s.known || s.listing || !e.cloned() || e.cfg.Parent == 0 || e.ticks < s.retryAt {
		return
	}
	if !e.mayList() {
		s.retryAt = e.ticks + moveRetryTicks
		return
	}
	s.held, s.listing = make([]uint64, (e.geo.Pages(e.cfg.Parent)+63)/64), true
	e.listPages(0, ^uint64(0), e.notePresent, func(ok bool) {
		s.listing = false
		if s.known = ok; !ok { // a device failed: begin again
			s.held, s.retryAt = nil, e.ticks+moveRetryTicks
		}
	})
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
