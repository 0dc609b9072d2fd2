package sim

import (
	"errors"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
)

// errNoAnswer says nothing about whether a record was changed.
var errNoAnswer = errors.New("the arbiter did not answer")

// arbiterTimeout is how long a gateway waits for an answer of the arbiter.
const arbiterTimeout = 400 * millisecond

// record is an owner record with the revision that wrote it.
type record struct {
	cluster.Owner
	revision int64
}

// arbiter holds the owner records: one register with compare-and-swap per volume. It may be away, or answer
// late or not at all.
type arbiter struct {
	records   []record // per volume
	revision  int64
	downUntil int64
	mute      int64 // until then, nobody can record that it serves
	flaky     int64 // until then, half of the changes are late and half of the answers are lost
}

// ask sends something to the arbiter; done hears of it once, perhaps with errNoAnswer while the request is
// still to be carried out.
func (g *gateway) ask(request func() (record, error), done func(record, error)) {
	w := g.n.w
	over := false
	end := func(r record, err error) {
		if !over && g.alive() {
			over = true
			done(r, err)
		}
	}
	g.n.later(arbiterTimeout, func() { end(record{}, errNoAnswer) })
	if w.now < w.etcd.downUntil || w.now < g.n.blindUntil {
		return
	}
	late := w.between(300*microsecond, 4*millisecond)
	if w.now < w.etcd.flaky && w.rng.IntN(2) == 0 {
		late = w.between(0, 2*second)
	}
	life := g.n.life
	w.after(late, func() {
		r, err := request()
		if w.now < w.etcd.flaky && w.rng.IntN(2) == 0 {
			return
		}
		w.after(w.between(200*microsecond, 2*millisecond), func() { g.n.at(life, func() { end(r, err) }) })
	})
}

// swap changes an owner record if it is still the one of a revision, else cluster.ErrConflict.
func (g *gateway) swap(vol int, revision int64, next cluster.Owner, done func(record, error)) {
	w := g.n.w
	if w.now < w.etcd.mute && next.Served == next.Epoch {
		g.n.later(arbiterTimeout, func() { done(record{}, errNoAnswer) })
		return
	}
	g.ask(func() (record, error) {
		r := &w.etcd.records[vol]
		if r.revision != revision && !w.mutant.Is(mutant.RecordUnchecked) {
			return record{}, cluster.ErrConflict
		}
		w.etcd.revision++
		*r = record{next.Clone(), w.etcd.revision}
		if w.tracing {
			w.logf("owner record of volume %d: %s", vol, recordText(next))
		}
		return *r, nil
	}, done)
}

// owner reads an owner record.
func (g *gateway) owner(vol int, done func(record, error)) {
	w := g.n.w
	g.ask(func() (record, error) { return w.etcd.records[vol], nil }, done)
}
