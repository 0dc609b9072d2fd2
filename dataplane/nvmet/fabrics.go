package nvmet

import (
	"fmt"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// prepareFabrics judges a fabrics command.
func (c *conn) prepareFabrics(r *Request, data uint32) nvme.Status {
	switch r.Cmd.FCTYPE() {
	case nvme.FabricsConnect:
		if c.at() != phaseConnect {
			return nvme.CommandSequenceError.NoRetry() // a queue is connected once
		}
		st := r.planTransfer(nvme.HostToController, data, adminInCapsule)
		if st.OK() && r.plan.length < nvme.ConnectDataSize {
			st = nvme.DataSGLLengthInvalid.NoRetry()
		}
		return st
	case nvme.FabricsPropertyGet, nvme.FabricsPropertySet:
		if c.qid != 0 {
			return nvme.InvalidField.NoRetry()
		}
		return r.planTransfer(nvme.NoData, data, 0)
	case nvme.FabricsDisconnect:
		if c.qid == 0 {
			return nvme.InvalidQueueType.NoRetry()
		}
		return r.planTransfer(nvme.NoData, data, 0)
	case nvme.FabricsAuthSend, nvme.FabricsAuthReceive:
		if c.auth == nil {
			return nvme.InvalidField.NoRetry()
		}
		return r.planTransfer(r.Cmd.Direction(), data, adminInCapsule)
	}
	return nvme.InvalidOpcode.NoRetry()
}

func (c *conn) executeFabrics(r *Request) {
	switch r.Cmd.FCTYPE() {
	case nvme.FabricsConnect:
		dw0, st := c.connect(r)
		r.CompleteResult(st, dw0, 0)
	case nvme.FabricsPropertyGet:
		offset, size, _ := r.Cmd.PropertyFields()
		v, st := c.ctrl.property(offset, size)
		r.CompleteResult(st, uint32(v), uint32(v>>32))
	case nvme.FabricsPropertySet:
		offset, size, v := r.Cmd.PropertyFields()
		r.Complete(c.ctrl.setProperty(offset, size, v))
	case nvme.FabricsDisconnect:
		c.enter(phaseEnding)
		r.Complete(nvme.Success)
	case nvme.FabricsAuthSend:
		st := c.auth.send(r)
		if !st.OK() {
			c.enter(phaseEnding) // the answer still goes out
		}
		r.Complete(st)
	case nvme.FabricsAuthReceive:
		clear(r.Data)
		st := c.auth.receive(r)
		over := st.OK() && c.auth.passed
		if over && c.qid == 0 && !c.ctrl.sub.quiesced(c.ctrl.host, c.ctrl) {
			over, st = false, nvme.ConnectControllerBusy
			c.enter(phaseEnding)
		}
		r.Complete(st)
		if over {
			if err := c.live(); err != nil {
				c.fail(err)
			}
		}
	}
}

// connect carries out Connect. The order of the checks is the specification's (Base 3.3.2.2, 6.3): names
// first, so that a host learns nothing of a subsystem that it may not use.
func (c *conn) connect(r *Request) (dw0 uint32, st nvme.Status) {
	f := r.Cmd.ConnectFields()
	if f.RECFMT != 0 {
		return 0, nvme.ConnectIncompatibleFormat.NoRetry()
	}
	d, err := nvme.DecodeConnectData(r.Data)
	if err != nil || nvme.CheckNQN(d.SubNQN) != nil {
		return nvme.ConnectFault(nvme.ConnectOffsetSubNQN, true), nvme.ConnectInvalidParameters.NoRetry()
	}
	if nvme.CheckNQN(d.HostNQN) != nil {
		return nvme.ConnectFault(nvme.ConnectOffsetHostNQN, true), nvme.ConnectInvalidParameters.NoRetry()
	}
	sub := c.target.find(d.SubNQN)
	if sub == nil {
		return nvme.ConnectFault(nvme.ConnectOffsetSubNQN, true), nvme.ConnectInvalidParameters.NoRetry()
	}
	if !sub.allows(d.HostNQN) {
		return 0, nvme.ConnectInvalidHost.NoRetry()
	}
	if f.QID == 0 {
		dw0, st = c.connectAdmin(sub, f, d)
	} else {
		dw0, st = c.connectIO(sub, f, d)
	}
	if !st.OK() {
		return dw0, st
	}
	c.out.flow = f.CATTR&nvme.CATTRDisableSQFlow == 0
	c.out.size = f.SQSIZE + 1
	c.queue.resize(int(f.SQSIZE) + 1)
	if c.auth = c.target.newAuth(d, f.QID); c.auth != nil {
		c.enter(phaseAuthenticate)
		return dw0 | nvme.ConnectAuthATR, nvme.Success
	}
	if err := c.live(); err != nil {
		return 0, nvme.InternalError
	}
	return dw0, nvme.Success
}

// live ends the handshake: the queue serves commands from now on.
func (c *conn) live() error {
	if err := c.sock.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("clear the handshake deadline: %w", err)
	}
	if c.qid != 0 {
		buf, err := c.target.memory.get(ioBuffer)
		if err != nil {
			return err
		}
		c.target.memory.put(c.in.grow(buf))
		c.in.offending = nil // pointed into the old buffer
		c.in.most = uint32(c.target.options.InCapsule)
	}
	c.enter(phaseLive)
	return nil
}

