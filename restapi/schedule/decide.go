// Package schedule decides when the snapshots of a schedule are taken, and which of them go.
//
// Contract: it decides and does nothing else. A schedule and its snapshots are handed in, and so is the time;
// what is to be done comes back, and when to decide again:
//
//	own time, those of other nodes -> Clock -> now
//	State, Snapshots, now -> Decide -> Plan{Take | Late, Expire, Held, Next, Wake}
//
// A snapshot that is due is asked for once, however many times have passed meanwhile: after a downtime of
// days there is one, not one for each hour. While one is not taken yet no other one is asked for, so that an
// owner that comes back does not find a pile. Snapshots that are not taken yet count for nothing else: none
// goes for the sake of one that may never be there. So deciding goes on [Settle] after one was asked for.
package schedule

import (
	"slices"
	"time"
)

// Settle is how long the owner of a volume usually takes at most to take a snapshot.
const Settle = 10 * time.Second

// State is a schedule.
type State struct {
	Times   Times
	Keep    Keep
	Enabled bool      // else nothing is taken, and nothing goes
	Next    time.Time // when a snapshot is due
}

// Snapshot is one that a schedule has asked for.
type Snapshot struct {
	Taken   time.Time // asked for, that is
	Pending bool      // it is not taken yet
	Used    bool      // by a host, a clone or a revert: it stays as long as that is so
}

// Plan is what is to be done now. Snapshots are named by their places in the list.
type Plan struct {
	Take   bool      // ask for a snapshot
	Late   bool      // one is due and left out, for the one before is not taken yet
	Expire []int     // these go, the oldest first
	Held   []int     // these would go, if they were not used
	Next   time.Time // when a snapshot is due next; zero: never
	Wake   time.Time // when to decide again; zero: when the schedule is changed
}

// Decide says what a schedule asks for now. What is asked for is to be so before it is called again.
func Decide(s State, snapshots []Snapshot, now time.Time) Plan {
	if !s.Enabled {
		return Plan{}
	}
	p := Plan{Next: s.Next}
	pending := slices.IndexFunc(snapshots, func(x Snapshot) bool { return x.Pending })
	if !s.Next.IsZero() && !s.Next.After(now) {
		p.Next = s.Times.Next(now)
		p.Take, p.Late = pending < 0, pending >= 0
	}
	if p.Take {
		p.Wake = now.Add(Settle)
		return p
	}
	p.Wake = p.Next
	if pending >= 0 { // look again, ever more rarely
		p.wakeBy(now.Add(max(Settle, now.Sub(snapshots[pending].Taken))))
	}
	p.expire(s.Keep, snapshots, now)
	return p
}

func (p *Plan) wakeBy(t time.Time) {
	if p.Wake.IsZero() || t.Before(p.Wake) {
		p.Wake = t
	}
}

// expire adds to a plan which snapshots go, and wakes it when the next one is too old.
func (p *Plan) expire(keep Keep, snapshots []Snapshot, now time.Time) {
	var settled []int
	for i, x := range snapshots {
		if !x.Pending {
			settled = append(settled, i)
		}
	}
	slices.SortStableFunc(settled, func(a, b int) int { return snapshots[b].Taken.Compare(snapshots[a].Taken) })
	taken := make([]time.Time, len(settled))
	for i, at := range settled {
		taken[i] = snapshots[at].Taken
	}
	for i, stays := range slices.Backward(keep.stay(taken, now)) {
		switch at := settled[i]; {
		case !stays && snapshots[at].Used:
			p.Held = append(p.Held, at)
		case !stays:
			p.Expire = append(p.Expire, at)
		case i > 0 && keep.MaxAge > 0:
			p.wakeBy(taken[i].Add(keep.MaxAge))
		}
	}
}
