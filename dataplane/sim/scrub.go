package sim

import (
	"errors"

	"github.com/ashlar-storage/ashlar/dataplane/engine"
)

// Devices scrub in the background: now and then one reads all it holds, and tells the owner of each volume of
// which it has found something bad. Like in production the message may get lost, or come to who is not the
// owner any more: the device speaks up again while something is bad.

// scrub lets the process of the device's node scrub it from time to time.
func (d *device) scrub() {
	w, every := d.w, d.w.plan.ScrubEvery
	if every == 0 || w.load.quiet { // once all faults are over what is bad has to be found
		every = second
	}
	d.node.later(d.scrubs.between(every/2, every*3/2), func() {
		if d.ready && (w.plan.ScrubEvery > 0 || w.load.quiet) && w.now >= d.awayUntil {
			d.tellOwners()
		}
		d.scrub()
	})
}

// tellOwners tells the gateways that the records name, as far as the device's node has heard.
func (d *device) tellOwners() {
	w := d.w
	for vol, v := range w.volumes {
		if d.disk.bad(v.key) == 0 {
			continue
		}
		owner := w.node(w.etcd.records[vol].Gateway)
		w.logf("device %d: scrubbing has found %d bad blocks of volume %d", d.id, d.disk.bad(v.key), vol)
		w.message(d.node, owner, func() {
			if owner.gw == nil || owner.gw.sessions[vol] == nil {
				return
			}
			s := owner.gw.sessions[vol]
			s.eng.Suspect(d.id)
			s.carryOut()
		})
	}
}

// auditEvery is how many rows an owner may compare per tick.
const auditEvery = 64

// audited is how often the owner of a volume had compared all rows when the volume came to rest.
type audited struct {
	by     *engine.Engine
	passes uint64
}

var errUncompared = errors.New("its owner has not compared all rows since")

// audited tells whether all rows were compared from their beginning to their end since a volume is at rest.
func (v *volume) audited(e *engine.Engine) error {
	if v.audit.by != e {
		v.audit = audited{e, e.Counters.AuditPasses}
	}
	if e.Counters.AuditPasses < v.audit.passes+2 { // one was under way
		return errUncompared
	}
	return nil
}

// compare lets the owner compare rows: all the time in some schedules, and in all once the volume is at rest.
func (s *session) compare() {
	w := s.g.n.w
	switch {
	case w.load.quiet && s.v.audit.by == s.eng:
		s.eng.Audit(auditEvery)
	case !w.load.quiet && w.plan.ScrubEvery == second/4:
		s.eng.Audit(auditEvery / 8)
	}
}
