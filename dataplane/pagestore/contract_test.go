package pagestore

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// under is an extent under another residency.
func under(e pagemap.Extent, r chunk.Residency) pagemap.Extent {
	e.Residency = r
	return e
}

// TestAResidencyEndsTheOneBefore: also for requests that were on their way.
func TestAResidencyEndsTheOneBefore(t *testing.T) {
	dev := formatted(t, 1000, 0)
	s := open(t, dev)
	old, next := ext(1, 0, 0, 2), under(ext(1, 0, 0, 2), chunk.Home(1))
	must(t, write(s, old, seq(1, 1), 1))
	must(t, wait(func(done func(error)) { s.Undo(next, seq(1, 1), done) }))
	expect(t, s, old, seq(1, 1), 1)
	_, info := read(t, s, next, 0)
	if info[0].State != pagemap.Absent {
		t.Fatalf("before the first write the new residency holds %+v", info)
	}
	must(t, write(s, next, seq(1, 1), 2))
	if free := s.Stats().FreeBlocks; free != s.Stats().TotalBlocks-2 || s.Free() != free {
		t.Fatalf("%d blocks are free, or %d", free, s.Free())
	}
	for name, err := range map[string]error{
		"write": write(s, old, seq(1, 2), 3),
		"undo":  wait(func(done func(error)) { s.Undo(old, seq(1, 1), done) }),
		"drop":  wait(func(done func(error)) { s.DropChunk(old, done) }),
		"read": wait(func(done func(error)) {
			s.Read(&Read{Extent: old, Head: true, Info: make([]BlockInfo, 2),
				Done: func(_ *Read, err error) { done(err) }})
		}),
	} {
		if !errors.Is(err, ErrNotMine) {
			t.Errorf("%s under the old residency: %v", name, err)
		}
	}
	closeAndCheck(t, s)
	s = open(t, dev)
	expect(t, s, next, seq(1, 1), 2)
	must(t, wait(func(done func(error)) { s.DropChunk(under(next, chunk.Home(2)), done) }))
	closeAndCheck(t, s)
	s = open(t, dev)
	must(t, write(s, old, seq(1, 3), 3))
	expect(t, s, old, seq(1, 3), 3)
	closeAndCheck(t, s)
}

// TestRenumberLasts: from the log after a crash, and from the checkpoint that Close makes.
func TestRenumberLasts(t *testing.T) {
	dev := formatted(t, 1000, 0)
	s := open(t, dev)
	old, next := ext(1, 0, 0, 2), under(ext(1, 0, 0, 2), chunk.Home(1))
	must(t, write(s, old, seq(1, 1), 1))
	for range 2 {
		must(t, wait(func(done func(error)) { s.Renumber(next, done) }))
	}
	expect(t, s, next, seq(1, 1), 1)
	if err := write(s, old, seq(1, 2), 2); !errors.Is(err, ErrNotMine) {
		t.Errorf("a write under the old residency: %v", err)
	}
	dev.Crash(1)
	s = open(t, dev)
	expect(t, s, next, seq(1, 1), 1)
	closeAndCheck(t, s)
	s = open(t, dev)
	expect(t, s, next, seq(1, 1), 1)
	closeAndCheck(t, s)
}

// TestOvertakenByABeginning: a write is admitted, and before it is durable another one begins a residency.
func TestOvertakenByABeginning(t *testing.T) {
	dev := formatted(t, 1000, 0)
	s := open(t, dev)
	dev.Manual(true)
	results := make(chan error, 3)
	for i, e := range []pagemap.Extent{ext(1, 0, 0, 1), under(ext(1, 0, 0, 1), chunk.Home(1)), ext(1, 0, 1, 1)} {
		data, crc := fill(1, uint64(i))
		s.Write(&Write{Extent: e, W: seq(1, uint64(i+1)), Data: data, CRC: crc, Columns: columnsOf(2, 1),
			Done: func(_ *Write, err error) { results <- err }})
	}
	for dev.Pending() > 0 {
		dev.Step(0)
	}
	dev.Manual(false)
	for i, want := range []error{nil, nil, ErrNotMine} {
		if err := <-results; !errors.Is(err, want) {
			t.Errorf("write %d: %v, want %v", i+1, err, want)
		}
	}
	if u := s.Stats(); u.LiveBlocks != 1 || u.PendingBlocks != 0 {
		t.Errorf("usage %+v", u)
	}
	closeAndCheck(t, s)
}

