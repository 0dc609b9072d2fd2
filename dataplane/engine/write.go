package engine

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// maxMerged bounds the host writes of one batch.
const maxMerged = 64

// batch is one row write of one or more rows of a page, under one w: host writes that arrived for the same
// rows, or a version that an open completes. Its life:
//
//	start --> read old blocks --> compose --> credit --> take w, encode --> send columns --> finish
//
// Until w is taken nothing has been sent, and the batch can be given up. From then on it is final.
type batch struct {
	page     uint64
	row      uint16
	rows     uint16
	members  []*extent // holders of the locks, in order of arrival
	w        cluster.Seq
	given    bool          // w and shards come from an open: cols says which columns to write
	then     func(ok bool) // called at the end: of what is given, and of a row that an audit writes anew
	failed   bool          // a read failed or brought a bad block
	parent   Status        // of a clone: the worst answer of the parent
	writing  bool
	inFlight int // requests outstanding
	plans    []rowPlan
	shards   [][]byte            // n+p of rows blocks
	info     [][]chunk.BlockInfo // n+p of rows: what is written
	cols     []sending
	buf      []byte // memory of shards
}

// rowPlan is what a batch does to one row; nothing to a row in the middle of a range that ends one column and
// begins the next.
type rowPlan struct {
	full stripe.Cols // data columns whose whole block is new
	part stripe.Cols // data columns of which a part is new
	zero stripe.Cols // of full: to hold nothing
	tail stripe.Cols // of zero: behind what a unit is packed into
	old  stripe.Cols // data columns not in full that hold data before
	// Of a clone: void are data columns that hold a tombstone before, bare those of part that hold nothing.
	void, bare stripe.Cols
	held       stripe.Cols // data columns that were read and had a part in the present mask before
	// delta: the parities are changed by what changes, instead of being computed from all columns. base is the
	// version of the parities read for that.
	delta bool
	base  cluster.Seq
	based bool
}

func (p *rowPlan) changed() stripe.Cols { return p.full | p.part }

// data are the data columns that hold data after the write: the present mask, but for clones.
func (p *rowPlan) data() stripe.Cols { return p.old&^p.zero | p.part | p.full&^p.zero }

// mask is the present mask after the write: in a clone tombstones, too, have their part in it.
func (e *Engine) mask(p *rowPlan) stripe.Cols {
	switch {
	case e.cfg.Mutant.Is(mutant.MaskForgotten):
		return p.changed() &^ p.zero
	case e.cloned() && !e.cfg.Mutant.Is(mutant.TombUnmasked):
		if e.cfg.Mutant.Is(mutant.TailMasked) {
			return p.data() | p.zero | p.void
		}
		return (p.data() | p.zero | p.void) &^ p.tail
	}
	return p.data()
}

func (e *Engine) newBatch(page uint64, row, rows uint16) *batch {
	var b *batch
	if n := len(e.batches); n > 0 {
		b = e.batches[n-1]
		e.batches = e.batches[:n-1]
	} else {
		b = &batch{shards: make([][]byte, e.n+e.p), info: make([][]chunk.BlockInfo, e.n+e.p),
			cols: make([]sending, e.n+e.p)}
	}
	b.page, b.row, b.rows = page, row, rows
	return b
}

func (e *Engine) freeBatch(b *batch) {
	clear(b.members)
	clear(b.shards)
	clear(b.cols)
	*b = batch{members: b.members[:0], plans: b.plans[:0], shards: b.shards, info: b.info, cols: b.cols,
		buf: b.buf}
	e.batches = append(e.batches, b)
}

// startWrite begins a batch with a host write and all later ones that may join it.
func (e *Engine) startWrite(x *extent) {
	if e.mode == modeStopped {
		e.finish(x, PathGone)
		return
	}
	b := e.newBatch(x.page, x.row, x.rows)
	b.members = append(b.members, x)
	if e.lock.queued > 0 {
		e.merge(b)
	}
	e.plan(b)
	e.readOld(b)
}

// merge lets waiting writes join a batch when nothing but the batch is in their way.
func (e *Engine) merge(b *batch) {
	bucket := *e.lock.bucket(b.page)
	for i, y := range bucket {
		if len(b.members) == maxMerged {
			return
		}
		if y.started || y.kind != extWrite || y.page != b.page ||
			y.row >= b.row+b.rows || b.row >= y.row+y.rows || e.blockedByOthers(bucket[:i], y, b) {
			continue
		}
		y.started = true
		e.lock.queued--
		e.resume(y)
		b.members = append(b.members, y)
		end := max(b.row+b.rows, y.row+y.rows)
		b.row = min(b.row, y.row)
		b.rows = end - b.row
	}
}

func (e *Engine) blockedByOthers(earlier []*extent, y *extent, b *batch) bool {
	for _, x := range earlier {
		if y.conflicts(x) && !b.has(x) {
			return true
		}
	}
	return false
}

func (b *batch) has(x *extent) bool {
	for _, m := range b.members {
		if m == x {
			return true
		}
	}
	return false
}

