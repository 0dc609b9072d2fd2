package nvmet

import "github.com/ashlar-storage/ashlar/dataplane/nvme"

// prepare judges a command before its data moves: whether the phase of the connection allows it, whether it
// exists, and what memory its data needs. The status is success, or what the command is answered with.
func (c *conn) prepare(r *Request, data uint32) nvme.Status {
	fabrics := r.Cmd.Opcode() == nvme.OpFabrics
	switch c.at() {
	case phaseConnect:
		if !fabrics || r.Cmd.FCTYPE() != nvme.FabricsConnect {
			return nvme.CommandSequenceError.NoRetry()
		}
	case phaseAuthenticate:
		if !fabrics || r.Cmd.FCTYPE() != nvme.FabricsAuthSend && r.Cmd.FCTYPE() != nvme.FabricsAuthReceive {
			return nvme.AuthenticationRequired.NoRetry()
		}
	}
	switch {
	case fabrics:
		return c.prepareFabrics(r, data)
	case c.qid == 0:
		return c.prepareAdmin(r, data)
	}
	return c.prepareIO(r, data)
}

// execute carries out a command whose data is there. It counts as executing; r may be somebody else's command
// when execute returns.
func (c *conn) execute(r *Request) {
	r.enter(stateExecuting)
	switch {
	case !r.fault.OK():
		r.Complete(r.fault)
	case c.at() == phaseEnding:
		r.Complete(nvme.AbortedSQDeletion) // nobody hears it; what matters is that nothing is done
	case r.Cmd.Opcode() == nvme.OpFabrics:
		c.executeFabrics(r)
	case c.qid == 0:
		c.executeAdmin(r)
	default:
		c.executeIO(r)
	}
}
