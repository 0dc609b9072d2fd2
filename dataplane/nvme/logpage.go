package nvme

// Log page identifiers (Base 5.16).
const (
	LogSupportedPages uint8 = 0x00
	LogError          uint8 = 0x01
	LogSMART          uint8 = 0x02
	LogFirmwareSlot   uint8 = 0x03
	LogChangedNS      uint8 = 0x04
	LogEffects        uint8 = 0x05 // commands supported and effects
	LogANA            uint8 = 0x0c
	LogDiscovery      uint8 = 0x70
)

// Sizes of the log pages and of their parts, in bytes.
const (
	SupportedLogPagesSize = 1024
	ErrorLogEntrySize     = 64
	SMARTSize             = 512
	FirmwareSlotSize      = 512
	ChangedNSListSize     = IdentifySize // a namespace list: EncodeNSList
	EffectsSize           = 4096
	ANAHeaderSize         = 16
	ANADescriptorSize     = 32 // and 4 bytes per NSID
	DiscoveryHeaderSize   = 1024
	DiscoveryEntrySize    = 1024
)

// GetLogPage is the fields of a Get Log Page command (Base 5.16.1).
type GetLogPage struct {
	LID    uint8
	LSP    uint8 // log specific parameter, 7 bits
	RAE    bool  // retain asynchronous event: reading does not re-arm it
	Length uint64
	LSI    uint16 // log specific identifier
	Offset uint64 // bytes, or an index when OT
	OT     bool
	CSI    uint8
}

// ANALSPGroupsOnly is the LSP of the ANA log page that asks for descriptors without their NSIDs (RGO).
const ANALSPGroupsOnly uint8 = 1

// GetLogPage fills c with a Get Log Page command; Length is a multiple of 4, 4 bytes to 16 GiB. The SGL is
// the caller's to set.
func (c *Command) GetLogPage(nsid uint32, g GetLogPage) {
	*c = Command{0: AdminGetLogPage, 2: c[2], 3: c[3]}
	c.SetNSID(nsid)
	numd := uint32(g.Length/4 - 1)
	c.SetCDW10(uint32(g.LID) | uint32(g.LSP&0x7f)<<8 | bit(g.RAE, uint32(1<<15)) | numd<<16)
	c.SetCDW11(numd>>16 | uint32(g.LSI)<<16)
	put64(c[48:], g.Offset)
	c.SetCDW14(bit(g.OT, uint32(1<<23)) | uint32(g.CSI)<<24)
}

// LogPageFields reads the fields of a Get Log Page command.
func (c *Command) LogPageFields() GetLogPage {
	d10, d11, d14 := c.CDW10(), c.CDW11(), c.CDW14()
	numd := uint64(d10>>16) | uint64(d11&0xffff)<<16
	return GetLogPage{
		LID: uint8(d10), LSP: uint8(d10 >> 8 & 0x7f), RAE: d10>>15&1 == 1, Length: (numd + 1) * 4,
		LSI: uint16(d11 >> 16), Offset: u64(c[48:]), OT: d14>>23&1 == 1, CSI: uint8(d14 >> 24),
	}
}

// EncodeSupportedLogPages writes the Supported Log Pages log page: LSUPP is set for each of the identifiers.
func EncodeSupportedLogPages(b []byte, ids []uint8) {
	clear(b[:SupportedLogPagesSize])
	for _, id := range ids {
		put32(b[4*int(id):], 1)
	}
}

// DecodeSupportedLogPages reports which log pages exist.
func DecodeSupportedLogPages(b []byte) (supported [256]bool, err error) {
	if len(b) < SupportedLogPagesSize {
		return supported, ErrShort
	}
	for i := range supported {
		supported[i] = b[4*i]&1 == 1
	}
	return supported, nil
}

// ErrorLogEntry is an entry of the Error Information log page.
type ErrorLogEntry struct {
	ErrorCount uint64 // 0: the entry is not in use
	SQID, CID  uint16
	Status     Status
	ParamError uint16 // byte in bits 7:0, bit in 10:8
	LBA        uint64
	NSID       uint32
	TRTYPE     uint8
}

