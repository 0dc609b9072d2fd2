package pagestore

import (
	"cmp"
	"maps"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// maxKnownBad bounds how many bad versions are remembered by place. What is found beyond is in the map all
// the same, and remembered when it is read again: by the next pass of scrubbing at the latest.
const maxKnownBad = 1 << 16

// badPlaces remembers where bad versions were found, so that they can be listed without looking through the
// map. A place is a hint: what is there now, the map says.
type badPlaces map[badPlace]struct{}

type badPlace struct {
	vol cluster.VolumeKey
	pagemap.Cursor
}

func (b badPlaces) note(vol cluster.VolumeKey, c pagemap.Cursor) {
	if len(b) < maxKnownBad {
		b[badPlace{vol, c}] = struct{}{}
	}
}

// find fills the places of a map that was just recovered.
func (b badPlaces) find(m *pagemap.Map) {
	entries := make([]pagemap.Entry, 1024)
	for _, vol := range m.Volumes() {
		st, _ := m.Volume(vol)
		var after pagemap.Cursor
		for more := st.Bad > 0; more; {
			var n int
			n, after, more = m.List(vol, ListVersions, after, entries)
			for _, e := range entries[:n] {
				if e.State.Spoiled() {
					b.note(vol, e.Cursor)
				}
			}
		}
	}
}

// ListBad fills buf with versions of a volume that are known to be bad, behind the cursor, in Cursor order.
// It returns how many, and whether there are more.
func (s *Store) ListBad(vol cluster.VolumeKey, after pagemap.Cursor, buf []pagemap.Entry) (n int, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var places []pagemap.Cursor
	for p := range s.mu.bad {
		if p.vol == vol && (after == pagemap.Cursor{} || compareCursors(p.Cursor, after) > 0) {
			places = append(places, p.Cursor)
		}
	}
	slices.SortFunc(places, compareCursors)
	for _, c := range places {
		if n == len(buf) {
			return n, true
		}
		if e, ok := s.stillBad(vol, c); ok {
			buf[n] = e
			n++
		} else {
			delete(s.mu.bad, badPlace{vol, c})
		}
	}
	return n, false
}

// compareCursors orders versions: page, column, block, then the newest first.
func compareCursors(a, b pagemap.Cursor) int {
	return cmp.Or(cmp.Compare(a.Page, b.Page), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Block, b.Block),
		cmp.Compare(b.W, a.W))
}

// stillBad looks a place up. Called with mu held.
func (s *Store) stillBad(vol cluster.VolumeKey, c pagemap.Cursor) (pagemap.Entry, bool) {
	var one [1]pagemap.Entry
	before := c
	before.W++ // a list goes on behind its cursor, and newer versions come first
	n, _, _ := s.mu.m.List(vol, ListVersions, before, one[:])
	return one[0], n == 1 && one[0].Cursor == c && one[0].State.Spoiled()
}

// BadVolumes lists the volumes of which bad versions are known, in key order.
func (s *Store) BadVolumes() []cluster.VolumeKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[cluster.VolumeKey]bool{}
	for p := range s.mu.bad {
		if found[p.vol] {
			continue
		}
		if st, ok := s.mu.m.Volume(p.vol); !ok || st.Bad == 0 {
			delete(s.mu.bad, p)
			continue
		}
		found[p.vol] = true
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b cluster.VolumeKey) int {
		return cmp.Or(cmp.Compare(a.VUID, b.VUID), cmp.Compare(a.Generation, b.Generation))
	})
}
