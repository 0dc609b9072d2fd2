package engine

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// resolving is one row, or those of a packed unit, on its way to a state in which every column agrees about
// its newest version: that goes forward (it is completed on every column of its write set) or back (it is
// removed), see [stripe.Resolve].
// An acknowledged version always goes forward while at most p columns are lost: its write set has at least
// p + 1 columns, so one that names it is there. Older versions need no decision: a row write begins when the
// one before is complete, so where any column has a newer version, all older ones are.
//
// All rows of a unit were written under one w with one write set, but a device may have some of them and not
// the others: it is told of data and of tombstones in two requests, and power failures tear single blocks. So
// the unit goes forward if all its rows can, else back. What was acknowledged was complete in every row.
//
// A device that was settled by an open which then came to nothing takes versions of before for stable as it
// gets them, row by row: it frees what is older, and lists them no more. What a later open completed there
// half way, nobody would decide about again. So what that open found stays: it had completed what such a
// device has, and not seen, or found against, what such a device should have and has not (wholeAt,
// deniedBy); and none of them stands in for another (cover).
type resolving struct {
	key     rowKey // the first row
	rows    uint16
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
			k := rowKey{x.Page, x.Block - x.Block%e.decided()}
			o.rows[k] = append(o.rows[k], holder{int(x.Column), x.W, stripe.Cols(x.Set), at, x.State == chunk.Torn})
		}
	}
	for k := range o.rows {
		o.keys = append(o.keys, k)
	}
	slices.SortFunc(o.keys, rowKey.compare)
	e.resolveMore()
}

