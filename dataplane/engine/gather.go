package engine

import (
	"hash/crc32"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// gather collects columns of some rows of a page: from the places that hold them, and where these do not give
// a fact, from the other columns. It is the one way to read a row that is not healthy: for hosts, for partial
// writes, to judge and to mend. Its caller holds the rows (shared is enough) and releases nothing before it
// is called back.
type gather struct {
	page         uint64
	first, count uint16
	asOf         cluster.Seq
	want         stripe.Cols // columns to be had
	not          stripe.Cols // columns that count as missing whatever they hold
	heads        bool        // only the records of every column are wanted: no data, nothing is decoded
	given        *head       // what is known of the row's newest version
	copied       int         // of copies: the column to be had for the host

	e       *Engine
	cols    []gathered
	asked   stripe.Cols
	waiting int
	planned bool
	anew    bool // a parity was computed though nobody knew of which version the row is
	done    func()
}

// cellState orders how well a cell is known: the worst of several decides.
type cellState uint8

const (
	cellFact    cellState = iota // data, absent or tombstone
	cellLost                     // no n columns have it, and no device is away that might
	cellMissing                  // a device that may return has it
)

// cell is one block of a gathered column. Its data is zeroes unless its record says Data.
type cell struct {
	state   cellState
	found   bool // a record was found, be it bad
	data    []byte
	info    chunk.BlockInfo
	at      chunk.Place // where it was found
	decoded bool        // data and info come from the other columns
	repair  bool        // found in a state that has to be written again
	barred  cluster.Seq // what is there, and is in question: missing until that is judged
	bad     bool        // decoded is the very version that was found bad
	sure    bool        // decoded under a version that a column has that takes part in every row write
}

type gathered struct {
	cells []cell
}

func (g *gather) cell(c int, row uint16) *cell { return &g.cols[c].cells[row-g.first] }

// cellAt is the cell of a block of the page, for the host.
func (g *gather) cellAt(off uint16) *cell {
	c, row := g.e.geo.Cell(uint64(off))
	return g.cell(max(c, g.copied), row)
}

// gather starts; done is called when it is over, perhaps before it returns.
func (e *Engine) gather(g *gather, done func()) {
	g.e, g.done = e, done
	g.cols = make([]gathered, e.n+e.p)
	if g.heads {
		g.want = stripe.FirstCols(e.n + e.p)
	}
	g.ask(g.want &^ g.not)
}

// ask reads columns that were not asked yet.
func (g *gather) ask(cols stripe.Cols) {
	g.asked |= cols
	g.waiting++ // until all are sent
	for c := range cols.All() {
		g.waiting++
		g.start(c)
	}
	g.columnDone()
}

func (g *gather) columnDone() {
	if g.waiting--; g.waiting == 0 {
		g.proceed()
	}
}

// walk is the way of a column read through the places that may hold it.
type walk struct {
	c     int
	chain chain
	next  int
	open  int // cells not known yet
}

func (g *gather) start(c int) {
	cells := make([]cell, g.count)
	data := make([]byte, int(g.count)*cluster.BlockSize)
	for i := range cells {
		cells[i] = cell{state: cellMissing, data: block(data, i)}
	}
	g.cols[c].cells = cells
	g.step(&walk{c: c, chain: g.e.chain(g.page, c), open: len(cells)})
}

// step asks the next place of a column.
func (g *gather) step(w *walk) {
	e := g.e
	if w.open == 0 {
		g.columnDone()
		return
	}
	if w.next == len(w.chain.places) {
		g.end(w)
		return
	}
	at := w.chain.places[w.next]
	w.next++
	if !e.devices[at.Device].usable() {
		if e.cfg.Mutant.Is(mutant.AlternateSkipped) {
			g.step(w)
			return
		}
		g.columnDone()
		return
	}
	op := chunk.OpRead
	if g.heads {
		op = chunk.OpHead
	}
	r := e.requestAt(op, at, g.page, w.c, g.first, g.count, control(func(d *device, r *chunk.Request) {
		g.answer(w, at, d, r)
	}))
	r.W, r.Blocks = g.asOf, make([]chunk.BlockInfo, g.count)
	if !g.heads {
		r.Data = make([]byte, int(g.count)*cluster.BlockSize)
	}
	e.send(r)
}

// end decides about cells that no place holds.
func (g *gather) end(w *walk) {
	for i := range g.cols[w.c].cells {
		x := &g.cols[w.c].cells[i]
		if x.found || x.barred != 0 {
			continue
		}
		if x.state = cellLost; w.chain.absent {
			x.state, x.found, x.at = cellFact, true, w.chain.places[len(w.chain.places)-1]
		}
	}
	g.columnDone()
}

func (g *gather) answer(w *walk, at chunk.Place, d *device, r *chunk.Request) {
	if g.e.failed(d, r) {
		g.columnDone()
		return
	}
	for i := range r.Blocks {
		x := &g.cols[w.c].cells[i]
		if x.found || x.barred != 0 || r.Blocks[i].State == chunk.Absent {
			continue
		}
		if info := &r.Blocks[i]; g.e.inQuestion(at, g.page, w.c, g.first+uint16(i), info.W) {
			x.barred = info.W
			w.open--
			continue
		}
		x.found, x.info, x.at, x.state = true, r.Blocks[i], at, cellFact
		w.open--
		switch {
		case x.info.State.Spoiled():
			x.state, x.repair = cellLost, true
		case x.info.State == chunk.Data && !g.heads:
			copy(x.data, block(r.Data, i))
		}
	}
	g.step(w)
}

// proceed goes on when all that was asked is there.
func (g *gather) proceed() {
	if g.heads || g.known() {
		g.done()
		return
	}
	if more := g.more(); more != 0 {
		g.ask(more)
		return
	}
	for c := range (g.not & g.want).All() {
		g.cols[c].cells = make([]cell, g.count)
	}
	worst := cellFact
	for i := range int(g.count) {
		worst = max(worst, g.decode(i))
	}
	if rest := g.rest(); worst != cellFact && rest != 0 {
		g.ask(rest)
		return
	}
	g.repair()
}

func (g *gather) rest() stripe.Cols { return stripe.FirstCols(g.e.n+g.e.p) &^ g.asked &^ g.not }

// more are the columns to ask besides those that are wanted: as many as are needed to decode, and all
// parities. When these do not agree, or some fail, the rest is asked.
func (g *gather) more() stripe.Cols {
	if g.planned {
		return 0
	}
	g.planned = true
	missing := g.not
	for c := range g.e.n + g.e.p {
		if at, ok := g.e.writePlace(g.page, c); !ok || !g.e.devices[at.Device].usable() {
			missing |= stripe.ColsOf(c)
		}
		for i := range g.cols[c].cells {
			if g.cols[c].cells[i].state != cellFact {
				missing |= stripe.ColsOf(c)
			}
		}
	}
	data := stripe.FirstCols(g.e.n)
	want := g.want & data
	parities := stripe.Cols(0)
	if g.want&^data != 0 { // a parity is computed from all data columns
		want = data
	}
	// one of the parities alone may have lost a write, or be made of data columns only
	if g.given == nil && !g.e.cfg.Mutant.Is(mutant.ParityUnasked) {
		parities = stripe.FirstCols(g.e.n+g.e.p) &^ data &^ missing
	}
	plan, err := stripe.PlanRead(g.e.n, g.e.p, want, missing)
	if err != nil {
		return g.rest()
	}
	return (plan.Read | parities) &^ g.asked
}

// known reports whether every cell that is wanted is a fact.
func (g *gather) known() bool {
	if g.want&g.not != 0 {
		return false
	}
	for c := range g.want.All() {
		for i := range g.cols[c].cells {
			if g.cols[c].cells[i].state != cellFact {
				return false
			}
		}
	}
	return true
}

// head is what the newest version among the columns of a row says of the row.
type head struct {
	w         cluster.Seq
	set, mask stripe.Cols
	// sure: a column that takes part in every row write has w, so set and mask are those of the row. Else the
	// parities there are have lost a write, or there are none; the data columns may have changed since without a
	// trace, for a tombstone goes.
	sure bool
}

func (g *gather) headOf(i int) (h head) {
	if g.given != nil {
		return *g.given
	}
	for c := range g.asked.All() {
		if x := &g.cols[c].cells[i]; x.found && x.info.W > h.w {
			h = head{w: x.info.W, set: stripe.Cols(x.info.Set), mask: stripe.Cols(x.info.Mask)}
		}
	}
	void, data := false, false
	for c := range g.asked.All() {
		x := &g.cols[c].cells[i]
		every := c >= g.e.n || g.e.n == 1
		if every && !h.sure && x.found && x.info.W == h.w { // a parity that was made anew may know more than w did
			h.sure, h.set, h.mask = true, stripe.Cols(x.info.Set), stripe.Cols(x.info.Mask)
		}
		void = void || x.state == cellFact && x.info.State == chunk.Absent && every
		data = data || x.found && (g.e.masked(c, &x.info) || x.info.State.Spoiled())
	}
	if !h.sure && void && !data { // the last write left nothing, and its tombstones are gone
		h.sure, h.set, h.mask = true, 0, 0
	}
	return h
}

// valid reports whether column c holds what it must hold when the row's newest version is h. Parities take
// part in every row write, data columns in those whose set names them; who has not got the version then has
// lost it. Absent is right where there is nothing at h: a tombstone may have gone.
func (g *gather) valid(c int, x *cell, h head) bool {
	switch {
	case x.state != cellFact:
		return false
	case g.e.cfg.Mutant.Is(mutant.HeadUnchecked):
		return true
	case x.info.W == h.w, x.info.State == chunk.Absent && g.e.empty(c, h.mask):
		return true
	}
	return !g.takesPart(c, h)
}

// takesPart reports that the row write that made version h has changed column c.
func (g *gather) takesPart(c int, h head) bool { return c >= g.e.n || h.sure && h.set.Has(c) }

// decode fills in the cells of a row that are wanted and not known, and says how well that went.
func (g *gather) decode(i int) cellState {
	e := g.e
	h := g.headOf(i)
	var have, lack stripe.Cols
	away := false
	shards := make([][]byte, e.n+e.p)
	for c := range e.n + e.p {
		x := g.column(c, i)
		if x == nil {
			continue
		}
		shards[c] = x.data
		switch {
		case g.not.Has(c), x.decoded: // decoded before, from fewer columns
		case g.valid(c, x, h):
			have |= stripe.ColsOf(c)
			continue
		case x.state == cellFact:
			x.repair = true // lost a write
		default:
			away = away || x.state == cellMissing
		}
		if g.want.Has(c) {
			lack |= stripe.ColsOf(c)
		}
	}
	if lack == 0 {
		return cellFact
	}
	if have.Len() < e.n {
		state := cellLost
		if away {
			state = cellMissing
		}
		for c := range lack.All() {
			g.column(c, i).state = state
		}
		return state
	}
	if !h.sure { // a parity is made anew: all data columns are there
		h.mask = 0
		g.anew = g.anew || h.w != 0
	}
	for c := range e.n {
		if x := g.column(c, i); !h.sure && x != nil && e.masked(c, &x.info) {
			h.mask |= stripe.ColsOf(c)
		}
	}
	for c := range lack.All() {
		shards[c] = make([]byte, cluster.BlockSize)
	}
	if err := e.codec.Reconstruct(shards, have, lack); err != nil {
		panic("engine: " + err.Error())
	}
	worst := cellFact
	for c := range lack.All() {
		worst = max(worst, g.fill(c, i, shards[c], h))
	}
	return worst
}

// column is a cell of a column that was asked or is wanted; else nil.
func (g *gather) column(c, i int) *cell {
	if !(g.asked | g.want).Has(c) {
		return nil
	}
	return &g.cols[c].cells[i]
}

// fill notes a cell that was decoded, unless it is not what the record of a bad version says it was: then the
// columns that it was decoded from do not belong together.
func (g *gather) fill(c, i int, data []byte, h head) cellState {
	x := g.column(c, i)
	info := chunk.BlockInfo{W: h.w, Set: uint16(h.set), Mask: uint16(h.mask)}
	x.bad = x.info.State.Spoiled() && (x.info.W == h.w || !g.takesPart(c, h))
	switch {
	case x.bad && sum(data) != x.info.CRC:
		x.state = cellLost
		return cellLost
	case x.bad: // the version that is there, to be written again
		info = x.info
	}
	x.state, x.data, x.decoded, x.info, x.sure = cellFact, data, true, info, h.sure
	x.info.State = chunk.Absent
	switch {
	case x.bad, !g.e.empty(c, h.mask) && !g.e.void(data):
		x.info.State, x.info.CRC = chunk.Data, sum(data)
	case !g.e.empty(c, h.mask):
		x.info.State = chunk.Tombstone
	default:
		clear(data)
	}
	return cellFact
}

// repair writes cells again that were found bad or had lost a write, then ends the gather. As of a pin that
// takes a parity that has the version: one that is made anew lacks what came between.
func (g *gather) repair() {
	e := g.e
	g.waiting++
	for c := range (g.want &^ g.not).All() {
		for i := range g.cols[c].cells {
			x := &g.cols[c].cells[i]
			if !x.repair || !x.decoded || x.info.W == 0 || g.asOf != 0 && !x.bad && !x.sure || !x.found ||
				!e.devices[x.at.Device].usable() {
				continue
			}
			g.waiting++
			e.writeCell(x.at, g.page, c, g.first+uint16(i), x, func(ok bool) {
				if ok {
					x.repair = false
					e.Counters.Repaired++
				}
				g.repaired()
			})
		}
	}
	g.repaired()
}

func (g *gather) repaired() {
	if g.waiting--; g.waiting == 0 {
		g.done()
	}
}

// writeCell writes one known cell to a place, under the version that it has.
func (e *Engine) writeCell(at chunk.Place, page uint64, c int, row uint16, x *cell, done func(ok bool)) {
	op := chunk.OpWrite
	if x.info.State != chunk.Data {
		op = chunk.OpTombstone
	}
	r := e.requestAt(op, at, page, c, row, 1, control(func(d *device, r *chunk.Request) {
		done(!e.failed(d, r))
	}))
	info := x.info
	if op == chunk.OpTombstone {
		info.State = chunk.Tombstone
	} else {
		r.Data = x.data
	}
	r.W, r.Blocks = info.W, []chunk.BlockInfo{info}
	e.send(r)
}

func sum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
