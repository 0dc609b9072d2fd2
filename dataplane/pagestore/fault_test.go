package pagestore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// located finds where a version lies on the device, in bytes.
func located(t *testing.T, s *Store, e pagemap.Extent, w cluster.Seq) int64 {
	t.Helper()
	out := make([]pagemap.Version, e.N)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.m.Exact(e, w, out); out[0].State == pagemap.Absent {
		t.Fatalf("%v at %v is absent", e, w)
	}
	return s.lay.dataOffset(out[0].Loc)
}

// TestRotIsFoundAndRepaired: a block that fails its checksum is reported, never returned, hides what is
// older, and is replaced by writing the same version again.
func TestRotIsFoundAndRepaired(t *testing.T) {
	dev := formatted(t, 1000, 0)
	s := open(t, dev)
	must(t, write(s, ext(1, 0, 0, 4), seq(1, 1), 1))
	must(t, write(s, ext(1, 0, 0, 4), seq(1, 2), 2))
	must(t, write(s, ext(1, 1, 0, 1), seq(1, 3), 3)) // the log says that what came before is durable
	dev.Corrupt(located(t, s, ext(1, 0, 2, 1), seq(1, 2))+1234, 0x10)
	for range 2 { // before and after a restart
		expectState(t, s, ext(1, 0, 0, 4), 0, pagemap.Data, pagemap.Data, pagemap.Bad, pagemap.Data)
		if data, info := read(t, s, ext(1, 0, 2, 1), 0); info[0].W != seq(1, 2) || data[1234] != 0 {
			t.Fatalf("a bad block gave %+v", info[0])
		}
		if st := s.Stats(); st.BadVersions != 1 {
			t.Fatalf("stats %+v", st)
		}
		if rep := closeAndCheck(t, s); len(rep.BadData) != 1 {
			t.Fatalf("bad data %v", rep.BadData)
		}
		s = open(t, dev)
	}
	expectState(t, s, ext(1, 0, 2, 1), 0, pagemap.Bad) // noticed again
	must(t, write(s, ext(1, 0, 0, 4), seq(1, 2), 2))
	expect(t, s, ext(1, 0, 0, 4), seq(1, 2), 2)
	if rep := closeAndCheck(t, s); len(rep.BadData) != 0 || rep.Usage.Bad != 0 {
		t.Fatalf("after the repair %+v", rep)
	}
	s = open(t, dev)
	expect(t, s, ext(1, 0, 0, 4), seq(1, 2), 2)
	closeAndCheck(t, s)
}

func TestUnreadableBlocksAreBadAndTheirNeighboursAreNot(t *testing.T) {
	dev := formatted(t, 1000, 0)
	s := open(t, dev)
	must(t, write(s, ext(1, 0, 0, 8), seq(1, 1), 1))
	at := located(t, s, ext(1, 0, 5, 1), seq(1, 1))
	dev.Inject(blockdev.Fault{Kind: blockdev.ReadError, Off: at, Len: BlockSize})
	_, info := read(t, s, ext(1, 0, 0, 8), 0)
	for i := range info {
		if want := i == 5; (info[i].State == pagemap.Bad) != want {
			t.Errorf("block %d is %v", i, info[i].State)
		}
	}
	dev.Heal()
	must(t, write(s, ext(1, 0, 0, 8), seq(1, 1), 1))
	expect(t, s, ext(1, 0, 0, 8), seq(1, 1), 1)
	closeAndCheck(t, s)
}

// TestLostAndMisdirectedWrites reach the medium nowhere, or elsewhere, and are found at the next read.
func TestLostAndMisdirectedWrites(t *testing.T) {
	dev := formatted(t, 1000, 0)
	s := open(t, dev)
	data := int64(s.lay.dataStart) * BlockSize
	for i, kind := range []blockdev.FaultKind{blockdev.LostWrite, blockdev.MisdirectedWrite} {
		dev.Inject(blockdev.Fault{Kind: kind, Off: data, Left: 1})
		page := uint64(i)
		must(t, write(s, ext(1, page, 0, 1), seq(1, uint64(i)+1), 7))
		dev.Heal()
		expectState(t, s, ext(1, page, 0, 1), 0, pagemap.Bad)
	}
}

