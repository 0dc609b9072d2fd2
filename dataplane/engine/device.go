package engine

import (
	"cmp"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
)

type devState uint8

const (
	devDown   devState = iota // failed a request, or was not there at the open
	devAsked                  // open: fence or inventory under way
	devListed                 // open: inventory complete; takes part in resolution
	devAdmit                  // back: has the fence, is being judged and settled
	devUp                     // serves
)

// device is what the engine knows of one device of the pool.
//
//	open:  Asked --> Listed --> Up
//	later: Up --failure--> Down --answers a fence--> Admit --settled--> Up
//
// While a device is down, every write that it misses leaves an entry in the journal (send.go), so what it
// holds without an entry is current when it is back: all but versions that an open decided without it
// (judge.go).
type device struct {
	id         cluster.DeviceID
	state      devState
	near       int    // as Config.Near says
	full       bool   // it answers, but had no room for what it has to keep
	condemned  bool   // doubted, or failed in the open: the next attempt goes without it
	settled    uint32 // the last epoch that settled it, as of its last fence
	viewed     uint32 // the view list that it has
	viewBusy   bool
	unstable   []chunk.Entry // its unstable versions, as it listed them, until it is settled
	questioned bool          // it is behind, and not settled since
	doubts     []chunk.Entry // of unstable, what is in question and does not count until it is judged (judge.go)
	judging    bool
	judgeAt    uint64
	sweep      bool // may hold chunks under residencies that are over
	sweeping   bool
	inFlight   int // requests that have not come back
	mark       marked
	credit     credit
	retry      backoff
	repair     repairing
}

// marked is what a device was told of the stable mark.
type marked struct {
	sent  cluster.Seq
	holes bool // it has some
	busy  bool // it is being told
}

// backoff makes the pause before the next attempt longer with every one that failed.
type backoff struct {
	at       uint64 // tick before which nothing is tried
	failures uint8  // in a row
}

func (b *backoff) failed(now, pause uint64) {
	b.at = now + pause<<b.failures
	b.failures = min(b.failures+1, maxDoublings)
}

const (
	deviceRetryTicks = 5 // pause before a device that is down is asked again; doubles up to maxDoublings times
	maxDoublings     = 5
)

// usable reports whether chunk requests may be sent to the device.
func (d *device) usable() bool { return d.state == devUp || d.state == devListed }

// device finds or makes a device.
func (e *Engine) device(id cluster.DeviceID) *device {
	d := e.devices[id]
	if d == nil {
		d = &device{id: id, near: e.cfg.Near[id], condemned: e.cfg.Doubted[id]}
		e.devices[id] = d
		i, _ := slices.BinarySearchFunc(e.order, id, func(d *device, id cluster.DeviceID) int {
			return cmp.Compare(d.id, id)
		})
		e.order = slices.Insert(e.order, i, d)
	}
	return d
}

// SetNear says how near devices are from now on, as Config.Near does.
func (e *Engine) SetNear(near map[cluster.DeviceID]int) {
	e.cfg.Near = near
	for _, d := range e.order {
		d.near = near[d.id]
	}
}

// addDevices makes the devices of a table, and those that may become alternates.
func (e *Engine) addDevices(t *placement.Table) {
	for _, row := range t.Rows() {
		for _, id := range row {
			e.device(id)
		}
	}
	for _, id := range t.Devices() {
		e.device(id)
	}
}

// deviceFailed notes that a request to d failed.
func (e *Engine) deviceFailed(d *device) {
	if e.mode == modeStopped || d.state == devDown {
		return
	}
	was := d.state
	d.state = devDown
	d.retry.failed(e.ticks, deviceRetryTicks)
	e.round++
	e.jour.deviceDown(e, d)
	e.dropCredit(d)
	if e.mode == modeOpening {
		e.openFailure(d, was)
	}
}

// tickDevices asks devices that are down whether they are back.
func (e *Engine) tickDevices() {
	for _, d := range e.order {
		if d.state == devDown && e.ticks >= d.retry.at && d.inFlight == 0 {
			d.state = devAdmit
			e.send(e.request(chunk.OpFence, d, control(e.readmit)))
		}
		if d.state == devUp {
			e.sweepDevice(d)
			e.judgeAgain(d)
			e.tickRepair(d)
		}
	}
}

