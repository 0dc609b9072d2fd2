package sim

import (
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// TestAForgottenWriteIsMissingAsOfPins: the budget counts it for as long as somebody may see that.
func TestAForgottenWriteIsMissingAsOfPins(t *testing.T) {
	disk, err := NewDisk(100)
	if err != nil {
		t.Fatal(err)
	}
	seq := func(counter uint64) cluster.Seq { return cluster.MakeSeq(1, counter) }
	v := &volume{key: cluster.VolumeKey{VUID: 7, Generation: 1}}
	w := &World{volumes: []*volume{v}, etcd: arbiter{records: []record{{Owner: cluster.Owner{Epoch: 1}}}}}
	s := spot{d: &device{w: w, disk: disk}, version: seq(20), older: true}
	put := func(counter uint64) {
		runs, _ := disk.pages.Alloc(1, nil)
		disk.pages.Apply(&pagemap.Record{Kind: pagemap.Put, Extent: pagemap.Extent{Vol: v.key, N: 1},
			W: seq(counter), Loc: runs[0].Loc, CRC: []uint32{1}, Columns: []pagemap.Columns{{Set: 1, Mask: 1}}})
	}
	expect := func(when string, missing bool) {
		t.Helper()
		if w.open(s) != missing {
			t.Errorf("%s: missing is %v", when, !missing)
		}
	}
	put(10)
	expect("the device has the version before", true)
	p := &pin{w: seq(30), kept: true}
	v.taken = append(v.taken, p, &pin{w: seq(15), kept: true})
	put(40)
	expect("written anew, a pin is about to see the old version", true)
	w.etcd.records[0].Epoch = 2
	expect("the owner went before the pin was recorded", false)
	v.pins = append(v.pins, p)
	expect("it was recorded", true)
	put(20)
	expect("written again", false)
	disk.Lose(v.key, 0, 0, 0, s.version)
	expect("forgotten again", true)
	p.kept = false
	expect("the pin is given up", false)
}