// decided is how many rows are decided about together.
func (e *Engine) decided() uint16 {
	if e.cfg.Mutant.Is(mutant.UnitsByRows) {
		return 1
	}
	return e.unit
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
		e.resolve(&resolving{key: k, rows: e.decided(), round: o.round}, o.rows[k])
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

// isOver reports that the attempt that a row belongs to has failed.
func (e *Engine) isOver(rv *resolving) bool {
	return e.mode != modeOpening || rv.round != e.open.round || e.open.failed || rv.failed
}

// over is isOver, and ends the row if so.
func (e *Engine) over(rv *resolving) bool {
	if !e.isOver(rv) {
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
	if e.p == 0 && rv.rows == 1 {
		e.resolveAlone(rv, holders)
		return
	}
	g := &gather{page: rv.key.page, first: rv.key.row, count: rv.rows, heads: true}
	e.gather(g, func() {
		switch {
		case e.over(rv):
		case e.p == 0:
			e.resolveUnits(rv, holders, g)
		default:
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
			e.undoAlone(rv, h)
		}
	}
	e.stepDone(rv, true)
}

func (e *Engine) undoAlone(rv *resolving, h holder) {
	rv.waiting++
	e.Counters.Undone += uint64(rv.rows)
	e.undoAt(h.at, rv.key, rv.rows, h.c, h.w, func(ok bool) { e.stepDone(rv, ok) })
}

// resolveUnits is resolveAlone for the units of columns: one of which a row is missing or torn is removed.
func (e *Engine) resolveUnits(rv *resolving, holders []holder, g *gather) {
	rv.waiting++
	for c := range e.n {
		var top holder
		for _, h := range holders {
			if h.c == c && h.w > top.w {
				top = h
			}
		}
		whole := true
		for i := range g.cols[c].cells {
			x := &g.cols[c].cells[i]
			whole = whole && (x.info.W > top.w || x.info.W == top.w && x.info.State != chunk.Torn)
		}
		if !whole {
			e.undoAlone(rv, top)
		}
	}
	e.stepDone(rv, true)
}

// ballot is what all columns say of a version of one row.
type ballot struct {
	head     head
	res      stripe.Resolution
	answered int  // columns
	missing  int  // columns
	over     bool // one has a later version, which began when this one was complete, or has it stable
	refuted  bool // one of the write set lacks it, or has it torn: it was not acknowledged
	denied   bool // an earlier open has found against it
}

// poll asks what the columns say of a version of the i-th row.
func (e *Engine) poll(top *holder, g *gather, i int) (b ballot) {
	b.head = head{w: top.w, set: top.set, sure: true}
	named := false
	for c := range g.cols {
		x := &g.cols[c].cells[i]
		b.over = b.over || x.found && x.info.W > top.w
		if x.found && x.info.W == top.w {
			b.over = b.over || e.wholeAt(x.at, top.w)
			b.head.mask, named = stripe.Cols(x.info.Mask), true
		}
	}
	states := make([]stripe.ColumnState, e.n+e.p)
	for c := range states {
		switch x := &g.cols[c].cells[i]; {
		case x.state == cellMissing:
			b.missing++
		case x.state != cellFact:
			if x.found {
				b.answered++
				b.refuted = b.refuted || x.info.W == top.w &&
					(x.info.State == chunk.Torn || e.cfg.Mutant.Is(mutant.RotUndone))
			}
		case x.info.W == top.w, named && x.info.State == chunk.Absent && e.empty(c, b.head.mask):
			states[c] = stripe.Has
			b.answered++
		default:
			states[c] = stripe.Old
			b.answered++
			if c >= e.n || top.set.Has(c) {
				b.refuted, b.denied = true, b.denied || e.deniedBy(g.page, c, top.w)
			}
		}
	}
	set := top.set
	if e.cfg.Mutant.Is(mutant.ForwardAnyhow) {
		set = 0
	}
	b.res = stripe.Resolve(e.n, e.p, set, states)
	return b
}

// settledSince reports that an open has settled a device since a version was written: the device takes it for
// stable, whenever it gets it.
func (e *Engine) settledSince(at chunk.Place, w cluster.Seq) bool {
	return e.devices[at.Device].settled > w.Epoch()
}

// wholeAt reports that a place that has a version has all of it, as others have: an open has completed it,
// and settled the place since. (An alternate is not told of tombstones, so it may have less.)
func (e *Engine) wholeAt(at chunk.Place, w cluster.Seq) bool {
	return !at.Residency.Overlay() && e.settledSince(at, w) && !e.cfg.Mutant.Is(mutant.SettledDecided)
}

// deniedBy reports that a column has not got a version because an open did not see it, or found against it:
// that has settled its device since.
func (e *Engine) deniedBy(page uint64, c int, w cluster.Seq) bool {
	at, ok := e.writePlace(page, c)
	return ok && e.settledSince(at, w) && !e.cfg.Mutant.Is(mutant.SettledForwarded)
}

// decide looks at what every column says of a version.
func (e *Engine) decide(rv *resolving, top holder, g *gather) {
	ballots := make([]ballot, rv.rows)
	forward, complete, enough, refuted, missing := true, true, true, false, 0
	for i := range ballots {
		b := &ballots[i]
		if *b = e.poll(&top, g, i); b.over {
			e.resolved(rv)
			return
		}
		forward = forward && b.res.Decision == stripe.Forward && !b.denied
		complete = complete && b.res.Complete == 0
		enough = enough && b.answered >= e.n
		refuted = refuted || b.refuted
		missing += b.missing
	}
	switch {
	case e.cfg.Mutant.Is(mutant.BackAnyhow) && !complete:
		e.undo(rv, top.w)
	case forward:
		e.forward(rv, ballots)
	case enough && refuted:
		// It cannot be had, or what can be read does not tell, but a column of the write set lacks it, or a power
		// failure tore it: it was not acknowledged. Who waited for those that are away would wait for ever when
		// they are dead.
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

// forward completes a version on the columns that lack it, row by row.
func (e *Engine) forward(rv *resolving, ballots []ballot) {
	rv.waiting++
	for i := range ballots {
		e.Counters.Forward++
		if b := &ballots[i]; b.res.Complete != 0 {
			rv.waiting++
			e.forwardRow(rv, rv.key.row+uint16(i), b)
		}
	}
	e.stepDone(rv, true)
}

func (e *Engine) forwardRow(rv *resolving, row uint16, b *ballot) {
	lacking := b.res.Complete
	g := &gather{page: rv.key.page, first: row, count: 1, want: lacking, not: lacking, given: &b.head}
	e.gather(g, func() {
		if e.isOver(rv) {
			e.stepDone(rv, true)
			return
		}
		for c := range lacking.All() {
			if g.cell(c, row).state != cellFact { // a source failed meanwhile
				e.openStuck()
				e.stepDone(rv, true)
				return
			}
		}
		e.complete(rv.key.page, row, lacking, g, func(ok bool) { e.stepDone(rv, ok) })
	})
}

// undo removes a version from every place of every column.
func (e *Engine) undo(rv *resolving, w cluster.Seq) {
	e.Counters.Undone += uint64(rv.rows)
	rv.waiting++
	for c := range e.n + e.p {
		for _, at := range e.chain(rv.key.page, c).places {
			if !e.devices[at.Device].usable() {
				continue
			}
			rv.waiting++
			e.undoAt(at, rv.key, rv.rows, c, w, func(ok bool) { e.stepDone(rv, ok) })
		}
	}
	e.stepDone(rv, true)
}

func (e *Engine) undoAt(at chunk.Place, k rowKey, rows uint16, c int, w cluster.Seq, done func(ok bool)) {
	r := e.requestAt(chunk.OpUndo, at, k.page, c, k.row, rows, control(func(d *device, r *chunk.Request) {
		done(!e.lost(d, r))
	}))
	r.W = w
	e.send(r)
}

// stepDone counts down what is under way for a row, or for one of several.
func (e *Engine) stepDone(rv *resolving, ok bool) {
	rv.failed = rv.failed || !ok
	if rv.waiting--; rv.waiting == 0 && !e.over(rv) {
		e.resolved(rv)
	}
}
