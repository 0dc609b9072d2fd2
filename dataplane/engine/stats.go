package engine

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Stats tells how far the volume is from resting at its homes.
type Stats struct {
	Down     []cluster.DeviceID // devices that do not answer, or are on their way back
	Full     []cluster.DeviceID // devices that answer, but have no room for what they have to keep of the volume
	Away     int                // journal entries
	Stale    int                // of these, columns of pages that do not count
	MovingTo uint32             // number of the group table that the volume moves to; 0 when at rest
	Cursor   uint32             // groups that have moved
	Waiting  int                // operations and rows that wait for a device
	Bad      int                // blocks that scrubbing found bad and that could not be repaired so far
}

// Stats looks at the present state.
func (e *Engine) Stats() Stats {
	s := Stats{Away: e.jour.count, Waiting: len(e.stuck) + len(e.lock.parked)}
	for _, d := range e.order {
		s.Bad += d.repair.left
		switch {
		case d.full && d.state != devUp: // it is asked again and again
			s.Full = append(s.Full, d.id)
		case d.state == devDown || d.state == devAdmit:
			s.Down = append(s.Down, d.id)
		}
	}
	for _, p := range e.jour.pages {
		for _, x := range p {
			if x != nil && x.Stale {
				s.Stale++
			}
		}
	}
	if e.moving() {
		s.MovingTo, s.Cursor = e.layout[0].table.Number(), e.layout[0].cursor
	}
	return s
}

// AtRest reports that nothing is left to heal: every device answers, every column lies at its home, and the
// journal holds nothing, not even what is gone.
func (e *Engine) AtRest() bool {
	s := e.Stats()
	return e.mode == modeServing && len(s.Down)+len(s.Full) == 0 && s.Away == 0 && s.MovingTo == 0 &&
		s.Waiting == 0 && len(e.jour.pending) == 0 && e.jour.clean() && e.move.table == nil
}

// Quiet reports that ticks change nothing before something else happens: there is nothing to heal, to walk
// through or to try again, and nothing is under way. A volume that hosts leave alone is quiet, so who has
// very many of them need not tick them all.
func (e *Engine) Quiet() bool {
	if !e.Idle() || !e.AtRest() || e.rec.pending != nil || e.mend.dirty || e.mend.failed || e.walking() ||
		e.lock.soon || e.lock.hold != 0 || e.win.cap != 0 || !e.jour.manned(e.memberCount()) {
		return false
	}
	mark, holes := e.lasting()
	for _, d := range e.order {
		r := &d.repair
		if d.state != devUp || d.inFlight > 0 || d.viewed < e.cfg.View.Version || d.questioned || d.sweep ||
			d.sweeping || r.asked || r.busy || r.left > 0 || d.lacks(mark, holes) {
			return false
		}
	}
	return true
}

// walking reports that the owner goes through rows in the background, or is about to.
func (e *Engine) walking() bool {
	return e.audit.busy || e.audit.allowed > 0 || e.flat.busy || e.flat.allowed > 0 || e.cut != nil ||
		e.cloned() && e.cfg.Parent > 0 && !e.pages.known
}

// manned reports that the journal has its members, so many, and that all of them have all of it.
func (j *journal) manned(count int) bool {
	return j.joining == nil && j.next == nil && len(j.members) >= count &&
		!slices.ContainsFunc(j.members, func(m *member) bool { return !m.synced })
}