// Encode writes the ErrorLogEntrySize bytes of e to b.
func (e ErrorLogEntry) Encode(b []byte) {
	clear(b[:ErrorLogEntrySize])
	put64(b[0:], e.ErrorCount)
	put16(b[8:], e.SQID)
	put16(b[10:], e.CID)
	put16(b[12:], uint16(e.Status)<<1)
	put16(b[14:], e.ParamError)
	put64(b[16:], e.LBA)
	put32(b[24:], e.NSID)
	b[29] = e.TRTYPE
}

// DecodeErrorLogEntry reads an entry.
func DecodeErrorLogEntry(b []byte) (ErrorLogEntry, error) {
	if len(b) < ErrorLogEntrySize {
		return ErrorLogEntry{}, ErrShort
	}
	return ErrorLogEntry{
		ErrorCount: u64(b[0:]), SQID: u16(b[8:]), CID: u16(b[10:]), Status: Status(u16(b[12:]) >> 1),
		ParamError: u16(b[14:]), LBA: u64(b[16:]), NSID: u32(b[24:]), TRTYPE: b[29],
	}, nil
}

// SMART is the SMART / Health Information log page. Counters are 128 bits wide on the wire; 64 are enough
// here.
type SMART struct {
	CriticalWarning    uint8
	Temperature        uint16 // kelvin; 0 not reported
	AvailableSpare     uint8  // percent
	SpareThreshold     uint8  // percent
	PercentageUsed     uint8
	DataUnitsRead      uint64 // thousands of 512 B units, rounded up
	DataUnitsWritten   uint64
	HostReads          uint64 // commands
	HostWrites         uint64
	ControllerBusyTime uint64 // minutes
	PowerCycles        uint64
	PowerOnHours       uint64
	UnsafeShutdowns    uint64
	MediaErrors        uint64
	ErrorLogEntries    uint64
}

// Encode writes the SMARTSize bytes of s to b.
func (s *SMART) Encode(b []byte) {
	clear(b[:SMARTSize])
	b[0] = s.CriticalWarning
	put16(b[1:], s.Temperature)
	b[3], b[4], b[5] = s.AvailableSpare, s.SpareThreshold, s.PercentageUsed
	for i, v := range [...]uint64{
		s.DataUnitsRead, s.DataUnitsWritten, s.HostReads, s.HostWrites, s.ControllerBusyTime,
		s.PowerCycles, s.PowerOnHours, s.UnsafeShutdowns, s.MediaErrors, s.ErrorLogEntries,
	} {
		put64(b[32+16*i:], v)
	}
}

// DecodeSMART reads the log page. The upper 64 bits of its counters are dropped.
func DecodeSMART(b []byte) (*SMART, error) {
	if len(b) < SMARTSize {
		return nil, ErrShort
	}
	n := func(i int) uint64 { return u64(b[32+16*i:]) }
	return &SMART{
		CriticalWarning: b[0], Temperature: u16(b[1:]), AvailableSpare: b[3], SpareThreshold: b[4],
		PercentageUsed: b[5], DataUnitsRead: n(0), DataUnitsWritten: n(1), HostReads: n(2), HostWrites: n(3),
		ControllerBusyTime: n(4), PowerCycles: n(5), PowerOnHours: n(6), UnsafeShutdowns: n(7), MediaErrors: n(8),
		ErrorLogEntries: n(9),
	}, nil
}

// Bits of a command's entry in the commands supported and effects log page.
const (
	EffectSupported uint32 = 1 << 0 // CSUPP
	EffectLBCC      uint32 = 1 << 1 // logical block content changes
)

// Effects is the Commands Supported and Effects log page, by opcode.
type Effects struct {
	Admin [256]uint32
	IO    [256]uint32
}

// Encode writes the EffectsSize bytes of e to b.
func (e *Effects) Encode(b []byte) {
	clear(b[:EffectsSize])
	for i := range e.Admin {
		put32(b[4*i:], e.Admin[i])
		put32(b[1024+4*i:], e.IO[i])
	}
}

// DecodeEffects reads the log page.
func DecodeEffects(b []byte) (*Effects, error) {
	if len(b) < EffectsSize {
		return nil, ErrShort
	}
	e := new(Effects)
	for i := range e.Admin {
		e.Admin[i], e.IO[i] = u32(b[4*i:]), u32(b[1024+4*i:])
	}
	return e, nil
}

// ANAState is an asymmetric namespace access state (Base 8.1.1).
type ANAState uint8

