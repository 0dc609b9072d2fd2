package pagestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

const clusterName = "11111111-1111-1111-1111-111111111111"

func uuid(s string) cluster.UUID {
	u, err := cluster.ParseUUID(s)
	if err != nil {
		panic(err)
	}
	return u
}

func device(n int) cluster.UUID { return uuid(fmt.Sprintf("22222222-2222-2222-2222-%012d", n)) }

func formatOptions() FormatOptions {
	return FormatOptions{ClusterID: uuid(clusterName), DeviceUUID: device(1)}
}

func vol(n uint32) cluster.VolumeKey { return cluster.VolumeKey{VUID: n, Generation: 1} }

func ext(v uint32, page uint64, first, n uint16) pagemap.Extent {
	return pagemap.Extent{Vol: vol(v), Page: page, Residency: chunk.Home(0), First: first, N: n}
}

// newMem makes a device of so many blocks.
func newMem(t testing.TB, blocks int64, cache bool) *blockdev.Mem {
	m := blockdev.NewMem(blockdev.MemOptions{Size: blocks * BlockSize, LogicalBlock: BlockSize,
		VolatileCache: cache})
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// formatted makes a device with an empty store.
func formatted(t testing.TB, blocks int64, logBlocks uint64) *blockdev.Mem {
	m := newMem(t, blocks, true)
	o := formatOptions()
	o.LogBlocks = logBlocks
	if err := Format(t.Context(), m, o); err != nil {
		t.Fatal(err)
	}
	return m
}

func open(t testing.TB, dev blockdev.Device) *Store {
	t.Helper()
	s, err := Open(t.Context(), dev, Options{ClusterID: uuid(clusterName)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// closeAndCheck closes a store and verifies its device offline.
func closeAndCheck(t testing.TB, s *Store) *Report {
	t.Helper()
	if err := s.Check(); err != nil {
		t.Errorf("map in memory: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	rep, err := Check(context.Background(), s.dev, CheckOptions{Data: true})
	if err != nil {
		t.Fatalf("offline check: %v", err)
	}
	return rep
}

func fill(n uint16, stamp uint64) ([]byte, []uint32) {
	data, crc := make([]byte, int(n)*BlockSize), make([]uint32, n)
	for i := range crc {
		b := data[i*BlockSize:][:BlockSize]
		rng := rand.New(rand.NewPCG(stamp, uint64(i)))
		for j := 0; j < len(b); j += 64 {
			b[j], b[j+1] = byte(rng.Uint32()), byte(stamp)
		}
		crc[i] = checksum(b)
	}
	return data, crc
}

// columnsOf gives the columns of n blocks of a version: all the same where the sequence is even.
func columnsOf(w cluster.Seq, n uint16) []pagemap.Columns {
	out := make([]pagemap.Columns, n)
	for i := range out {
		out[i] = pagemap.Columns{Set: 1<<(w%16) | uint16(i)*uint16(w%2), Mask: uint16(w)}
	}
	return out
}

// stable is a mark without holes.
func stable(w cluster.Seq) pagemap.Mark { return pagemap.Mark{W: w} }

func setStable(s *Store, v cluster.VolumeKey, m pagemap.Mark) error {
	return wait(func(done func(error)) { s.SetStable(v, m, done) })
}

func write(s *Store, e pagemap.Extent, w cluster.Seq, stamp uint64) error {
	data, crc := fill(e.N, stamp)
	return do(s, &Write{Extent: e, W: w, Data: data, CRC: crc, Columns: columnsOf(w, e.N)})
}

func do(s *Store, w *Write) error {
	if w.Columns == nil {
		w.Columns = columnsOf(w.W, w.N)
	}
	done := make(chan error, 1)
	w.Done = func(_ *Write, err error) { done <- err }
	s.Write(w)
	return <-done
}

func wait(f func(done func(error))) error {
	done := make(chan error, 1)
	f(func(err error) { done <- err })
	return <-done
}

func read(t testing.TB, s *Store, e pagemap.Extent, asOf cluster.Seq) ([]byte, []BlockInfo) {
	t.Helper()
	r := &Read{Extent: e, AsOf: asOf, Data: make([]byte, int(e.N)*BlockSize), Info: make([]BlockInfo, e.N)}
	done := make(chan error, 1)
	r.Done = func(_ *Read, err error) { done <- err }
	s.Read(r)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return r.Data, r.Info
}

// expect reads an extent and compares it with what fill gives for a stamp.
func expect(t testing.TB, s *Store, e pagemap.Extent, w cluster.Seq, stamp uint64) {
	t.Helper()
	want, crc := fill(e.N, stamp)
	got, info := read(t, s, e, 0)
	for i := range info {
		if info[i] != (BlockInfo{State: pagemap.Data, W: w, CRC: crc[i], Columns: columnsOf(w, e.N)[i]}) {
			t.Fatalf("%v block %d: %+v, want version %v", e, i, info[i], w)
		}
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%v: wrong data", e)
	}
}

func expectState(t testing.TB, s *Store, e pagemap.Extent, asOf cluster.Seq, want ...pagemap.State) {
	t.Helper()
	_, info := read(t, s, e, asOf)
	for i := range info {
		if info[i].State != want[i] {
			t.Fatalf("%v block %d: %+v, want %v", e, i, info[i], want[i])
		}
	}
}

func seq(epoch uint32, counter uint64) cluster.Seq { return cluster.MakeSeq(epoch, counter) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatWasAcknowledgedIsThereAfterReopening(t *testing.T) {
	edge := pagemap.Extent{Vol: vol(2), Page: 1 << 60, Residency: 9, Column: 255, First: 255, N: 1}
	for _, cache := range []bool{false, true} {
		dev := newMem(t, 1000, cache)
		must(t, Format(t.Context(), dev, formatOptions()))
		s := open(t, dev)
		must(t, write(s, ext(1, 0, 0, 4), seq(1, 1), 10))
		must(t, write(s, ext(1, 0, 2, 1), seq(1, 2), 11))
		must(t, do(s, &Write{Extent: ext(1, 0, 3, 1), W: seq(1, 3), Tombstone: true}))
		must(t, write(s, edge, seq(1, 1), 12))
		must(t, wait(func(done func(error)) { s.PutMeta("fence/1.1", []byte("7"), done) }))
		must(t, wait(func(done func(error)) { s.PutMeta("gone", []byte("x"), done) }))
		must(t, wait(func(done func(error)) { s.PutMeta("gone", nil, done) }))
		for round := range 3 {
			data, _ := fill(4, 10)
			got, info := read(t, s, ext(1, 0, 0, 5), 0)
			if !bytes.Equal(got[:2*BlockSize], data[:2*BlockSize]) || info[2].W != seq(1, 2) ||
				info[3].State != pagemap.Tombstone || info[4].State != pagemap.Absent {
				t.Fatalf("round %d: %+v", round, info)
			}
			if _, old := read(t, s, ext(1, 0, 2, 2), seq(1, 1)); old[0].W != seq(1, 1) || old[1].W != seq(1, 1) {
				t.Fatalf("as of 1.1: %+v", old)
			}
			expect(t, s, edge, seq(1, 1), 12)
			if m := s.Meta(""); len(m) != 1 || string(s.Meta("fence/")["fence/1.1"]) != "7" {
				t.Fatalf("metadata %q", m)
			}
			if got := s.Volumes(); len(got) != 2 || got[0] != vol(1) {
				t.Fatalf("volumes %v", got)
			}
			rep := closeAndCheck(t, s)
			if rep.Usage.Live != 6 || len(rep.Warnings) > 0 || len(rep.BadData) > 0 {
				t.Fatalf("report %+v", rep)
			}
			s = open(t, dev)
			if s.Stats().Incarnation != uint64(round+3) {
				t.Fatalf("incarnation %d after %d mounts", s.Stats().Incarnation, round+2)
			}
		}
		closeAndCheck(t, s)
	}
}

func TestWritesAreIdempotentAndFinal(t *testing.T) {
	s := open(t, formatted(t, 1000, 0))
	e := ext(1, 0, 0, 2)
	must(t, write(s, e, seq(1, 1), 1))
	before := s.Stats()
	must(t, write(s, e, seq(1, 1), 1))
	if after := s.Stats(); after.FreeBlocks != before.FreeBlocks || after.Traffic != before.Traffic {
		t.Fatalf("a repeated write changed %+v to %+v", before, after)
	}
	if err := write(s, e, seq(1, 1), 2); !errors.Is(err, ErrConflict) {
		t.Fatalf("other content under the same sequence: %v", err)
	}
	if err := do(s, &Write{Extent: e, W: seq(1, 1), Tombstone: true}); !errors.Is(err, ErrConflict) {
		t.Fatalf("tombstone under the same sequence: %v", err)
	}
	// Half of it held: the other half is added.
	must(t, write(s, ext(1, 0, 0, 4), seq(1, 1), 1))
	expect(t, s, ext(1, 0, 0, 4), seq(1, 1), 1)
	if rep := closeAndCheck(t, s); rep.Usage.Live != 4 {
		t.Fatalf("%d blocks live, want 4", rep.Usage.Live)
	}
}

func TestStableMarksFreeSpaceAndSurvive(t *testing.T) {
	dev := formatted(t, 1000, 0)
	s := open(t, dev)
	for i := range uint64(10) {
		data, crc := fill(1, i)
		must(t, do(s, &Write{Extent: ext(1, 0, 0, 1), W: seq(1, i+1), Data: data, CRC: crc, Stable: seq(1, i)}))
	}
	// The mark 1.9 rides with the last write; two versions are left.
	if v, _ := s.Volume(vol(1)); v.Blocks != 2 || v.Unstable != 1 || v.Marks[0].W != seq(1, 9) {
		t.Fatalf("volume %+v", v)
	}
	must(t, setStable(s, vol(1), stable(seq(1, 10))))
	// Later in the log than the mark.
	barrier := func(done func(error)) { s.Undo(ext(1, 7, 0, 1), seq(1, 1), done) }
	must(t, wait(barrier))
	if v, _ := s.Volume(vol(1)); v.Blocks != 1 || v.Unstable != 0 {
		t.Fatalf("volume %+v", v)
	}
	must(t, write(s, ext(1, 0, 0, 1), seq(2, 1), 99))
	must(t, setStable(s, vol(1), stable(seq(2, 1))))
	must(t, wait(func(done func(error)) { s.Undo(ext(1, 7, 0, 1), seq(1, 1), done) }))
	if v, _ := s.Volume(vol(1)); v.Blocks != 2 {
		t.Fatalf("before it is settled at 2 nothing of epoch 1 is freed: %+v", v)
	}
	must(t, wait(func(done func(error)) { s.Settle(vol(1), 2, done) }))
	closeAndCheck(t, s)
	s = open(t, dev)
	if v, _ := s.Volume(vol(1)); v.Blocks != 1 || v.Settled != 2 || v.Marks[0].W != seq(2, 1) {
		t.Fatalf("after reopening %+v", v)
	}
	closeAndCheck(t, s)
}

func TestUndoAndDrop(t *testing.T) {
	dev := formatted(t, 1000, 0)
	s := open(t, dev)
	free := s.Stats().FreeBlocks
	must(t, write(s, ext(1, 0, 0, 2), seq(1, 1), 1))
	must(t, write(s, ext(1, 0, 0, 2), seq(1, 2), 2))
	must(t, write(s, ext(2, 0, 0, 2), seq(1, 2), 3))
	must(t, wait(func(done func(error)) { s.Undo(ext(1, 0, 0, 1), seq(1, 2), done) }))
	expect(t, s, ext(1, 0, 0, 1), seq(1, 1), 1)
	buf := make([]pagemap.Entry, 10)
	if n, _, _ := s.List(vol(1), ListUnstable, pagemap.Cursor{}, buf); n != 3 || buf[0].W != seq(1, 1) {
		t.Fatalf("unstable %v", buf[:n])
	}
	must(t, wait(func(done func(error)) { s.DropVolume(vol(1), done) }))
	expectState(t, s, ext(1, 0, 0, 2), 0, pagemap.Absent, pagemap.Absent)
	closeAndCheck(t, s)
	s = open(t, dev)
	if got := s.Volumes(); len(got) != 1 || got[0] != vol(2) || s.Stats().FreeBlocks != free-2 {
		t.Fatalf("volumes %v, %d of %d free", got, s.Stats().FreeBlocks, free)
	}
	expect(t, s, ext(2, 0, 0, 2), seq(1, 2), 3)
	closeAndCheck(t, s)
}

// TestFullDevice fills a device, is refused, still reads and deletes, and gets the space back.
func TestFullDevice(t *testing.T) {
	dev := formatted(t, 300, 16)
	s := open(t, dev)
	var n uint16
	for ; ; n++ {
		if err := write(s, ext(1, uint64(n), 0, 1), seq(1, uint64(n)+1), uint64(n)); err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			break
		}
	}
	if st := s.Stats(); st.FreeBlocks != 0 || st.LiveBlocks != st.TotalBlocks {
		t.Fatalf("full after %d writes: %+v", n, st)
	}
	expect(t, s, ext(1, 3, 0, 1), seq(1, 4), 3)
	must(t, wait(func(done func(error)) { s.PutMeta("note", []byte("still works"), done) }))
	w := uint64(n) + 1
	for p := range uint64(n) {
		w++
		must(t, do(s, &Write{Extent: ext(1, p, 0, 1), W: seq(1, w), Tombstone: true, Stable: seq(1, w-1)}))
	}
	must(t, setStable(s, vol(1), stable(seq(1, w))))
	must(t, wait(func(done func(error)) { s.PutMeta("note", nil, done) }))
	if st := s.Stats(); st.FreeBlocks != st.TotalBlocks || st.Tombstones != 0 {
		t.Fatalf("after deleting everything %+v", st)
	}
	must(t, write(s, ext(1, 0, 0, 64), seq(1, w+1), 5))
	closeAndCheck(t, s)
	expectReopened := open(t, dev)
	expect(t, expectReopened, ext(1, 0, 0, 64), seq(1, w+1), 5)
	closeAndCheck(t, expectReopened)
}

// TestMetadataIsBounded runs into the limits of what a checkpoint area holds besides versions.
func TestMetadataIsBounded(t *testing.T) {
	dev := formatted(t, 400, 16)
	s := open(t, dev)
	if s.Crowded() {
		t.Error("there seems to be no room")
	}
	var err error
	puts := 0
	for ; err == nil; puts++ {
		err = wait(func(done func(error)) {
			s.PutMeta(fmt.Sprintf("key%d", puts), bytes.Repeat([]byte{1}, MaxMetaValue), done)
		})
	}
	if !errors.Is(err, ErrFull) || puts < 2 {
		t.Fatalf("put %d: %v", puts, err)
	}
	must(t, wait(func(done func(error)) { // what does not grow has room: a device would be of no use otherwise
		s.PutMeta("key0", bytes.Repeat([]byte{2}, MaxMetaValue), done)
	}))
	if !s.Crowded() {
		t.Error("there seems to be room for new volumes")
	}
	must(t, wait(func(done func(error)) { s.PutMeta("key0", nil, done) }))
	for i := uint64(1); err != nil || i < 1000; i++ {
		if err = do(s, &Write{Extent: ext(1, i, 0, 1), W: seq(1, i), Tombstone: true}); err != nil {
			if !errors.Is(err, ErrFull) || i < 64 {
				t.Fatalf("tombstone %d: %v", i, err)
			}
			break
		}
	}
	if err == nil {
		t.Fatal("tombstones without limit")
	}
	for i := uint32(2); ; i++ {
		if err := wait(func(done func(error)) { s.Settle(vol(i), 1, done) }); err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			break
		}
	}
	closeAndCheck(t, s)
	s = open(t, dev) // the checkpoint of all that fits its area
	closeAndCheck(t, s)
}

func TestInvalidRequests(t *testing.T) {
	s := open(t, formatted(t, 1000, 0))
	data, crc := fill(1, 1)
	for i, w := range []*Write{
		{},
		{Extent: ext(1, 0, 0, 1), Data: data, CRC: crc},
		{Extent: ext(1, 0, 0, 2), W: 1, Data: data, CRC: crc},
		{Extent: ext(1, 0, 256, 1), W: 1, Data: data, CRC: crc},
		{Extent: ext(1, 0, 0, 0), W: 1},
		{Extent: ext(0, 0, 0, 1), W: 1, Data: data, CRC: crc},
		{Extent: ext(1, 0, 0, 1), W: 1, Data: data, CRC: []uint32{crc[0] ^ 1}},
	} {
		if err := do(s, w); !errors.Is(err, ErrInvalid) {
			t.Errorf("write %d: %v, want ErrInvalid", i, err)
		}
	}
	for i, err := range []error{
		wait(func(done func(error)) { s.Undo(ext(1, 0, 0, 1), 0, done) }),
		wait(func(done func(error)) { s.Settle(vol(1), 0, done) }),
		wait(func(done func(error)) { s.DropVolume(vol(0), done) }),
		wait(func(done func(error)) { s.PutMeta("", nil, done) }),
		wait(func(done func(error)) { s.PutMeta("x", make([]byte, MaxMetaValue+1), done) }),
		wait(func(done func(error)) { s.PutMeta(strings.Repeat("k", MaxMetaKey+1), nil, done) }),
		wait(func(done func(error)) {
			s.Read(&Read{Extent: ext(1, 0, 0, 1), Done: func(_ *Read, err error) { done(err) }})
		}),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("request %d: %v, want ErrInvalid", i, err)
		}
	}
	closeAndCheck(t, s)
	if err := write(s, ext(1, 0, 0, 1), 1, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("write after Close: %v", err)
	}
	if err := s.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}

// TestFormatRefuses what it must not overwrite.
func TestFormatRefuses(t *testing.T) {
	dev := newMem(t, 1000, true)
	if _, err := Open(t.Context(), dev, Options{}); !errors.Is(err, ErrForeign) {
		t.Fatalf("open of an empty device: %v", err)
	}
	dev.Poke(100*BlockSize+77, []byte{1})
	o := formatOptions()
	if err := Format(t.Context(), dev, o); !errors.Is(err, ErrForeign) {
		t.Fatalf("format over data: %v", err)
	}
	raid := newMem(t, 1000, true)
	raid.Poke(998*BlockSize, []byte("\xfc\x4e\x2b\xa9")) // a superblock 1.0 of md, and nothing else
	err := Format(t.Context(), raid, o)
	if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "RAID") {
		t.Fatalf("format over a RAID member: %v", err)
	}
	o.Force = true
	must(t, Format(t.Context(), dev, o))
	again := formatOptions()
	again.DeviceUUID = device(2)
	if err := Format(t.Context(), dev, again); !errors.Is(err, ErrForeign) {
		t.Fatalf("format over a store of this cluster: %v", err)
	}
	other := o
	other.ClusterID = uuid("33333333-3333-3333-3333-333333333333")
	if err := Format(t.Context(), dev, other); !errors.Is(err, ErrForeign) {
		t.Fatalf("forced format over a store of another cluster: %v", err)
	}
	s := open(t, dev)
	must(t, write(s, ext(1, 0, 0, 1), seq(1, 1), 1))
	closeAndCheck(t, s)
	if _, err := Open(t.Context(), dev, Options{ClusterID: other.ClusterID}); !errors.Is(err, ErrForeign) ||
		errors.Is(err, ErrWrongDevice) {
		t.Fatalf("open for another cluster: %v", err)
	}
	if _, err := Open(t.Context(), dev, Options{DeviceUUID: device(2)}); !errors.Is(err, ErrWrongDevice) {
		t.Fatalf("open as another device: %v", err)
	}
	if err := Wipe(t.Context(), dev, device(2)); !errors.Is(err, ErrForeign) {
		t.Fatalf("wiped as another device: %v", err)
	}
	must(t, Wipe(t.Context(), dev, device(1)))
	if err := Wipe(t.Context(), dev, device(1)); !errors.Is(err, ErrForeign) {
		t.Fatalf("wiped again: %v", err)
	}
	other.Force = false
	must(t, Format(t.Context(), dev, other))
	if _, err := Open(t.Context(), dev, Options{ClusterID: o.ClusterID}); !errors.Is(err, ErrForeign) {
		t.Fatalf("open after it went to another cluster: %v", err)
	}
	for _, blocks := range []int64{1, 8, 40} {
		if err := Format(t.Context(), newMem(t, blocks, true), formatOptions()); err == nil {
			t.Fatalf("formatted %d blocks", blocks)
		}
	}
}

// TestReformattedDeviceForgets formats a device again under the same UUID: nothing of before may come back.
func TestReformattedDeviceForgets(t *testing.T) {
	dev := formatted(t, 1000, 0)
	s := open(t, dev)
	must(t, write(s, ext(1, 0, 0, 1), seq(1, 1), 1))
	closeAndCheck(t, s)
	o := formatOptions()
	o.Force = true
	must(t, Format(t.Context(), dev, o))
	s = open(t, dev)
	expectState(t, s, ext(1, 0, 0, 1), 0, pagemap.Absent)
	if st := s.Stats(); st.LiveBlocks != 0 || st.Incarnation < 4 {
		t.Fatalf("%+v", st)
	}
	closeAndCheck(t, s)
}

func TestLayoutFitsEveryDevice(t *testing.T) {
	for total := uint64(60); total < 1<<32; total += total/7 + 1 {
		l, err := newLayout(total, 16, 512)
		if err != nil {
			if total > 200 {
				t.Fatalf("%d blocks: %v", total, err)
			}
			continue
		}
		if l.dataStart+l.dataBlocks > total || l.ckptBlocks < ckptBlocks(total, l.dataBlocks) ||
			l.validate(total) != nil || l.validate(total-1) == nil {
			t.Fatalf("%d blocks: %+v", total, l)
		}
		if total > 1<<16 && float64(l.dataBlocks) < 0.95*float64(total) {
			t.Fatalf("%d blocks: only %d for data", total, l.dataBlocks)
		}
	}
}
