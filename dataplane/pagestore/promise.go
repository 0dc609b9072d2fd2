package pagestore

import (
	"sync/atomic"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

const (
	// Whoever writes a block anew needs a free one, until nobody needs the old one any more. So that volumes
	// with a promise can do so when all else is full, others leave them some blocks beside it: this part of
	// what is promised, but no more than a device can write until old versions are free.
	overwriteShare = 64
	maxOverwrite   = 1 << 19 // blocks: 2 GiB
	// countEvery is after how many groups of records it is counted again what the volumes have.
	countEvery = 16
)

// promises are blocks that volumes can count on.
type promises struct {
	of      map[cluster.VolumeKey]*promise
	extra   uint64        // for writing anew
	left    atomic.Uint64 // of all of them, and extra
	counted uint64        // groups of records before it was counted
}

type promise struct {
	blocks uint64
	left   atomic.Uint64 // that the volume does not have yet
}

// Promise replaces what volumes are promised of the device, in blocks: others find less space to spare, so
// that these can hold as many, whatever is written to others. What pins hold beside them is not promised.
// Promises of more than there is only keep others from writing.
func (s *Store) Promise(blocks map[cluster.VolumeKey]uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(blocks) == 0 {
		s.promises.Store(nil)
		return
	}
	p := &promises{of: make(map[cluster.VolumeKey]*promise, len(blocks))}
	sum := uint64(0)
	for key, n := range blocks {
		p.of[key] = &promise{blocks: n}
		sum += n
	}
	p.extra = min(sum/overwriteShare, maxOverwrite)
	s.count(p)
	s.promises.Store(p)
}

// count finds out what is left of promises.
func (s *Store) count(p *promises) {
	sum := p.extra
	for key, one := range p.of {
		v, _ := s.mu.m.Volume(key)
		has := v.Blocks - v.Pinned - v.Reclaimable
		left := one.blocks - min(one.blocks, has)
		one.left.Store(left)
		sum += left
	}
	p.left.Store(sum)
	p.counted = s.mu.traffic.Commits
}

// recount counts from time to time.
func (s *Store) recount() {
	if p := s.promises.Load(); p != nil && s.mu.traffic.Commits-p.counted >= countEvery {
		s.count(p)
	}
}

// Spare is how many blocks are free and not promised to other volumes, about. It does not wait for the
// store's lock.
func (s *Store) Spare(vol cluster.VolumeKey) uint64 {
	free, p := s.Free(), s.promises.Load()
	if p == nil {
		return free
	}
	others := p.left.Load()
	if own := p.of[vol]; own != nil {
		others -= min(others, own.left.Load()+p.extra)
	}
	return free - min(free, others)
}
