package nvmet

import (
	"bytes"
	"sync/atomic"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

const (
	// compareChunk is what Compare reads at once.
	compareChunk = 16 << 10
	// writeZeroesLimit is the most one Write Zeroes clears, bytes (WZSL): much more than a transfer, since no
	// data moves, and little enough that one command cannot occupy a namespace for long.
	writeZeroesLimit = 2 << 20
)

// ioCounters count what the connection's commands did, for the SMART log page and for people.
type ioCounters struct {
	commands                  atomic.Uint64 // I/O commands of every kind that were carried out
	reads, writes             atomic.Uint64 // commands
	blocksRead, blocksWritten atomic.Uint64
}

// prepareIO judges an I/O command before any of its data moves and says what its data needs.
func (c *conn) prepareIO(r *Request, data uint32) nvme.Status {
	view := c.ctrl.sub.view.Load()
	if st := c.ioAllowed(&r.Cmd, view); !st.OK() {
		return st
	}
	switch r.Cmd.Opcode() {
	case nvme.OpFlush:
		return r.planTransfer(nvme.NoData, data, 0)
	case nvme.OpRead, nvme.OpWrite, nvme.OpCompare, nvme.OpVerify, nvme.OpWriteZeroes:
		return c.prepareBlocks(r, data, view.cfg.Namespace.Blocks())
	case nvme.OpDSM:
		st := r.planTransfer(nvme.HostToController, data, nvme.DSMMaxRanges*nvme.DSMRangeSize)
		if st.OK() && int(r.plan.length) < r.Cmd.DSMRanges()*nvme.DSMRangeSize {
			st = nvme.DataSGLLengthInvalid.NoRetry()
		}
		return st
	}
	return r.planTransfer(r.Cmd.Direction(), data, uint32(c.target.maxData())) // vendor
}

// ioAllowed checks what does not depend on the command's own fields: state of the controller, opcode,
// namespace and its accessibility on this path.
func (c *conn) ioAllowed(cmd *nvme.Command, view *subsystemView) nvme.Status {
	if !c.ctrl.ready.Load() {
		return nvme.CommandSequenceError.NoRetry()
	}
	if !c.ioSupported(cmd, view) {
		return nvme.InvalidOpcode.NoRetry()
	}
	if cmd.Fuse() != 0 {
		return nvme.InvalidField.NoRetry() // no fused operations (FUSES is 0)
	}
	all := cmd.NSID() == nvme.AllNamespaces && cmd.Opcode() == nvme.OpFlush
	if cmd.NSID() != NSID && !all {
		return nvme.InvalidNamespaceOrFormat.NoRetry()
	}
	if view.attrs&nvme.NSATTRReadOnly != 0 && writes(cmd.Opcode()) {
		return nvme.NamespaceWriteProtected.NoRetry()
	}
	return view.cfg.Namespace.ANAState().Status()
}

// writes tells the commands that a namespace which is only read refuses.
func writes(opcode uint8) bool {
	switch opcode {
	case nvme.OpWrite, nvme.OpWriteZeroes, nvme.OpDSM:
		return true
	}
	return false
}

func (c *conn) ioSupported(cmd *nvme.Command, view *subsystemView) bool {
	switch cmd.Opcode() {
	case nvme.OpFlush, nvme.OpRead, nvme.OpWrite, nvme.OpCompare, nvme.OpVerify, nvme.OpWriteZeroes, nvme.OpDSM:
		return true
	}
	// Vendor commands take three keys: a listener with a secret, a subsystem that has them, and a queue whose
	// host proved to know the secret (else its phase would not have let the command through).
	return cmd.IsVendor() && view.cfg.Vendor && c.auth != nil && c.auth.passed
}

// prepareBlocks handles the commands that name a range of logical blocks.
func (c *conn) prepareBlocks(r *Request, data uint32, blocks uint64) nvme.Status {
	if !r.Cmd.InRange(blocks) {
		return nvme.LBAOutOfRange.NoRetry()
	}
	size, limit := r.Cmd.NLB()*BlockSize, uint32(c.target.options.MDTS)
	switch op := r.Cmd.Opcode(); op {
	case nvme.OpWriteZeroes:
		limit = writeZeroesLimit
		fallthrough
	case nvme.OpVerify:
		if size > limit {
			return nvme.InvalidField.NoRetry()
		}
		st := r.planTransfer(nvme.NoData, data, 0)
		if st.OK() && op == nvme.OpVerify {
			r.plan = plan{dir: nvme.ControllerToHost, length: size, hidden: true}
		}
		return st
	}
	if size > limit {
		return nvme.InvalidField.NoRetry() // beyond MDTS
	}
	st := r.planTransfer(r.Cmd.Direction(), data, limit)
	if st.OK() && r.plan.length != size {
		return nvme.DataSGLLengthInvalid.NoRetry()
	}
	if r.Cmd.Opcode() == nvme.OpCompare {
		r.plan.bounce = min(size, compareChunk)
	}
	return st
}

// planTransfer reads the SGL of a command whose data moves in direction dir, at most limit bytes; data is
// what its capsule carries.
func (r *Request) planTransfer(dir nvme.Direction, data, limit uint32) nvme.Status {
	if dir == nvme.NoData {
		if data > 0 {
			return nvme.InvalidField.NoRetry()
		}
		return nvme.Success
	}
	if !r.Cmd.UsesSGL() && r.Cmd.Opcode() != nvme.OpFabrics || dir == nvme.Bidirectional {
		return nvme.InvalidField.NoRetry()
	}
	sgl := r.Cmd.SGL()
	switch {
	case sgl.ID == nvme.SGLInCapsule && dir == nvme.HostToController:
		if sgl.Address != 0 {
			return nvme.SGLOffsetInvalid.NoRetry()
		}
		if sgl.Length != data {
			return nvme.DataSGLLengthInvalid.NoRetry()
		}
	case sgl.ID == nvme.SGLTransport:
		if data != 0 {
			return nvme.DataSGLLengthInvalid.NoRetry()
		}
	default:
		return nvme.SGLDescriptorTypeInvalid.NoRetry()
	}
	if sgl.Length > limit {
		return nvme.InvalidField.NoRetry()
	}
	r.plan = plan{dir: dir, length: sgl.Length, capsule: data > 0}
	return nvme.Success
}

// executeIO hands a command to the namespace. r may be somebody else's command when it returns.
func (c *conn) executeIO(r *Request) {
	view := c.ctrl.sub.view.Load()
	ns := view.cfg.Namespace
	// The state may have changed while the data was on its way.
	if st := ns.ANAState().Status(); !st.OK() {
		r.Complete(st)
		return
	}
	c.ctrl.traffic()
	c.count.commands.Add(1)
	switch r.Cmd.Opcode() {
	case nvme.OpRead:
		c.count.reads.Add(1)
		c.count.blocksRead.Add(uint64(r.Cmd.NLB()))
	case nvme.OpWrite:
		c.count.writes.Add(1)
		c.count.blocksWritten.Add(uint64(r.Cmd.NLB()))
	case nvme.OpVerify:
		r.Cmd.SetOpcode(nvme.OpRead)
	case nvme.OpCompare:
		x := comparison{ns: ns, r: r}
		x.next()
		return
	case nvme.OpDSM:
		if done, st := prepareRanges(r, ns.Blocks()); done {
			r.Complete(st)
			return
		}
	}
	ns.Submit(r)
}

// prepareRanges checks the ranges of Dataset Management. Only Deallocate does something here; the other
// attributes are hints and end at once.
func prepareRanges(r *Request, blocks uint64) (done bool, st nvme.Status) {
	r.Data = r.Data[:r.Cmd.DSMRanges()*nvme.DSMRangeSize] // Linux always sends room for 256
	if !r.Cmd.DSMDeallocates() {
		return true, nvme.Success
	}
	for b := r.Data; len(b) > 0; b = b[nvme.DSMRangeSize:] {
		g, err := nvme.DecodeDSMRange(b)
		if err != nil || !g.InRange(blocks) {
			return true, nvme.LBAOutOfRange.NoRetry()
		}
	}
	return false, nvme.Success
}

// comparison carries out a Compare: it reads part by part and compares with what the host sent. Writes may
// come between the parts, as the specification allows for a command that is not fused.
type comparison struct {
	ns  Namespace
	r   *Request
	off uint32 // bytes compared
	n   uint32 // bytes of the part being read
}

func (x *comparison) next() {
	x.n = min(uint32(len(x.r.Data))-x.off, uint32(len(x.r.bounce)))
	var cmd nvme.Command
	cmd.ReadWrite(nvme.OpRead, NSID, x.r.Cmd.SLBA()+uint64(x.off/BlockSize), x.n/BlockSize)
	cmd.SetCID(x.r.Cmd.CID())
	x.ns.Submit(NewRequest(cmd, x.r.bounce[:x.n], x.part))
}

func (x *comparison) part(_ *Request, st nvme.Status, _, _ uint32) {
	switch {
	case !st.OK():
		x.r.Complete(st)
	case !bytes.Equal(x.r.bounce[:x.n], x.r.Data[x.off:x.off+x.n]):
		x.r.Complete(nvme.CompareFailure)
	case x.off+x.n == uint32(len(x.r.Data)):
		x.r.Complete(nvme.Success)
	default:
		x.off += x.n
		x.next()
	}
}
