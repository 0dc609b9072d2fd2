package nvme

import "math"

// IdentifySize is the size of every Identify data structure.
const IdentifySize = 4096

// CNS values of Identify (Base 5.17).
const (
	CNSNamespace            uint8 = 0x00 // NVM command set Identify Namespace
	CNSController           uint8 = 0x01
	CNSActiveNSList         uint8 = 0x02
	CNSNSDescriptors        uint8 = 0x03 // namespace identification descriptor list
	CNSNamespaceCSI         uint8 = 0x05 // I/O command set specific Identify Namespace
	CNSControllerCSI        uint8 = 0x06 // I/O command set specific Identify Controller
	CNSActiveNSListCSI      uint8 = 0x07
	CNSNamespaceIndependent uint8 = 0x08 // I/O command set independent Identify Namespace
	CNSAllocatedNSList      uint8 = 0x10
	CNSAllocatedNamespace   uint8 = 0x11
	CNSControllerList       uint8 = 0x13 // controllers in the subsystem
	CNSIOCommandSets        uint8 = 0x1c
)

// CSINVM is the command set identifier of the NVM command set.
const CSINVM uint8 = 0

// AllNamespaces is the broadcast NSID.
const AllNamespaces uint32 = 0xffffffff

// Identify fills c with an Identify command; the SGL is the caller's to set.
func (c *Command) Identify(cns uint8, nsid uint32, cntid uint16, csi uint8) {
	*c = Command{0: AdminIdentify, 2: c[2], 3: c[3]}
	c.SetNSID(nsid)
	c.SetCDW10(uint32(cns) | uint32(cntid)<<16)
	c.SetCDW11(uint32(csi) << 24)
}

// CNS returns the controller or namespace structure asked for by an Identify command.
func (c *Command) CNS() uint8 { return uint8(c.CDW10()) }

// CNTID returns the controller identifier of an Identify command.
func (c *Command) CNTID() uint16 { return uint16(c.CDW10() >> 16) }

// IdentifyCSI returns the command set identifier of an Identify command.
func (c *Command) IdentifyCSI() uint8 { return uint8(c.CDW11() >> 24) }

// Values and bits of Identify Controller.
const (
	CNTRLTYPEIO        uint8 = 1
	CNTRLTYPEDiscovery uint8 = 2
	CNTRLTYPEAdmin     uint8 = 3

	CMICMultiPort uint8 = 1 << 0
	CMICMultiCtrl uint8 = 1 << 1
	CMICANA       uint8 = 1 << 3

	CTRATTHostID128     uint32 = 1 << 0
	CTRATTTBKAS         uint32 = 1 << 6  // traffic based keep alive
	CTRATTELBAS         uint32 = 1 << 15 // extended LBA formats
	ONCSCompare         uint16 = 1 << 0
	ONCSWriteUncorrect  uint16 = 1 << 1
	ONCSDSM             uint16 = 1 << 2
	ONCSWriteZeroes     uint16 = 1 << 3
	ONCSSaveSelect      uint16 = 1 << 4
	ONCSReservations    uint16 = 1 << 5
	ONCSTimestamp       uint16 = 1 << 6
	ONCSVerify          uint16 = 1 << 7
	ONCSCopy            uint16 = 1 << 8
	VWCPresent          uint8  = 1 << 0
	VWCFlushAll         uint8  = 3 << 1 // Flush with the broadcast NSID is supported
	LPASMARTPerNS       uint8  = 1 << 0
	LPAEffects          uint8  = 1 << 1
	LPAExtended         uint8  = 1 << 2 // log page offset and 32-bit lengths
	LPASupportedPages   uint8  = 1 << 5
	SGLSSupported       uint32 = 1 // SGLs without alignment
	SGLSTransport       uint32 = 1 << 21
	SGLSOffset          uint32 = 1 << 20 // address is an offset into the capsule
	OFCSDisconnect      uint16 = 1 << 0
	FCATTDynamic        uint8  = 0 // dynamic controller model
	FCATTStatic         uint8  = 1
	ANACAPOptimized     uint8  = 1 << 0
	ANACAPNonOptimized  uint8  = 1 << 1
	ANACAPInaccessible  uint8  = 1 << 2
	ANACAPPersistent    uint8  = 1 << 3
	ANACAPChange        uint8  = 1 << 4
	ANACAPStatic        uint8  = 1 << 6 // ANAGRPID of a namespace does not change
	ANACAPGroupIDOnMgmt uint8  = 1 << 7
)

