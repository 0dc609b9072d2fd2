package blockdev

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"
)

// TestPinnedMemoryIsRegistered writes and reads bursts, from and to the middle of pinned memory and memory
// beside it: the ring knows which is which, and the data arrives.
func TestPinnedMemoryIsRegistered(t *testing.T) {
	const piece, n = 64 << 10, 3 * loneOps
	all, err := mapMemory(3 * piece)
	if err != nil {
		t.Fatal(err)
	}
	defer unmapMemory(all)
	first, beside, second := all[:piece], all[piece:2*piece], all[2*piece:]
	f, err := OpenFile(filepath.Join(t.TempDir(), "disk"),
		FileOptions{Create: 1 << 20, Engine: EngineURing, Pinned: [][]byte{first, second}})
	if err != nil {
		t.Skip(err)
	}
	r := f.eng.(*ring)
	if len(r.pinned) != 3 {
		t.Skipf("%d of 3 buffers are registered: the limit of locked memory is low", len(r.pinned))
	}
	for _, c := range []struct {
		p    []byte
		want int
	}{{first[:1], 1}, {first[piece-1:], 1}, {beside, -1}, {second[4096:8192], 2}, {second[piece-1:], 2},
		{make([]byte, 4096), -1}, {nil, -1}} {
		if got := r.registered(c.p); got != c.want {
			t.Errorf("%d bytes: registered buffer %d, want %d", len(c.p), got, c.want)
		}
	}
	burst := func(kind Kind, memory func(i int) []byte) error {
		done, ops := make(chan error, n), []*Op(nil)
		for i := range n {
			ops = append(ops, &Op{Kind: kind, Off: int64(i) * 4096, Buf: memory(i),
				Done: func(_ *Op, err error) { done <- err }})
		}
		f.Submit(ops...)
		var all error
		for range n {
			all = errors.Join(all, <-done)
		}
		return all
	}
	source := func(i int) []byte { return [][]byte{first, beside, second}[i%3][4096*(i/3):][:4096] }
	var want [n][]byte
	for i := range n {
		want[i] = bytes.Repeat([]byte{byte(i + 1)}, 4096)
		copy(source(i), want[i])
	}
	err = burst(Write, source)
	clear(all)
	target := func(i int) []byte { return source((i + 1) % n) }
	if err = errors.Join(err, burst(Read, target), f.Close()); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if !bytes.Equal(target(i), want[i]) {
			t.Errorf("block %d is not what was written", i)
		}
	}
}
