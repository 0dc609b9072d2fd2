package blockdev

import (
	"fmt"
	"math/bits"
)

// space is what a thin Mem has room for: blocks get some when they are first written, and lose it when they
// are discarded.
type space struct {
	limit, used int64 // blocks; limit 0: as many as the device has
	taken       []uint64
}

func (s *space) has(block int64) bool { return s.taken[block/64]&(1<<(block%64)) != 0 }

// take makes room for n blocks, or changes nothing.
func (s *space) take(first, n int64) bool {
	if s.limit == 0 {
		return true
	}
	var more int64
	for b := first; b < first+n; b++ {
		if !s.has(b) {
			more++
		}
	}
	if s.used+more > s.limit {
		return false
	}
	for b := first; b < first+n; b++ {
		s.taken[b/64] |= 1 << (b % 64)
	}
	s.used += more
	return true
}

func (s *space) give(first, n int64) {
	if s.limit == 0 {
		return
	}
	for b := first; b < first+n; b++ {
		if s.has(b) {
			s.taken[b/64] &^= 1 << (b % 64)
			s.used--
		}
	}
}

// SetLimit makes the device thin: it has room for so many bytes only, of its own choice where. A write that
// needs more fails with ErrNoSpace and changes nothing. What holds data keeps its room; 0: no limit.
func (m *Mem) SetLimit(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.mu.space
	*s = space{limit: bytes / int64(m.geo.LogicalBlock)}
	if bytes == 0 {
		return
	}
	if s.limit == 0 {
		panic(fmt.Sprintf("blockdev: SetLimit(%d) with blocks of %d", bytes, m.geo.LogicalBlock))
	}
	lb := m.geo.LogicalBlock
	s.taken = make([]uint64, (m.geo.Size/int64(lb)+63)/64)
	for b := range m.geo.Size / int64(lb) {
		if !isZero(m.mu.cur[b*int64(lb):][:lb]) {
			s.taken[b/64] |= 1 << (b % 64)
		}
	}
	for _, w := range s.taken {
		s.used += int64(bits.OnesCount64(w))
	}
}

func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
