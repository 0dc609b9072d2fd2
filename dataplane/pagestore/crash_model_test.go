package pagestore

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// The oracle of the crash tests: everything that was asked of the store and what it answered, as an owner
// knows it, and from that what may and what must be on the device after a power cut.

// fate is what is known about one version of one block.
type fate struct {
	op      *opModel
	held    bool // acknowledged, or seen after a mount: it must stay until it may go
	lost    bool // not there after a mount and not sent again: it must never come
	torn    bool // seen as torn after a mount, and no later write of it answered: it may stay so
	undoing bool // an undo was asked for: it may be gone
}

// opModel is one write.
type opModel struct {
	w        cluster.Seq
	e        pagemap.Extent
	tomb     bool
	flying   bool // not answered yet
	resolved bool // answered, undone or given up: stable marks may pass it
	undone   bool // durably
}

// blockKey names a block under a residency: what is held under another is another block.
type blockKey struct {
	page      uint64
	residency chunk.Residency
	block     uint16
}

// pin is a pin of the view list that is durable. Versions written since then leave what it sees alone.
type pin struct{ at, since cluster.Seq }

// volModel is one volume generation.
type volModel struct {
	key      cluster.VolumeKey
	epoch    uint32
	counter  uint64                             // sequences ascend within the epoch
	ops      []*opModel                         // ascending w
	blocks   map[blockKey]map[cluster.Seq]*fate // every version sent
	marks    map[uint32]pagemap.Mark            // what was sent, of each epoch
	res      map[uint64]chunk.Residency         // of each page: that the owner uses now
	begun    map[uint64]chunk.Residency         // of each page: that is known to have begun, or ended
	view     chunk.View                         // the last sent
	viewing  bool                               // it was not answered yet
	pins     []pin
	settled  uint32 // largest asked for
	dropping bool   // asked for
	exists   bool   // something of it was answered or seen
}

// stampBlock writes who a block is into each of its sectors.
func stampBlock(b []byte, key cluster.VolumeKey, at blockKey, w cluster.Seq) {
	le := binary.LittleEndian
	for i := 0; i < len(b); i += blockdev.SectorSize {
		le.PutUint32(b[i:], key.VUID)
		le.PutUint32(b[i+4:], key.Generation)
		le.PutUint64(b[i+8:], at.page)
		le.PutUint64(b[i+16:], uint64(at.residency)<<8|uint64(at.block))
		le.PutUint64(b[i+24:], uint64(w))
		le.PutUint64(b[i+blockdev.SectorSize-8:], uint64(w))
	}
}

func newVolModel(key cluster.VolumeKey) *volModel {
	return &volModel{key: key, epoch: 1, blocks: map[blockKey]map[cluster.Seq]*fate{},
		marks: map[uint32]pagemap.Mark{}, res: map[uint64]chunk.Residency{},
		begun: map[uint64]chunk.Residency{}}
}

// each visits the fates of the blocks of a write.
func (v *volModel) each(o *opModel, f func(blockKey, *fate)) {
	for i := range o.e.N {
		at := blockKey{o.e.Page, o.e.Residency, o.e.First + i}
		if v.blocks[at] == nil {
			v.blocks[at] = map[cluster.Seq]*fate{}
		}
		if v.blocks[at][o.w] == nil {
			v.blocks[at][o.w] = &fate{op: o}
		}
		f(at, v.blocks[at][o.w])
	}
}

// mark is the largest prefix an owner may send now: everything of the epoch up to it is resolved.
func (v *volModel) mark() cluster.Seq {
	m := cluster.MakeSeq(v.epoch, 0)
	for _, o := range v.ops {
		if o.w.Epoch() != v.epoch {
			continue
		}
		if !o.resolved {
			break
		}
		m = o.w
	}
	return m
}

