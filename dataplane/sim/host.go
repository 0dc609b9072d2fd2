package sim

import (
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/sim/history"
)

const (
	// maxSectors bounds an operation of a host.
	maxSectors = 60
	// pathRetry is about how long a host waits before it tries another path.
	pathRetry = 100 * millisecond
	// pathTimeout is how long the most patient host waits for an answer before it looks for another path.
	pathTimeout = 3 * second
)

// volume is what hosts know of a volume.
type volume struct {
	index   int
	key     cluster.VolumeKey
	sectors uint64 // that it can have
	hist    *history.History
	running int
	audit   audited
	view    chunk.View // as recorded
	pins    []*pin     // of it, that hosts may read
	taken   []*pin     // of all times
	origin  *origin    // of a clone
	packed  bool
	flat    cluster.Flattened // as recorded beside the view list
	bounds  bounds            // as recorded
	clears  []*history.Op     // of what is being cut off
	joins   int64             // until then a group snapshot may be taken that was asked for
	home    string            // as recorded
	move    *cluster.Move     // as recorded
}

// hostOp is an operation of a host, tried on one path after the other until it is answered. Each try has a
// stamp of its own: a write whose answer got lost may have taken effect, and takes effect once more when it
// is tried again, perhaps after other writes. But no try takes effect once the operation was answered.
type hostOp struct {
	w       *World
	v       *volume
	kind    engine.Kind
	lba     uint64
	sectors uint32
	pin     *pin          // read as of it
	hist    []*history.Op // of each try
	tries   int
	over    bool
	open    []*session // sessions that have not given it back
	done    func(ok bool)
	seen    func([]byte) // what was read; nil if nobody wants to know
}

// attempt is an operation at one session.
type attempt struct {
	op   engine.Op
	h    *hostOp
	s    *session
	hist *history.Op
	// shrinks are those that the gateway knew of when it came; beyond, that it is out of range by what it knows.
	shrinks int
	beyond  bool
}

// startHost lets one more host work on a volume: one operation after the other, with pauses.
func (w *World) startHost(v *volume, reader bool) {
	pause := w.load.between(0, w.load.pause)
	switch w.load.IntN(16) {
	case 0:
		pause = w.load.between(0, 1500*millisecond)
	case 1, 2, 3, 4:
		pause = w.load.between(0, millisecond)
	default:
		if w.plan.Groups && w.load.IntN(2) == 0 { // it has waited for what it has written elsewhere
			pause = 0
		}
	}
	w.after(pause, func() {
		if w.load.quiet || w.load.left == 0 || w.now < w.load.pauseUntil {
			w.after(100*millisecond, func() { w.startHost(v, reader) })
			return
		}
		w.load.left--
		kind, lba, sectors := w.load.operation(v, reader)
		if w.plan.Resizes && w.load.IntN(3) == 0 {
			lba = w.load.border(v, uint64(sectors))
		}
		if x := w.load.beside; w.now < x.until && v == x.v && w.load.IntN(3) > 0 {
			lba, sectors = x.blocks[w.load.IntN(len(x.blocks))]*sectorsPerBlock, 1+w.load.Uint32N(sectorsPerBlock)
			if x.empty {
				kind, sectors = engine.Zero, sectorsPerBlock
			}
		}
		h := &hostOp{w: w, v: v, kind: kind, lba: lba, sectors: sectors}
		if kind == engine.Read && len(v.pins) > 0 && w.load.IntN(2) == 0 {
			h.pin = v.pins[w.load.IntN(len(v.pins))]
		}
		h.begin(func(bool) { w.startHost(w.nextFor(v), reader) })
	})
}

// nextFor is the volume that a host goes on with.
func (w *World) nextFor(v *volume) *volume {
	if w.plan.Groups {
		return w.volumes[w.load.IntN(len(w.volumes))]
	}
	return v
}

// begin begins the operation.
func (h *hostOp) begin(done func(ok bool)) {
	h.done = done
	h.v.running++
	h.w.stats.Ops++
	h.try()
}

// try sends the operation down a path that looks good. A session that still has it is not tried again: hosts
// do not come back to a controller before it has cancelled what they sent before.
func (h *hostOp) try() {
	if h.over {
		return
	}
	w := h.w
	var s *session
	start := w.rng.IntN(len(w.nodes))
	for i := range w.nodes {
		n := w.nodes[(start+i)%len(w.nodes)]
		if n.gw == nil {
			continue
		}
		if x := n.gw.serving(h.v.index); x != nil && !h.has(x) {
			s = x
			break
		}
	}
	if s == nil {
		w.after(w.between(pathRetry/2, 2*pathRetry), h.try)
		return
	}
	h.tries++
	a := h.attempt(s)
	h.open = append(h.open, s)
	g := s.g
	life, try := g.n.life, h.tries
	w.after(w.between(20*microsecond, 400*microsecond), func() {
		g.n.at(life, func() {
			if s.ended || !s.serving {
				a.op.Status = engine.PathGone
				a.answer()
				return
			}
			s.arrive(a)
		})
	})
	w.after(w.between(pathTimeout/10, pathTimeout), func() { h.watch(s, try) })
}