// connectAdmin makes a controller.
func (c *conn) connectAdmin(sub *subsystem, f nvme.Connect, d nvme.ConnectData) (dw0 uint32, st nvme.Status) {
	if d.CNTLID != nvme.AnyController {
		return nvme.ConnectFault(nvme.ConnectOffsetCNTLID, true), nvme.ConnectInvalidParameters.NoRetry()
	}
	if st := c.target.checkSize(f); !st.OK() {
		return nvme.ConnectFault(nvme.ConnectOffsetSQSize, false), st
	}
	host := hostKey{nqn: d.HostNQN, id: d.HostID}
	// With a secret this comes after the authentication: nobody else may make us end an association.
	if len(c.target.options.Secret) == 0 && !sub.quiesced(host, nil) {
		// Commands of this host's last association are still with the namespace: not now, but try again.
		return 0, nvme.ConnectControllerBusy
	}
	ctrl, st := sub.newController(c, host, f.KATO)
	if !st.OK() {
		return 0, st
	}
	c.ctrl = ctrl
	return uint32(ctrl.id), nvme.Success
}

// connectIO adds a queue to a controller.
func (c *conn) connectIO(sub *subsystem, f nvme.Connect, d nvme.ConnectData) (dw0 uint32, st nvme.Status) {
	ctrl := sub.controller(d.CNTLID)
	if ctrl == nil {
		return nvme.ConnectFault(nvme.ConnectOffsetCNTLID, true), nvme.ConnectInvalidParameters.NoRetry()
	}
	switch {
	case ctrl.host.nqn != d.HostNQN:
		return nvme.ConnectFault(nvme.ConnectOffsetHostNQN, true), nvme.ConnectInvalidParameters.NoRetry()
	case ctrl.host.id != d.HostID:
		return nvme.ConnectFault(nvme.ConnectOffsetHostID, true), nvme.ConnectInvalidParameters.NoRetry()
	case sub.discovery || int(f.QID) > ctrl.queueLimit():
		return nvme.ConnectFault(nvme.ConnectOffsetQID, false), nvme.ConnectInvalidParameters.NoRetry()
	}
	if st := c.target.checkSize(f); !st.OK() {
		return nvme.ConnectFault(nvme.ConnectOffsetSQSize, false), st
	}
	if !ctrl.ready.Load() {
		return 0, nvme.CommandSequenceError.NoRetry()
	}
	if st := ctrl.join(c, f.QID); !st.OK() {
		return 0, st
	}
	c.ctrl = ctrl // join has set the qid
	return uint32(ctrl.id), nvme.Success
}

// checkSize holds SQSIZE against CAP.MQES.
func (t *Target) checkSize(f nvme.Connect) nvme.Status {
	if f.SQSIZE == 0 || int(f.SQSIZE) > t.options.QueueDepth-1 {
		return nvme.ConnectInvalidParameters.NoRetry()
	}
	return nvme.Success
}