// overtaken tells whether a newer write was sent to a block of a write. An owner that holds a write open
// holds its rows, so it does not happen to holes, nor to what is completed after it was undone.
func (v *volModel) overtaken(o *opModel) bool {
	return slices.ContainsFunc(v.ops, func(x *opModel) bool {
		return x.w > o.w && x.e.Page == o.e.Page && x.e.First < o.e.First+o.e.N && o.e.First < x.e.First+x.e.N
	})
}

// holey is the largest mark with holes: everything of the epoch that is not resolved is one.
func (v *volModel) holey() pagemap.Mark {
	m := pagemap.Mark{W: cluster.MakeSeq(v.epoch, v.counter)}
	for _, o := range v.ops {
		if o.w.Epoch() != v.epoch || o.resolved {
			continue
		}
		if m.Holes = append(m.Holes, o.w); v.overtaken(o) || len(m.Holes) > chunk.MaxHoles {
			return pagemap.Mark{W: v.mark()}
		}
	}
	return m
}

// tell notes what the store is told to be stable.
func (v *volModel) tell(m pagemap.Mark) pagemap.Mark {
	v.marks[m.W.Epoch()] = v.marks[m.W.Epoch()].Merge(m)
	return m
}

// mayBeStable tells whether the store was told that w is stable.
func (v *volModel) mayBeStable(w cluster.Seq) bool {
	m := v.marks[w.Epoch()]
	return w.Epoch() < v.settled || w <= m.W && !slices.Contains(m.Holes, w)
}

// pinned tells whether a pin keeps a version although a newer one is stable.
func (v *volModel) pinned(w, by cluster.Seq) bool {
	return slices.ContainsFunc(v.pins, func(p pin) bool { return w <= p.at && by > p.since })
}

// mayBeFreed tells whether a version may have been superseded.
func (v *volModel) mayBeFreed(all map[cluster.Seq]*fate, w cluster.Seq) bool {
	for by, f := range all {
		if by > w && f.held && v.mayBeStable(by) && (by.Epoch() == w.Epoch() || w.Epoch() < v.settled) &&
			!v.pinned(w, by) {
			return true
		}
	}
	return false
}

// judgeResidency compares the residency under which a page is held, 0 if nothing is, with what was sent.
// ended: what was held of the page under an older number is gone, in one step.
func (v *volModel) judgeResidency(page uint64, held chunk.Residency) (ended chunk.Residency, err error) {
	if held != 0 && held < v.begun[page] {
		return 0, fmt.Errorf("page %d is held under %v, and %v has begun or ended", page, held, v.begun[page])
	}
	v.begun[page] = max(v.begun[page], held)
	if held == 0 {
		return v.res[page], nil // whatever began last may have been emptied
	}
	return held, nil
}

// judge compares what a store holds of one block after a mount with what it may hold. present is ascending.
func (v *volModel) judge(at blockKey, present []pagemap.Entry, ended chunk.Residency) error {
	all := v.blocks[at]
	if at.residency < ended {
		if len(present) > 0 {
			return fmt.Errorf("versions %v under an ended residency", present)
		}
		return nil
	}
	here := map[cluster.Seq]pagemap.State{}
	for _, e := range present {
		here[e.W] = e.State
		if err := v.judgePresent(all[e.W], e); err != nil {
			return err
		}
	}
	for w, f := range all {
		if _, ok := here[w]; ok || !f.held || f.undoing {
			continue
		}
		newer := slices.ContainsFunc(present, func(e pagemap.Entry) bool { return e.W > w })
		older := slices.ContainsFunc(present, func(e pagemap.Entry) bool { return e.W < w })
		switch {
		case v.mayBeFreed(all, w) && newer:
		case v.mayBeFreed(all, w) && v.goneBelowTombstone(all, here, w):
		case f.op.tomb && v.mayBeStable(w) && !older && !newer:
		case f.op.tomb && v.mayBeStable(w) && !older: // below a version that is not stable
		default:
			return fmt.Errorf("version %v was acknowledged and is gone; present %v", w, present)
		}
		if older && !newer {
			return fmt.Errorf("version %v was acknowledged; only older ones are left: %v", w, present)
		}
	}
	return nil
}

