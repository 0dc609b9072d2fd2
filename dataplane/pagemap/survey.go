package pagemap

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Space tells for whom the data blocks of a volume are kept.
type Space struct {
	Known       bool         // the map knows the volume; else it holds nothing of it
	View        uint32       // version of the view list by which it was counted
	Present     Holding      // of reads at present
	Pins        []PinHolding // of reads as of each pin, ascending
	Pinned      Blocks       // answer reads as of pins only
	Reclaimable Blocks       // answer nobody: they come back
}

// Blocks counts data blocks of the device by what their columns hold.
type Blocks struct{ Data, Parity uint64 }

// The kinds of blocks.
const (
	ofData = iota
	ofParity
	kinds
)

func (b *Blocks) of(kind int) *uint64 {
	if kind == ofData {
		return &b.Data
	}
	return &b.Parity
}

// Holding is what reads of one viewpoint are answered with.
type Holding struct {
	Exclusive Blocks // nobody else's are
	Shared    Blocks
}

// PinHolding is that of a pin: Exclusive comes back when the pin goes.
type PinHolding struct {
	Pin cluster.Seq
	Holding
}

// Survey counts the space of one volume in pieces (Map.Survey). What changes between two pieces is counted
// as it was when its chunk was passed; when the view list does, the count begins anew.
type Survey struct {
	vol   cluster.VolumeKey
	data  uint8 // columns below hold data, the others parity
	begun bool
	view  chunk.View
	at    chunkKey // the chunks from here on are to come,
	from  int      // of the first the blocks from here on
	units []unit

	// Who looks from class k (viewpoints): the pins from the classes[k]-th on, below the next class's; and from
	// the last one the present.
	classes []int
	over    []int // per class: the first pin that a version passed answers; unseen: nobody is answered yet

	count [kinds]counts
}

// counts are those of one kind of blocks. A version answers runs of pins that follow each other: where runs
// begin and end is enough to count it for all of them.
type counts struct {
	present, presentShared uint64
	pinned, reclaimable    uint64
	exclusive              []uint64 // per pin
	seen                   []uint64 // per pin: by how many more, or less, than of the pin before it
}

// NewSurvey begins to count a volume whose first so many columns hold data.
func NewSurvey(vol cluster.VolumeKey, data uint8) *Survey { return &Survey{vol: vol, data: data} }

// Survey counts about limit versions more, and reports whether there are more. A volume that the map does not
// know has none.
func (m *Map) Survey(s *Survey, limit int) (more bool) {
	v := m.vols[s.vol]
	if v == nil {
		*s = Survey{vol: s.vol, data: s.data}
		return false
	}
	if !s.begun || s.view.Version != v.view.Version {
		s.begin(&v.view)
	}
	c := v.index.seek(s.at)
	for ; c.ok() && limit > 0; c = v.index.seek(s.at) {
		if !c.is(s.at) {
			s.at, s.from = c.key(), 0
		}
		limit -= 1 + s.chunk(m.t, c, limit)
	}
	return c.ok()
}

// begin forgets what was counted.
func (s *Survey) begin(view *chunk.View) {
	*s = Survey{vol: s.vol, data: s.data, begun: true, view: *view, units: s.units}
	s.classes = append(s.classes, 0)
	for _, h := range view.Hidden {
		i, _ := slices.BinarySearch(view.Pins, h.To+1)
		s.classes = append(s.classes, i)
	}
	s.classes = append(s.classes, len(view.Pins))
	s.over = make([]int, len(view.Hidden)+1)
	for i := range s.count {
		s.count[i].exclusive = make([]uint64, len(view.Pins))
		s.count[i].seen = make([]uint64, len(view.Pins)+1)
	}
}

// chunk counts blocks of a chunk, from s.from on, until it is through or has passed as many versions as the
// limit. It returns how many they were, and moves the survey on.
func (s *Survey) chunk(t *table, c chunkMap, limit int) (n int) {
	to := &s.count[ofData]
	if c.key().column >= s.data {
		to = &s.count[ofParity]
	}
	next := s.at.next()
	if p := t.packedOf(c); p != nil && c.flux() == 0 && s.from == 0 { // faster than block by block
		s.units = p.units(s.units[:0])
		for i := range s.units {
			s.block()
			s.step(to, s.units[i].w, true)
		}
		s.at = next
		return len(s.units)
	}
	for b := t.nextBlock(c, s.from); b >= 0; b = t.nextBlock(c, b+1) {
		if s.from = b; n >= limit {
			return n
		}
		s.block()
		for x := range t.versions(c, uint16(b)) {
			s.step(to, x.w, x.flags&flagTombstone == 0)
			n++
		}
	}
	s.at, s.from = next, 0
	return n
}

// unseen is a class of which nobody was answered yet.
const unseen = -1

// block begins a walk down the versions of a block.
func (s *Survey) block() {
	for k := range s.over {
		s.over[k] = unseen
	}
}

// step passes the next version, and counts it if it has data. Other than census it asks for all who see it.
func (s *Survey) step(to *counts, w cluster.Seq, data bool) {
	first, _ := slices.BinarySearch(s.view.Pins, w)
	pins, last, present := 0, 0, false
	for k := range s.over {
		if !visible(&s.view, k, w) {
			continue
		}
		until := s.over[k]
		if until == unseen {
			until = s.classes[k+1]
			present = present || k == len(s.over)-1
		}
		from := min(max(first, s.classes[k]), until)
		s.over[k] = from
		if data && from < until {
			to.seen[from]++
			to.seen[until]--
			pins, last = pins+until-from, from
		}
	}
	switch {
	case !data:
	case present:
		to.present++
		if pins > 0 {
			to.presentShared++
		}
	case pins == 0:
		to.reclaimable++
	default:
		to.pinned++
		if pins == 1 {
			to.exclusive[last]++
		}
	}
}

// Space is what was counted so far: all when there was no more.
func (s *Survey) Space() Space {
	out := Space{Known: s.begun, View: s.view.Version}
	for _, pin := range s.view.Pins {
		out.Pins = append(out.Pins, PinHolding{Pin: pin})
	}
	for kind := range s.count {
		c := &s.count[kind]
		*out.Pinned.of(kind), *out.Reclaimable.of(kind) = c.pinned, c.reclaimable
		*out.Present.Exclusive.of(kind), *out.Present.Shared.of(kind) = c.present-c.presentShared, c.presentShared
		seen := uint64(0)
		for i := range out.Pins {
			seen += c.seen[i]
			*out.Pins[i].Exclusive.of(kind), *out.Pins[i].Shared.of(kind) = c.exclusive[i], seen-c.exclusive[i]
		}
	}
	return out
}
