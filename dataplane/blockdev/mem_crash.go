package blockdev

import (
	"math/rand/v2"
	"slices"
)

// Power loss. Durable is what was flushed (without a volatile cache: what completed). Every other write,
// completed or in flight, reaches the medium in any part and in any order: of each of its 512-byte sectors,
// independently, the new content survives, vanishes or is torn (a part of it over what was there).

// PowerOffAfter lets n more operations happen; then the power fails: those submitted at that moment are in
// flight and fail with ErrIO, and so does everything after. Crash or CrashClone shows what is left on the
// medium.
func (m *Mem) PowerOffAfter(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.budget = n
}

// powerOff notes the writes in flight, which may still reach the medium in part. Called with mu held.
func (m *Mem) powerOff(current *Op) {
	m.mu.off = true
	m.noteInFlight(current)
	m.ripenAll()
	for o := m.mu.pending.head; o != nil; o = o.next {
		m.noteInFlight(o)
	}
}

func (m *Mem) noteInFlight(o *Op) {
	if o.Kind == Write && o.check(m.geo) == nil {
		m.remember(o.Off, o.Buf)
	}
}

// Crash is a power cut, in place: operations in flight are forgotten (their Done is never called) after a
// random part of them reached the medium, and the device is up again. The seed decides everything. Only in
// manual mode, or when nothing is in flight.
func (m *Mem) Crash(seed uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ripenAll()
	if !m.mu.off {
		for o := m.mu.pending.head; o != nil; o = o.next {
			m.noteInFlight(o)
		}
	}
	if m.mu.durable != nil {
		for _, w := range m.mu.unsynced {
			copy(m.mu.cur[w.off:], m.mu.durable[w.off:w.off+int64(len(w.data))])
		}
	}
	land(m.mu.unsynced, rand.New(rand.NewPCG(seed, 2)), m.mu.cur)
	if m.mu.durable != nil {
		for _, w := range m.mu.unsynced {
			copy(m.mu.durable[w.off:], m.mu.cur[w.off:w.off+int64(len(w.data))])
		}
	}
	m.recycle()
	m.mu.pending, m.mu.held, m.mu.faults = queue{}, nil, nil
	m.mu.budget, m.mu.off = -1, false
}

// CrashClone is a power cut seen from outside: a new device with what could be on the medium if the power
// failed now. The original goes on.
func (m *Mem) CrashClone(seed uint64) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMem(MemOptions{Size: m.geo.Size, LogicalBlock: m.geo.LogicalBlock,
		VolatileCache: m.geo.VolatileCache,
		Seed:          seed})
	from := m.mu.cur
	if m.mu.durable != nil {
		from = m.mu.durable
	}
	copy(c.mu.cur, from)
	c.mu.space = m.mu.space
	c.mu.space.taken = slices.Clone(m.mu.space.taken)
	lost := append([]*write(nil), m.mu.unsynced...)
	if !m.mu.off {
		for o := m.mu.pending.head; o != nil; o = o.next {
			lost = appendWrite(lost, o, m.geo)
		}
		for i := range m.mu.line.waiting {
			lost = appendWrite(lost, m.mu.line.waiting[i].op, m.geo)
		}
	}
	land(lost, rand.New(rand.NewPCG(seed, 2)), c.mu.cur)
	if c.mu.durable != nil {
		copy(c.mu.durable, c.mu.cur)
	}
	return c
}

// appendWrite adds an operation in flight to those that may be lost.
func appendWrite(lost []*write, o *Op, g Geometry) []*write {
	if o.Kind == Write && o.check(g) == nil {
		lost = append(lost, &write{off: o.Off, data: o.Buf})
	}
	return lost
}

// land lets a random part of each write reach the medium, in random order. All and nothing are as likely as
// everything in between, since ordering bugs need whole writes to swap and checksum bugs need torn ones.
func land(writes []*write, rng *rand.Rand, medium []byte) {
	for _, i := range rng.Perm(len(writes)) {
		w := writes[i]
		switch rng.IntN(4) {
		case 0:
		case 1:
			copy(medium[w.off:], w.data)
		default:
			landSectors(w, rng, medium)
		}
	}
}

func landSectors(w *write, rng *rand.Rand, medium []byte) {
	keep := rng.Float64()
	for at := 0; at < len(w.data); at += SectorSize {
		from, to := at, at+SectorSize
		if rng.IntN(16) == 0 { // torn: a part of the sector
			if cut := at + rng.IntN(SectorSize); rng.IntN(2) == 0 {
				from = cut
			} else {
				to = cut
			}
		} else if rng.Float64() >= keep {
			continue
		}
		copy(medium[w.off+int64(from):], w.data[from:to])
	}
}
