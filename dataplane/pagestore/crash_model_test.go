package pagestore

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
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
	bad     bool // seen as bad after a mount, and no later write of it answered: it may stay so
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

type blockKey struct {
	page  uint64
	block uint16
}

// volModel is one volume generation.
type volModel struct {
	key      cluster.VolumeKey
	epoch    uint32
	counter  uint64                             // sequences ascend within the epoch
	ops      []*opModel                         // ascending w
	blocks   map[blockKey]map[cluster.Seq]*fate // every version sent
	marks    map[uint32]cluster.Seq             // largest sent of each epoch
	settled  uint32                             // largest asked for
	dropping bool                               // asked for
	exists   bool                               // something of it was answered or seen
}

// stampBlock writes who a block is into each of its sectors.
func stampBlock(b []byte, key cluster.VolumeKey, at blockKey, w cluster.Seq) {
	le := binary.LittleEndian
	for i := 0; i < len(b); i += blockdev.SectorSize {
		le.PutUint32(b[i:], key.VUID)
		le.PutUint32(b[i+4:], key.Generation)
		le.PutUint64(b[i+8:], at.page)
		le.PutUint64(b[i+16:], uint64(at.block))
		le.PutUint64(b[i+24:], uint64(w))
		le.PutUint64(b[i+blockdev.SectorSize-8:], uint64(w))
	}
}

func newVolModel(key cluster.VolumeKey) *volModel {
	return &volModel{key: key, epoch: 1, blocks: map[blockKey]map[cluster.Seq]*fate{},
		marks: map[uint32]cluster.Seq{}}
}

// each visits the fates of the blocks of a write.
func (v *volModel) each(o *opModel, f func(blockKey, *fate)) {
	for i := range o.e.N {
		at := blockKey{o.e.Page, o.e.First + i}
		if v.blocks[at] == nil {
			v.blocks[at] = map[cluster.Seq]*fate{}
		}
		if v.blocks[at][o.w] == nil {
			v.blocks[at][o.w] = &fate{op: o}
		}
		f(at, v.blocks[at][o.w])
	}
}

// mark is the largest mark an owner may send now: everything of the epoch up to it is resolved.
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

// mayBeStable tells whether the store was told that w is stable.
func (v *volModel) mayBeStable(w cluster.Seq) bool {
	return w.Epoch() < v.settled || w <= v.marks[w.Epoch()]
}

// mayBeFreed tells whether a version may have been superseded.
func (v *volModel) mayBeFreed(all map[cluster.Seq]*fate, w cluster.Seq) bool {
	for by, f := range all {
		if by > w && f.held && v.mayBeStable(by) && (by.Epoch() == w.Epoch() || w.Epoch() < v.settled) {
			return true
		}
	}
	return false
}

// judge compares what a store holds of one block after a mount with what it may hold. present is ascending.
func (v *volModel) judge(at blockKey, present []pagemap.Entry) error {
	all := v.blocks[at]
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
		if _, present := here[by]; by > w && !present && f.held && f.op.tomb && v.mayBeStable(by) {
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
	case e.State == pagemap.Bad && f.held && !f.bad:
		return fmt.Errorf("version %v was acknowledged and is bad", e.W)
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
			f.bad = state == pagemap.Bad
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
	v.forget()
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
