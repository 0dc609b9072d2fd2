package engine

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// resolving is one row on its way to a state in which every column agrees about its newest version: that goes
// forward (it is completed on every column of its write set) or back (it is removed), see [stripe.Resolve].
// An acknowledged version always goes forward while at most p columns are lost: its write set has at least
// p + 1 columns, so one that names it is there. Older versions need no decision: a row write begins when the
// one before is complete, so where any column has a newer version, all older ones are.
type resolving struct {
	key     rowKey
	round   int
	waiting int
	failed  bool
}

// startResolve sorts the unstable versions by rows. Versions at places that the volume does not look at any
// more, and those that are in question, decide nothing. What a revert has hidden was complete then.
func (e *Engine) startResolve() {
	o := &e.open
	o.rows = make(map[rowKey][]holder)
	for _, d := range e.order {
		if d.state != devListed {
			continue
		}
		for _, x := range d.unstable {
			at := chunk.Place{Device: d.id, Residency: x.Residency}
			if !e.looksAt(x.Page, int(x.Column), at) || e.inQuestion(at, x.Page, int(x.Column), x.Block, x.W) {
				continue
			}
			if !e.cfg.View.Sees(0, x.W) && !e.cfg.Mutant.Is(mutant.HiddenDecided) {
				continue
			}
			k := rowKey{x.Page, x.Block}
			o.rows[k] = append(o.rows[k], holder{int(x.Column), x.W, stripe.Cols(x.Set), at, x.State == chunk.Torn})
		}
	}
	for k := range o.rows {
		o.keys = append(o.keys, k)
	}
	slices.SortFunc(o.keys, rowKey.compare)
	e.resolveMore()
}

// resolveMore takes up rows while there is room, and goes on to judge when none is left. Rows that end
// because the engine has stopped are not decided: no device may be told so.
func (e *Engine) resolveMore() {
	o := &e.open
	if e.mode != modeOpening {
		return
	}
	for o.active < resolveWidth && len(o.keys) > 0 && !o.failed {
		k := o.keys[0]
		o.keys = o.keys[1:]
		o.active++
		e.resolve(&resolving{key: k, round: o.round}, o.rows[k])
	}
	if o.active == 0 && len(o.keys) == 0 && !o.failed && !o.stuck && o.phase == openResolve {
		o.phase = openJudge
		e.judgeAll(0)
	}
}

func (e *Engine) resolved(rv *resolving) {
	e.open.active--
	e.resolveMore()
}

// over reports that the attempt that a row belongs to has failed, and ends the row if so.
func (e *Engine) over(rv *resolving) bool {
	if e.mode == modeOpening && rv.round == e.open.round && !e.open.failed && !rv.failed {
		return false
	}
	if rv.round == e.open.round {
		e.resolved(rv)
	}
	return true
}

// resolve takes up the newest of the unstable versions of a row. One that was complete needs no decision, and
// must not be put to one: a later write may have emptied the row, of which nothing is left to see but marks.
func (e *Engine) resolve(rv *resolving, holders []holder) {
	top := holders[0]
	for _, h := range holders {
		if h.w > top.w {
			top = h
		}
	}
	if e.open.complete(top.w) && !e.cfg.Mutant.Is(mutant.MarksUnread) {
		e.resolved(rv)
		return
	}
	if e.p == 0 {
		e.resolveAlone(rv, holders)
		return
	}
	g := &gather{page: rv.key.page, first: rv.key.row, count: 1, heads: true}
	e.gather(g, func() {
		if !e.over(rv) {
			e.decide(rv, top, g)
		}
	})
}

// resolveAlone is for rows without parity: no column depends on another, so each keeps what it has, and only
// what is torn is removed.
func (e *Engine) resolveAlone(rv *resolving, holders []holder) {
	rv.waiting++
	for _, h := range holders {
		if h.torn {
			rv.waiting++
			e.Counters.Undone++
			e.undoAt(h.at, rv.key, h.c, h.w, func(ok bool) {
				rv.failed = rv.failed || !ok
				e.undone(rv)
			})
		}
	}
	e.undone(rv)
}

