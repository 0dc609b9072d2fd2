package sim

import (
	"errors"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/sim/history"
)

// A group snapshot is pins of several volumes that show one moment: that at which its coordinator knows that
// the writes of all of them are held. It shows what was acknowledged before, to whichever of the volumes, and
// nothing that was begun after; so it shows no write without those that its host had waited for.

const (
	// writesHeld is how long writes are held, and how long a coordinator waits for the pins.
	writesHeld = 250 * millisecond
	// lentLimit is how long a pin is lent before its owner makes sure that it will not be recorded.
	lentLimit = 2 * second
	// recordAttempts bounds how often a coordinator tries to have the pins recorded.
	recordAttempts = 3
	// roundLimit is how long an attempt may take, with requests to the arbiter that are late.
	roundLimit = 5 * second
)

// lending is what a session does for group snapshots.
type lending struct {
	round     *round // that writes are held for
	lent      []lent
	recalling bool
}

// lent is a pin that may be recorded as long as the owner record has a revision.
type lent struct {
	pin      *pin
	revision int64
	since    int64 // by the clock of the owner's node
	round    *round
}

// round is one attempt to take a group snapshot.
type round struct {
	g       *gateway // of the coordinator
	volumes []*volume
	owners  []*node
	held    int
	moment  []*history.Op // that the snapshot shows, of each volume
	pins    []lent
	taken   int
	over    bool
}

// together takes a snapshot of all volumes, or makes room for one.
func (w *World) together(f Fault) bool {
	first := w.session(w.volumes[0])
	if len(w.volumes) < 2 || first == nil || w.now < first.g.n.thaw {
		return false
	}
	r := &round{g: first.g, volumes: slices.Clone(w.volumes), pins: make([]lent, len(w.volumes))}
	for i, v := range r.volumes {
		if loose := v.loosePins(); len(loose) >= maxPins {
			return w.snapshot(Fault{A: uint64(i), C: f.C})
		}
		if r.g.known[i].revision == 0 || v.bounds.cut.To > 0 {
			return false
		}
		r.owners = append(r.owners, w.node(r.g.known[i].Gateway))
	}
	for _, v := range r.volumes {
		v.joins = w.now + roundLimit
	}
	w.logf("gateway %d: begins a group snapshot", r.g.n.id)
	r.g.n.later(writesHeld, r.late)
	for i := range r.volumes {
		r.ask(i, func(s *session) bool { return s.holdWrites(r) }, func() { r.isHeld(i) })
	}
	return true
}

// ask has the owner of a volume do something, as soon as it gets round to it; done, if it says that it did.
func (r *round) ask(i int, do func(*session) bool, done func()) {
	from, to := r.g.n, r.owners[i]
	r.g.n.w.message(from, to, func() { to.later(r.busy(), func() { r.asked(i, do, done) }) })
}

// busy is how long it takes until a node gets round to what it is asked: now and then too long.
func (r *round) busy() int64 {
	w := r.g.n.w
	return int64(w.rng.IntN(2)) * w.between(0, writesHeld/2)
}

// asked is ask at the owner.
func (r *round) asked(i int, do func(*session) bool, done func()) {
	from, to, answer := r.g.n, r.owners[i], r.fail
	if to.gw != nil {
		if s := to.gw.serving(r.volumes[i].index); s != nil && do(s) {
			answer = done
		}
	}
	r.g.n.w.message(to, from, func() {
		if r.g.alive() && !r.over {
			answer()
		}
	})
}

// isHeld takes note that a volume is held.
func (r *round) isHeld(i int) {
	hasty := r.g.n.w.mutant.Is(mutant.HoldUnawaited)
	if r.held++; hasty {
		r.take(i)
	}
	if r.held < len(r.volumes) {
		return
	}
	for k, v := range r.volumes {
		if r.moment = append(r.moment, v.hist.Pin()); !hasty {
			r.take(k)
		}
	}
}

// take has the pin of a volume taken. Once there are all, they are recorded.
func (r *round) take(i int) {
	r.ask(i, func(s *session) bool { return s.lendPin(r, i) }, func() {
		if r.taken++; r.taken == len(r.volumes) {
			r.over = true
			r.record(recordAttempts)
		}
	})
}

// late ends an attempt that takes too long: nobody holds writes any more.
func (r *round) late() {
	if !r.over {
		r.fail()
	}
}

// fail ends an attempt before anything was recorded. Who does not hear of it finds out by itself.
func (r *round) fail() {
	r.over = true
	r.abandon()
	for i := range r.volumes {
		r.ask(i, func(s *session) bool {
			s.resumeWrites(r)
			s.takeBack(func(l *lent) bool { return l.round == r })
			return true
		}, nil)
	}
}

