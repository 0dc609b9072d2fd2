package pagemap

import (
	"math"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// A volume has millions of chunks on a device, and a view list that changes must not keep its I/O waiting
// until all of them were looked at.
//
// A pin that was just taken changes nothing for what is stable: that is older, and the present and the pin
// see the same of it. So only versions that are not stable are looked at.
//
// Of a pin that goes the chunks are told one after the other, by a sweep (Purge). Until it has come by, a
// chunk follows the list before, which keeps more. A second pin that goes meanwhile waits for the next sweep,
// and takes all with it that go until then:
//
//	       chunks:  |.......................|......................|
//	they follow:     queued, if there is one   former
//	                 else view             ^
//	                                       sweep
//
// All else, a revert above all, is rare, and told to every chunk at once. A map that was loaded follows the
// last list alone.
type lists struct {
	view  chunk.View // the last
	sweep sweep
}

// sweep brings chunks to the last list.
type sweep struct {
	busy   bool
	former chunk.View
	at     chunkKey    // the chunks from here on follow former
	queued *chunk.View // the others follow this, until the next sweep
}

// plain tells whether only the present looks at a volume, and sees all of it.
func plain(view *chunk.View) bool { return len(view.Pins)+len(view.Hidden) == 0 }

// follows is the view list that counts for a chunk.
func (v *volume) follows(c chunkMap) *chunk.View {
	switch s := &v.sweep; {
	case !s.busy:
	case c.key().compare(s.at) >= 0:
		return &s.former
	case s.queued != nil:
		return s.queued
	}
	return &v.view
}

// setView takes a newer view list in.
func (m *Map) setView(v *volume, view chunk.View) {
	if view.Version <= v.view.Version {
		return
	}
	m.account(v, minus)
	defer m.account(v, plus)
	former := v.view
	v.view = view.Clone()
	added := without(view.Pins, former.Pins)
	if !slices.Equal(view.Hidden, former.Hidden) || view.Cloned != former.Cloned ||
		len(added) > 0 && !v.latest(added[0]) {
		m.tellAll(v, len(view.Hidden)+len(former.Hidden) > 0)
		return
	}
	if len(added) > 0 {
		v.view = former
		m.addPins(v, added)
		former = v.view
		v.view = view.Clone()
	}
	if len(without(former.Pins, view.Pins)) == 0 {
		return
	}
	switch s := &v.sweep; {
	case !s.busy:
		*s = sweep{busy: true, former: former}
		m.sweeping = append(m.sweeping, v)
	case s.queued == nil:
		s.queued = &former
	}
}

// without are the pins, of those given, that a list has not. Both are ascending.
func without(pins, list []cluster.Seq) []cluster.Seq {
	return slices.DeleteFunc(slices.Clone(pins), func(p cluster.Seq) bool {
		_, found := slices.BinarySearch(list, p)
		return found
	})
}

// latest tells whether a pin is behind all that can be stable, and all that was hidden.
func (v *volume) latest(pin cluster.Seq) bool {
	if n := len(v.view.Hidden); n > 0 && pin <= v.view.Hidden[n-1].To || pin.Epoch() < v.settled {
		return false
	}
	return !slices.ContainsFunc(v.marks, func(k Mark) bool { return k.W > pin })
}

// addPins adds pins that are the latest to all lists that chunks follow. Only blocks with a version behind
// one of them have one that answers it and not the present.
func (m *Map) addPins(v *volume, pins []cluster.Seq) {
	blocks := map[blockRef]struct{}{}
	for _, h := range v.unstable {
		for _, u := range h.refs {
			for b := u.first; b < u.first+u.n && u.w > pins[0]; b++ {
				blocks[blockRef{u.chunkKey, b}] = struct{}{}
			}
		}
	}
	weigh := func(one uint64) {
		for ref := range blocks {
			if c := v.index.get(ref.chunkKey); c.ok() {
				m.weigh(v, c, ref.block, one)
			}
		}
	}
	weigh(minus)
	lists := []*chunk.View{&v.view}
	if s := &v.sweep; s.busy {
		lists = append(lists, &s.former)
		if s.queued != nil {
			lists = append(lists, s.queued)
		}
	}
	for _, view := range lists {
		view.Pins = slices.Sorted(slices.Values(slices.Concat(view.Pins, pins)))
	}
	weigh(plus)
}

// sweep tells a volume's chunks, as many as the limit of blocks to look at allows, what they are to follow.
// It returns what is left of the limit; the volume is done when that is more than nothing.
func (m *Map) sweep(v *volume, limit int) int {
	s := &v.sweep
	for s.busy && limit > 0 {
		c := v.index.seek(s.at)
		switch {
		case c.ok():
			limit -= m.tell(v, c)
		case s.queued != nil:
			*s = sweep{busy: true, former: *s.queued}
		default:
			*s = sweep{}
		}
	}
	return limit
}

// tell lets the next chunk of the sweep follow a newer list, and reports how much there was to look at. With
// nothing hidden, blocks of one version are seen by all.
func (m *Map) tell(v *volume, c chunkMap) (looked int) {
	key, next := c.key(), m.t.nextInFlux
	if len(v.view.Hidden) > 0 {
		next = m.t.nextBlock
	}
	for b := next(c, 0); b >= 0; b = next(c, b+1) {
		looked++
		v.sweep.at = key
		m.weigh(v, c, uint16(b), minus)
		v.sweep.at = key.next()
		m.collect(v, c, uint16(b))
		m.weigh(v, c, uint16(b), plus)
	}
	if v.sweep.at = key.next(); looked > 0 {
		m.rest(v, c)
	}
	return looked + 1
}

// next is the key that follows at once.
func (k chunkKey) next() chunkKey {
	if k.column == math.MaxUint8 {
		return chunkKey{page: k.page + 1}
	}
	return chunkKey{k.page, k.column + 1}
}

// tellAll tells every chunk at once of the view list, whatever it has followed. Unless something is hidden,
// or was, blocks of one version are seen by all.
func (m *Map) tellAll(v *volume, hidden bool) {
	v.sweep = sweep{}
	v.current, v.pinned = 0, 0
	var next chunkMap
	for c := v.index.seek(chunkKey{}); c.ok(); c = next {
		next = v.index.after(c.key())
		if !hidden && c.flux() == 0 {
			v.current += uint64(m.t.atRest(c)) // one version each, seen by all
			continue
		}
		for b := m.t.nextBlock(c, 0); b >= 0; b = m.t.nextBlock(c, b+1) {
			m.collect(v, c, uint16(b))
			m.weigh(v, c, uint16(b), plus)
		}
		m.rest(v, c)
	}
}