// decide looks at what every column says of a version.
func (e *Engine) decide(rv *resolving, top holder, g *gather) {
	h := head{w: top.w, set: top.set, sure: true}
	named := false
	for c := range g.cols {
		x := g.cell(c, rv.key.row)
		if x.found && x.info.W > top.w { // a later write began when this one was complete
			e.resolved(rv)
			return
		}
		if x.found && x.info.W == top.w {
			h.mask, named = stripe.Cols(x.info.Mask), true
		}
	}
	states := make([]stripe.ColumnState, e.n+e.p)
	answered, missing, refuted, torn := 0, 0, false, false
	for c := range states {
		switch x := g.cell(c, rv.key.row); {
		case x.state == cellMissing:
			missing++
		case x.state != cellFact:
			if x.found {
				answered++
				torn = torn || x.info.W == top.w &&
					(x.info.State == chunk.Torn || e.cfg.Mutant.Is(mutant.RotUndone))
			}
		case x.info.W == top.w, named && x.info.State == chunk.Absent && e.empty(c, h.mask):
			states[c] = stripe.Has
			answered++
		default:
			states[c] = stripe.Old
			answered++
			refuted = refuted || c >= e.n || top.set.Has(c)
		}
	}
	if e.cfg.Mutant.Is(mutant.ForwardAnyhow) {
		top.set = 0
	}
	res := stripe.Resolve(e.n, e.p, top.set, states)
	switch {
	case e.cfg.Mutant.Is(mutant.BackAnyhow) && res.Complete != 0:
		e.undo(rv, top.w)
	case res.Decision == stripe.Forward:
		e.forward(rv, h, res)
	case res.Decision == stripe.Back, answered >= e.n && (refuted || torn):
		// Undecided by what can be read, but a column of the write set lacks it, or a power failure tore it: it was
		// not acknowledged. Who waited for those that are away would wait for ever when they are dead.
		e.undo(rv, top.w)
	case missing > 0:
		e.openStuck()
		e.resolved(rv)
	default: // rotten beyond what the parities stand for: to be read as a media error, or written anew
		e.resolved(rv)
	}
}

// openStuck notes that a row cannot be decided with what has answered: try again.
func (e *Engine) openStuck() { e.open.stuck, e.open.retryAt = true, e.ticks+openRetryTicks }

// empty reports that a column holds nothing when the present mask of its row is this. A tombstone that says
// so may be gone already, so absent is as good.
func (e *Engine) empty(c int, mask stripe.Cols) bool {
	if c < e.n {
		return !mask.Has(c)
	}
	return mask == 0
}

// forward completes a version on the columns that lack it.
func (e *Engine) forward(rv *resolving, h head, res stripe.Resolution) {
	e.Counters.Forward++
	if res.Complete == 0 {
		e.resolved(rv)
		return
	}
	g := &gather{page: rv.key.page, first: rv.key.row, count: 1, want: res.Complete, not: res.Complete,
		given: &h}
	e.gather(g, func() {
		if e.over(rv) {
			return
		}
		for c := range res.Complete.All() {
			if g.cell(c, rv.key.row).state != cellFact { // a source failed meanwhile
				e.openStuck()
				e.resolved(rv)
				return
			}
		}
		e.complete(rv.key.page, rv.key.row, res.Complete, g, func(ok bool) {
			rv.failed = !ok
			if !e.over(rv) {
				e.resolved(rv)
			}
		})
	})
}

// undo removes a version from every place of every column.
func (e *Engine) undo(rv *resolving, w cluster.Seq) {
	e.Counters.Undone++
	rv.waiting++
	for c := range e.n + e.p {
		for _, at := range e.chain(rv.key.page, c).places {
			if !e.devices[at.Device].usable() {
				continue
			}
			rv.waiting++
			e.undoAt(at, rv.key, c, w, func(ok bool) {
				rv.failed = rv.failed || !ok
				e.undone(rv)
			})
		}
	}
	e.undone(rv)
}

func (e *Engine) undoAt(at chunk.Place, k rowKey, c int, w cluster.Seq, done func(ok bool)) {
	r := e.requestAt(chunk.OpUndo, at, k.page, c, k.row, 1, control(func(d *device, r *chunk.Request) {
		done(!e.lost(d, r))
	}))
	r.W = w
	e.send(r)
}

func (e *Engine) undone(rv *resolving) {
	if rv.waiting--; rv.waiting == 0 && !e.over(rv) {
		e.resolved(rv)
	}
}
