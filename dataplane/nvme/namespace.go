package nvme

// LBAFormat is one LBA format of a namespace.
type LBAFormat struct {
	MS    uint16 // metadata bytes per block
	LBADS uint8  // log2 of the block size, 9 = 512 B
	RP    uint8  // relative performance, 0 best .. 3
}

// Values and bits of Identify Namespace.
const (
	NSFEATThin      uint8 = 1 << 0 // NSZE, NCAP and NUSE mean something
	NSFEATAtomic    uint8 = 1 << 1 // NAWUN, NAWUPF, NACWU are set
	NSFEATDeallocEr uint8 = 1 << 2
	NSFEATOptPerf   uint8 = 1 << 4 // NPWG, NPWA, NPDG, NPDA, NOWS are set
	NMICShared      uint8 = 1 << 0
	DLFEATZeroes    uint8 = 1      // a deallocated block reads as zeroes
	DLFEATWZDEAC    uint8 = 1 << 3 // Write Zeroes with DEAC deallocates
	NSATTRReadOnly  uint8 = 1 << 0
	NSTATReady      uint8 = 1 << 0
)

// IdentifyNamespace is the NVM command set Identify Namespace data structure (CNS 00h, NVM 4.1.5.1). The
// preferred sizes NPWG to NOWS are logical blocks, 0's based. Only the formats that count are kept: NLBAF+1
// of them, at least one and at most 64. A namespace that is not active is all zero and decodes to NSZE 0 with
// one zero format.
type IdentifyNamespace struct {
	NSZE, NCAP, NUSE       uint64 // logical blocks
	NSFEAT                 uint8
	FLBAS                  uint8 // format in use: index in bits 3:0 (and 6:5)
	MC, DPC, DPS           uint8
	NMIC                   uint8
	RESCAP                 uint8
	FPI                    uint8
	DLFEAT                 uint8
	NAWUN, NAWUPF, NACWU   uint16
	NABSN, NABO, NABSPF    uint16
	NOIOB                  uint16
	NVMCAP                 [16]byte // bytes, 128 bit
	NPWG, NPWA, NPDG, NPDA uint16
	NOWS                   uint16
	MSSRL                  uint16
	MCL                    uint32
	MSRC                   uint8
	ANAGRPID               uint32
	NSATTR                 uint8
	NVMSETID, ENDGID       uint16
	NGUID                  [16]byte
	EUI64                  [8]byte
	LBAF                   []LBAFormat
}

const maxLBAFormats = 64

// Encode writes the IdentifySize bytes of n to b. Formats past the 64th are dropped.
func (n *IdentifyNamespace) Encode(b []byte) {
	clear(b[:IdentifySize])
	put64(b[0:], n.NSZE)
	put64(b[8:], n.NCAP)
	put64(b[16:], n.NUSE)
	b[24] = n.NSFEAT
	formats := n.LBAF[:min(len(n.LBAF), maxLBAFormats)]
	b[25] = uint8(max(len(formats), 1) - 1)
	b[26], b[27], b[28], b[29], b[30], b[31], b[32], b[33] =
		n.FLBAS, n.MC, n.DPC, n.DPS, n.NMIC, n.RESCAP, n.FPI, n.DLFEAT
	for i, v := range [...]uint16{n.NAWUN, n.NAWUPF, n.NACWU, n.NABSN, n.NABO, n.NABSPF, n.NOIOB} {
		put16(b[34+2*i:], v)
	}
	copy(b[48:64], n.NVMCAP[:])
	for i, v := range [...]uint16{n.NPWG, n.NPWA, n.NPDG, n.NPDA, n.NOWS, n.MSSRL} {
		put16(b[64+2*i:], v)
	}
	put32(b[76:], n.MCL)
	b[80] = n.MSRC
	put32(b[92:], n.ANAGRPID)
	b[99] = n.NSATTR
	put16(b[100:], n.NVMSETID)
	put16(b[102:], n.ENDGID)
	copy(b[104:120], n.NGUID[:])
	copy(b[120:128], n.EUI64[:])
	for i, f := range formats {
		put16(b[128+4*i:], f.MS)
		b[130+4*i], b[131+4*i] = f.LBADS, f.RP&3
	}
}

