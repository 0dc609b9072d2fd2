package nvme

// Feature identifiers (Base 5.27).
const (
	FeatArbitration     uint8 = 0x01
	FeatPowerManagement uint8 = 0x02
	FeatTemperature     uint8 = 0x04
	FeatErrorRecovery   uint8 = 0x05
	FeatVolatileCache   uint8 = 0x06
	FeatNumberOfQueues  uint8 = 0x07
	FeatWriteAtomicity  uint8 = 0x0a
	FeatAsyncEvent      uint8 = 0x0b // asynchronous event configuration
	FeatTimestamp       uint8 = 0x0e
	FeatKeepAlive       uint8 = 0x0f
	FeatHostBehavior    uint8 = 0x16 // 512 bytes of data
	FeatCommandSet      uint8 = 0x19 // I/O command set profile
	FeatHostID          uint8 = 0x81 // 8 or 16 bytes of data
	FeatReservationMask uint8 = 0x82
	FeatReservationPers uint8 = 0x83
	FeatWriteProtect    uint8 = 0x84
)

// HostBehaviorSize is the size of the data of the Host Behavior Support feature.
const HostBehaviorSize = 512

// Values of SEL of Get Features.
const (
	SelectCurrent   uint8 = 0
	SelectDefault   uint8 = 1
	SelectSaved     uint8 = 2
	SelectSupported uint8 = 3
)

// SetFeatures fills c with a Set Features command; value is CDW11. The SGL is the caller's to set.
func (c *Command) SetFeatures(fid uint8, nsid, value uint32) {
	*c = Command{0: AdminSetFeatures, 2: c[2], 3: c[3]}
	c.SetNSID(nsid)
	c.SetCDW10(uint32(fid))
	c.SetCDW11(value)
}

// GetFeatures fills c with a Get Features command. The SGL is the caller's to set.
func (c *Command) GetFeatures(fid, sel uint8, nsid uint32) {
	*c = Command{0: AdminGetFeatures, 2: c[2], 3: c[3]}
	c.SetNSID(nsid)
	c.SetCDW10(uint32(fid) | uint32(sel&7)<<8)
}

// FID returns the feature identifier of Get Features and Set Features.
func (c *Command) FID() uint8 { return uint8(c.CDW10()) }

// FeatureSave returns SV of Set Features: keep the value over resets.
func (c *Command) FeatureSave() bool { return c.CDW10()>>31 == 1 }

// FeatureSelect returns SEL of Get Features.
func (c *Command) FeatureSelect() uint8 { return uint8(c.CDW10() >> 8 & 7) }

// QueueCounts packs the value of the Number of Queues feature, asked for (CDW11) or granted (DW0). Both
// numbers are plain counts, 1..65535.
func QueueCounts(submission, completion uint32) uint32 {
	return (submission-1)&0xffff | (completion-1)<<16
}

// ParseQueueCounts is the inverse of QueueCounts; 65536 stands for the reserved value FFFFh.
func ParseQueueCounts(v uint32) (submission, completion uint32) { return v&0xffff + 1, v>>16 + 1 }

// Bits of the Asynchronous Event Configuration feature (AEC) and of OAES.
const (
	AECSmartWarnings  uint32 = 0xff
	AECNamespaceAttr  uint32 = 1 << 8 // namespace attribute notices
	AECFirmware       uint32 = 1 << 9
	AECANAChange      uint32 = 1 << 11
	AECDiscoveryLog   uint32 = 1 << 31
	aecEventInfoShift        = 8
)

// Asynchronous event types and, for notices, their information.
const (
	EventError  uint8 = 0
	EventHealth uint8 = 1
	EventNotice uint8 = 2

	NoticeNamespaceAttr uint8 = 0x00 // log page 04h tells which
	NoticeANAChange     uint8 = 0x03 // log page 0Ch
	NoticeDiscoveryLog  uint8 = 0xf0 // log page 70h
)

// AsyncEvent is the result (DW0) of an Asynchronous Event Request.
//
//	 31:24      23:16   15:8          7:3   2:0
//	+----------+-------+-------------+-----+------+
//	| reserved | LID   | information | 0   | type |
//	+----------+-------+-------------+-----+------+
type AsyncEvent struct {
	Type, Info, LID uint8
}

// DW0 gives the result dword.
func (e AsyncEvent) DW0() uint32 {
	return uint32(e.Type&7) | uint32(e.Info)<<aecEventInfoShift | uint32(e.LID)<<16
}

// ParseAsyncEvent splits the result dword.
func ParseAsyncEvent(dw0 uint32) AsyncEvent {
	return AsyncEvent{Type: uint8(dw0 & 7), Info: uint8(dw0 >> aecEventInfoShift), LID: uint8(dw0 >> 16)}
}

// AbortFields reads an Abort command: which command of which queue. DW0 bit 0 of its completion is 0 when the
// command was aborted.
func (c *Command) AbortFields() (sqid, cid uint16) { return uint16(c.CDW10()), uint16(c.CDW10() >> 16) }

// Abort fills c with an Abort command.
func (c *Command) Abort(sqid, cid uint16) {
	*c = Command{0: AdminAbort, 2: c[2], 3: c[3]}
	c.SetCDW10(uint32(sqid) | uint32(cid)<<16)
	c.SetSGL(SGLNone())
}

// DSMRangeSize is the size of a range of Dataset Management; a command has 1..DSMMaxRanges of them.
const (
	DSMRangeSize = 16
	DSMMaxRanges = 256
)

// Bits of CDW11 of Dataset Management.
const (
	DSMIntegralRead  uint32 = 1 << 0
	DSMIntegralWrite uint32 = 1 << 1
	DSMDeallocate    uint32 = 1 << 2 // AD
)

// DSMRange is a range of Dataset Management.
type DSMRange struct {
	CATTR  uint32
	Blocks uint32 // plain count; 0 is an empty range
	SLBA   uint64
}

// Encode writes the DSMRangeSize bytes of r to b.
func (r DSMRange) Encode(b []byte) {
	_ = b[DSMRangeSize-1]
	put32(b, r.CATTR)
	put32(b[4:], r.Blocks)
	put64(b[8:], r.SLBA)
}

// DecodeDSMRange reads a range.
func DecodeDSMRange(b []byte) (DSMRange, error) {
	if len(b) < DSMRangeSize {
		return DSMRange{}, ErrShort
	}
	return DSMRange{CATTR: u32(b), Blocks: u32(b[4:]), SLBA: u64(b[8:])}, nil
}

// InRange reports whether r lies inside a namespace of blocks logical blocks.
func (r DSMRange) InRange(blocks uint64) bool {
	return r.SLBA <= blocks && uint64(r.Blocks) <= blocks-r.SLBA
}

// DSM fills c with a Dataset Management command of ranges ranges (1..DSMMaxRanges). The SGL is the caller's
// to set.
func (c *Command) DSM(nsid uint32, ranges int, attributes uint32) {
	*c = Command{0: OpDSM, 2: c[2], 3: c[3]}
	c.SetNSID(nsid)
	c.SetCDW10(uint32(ranges-1) & 0xff)
	c.SetCDW11(attributes)
}

// DSMRanges returns the number of ranges of a Dataset Management command, 1..256.
func (c *Command) DSMRanges() int { return int(c.CDW10()&0xff) + 1 }

// DSMDeallocates reports the Deallocate attribute.
func (c *Command) DSMDeallocates() bool { return c.CDW11()&DSMDeallocate != 0 }
