package sim

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