// DecodeIdentifyNamespace reads the structure. More than 64 formats, or a format in use that is not listed,
// is an error.
func DecodeIdentifyNamespace(b []byte) (*IdentifyNamespace, error) {
	if len(b) < IdentifySize {
		return nil, ErrShort
	}
	formats := int(b[25]) + 1
	n := &IdentifyNamespace{
		NSZE: u64(b[0:]), NCAP: u64(b[8:]), NUSE: u64(b[16:]), NSFEAT: b[24], FLBAS: b[26], MC: b[27], DPC: b[28],
		DPS: b[29], NMIC: b[30], RESCAP: b[31], FPI: b[32], DLFEAT: b[33], NAWUN: u16(b[34:]), NAWUPF: u16(b[36:]),
		NACWU: u16(b[38:]), NABSN: u16(b[40:]), NABO: u16(b[42:]), NABSPF: u16(b[44:]), NOIOB: u16(b[46:]),
		NVMCAP: [16]byte(b[48:64]), NPWG: u16(b[64:]), NPWA: u16(b[66:]), NPDG: u16(b[68:]), NPDA: u16(b[70:]),
		NOWS: u16(b[72:]), MSSRL: u16(b[74:]), MCL: u32(b[76:]), MSRC: b[80], ANAGRPID: u32(b[92:]), NSATTR: b[99],
		NVMSETID: u16(b[100:]), ENDGID: u16(b[102:]), NGUID: [16]byte(b[104:120]), EUI64: [8]byte(b[120:128]),
	}
	if formats > maxLBAFormats || n.formatIndex() >= formats {
		return nil, ErrFormat
	}
	n.LBAF = make([]LBAFormat, formats)
	for i := range n.LBAF {
		n.LBAF[i] = LBAFormat{MS: u16(b[128+4*i:]), LBADS: b[130+4*i], RP: b[131+4*i] & 3}
	}
	return n, nil
}

// formatIndex joins bits 3:0 and 6:5 of FLBAS.
func (n *IdentifyNamespace) formatIndex() int { return int(n.FLBAS&0xf | n.FLBAS>>5&3<<4) }

// BlockShift returns log2 of the logical block size in use. It fails for sizes outside 512 B to 64 KiB and
// for formats with metadata, which we do not speak.
func (n *IdentifyNamespace) BlockShift() (uint8, error) {
	i := n.formatIndex()
	if i >= len(n.LBAF) || n.LBAF[i].LBADS < 9 || n.LBAF[i].LBADS > 16 || n.LBAF[i].MS != 0 {
		return 0, ErrFormat
	}
	return n.LBAF[i].LBADS, nil
}

// IdentifyNamespaceIndependent is the I/O command set independent Identify Namespace structure (CNS 08h).
type IdentifyNamespaceIndependent struct {
	NSFEAT, NMIC, RESCAP, FPI uint8
	ANAGRPID                  uint32
	NSATTR                    uint8
	NVMSETID, ENDGID          uint16
	NSTAT                     uint8
}

// Encode writes the IdentifySize bytes of n to b.
func (n IdentifyNamespaceIndependent) Encode(b []byte) {
	clear(b[:IdentifySize])
	b[0], b[1], b[2], b[3] = n.NSFEAT, n.NMIC, n.RESCAP, n.FPI
	put32(b[4:], n.ANAGRPID)
	b[8] = n.NSATTR
	put16(b[10:], n.NVMSETID)
	put16(b[12:], n.ENDGID)
	b[14] = n.NSTAT
}

// DecodeIdentifyNamespaceIndependent reads the structure.
func DecodeIdentifyNamespaceIndependent(b []byte) (IdentifyNamespaceIndependent, error) {
	if len(b) < IdentifySize {
		return IdentifyNamespaceIndependent{}, ErrShort
	}
	return IdentifyNamespaceIndependent{
		NSFEAT: b[0], NMIC: b[1], RESCAP: b[2], FPI: b[3], ANAGRPID: u32(b[4:]), NSATTR: b[8],
		NVMSETID: u16(b[10:]), ENDGID: u16(b[12:]), NSTAT: b[14],
	}, nil
}

// IdentifyNamespaceNVM is the NVM command set specific Identify Namespace structure (CNS 05h, CSI 0), without
// the extended formats: we offer no metadata.
type IdentifyNamespaceNVM struct {
	LBSTM uint64 // logical block storage tag mask
	PIC   uint8  // protection information capabilities
}

// Encode writes the IdentifySize bytes of n to b.
func (n IdentifyNamespaceNVM) Encode(b []byte) {
	clear(b[:IdentifySize])
	put64(b, n.LBSTM)
	b[8] = n.PIC
}

// DecodeIdentifyNamespaceNVM reads the structure.
func DecodeIdentifyNamespaceNVM(b []byte) (IdentifyNamespaceNVM, error) {
	if len(b) < IdentifySize {
		return IdentifyNamespaceNVM{}, ErrShort
	}
	return IdentifyNamespaceNVM{LBSTM: u64(b), PIC: b[8]}, nil
}

// MaxNSList is the number of namespace identifiers in a namespace list.
const MaxNSList = IdentifySize / 4

