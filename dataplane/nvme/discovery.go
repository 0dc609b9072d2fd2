package nvme

// Values of a discovery log page entry (Base 5.16.1.23).
const (
	TRTYPERDMA uint8 = 1
	TRTYPEFC   uint8 = 2
	TRTYPETCP  uint8 = 3

	ADRFAMIPv4 uint8 = 1
	ADRFAMIPv6 uint8 = 2

	SUBTYPEReferral  uint8 = 1 // another discovery subsystem
	SUBTYPENVM       uint8 = 2
	SUBTYPEDiscovery uint8 = 3 // the discovery subsystem that answers

	TREQNotSpecified    uint8  = 0
	TREQRequired        uint8  = 1 // secure channel
	TREQNotRequired     uint8  = 2
	TREQDisableSQFlow   uint8  = 1 << 2
	EFLAGSDupRetInfo    uint16 = 1 << 0 // every portal of the subsystem returns the same log
	EFLAGSExplicitPDC   uint16 = 1 << 1 // explicit persistent connections to the discovery controller
	SECTYPENone         uint8  = 0
	SECTYPETLS13        uint8  = 2
	discoveryRecordForm        = 0
)

// DiscoveryEntry is an entry of the discovery log page: one way to reach one subsystem.
type DiscoveryEntry struct {
	TRTYPE, ADRFAM, SUBTYPE, TREQ uint8
	PORTID                        uint16
	CNTLID                        uint16 // AnyController for the dynamic model
	ASQSZ                         uint16 // largest admin queue, entries
	EFLAGS                        uint16
	TRSVCID                       string // TCP port, decimal, at most 32 bytes
	SUBNQN                        string
	TRADDR                        string // at most 256 bytes
	SECTYPE                       uint8  // the first byte of TSAS
}

// DiscoveryLog is the discovery log page.
type DiscoveryLog struct {
	GENCTR  uint64 // changes when the log changes
	Entries []DiscoveryEntry
}

// Size is the bytes of the encoded log page.
func (l *DiscoveryLog) Size() int { return DiscoveryHeaderSize + DiscoveryEntrySize*len(l.Entries) }

// Encode writes the log page to b, which has Size bytes.
func (l *DiscoveryLog) Encode(b []byte) {
	clear(b[:DiscoveryHeaderSize])
	put64(b, l.GENCTR)
	put64(b[8:], uint64(len(l.Entries)))
	put16(b[16:], discoveryRecordForm)
	for i := range l.Entries {
		b = b[DiscoveryEntrySize:]
		l.Entries[i].Encode(b)
	}
}

// Encode writes the DiscoveryEntrySize bytes of e to b. TRSVCID and TRADDR are padded with blanks, as the
// specification has ASCII fields; longer strings are cut.
func (e *DiscoveryEntry) Encode(b []byte) {
	clear(b[:DiscoveryEntrySize])
	b[0], b[1], b[2], b[3] = e.TRTYPE, e.ADRFAM, e.SUBTYPE, e.TREQ
	put16(b[4:], e.PORTID)
	put16(b[6:], e.CNTLID)
	put16(b[8:], e.ASQSZ)
	put16(b[10:], e.EFLAGS)
	putPadded(b[32:64], e.TRSVCID)
	copy(b[256:256+MaxNQN], e.SUBNQN)
	putPadded(b[512:768], e.TRADDR)
	b[768] = e.SECTYPE
}

// DecodeDiscoveryHeader reads GENCTR and the number of entries: how much to ask for.
func DecodeDiscoveryHeader(b []byte) (genctr, numrec uint64, err error) {
	if len(b) < DiscoveryHeaderSize {
		return 0, 0, ErrShort
	}
	if u16(b[16:]) != discoveryRecordForm {
		return 0, 0, ErrFormat
	}
	return u64(b), u64(b[8:]), nil
}

// DecodeDiscoveryEntry reads one entry.
func DecodeDiscoveryEntry(b []byte) (DiscoveryEntry, error) {
	if len(b) < DiscoveryEntrySize {
		return DiscoveryEntry{}, ErrShort
	}
	nqn, ok := cString(b[256:512])
	if !ok {
		return DiscoveryEntry{}, ErrFormat
	}
	return DiscoveryEntry{
		TRTYPE: b[0], ADRFAM: b[1], SUBTYPE: b[2], TREQ: b[3], PORTID: u16(b[4:]), CNTLID: u16(b[6:]),
		ASQSZ: u16(b[8:]), EFLAGS: u16(b[10:]), TRSVCID: padded(b[32:64]), SUBNQN: nqn, TRADDR: padded(b[512:768]),
		SECTYPE: b[768],
	}, nil
}

// DecodeDiscoveryLog reads a whole log page.
func DecodeDiscoveryLog(b []byte) (*DiscoveryLog, error) {
	gen, n, err := DecodeDiscoveryHeader(b)
	if err != nil {
		return nil, err
	}
	b = b[DiscoveryHeaderSize:]
	if n > uint64(len(b)/DiscoveryEntrySize) {
		return nil, ErrShort
	}
	l := &DiscoveryLog{GENCTR: gen}
	for range n {
		e, err := DecodeDiscoveryEntry(b)
		if err != nil {
			return nil, err
		}
		l.Entries = append(l.Entries, e)
		b = b[DiscoveryEntrySize:]
	}
	return l, nil
}
