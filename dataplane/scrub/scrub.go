package scrub

import (
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

const (
	second = int64(1e9)
	// yieldNs is how long a request of somebody else puts the next read off: two to five reads of an NVMe
	// device.
	yieldNs = second / 1000
	// yieldMost bounds that, in parts of the time that the last read is worth at the full rate.
	yieldMost = 7
	// burst is how far reads may run ahead of their rate, so that small ones need no timer each.
	burst = second / 50
	// storeEvery is the pause between two records of one pass: what is read again after a crash.
	storeEvery = 60 * second
	// ahead is the longest debt; a clock that was set back must not stop a pass.
	ahead = 10 * second
)

// Policy says what the operator wants. Times are in nanoseconds.
type Policy struct {
	Rate     uint64 // bytes a second while nobody else uses the device; 0: no scrubbing
	Interval int64  // from the beginning of a pass to that of the next; 0: only when asked for
	Paused   bool
	Wanted   int64 // a pass that was asked for, in seconds since 1970: it begins once this is news
}

// Position is a version in the order of a pass: by volume, then as pagemap.Cursor. The zero Position is
// before everything.
type Position struct {
	Vol cluster.VolumeKey
	pagemap.Cursor
}

// Found is what one read has found.
type Found struct {
	At    Position // the last version that was read; nothing if End
	End   bool     // nothing was left
	Bytes uint64
	Bad   uint64 // versions that are bad
	New   uint64 // of these, those that nobody knew to be
}

// Scrub is the plan of one device. Not safe for concurrent use.
type Scrub struct {
	policy  Policy
	rec     Record
	due     int64  // when the next read of the pass is due
	worth   int64  // time that the last read is worth
	yielded int64  // since
	seen    uint64 // requests of others
	stored  int64  // when the record was stored last
	dirty   bool   // it must be stored now
}

// New goes on from a record; the zero Record is that of a device that was never scrubbed.
func New(p Policy, rec Record) *Scrub { return &Scrub{policy: p, rec: rec} }

// SetPolicy changes what is wanted.
func (s *Scrub) SetPolicy(p Policy) { s.policy = p }

// Position is where the next read begins: behind it.
func (s *Scrub) Position() Position { return s.rec.At }

// Next tells how long to wait before Next is asked again, in nanoseconds; 0: read now, then call Done. now is
// that of the wall clock, requests counts those of others so far.
func (s *Scrub) Next(now int64, requests uint64) (wait int64) {
	s.yielded = min(s.yielded+int64(min(requests-s.seen, 1<<20))*yieldNs, yieldMost*s.worth)
	s.seen = requests
	if s.policy.Rate == 0 || s.policy.Paused {
		return second
	}
	if !s.rec.Running && !s.begin(now) {
		return second
	}
	if s.due > now+ahead {
		s.due = now
	}
	if wait = s.due + s.yielded - burst - now; wait > 0 {
		return wait
	}
	return 0
}

// begin starts a pass if one is due.
func (s *Scrub) begin(now int64) bool {
	r := &s.rec
	wanted := s.policy.Wanted > r.Wanted
	if !wanted && r.Began > 0 && (s.policy.Interval == 0 || now-r.Began*second < s.policy.Interval) {
		return false
	}
	if !wanted && r.Began == 0 && s.policy.Interval == 0 {
		return false
	}
	r.Running, r.Began, r.At, r.Read, r.Bad = true, now/second, Position{}, 0, 0
	s.due, s.worth, s.yielded, s.dirty = now, 0, 0, true
	return true
}

// Done takes what a read has found.
func (s *Scrub) Done(now int64, f Found) {
	r := &s.rec
	r.Wanted = max(r.Wanted, s.policy.Wanted) // one that is asked for while a pass runs is that pass
	r.Read, r.Bad, r.Found = r.Read+f.Bytes, r.Bad+f.Bad, r.Found+f.New
	if f.End {
		r.Running, r.Ended, r.At = false, now/second, Position{}
		r.Passes++
		s.dirty = true
		return
	}
	r.At = f.At
	rate := max(s.policy.Rate, 1)
	s.worth = int64(f.Bytes * uint64(second) / rate)
	s.due = max(s.due+s.yielded, now-burst) + s.worth
	s.yielded = 0
}

// Store gives the record when it is time to make it durable: at both ends of a pass, and now and then in
// between.
func (s *Scrub) Store(now int64) (rec Record, ok bool) {
	if !s.dirty && (!s.rec.Running || now-s.stored < storeEvery && now >= s.stored) {
		return rec, false
	}
	s.dirty, s.stored = false, now
	return s.rec, true
}

// Record is how things are now.
func (s *Scrub) Record() Record { return s.rec }

// Paused reports that no pass begins or goes on.
func (s *Scrub) Paused() bool { return s.policy.Paused || s.policy.Rate == 0 }
