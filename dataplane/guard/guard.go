// Package guard decides which chunk requests may be carried out now on one device, and how much credit their
// senders get. It is pure: a server (package chunkd, or the simulator) tells it what happens and does what it
// says, under a lock of its own. Residencies are not its business: the page map knows them.
//
// # Fences
//
// A request below the highest epoch known of its volume is fenced. One above it has the epoch made durable
// first. That, a Fence and a JournalWipe are exclusive: they begin when nothing of the volume is in flight,
// and whatever comes meanwhile waits. So a Fence that is answered speaks about all requests before it: none
// of them can happen any more.
//
//	Arrive -> Execute ------------------------> carried out -> Ended
//	       -> Store -> made durable -> Stored -> Execute ...
//	       -> Fenced
//	       -> NoSession
//	       -> nothing: it waits, and comes out of a later Stored or Ended
//
// # Sessions
//
// A Fence, or a higher epoch, begins a session. A new process knows the fences that its predecessor stored,
// but none of its sessions: what arrives before its owner has sent a Fence is turned away. Else the owner
// would go on spending credit that nobody keeps for it any more, without a sign that it is gone.
//
// # Credit
//
// A session begins with no credit. Every ended request may raise it: to Target blocks that are granted and
// not used, or to what a Stable request wants. What is granted on a device and not used is never more than is
// free beyond the reserve, and what is not wanted is at most an eighth of what is left. It is given unasked
// only while less than a quarter of all that is free is promised: else volumes that write little would keep
// the space of a small or full device from one that asks for it. Every block of a write uses credit when the
// write has ended, whether its sender asked for credit or not: by then its space is taken. What it took
// beyond the credit there was is granted with its answer.
package guard

