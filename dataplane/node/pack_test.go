package node

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// TestACompressedVolume takes less than is written to it; hosts, the next owner, a clone whose owner is on
// another node, and who comes after a lost device read what was written, in any part.
func TestACompressedVolume(t *testing.T) {
	w := newWorld(t, 3, 2)
	w.startAll(3)
	const size = 2 << 20
	vol, cfg := w.createBy(&cluster.Volume{Name: "z", Pool: "p", Size: size, Hosts: []string{testHost},
		Storing: cluster.Storing{Compression: cluster.CompressionS2}}, 1)
	v := open(t, cfg)
	var text bytes.Buffer
	for i := 0; text.Len() < size; i++ {
		fmt.Fprintf(&text, "%d bottles of beer on the wall, %d bottles of beer\n", i, i*i)
	}
	want := text.Bytes()[:size]
	fill(want[size/2:size*3/4], 1, 1) // noise
	w.must(v.Write(t.Context(), want, 0))
	for _, off := range []int64{512, 100 << 10, size/2 - 1024} { // parts of units
		part := want[off : off+2048]
		fill(part, int(off), 2)
		w.must(v.Write(t.Context(), part, off))
	}
	w.must(v.WriteZeroes(t.Context(), 300<<10, 20<<10))
	clear(want[300<<10 : 320<<10])
	w.shows(v, want, "at first")
	w.until("its owner says how much is stored", func() bool {
		p := w.healing(vol).Packed
		return p > 0 && p < 90
	})

	rec := w.snapshot(vol, 1)
	_, ccfg := w.clone(rec, size, 2)
	w.must(v.Write(t.Context(), make([]byte, 64<<10), 0)) // not for the clone
	c := open(t, ccfg)
	w.shows(c, want, "the clone")
	clear(want[:64<<10])
	w.stop(w.owner(vol).Gateway)
	w.shows(v, want, "under the next owner, without the devices of a node,")
}