// TestFailedDataWrite fails one request; the store goes on.
func TestFailedDataWrite(t *testing.T) {
	dev := formatted(t, 1000, 0)
	s := open(t, dev)
	dev.Inject(blockdev.Fault{Kind: blockdev.WriteError, Off: int64(s.lay.dataStart) * BlockSize, Left: 1})
	if err := write(s, ext(1, 0, 0, 1), seq(1, 1), 1); !errors.Is(err, ErrIO) {
		t.Fatalf("write: %v, want ErrIO", err)
	}
	must(t, write(s, ext(1, 0, 1, 1), seq(1, 2), 2))
	if _, info := read(t, s, ext(1, 0, 0, 1), 0); info[0].State == pagemap.Data {
		t.Fatalf("the block that was not written is %v", info[0].State)
	}
	must(t, write(s, ext(1, 0, 0, 1), seq(1, 1), 1)) // again: it is replaced
	expect(t, s, ext(1, 0, 0, 1), seq(1, 1), 1)
	closeAndCheck(t, s)
	s = open(t, dev)
	expect(t, s, ext(1, 0, 0, 1), seq(1, 1), 1)
	expect(t, s, ext(1, 0, 1, 1), seq(1, 2), 2)
	closeAndCheck(t, s)
}

// TestLostLogOrFlushStopsWrites: when the device fails the log, nothing more can be promised; reads go on.
func TestLostLogOrFlushStopsWrites(t *testing.T) {
	for _, kind := range []blockdev.FaultKind{blockdev.WriteError, blockdev.FlushError} {
		dev := formatted(t, 1000, 0)
		s := open(t, dev)
		must(t, write(s, ext(1, 0, 0, 1), seq(1, 1), 1))
		log := int64(s.lay.logStart) * BlockSize
		dev.Inject(blockdev.Fault{Kind: kind, Off: log, Len: int64(s.lay.logBlocks) * BlockSize, Left: 1})
		for i := range uint64(3) {
			if err := write(s, ext(1, 1, 0, 1), seq(1, 2+i), 2); !errors.Is(err, ErrIO) {
				t.Fatalf("fault %d, write %d: %v, want ErrIO", kind, i, err)
			}
		}
		expect(t, s, ext(1, 0, 0, 1), seq(1, 1), 1)
		must(t, s.Close())
		s = open(t, dev)
		expect(t, s, ext(1, 0, 0, 1), seq(1, 1), 1)
		closeAndCheck(t, s)
	}
}

// TestLostLogBlockIsDamage loses an acknowledged log block: the device must not come up as if nothing had
// been.
func TestLostLogBlockIsDamage(t *testing.T) {
	dev := formatted(t, 1000, 0)
	s := open(t, dev)
	must(t, write(s, ext(1, 0, 0, 1), seq(1, 1), 1))
	dev.Inject(blockdev.Fault{Kind: blockdev.LostWrite, Off: int64(s.lay.logStart) * BlockSize,
		Len: int64(s.lay.logBlocks) * BlockSize, Left: 1})
	for i := range uint64(3) {
		must(t, write(s, ext(1, 0, 0, 1), seq(1, 2+i), 2))
	}
	must(t, s.Close())
	if _, err := Open(t.Context(), dev, Options{}); !errors.Is(err, ErrDamaged) {
		t.Fatalf("open: %v, want ErrDamaged", err)
	}
	if _, err := Check(t.Context(), dev, CheckOptions{}); !errors.Is(err, ErrDamaged) {
		t.Fatalf("check: %v, want ErrDamaged", err)
	}
}

// TestDamagedMetadata flips one bit of each structure in turn.
func TestDamagedMetadata(t *testing.T) {
	dev := formatted(t, 1000, 0)
	s := open(t, dev)
	for i := range uint64(4) {
		must(t, write(s, ext(1, i, 0, 4), seq(1, 1+i), i))
	}
	must(t, s.Close())
	sb, err := newestSuper(t.Context(), dev)
	must(t, err)
	first, last := sb.ckpt.logNext, s.mu.log.next
	for _, c := range []struct {
		name string
		off  []int64
		want error
	}{
		{"one superblock", []int64{77}, nil},
		{"the version of a superblock", []int64{5}, nil},
		{"the versions of both", []int64{5, 999*BlockSize + 5}, ErrDamaged},
		{"the other superblock", []int64{999*BlockSize + 200}, nil},
		{"both superblocks", []int64{77, 999*BlockSize + 200}, ErrDamaged},
		{"checkpoint in one area", []int64{sb.lay.area(0).offset(sb.ckpt.head-1) + 100}, nil},
		{"checkpoint in the other", []int64{sb.lay.area(1).offset(sb.ckpt.head-1) + 100}, nil},
		{"checkpoint in both", []int64{sb.lay.area(0).offset(sb.ckpt.head-1) + 100,
			sb.lay.area(1).offset(sb.ckpt.head-1) + 200}, ErrDamaged},
		{"one segment in one area, one in the other", []int64{sb.lay.area(0).offset(sb.ckpt.head-1) + 100,
			sb.lay.area(1).offset(sb.ckpt.tail) + 100}, nil},
		{"first log block", []int64{sb.lay.log().offset(first) + 80}, ErrDamaged},
		{"unused log", []int64{sb.lay.log().offset(last) + 80}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			clone := dev.CrashClone(1)
			defer clone.Close()
			for _, off := range c.off {
				clone.Corrupt(off, 1)
			}
			s, err := Open(t.Context(), clone, Options{})
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if err == nil {
				expect(t, s, ext(1, 3, 0, 4), seq(1, 4), 3)
				closeAndCheck(t, s)
			}
		})
	}
}

