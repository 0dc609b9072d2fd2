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
// one of the pins. The ends of the hidden intervals divide viewpoints into classes; all of class k see what
// the first k intervals do not hide.
func viewpoints(v *chunk.View, k int, from, to cluster.Seq) bool {
	if k > 0 {
		from = max(from, v.Hidden[k-1].To+1)
	}
	if k < len(v.Hidden) {
		to = min(to, v.Hidden[k].To+1)
	} else if to == now {
		return true
	}
	i, _ := slices.BinarySearch(v.Pins, from)
	return i < len(v.Pins) && v.Pins[i] < to
}

// visible tells whether viewpoints of class k that are not before w see it.
func visible(v *chunk.View, k int, w cluster.Seq) bool {
	return !slices.ContainsFunc(v.Hidden[:k], func(h chunk.Interval) bool { return w > h.After && w <= h.To })
}

// superseded decides whether version old is replaced, for those who see it, by a newer one that is stable and
// not bad.
func (v *volume) superseded(old, by cluster.Seq) bool {
	return by != 0 && (old.Epoch() < v.settled || old.Epoch() == by.Epoch())
}

// sight walks down the versions of a block and decides which are freed.
type sight struct {
	v  *volume
	by [chunk.MaxHidden + 1]cluster.Seq // per class: the oldest version passed that is seen, stable and not bad
}

// step passes the next version. free: nobody will ever ask for it. waits: somebody will not, once its epoch
// is settled.
func (s *sight) step(n *node) (free, waits bool) {
	view := &s.v.view
	steady := n.flags&flagQueued == 0 && s.v.stable(n.w)
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
// that only wait for their epoch to be settled are remembered.
func (m *Map) collect(v *volume, c *chunkMap, block uint16) {
	s := sight{v: v}
	for link := &c.heads[block]; *link != 0; {
		n := m.slabs.at(*link)
		free, waits := s.step(n)
		if free {
			m.unlink(v, c, link)
			continue
		}
		if waits {
			v.waiting[blockRef{c.key, block}] = struct{}{}
		}
		link = &n.older
	}
	if id := c.heads[block]; id != 0 && !c.residency.Overlay() {
		n := m.slabs.at(id)
		if n.flags&flagTombstone != 0 && n.older == 0 && v.stable(n.w) {
			m.unlink(v, c, &c.heads[block])
		}
	}
}

// setView takes a newer view list in, and frees what only the older one needed. That takes time in proportion
// to the chunks of the volume.
func (m *Map) setView(v *volume, view chunk.View) {
	if view.Version <= v.view.Version {
		return
	}
	m.account(v, minus)
	reverted := !slices.Equal(view.Hidden, v.view.Hidden)
	v.view = chunk.View{Version: view.Version, Pins: slices.Clone(view.Pins), Hidden: slices.Clone(view.Hidden)}
	m.account(v, plus)
	var next *chunkMap
	for c := v.index.seek(chunkKey{}); c != nil; c = next {
		next = v.index.after(c.key)
		if reverted || c.layered() {
			for b := range c.heads {
				m.collect(v, c, uint16(b))
			}
			m.forget(v, c)
		}
	}
}

// layered tells whether a block has more than one version.
func (c *chunkMap) layered() bool {
	blocks := int32(0)
	for _, id := range c.heads {
		if id != 0 {
			blocks++
		}
	}
	return c.versions > blocks
}
