package engine

import (
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// opinion is what the columns that take part in a version say of its number. Content is not enough: a version
// that went back may have brought what was there before, and beside the others it would be a column that does
// not count; if it is on a parity, they would be such beside it.
type opinion uint8

const (
	silent      opinion = iota // they have nothing, perhaps no tombstone any more
	confirms                   // one has it, or a later one
	contradicts                // one has not got it
	ambiguous                  // silent, but a parity is away that may know
	covered                    // silent, but what lies over the place that has it may know
)

// opinionOf asks about a version that column c has of a row. One that has an older version contradicts. So
// does one that has nothing where there should be something, if no later write can have emptied it: a parity
// takes part in all of them, so it knows; but not while other places lie over the one that is asked about
// (first).
func (g *gather) opinionOf(c int, row uint16, info chunk.BlockInfo, first bool) opinion {
	every := func(o int) bool { return o >= g.e.n || g.e.n == 1 }
	says := silent
	for o := range g.e.n + g.e.p {
		if o == c || !every(o) && !stripe.Cols(info.Set).Has(o) {
			continue
		}
		x := &cell{state: cellMissing}
		if g.asked.Has(o) {
			x = g.cell(o, row)
		}
		switch w := max(x.info.W, x.barred); { // one that is in question, too, has what it has
		case x.state == cellLost && w == 0: // stale: it does not count
		case w != 0 && w < info.W:
			return contradicts
		case w != 0:
			says = confirms
		case says == confirms, !every(c), !g.e.masked(c, &info):
		case x.state == cellMissing:
			says = max(says, ambiguous)
		case g.e.empty(o, stripe.Cols(info.Mask)):
		case first:
			return contradicts
		default:
			says = covered
		}
	}
	return says
}

// trust keeps a version that only a parity could contradict that is away: that parity does not count from now
// on, until it is made anew. While the owner opens, or too few others count, the version stays in question.
func (e *Engine) trust(j *judgement, g *gather, then func(ok bool)) {
	known := stripe.Cols(0)
	for o := range g.asked.All() {
		if x := g.cell(o, j.row); x.state != cellMissing || x.barred != 0 {
			known |= stripe.ColsOf(o)
		}
	}
	if e.mode != modeServing {
		then(false)
		return
	}
	e.disown(colKey{j.page, j.c}, known, then)
}