// fenced takes what the answer to a fence says of a device: a session begins.
func (e *Engine) fencedDevice(d *device, r *chunk.Request) {
	d.settled, d.viewed = r.Settled, r.Viewed
	d.credit.granted, d.credit.sent = r.Granted, 0
	d.mark.sent, d.mark.busy, d.mark.holes = 0, false, false
	d.unstable = d.unstable[:0]
	d.sweep, d.questioned, d.doubts = true, false, nil
}

// readmit brings a device back: view list, numbers, then, if it missed the open of this epoch, its unstable
// versions. They are in question until they are judged; everything else on it serves at once, for a row write
// that holds its rows may be waiting for this very device.
func (e *Engine) readmit(d *device, r *chunk.Request) {
	if e.lost(d, r) || e.mode != modeServing {
		return
	}
	e.fencedDevice(d, r)
	ready := func() {
		if d.settled == e.cfg.Owner.Epoch {
			e.deviceUp(d)
			return
		}
		e.listUnstable(d, chunk.Cursor{}, func() {
			e.question(d)
			d.judgeAt = 0
			e.deviceUp(d)
		})
	}
	e.bringView(d, func() { e.renumberAll(d, ready) })
}

func (e *Engine) deviceUp(d *device) {
	if d.viewed < e.cfg.View.Version && !e.cfg.Mutant.Is(mutant.ReturnUnviewed) { // it has changed since
		e.bringView(d, func() { e.deviceUp(d) })
		return
	}
	d.state, d.retry.failures, d.repair.retry = devUp, 0, backoff{}
	e.round++
	e.jour.deviceUp(e, d)
	e.mend.dirty = true
	e.wake()
}

// bringView gives a device the view list if it has an older one.
func (e *Engine) bringView(d *device, then func()) {
	if d.viewed >= e.cfg.View.Version {
		then()
		return
	}
	r := e.request(chunk.OpView, d, control(func(d *device, r *chunk.Request) {
		d.viewBusy = false
		if !e.lost(d, r) {
			d.viewed = max(d.viewed, r.View.Version)
			then()
		}
	}))
	r.View = e.cfg.View
	e.send(r)
}

// settle tells a device that the versions of earlier epochs are resolved.
func (e *Engine) settle(d *device, then func()) {
	e.send(e.request(chunk.OpSettle, d, control(func(d *device, r *chunk.Request) {
		if !e.lost(d, r) {
			d.settled = e.cfg.Owner.Epoch
			then()
		}
	})))
}

// listUnstable reads the device's unstable versions into d.unstable.
func (e *Engine) listUnstable(d *device, after chunk.Cursor, then func()) {
	r := e.request(chunk.OpList, d, control(func(d *device, r *chunk.Request) {
		if e.lost(d, r) {
			return
		}
		d.unstable = append(d.unstable, r.Entries...)
		if n := len(r.Entries); r.More && n > 0 {
			e.listUnstable(d, r.Entries[n-1].Cursor, then)
			return
		}
		then()
	}))
	r.Mode, r.Count, r.After = chunk.ListUnstable, chunk.MaxEntries, after
	e.send(r)
}

// recorder serialises changes of the owner record: one compare-and-swap at a time.
type recorder struct {
	have    cluster.Owner // as stored last
	pending *cluster.Owner
}

// wantRecord starts a change of the owner record when something asks for one and none is under way.
func (e *Engine) wantRecord() {
	if e.rec.pending != nil || e.mode == modeStopped {
		return
	}
	next := e.rec.have.Clone()
	changed := e.jour.wants(&next)
	changed = e.move.wants(e, &next) || changed
	if changed {
		e.rec.pending = &next
		c := next.Clone()
		e.out.Record = &c
	}
}

// Recorded answers Ready.Record: ok tells that the record was stored. False means that somebody else changed
// it: this owner is fenced. While the store does not answer, the driver keeps trying and calls nothing.
func (e *Engine) Recorded(ok bool) {
	next := e.rec.pending
	if next == nil {
		panic("engine: Recorded without a record under way")
	}
	e.rec.pending = nil
	if !ok {
		e.fence()
		return
	}
	e.rec.have = *next
	e.jour.recorded(e)
	e.move.recorded(e)
	if e.mode == modeOpening {
		e.openRecorded()
	}
	e.wantRecord()
}
