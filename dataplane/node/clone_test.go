package node

import (
	"bytes"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/initiator"
)

// clone makes a clone of a snapshot, to be owned by a node, and says how to attach it.
func (w *world) clone(rec cluster.Snapshot, size uint64, owner cluster.NodeID) (*cluster.Volume,
	initiator.VolumeConfig) {
	w.t.Helper()
	return w.createBy(&cluster.Volume{Name: "c", Pool: "p", Size: size, Hosts: []string{testHost},
		Parent: &cluster.Parent{Volume: rec.Volume, Key: rec.Key, Snapshot: rec.UUID, Pin: rec.Pin,
			Size: rec.Size}}, owner)
}

// TestACloneShowsItsParent: what was there at the snapshot, by way of the parent's owner on another node, and
// then on the same; below what was written in the clone, zeroes too; and its clone shows both.
func TestACloneShowsItsParent(t *testing.T) {
	w := newWorld(t, 3, 2)
	w.startAll(3)
	const size = 2 << 20
	vol, cfg := w.create(size)
	v := open(t, cfg)
	want := make([]byte, 2*size)
	fill(want[:size], 1, 1)
	w.must(v.Write(t.Context(), want[:size], 0))
	rec := w.snapshot(vol, 1)
	w.must(v.Write(t.Context(), make([]byte, size), 0)) // what comes later is not for the clone

	first, ccfg := w.clone(rec, 2*size, 2)
	c := open(t, ccfg)
	change := func(c *initiator.Volume, want []byte, seed byte) {
		t.Helper()
		for _, off := range []int64{5000 &^ 511, 256<<10 - 1024, size - 512} { // parts of blocks, over the end too
			part := want[off : off+2048]
			fill(part, int(off), uint64(seed))
			w.must(c.Write(t.Context(), part, off))
		}
		zero := want[int(seed)<<16 : int(seed)<<16+3*cluster.BlockSize]
		clear(zero)
		w.must(c.WriteZeroes(t.Context(), int64(seed)<<16, int64(len(zero))))
	}
	look := func(when string, c *initiator.Volume, want []byte) {
		t.Helper()
		got := make([]byte, len(want))
		if w.must(c.Read(t.Context(), got, 0)); !bytes.Equal(got, want) {
			t.Fatalf("%s the clone is not what it should be", when)
		}
	}
	look("at first", c, want)
	change(c, want, 3)
	look("changed", c, want)

	srec := w.snapshot(first, 2)
	second, scfg := w.clone(srec, 2*size, 3)
	s := open(t, scfg)
	deep := bytes.Clone(want)
	look("cloned again", s, deep)
	change(s, deep, 5)
	change(c, want, 7)
	look("below its clone", c, want)
	look("over a clone", s, deep)

	for _, x := range []*cluster.Volume{vol, first, second} {
		n := w.owner(x).Gateway
		w.stop(n)
		look("under another owner", c, want)
		look("under another owner", s, deep)
		w.start(n)
		w.until("all is whole", func() bool { return w.whole(vol) && w.whole(first) && w.whole(second) })
	}
}

// handedDown counts the blocks that a volume has asked of its parent so far, under the owners that live.
func (w *world) handedDown(vol *cluster.Volume) (n uint64) {
	for _, r := range w.running {
		for _, f := range r.node.gateway.Figures().Volumes {
			if f.UUID == vol.UUID {
				n += f.Counters.Inherited
			}
		}
	}
	return n
}

// TestALongLineage: each of many clones of clones holds another page, and shows all the others. Where the
// levels between a clone and what it shows hold nothing they are not asked to hand it down.
func TestALongLineage(t *testing.T) {
	w := newWorld(t, 3, 2)
	w.startAll(3)
	const depth, page = 7, 256 << 10
	vol, cfg := w.create((depth + 1) * page)
	v := open(t, cfg)
	want := make([]byte, (depth+1)*page)
	fill(want, 1, 1)
	w.must(v.Write(t.Context(), want, 0))
	line := []*cluster.Volume{vol}
	for level := range depth {
		vol, cfg = w.clone(w.snapshot(vol, byte(level+1)), uint64(len(want)), cluster.NodeID(level%3+1))
		line, v = append(line, vol), open(t, cfg)
		part := want[level*page+3584:][:9216] // over the ends of blocks
		fill(part, level, 7)
		w.must(v.Write(t.Context(), part, int64(level*page+3584)))
	}
	got := make([]byte, len(want))
	look := func() {
		t.Helper()
		if w.must(v.Read(t.Context(), got, 0)); !bytes.Equal(got, want) {
			t.Fatal("the last clone is not what it should be")
		}
	}
	look()
	between := line[1:depth]
	w.until("the first level is asked at once", func() bool {
		sum := func() (n uint64) {
			for _, x := range between {
				n += w.handedDown(x)
			}
			return n
		}
		before := sum()
		last := got[depth*page:] // which no clone has written to
		w.must(v.Read(t.Context(), last, depth*page))
		return sum() == before && bytes.Equal(last, want[depth*page:])
	})
	look()
	for _, x := range []*cluster.Volume{line[0], line[3]} { // what is remembered outlives owners
		n := w.owner(x).Gateway
		w.stop(n)
		look()
		w.start(n)
		w.until("all is whole", func() bool {
			for _, x := range line {
				if !w.whole(x) {
					return false
				}
			}
			return true
		})
	}
}