// The ANA states.
const (
	ANAOptimized      ANAState = 0x1
	ANANonOptimized   ANAState = 0x2
	ANAInaccessible   ANAState = 0x3
	ANAPersistentLoss ANAState = 0x4
	ANAChange         ANAState = 0xf
)

func (s ANAState) String() string {
	switch s {
	case ANAOptimized:
		return "optimized"
	case ANANonOptimized:
		return "non-optimized"
	case ANAInaccessible:
		return "inaccessible"
	case ANAPersistentLoss:
		return "persistent-loss"
	case ANAChange:
		return "change"
	}
	return "reserved"
}

// Usable reports that I/O commands may be sent in this state.
func (s ANAState) Usable() bool { return s == ANAOptimized || s == ANANonOptimized }

// Status is what an I/O command gets in this state (Base 8.1.4); Success when it may go on.
func (s ANAState) Status() Status {
	switch s {
	case ANAOptimized, ANANonOptimized:
		return Success
	case ANAInaccessible:
		return AsymmetricAccessInaccessible
	case ANAPersistentLoss:
		return AsymmetricAccessPersistent
	case ANAChange:
		return AsymmetricAccessTransition
	}
	return InternalPathError
}

// ANAGroup is a descriptor of the ANA log page.
type ANAGroup struct {
	ID          uint32
	ChangeCount uint64
	State       ANAState
	NSIDs       []uint32 // ascending; none when the host asked for groups only
}

// ANALog is the Asymmetric Namespace Access log page (Base 5.16.1.13).
//
//	header      0        8        10         16
//	            +--------+--------+----------+
//	            | CHGCNT | NGRPS  | reserved |
//	            +--------+--------+----------+
//	descriptor  0     4        8        16      17         32
//	            +-----+--------+--------+-------+----------+---------------
//	            | ID  | NNSID  | CHGCNT | state | reserved | NSIDs, 4 B each
//	            +-----+--------+--------+-------+----------+---------------
type ANALog struct {
	ChangeCount uint64
	Groups      []ANAGroup
}

// Size is the bytes of the encoded log page.
func (l *ANALog) Size() int {
	n := ANAHeaderSize
	for i := range l.Groups {
		n += ANADescriptorSize + 4*len(l.Groups[i].NSIDs)
	}
	return n
}

// Encode writes the log page to b, which has Size bytes.
func (l *ANALog) Encode(b []byte) {
	clear(b[:l.Size()])
	put64(b, l.ChangeCount)
	put16(b[8:], uint16(len(l.Groups)))
	b = b[ANAHeaderSize:]
	for i := range l.Groups {
		g := &l.Groups[i]
		put32(b, g.ID)
		put32(b[4:], uint32(len(g.NSIDs)))
		put64(b[8:], g.ChangeCount)
		b[16] = uint8(g.State)
		b = b[ANADescriptorSize:]
		for _, id := range g.NSIDs {
			put32(b, id)
			b = b[4:]
		}
	}
}

// DecodeANALog reads the log page; bytes after it are ignored, since a host asks for more than there is. A
// page that ends inside a descriptor is ErrShort: the host asks again with a larger buffer.
func DecodeANALog(b []byte) (*ANALog, error) {
	if len(b) < ANAHeaderSize {
		return nil, ErrShort
	}
	l := &ANALog{ChangeCount: u64(b)}
	groups := int(u16(b[8:]))
	b = b[ANAHeaderSize:]
	for range groups {
		if len(b) < ANADescriptorSize {
			return nil, ErrShort
		}
		g := ANAGroup{ID: u32(b), ChangeCount: u64(b[8:]), State: ANAState(b[16] & 0xf)}
		n := uint64(u32(b[4:]))
		b = b[ANADescriptorSize:]
		if n > uint64(len(b)/4) {
			return nil, ErrShort
		}
		for range n {
			g.NSIDs = append(g.NSIDs, u32(b))
			b = b[4:]
		}
		l.Groups = append(l.Groups, g)
	}
	return l, nil
}

// Find returns the state of the group that lists a namespace.
func (l *ANALog) Find(nsid uint32) (ANAState, bool) {
	for i := range l.Groups {
		for _, id := range l.Groups[i].NSIDs {
			if id == nsid {
				return l.Groups[i].State, true
			}
		}
	}
	return 0, false
}
