package engine

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
)

type devState uint8

const (
	devIn      devState = iota // has every acknowledged write; read from, written to
	devSuspect                 // failed a request; not recorded out (yet): it may be the last copy of a group
	devOut                     // recorded out: neither read nor written
	devResync                  // recorded out, written to, being filled
)

// device is what the engine knows of one device of the volume.
//
//	In --failure--> Suspect --recorded--> Out --begin--> Resync --recorded--> In
//	                   ^ \--answers again, no record under way--> In             |
//	                                        Out <--failure-- Resync
type device struct {
	id         cluster.DeviceID
	state      devState
	residency  uint32
	near       bool
	freeKnown  bool
	short      bool // a write was refused for lack of space here
	stableBusy bool
	probing    bool
	condemned  bool   // doubted, or failed after it had answered an open: the next attempt goes without it
	free       uint64 // blocks, as of the last answer
	stableSent cluster.Seq
	retryAt    uint64 // tick before which no new resync is tried
	failures   uint8  // of resyncs in a row
	open       openState
}

func (e *Engine) makeDevices() {
	for _, row := range e.cfg.Table.Rows() {
		for _, id := range row {
			if e.devices[id] != nil {
				continue
			}
			d := &device{id: id, near: e.cfg.Near[id], residency: e.cfg.Owner.Residency(id),
				condemned: e.cfg.Doubted[id]}
			if e.cfg.Owner.IsOut(id) {
				d.state = devOut
			}
			e.devices[id] = d
			e.order = append(e.order, d)
		}
	}
	slices.SortFunc(e.order, func(a, b *device) int { return int(a.id) - int(b.id) })
}

// deviceFailed notes that a request to d failed for a reason other than fencing.
func (e *Engine) deviceFailed(d *device) {
	if e.mode == modeStopped {
		return
	}
	switch d.state {
	case devIn:
		d.state = devSuspect
		if e.rs != nil && e.rs.phase < rsReturn {
			e.rs.failed = true // a source is gone; try again later
		}
		e.wantRecord()
	case devResync:
		d.state = devOut
		e.resyncFailed(d)
		e.retryBlocked()
	}
}

// recorder serialises changes of the owner record: one compare-and-swap at a time.
type recorder struct {
	have    cluster.Owner // as stored last
	pending *cluster.Owner
}

// wantRecord starts a change of the owner record when the devices' states ask for one and none is under way.
func (e *Engine) wantRecord() {
	if e.rec.pending != nil || e.mode == modeStopped {
		return
	}
	next := e.rec.have.Clone()
	changed := false
	for _, d := range e.order {
		if d.state == devSuspect && !next.IsOut(d.id) && e.coveredWithout(d) {
			next.Out = append(next.Out, cluster.Out{Device: d.id, At: e.lastSeq()})
			changed = true
		}
	}
	if e.rs != nil {
		changed = e.rs.wants(&next) || changed
	}
	if changed {
		e.rec.pending = &next
		c := next.Clone()
		e.out.Record = &c
	}
}

// lastSeq is the newest sequence number given out.
func (e *Engine) lastSeq() cluster.Seq { return cluster.MakeSeq(e.cfg.Owner.Epoch, e.win.next-1) }

// coveredWithout reports whether every group that d belongs to has another device that is in: only then may d
// be recorded out without losing the last copy.
func (e *Engine) coveredWithout(d *device) bool {
	for _, row := range e.cfg.Table.Rows() {
		if !slices.Contains(row, d.id) {
			continue
		}
		if !slices.ContainsFunc(row, func(id cluster.DeviceID) bool {
			return id != d.id && e.devices[id].state == devIn && e.devices[id].reachableAtOpen(e.mode)
		}) {
			return false
		}
	}
	return true
}

// Recorded answers Ready.Record: ok tells that the record was stored. False means that somebody else changed
// it: this owner is fenced. While the store does not answer, the driver keeps trying and calls nothing.
func (e *Engine) Recorded(ok bool) {
	if e.rec.pending == nil {
		panic("engine: Recorded without a record under way")
	}
	next := e.rec.pending
	e.rec.pending = nil
	if !ok {
		e.fence()
		return
	}
	e.rec.have = *next
	for _, d := range e.order {
		if d.state == devSuspect && next.IsOut(d.id) {
			d.state = devOut
			d.retryAt = e.ticks + resyncRetryTicks
		}
		d.residency = next.Residency(d.id)
	}
	if e.rs != nil {
		e.rs.recorded(e)
	}
	switch e.mode {
	case modeOpening:
		e.openRecorded()
	case modeServing:
		e.retryBlocked()
	}
	e.wantRecord()
}

// probeSuspects asks devices that could not be recorded out whether they are back.
func (e *Engine) probeSuspects() {
	for _, d := range e.order {
		if d.state == devSuspect && !d.probing && !e.underRecord(d) {
			d.probing = true
			e.send(e.request(chunk.OpFence, d, control(e.probeDone)))
		}
	}
}

// underRecord reports whether the record under way would put d out: then it no longer matters whether d
// answers.
func (e *Engine) underRecord(d *device) bool {
	return e.rec.pending != nil && e.rec.pending.IsOut(d.id)
}

func (e *Engine) probeDone(d *device, r *chunk.Request) {
	d.probing = false
	if r.Status == chunk.OK && d.state == devSuspect && !e.underRecord(d) && e.mode == modeServing {
		d.state = devIn
		e.retryBlocked()
	}
	e.wantRecord()
}

// block parks an extent until a device answers again or is recorded out.
func (e *Engine) block(x *extent) {
	if !x.blocked {
		x.blocked = true
		e.blocked = append(e.blocked, x)
	}
	e.wantRecord()
}

// retryBlocked looks again at every parked extent.
func (e *Engine) retryBlocked() {
	parked := e.blocked
	e.blocked = nil
	for _, x := range parked {
		x.blocked = false
	}
	for _, x := range parked {
		if x.waiting == 0 {
			e.proceed(x)
		}
	}
}

// flushBlocked ends parked extents when the engine stops.
func (e *Engine) flushBlocked() { e.retryBlocked() }

// rowOf names the devices of a page.
func (e *Engine) rowOf(page uint64) []cluster.DeviceID {
	return e.cfg.Table.Row(placement.Group(e.cfg.Vol, page))
}