// plan says for every row which columns change, and gives the shards their memory. With whole copies and one
// write of whole blocks the host's buffer is the shard.
func (e *Engine) plan(b *batch) {
	b.plans = grow(b.plans, int(b.rows))
	clear(b.plans)
	for _, x := range b.members {
		for c := range e.n {
			first, rows := e.geo.ColumnSpan(c, uint64(x.off), uint64(x.count))
			bit := stripe.ColsOf(c)
			for r := first; r < first+rows; r++ {
				b.plans[r-b.row].add(bit, x)
			}
		}
	}
	e.wholeUnits(b)
	for i := range b.plans {
		e.choose(&b.plans[i])
	}
	if x := b.members[0]; e.copies && !e.packs() && len(b.members) == 1 && !x.partial && x.data != nil {
		for c := range b.shards {
			b.shards[c] = x.data
		}
		return
	}
	e.giveShards(b)
}

// giveShards gives the shards of a batch memory of its own, once where all are copies.
func (e *Engine) giveShards(b *batch) {
	size := int(b.rows) * cluster.BlockSize
	b.buf = grow(b.buf, e.distinct()*size)
	for c := range b.shards {
		at := min(c, e.distinct()-1) * size
		b.shards[c] = b.buf[at : at+size : at+size]
	}
}

// distinct is the number of columns of different content: whole copies are all the same.
func (e *Engine) distinct() int {
	if e.copies {
		return 1
	}
	return e.n + e.p
}

func (p *rowPlan) add(bit stripe.Cols, x *extent) {
	switch {
	case x.data == nil:
		p.full, p.zero, p.part = p.full|bit, p.zero|bit, p.part&^bit
	case !x.partial:
		p.full, p.zero, p.part = p.full|bit, p.zero&^bit, p.part&^bit
	case p.full&bit == 0:
		p.part |= bit
	default: // a part over a whole block that is new too
		p.zero &^= bit
	}
}

// choose picks the way to the new parities of a row that reads the fewest columns.
func (e *Engine) choose(p *rowPlan) {
	if p.changed() == 0 {
		return
	}
	plan, err := stripe.PlanWrite(e.n, e.p, p.full, p.part, 0)
	p.delta = err == nil && plan.Mode == stripe.Delta
}

// needs are the columns of a row whose old blocks the batch has to know.
func (e *Engine) needs(p *rowPlan) stripe.Cols {
	all := stripe.FirstCols(e.n)
	switch {
	case p.delta:
		return p.changed() | stripe.ParityCols(e.n, e.p)
	case p.full == all, e.p == 0, p.changed() == 0:
		return p.part
	}
	return all &^ p.full
}

// readOld reads the old blocks, a request for every run of rows of a column.
func (e *Engine) readOld(b *batch) {
	var need stripe.Cols
	for i := range b.plans {
		need |= e.needs(&b.plans[i])
	}
	copied := 0
	if e.copies && need != 0 {
		copied = max(copied, e.bestCopy(b.page))
	}
	for c := range need.All() {
		if !e.plain(b.page, max(c, copied)) {
			e.gatherOld(b)
			return
		}
	}
	b.inFlight++ // until all are sent
	for c := range need.All() {
		b.info[c] = grow(b.info[c], int(b.rows))
		for i := 0; i < int(b.rows); i++ {
			if !e.needs(&b.plans[i]).Has(c) {
				continue
			}
			j := i + 1
			for j < int(b.rows) && e.needs(&b.plans[j]).Has(c) {
				j++
			}
			from := max(c, copied)
			r := e.requestAt(chunk.OpRead, e.home(b.page, from), b.page, from, b.row+uint16(i), uint16(j-i), b)
			r.Data, r.Blocks = b.shards[c][i*cluster.BlockSize:j*cluster.BlockSize], b.info[c][i:j]
			b.inFlight++
			e.send(r)
			i = j
		}
	}
	b.inFlight--
	e.oldRead(b)
}

// batchDone takes the answer to a request of a batch.
func (e *Engine) batchDone(b *batch, d *device, r *chunk.Request) {
	failed := e.failed(d, r) // a failure may wake others, and end them: not this one, it is in flight
	b.inFlight--
	if b.writing {
		e.columnAnswered(b, d, r, failed)
		return
	}
	c := int(r.Column)
	if e.copies { // any is as good as the first
		c = 0
	}
	if failed {
		b.failed = true
	} else {
		for i := range r.Blocks {
			b.failed = !b.plans[int(r.Block-b.row)+i].know(e, c, &r.Blocks[i]) || b.failed
			if r.Blocks[i].State != chunk.Data {
				clear(block(r.Data, i))
			}
		}
	}
	e.oldRead(b)
}

// know takes the record of an old block; false when the row needs a closer look: a bad block, or parities of
// different versions.
func (p *rowPlan) know(e *Engine, c int, info *chunk.BlockInfo) bool {
	if c < e.n {
		p.noteOld(e, c, info)
		return !info.State.Spoiled()
	}
	same := !p.based || p.base == info.W
	p.based, p.base = true, info.W
	if e.cloned() && info.State == chunk.Tombstone { // all of it is zeroes
		p.void |= stripe.Cols(info.Mask)
	} else {
		p.old |= stripe.Cols(info.Mask)
	}
	return same && !info.State.Spoiled()
}