// TestHeadReadsNoData: what rots is found by a read, and known to a head from then on.
func TestHeadReadsNoData(t *testing.T) {
	dev := formatted(t, 1000, 0)
	s := open(t, dev)
	e := ext(1, 0, 0, 1)
	must(t, write(s, e, seq(1, 1), 1))
	dev.Corrupt(s.lay.dataOffset(0)+5, 1)
	head := func() pagemap.State {
		r := &Read{Extent: e, Head: true, Info: make([]BlockInfo, 1)}
		must(t, wait(func(done func(error)) {
			r.Done = func(_ *Read, err error) { done(err) }
			s.Read(r)
		}))
		return r.Info[0].State
	}
	if got := head(); got != pagemap.Data {
		t.Errorf("head of what nobody has read: %v", got)
	}
	if _, info := read(t, s, e, 0); info[0].State != pagemap.Bad {
		t.Errorf("read: %v", info[0].State)
	}
	if got := head(); got != pagemap.Bad {
		t.Errorf("head of what is known to be bad: %v", got)
	}
	closeAndCheck(t, s)
}

// TestAViewListKeepsWhatPinsSee through restarts, from the log and from a checkpoint, until a newer list.
func TestAViewListKeepsWhatPinsSee(t *testing.T) {
	dev := formatted(t, 1000, 0)
	s := open(t, dev)
	setView := func(v chunk.View) error {
		return wait(func(done func(error)) { s.SetView(vol(1), v, done) })
	}
	must(t, setView(chunk.View{Version: 2, Pins: []cluster.Seq{seq(1, 1)}}))
	must(t, write(s, ext(1, 0, 0, 1), seq(1, 1), 1))
	must(t, write(s, ext(1, 0, 0, 1), seq(1, 2), 2))
	must(t, setStable(s, vol(1), stable(seq(1, 2))))
	for range 2 {
		closeAndCheck(t, s)
		s = open(t, dev)
		if _, info := read(t, s, ext(1, 0, 0, 1), seq(1, 1)); info[0].W != seq(1, 1) {
			t.Fatalf("as of the pin: %+v", info)
		}
	}
	must(t, setView(chunk.View{Version: 1}))
	if v, _ := s.Volume(vol(1)); v.View.Version != 2 || v.Versions != 2 {
		t.Fatalf("after an older list %+v", v)
	}
	must(t, setView(chunk.View{Version: 3}))
	if v, _ := s.Volume(vol(1)); v.View.Version != 3 || v.Versions != 1 {
		t.Fatalf("after a newer list %+v", v)
	}
	must(t, setView(chunk.View{Version: 4, Cloned: true}))
	closeAndCheck(t, s)
	s = open(t, dev)
	if v, _ := s.Volume(vol(1)); !v.View.Cloned {
		t.Fatalf("a clone was forgotten: %+v", v)
	}
	if err := setView(chunk.View{Version: 5, Pins: []cluster.Seq{2, 1}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("unsorted pins: %v", err)
	}
	closeAndCheck(t, s)
}

// TestMetadataInBatches: more than fits one log request, in any order of orders, and deleted the same way.
func TestMetadataInBatches(t *testing.T) {
	dev := formatted(t, 4000, 16)
	s := open(t, dev)
	put := func(records ...Meta) error {
		return wait(func(done func(error)) { s.PutMetas(records, done) })
	}
	var many []Meta
	for i := range 150 {
		many = append(many, Meta{Key: fmt.Sprintf("journal/1.1/%d", i), Value: make([]byte, 72), Order: 5})
	}
	must(t, put(many...))
	must(t, put())
	must(t, put(Meta{Key: "journal/1.1/0", Value: []byte("older"), Order: 4},
		Meta{Key: "journal/1.1/1", Value: []byte("newer"), Order: 6},
		Meta{Key: "journal/1.1/2", Order: 4}, Meta{Key: "journal/1.1/3", Order: 5}))
	for range 2 {
		got := s.Meta("journal/")
		if len(got) != 149 || len(got["journal/1.1/0"]) != 72 || string(got["journal/1.1/1"]) != "newer" ||
			got["journal/1.1/2"] == nil || got["journal/1.1/3"] != nil {
			t.Fatalf("%d records, %q", len(got), got["journal/1.1/1"])
		}
		closeAndCheck(t, s)
		s = open(t, dev)
	}
	if err := put(Meta{Key: "a", Value: make([]byte, MaxMetaValue+1)}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a value too long: %v", err)
	}
	closeAndCheck(t, s)
}