// abandon notes that nobody will read as of this moment.
func (r *round) abandon() {
	for _, m := range r.moment {
		m.Abandon()
	}
	for _, l := range r.pins {
		if l.pin != nil {
			l.pin.kept = false
		}
	}
}

// record puts the pins into all view lists, or into none. Without an answer that may have happened, or happen
// yet.
func (r *round) record(attempts int) {
	w := r.g.n.w
	first := attempts == recordAttempts
	r.g.ask(func() (record, error) { return record{}, r.commit() }, func(_ record, err error) {
		switch {
		case errors.Is(err, cluster.ErrConflict) && first:
			r.fail()
		case err != nil && attempts > 1 && !errors.Is(err, cluster.ErrConflict):
			r.record(attempts - 1)
		default:
			w.logf("gateway %d: a group snapshot ends: %v", r.g.n.id, err)
		}
	})
}

// commit is the transaction.
func (r *round) commit() error {
	w := r.g.n.w
	for i, v := range r.volumes {
		changed := w.etcd.records[v.index].revision != r.pins[i].revision
		if slices.Contains(v.pins, r.pins[i].pin) || changed && !w.mutant.Is(mutant.LentUnchecked) {
			return cluster.ErrConflict
		}
	}
	for i, v := range r.volumes {
		p := r.pins[i].pin
		p.at = r.moment[i]
		v.setPin(p)
		w.etcd.revision++
		w.etcd.records[v.index].revision = w.etcd.revision
		w.logf("pin %v of volume %d is part of a group snapshot", p.w, v.index)
	}
	w.stats.Together++
	return nil
}

// holdWrites lets no write of a host begin, but not for long.
func (s *session) holdWrites(r *round) bool {
	l := &s.lending
	if l.round != nil || len(l.lent) >= maxPins || s.pinning {
		return l.round == r
	}
	l.round = r
	s.eng.HoldWrites()
	s.g.n.later(writesHeld, func() { s.resumeWrites(r) })
	return true
}

func (s *session) resumeWrites(r *round) {
	if s.lending.round == r && !s.ended {
		s.lending.round = nil
		s.eng.ResumeWrites()
		s.carryOut()
	}
}

// lendPin takes the pin for a group snapshot, and lets writes go on.
func (s *session) lendPin(r *round, i int) bool {
	if s.lending.round != r {
		return false
	}
	p := &pin{w: s.eng.Pin(), kept: true}
	s.v.taken = append(s.v.taken, p)
	s.g.n.w.logf("pin %v of volume %d is lent", p.w, s.v.index)
	r.pins[i] = lent{pin: p, revision: s.rec.revision, since: s.g.n.local(), round: r}
	s.lending.lent = append(s.lending.lent, r.pins[i])
	s.resumeWrites(r)
	return true
}

// takeBack gives up lent pins that no view list will name; of those that the engine's list names nothing
// changes.
func (s *session) takeBack(which func(*lent) bool) {
	s.lending.lent = slices.DeleteFunc(s.lending.lent, func(l lent) bool {
		if !which(&l) {
			return false
		}
		s.eng.Unpin(l.pin.w)
		return true
	})
	s.carryOut()
}

// settleLent brings the view list of the record to the engine, and gives up what was lent before the record
// was changed.
func (s *session) settleLent() {
	if len(s.lending.lent) > 0 {
		s.eng.SetView(s.v.view)
		s.takeBack(func(l *lent) bool { return l.revision < s.rec.revision })
	}
}

// followRecord takes a record over that the coordinator of a group snapshot has changed. While this session
// changes it, it finds out by itself.
func (s *session) followRecord(r *record) {
	if r.Epoch == s.epoch && r.revision > s.rec.revision && !s.rec.busy {
		s.rec.revision = r.revision
		s.settleLent()
	}
}

// recallLent settles pins of whose coordinator nothing was heard: it writes the record, so that the
// transaction can be made no more, or finds that it was.
func (s *session) recallLent() {
	l := &s.lending
	if len(l.lent) == 0 || s.g.n.local() < l.lent[0].since+lentLimit || l.recalling {
		return
	}
	if s.g.n.w.mutant.Is(mutant.LentDropped) {
		s.takeBack(func(*lent) bool { return true })
		return
	}
	l.recalling = true
	s.store(func(*cluster.Owner) {}, func(ok bool) {
		if l.recalling = false; !ok {
			s.end("the owner record names another owner")
		}
	})
}