// IdentifyController is the Identify Controller data structure (CNS 01h, Base 5.17.2.1): the fields that an
// NVMe/TCP controller uses. All others are zero. Text fields are ASCII, cut and padded as the specification
// wants.
type IdentifyController struct {
	VID, SSVID  uint16
	SN          string // serial number, 20 bytes
	MN          string // model number, 40 bytes
	FR          string // firmware revision, 8 bytes
	RAB         uint8
	IEEE        [3]byte
	CMIC        uint8
	MDTS        uint8 // largest transfer: 2^MDTS pages of CAP.MPSMIN; 0 no limit
	CNTLID      uint16
	VER         Version
	RTD3R       uint32
	RTD3E       uint32
	OAES        uint32 // optional asynchronous events: the bits of AEC
	CTRATT      uint32
	CNTRLTYPE   uint8
	FGUID       [16]byte
	CRDT        [3]uint16 // command retry delays, 100 ms units
	OACS        uint16
	ACL         uint8 // abort commands outstanding, 0's based
	AERL        uint8 // asynchronous event requests outstanding, 0's based
	FRMW        uint8
	LPA         uint8
	ELPE        uint8 // error log entries, 0's based
	WCTEMP      uint16
	CCTEMP      uint16
	TNVMCAP     [16]byte // total capacity, bytes, 128 bit
	UNVMCAP     [16]byte
	KAS         uint16 // keep alive granularity, 100 ms units; 0 no keep alive
	ANATT       uint8  // worst time of an ANA transition, seconds
	ANACAP      uint8
	ANAGRPMAX   uint32
	NANAGRPID   uint32
	SQES, CQES  uint8 // entry sizes: log2 of the minimum in bits 3:0, of the maximum in 7:4
	MAXCMD      uint16
	NN          uint32 // largest NSID
	ONCS        uint16
	FUSES       uint16
	FNA         uint8
	VWC         uint8
	AWUN, AWUPF uint16 // atomic write units, logical blocks, 0's based
	ACWU        uint16
	SGLS        uint32
	MNAN        uint32 // most namespaces; 0 means NN
	SUBNQN      string
	IOCCSZ      uint32 // I/O command capsule, 16 byte units: 64 B plus in-capsule data
	IORCSZ      uint32 // I/O response capsule, 16 byte units
	ICDOFF      uint16 // in-capsule data offset, 16 byte units
	FCATT       uint8
	MSDBD       uint8 // SGL data block descriptors per command
	OFCS        uint16
	PSD0MP      uint16 // power state 0: maximum power, 0.01 W
}

// Encode writes the IdentifySize bytes of c to b.
func (c *IdentifyController) Encode(b []byte) {
	clear(b[:IdentifySize])
	put16(b[0:], c.VID)
	put16(b[2:], c.SSVID)
	putPadded(b[4:24], c.SN)
	putPadded(b[24:64], c.MN)
	putPadded(b[64:72], c.FR)
	b[72] = c.RAB
	copy(b[73:76], c.IEEE[:])
	b[76], b[77] = c.CMIC, c.MDTS
	put16(b[78:], c.CNTLID)
	put32(b[80:], uint32(c.VER))
	put32(b[84:], c.RTD3R)
	put32(b[88:], c.RTD3E)
	put32(b[92:], c.OAES)
	put32(b[96:], c.CTRATT)
	b[111] = c.CNTRLTYPE
	copy(b[112:128], c.FGUID[:])
	for i, v := range c.CRDT {
		put16(b[128+2*i:], v)
	}
	put16(b[256:], c.OACS)
	b[258], b[259], b[260], b[261], b[262] = c.ACL, c.AERL, c.FRMW, c.LPA, c.ELPE
	put16(b[266:], c.WCTEMP)
	put16(b[268:], c.CCTEMP)
	copy(b[280:296], c.TNVMCAP[:])
	copy(b[296:312], c.UNVMCAP[:])
	put16(b[320:], c.KAS)
	b[342], b[343] = c.ANATT, c.ANACAP
	put32(b[344:], c.ANAGRPMAX)
	put32(b[348:], c.NANAGRPID)
	c.encodeCommandSet(b)
}

// encodeCommandSet writes the part from byte 512 on: command set attributes, fabrics and power states.
func (c *IdentifyController) encodeCommandSet(b []byte) {
	b[512], b[513] = c.SQES, c.CQES
	put16(b[514:], c.MAXCMD)
	put32(b[516:], c.NN)
	put16(b[520:], c.ONCS)
	put16(b[522:], c.FUSES)
	b[524], b[525] = c.FNA, c.VWC
	put16(b[526:], c.AWUN)
	put16(b[528:], c.AWUPF)
	put16(b[532:], c.ACWU)
	put32(b[536:], c.SGLS)
	put32(b[540:], c.MNAN)
	copy(b[768:768+MaxNQN], c.SUBNQN)
	put32(b[1792:], c.IOCCSZ)
	put32(b[1796:], c.IORCSZ)
	put16(b[1800:], c.ICDOFF)
	b[1802], b[1803] = c.FCATT, c.MSDBD
	put16(b[1804:], c.OFCS)
	put16(b[2048:], c.PSD0MP)
}

