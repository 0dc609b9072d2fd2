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
// the version stays if its content is what they decode to, else it is removed, and so on down to a version
// that agrees. Nothing has to be remembered about the opens that it missed.
//
// A block that cannot be judged, because too many other columns are away, stays in question: nobody reads it,
// the device is not settled and so frees nothing, and everything else on it serves.

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

// behind reports that a device missed an open whose decisions count: the last one that served before this
// owner, and once this owner serves, its own.
func (e *Engine) behind(d *device) bool {
	if e.mode == modeOpening {
		return d.settled < e.cfg.Owner.Served
	}
	return d.settled < e.cfg.Owner.Epoch
}

// question puts the unstable versions of a device that is behind in question.
func (e *Engine) question(d *device) {
	d.questioned = e.behind(d) && !e.cfg.Mutant.Is(mutant.JudgeSkipped)
	if d.questioned {
		d.unstable = slices.DeleteFunc(d.unstable, func(x chunk.Entry) bool {
			return !e.looksAt(x.Page, int(x.Column), chunk.Place{Device: d.id, Residency: x.Residency})
		})
	}
}

// inQuestion reports that what a place holds of a block does not count.
func (e *Engine) inQuestion(at chunk.Place, page uint64, c int, row uint16) bool {
	d := e.devices[at.Device]
	return d.questioned && slices.ContainsFunc(d.unstable, func(x chunk.Entry) bool {
		return x.Page == page && x.Block == row && int(x.Column) == c && x.Residency == at.Residency
	})
}

// pageInQuestion reports that some block of a column of a page does not count.
func (e *Engine) pageInQuestion(at chunk.Place, page uint64, c int) bool {
	d := e.devices[at.Device]
	return d.questioned && slices.ContainsFunc(d.unstable, func(x chunk.Entry) bool {
		return x.Page == page && int(x.Column) == c && x.Residency == at.Residency
	})
}

// answered takes blocks out of question: they were judged, or written anew.
func (d *device) answered(page uint64, c int, row, rows uint16) {
	if d.questioned {
		d.unstable = slices.DeleteFunc(d.unstable, func(x chunk.Entry) bool {
			return x.Page == page && int(x.Column) == c && x.Block >= row && x.Block < row+rows
		})
	}
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
	if !o.failed && o.active == 0 {
		e.settleAll()
	}
}

// judgeAgain judges what was left in question on a device that serves.
func (e *Engine) judgeAgain(d *device) {
	if !d.questioned || d.judging || e.ticks < d.judgeAt {
		return
	}
	d.judging = true
	e.judgeDevice(d, func(ok bool) {
		d.judging, d.judgeAt = false, e.ticks+judgeRetryTicks
		if ok && d.state == devUp && d.questioned && len(d.unstable) == 0 && e.mode == modeServing {
			e.settle(d, func() { d.questioned = false })
		}
	})
}

// judgeDevice judges every block of a device that is in question. What could not be judged stays.
func (e *Engine) judgeDevice(d *device, done func(ok bool)) {
	j := &judging{d: d, done: done}
	if e.cfg.Mutant.Is(mutant.JudgeSkipped) {
		d.unstable = nil
	}
	for _, x := range d.unstable {
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
					j.d.answered(k.page, k.c, k.row, 1)
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
	case !e.looksAt(k.page, k.c, k.at) || !e.inQuestion(k.at, k.page, k.c, k.row):
		done(verdictGiven)
		return
	}
	pins := slices.DeleteFunc(e.pins(), func(p cluster.Seq) bool { return !j.d.sees(k, p) })
	e.judgeView(&judgement{judging: j, judged: k, done: done}, append(pins, 0))
}

// judgement is that of one block.
type judgement struct {
	*judging
	judged
	approved []cluster.Seq // versions that a view was found to see rightly: later ones do not matter
	done     func(verdict)
}

// sees reports that a pin may see a version in question.
func (d *device) sees(k judged, pin cluster.Seq) bool {
	return slices.ContainsFunc(d.unstable, func(x chunk.Entry) bool {
		return x.Page == k.page && x.Block == k.row && int(x.Column) == k.c && x.W <= pin
	})
}

// judgeView judges what the first of some views sees, oldest first, the present (0) last.
func (e *Engine) judgeView(j *judgement, views []cluster.Seq) {
	if len(views) == 0 {
		j.done(verdictGiven)
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
}

// contradicted reports that a version of column c cannot be complete: a column that takes part in it has an
// older one.
func (g *gather) contradicted(c int, row uint16, info chunk.BlockInfo) bool {
	for o := range (g.asked &^ stripe.ColsOf(c)).All() {
		x := g.cell(o, row)
		if (o >= g.e.n || stripe.Cols(info.Set).Has(o)) && x.state == cellFact && x.info.State == chunk.Data &&
			x.info.W < info.W {
			return true
		}
	}
	return false
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
	r := e.requestAt(chunk.OpRead, j.at, j.page, j.c, j.row, 1, control(func(d *device, r *chunk.Request) {
		if e.lost(d, r) || e.mode == modeStopped {
			j.done(verdictLost)
			return
		}
		have := r.Blocks[0]
		same := have.State == chunk.Data && truth.info.State == chunk.Data && bytes.Equal(r.Data, truth.data) ||
			have.State != chunk.Data && have.State != chunk.Bad && truth.info.State != chunk.Data
		switch {
		case same && !g.contradicted(j.c, j.row, have):
			j.approved = append(j.approved, have.W)
			end(true)
		case slices.Contains(j.approved, have.W): // what came later is in the journal
			end(true)
		case d.listed(j.judged, have.W):
			e.undoAt(j.at, j.rowKey, j.c, have.W, func(ok bool) {
				if !ok {
					end(false)
					return
				}
				e.compare(j, views, g)
			})
		case truth.info.State == chunk.Data && truth.info.W > have.W: // the version that was removed was rotten
			e.writeCell(j.at, j.page, j.c, j.row, truth, end)
		default: // settled, and what came later is in the journal
			end(true)
		}
	}))
	r.W, r.Data, r.Blocks = views[0], make([]byte, cluster.BlockSize), make([]chunk.BlockInfo, 1)
	e.send(r)
}

// listed reports that a version of a block is in question.
func (d *device) listed(k judged, w cluster.Seq) bool {
	return slices.ContainsFunc(d.unstable, func(x chunk.Entry) bool {
		return x.Page == k.page && x.Block == k.row && int(x.Column) == k.c && x.W == w
	})
}