// attempt notes the beginning of a try.
func (h *hostOp) attempt(s *session) *attempt {
	a := &attempt{h: h, s: s}
	a.op = engine.Op{Kind: h.kind, LBA: h.lba, Sectors: h.sectors, Tag: a}
	from, to := int(h.lba), int(h.lba)+int(h.sectors)
	switch h.kind {
	case engine.Read:
		if h.pin != nil {
			a.hist, a.op.AsOf = h.v.hist.Read(0, 0), h.pin.w
		} else {
			a.hist = h.v.hist.Read(from, to)
		}
		a.op.Data = make([]byte, h.sectors*cluster.LBASize)
	case engine.Write:
		a.hist = h.v.hist.Write(from, to)
		a.op.Data = make([]byte, h.sectors*cluster.LBASize)
		fill(a.op.Data, h.v.index, h.lba, a.hist.Stamp())
	case engine.Zero:
		a.hist = h.v.hist.Zero(from, to)
	}
	h.hist = append(h.hist, a.hist)
	if h.w.tracing {
		h.w.logf("host: %s to epoch %d", a.text(), s.epoch)
	}
	return a
}

// end ends an operation: what was tried before the last try has taken effect by now, or never does.
func (h *hostOp) end(last *history.Op) {
	h.over = true
	h.v.running--
	for _, x := range h.hist {
		if x != last {
			x.Expire()
		}
	}
}

// dies tells whether the host ends with its path: then nobody tries again, and what it wrote may have taken
// effect, or may still, or never does.
func (h *hostOp) dies() bool {
	if !h.w.plan.Mortal || h.w.load.quiet || h.w.load.IntN(2) == 0 {
		return false
	}
	h.w.logf("host: dies")
	h.over = true
	h.v.running--
	for _, x := range h.hist {
		x.Abandon()
	}
	h.done(false)
	return true
}

func (h *hostOp) has(s *session) bool {
	for _, x := range h.open {
		if x == s && s.g.alive() {
			return true
		}
	}
	return false
}

// watch gives a path up whose process has ended, or that says nothing for long while another one serves.
func (h *hostOp) watch(s *session, try int) {
	if h.over || h.tries != try {
		return
	}
	w := h.w
	other := false
	for _, n := range w.nodes {
		if n.gw != nil && n.gw.serving(h.v.index) != nil && n.gw.serving(h.v.index) != s {
			other = true
		}
	}
	if s.g.alive() && !other {
		w.after(second, func() { h.watch(s, try) })
		return
	}
	if h.dies() {
		return
	}
	h.tries++
	h.try()
}

// answer brings the outcome of an attempt to its host.
func (a *attempt) answer() {
	h, w, try := a.h, a.h.w, a.h.tries
	if !a.s.g.alive() {
		return
	}
	w.after(w.between(20*microsecond, 400*microsecond), func() {
		for i, s := range h.open {
			if s == a.s {
				h.open = append(h.open[:i:i], h.open[i+1:]...)
				break
			}
		}
		if h.over || h.tries != try {
			return
		}
		h.answered(a)
	})
}

// answered judges what the host was told.
func (h *hostOp) answered(a *attempt) {
	w := h.w
	if w.tracing {
		w.logf("host: %s: %s by epoch %d%s", a.text(), statusText(a.op.Status), a.s.epoch, a.found())
	}
	if a.op.Status == engine.PathGone || a.beyond && h.seen != nil { // has not heard that the volume is larger
		if h.dies() {
			return
		}
		h.tries++
		w.after(w.between(pathRetry/4, pathRetry), h.try)
		return
	}
	if h.pin != nil && !h.pin.kept { // given up meanwhile: it shows anything
		h.end(a.hist)
		a.hist.Abandon()
		h.done(true)
		return
	}
	if a.op.Status != engine.OK {
		w.refused(a)
		h.end(nil)
		h.done(false)
		return
	}
	var values []uint64
	var err error
	if h.kind == engine.Read {
		values, err = stamps(a.op.Data, h.v, h.lba)
	}
	h.end(a.hist)
	if err == nil && h.pin != nil {
		err = h.pin.at.Seen(int(h.lba), values)
	}
	if err == nil {
		err = a.hist.Done(values)
	}
	if err != nil {
		w.failf("%s: %v", a.text(), err)
	}
	if h.seen != nil {
		h.seen(a.op.Data)
	}
	h.done(true)
}

// refused judges an error: hosts hear of full devices only if one was, of lost data only if more was lost
// than the code can stand, and that something is out of range only if it is.
func (w *World) refused(a *attempt) {
	switch {
	case a.op.Status == engine.OutOfRange && a.beyond:
		w.stats.Beyond++
	case a.op.Status == engine.NoSpace && w.faults.everFull:
		w.stats.NoSpace++
	case a.op.Status == engine.Media && w.plan.Beyond:
		w.stats.Media++
	default:
		w.failf("%s failed: %s", a.text(), statusText(a.op.Status))
	}
}