// EncodeNSList writes a namespace list (CNS 02h, 07h, 10h and log page 04h): IdentifySize bytes, ascending,
// filled up with zeroes. Identifiers past MaxNSList are dropped, as the specification wants; the host asks
// again.
func EncodeNSList(b []byte, ids []uint32) {
	clear(b[:IdentifySize])
	for i, id := range ids[:min(len(ids), MaxNSList)] {
		put32(b[4*i:], id)
	}
}

// DecodeNSList reads a namespace list up to its first zero.
func DecodeNSList(b []byte) ([]uint32, error) {
	if len(b) < IdentifySize {
		return nil, ErrShort
	}
	var ids []uint32
	for i := 0; i < IdentifySize && u32(b[i:]) != 0; i += 4 {
		ids = append(ids, u32(b[i:]))
	}
	return ids, nil
}

// NSDescriptors is the namespace identification descriptor list (CNS 03h). A zero field is left out of the
// list, except CSI, which is there when HasCSI.
//
//	0      1      2          4      4+NIDL
//	+------+------+----------+------+---   each descriptor; a NIDT of 0 ends the list
//	| NIDT | NIDL | reserved | NID  |
//	+------+------+----------+------+---
type NSDescriptors struct {
	EUI64  [8]byte
	NGUID  [16]byte
	UUID   [16]byte
	CSI    uint8
	HasCSI bool
}

// Namespace identifier types (NIDT).
const (
	nidtEUI64 uint8 = 1
	nidtNGUID uint8 = 2
	nidtUUID  uint8 = 3
	nidtCSI   uint8 = 4
)

// Encode writes the IdentifySize bytes of the list to b.
func (d NSDescriptors) Encode(b []byte) {
	clear(b[:IdentifySize])
	add := func(nidt uint8, id []byte) {
		b[0], b[1] = nidt, uint8(len(id))
		copy(b[4:], id)
		b = b[4+len(id):]
	}
	if d.EUI64 != [8]byte{} {
		add(nidtEUI64, d.EUI64[:])
	}
	if d.NGUID != [16]byte{} {
		add(nidtNGUID, d.NGUID[:])
	}
	if d.UUID != [16]byte{} {
		add(nidtUUID, d.UUID[:])
	}
	if d.HasCSI {
		add(nidtCSI, []byte{d.CSI})
	}
}

// DecodeNSDescriptors reads the list. Unknown types are skipped; a known type of a wrong length is an error.
func DecodeNSDescriptors(b []byte) (NSDescriptors, error) {
	var d NSDescriptors
	if len(b) < IdentifySize {
		return d, ErrShort
	}
	b = b[:IdentifySize]
	for len(b) >= 4 && b[0] != 0 {
		nidt, n := b[0], int(b[1])
		if n == 0 || n > len(b)-4 || wrongNIDL(nidt, n) {
			return NSDescriptors{}, ErrFormat
		}
		id := b[4 : 4+n]
		switch nidt {
		case nidtEUI64:
			copy(d.EUI64[:], id)
		case nidtNGUID:
			copy(d.NGUID[:], id)
		case nidtUUID:
			copy(d.UUID[:], id)
		case nidtCSI:
			d.CSI, d.HasCSI = id[0], true
		}
		b = b[4+n:]
	}
	return d, nil
}

func wrongNIDL(nidt uint8, n int) bool {
	switch nidt {
	case nidtEUI64:
		return n != 8
	case nidtNGUID, nidtUUID:
		return n != 16
	case nidtCSI:
		return n != 1
	}
	return false
}

// EncodeIOCommandSets writes the Identify I/O Command Set data structure (CNS 1Ch): combination 0 is the NVM
// command set alone.
func EncodeIOCommandSets(b []byte) {
	clear(b[:IdentifySize])
	put64(b, 1<<CSINVM)
}

// EncodeControllerList writes a controller list (CNS 12h, 13h): IdentifySize bytes, a count and ascending
// identifiers.
func EncodeControllerList(b []byte, ids []uint16) {
	clear(b[:IdentifySize])
	ids = ids[:min(len(ids), IdentifySize/2-1)]
	put16(b, uint16(len(ids)))
	for i, id := range ids {
		put16(b[2+2*i:], id)
	}
}

// DecodeControllerList reads a controller list.
func DecodeControllerList(b []byte) ([]uint16, error) {
	if len(b) < IdentifySize {
		return nil, ErrShort
	}
	n := int(u16(b))
	if n > IdentifySize/2-1 {
		return nil, ErrFormat
	}
	ids := make([]uint16, n)
	for i := range ids {
		ids[i] = u16(b[2+2*i:])
	}
	return ids, nil
}
