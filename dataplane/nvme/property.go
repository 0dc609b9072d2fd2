package nvme

// Offsets of the controller properties (Base 3.1.4).
const (
	PropertyCAP  uint32 = 0x00 // 8 bytes, read only
	PropertyVS   uint32 = 0x08 // 4 bytes, read only
	PropertyCC   uint32 = 0x14 // 4 bytes
	PropertyCSTS uint32 = 0x1c // 4 bytes
	PropertyNSSR uint32 = 0x20 // 4 bytes, write "NVMe" to reset the subsystem
	PropertyCRTO uint32 = 0x68 // 4 bytes, read only
)

// CAP is the Controller Capabilities property; the fields that mean something over fabrics.
type CAP struct {
	MQES   uint16 // largest queue, entries, 0's based
	CQR    bool   // contiguous queues required: always set over fabrics
	AMS    uint8  // arbitration mechanisms besides round robin
	TO     uint8  // worst time for CSTS.RDY to change, 500 ms units
	DSTRD  uint8
	NSSRS  bool  // NVM subsystem reset supported
	CSS    uint8 // command sets: bit 0 NVM, bit 6 one or more I/O command sets, bit 7 no I/O command set
	MPSMIN uint8 // memory page size, 2^(12+n) bytes
	MPSMAX uint8
	CRMS   uint8 // controller ready modes: bit 0 with media, bit 1 independent of media
}

// Bits of CAP.CSS.
const (
	CAPCSSNVM  uint8 = 1 << 0
	CAPCSSIOCS uint8 = 1 << 6
	CAPCSSNone uint8 = 1 << 7
)

// Value gives the property as the number that Property Get returns.
func (c CAP) Value() uint64 {
	return uint64(c.MQES) | bit(c.CQR, uint64(1<<16)) | uint64(c.AMS&3)<<17 | uint64(c.TO)<<24 |
		uint64(c.DSTRD&0xf)<<32 | bit(c.NSSRS, uint64(1<<36)) | uint64(c.CSS)<<37 |
		uint64(c.MPSMIN&0xf)<<48 | uint64(c.MPSMAX&0xf)<<52 | uint64(c.CRMS&3)<<59
}

// ParseCAP splits the number that Property Get returned.
func ParseCAP(v uint64) CAP {
	return CAP{
		MQES: uint16(v), CQR: v>>16&1 == 1, AMS: uint8(v >> 17 & 3), TO: uint8(v >> 24),
		DSTRD: uint8(v >> 32 & 0xf), NSSRS: v>>36&1 == 1, CSS: uint8(v >> 37),
		MPSMIN: uint8(v >> 48 & 0xf), MPSMAX: uint8(v >> 52 & 0xf), CRMS: uint8(v >> 59 & 3),
	}
}

// Version is VS and the VER field: major in bits 31:16, minor in 15:8, tertiary in 7:0.
type Version uint32

// Versions of the base specification.
const (
	Version13 Version = 1<<16 | 3<<8
	Version14 Version = 1<<16 | 4<<8
	Version20 Version = 2 << 16
	Version21 Version = 2<<16 | 1<<8
)

// CC is the Controller Configuration property.
type CC struct {
	EN     bool
	CSS    uint8 // I/O command set selected: CCCSSNVM, CCCSSAll, CCCSSAdmin
	MPS    uint8
	AMS    uint8
	SHN    uint8 // shutdown notification: SHNNone, SHNNormal, SHNAbrupt
	IOSQES uint8 // log2 of the I/O submission queue entry, 6
	IOCQES uint8 // log2 of the I/O completion queue entry, 4
	CRIME  bool  // controller ready independent of media enable
}

// Values of CC.CSS and CC.SHN.
const (
	CCCSSNVM   uint8 = 0
	CCCSSAll   uint8 = 6
	CCCSSAdmin uint8 = 7

	SHNNone   uint8 = 0
	SHNNormal uint8 = 1
	SHNAbrupt uint8 = 2
)

// Value gives the property as a number.
func (c CC) Value() uint32 {
	return bit(c.EN, uint32(1)) | uint32(c.CSS&7)<<4 | uint32(c.MPS&0xf)<<7 | uint32(c.AMS&7)<<11 |
		uint32(c.SHN&3)<<14 | uint32(c.IOSQES&0xf)<<16 | uint32(c.IOCQES&0xf)<<20 | bit(c.CRIME, uint32(1<<24))
}

// ParseCC splits the number.
func ParseCC(v uint32) CC {
	return CC{
		EN: v&1 == 1, CSS: uint8(v >> 4 & 7), MPS: uint8(v >> 7 & 0xf), AMS: uint8(v >> 11 & 7),
		SHN: uint8(v >> 14 & 3), IOSQES: uint8(v >> 16 & 0xf), IOCQES: uint8(v >> 20 & 0xf), CRIME: v>>24&1 == 1,
	}
}

// CSTS is the Controller Status property.
type CSTS struct {
	RDY   bool
	CFS   bool  // controller fatal status
	SHST  uint8 // shutdown status
	NSSRO bool
	PP    bool // processing paused
}

// Values of CSTS.SHST.
const (
	SHSTNormal         uint8 = 0 // no shutdown has been asked for
	SHSTOccurringuint8       = 1
	SHSTComplete       uint8 = 2
)

// Value gives the property as a number.
func (c CSTS) Value() uint32 {
	return bit(c.RDY, uint32(1)) | bit(c.CFS, uint32(2)) | uint32(c.SHST&3)<<2 | bit(c.NSSRO, uint32(1<<4)) |
		bit(c.PP, uint32(1<<5))
}

// ParseCSTS splits the number.
func ParseCSTS(v uint32) CSTS {
	return CSTS{RDY: v&1 == 1, CFS: v>>1&1 == 1, SHST: uint8(v >> 2 & 3), NSSRO: v>>4&1 == 1, PP: v>>5&1 == 1}
}
