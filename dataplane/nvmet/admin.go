package nvmet

import "github.com/ashlar-storage/ashlar/dataplane/nvme"

// prepareAdmin judges an admin command.
func (c *conn) prepareAdmin(r *Request, data uint32) nvme.Status {
	if !c.ctrl.ready.Load() {
		return nvme.CommandSequenceError.NoRetry() // before CC.EN, after shutdown
	}
	if r.Cmd.Fuse() != 0 {
		return nvme.InvalidField.NoRetry()
	}
	op := r.Cmd.Opcode()
	if !c.ctrl.sub.adminSupported(op) {
		return nvme.InvalidOpcode.NoRetry()
	}
	dir := r.Cmd.Direction()
	switch {
	case op == nvme.AdminAbort, op == nvme.AdminAsyncEvent, op == nvme.AdminKeepAlive:
		dir = nvme.NoData
	case r.Cmd.SGL().Length == 0:
		dir = nvme.NoData // features that are a dword
	}
	return r.planTransfer(dir, data, uint32(c.target.options.MDTS))
}

// adminSupported lists the admin commands; a discovery controller has fewer (Base 3.1.2.3.4).
func (s *subsystem) adminSupported(op uint8) bool {
	switch op {
	case nvme.AdminIdentify, nvme.AdminGetLogPage, nvme.AdminSetFeatures, nvme.AdminGetFeatures,
		nvme.AdminAsyncEvent, nvme.AdminKeepAlive:
		return true
	case nvme.AdminAbort:
		return !s.discovery
	}
	return false
}

// executeAdmin carries out an admin command. All of them end at once, except Asynchronous Event Request.
func (c *conn) executeAdmin(r *Request) {
	c.ctrl.traffic()
	if r.plan.dir == nvme.ControllerToHost {
		clear(r.Data) // the buffer has been somebody else's
	}
	var dw0 uint32
	var st nvme.Status
	switch r.Cmd.Opcode() {
	case nvme.AdminAsyncEvent:
		c.ctrl.asyncEvent(r)
		return
	case nvme.AdminIdentify:
		st = c.ctrl.identify(r)
	case nvme.AdminGetLogPage:
		st = c.ctrl.logPage(r)
	case nvme.AdminGetFeatures:
		dw0, st = c.ctrl.getFeatures(r)
	case nvme.AdminSetFeatures:
		dw0, st = c.ctrl.setFeatures(r)
	case nvme.AdminAbort:
		dw0 = c.ctrl.abort(r)
	}
	if !st.OK() {
		c.ctrl.noteError(c.qid, r, st)
	}
	configured := r.Cmd.Opcode() == nvme.AdminSetFeatures && st.OK()
	r.CompleteResult(st, dw0, 0)
	if configured {
		c.ctrl.reportPending() // events may have been switched on
	}
}

// abort carries out Abort. What the namespace has cannot be stopped, and a command whose data is on its way
// neither; what still waits for memory can, and so can an Asynchronous Event Request. Bit 0 of the result
// says "not aborted".
func (k *controller) abort(r *Request) (dw0 uint32) {
	sqid, cid := r.Cmd.AbortFields()
	if victim := k.victim(sqid, cid); victim != nil {
		victim.enter(stateExecuting)
		victim.Complete(nvme.AbortRequested)
		return 0
	}
	return 1
}

func (k *controller) victim(sqid, cid uint16) *Request {
	if sqid == 0 {
		if r := k.withdrawEvent(cid); r != nil {
			return r
		}
	}
	k.mu.Lock()
	var queue *queue
	for _, c := range k.mu.queues {
		if c.qid == sqid {
			queue = c.queue
		}
	}
	k.mu.Unlock()
	if queue == nil {
		return nil
	}
	return queue.withdraw(cid)
}
