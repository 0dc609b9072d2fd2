package pagemap

import (
	"math"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// now is the present as a viewpoint: behind every pin and every hidden interval.
const now = cluster.Seq(math.MaxUint64)

// viewpoints tells whether somebody looks at a volume from a point in [from, to) of class k: the present, or
// one of the pins. The ends of the hidden intervals divide viewpoints into classes: all of class k look from
// behind the first k ends and from nowhere else, so they see the same of what is older than those.
func viewpoints(v *chunk.View, k int, from, to cluster.Seq) bool {
	return k == len(v.Hidden) && to == now || pins(v, k, from, to)
}

// pins tells whether one of the pins is such a viewpoint.
func pins(v *chunk.View, k int, from, to cluster.Seq) bool {
	if len(v.Pins) == 0 {
		return false
	}
	if k > 0 {
		from = max(from, v.Hidden[k-1].To+1)
	}
	if k < len(v.Hidden) {
		to = min(to, v.Hidden[k].To+1)
	}
	i, _ := slices.BinarySearch(v.Pins, from)
	return i < len(v.Pins) && v.Pins[i] < to
}

// visible tells whether viewpoints of class k that are not before w see it.
func visible(v *chunk.View, k int, w cluster.Seq) bool {
	for i := k - 1; i >= 0 && w <= v.Hidden[i].To; {
		after := v.Hidden[i].After
		if w > after {
			return false
		}
		for i--; i >= 0 && v.Hidden[i].To >= after; i-- { // reverted later than what is looked at
		}
	}
	return true
}

// superseded decides whether version old is replaced, for those who see it, by a newer one that is stable and
// not bad.
func (v *volume) superseded(old, by cluster.Seq) bool {
	return by != 0 && (old.Epoch() < v.settled || old.Epoch() == by.Epoch())
}

// sight walks down the versions of a block and decides which are freed.
type sight struct {
	v     *volume
	view  *chunk.View                      // that the chunk follows
	plain bool                             // only the present looks, and sees all
	by    [chunk.MaxHidden + 1]cluster.Seq // per class: the oldest passed that is seen, stable and not bad
}

// begin starts a walk.
func (s *sight) begin(v *volume, c chunkMap) {
	s.v, s.view = v, v.follows(c)
	s.plain = plain(s.view)
	clear(s.by[:len(s.view.Hidden)+1])
}

// step passes the next version. free: nobody will ever ask for it. waits: somebody will not, once its epoch
// is settled.
func (s *sight) step(n *node) (free, waits bool) {
	view := s.view
	steady := n.flags&flagQueued == 0 && s.v.stable(n.w)
	if s.plain {
		until := s.by[0]
		if steady && n.flags&flagBad == 0 {
			s.by[0] = n.w
		}
		free = s.v.superseded(n.w, until)
		return free, until != 0 && !free
	}
	needed, seen := false, false
	for k := range len(view.Hidden) + 1 {
		if !visible(view, k, n.w) {
			continue
		}
		until := s.by[k]
		if !s.v.superseded(n.w, until) {
			waits = waits || until != 0
			until = now
		}
		needed = needed || viewpoints(view, k, n.w, until)
		seen = seen || viewpoints(view, k, n.w, now)
		if steady && n.flags&flagBad == 0 {
			s.by[k] = n.w
		}
	}
	return !needed && (seen || steady), waits
}

// collect frees the versions of a block that nobody needs, and a tombstone that says nothing any more. Those
// that only wait for their epoch to be settled are remembered. The oldest that is left is at rest afterwards,
// if it may be.
func (m *Map) collect(v *volume, c chunkMap, block uint16) {
	s := &m.sight
	s.begin(v, c)
	waiting, kept := false, 0
	var oldest place
	for p := (place{id: m.t.head(c, block)}); p.id != 0; {
		n := m.t.node(p.id)
		free, waits := s.step(&n)
		if free {
			m.unlink(v, c, block, p)
			p.id = n.older
			continue
		}
		waiting = waiting || waits
		kept++
		oldest, p = p, place{prev: p.id, id: n.older}
	}
	u, rests := m.t.rest(c, block)
	gone := false
	if rests {
		n := u.node()
		var waits bool
		if gone, waits = s.step(&n); gone {
			m.touch(v, c)
			m.tally(v, &n, minus)
			m.giveUp(&n)
		} else {
			waiting = waiting || waits
		}
	}
	if waiting {
		v.waiting[blockRef{c.key(), block}] = struct{}{}
	}
	if kept == 0 || rests && !gone || !m.sink(v, c, block, oldest, kept == 1) {
		if gone {
			m.t.dropRest(c, block)
		}
	}
}

// hides tells whether a tombstone over nothing hides what others hold: the device that a residency lies over,
// or the parent of a clone.
func (v *volume) hides(c chunkMap) bool { return c.residency().Overlay() || v.view.Cloned }

// sink brings the oldest version in flux to rest, in the place of any that was, or drops it when it is a
// tombstone that covers nothing. False: nothing is at rest now that was not before.
func (m *Map) sink(v *volume, c chunkMap, block uint16, p place, only bool) bool {
	n := m.t.node(p.id)
	switch {
	case n.atRest():
		m.t.unlink(c, block, p)
		u := n.unit(block)
		m.t.setRest(c, &u)
		return true
	case only && n.flags&flagTombstone != 0 && v.stable(n.w) && !v.hides(c):
		m.unlink(v, c, block, p)
	}
	return false
}