// noteOld takes what a data column held before.
func (p *rowPlan) noteOld(e *Engine, c int, info *chunk.BlockInfo) {
	bit := stripe.ColsOf(c)
	switch {
	case info.State == chunk.Data:
		p.old, p.held = p.old|bit, p.held|bit
	case e.masked(c, info):
		p.void, p.held = p.void|bit, p.held|bit
	case e.cloned() && !info.State.Spoiled():
		p.bare |= bit & p.part
	}
}

// oldRead goes on when all old blocks are there.
func (e *Engine) oldRead(b *batch) {
	switch {
	case b.inFlight > 0:
	case e.mode == modeStopped:
		e.endBatch(b, PathGone)
	case b.failed:
		b.failed = false
		e.gatherOld(b)
	default:
		e.underlay(b)
	}
}

// gatherOld gets the old blocks when some column is not healthy. Deltas are for clean rows only.
func (e *Engine) gatherOld(b *batch) {
	var need stripe.Cols
	for i := range b.plans {
		b.plans[i].delta = false
		need |= e.needs(&b.plans[i])
	}
	g := &gather{page: b.page, first: b.row, count: b.rows, want: need}
	e.gather(g, func() {
		if e.mode == modeStopped {
			e.endBatch(b, PathGone)
			return
		}
		worst := cellFact
		for i := range b.plans {
			p := &b.plans[i]
			p.old, p.void, p.bare, p.held = 0, 0, 0, 0
			for c := range e.needs(p).All() {
				x := g.cell(c, b.row+uint16(i))
				worst = max(worst, x.state)
				copy(block(b.shards[c], i), x.data)
				p.noteOld(e, c, &x.info)
			}
		}
		switch worst {
		case cellFact:
			e.underlay(b)
		case cellLost:
			e.endBatch(b, Media)
		default:
			e.parkBatch(b)
		}
	})
}

// compose lays the new data over the old and asks for credit.
func (e *Engine) compose(b *batch) {
	e.addDeltas(b, true) // takes the old data out of the parities
	if !e.unpackOld(b) {
		e.endBatch(b, Media)
		return
	}
	for _, x := range b.members {
		if b.shards[0] != nil && x.data != nil && &b.shards[0][0] == &x.data[0] {
			break // the host's buffer is the shard
		}
		for c := range e.n {
			first, rows := e.geo.ColumnSpan(c, uint64(x.off), uint64(x.count))
			for i := range rows {
				dst := block(b.shards[c], int(first+i-b.row))
				switch {
				case x.data == nil:
					clear(dst)
				case x.partial:
					copy(dst[x.inBlock:], x.data)
				default:
					at := int(e.geo.Offset(c, first+i)) - int(x.off)
					copy(dst, block(x.data, at))
				}
			}
		}
	}
	e.pack(b)
	e.addDeltas(b, false) // and the new data in
	e.claim(b)
}

// addDeltas adds the changing blocks, as they are now, to the parities of rows that are changed by a delta:
// once before and once after the change adds what differs. What the parent shows there was never in them.
func (e *Engine) addDeltas(b *batch, before bool) {
	parity := e.scratch[:e.p]
	for i := range b.plans {
		p := &b.plans[i]
		if !p.delta {
			continue
		}
		cols := p.changed()
		if before {
			cols &^= p.bare
		}
		for c := range cols.All() {
			for q := range parity {
				parity[q] = block(b.shards[e.n+q], i)
			}
			e.codec.Delta(c, block(b.shards[c], i), parity)
		}
	}
	clear(parity)
}

// encode computes the parities of the other rows.
func (e *Engine) encode(b *batch) {
	for i := 0; i < len(b.plans); {
		j := i + 1
		for j < len(b.plans) && b.plans[j].delta == b.plans[i].delta {
			j++
		}
		if !b.plans[i].delta {
			for c := range b.shards {
				e.scratch[c] = b.shards[c][i*cluster.BlockSize : j*cluster.BlockSize]
			}
			e.codec.Encode(e.scratch)
		}
		i = j
	}
	clear(e.scratch)
}

// parkBatch gives a batch up for now; nothing has been sent.
func (e *Engine) parkBatch(b *batch) {
	if b.then != nil { // an audit comes by again
		e.endBatch(b, NoSpace)
		return
	}
	members := b.members
	b.members = nil
	e.freeBatch(b)
	e.park(members...)
}

// endBatch ends a batch and answers its hosts.
func (e *Engine) endBatch(b *batch, s Status) {
	if i := slices.Index(e.stuck, b); i >= 0 {
		e.stuck = slices.Delete(e.stuck, i, i+1)
	}
	if b.then != nil {
		then := b.then
		e.freeBatch(b)
		then(s == OK)
		return
	}
	page := b.page
	for _, x := range b.members {
		e.unlock(x)
	}
	for _, x := range b.members {
		op := x.op
		e.freeExtent(x)
		e.partDone(op, s)
	}
	e.freeBatch(b)
	e.startWaiting(page)
}