import (
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Bounds of credit, in blocks.
const (
	Target  = 1024    // granted and not used, of a volume that wants nothing more
	MaxWant = 1 << 16 // of one that does
)

// Reserve is what credit leaves free of a device with so many blocks, for what does not ask: completing what
// was sent, tombstones of parity, moves. Without it a full pool could neither be emptied nor opened.
func Reserve(total uint64) uint64 { return min(total/32, 1<<18) }

// Verdict says what to do with a request.
type Verdict uint8

// The verdicts.
const (
	Execute   Verdict = iota // carry it out, then call Ended
	Store                    // make its epoch durable as the fence of its volume, then call Stored
	Fenced                   // answer Fenced; Known is filled
	NoSession                // answer NotMine: its owner has to send a Fence first
)

// Act is a request and what to do with it now.
type Act struct {
	Request *chunk.Request
	Verdict Verdict
}

// Device holds what concerns all volumes of a device.
type Device struct {
	volumes map[cluster.VolumeKey]*Volume
	unused  uint64 // blocks granted and not used
	reserve uint64
}

// New makes the guard of a device without volumes, of which so many blocks are never granted.
func New(reserve uint64) *Device {
	return &Device{volumes: map[cluster.VolumeKey]*Volume{}, reserve: reserve}
}

// Volume finds or makes the state of a volume.
func (d *Device) Volume(key cluster.VolumeKey) *Volume {
	v := d.volumes[key]
	if v == nil {
		v = &Volume{device: d}
		d.volumes[key] = v
	}
	return v
}

// Forget removes a volume. Requests of it that are in flight end as ever, on the Volume they began with.
func (d *Device) Forget(key cluster.VolumeKey) {
	if v := d.volumes[key]; v != nil {
		v.endSession()
		v.forgotten = true
		delete(d.volumes, key)
	}
}

// Volume is the state of one volume on one device.
type Volume struct {
	device    *Device
	fence     uint32
	session   bool // has begun in this process
	inFlight  int
	exclusive *chunk.Request
	started   bool             // exclusive was let out
	waiting   []*chunk.Request // bounded by the queue depth of the connections that brought them
	granted   uint32           // in the session, modulo 2^32
	unused    uint64           // of it
	forgotten bool
}

// Restore sets a fence that was found durable.
func (v *Volume) Restore(epoch uint32) { v.fence = max(v.fence, epoch) }

// Fence is the highest epoch that is durable.
func (v *Volume) Fence() uint32 { return v.fence }

// Arrive takes a valid request. What is to be done now is appended to out; here and below.
func (v *Volume) Arrive(r *chunk.Request, out []Act) []Act {
	known := v.fence
	if v.exclusive != nil {
		known = max(known, v.exclusive.Epoch)
	}
	switch {
	case r.Epoch < known:
		r.Known = known
		return append(out, Act{r, Fenced})
	case v.exclusive != nil:
		v.waiting = append(v.waiting, r)
		return out
	case r.Epoch == v.fence && !v.session && r.Op != chunk.OpFence:
		return append(out, Act{r, NoSession})
	case r.Epoch > v.fence || alone(r.Op):
		v.exclusive = r
		return v.start(out)
	}
	v.inFlight++
	return append(out, Act{r, Execute})
}

// alone tells the operations that speak about all requests before them.
func alone(op chunk.Op) bool { return op == chunk.OpFence || op == chunk.OpJournalWipe }

// start lets the exclusive request out when nothing else is.
func (v *Volume) start(out []Act) []Act {
	r := v.exclusive
	if r == nil || v.started || v.inFlight > 0 {
		return out
	}
	v.started = true
	if r.Epoch > v.fence {
		return append(out, Act{r, Store})
	}
	if r.Op == chunk.OpFence {
		v.beginSession()
	}
	return append(out, Act{r, Execute})
}

// Stored tells that the epoch of a request is durable, or could not be made so. In that case the request is
// to be answered as failed; nothing else is called for it.
func (v *Volume) Stored(r *chunk.Request, ok bool, out []Act) []Act {
	if !ok {
		return v.release(out)
	}
	v.fence = r.Epoch
	v.beginSession()
	out = append(out, Act{r, Execute})
	if alone(r.Op) {
		return out
	}
	v.inFlight++
	return v.release(out)
}

// release ends exclusiveness and lets in what waited.
func (v *Volume) release(out []Act) []Act {
	v.exclusive, v.started = nil, false
	waiting := v.waiting
	v.waiting = nil
	for _, w := range waiting {
		out = v.Arrive(w, out)
	}
	return out
}

// Ended tells that a request was carried out, before it is answered. It fills Known and Granted; free is what
// is free on the device now, for this volume.
func (v *Volume) Ended(r *chunk.Request, free uint64, out []Act) []Act {
	if r.Op == chunk.OpWrite {
		v.use(uint64(r.Count))
	}
	want := uint64(0)
	if r.Op == chunk.OpStable {
		want = uint64(min(r.Want, MaxWant))
	}
	v.grant(want, free)
	r.Known, r.Granted = v.fence, v.granted
	if v.exclusive == r {
		return v.release(out)
	}
	v.inFlight--
	return v.start(out)
}

// use takes blocks off what is granted. What was written without asking is granted afterwards, so that its
// owner, which counts it too, does not stay in debt for it: else it would be told that it has what it wants,
// have less, and take that for the end of the space.
func (v *Volume) use(blocks uint64) {
	if blocks > v.unused {
		v.granted += uint32(blocks - v.unused)
		blocks = v.unused
	}
	v.unused -= blocks
	v.device.unused -= blocks
}

func (v *Volume) grant(want, free uint64) {
	target := max(want, Target)
	free -= min(free, v.device.reserve)
	room := free - min(free, v.device.unused)
	idle := room / 8
	if want == 0 {
		idle = min(idle, free/4-min(free/4, v.device.unused))
	}
	if v.forgotten || v.unused >= target {
		return
	}
	missing := want - min(want, v.unused)
	blocks := min(target-v.unused, room, missing+idle)
	v.unused += blocks
	v.device.unused += blocks
	v.granted += uint32(blocks)
}

func (v *Volume) beginSession() {
	v.endSession()
	v.session = true
}

func (v *Volume) endSession() {
	v.use(v.unused)
	v.granted, v.session = 0, false
}
