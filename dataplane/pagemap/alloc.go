package pagemap

import (
	"fmt"
	"math/bits"
)

// MaxBlocks is the largest device, in 4 KiB data blocks (16 TiB).
const MaxBlocks = 1<<32 - 1

// Run is a range of consecutive data blocks of the device.
type Run struct {
	Loc uint64 // first block
	N   uint16
}

// runsTried bounds the search for a run that is long enough before shorter ones are taken.
const runsTried = 32

// allocator is a bitmap of free blocks with a summary above it. It searches from where it last stopped, so
// that writes that come one after the other lie one after the other.
type allocator struct {
	total  uint64
	nfree  uint64
	cursor uint64
	free   bitmap // bit set: block free
	some   bitmap // bit set: that word of free is not zero
}

// bitmap is words of 64 bits.
type bitmap []byte

func (b bitmap) word(i uint64) uint64       { return get64(b[i*wordSize:]) }
func (b bitmap) setWord(i uint64, v uint64) { put64(b[i*wordSize:], v) }
func (b bitmap) words() uint64              { return uint64(len(b) / wordSize) }

func newAllocator(total uint64, mem Memory) allocator {
	words := (total + 63) / 64
	a := allocator{total: total, nfree: total, free: mem(int(words) * wordSize),
		some: mem(int(words+63) / 64 * wordSize)}
	for i := range words {
		a.free.setWord(i, ^uint64(0))
		a.some.setWord(i/64, a.some.word(i/64)|1<<(i%64))
	}
	if r := total % 64; r != 0 {
		a.free.setWord(words-1, 1<<r-1)
	}
	return a
}

func (a *allocator) bytes() uint64 { return uint64(len(a.free) + len(a.some)) }

func (a *allocator) isFree(b uint64) bool { return a.free.word(b/64)>>(b%64)&1 == 1 }

// take takes n blocks from b on, if all of them are free.
func (a *allocator) take(b, n uint64) bool {
	if n > a.total || b > a.total-n || n > 1 && a.length(b, n) < n {
		return false
	}
	for n > 0 {
		w, first := b/64, b%64
		here := min(n, 64-first)
		mask := ^uint64(0) >> (64 - here) << first
		word := a.free.word(w)
		if word&mask != mask {
			return false // the only one
		}
		a.free.setWord(w, word&^mask)
		if word == mask {
			a.some.setWord(w/64, a.some.word(w/64)&^(1<<(w%64)))
		}
		a.nfree -= here
		b, n = b+here, n-here
	}
	return true
}

func (a *allocator) give(b uint64) {
	if b >= a.total || a.isFree(b) {
		panic(fmt.Sprintf("pagemap: block %d freed twice", b))
	}
	w := b / 64
	a.free.setWord(w, a.free.word(w)|1<<(b%64))
	a.some.setWord(w/64, a.some.word(w/64)|1<<(w%64))
	a.nfree++
}

// next finds the first free block not before from, or total.
func (a *allocator) next(from uint64) uint64 {
	if from >= a.total {
		return a.total
	}
	w := from / 64
	if word := a.free.word(w) >> (from % 64); word != 0 {
		return from + uint64(bits.TrailingZeros64(word))
	}
	w++
	for s := w / 64; s < a.some.words(); s++ {
		word := a.some.word(s)
		if s == w/64 {
			word &= ^uint64(0) << (w % 64)
		}
		if word != 0 {
			w = s*64 + uint64(bits.TrailingZeros64(word))
			return w*64 + uint64(bits.TrailingZeros64(a.free.word(w)))
		}
	}
	return a.total
}

// length counts the free blocks from b on, up to limit.
func (a *allocator) length(b, limit uint64) uint64 {
	n := uint64(0)
	for n < limit && b+n < a.total {
		at := b + n
		ones := uint64(bits.TrailingZeros64(^(a.free.word(at/64) >> (at % 64))))
		ones = min(ones, 64-at%64)
		n += ones
		if ones < 64-at%64 || ones == 0 {
			break
		}
	}
	return min(n, limit)
}

// alloc appends runs of n blocks in all to dst: one run when a long enough one is near, else what comes. It
// changes nothing and returns false when fewer than n blocks are free.
func (a *allocator) alloc(n int, dst []Run) ([]Run, bool) {
	want := uint64(n)
	if want > a.nfree {
		return dst, false
	}
	if b, ok := a.findRun(want); ok {
		return append(dst, a.takeRun(b, want)), true
	}
	for want > 0 {
		b := a.next(a.cursor)
		if b == a.total {
			a.cursor = 0
			continue
		}
		r := a.takeRun(b, a.length(b, want))
		dst, want = append(dst, r), want-uint64(r.N)
	}
	return dst, true
}

// findRun looks at a bounded number of runs from the cursor on for one of n blocks.
func (a *allocator) findRun(n uint64) (uint64, bool) {
	at, wrapped := a.cursor, false
	for range runsTried {
		b := a.next(at)
		if b == a.total {
			if wrapped {
				return 0, false
			}
			at, wrapped = 0, true
			continue
		}
		got := a.length(b, n)
		if got == n {
			return b, true
		}
		at = b + got
	}
	return 0, false
}

func (a *allocator) takeRun(b, n uint64) Run {
	if !a.take(b, n) {
		panic(fmt.Sprintf("pagemap: blocks %d+%d allocated twice", b, n))
	}
	a.cursor = b + n
	return Run{Loc: b, N: uint16(n)}
}
