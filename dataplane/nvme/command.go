package nvme

// Sizes of the queue entries, in bytes.
const (
	CommandSize    = 64
	CompletionSize = 16
)

// Command is a submission queue entry (SQE) exactly as it lies in a capsule; the accessors read and write its
// fields in place, so nothing is decoded that nobody looks at. The zero value is a Flush of namespace 0 with
// CID 0.
type Command [CommandSize]byte

// Byte 1 of a command: bits 1:0 FUSE, bits 7:6 PSDT.
const (
	fuseMask = 0x03
	psdtMask = 0xc0
	psdtSGL  = 0x40 // SGLs for the data, metadata in one contiguous buffer: the only value fabrics allow
)

// Opcode returns OPC.
func (c *Command) Opcode() uint8 { return c[0] }

// SetOpcode sets OPC.
func (c *Command) SetOpcode(op uint8) { c[0] = op }

// Fuse returns FUSE; 0 is a normal command.
func (c *Command) Fuse() uint8 { return c[1] & fuseMask }

// PSDT returns the PRP or SGL selector; fabrics require 1 (Base 3.3.1).
func (c *Command) PSDT() uint8 { return c[1] >> 6 }

// UsesSGL reports PSDT = 1 or 2. Linux leaves PSDT 0 on some fabrics commands, which are always SGL.
func (c *Command) UsesSGL() bool { return c.PSDT() == 1 || c.PSDT() == 2 }

// CID returns the command identifier, unique among the outstanding commands of its queue.
func (c *Command) CID() uint16 { return u16(c[2:]) }

// SetCID sets the command identifier.
func (c *Command) SetCID(id uint16) { put16(c[2:], id) }

// NSID returns the namespace identifier.
func (c *Command) NSID() uint32 { return u32(c[4:]) }

// SetNSID sets the namespace identifier.
func (c *Command) SetNSID(id uint32) { put32(c[4:], id) }

// CDW2 returns command dword 2.
func (c *Command) CDW2() uint32 { return u32(c[8:]) }

// CDW3 returns command dword 3.
func (c *Command) CDW3() uint32 { return u32(c[12:]) }

// SetCDW2 sets command dword 2.
func (c *Command) SetCDW2(v uint32) { put32(c[8:], v) }

// SetCDW3 sets command dword 3.
func (c *Command) SetCDW3(v uint32) { put32(c[12:], v) }

// CDW10 returns command dword 10.
func (c *Command) CDW10() uint32 { return u32(c[40:]) }

// CDW11 returns command dword 11.
func (c *Command) CDW11() uint32 { return u32(c[44:]) }

// CDW12 returns command dword 12.
func (c *Command) CDW12() uint32 { return u32(c[48:]) }

// CDW13 returns command dword 13.
func (c *Command) CDW13() uint32 { return u32(c[52:]) }

// CDW14 returns command dword 14.
func (c *Command) CDW14() uint32 { return u32(c[56:]) }

// CDW15 returns command dword 15.
func (c *Command) CDW15() uint32 { return u32(c[60:]) }

// SetCDW10 sets command dword 10.
func (c *Command) SetCDW10(v uint32) { put32(c[40:], v) }

// SetCDW11 sets command dword 11.
func (c *Command) SetCDW11(v uint32) { put32(c[44:], v) }

// SetCDW12 sets command dword 12.
func (c *Command) SetCDW12(v uint32) { put32(c[48:], v) }

// SetCDW13 sets command dword 13.
func (c *Command) SetCDW13(v uint32) { put32(c[52:], v) }

// SetCDW14 sets command dword 14.
func (c *Command) SetCDW14(v uint32) { put32(c[56:], v) }

// SetCDW15 sets command dword 15.
func (c *Command) SetCDW15(v uint32) { put32(c[60:], v) }

// FCTYPE returns the fabrics command type; it means something only when Opcode is OpFabrics.
func (c *Command) FCTYPE() uint8 { return c[4] }

// Direction tells which way the data of the command goes, if it has any.
func (c *Command) Direction() Direction {
	if c[0] == OpFabrics {
		return Direction(c[4] & 3)
	}
	return Direction(c[0] & 3)
}

// IsVendor reports an opcode of the vendor specific range of an I/O queue.
func (c *Command) IsVendor() bool { return c[0] >= OpVendorFirst }

// SGL returns SGL descriptor 1, which says where the data of the command is.
func (c *Command) SGL() SGL {
	return SGL{Address: u64(c[24:]), Length: u32(c[32:]), ID: c[39]}
}