// DecodeIdentifyController reads an Identify Controller data structure. Trailing blanks of text fields are
// dropped.
func DecodeIdentifyController(b []byte) (*IdentifyController, error) {
	if len(b) < IdentifySize {
		return nil, ErrShort
	}
	nqn, ok := cString(b[768 : 768+256])
	if !ok {
		return nil, ErrFormat
	}
	c := &IdentifyController{
		VID: u16(b[0:]), SSVID: u16(b[2:]), SN: padded(b[4:24]), MN: padded(b[24:64]), FR: padded(b[64:72]),
		RAB: b[72], IEEE: [3]byte(b[73:76]), CMIC: b[76], MDTS: b[77], CNTLID: u16(b[78:]),
		VER: Version(u32(b[80:])), RTD3R: u32(b[84:]), RTD3E: u32(b[88:]), OAES: u32(b[92:]), CTRATT: u32(b[96:]),
		CNTRLTYPE: b[111], FGUID: [16]byte(b[112:128]),
		CRDT: [3]uint16{u16(b[128:]), u16(b[130:]), u16(b[132:])},
		OACS: u16(b[256:]), ACL: b[258], AERL: b[259], FRMW: b[260], LPA: b[261], ELPE: b[262],
		WCTEMP: u16(b[266:]), CCTEMP: u16(b[268:]), TNVMCAP: [16]byte(b[280:296]), UNVMCAP: [16]byte(b[296:312]),
		KAS: u16(b[320:]), ANATT: b[342], ANACAP: b[343], ANAGRPMAX: u32(b[344:]), NANAGRPID: u32(b[348:]),
		SQES: b[512], CQES: b[513], MAXCMD: u16(b[514:]), NN: u32(b[516:]), ONCS: u16(b[520:]), FUSES: u16(b[522:]),
		FNA: b[524], VWC: b[525], AWUN: u16(b[526:]), AWUPF: u16(b[528:]), ACWU: u16(b[532:]), SGLS: u32(b[536:]),
		MNAN: u32(b[540:]), SUBNQN: nqn, IOCCSZ: u32(b[1792:]), IORCSZ: u32(b[1796:]), ICDOFF: u16(b[1800:]),
		FCATT: b[1802], MSDBD: b[1803], OFCS: u16(b[1804:]), PSD0MP: u16(b[2048:]),
	}
	return c, nil
}

// InCapsule is the bytes of data that an I/O command capsule takes, from IOCCSZ. A nonsensical value counts
// as none.
func (c *IdentifyController) InCapsule() uint32 {
	const largest = 1 << 20 // nobody offers more; keeps 16*IOCCSZ from overflowing
	if c.IOCCSZ < CommandSize/16 || c.IOCCSZ > largest/16 || c.ICDOFF != 0 {
		return 0
	}
	return c.IOCCSZ*16 - CommandSize
}

// MaxTransfer is the bytes one command may move, from MDTS and CAP.MPSMIN; 0 means no limit.
func (c *IdentifyController) MaxTransfer(mpsmin uint8) uint32 {
	shift := uint(c.MDTS) + 12 + uint(mpsmin)
	if c.MDTS == 0 || shift > 31 {
		return 0
	}
	return 1 << shift
}

// IdentifyControllerNVM is the NVM command set specific Identify Controller data structure (CNS 06h, CSI 0).
type IdentifyControllerNVM struct {
	VSL   uint8  // Verify size limit: 2^VSL pages of CAP.MPSMIN; 0 no limit
	WZSL  uint8  // Write Zeroes size limit
	WUSL  uint8  // Write Uncorrectable size limit
	DMRL  uint8  // DSM ranges per command; 0 no limit
	DMRSL uint32 // logical blocks per DSM range; 0 no limit
	DMSL  uint64 // logical blocks per DSM command; 0 no limit
}

// MaxWriteZeroes returns what WZSL means in bytes; without a limit the largest number there is.
func (c IdentifyControllerNVM) MaxWriteZeroes(mpsmin uint8) int64 {
	shift := uint(c.WZSL) + 12 + uint(mpsmin)
	if c.WZSL == 0 || shift > 62 {
		return math.MaxInt64
	}
	return 1 << shift
}

// Encode writes the IdentifySize bytes of c to b.
func (c IdentifyControllerNVM) Encode(b []byte) {
	clear(b[:IdentifySize])
	b[0], b[1], b[2], b[3] = c.VSL, c.WZSL, c.WUSL, c.DMRL
	put32(b[4:], c.DMRSL)
	put64(b[8:], c.DMSL)
}

// DecodeIdentifyControllerNVM reads the structure.
func DecodeIdentifyControllerNVM(b []byte) (IdentifyControllerNVM, error) {
	if len(b) < IdentifySize {
		return IdentifyControllerNVM{}, ErrShort
	}
	return IdentifyControllerNVM{
		VSL: b[0], WZSL: b[1], WUSL: b[2], DMRL: b[3], DMRSL: u32(b[4:]), DMSL: u64(b[8:]),
	}, nil
}
