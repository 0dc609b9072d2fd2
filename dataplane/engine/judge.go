package engine

import (
	"bytes"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// A device that missed an open may hold versions that the open decided against, or that it decided to keep.
// What the device itself lists as unstable are all that can be in question: everything else that it missed
// has an entry in the journal. Each such block is judged by what the other columns say, under the row's lock:
// the version stays if its content is what they decode to and they have nothing against its number
// (opinion.go), else it is removed, and so on down to a version that agrees. Nothing has to be remembered
// about the opens that it missed.
//
// A block that cannot be judged, because too many other columns are away, or the one that knows, stays in
// question: nobody reads it, the device is not settled and so frees nothing, and everything else on it
// serves.

// judgeWidth bounds the blocks that are judged at the same time.
const judgeWidth = 8

// judgeRetryTicks is the pause before what is left in question is judged again.
const judgeRetryTicks = 20

// judging is the judgement of one device.
type judging struct {
	d      *device
	keys   []judged
	active int
	lost   bool // the device failed, or the engine stops
	done   func(ok bool)
}

// judged is a block with unstable versions, at a place that the volume looks at.
type judged struct {
	rowKey
	c  int
	at chunk.Place
}

func (a judged) compare(b judged) int {
	if x := a.rowKey.compare(b.rowKey); x != 0 {
		return x
	}
	return a.c - b.c
}

// missed is the first epoch whose open a device that is not settled since has missed, of those that count:
// the last one that served before this owner, and once this owner serves, its own.
func (e *Engine) missed() uint32 {
	if e.mode == modeOpening {
		return e.cfg.Owner.Served
	}
	return e.cfg.Owner.Epoch
}

// question puts unstable versions of a device that is behind in question: those which are older than the open
// that it missed. Later ones no open has decided that counts. Nor has one been without a column of a page of
// which no more than n are left.
func (e *Engine) question(d *device) {
	d.questioned, d.doubts = d.settled < e.missed(), nil
	if !d.questioned || e.cfg.Mutant.Is(mutant.JudgeSkipped) {
		return
	}
	for _, x := range d.unstable {
		at := chunk.Place{Device: d.id, Residency: x.Residency}
		if x.W.Epoch() < e.missed() && e.looksAt(x.Page, int(x.Column), at) && e.spare(x.Page) {
			d.doubts = append(d.doubts, x)
		}
	}
}

// spare reports that a page has more than n columns that are not stale. If it has not, they were all present
// when the last one became stale (journal.go), and no owner has served without them since: what their devices
// are behind with is something else.
func (e *Engine) spare(page uint64) bool {
	n := 0
	for c := range e.n + e.p {
		if !e.stale(page, c) {
			n++
		}
	}
	return n > e.n || e.cfg.Mutant.Is(mutant.SpareIgnored)
}

// inQuestion reports that a version of a block does not count.
func (e *Engine) inQuestion(at chunk.Place, page uint64, c int, row uint16, w cluster.Seq) bool {
	k := judged{rowKey{page, row}, c, at}
	return slices.ContainsFunc(e.devices[at.Device].doubts, func(x chunk.Entry) bool {
		return k.names(&x) && x.W == w
	})
}

// rowInQuestion reports that some version of a block does not count.
func (e *Engine) rowInQuestion(at chunk.Place, page uint64, c int, row uint16) bool {
	k := judged{rowKey{page, row}, c, at}
	return slices.ContainsFunc(e.devices[at.Device].doubts, func(x chunk.Entry) bool { return k.names(&x) })
}

// pageInQuestion reports that some version of a column of a page does not count.
func (e *Engine) pageInQuestion(at chunk.Place, page uint64, c int) bool {
	return slices.ContainsFunc(e.devices[at.Device].doubts, func(x chunk.Entry) bool {
		return x.Page == page && int(x.Column) == c && x.Residency == at.Residency
	})
}

// pageUnsettled reports that a device has versions of a column of a page that will be in question at the next
// open, though they may have been judged since: that is forgotten with this owner.
func (e *Engine) pageUnsettled(at chunk.Place, page uint64, c int) bool {
	return slices.ContainsFunc(e.devices[at.Device].unstable, func(x chunk.Entry) bool {
		return x.Page == page && int(x.Column) == c && x.Residency == at.Residency && x.W.Epoch() < e.missed()
	})
}

// names reports that a version is one of this block.
func (k judged) names(x *chunk.Entry) bool {
	return x.Page == k.page && x.Block == k.row && int(x.Column) == k.c && x.Residency == k.at.Residency
}

// answered takes a block out of question: it was judged.
func (d *device) answered(k judged) {
	d.doubts = slices.DeleteFunc(d.doubts, func(x chunk.Entry) bool { return k.names(&x) })
}

// emptied forgets what a device has listed of a column of a page that was dropped.
func (d *device) emptied(k colKey) {
	dropped := func(x chunk.Entry) bool { return x.Page == k.page && int(x.Column) == k.c }
	d.doubts = slices.DeleteFunc(d.doubts, dropped)
	d.unstable = slices.DeleteFunc(d.unstable, dropped)
}

// judgeAll judges the devices that are behind, at an open, one after the other.
func (e *Engine) judgeAll(from int) {
	o := &e.open
	round := o.round
	for i, d := range e.order[from:] {
		if d.state != devListed || !d.questioned {
			continue
		}
		o.active++
		e.judgeDevice(d, func(bool) {
			if e.mode == modeOpening && round == e.open.round {
				o.active--
				e.judgeAll(from + i + 1)
			}
		})
		return
	}
	if o.failed || o.active > 0 {
		return
	}
	if !e.doubtsCovered() {
		e.openStuck()
		return
	}
	e.settleAll()
}

// doubtsCovered is covered for the rows of which something is still in question: n columns that count, or no
// device is away that has another. An open that served with fewer would have decided nothing about such a
// row, but the columns that it missed would be in question for it, too, and none could ever be judged by the
// others.
func (e *Engine) doubtsCovered() bool {
	for _, d := range e.order {
		for i := range d.doubts {
			if x := &d.doubts[i]; d.state == devListed && !e.rowCovered(x.Page, x.Block) {
				return false
			}
		}
	}
	return true
}

func (e *Engine) rowCovered(page uint64, row uint16) bool {
	counts, away := 0, false
	for c := range e.n + e.p {
		there, certain := true, true
		for _, at := range e.chain(page, c).places {
			there = there && e.devices[at.Device].usable()
			certain = certain && !e.rowInQuestion(at, page, c, row)
		}
		switch {
		case e.stale(page, c):
		case !there:
			away = true
		case certain:
			counts++
		}
	}
	return counts >= e.n || !away
}

// judgeAgain judges what was left in question on a device that serves.
func (e *Engine) judgeAgain(d *device) {
	if !d.questioned || d.judging || e.ticks < d.judgeAt {
		return
	}
	d.judging = true
	e.judgeDevice(d, func(ok bool) {
		d.judging, d.judgeAt = false, e.ticks+judgeRetryTicks
		if ok && d.state == devUp && d.questioned && len(d.doubts) == 0 && e.mode == modeServing {
			e.settle(d, func() { d.questioned, d.unstable = false, nil })
		}
	})
}

// judgeDevice judges every block of a device that is in question. What could not be judged stays.
func (e *Engine) judgeDevice(d *device, done func(ok bool)) {
	j := &judging{d: d, done: done}
	for _, x := range d.doubts {
		k := judged{rowKey{x.Page, x.Block}, int(x.Column), chunk.Place{Device: d.id, Residency: x.Residency}}
		if !slices.Contains(j.keys, k) {
			j.keys = append(j.keys, k)
		}
	}
	slices.SortFunc(j.keys, judged.compare)
	e.judgeMore(j)
}

func (e *Engine) judgeMore(j *judging) {
	j.active++ // done is called once, below
	for j.active <= judgeWidth && len(j.keys) > 0 && !j.lost {
		k := j.keys[0]
		j.keys = j.keys[1:]
		j.active++
		e.whileLocked(k.page, k.row, 1, func(x *extent) {
			e.judge(j, k, func(v verdict) {
				switch v {
				case verdictGiven:
					j.d.answered(k)
					e.Counters.Judged++
				case verdictLost:
					j.lost = true
				}
				e.unlockInternal(x)
				j.active--
				e.judgeMore(j)
			})
		})
	}
	if j.active--; j.active == 0 && (len(j.keys) == 0 || j.lost) && j.done != nil {
		done := j.done
		j.done = nil
		done(!j.lost)
	}
}

type verdict uint8

const (
	verdictGiven verdict = iota
	verdictOpen          // too few other columns to say
	verdictLost          // the device failed, or the engine stops
)

// judge compares one block with what the other columns decode to.
func (e *Engine) judge(j *judging, k judged, done func(verdict)) {
	switch {
	case e.mode == modeStopped, j.d.state == devDown:
		done(verdictLost)
		return
	case !e.looksAt(k.page, k.c, k.at):
		done(verdictGiven)
		return
	}
	pins := slices.DeleteFunc(e.pins(), func(p cluster.Seq) bool {
		return !j.d.sees(k, p) || e.cfg.Mutant.Is(mutant.PinUnjudged)
	})
	e.judgeView(&judgement{judging: j, judged: k, done: done}, append(pins, 0))
}

// judgement is that of one block.
type judgement struct {
	*judging
	judged
	approved []cluster.Seq // versions that a view was found to see rightly: later ones do not matter
	done     func(verdict)
}

// approved reports that an earlier view was found to see a version rightly.
func (e *Engine) approved(j *judgement, w cluster.Seq) bool {
	return slices.Contains(j.approved, w) && !e.cfg.Mutant.Is(mutant.ApprovedUndone)
}

// sees reports that a pin may see a version in question.
func (d *device) sees(k judged, pin cluster.Seq) bool {
	return slices.ContainsFunc(d.doubts, func(x chunk.Entry) bool { return k.names(&x) && x.W <= pin })
}

// judgeView judges what the first of some views sees, oldest first, the present (0) last. What is not in
// question there needs no judgement.
func (e *Engine) judgeView(j *judgement, views []cluster.Seq) {
	if len(views) == 0 {
		j.done(verdictGiven)
		return
	}
	e.look(j, views[0], func(have chunk.BlockInfo, _ []byte) {
		if !j.d.listed(j.judged, have.W) || e.approved(j, have.W) {
			e.judgeView(j, views[1:])
			return
		}
		bit := stripe.ColsOf(j.c)
		g := &gather{page: j.page, first: j.row, count: 1, asOf: views[0], want: bit, not: bit}
		e.gather(g, func() {
			truth := g.cell(j.c, j.row)
			switch {
			case e.mode == modeStopped:
				j.done(verdictLost)
			case truth.state != cellFact:
				j.done(verdictOpen)
			default:
				e.compare(j, views, g)
			}
		})
	})
}

// look reads what a view sees of the block on its device.
func (e *Engine) look(j *judgement, view cluster.Seq, then func(have chunk.BlockInfo, data []byte)) {
	r := e.requestAt(chunk.OpRead, j.at, j.page, j.c, j.row, 1, control(func(d *device, r *chunk.Request) {
		if e.lost(d, r) || e.mode == modeStopped {
			j.done(verdictLost)
			return
		}
		then(r.Blocks[0], r.Data)
	}))
	r.W, r.Data, r.Blocks = view, make([]byte, cluster.BlockSize), make([]chunk.BlockInfo, 1)
	e.send(r)
}

// compare reads what a view sees on the device, and removes it while it is in question and not the truth.
func (e *Engine) compare(j *judgement, views []cluster.Seq, g *gather) {
	truth := g.cell(j.c, j.row)
	end := func(ok bool) {
		if ok && e.mode != modeStopped {
			e.judgeView(j, views[1:])
		} else {
			j.done(verdictLost)
		}
	}
	e.look(j, views[0], func(have chunk.BlockInfo, data []byte) {
		same := e.same(j.c, &have, data, truth)
		says := g.opinionOf(j.c, j.row, have, slices.Index(e.chain(j.page, j.c).places, j.at) == 0)
		if e.cfg.Mutant.Is(mutant.NumberUnchecked) {
			says = confirms
		}
		switch listed := j.d.listed(j.judged, have.W); {
		case same && says == covered && listed:
			j.done(verdictOpen)
		case same && says == ambiguous && listed:
			e.trust(j, g, func(ok bool) {
				if !ok {
					j.done(verdictOpen)
					return
				}
				j.approved = append(j.approved, have.W)
				end(true)
			})
		case same && says != contradicts:
			j.approved = append(j.approved, have.W)
			end(true)
		case e.approved(j, have.W): // what came later is in the journal
			end(true)
		case listed:
			e.undoAt(j.at, j.rowKey, 1, j.c, have.W, func(ok bool) {
				if !ok {
					end(false)
					return
				}
				e.compare(j, views, g)
			})
		case e.masked(j.c, &truth.info) && truth.info.W > have.W: // the version that was removed was rotten
			e.writeCell(j.at, j.page, j.c, j.row, truth, end)
		default: // settled, and what came later is in the journal
			end(true)
		}
	})
}

// same reports that a version says what a row decodes to. That a tombstone is gone makes no difference but in
// a clone.
func (e *Engine) same(c int, have *chunk.BlockInfo, data []byte, truth *cell) bool {
	masked := e.masked(c, have)
	switch {
	case have.State.Spoiled(), masked != e.masked(c, &truth.info), masked && have.State != truth.info.State:
		return false
	}
	return have.State != chunk.Data || bytes.Equal(data, truth.data)
}

// listed reports that a version of a block is in question.
func (d *device) listed(k judged, w cluster.Seq) bool {
	return slices.ContainsFunc(d.doubts, func(x chunk.Entry) bool { return k.names(&x) && x.W == w })
}
