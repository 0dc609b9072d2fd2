package engine

import "github.com/ashlar-storage/ashlar/dataplane/cluster"

// Stats tells how far the volume is from resting at its homes.
type Stats struct {
	Down     []cluster.DeviceID // devices that do not answer, or are on their way back
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
		if d.state == devDown || d.state == devAdmit {
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
	return e.mode == modeServing && len(s.Down) == 0 && s.Away == 0 && s.MovingTo == 0 && s.Waiting == 0 &&
		len(e.jour.pending) == 0 && e.jour.clean() && e.move.table == nil
}
