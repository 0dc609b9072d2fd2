package pagemap

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// maxMarks bounds the epochs of a volume that have a mark and are not settled. A mark of one more epoch is
// not kept, which only means that space comes back after the next Settle instead of now.
const maxMarks = 16

// Mark says which versions of one epoch are stable: those up to W, except holes.
type Mark struct {
	W     cluster.Seq
	Holes []cluster.Seq // ascending, not above W
}

// String gives "W" or "W-[holes]".
func (k Mark) String() string {
	if len(k.Holes) == 0 {
		return k.W.String()
	}
	return fmt.Sprintf("%v-%v", k.W, k.Holes)
}

// validate checks a mark that came from elsewhere.
func (k Mark) validate() error {
	if len(k.Holes) > chunk.MaxHoles {
		return fmt.Errorf("%w: mark %v with %d holes", ErrCorrupt, k.W, len(k.Holes))
	}
	for i, h := range k.Holes {
		if h.Epoch() != k.W.Epoch() || h > k.W || i > 0 && h <= k.Holes[i-1] {
			return fmt.Errorf("%w: hole %v of mark %v", ErrCorrupt, h, k.W)
		}
	}
	return nil
}

func (k Mark) stable(w cluster.Seq) bool { return w <= k.W && !k.hole(w) }

func (k Mark) hole(w cluster.Seq) bool {
	_, found := slices.BinarySearch(k.Holes, w)
	return found
}

// isNews reports whether another mark of the same epoch calls something stable that this one does not.
func (k Mark) isNews(o Mark) bool {
	return o.W > k.W || slices.ContainsFunc(k.Holes, o.stable)
}

// Merge gives the mark that calls stable what either of two does. Reports arrive in any order, and a version
// once stable stays so: a hole of an older report never comes back.
func (k Mark) Merge(o Mark) Mark {
	m := Mark{W: max(k.W, o.W)}
	for _, h := range k.Holes {
		if !o.stable(h) {
			m.Holes = append(m.Holes, h)
		}
	}
	for _, h := range o.Holes {
		if h > k.W {
			m.Holes = append(m.Holes, h)
		}
	}
	return m
}

// find gives the index of the mark of an epoch, or where it belongs.
func (v *volume) find(epoch uint32) (int, bool) {
	return slices.BinarySearchFunc(v.marks, epoch, func(k Mark, e uint32) int {
		return cmp.Compare(k.W.Epoch(), e)
	})
}

// stable is the rule of DESIGN section 5: a mark speaks for its own epoch only.
func (v *volume) stable(w cluster.Seq) bool {
	if w.Epoch() < v.settled {
		return true
	}
	i, found := v.find(w.Epoch())
	return found && v.marks[i].stable(w)
}

// limit is the sequence above which nothing of an epoch is stable.
func (v *volume) limit(epoch uint32) cluster.Seq {
	if epoch < v.settled {
		return cluster.MakeSeq(epoch, cluster.MaxSeqCounter)
	}
	if i, found := v.find(epoch); found {
		return v.marks[i].W
	}
	return 0
}

// isNews reports whether a mark would change anything.
func (v *volume) isNews(mark Mark) bool {
	if mark.W.Epoch() < v.settled {
		return false
	}
	if i, found := v.find(mark.W.Epoch()); found {
		return v.marks[i].isNews(mark)
	}
	return mark.W.Counter() > 0 && len(v.marks) < maxMarks
}

// setMark takes a mark in that is news.
func (v *volume) setMark(mark Mark) {
	if i, found := v.find(mark.W.Epoch()); found {
		v.marks[i] = v.marks[i].Merge(mark)
	} else {
		v.marks = slices.Insert(v.marks, i, Mark{W: mark.W, Holes: slices.Clone(mark.Holes)})
	}
	v.forgetMarks()
}

// forgetMarks drops the marks of settled epochs, of which all is stable here. The last one stays until a
// later one comes: it tells a new owner what was complete that other devices have not heard of.
func (v *volume) forgetMarks() {
	for len(v.marks) > 1 && v.marks[0].W.Epoch() < v.settled {
		v.marks = v.marks[1:]
	}
}