// goneBelowTombstone tells whether a newer tombstone may have taken everything with it.
func (v *volModel) goneBelowTombstone(all map[cluster.Seq]*fate, here map[cluster.Seq]pagemap.State,
	w cluster.Seq) bool {
	for by, f := range all {
		if _, present := here[by]; by > w && !present && f.held && f.op.tomb && v.mayBeStable(by) &&
			!v.pinned(w, by) {
			return true
		}
	}
	return false
}

func (v *volModel) judgePresent(f *fate, e pagemap.Entry) error {
	switch {
	case f == nil:
		return fmt.Errorf("version %v was never sent", e.W)
	case f.op.undone:
		return fmt.Errorf("version %v was durably undone and is back", e.W)
	case f.lost:
		return fmt.Errorf("version %v was gone after a mount and is back", e.W)
	case (e.State == pagemap.Tombstone) != f.op.tomb:
		return fmt.Errorf("version %v is %v", e.W, e.State)
	case e.State == pagemap.Torn && f.held && !f.torn:
		return fmt.Errorf("version %v was acknowledged and is torn", e.W)
	case e.State == pagemap.Bad:
		return fmt.Errorf("version %v is bad, and nothing has rotted", e.W)
	}
	return nil
}

// learn takes what was seen after a mount as known: it is durable, and what is missing never comes back.
func (v *volModel) learn(held map[blockKey][]pagemap.Entry) {
	for at, all := range v.blocks {
		here := map[cluster.Seq]pagemap.State{}
		for _, e := range held[at] {
			here[e.W] = e.State
		}
		for w, f := range all {
			state, present := here[w]
			f.held, f.lost = present, !present
			f.torn = state == pagemap.Torn
			f.undoing = false
		}
	}
	for _, o := range v.ops {
		if !o.flying {
			continue
		}
		o.flying = false // the power cut ended it without an answer
		gone := true
		v.each(o, func(_ blockKey, f *fate) { gone = gone && f.lost })
		o.resolved = gone && !o.undone
	}
	v.settleBegun()
	v.forget()
}

// learnView takes the view list that was found after a mount as known.
func (v *volModel) learnView(view chunk.View) error {
	if view.Version > v.view.Version || view.Version < v.view.Version && !v.viewing {
		return fmt.Errorf("view list %d is there, %d was sent", view.Version, v.view.Version)
	}
	v.view, v.viewing = view, false
	v.repin()
	return nil
}

// repin makes the pins those of the view list, which is durable now.
func (v *volModel) repin() {
	was := v.pins
	v.pins = nil
	for _, at := range v.view.Pins {
		p := pin{at: at, since: cluster.MakeSeq(v.epoch, v.counter)}
		if i := slices.IndexFunc(was, func(x pin) bool { return x.at == at }); i >= 0 {
			p = was[i]
		}
		v.pins = append(v.pins, p)
	}
}

// settleBegun resolves what lies under residencies that are known to be over: nothing of it can come back.
func (v *volModel) settleBegun() {
	for _, o := range v.ops {
		if o.e.Residency < v.begun[o.e.Page] && !o.flying {
			v.gone(o)
		}
	}
}

// gone notes that a write is not there and never will be.
func (v *volModel) gone(o *opModel) {
	o.resolved, o.undone = true, true
	v.each(o, func(_ blockKey, f *fate) { f.held, f.undoing = false, false })
}

// forget drops old knowledge, so that long runs stay fast: writes that are resolved and of which nothing is
// left.
func (v *volModel) forget() {
	keep := v.ops[:0]
	for i, o := range v.ops {
		needed := !o.resolved || i > len(v.ops)-20
		v.each(o, func(_ blockKey, f *fate) { needed = needed || f.held })
		if needed {
			keep = append(keep, o)
		} else {
			v.each(o, func(at blockKey, _ *fate) { delete(v.blocks[at], o.w) })
		}
	}
	v.ops = keep
}
