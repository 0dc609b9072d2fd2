package qos

import "math"

// Limits bound operations and bytes; 0 is no bound.
type Limits struct {
	IOPS  uint64 // operations a second
	Bytes uint64 // a second
	Burst int64  // nanoseconds of the rate that may come at once
}

// None reports that nothing is bounded.
func (l Limits) None() bool { return l.IOPS == 0 && l.Bytes == 0 }

const second = 1e9

// meter holds one rate.
type meter struct {
	rate  uint64 // units a second; 0: no bound
	burst int64
	hand  int64  // nanoseconds
	rest  uint64 // of the last division: the hand would be at hand + rest/rate
}

// set changes rate and burst; what was used stays used.
func (m *meter) set(rate uint64, burst int64) {
	if rate != m.rate {
		m.rate, m.rest = rate, 0
	}
	m.burst = burst
}

// at is when a command may begin.
func (m *meter) at() int64 {
	if m.rate == 0 {
		return math.MinInt64
	}
	return m.hand - m.burst
}

// charge takes units at a time and returns their nanoseconds.
func (m *meter) charge(now int64, units uint64) int64 {
	if m.rate == 0 {
		return 0
	}
	if m.hand < now {
		m.hand, m.rest = now, 0
	}
	total := units*second + m.rest
	took := int64(total / m.rate)
	m.rest = total % m.rate
	m.hand += took
	return took
}

// meters are those of one volume or one pool.
type meters struct{ ops, bytes meter }

func (m *meters) set(l Limits) {
	m.ops.set(l.IOPS, l.Burst)
	m.bytes.set(l.Bytes, l.Burst)
}

func (m *meters) at() int64 { return max(m.ops.at(), m.bytes.at()) }

// charge returns the longer of both times.
func (m *meters) charge(now int64, bytes uint32) int64 {
	return max(m.ops.charge(now, 1), m.bytes.charge(now, uint64(bytes)))
}
