package blockdev

import (
	"math/rand/v2"
	"slices"
)

// FaultKind is a way in which a device misbehaves.
type FaultKind uint8

// The kinds of faults.
const (
	ReadError        FaultKind = iota + 1 // reads fail with ErrIO
	WriteError                            // writes fail with ErrIO and change nothing
	FlushError                            // flushes fail with ErrIO and make nothing durable
	BitRot                                // a read finds, and every later one, a flipped bit
	LostWrite                             // a write reports success and changes nothing
	MisdirectedWrite                      // a write lands on other blocks
	LostFlush                             // a flush reports success and makes nothing durable
	Stall                                 // the operation does not end before Heal
	TornWrite                             // a write fails with ErrIO after a part of it was written
	Gone                                  // the device is not there: everything fails with ErrGone
)

// Fault is a rule by which a Mem misbehaves.
type Fault struct {
	Kind FaultKind
	Off  int64   // bytes; operations that touch [Off, Off+Len)
	Len  int64   // 0: to the end of the device
	Prob float64 // chance per operation; 0: always
	Left int     // how many times; 0: no limit
}

// hits decides whether the rule applies to an operation, and counts it.
func (f *Fault) hits(o *Op, rng *rand.Rand) bool {
	switch f.Kind {
	case ReadError, BitRot:
		if o.Kind != Read {
			return false
		}
	case WriteError, LostWrite, MisdirectedWrite, TornWrite:
		if o.Kind != Write {
			return false
		}
	case FlushError, LostFlush:
		if o.Kind != Flush {
			return false
		}
	}
	if o.Kind != Flush && (o.Off+o.length() <= f.Off || f.Len > 0 && o.Off >= f.Off+f.Len) {
		return false
	}
	if f.Left < 0 || f.Prob > 0 && rng.Float64() >= f.Prob {
		return false
	}
	if f.Left > 0 {
		f.Left--
		if f.Left == 0 {
			f.Left = -1 // used up
		}
	}
	return true
}

// gone tells whether the device has left. Called with mu held.
func (m *Mem) gone(o *Op) bool {
	for _, f := range m.mu.faults {
		if f.Kind == Gone && f.hits(o, m.mu.rng) {
			return true
		}
	}
	return false
}

// torn is what a write leaves that failed in the middle: some of its sectors over what was there. Called with
// mu held.
func (m *Mem) torn(off int64, data []byte) []byte {
	left := slices.Clone(m.mu.cur[off:][:len(data)])
	landSectors(&write{data: data}, m.mu.rng, left)
	return left
}

// Inject adds a rule.
func (m *Mem) Inject(f Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.faults = append(m.mu.faults, &f)
}

// Heal removes all rules; stalled operations go on.
func (m *Mem) Heal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.faults = nil
	for _, o := range m.mu.held {
		m.mu.pending.push(o)
	}
	m.mu.held = nil
	m.start()
}

// Stalled tells how many operations a Stall rule holds.
func (m *Mem) Stalled() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.mu.held)
}

// Corrupt flips the bits of mask in the byte at off, on the medium itself.
func (m *Mem) Corrupt(off int64, mask byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flip(off, mask)
}

func (m *Mem) flip(off int64, mask byte) {
	m.mu.cur[off] ^= mask
	if m.mu.durable != nil {
		m.mu.durable[off] ^= mask
	}
}

// Peek copies what a read of buf at off would return, faults aside.
func (m *Mem) Peek(off int64, buf []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	copy(buf, m.mu.cur[off:])
}

// Poke overwrites the medium itself, durably.
func (m *Mem) Poke(off int64, buf []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	copy(m.mu.cur[off:], buf)
	if m.mu.durable != nil {
		copy(m.mu.durable[off:], buf)
	}
}
