package pagemap

import (
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// census walks down the versions of a block and tells whom a read would answer with each: the present, or a
// pin and not the present. The rest answers nobody. Other than sight it does not ask whether what lies above
// is stable: what answers nobody is freed when that is decided.
type census struct {
	over [chunk.MaxHidden + 1]cluster.Seq // per class: the last version passed that is seen
}

func (s *census) begin(view *chunk.View) { clear(s.over[:len(view.Hidden)+1]) }

func (s *census) step(view *chunk.View, w cluster.Seq) (current, pinned bool) {
	for k := range len(view.Hidden) + 1 {
		if !visible(view, k, w) {
			continue
		}
		until := s.over[k]
		if until == 0 {
			until = now
			current = current || k == len(view.Hidden)
		}
		pinned = pinned || pins(view, k, w, until)
		s.over[k] = w
	}
	return current, pinned && !current
}

// weigh adds the data blocks of a block that answer the present, and those that answer pins only, to what its
// volume has of them, or takes them away.
func (m *Map) weigh(v *volume, c chunkMap, block uint16, one uint64) {
	view := v.follows(c)
	if plain(view) {
		if id := m.t.head(c, block); id != 0 {
			if m.t.flags(id)&flagTombstone == 0 {
				v.current += one
			}
		} else if m.t.hasRest(c, block) {
			v.current += one
		}
		return
	}
	m.census.begin(view)
	for n := range m.t.versions(c, block) {
		current, pinned := m.census.step(view, n.w)
		switch {
		case n.flags&flagTombstone != 0:
		case current:
			v.current += one
		case pinned:
			v.pinned += one
		}
	}
}
