package blockdev_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/blockdev/blockdevtest"
)

func TestMemConforms(t *testing.T) {
	for _, lb := range []int{512, 4096} {
		for _, cache := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d bytes, cache %v", lb, cache), func(t *testing.T) {
				blockdevtest.Run(t, func(*testing.T) blockdev.Device {
					return blockdev.NewMem(blockdev.MemOptions{Size: blockdevtest.Size, LogicalBlock: lb,
						VolatileCache: cache})
				})
			})
			t.Run(fmt.Sprintf("%d bytes, cache %v, slow and thin", lb, cache), func(t *testing.T) {
				blockdevtest.Run(t, func(*testing.T) blockdev.Device {
					m := blockdev.NewMem(blockdev.MemOptions{Size: blockdevtest.Size, LogicalBlock: lb,
						VolatileCache: cache})
					m.SetLatency(blockdev.Latency{Read: 20 * time.Microsecond, Write: 50 * time.Microsecond, Jitter: 1,
						Lanes: 4})
					m.SetLimit(blockdevtest.Size)
					return m
				})
			})
		}
	}
}

// newMem makes a device with a cache, holding old durably and, unsynced, new.
func newMem(t *testing.T, old, new byte) *blockdev.Mem {
	m := blockdev.NewMem(blockdev.MemOptions{Size: 1 << 20, VolatileCache: true})
	t.Cleanup(func() { m.Close() })
	for i, b := range []byte{old, new} {
		buf := bytes.Repeat([]byte{b}, 1<<16)
		if err := blockdevtest.Do(m, &blockdev.Op{Kind: blockdev.Write, Buf: buf}); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if err := blockdevtest.Do(m, &blockdev.Op{Kind: blockdev.Flush}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return m
}

// census tells how many sectors of the first 64 KiB hold old, new and a mix of both.
func census(m *blockdev.Mem, old, new byte) (olds, news, torn int) {
	buf := make([]byte, 1<<16)
	m.Peek(0, buf)
	for ; len(buf) > 0; buf = buf[blockdev.SectorSize:] {
		switch s := buf[:blockdev.SectorSize]; {
		case bytes.Count(s, []byte{old}) == len(s):
			olds++
		case bytes.Count(s, []byte{new}) == len(s):
			news++
		case bytes.Count(s, []byte{old})+bytes.Count(s, []byte{new}) == len(s):
			torn++
		}
	}
	return
}

func TestPowerLossKeepsTearsAndDropsUnsyncedSectors(t *testing.T) {
	m := newMem(t, 1, 2)
	var all, none, some, torn int
	for seed := range uint64(200) {
		o, n, x := census(m.CrashClone(seed), 1, 2)
		if o+n+x != 128 {
			t.Fatalf("seed %d: a sector holds neither old nor new", seed)
		}
		switch {
		case o == 128:
			none++
		case n == 128:
			all++
		default:
			some++
		}
		torn += x
	}
	if all == 0 || none == 0 || some == 0 || torn == 0 {
		t.Fatalf("all %d, none %d, some %d, torn sectors %d: each must happen", all, none, some, torn)
	}
	if _, n, _ := census(m, 1, 2); n != 128 {
		t.Fatal("CrashClone changed the original")
	}
	// In place: the same seed gives the same medium, and what is left is durable.
	c := m.CrashClone(42)
	m.Crash(42)
	a, b := make([]byte, 1<<16), make([]byte, 1<<16)
	c.Peek(0, a)
	m.Peek(0, b)
	m.Crash(43)
	d := make([]byte, 1<<16)
	m.Peek(0, d)
	if !bytes.Equal(a, b) || !bytes.Equal(b, d) {
		t.Fatal("a crash is not a function of its seed, or a second one lost durable data")
	}
}

func TestFlushedDataSurvivesPowerLoss(t *testing.T) {
	m := newMem(t, 1, 2)
	if err := blockdevtest.Do(m, &blockdev.Op{Kind: blockdev.Flush}); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(50) {
		if _, n, _ := census(m.CrashClone(seed), 1, 2); n != 128 {
			t.Fatalf("seed %d: %d of 128 flushed sectors are left", seed, n)
		}
	}
}

func TestOperationsInFlightMayLandInPart(t *testing.T) {
	for _, cache := range []bool{false, true} {
		m := blockdev.NewMem(blockdev.MemOptions{Size: 1 << 20, VolatileCache: cache})
		m.Manual(true)
		ended := false
		m.Submit(&blockdev.Op{Kind: blockdev.Write, Buf: bytes.Repeat([]byte{2}, 1<<16),
			Done: func(*blockdev.Op, error) { ended = true }})
		landed := map[bool]int{}
		for seed := range uint64(50) {
			_, n, _ := census(m.CrashClone(seed), 0, 2)
			landed[n > 0]++
		}
		if landed[true] == 0 || landed[false] == 0 {
			t.Fatalf("cache %v: a write in flight landed in part or not at all: %v", cache, landed)
		}
		m.Crash(1)
		if m.Pending() != 0 || ended {
			t.Fatal("a crash forgets what is in flight and reports nothing")
		}
	}
}

func TestPowerOffAfter(t *testing.T) {
	m := blockdev.NewMem(blockdev.MemOptions{Size: 1 << 20})
	defer m.Close()
	m.PowerOffAfter(1)
	for i := range 3 {
		err := blockdevtest.Do(m, &blockdev.Op{Kind: blockdev.Write, Buf: make([]byte, 512)})
		if (err == nil) != (i == 0) || i > 0 && !errors.Is(err, blockdev.ErrIO) {
			t.Fatalf("operation %d: %v", i, err)
		}
	}
	m.Crash(1)
	if err := blockdevtest.Do(m, &blockdev.Op{Kind: blockdev.Flush}); err != nil {
		t.Fatalf("after power came back: %v", err)
	}
}

func TestFaults(t *testing.T) {
	block := func(b byte) []byte { return bytes.Repeat([]byte{b}, 4096) }
	write := func(m *blockdev.Mem, b byte) error {
		return blockdevtest.Do(m, &blockdev.Op{Kind: blockdev.Write, Off: 4096, Buf: block(b)})
	}
	read := func(m *blockdev.Mem) ([]byte, error) {
		buf := make([]byte, 4096)
		return buf, blockdevtest.Do(m, &blockdev.Op{Kind: blockdev.Read, Off: 4096, Buf: buf})
	}
	for _, c := range []struct {
		fault              blockdev.FaultKind
		write, read, flush error
		intact             bool // the new block is read
	}{
		{blockdev.ReadError, nil, blockdev.ErrIO, nil, false},
		{blockdev.WriteError, blockdev.ErrIO, nil, nil, false},
		{blockdev.FlushError, nil, nil, blockdev.ErrIO, true},
		{blockdev.BitRot, nil, nil, nil, false},
		{blockdev.LostWrite, nil, nil, nil, false},
		{blockdev.LostFlush, nil, nil, nil, true},
		{blockdev.TornWrite, blockdev.ErrIO, nil, nil, false},
		{blockdev.Gone, blockdev.ErrGone, blockdev.ErrGone, blockdev.ErrGone, false},
	} {
		m := blockdev.NewMem(blockdev.MemOptions{Size: 1 << 20, VolatileCache: true})
		defer m.Close()
		m.Inject(blockdev.Fault{Kind: c.fault, Off: 4096, Len: 4096})
		errW := write(m, 5)
		got, errR := read(m)
		errF := blockdevtest.Do(m, &blockdev.Op{Kind: blockdev.Flush})
		if !errors.Is(errW, c.write) || !errors.Is(errR, c.read) || !errors.Is(errF, c.flush) {
			t.Errorf("fault %d: write %v, read %v, flush %v", c.fault, errW, errR, errF)
		}
		if bytes.Equal(got, block(5)) != c.intact {
			t.Errorf("fault %d: block intact %v, want %v", c.fault, !c.intact, c.intact)
		}
		m.Heal()
		if _, err := read(m); err != nil {
			t.Errorf("fault %d: after Heal: %v", c.fault, err)
		}
	}
}

func TestMisdirectedAndLimitedFaults(t *testing.T) {
	m := blockdev.NewMem(blockdev.MemOptions{Size: 1 << 20, LogicalBlock: 4096})
	defer m.Close()
	m.Inject(blockdev.Fault{Kind: blockdev.MisdirectedWrite, Left: 1})
	want := bytes.Repeat([]byte{9}, 4096)
	for range 2 {
		if err := blockdevtest.Do(m, &blockdev.Op{Kind: blockdev.Write, Off: 8192, Buf: want}); err != nil {
			t.Fatal(err)
		}
	}
	all := make([]byte, 1<<20)
	m.Peek(0, all)
	if n := bytes.Count(all, []byte{9}); n != 8192 || !bytes.Equal(all[8192:12288], want) {
		t.Fatalf("%d bytes written, want one block astray and one in place", n)
	}
}

func TestStallHoldsUntilHeal(t *testing.T) {
	m := blockdev.NewMem(blockdev.MemOptions{Size: 1 << 20})
	defer m.Close()
	m.Inject(blockdev.Fault{Kind: blockdev.Stall})
	done := make(chan error, 1)
	m.Submit(&blockdev.Op{Kind: blockdev.Read, Buf: make([]byte, 512),
		Done: func(_ *blockdev.Op, err error) { done <- err }})
	for m.Stalled() == 0 { // the worker picks it up
		select {
		case err := <-done:
			t.Fatalf("a stalled read ended: %v", err)
		default:
		}
	}
	m.Heal()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestATornWriteLeavesSomeSectors(t *testing.T) {
	var parts int
	for seed := range uint64(50) {
		m := blockdev.NewMem(blockdev.MemOptions{Size: 1 << 20, Seed: seed})
		m.Inject(blockdev.Fault{Kind: blockdev.TornWrite})
		err := blockdevtest.Do(m, &blockdev.Op{Kind: blockdev.Write, Buf: bytes.Repeat([]byte{2}, 1<<16)})
		if !errors.Is(err, blockdev.ErrIO) {
			t.Fatal(err)
		}
		if olds, news, torn := census(m, 0, 2); olds+news+torn != 128 {
			t.Fatal("a sector holds neither old nor new")
		} else if olds > 0 && news > 0 {
			parts++
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if parts < 25 {
		t.Fatalf("%d of 50 torn writes left a part", parts)
	}
}

// TestAThinDeviceFillsUp: what was written can be written again, and a discard makes room.
func TestAThinDeviceFillsUp(t *testing.T) {
	m := blockdev.NewMem(blockdev.MemOptions{Size: 1 << 20, LogicalBlock: 4096})
	defer m.Close()
	do := func(kind blockdev.Kind, block int64) error {
		return blockdevtest.Do(m, &blockdev.Op{Kind: kind, Off: block * 4096, Len: 4096,
			Buf: bytes.Repeat([]byte{byte(block)}, 4096)})
	}
	if err := do(blockdev.Write, 9); err != nil {
		t.Fatal(err)
	}
	m.SetLimit(3 * 4096)
	for i, step := range []struct {
		kind  blockdev.Kind
		block int64
		want  error
	}{
		{blockdev.Write, 1, nil}, {blockdev.Write, 2, nil},
		{blockdev.Write, 3, blockdev.ErrNoSpace}, // 9 is held, too
		{blockdev.Write, 2, nil}, {blockdev.Read, 3, nil},
		{blockdev.Discard, 9, nil}, {blockdev.Discard, 9, nil},
		{blockdev.Write, 3, nil}, {blockdev.Write, 4, blockdev.ErrNoSpace},
	} {
		if err := do(step.kind, step.block); !errors.Is(err, step.want) || (err == nil) != (step.want == nil) {
			t.Fatalf("step %d, %v of block %d: %v, want %v", i, step.kind, step.block, err, step.want)
		}
	}
	if c := m.CrashClone(1); !errors.Is(blockdevtest.Do(c, &blockdev.Op{Kind: blockdev.Write, Off: 1 << 19,
		Buf: make([]byte, 4096)}), blockdev.ErrNoSpace) {
		t.Fatal("a crash made room")
	}
	m.SetLimit(0)
	if err := do(blockdev.Write, 4); err != nil {
		t.Fatal(err)
	}
}

// TestLatency: operations take the time of the model, side by side as far as there are lanes, and overtake.
func TestLatency(t *testing.T) {
	const us = time.Microsecond
	for _, c := range []struct {
		story   string
		latency blockdev.Latency
		ops     []blockdev.Kind
		want    []time.Duration // after the start, by operation
	}{
		{"no time", blockdev.Latency{}, []blockdev.Kind{blockdev.Read, blockdev.Write}, []time.Duration{0, 0}},
		{"by kind, all at once", blockdev.Latency{Read: 80 * us, Write: 20 * us, Flush: 500 * us},
			[]blockdev.Kind{blockdev.Read, blockdev.Write, blockdev.Flush, blockdev.Read},
			[]time.Duration{80 * us, 20 * us, 500 * us, 80 * us}},
		{"one lane", blockdev.Latency{Read: 80 * us, Write: 20 * us, Lanes: 1},
			[]blockdev.Kind{blockdev.Read, blockdev.Write, blockdev.Read},
			[]time.Duration{80 * us, 100 * us, 180 * us}},
		{"two lanes", blockdev.Latency{Read: 80 * us, Write: 20 * us, Lanes: 2},
			[]blockdev.Kind{blockdev.Read, blockdev.Write, blockdev.Write, blockdev.Read},
			[]time.Duration{80 * us, 20 * us, 40 * us, 120 * us}},
		{"bytes count", blockdev.Latency{Write: 10 * us, PerMiB: 256 * us},
			[]blockdev.Kind{blockdev.Write}, []time.Duration{11 * us}},
	} {
		t.Run(c.story, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := blockdev.NewMem(blockdev.MemOptions{Size: 1 << 20})
				m.SetLatency(c.latency)
				start, took, ended := time.Now(), make([]time.Duration, len(c.ops)), make(chan error)
				for i, kind := range c.ops {
					m.Submit(&blockdev.Op{Kind: kind, Buf: make([]byte, 4096), Done: func(_ *blockdev.Op, err error) {
						took[i] = time.Since(start)
						ended <- err
					}})
				}
				for range c.ops {
					if err := <-ended; err != nil {
						t.Fatal(err)
					}
				}
				if !slices.Equal(took, c.want) {
					t.Errorf("took %v, want %v", took, c.want)
				}
				if err := m.Close(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// TestCrashWithOperationsThatTakeTime: they are in flight, and a crash forgets them.
func TestCrashWithOperationsThatTakeTime(t *testing.T) {
	m := blockdev.NewMem(blockdev.MemOptions{Size: 1 << 20})
	defer m.Close()
	m.SetLatency(blockdev.Latency{Write: time.Hour})
	m.Submit(&blockdev.Op{Kind: blockdev.Write, Buf: bytes.Repeat([]byte{2}, 1<<16),
		Done: func(*blockdev.Op, error) { t.Error("an operation survived the crash") }})
	landed := map[bool]int{}
	for seed := range uint64(50) {
		_, n, _ := census(m.CrashClone(seed), 0, 2)
		landed[n > 0]++
	}
	if landed[true] == 0 || landed[false] == 0 {
		t.Fatalf("the write landed in part or not at all: %v", landed)
	}
	m.Crash(1)
}
