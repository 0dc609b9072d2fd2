// Package blockdevtest checks that an implementation of blockdev.Device keeps the contract of that package.
// Every implementation runs Run; Do is the synchronous call that tests and tools need.
package blockdevtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
)

// Size is the smallest device, in bytes, that Run accepts.
const Size = 1 << 20

// Do carries operations out and waits for all of them. Their Done is overwritten. The result joins their
// errors.
func Do(dev blockdev.Device, ops ...*blockdev.Op) error {
	results := make(chan error, len(ops))
	for _, o := range ops {
		o.Done = func(_ *blockdev.Op, err error) { results <- err }
	}
	dev.Submit(ops...)
	var errs []error
	for range ops {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

// Run checks a new device full of zeros from open, which closes it by itself only if the test does not.
func Run(t *testing.T, open func(t *testing.T) blockdev.Device) {
	for _, c := range []struct {
		name string
		test func(*testing.T, blockdev.Device)
	}{
		{"the geometry makes sense", geometry},
		{"a new device reads as zeros", newIsZero},
		{"a completed write is read back", readBack},
		{"many operations of one Submit end once each, none inside Submit", manyOps},
		{"more operations than any queue holds, half of them submitted by a Done", chained},
		{"buffers at odd addresses, of one block and of many", oddBuffers},
		{"several goroutines submit at once", concurrent},
		{"a wrong range is refused and changes nothing", wrongRange},
		{"flush and discard succeed", flushDiscard},
		{"what is discarded reads as zeros or as before", discarded},
		{"random operations read like a byte array", likeAnArray},
		{"Close waits for what is in flight", closeWaits},
		{"a closed device refuses operations", closed},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pattern(n int, seed uint64) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

func geometry(t *testing.T, dev blockdev.Device) {
	g := dev.Geometry()
	power := func(n int) bool { return n > 0 && n&(n-1) == 0 }
	if g.Size < Size || g.Size%int64(g.LogicalBlock) != 0 || !power(g.LogicalBlock) || !power(g.PhysicalBlock) ||
		g.LogicalBlock < blockdev.SectorSize || g.PhysicalBlock < g.LogicalBlock ||
		g.Engine == blockdev.EngineAuto || g.Discard.Granularity < 0 || g.Discard.Max < g.Discard.Granularity {
		t.Fatalf("geometry %+v", g)
	}
	must(t, dev.Close())
}

func newIsZero(t *testing.T, dev blockdev.Device) {
	buf := pattern(int(dev.Geometry().Size), 1)
	must(t, Do(dev, &blockdev.Op{Kind: blockdev.Read, Buf: buf}))
	if !bytes.Equal(buf, make([]byte, len(buf))) {
		t.Fatal("a new device holds data")
	}
	must(t, dev.Close())
}

func readBack(t *testing.T, dev blockdev.Device) {
	want := pattern(8192, 2)
	last := dev.Geometry().Size - int64(len(want))
	for _, off := range []int64{0, 4096 * 5, last} {
		must(t, Do(dev, &blockdev.Op{Kind: blockdev.Write, Off: off, Buf: want}))
		got := make([]byte, len(want))
		must(t, Do(dev, &blockdev.Op{Kind: blockdev.Read, Off: off, Buf: got}))
		if !bytes.Equal(got, want) {
			t.Fatalf("read at %d differs from what was written", off)
		}
	}
	must(t, dev.Close())
}

func manyOps(t *testing.T, dev blockdev.Device) {
	const n = 64
	lb := int64(dev.Geometry().LogicalBlock)
	var ends [n]atomic.Int32
	var inside atomic.Int32
	done := make(chan error, 2*n)
	ops := make([]*blockdev.Op, n)
	for i := range ops {
		ops[i] = &blockdev.Op{Kind: blockdev.Write, Off: int64(i) * lb, Buf: pattern(int(lb), uint64(i)),
			Done: func(_ *blockdev.Op, err error) {
				ends[i].Add(1)
				inside.Add(onSameGoroutine())
				done <- err
			}}
	}
	dev.Submit()
	dev.Submit(ops...)
	for range ops {
		must(t, <-done)
	}
	must(t, dev.Close())
	for i := range ends {
		if ends[i].Load() != 1 {
			t.Fatalf("operation %d ended %d times", i, ends[i].Load())
		}
	}
	if inside.Load() != 0 {
		t.Fatal("Done was called inside Submit")
	}
}

// chained fills the device with four times as many writes as any engine holds in flight; each of the first
// half submits one of the second from its Done.
func chained(t *testing.T, dev blockdev.Device) {
	const n = 512
	lb := int64(dev.Geometry().LogicalBlock)
	n2 := min(int64(n), dev.Geometry().Size/lb)
	done := make(chan error, n2)
	ops := make([]*blockdev.Op, n2)
	for i := range ops {
		ops[i] = &blockdev.Op{Kind: blockdev.Write, Off: int64(i) * lb, Buf: pattern(int(lb), uint64(i)),
			Done: func(_ *blockdev.Op, err error) {
				if i < len(ops)/2 {
					dev.Submit(ops[len(ops)/2+i])
				}
				done <- err
			}}
	}
	dev.Submit(ops[:len(ops)/2]...)
	for range ops {
		must(t, <-done)
	}
	for i, o := range ops {
		got := make([]byte, lb)
		must(t, Do(dev, &blockdev.Op{Kind: blockdev.Read, Off: o.Off, Buf: got}))
		if !bytes.Equal(got, o.Buf) {
			t.Fatalf("block %d differs from what was written", i)
		}
	}
	must(t, dev.Close())
}

func oddBuffers(t *testing.T, dev blockdev.Device) {
	lb := dev.Geometry().LogicalBlock
	for _, blocks := range []int{1, 3, 200000 / lb} {
		for _, shift := range []int{1, 8, 512} {
			want := pattern(shift+blocks*lb, uint64(shift))[shift:]
			got := make([]byte, shift+blocks*lb+1)[shift : shift+blocks*lb]
			must(t, Do(dev, &blockdev.Op{Kind: blockdev.Write, Off: int64(lb), Buf: want}))
			must(t, Do(dev, &blockdev.Op{Kind: blockdev.Read, Off: int64(lb), Buf: got}))
			if !bytes.Equal(got, want) {
				t.Fatalf("%d blocks at %d bytes from an aligned address differ", blocks, shift)
			}
		}
	}
	// Many at once, and some that are larger than the memory that an engine may copy through.
	for _, c := range []struct{ n, size int }{{64, lb}, {7, 136 << 10}} {
		ops := make([]*blockdev.Op, c.n)
		for i := range ops {
			ops[i] = &blockdev.Op{Kind: blockdev.Write, Off: int64(i * c.size), Buf: pattern(c.size+1, uint64(i))[1:]}
		}
		must(t, Do(dev, ops...))
		reads := make([]*blockdev.Op, c.n)
		for i := range reads {
			reads[i] = &blockdev.Op{Kind: blockdev.Read, Off: ops[i].Off, Buf: make([]byte, c.size+1)[1:]}
		}
		must(t, Do(dev, reads...))
		for i := range ops {
			if !bytes.Equal(reads[i].Buf, ops[i].Buf) {
				t.Fatalf("%d bytes at %d differ from what was written", c.size, ops[i].Off)
			}
		}
	}
	must(t, dev.Close())
}

// concurrent lets goroutines, each on blocks of its own, write and read back with some in flight at once.
func concurrent(t *testing.T, dev blockdev.Device) {
	const goroutines, depth, rounds = 4, 8, 50
	lb := int64(dev.Geometry().LogicalBlock)
	var all sync.WaitGroup
	errs := make(chan error, goroutines)
	for g := range int64(goroutines) {
		all.Go(func() {
			w, r := make([]*blockdev.Op, depth), make([]*blockdev.Op, depth)
			for round := range uint64(rounds) {
				for i := range w {
					off := (g*depth + int64(i)) * lb
					w[i] = &blockdev.Op{Kind: blockdev.Write, Off: off, Buf: pattern(int(lb), round<<16+uint64(off))}
					r[i] = &blockdev.Op{Kind: blockdev.Read, Off: off, Buf: make([]byte, lb)}
				}
				err := errors.Join(Do(dev, w...), Do(dev, r...))
				for i := range w {
					if !bytes.Equal(w[i].Buf, r[i].Buf) {
						err = errors.Join(err, fmt.Errorf("round %d: the block at %d differs", round, w[i].Off))
					}
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	must(t, dev.Close())
}

func wrongRange(t *testing.T, dev blockdev.Device) {
	g := dev.Geometry()
	lb := g.LogicalBlock
	for _, o := range []*blockdev.Op{
		{Kind: blockdev.Read, Off: g.Size, Buf: make([]byte, lb)},
		{Kind: blockdev.Write, Off: g.Size - int64(lb), Buf: make([]byte, 2*lb)},
		{Kind: blockdev.Write, Off: -int64(lb), Buf: make([]byte, lb)},
		{Kind: blockdev.Write, Off: 1, Buf: make([]byte, lb)},
		{Kind: blockdev.Read, Off: 0, Buf: make([]byte, lb+1)},
		{Kind: blockdev.Read, Off: 0},
		{Kind: blockdev.Discard, Off: 0, Len: g.Size + int64(lb)},
		{Kind: blockdev.Write, Off: math.MaxInt64 - int64(lb) + 1, Buf: make([]byte, lb)},
		{Kind: 0, Off: 0, Buf: make([]byte, lb)},
	} {
		if err := Do(dev, o); !errors.Is(err, blockdev.ErrRange) {
			t.Errorf("%v of %d at %d: %v, want ErrRange", o.Kind, len(o.Buf), o.Off, err)
		}
	}
	newIsZero(t, dev)
}

func flushDiscard(t *testing.T, dev blockdev.Device) {
	want := pattern(4096, 3)
	must(t, Do(dev, &blockdev.Op{Kind: blockdev.Write, Off: 8192, Buf: want}))
	must(t, Do(dev, &blockdev.Op{Kind: blockdev.Flush}))
	must(t, Do(dev, &blockdev.Op{Kind: blockdev.Discard, Off: 65536, Len: 65536}))
	got := make([]byte, len(want))
	must(t, Do(dev, &blockdev.Op{Kind: blockdev.Read, Off: 8192, Buf: got}))
	if !bytes.Equal(got, want) {
		t.Fatal("flush or discard changed a block outside their range")
	}
	must(t, dev.Close())
}

func discarded(t *testing.T, dev blockdev.Device) {
	const off, n = 128 << 10, 256 << 10
	want, zero := pattern(n, 4), make([]byte, n)
	must(t, Do(dev, &blockdev.Op{Kind: blockdev.Write, Off: off, Buf: want}))
	must(t, Do(dev, &blockdev.Op{Kind: blockdev.Discard, Off: off, Len: n}))
	got := make([]byte, n)
	must(t, Do(dev, &blockdev.Op{Kind: blockdev.Read, Off: off, Buf: got}))
	for at := 0; at < n; at += 4096 {
		if p := got[at : at+4096]; !bytes.Equal(p, want[at:at+4096]) && !bytes.Equal(p, zero[:4096]) {
			t.Fatalf("the block at %d holds neither zeros nor what it held", off+at)
		}
	}
	must(t, Do(dev, &blockdev.Op{Kind: blockdev.Write, Off: off, Buf: want}))
	must(t, Do(dev, &blockdev.Op{Kind: blockdev.Read, Off: off, Buf: got}))
	if !bytes.Equal(got, want) {
		t.Fatal("a discarded range cannot be written again")
	}
	must(t, dev.Close())
}

func likeAnArray(t *testing.T, dev blockdev.Device) {
	rng := rand.New(rand.NewPCG(4, 4))
	lb := int64(dev.Geometry().LogicalBlock)
	model := make([]byte, 64*lb)
	for i := range 500 {
		at := rng.Int64N(64)
		n := (1 + rng.Int64N(64-at)) * lb
		if rng.IntN(2) == 0 {
			data := pattern(int(n), uint64(i))
			copy(model[at*lb:], data)
			must(t, Do(dev, &blockdev.Op{Kind: blockdev.Write, Off: at * lb, Buf: data}))
			continue
		}
		got := make([]byte, n)
		must(t, Do(dev, &blockdev.Op{Kind: blockdev.Read, Off: at * lb, Buf: got}))
		if !bytes.Equal(got, model[at*lb:at*lb+n]) {
			t.Fatalf("operation %d: %d bytes at %d differ", i, n, at*lb)
		}
	}
	must(t, dev.Close())
}

func closeWaits(t *testing.T, dev blockdev.Device) {
	const n = 200
	var ended atomic.Int32
	ops := make([]*blockdev.Op, n)
	buf := pattern(dev.Geometry().LogicalBlock, 5)
	for i := range ops {
		ops[i] = &blockdev.Op{Kind: blockdev.Write, Off: int64(len(buf) * i), Buf: buf,
			Done: func(_ *blockdev.Op, err error) {
				if err == nil {
					ended.Add(1)
				}
			}}
	}
	dev.Submit(ops...)
	must(t, dev.Close())
	if ended.Load() != n {
		t.Fatalf("%d of %d writes had ended when Close returned", ended.Load(), n)
	}
}

func closed(t *testing.T, dev blockdev.Device) {
	must(t, dev.Close())
	if err := dev.Close(); !errors.Is(err, blockdev.ErrClosed) {
		t.Errorf("second Close: %v, want ErrClosed", err)
	}
	buf := make([]byte, dev.Geometry().LogicalBlock)
	if err := Do(dev, &blockdev.Op{Kind: blockdev.Read, Buf: buf}); !errors.Is(err, blockdev.ErrClosed) {
		t.Errorf("read after Close: %v, want ErrClosed", err)
	}
}
