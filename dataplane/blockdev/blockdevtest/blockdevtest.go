// Package blockdevtest checks that an implementation of blockdev.Device keeps the contract of that package.
// Every implementation runs Run; Do is the synchronous call that tests and tools need.
package blockdevtest

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
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
		{"a new device reads as zeros", newIsZero},
		{"a completed write is read back", readBack},
		{"many operations of one Submit end once each, none inside Submit", manyOps},
		{"a wrong range is refused and changes nothing", wrongRange},
		{"flush and discard succeed", flushDiscard},
		{"random operations read like a byte array", likeAnArray},
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
	rng := rand.New(rand.NewPCG(seed, 3))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
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