// SetSGL stores SGL descriptor 1 and selects SGLs in PSDT.
func (c *Command) SetSGL(s SGL) {
	c[1] = c[1]&^psdtMask | psdtSGL
	put64(c[24:], s.Address)
	put32(c[32:], s.Length)
	c[36], c[37], c[38], c[39] = 0, 0, 0, s.ID
}

// SGL is a scatter gather list descriptor (Base 4.1.2.2). Over TCP a command has exactly one.
//
//	0          8         12      15   16
//	+----------+---------+-------+----+
//	| address  | length  | 0     | ID |   ID: type in bits 7:4, sub type in bits 3:0
//	+----------+---------+-------+----+
type SGL struct {
	Address uint64 // an offset into the capsule's data for SGLInCapsule, 0 for SGLTransport
	Length  uint32 // bytes
	ID      uint8
}

// The descriptors of NVMe/TCP.
const (
	SGLInCapsule uint8 = 0x01 // SGL Data Block, sub type offset: the data is in the command capsule
	SGLTransport uint8 = 0x5a // Transport SGL Data Block: the data moves by H2CData or C2HData PDUs
)

// SGLNone is what a command without data carries, as Linux sends it: a transport descriptor of length 0.
func SGLNone() SGL { return SGL{ID: SGLTransport} }

// NLB, SLBA and friends: the common layout of Read, Write, Compare, Write Zeroes and Verify (NVM 3.2).

// SLBA returns the starting LBA.
func (c *Command) SLBA() uint64 { return u64(c[40:]) }

// SetSLBA sets the starting LBA.
func (c *Command) SetSLBA(lba uint64) { put64(c[40:], lba) }

// NLB returns the number of logical blocks as a plain count, 1..65536 (the field itself is 0's based).
func (c *Command) NLB() uint32 { return uint32(u16(c[48:])) + 1 }

// SetNLB sets the number of logical blocks; n is a plain count, 1..65536.
func (c *Command) SetNLB(n uint32) { put16(c[48:], uint16(n-1)) }

// Bits of CDW12 of the NVM commands.
const (
	CDW12LimitedRetry uint32 = 1 << 31
	CDW12FUA          uint32 = 1 << 30 // Force Unit Access
	CDW12PRInfo       uint32 = 0xf << 26
	CDW12Deallocate   uint32 = 1 << 25 // Write Zeroes only (DEAC): the blocks may be deallocated
)

// FUA reports Force Unit Access.
func (c *Command) FUA() bool { return c.CDW12()&CDW12FUA != 0 }

// InRange reports whether [SLBA, SLBA+NLB) lies inside a namespace of blocks logical blocks.
func (c *Command) InRange(blocks uint64) bool {
	slba, nlb := c.SLBA(), uint64(c.NLB())
	return slba < blocks && nlb <= blocks-slba
}

// ReadWrite fills c with a Read, Write, Compare, Write Zeroes or Verify of nlb (1..65536) logical blocks at
// slba. It leaves CID and SGL alone.
func (c *Command) ReadWrite(op uint8, nsid uint32, slba uint64, nlb uint32) {
	*c = Command{0: op, 2: c[2], 3: c[3]}
	c.SetNSID(nsid)
	c.SetSLBA(slba)
	c.SetNLB(nlb)
}

// Completion is a completion queue entry. DW0 and DW1 are the result of the command.
type Completion struct {
	DW0, DW1 uint32
	SQHD     uint16 // submission queue head pointer
	SQID     uint16 // reserved on fabrics
	CID      uint16
	Status   Status
}

// Encode writes the CompletionSize bytes of c to b.
func (c Completion) Encode(b []byte) {
	_ = b[CompletionSize-1]
	put32(b[0:], c.DW0)
	put32(b[4:], c.DW1)
	put16(b[8:], c.SQHD)
	put16(b[10:], c.SQID)
	put16(b[12:], c.CID)
	put16(b[14:], uint16(c.Status)<<1)
}

// DecodeCompletion reads a completion queue entry. The phase tag is ignored, as fabrics require.
func DecodeCompletion(b []byte) (Completion, error) {
	if len(b) < CompletionSize {
		return Completion{}, ErrShort
	}
	return Completion{
		DW0: u32(b[0:]), DW1: u32(b[4:]), SQHD: u16(b[8:]), SQID: u16(b[10:]),
		CID: u16(b[12:]), Status: Status(u16(b[14:]) >> 1),
	}, nil
}

// Result returns DW1:DW0 as one 64-bit value (Property Get).
func (c Completion) Result() uint64 { return uint64(c.DW1)<<32 | uint64(c.DW0) }