// TestTornWriteStaysTorn (counterexample A10): the log record of a write is durable, its data is not. The
// version stays, as torn; the older one never takes its place, and an open or a repair decides.
func TestTornWriteStaysTorn(t *testing.T) {
	for _, cache := range []bool{false, true} {
		dev := newMem(t, 1000, cache)
		must(t, Format(t.Context(), dev, formatOptions()))
		s := open(t, dev)
		must(t, write(s, ext(1, 0, 0, 1), seq(1, 1), 1))
		dev.Manual(true)
		data, crc := fill(1, 2)
		s.Write(&Write{Extent: ext(1, 0, 0, 1), W: seq(1, 2), Data: data, CRC: crc, Columns: columnsOf(2, 1),
			Done: func(*Write, error) { t.Error("acknowledged without data") }})
		if dev.Pending() != 2 {
			t.Fatalf("%d operations, want data and log in parallel", dev.Pending())
		}
		dev.Step(1) // the log
		if cache {
			dev.Submit(&blockdev.Op{Kind: blockdev.Flush, Done: func(*blockdev.Op, error) {}})
			dev.Step(1)
		}
		seed := uint64(0)
		for ; ; seed++ { // a cut after which nothing of the data is there
			c := dev.CrashClone(seed)
			got := make([]byte, BlockSize)
			c.Peek(located(t, s, ext(1, 0, 0, 1), seq(1, 1))+BlockSize, got)
			_ = c.Close()
			if checksum(got) != crc[0] {
				break
			}
		}
		dev.Crash(seed)
		dev.Manual(false)
		s = open(t, dev)
		expectState(t, s, ext(1, 0, 0, 1), 0, pagemap.Torn)
		expectState(t, s, ext(1, 0, 0, 1), seq(1, 1), pagemap.Data)
		if n, _, _ := s.List(vol(1), ListUnstable, pagemap.Cursor{}, make([]pagemap.Entry, 4)); n != 2 {
			t.Fatalf("%d unstable versions, want both", n)
		}
		must(t, write(s, ext(1, 0, 0, 1), seq(1, 2), 2)) // forward
		expect(t, s, ext(1, 0, 0, 1), seq(1, 2), 2)
		must(t, wait(func(done func(error)) { s.Undo(ext(1, 0, 0, 1), seq(1, 2), done) })) // or back
		expect(t, s, ext(1, 0, 0, 1), seq(1, 1), 1)
		closeAndCheck(t, s)
	}
}

// TestCloseWaitsForAStalledDevice and reports what was in flight.
func TestCloseWaitsForAStalledDevice(t *testing.T) {
	dev := formatted(t, 1000, 0)
	s := open(t, dev)
	dev.Inject(blockdev.Fault{Kind: blockdev.Stall})
	data, crc := fill(1, 1)
	done, closed := make(chan error, 1), make(chan error, 1)
	s.Write(&Write{Extent: ext(1, 0, 0, 1), W: 1, Data: data, CRC: crc, Columns: columnsOf(1, 1),
		Done: func(_ *Write, err error) { done <- err }})
	go func() { closed <- s.Close() }()
	for dev.Stalled() < 2 {
		select {
		case err := <-closed:
			t.Fatalf("closed with a write in flight: %v", err)
		case err := <-done:
			t.Fatalf("answered by a stalled device: %v", err)
		default:
		}
	}
	dev.Heal()
	must(t, <-done)
	must(t, <-closed)
}

// TestWrongDeviceAtThePath and truncated devices are refused.
func TestWrongDeviceAtThePath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	dev, err := blockdev.OpenFile(path, blockdev.FileOptions{Create: 1000 * BlockSize})
	must(t, err)
	must(t, Format(t.Context(), dev, formatOptions()))
	must(t, dev.Close())
	must(t, os.Truncate(path, 999*BlockSize))
	dev, err = blockdev.OpenFile(path, blockdev.FileOptions{})
	must(t, err)
	defer dev.Close()
	if _, err := Open(t.Context(), dev, Options{}); !errors.Is(err, ErrDamaged) {
		t.Fatalf("open of a truncated device: %v, want ErrDamaged", err)
	}
}
