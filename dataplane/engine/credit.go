package engine

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
)

// credit is the space that a device has granted, in blocks, and the queue of batches that wait for more.
type credit struct {
	granted uint32 // in the request session, in all
	sent    uint32 // in the request session, in all
	onWay   uint32 // of writes that have not come back
	asking  bool
	asked   uint32 // sent, when it was asked for
	waiting []*batch
}

// claim sends a batch on when every device that it will write to has granted the space; what it has claimed
// is spent at once, for nothing can come in between.
func (e *Engine) claim(b *batch) {
	if e.mode == modeStopped {
		e.endBatch(b, PathGone)
		return
	}
	if d := e.short(b); d != nil {
		d.credit.waiting = append(d.credit.waiting, b)
		e.askCredit(d)
		return
	}
	e.commit(b)
}

// short finds a device that has not granted what a batch needs.
func (e *Engine) short(b *batch) *device {
	for c := range e.n + e.p {
		need := b.dataRows(e, c)
		at, ok := e.writePlace(b.page, c)
		if need == 0 || !ok {
			continue
		}
		if d := e.devices[at.Device]; d.state == devUp && int32(d.credit.granted-d.credit.sent) < int32(need) {
			return d
		}
	}
	return nil
}

// dataRows counts the rows in which a batch writes data to a column.
func (b *batch) dataRows(e *Engine, c int) (n int) {
	for i := range b.plans {
		p := &b.plans[i]
		if c < e.n && (p.changed()&^p.zero).Has(c) || c >= e.n && p.data() != 0 {
			n++
		}
	}
	return n
}

func (e *Engine) askCredit(d *device) {
	if d.credit.asking || len(d.credit.waiting) == 0 {
		return
	}
	d.credit.asking, d.credit.asked = true, d.credit.sent
	r := e.request(chunk.OpStable, d, control(e.creditDone))
	r.W, r.Want = r.Stable, d.credit.onWay // what is on its way counts as not used there
	for _, b := range d.credit.waiting {
		r.Want += uint32(b.rows)
	}
	e.send(r)
}

// creditDone lets go on who has enough now. When nobody has, and nothing is under way that would bring space
// back, the first one is told that there is none.
func (e *Engine) creditDone(d *device, r *chunk.Request) {
	d.credit.asking = false
	failed := e.lost(d, r)
	waiting := slices.Clone(d.credit.waiting)
	d.credit.waiting = d.credit.waiting[:0]
	// what was asked for may have gone to others meanwhile
	progress := failed || e.mode == modeStopped ||
		d.credit.sent != d.credit.asked && !e.cfg.Mutant.Is(mutant.SpaceAskedOnce)
	for _, b := range waiting {
		if !progress && e.short(b) == d {
			e.endBatch(b, NoSpace)
			continue
		}
		progress = true
		e.claim(b)
	}
}

// dropCredit lets batches look again that wait for a device which is gone.
func (e *Engine) dropCredit(d *device) {
	if d.credit.asking {
		return // its answer does that
	}
	waiting := slices.Clone(d.credit.waiting)
	d.credit.waiting = d.credit.waiting[:0]
	for _, b := range waiting {
		e.claim(b)
	}
}
