package nvme

import (
	"bytes"
	"strings"
)

// Connect is the fabrics Connect command (Base 6.3): the fields of its SQE and the result of its completion.
type Connect struct {
	RECFMT uint16 // 0
	QID    uint16 // 0 is the admin queue
	SQSIZE uint16 // entries, 0's based
	CATTR  uint8
	KATO   uint32 // keep alive timeout, milliseconds; 0 turns the timer off
}

// Bits of CATTR.
const (
	CATTRPriorityMask  uint8 = 3
	CATTRDisableSQFlow uint8 = 1 << 2 // the host asks for a queue without SQ head pointer flow control
	CATTRIOQueueDelete uint8 = 1 << 3 // the host supports deletion of single I/O queues (Disconnect)
)

// Connect fills c with a Connect command; the SGL is the caller's to set.
func (c *Command) Connect(v Connect) {
	*c = Command{0: OpFabrics, 2: c[2], 3: c[3], 4: FabricsConnect}
	put16(c[40:], v.RECFMT)
	put16(c[42:], v.QID)
	put16(c[44:], v.SQSIZE)
	c[46] = v.CATTR
	put32(c[48:], v.KATO)
}

// ConnectFields reads the fields of a Connect command.
func (c *Command) ConnectFields() Connect {
	return Connect{RECFMT: u16(c[40:]), QID: u16(c[42:]), SQSIZE: u16(c[44:]), CATTR: c[46], KATO: u32(c[48:])}
}

// Result of a successful Connect: CNTLID in bits 15:0 of DW0, AUTHREQ in bits 31:16.
const (
	ConnectAuthATR  uint32 = 1 << 17 // authentication transaction required on this queue before other commands
	ConnectAuthASCR uint32 = 1 << 18 // authentication after a secure channel (TLS) required
)

// ConnectFault builds the result of a Connect that failed with ConnectInvalidParameters: the byte offset of
// the bad parameter, in the SQE or in the connect data.
func ConnectFault(offset uint16, inData bool) uint32 {
	return uint32(offset) | bit(inData, uint32(1<<16))
}

// Byte offsets of Connect parameters, for ConnectFault.
const (
	ConnectOffsetQID     = 42
	ConnectOffsetSQSize  = 44
	ConnectOffsetHostID  = 0
	ConnectOffsetCNTLID  = 16
	ConnectOffsetSubNQN  = 256
	ConnectOffsetHostNQN = 512
)

// ConnectDataSize is the size of the data of a Connect command.
const ConnectDataSize = 1024

// AnyController is the CNTLID of a Connect that lets the subsystem choose (dynamic controller model).
const AnyController uint16 = 0xffff

// ConnectData is the data of a Connect command.
//
//	0        16       18         256       512        768        1024
//	+--------+--------+----------+---------+----------+----------+
//	| HOSTID | CNTLID | reserved | SUBNQN  | HOSTNQN  | reserved |
//	+--------+--------+----------+---------+----------+----------+
type ConnectData struct {
	HostID  [16]byte
	CNTLID  uint16
	SubNQN  string
	HostNQN string
}

// Encode writes the ConnectDataSize bytes of d to b. NQNs that do not pass CheckNQN are an error.
func (d ConnectData) Encode(b []byte) error {
	if err := CheckNQN(d.SubNQN); err != nil {
		return err
	}
	if err := CheckNQN(d.HostNQN); err != nil {
		return err
	}
	clear(b[:ConnectDataSize])
	copy(b, d.HostID[:])
	put16(b[16:], d.CNTLID)
	copy(b[ConnectOffsetSubNQN:], d.SubNQN)
	copy(b[ConnectOffsetHostNQN:], d.HostNQN)
	return nil
}

// DecodeConnectData reads the data of a Connect command. NQNs come back as sent, up to their first NUL; a
// field without a NUL is an error. Whether a name is well formed is for CheckNQN, so that the answer can name
// the field.
func DecodeConnectData(b []byte) (ConnectData, error) {
	if len(b) < ConnectDataSize {
		return ConnectData{}, ErrShort
	}
	d := ConnectData{HostID: [16]byte(b), CNTLID: u16(b[16:])}
	var ok1, ok2 bool
	d.SubNQN, ok1 = cString(b[ConnectOffsetSubNQN : ConnectOffsetSubNQN+256])
	d.HostNQN, ok2 = cString(b[ConnectOffsetHostNQN : ConnectOffsetHostNQN+256])
	if !ok1 || !ok2 {
		return ConnectData{}, ErrFormat
	}
	return d, nil
}

// MaxNQN is the longest NVMe qualified name in bytes (Base 4.5).
const MaxNQN = 223

// DiscoveryNQN is the well known name of the discovery subsystem.
const DiscoveryNQN = "nqn.2014-08.org.nvmexpress.discovery"

// CheckNQN reports whether s may be an NVMe qualified name: 1 to MaxNQN printable bytes that start with
// "nqn.yyyy-mm.". The rest of a name is the owner's choice, and hosts in the field are inventive.
func CheckNQN(s string) error {
	const form = "nqn.dddd-dd."
	if len(s) <= len(form) || len(s) > MaxNQN {
		return ErrFormat
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return ErrFormat
		}
	}
	for i := range len(form) {
		digit := s[i] >= '0' && s[i] <= '9'
		if form[i] == 'd' && i > 3 && !digit || (form[i] != 'd' || i <= 3) && s[i] != form[i] {
			return ErrFormat
		}
	}
	return nil
}

// PropertyGet fills c with a Property Get command; size is 4 or 8 bytes.
func (c *Command) PropertyGet(offset uint32, size int) {
	*c = Command{0: OpFabrics, 2: c[2], 3: c[3], 4: FabricsPropertyGet, 40: bit(size == 8, uint8(1))}
	put32(c[44:], offset)
	c.SetSGL(SGLNone())
}

// PropertySet fills c with a Property Set command; size is 4 or 8 bytes.
func (c *Command) PropertySet(offset uint32, size int, value uint64) {
	*c = Command{0: OpFabrics, 2: c[2], 3: c[3], 4: FabricsPropertySet, 40: bit(size == 8, uint8(1))}
	put32(c[44:], offset)
	put64(c[48:], value)
	c.SetSGL(SGLNone())
}

// PropertyFields reads offset, size (4 or 8, or 0 for a reserved value) and, for Property Set, the value.
func (c *Command) PropertyFields() (offset uint32, size int, value uint64) {
	switch c[40] & 7 {
	case 0:
		size = 4
	case 1:
		size = 8
	}
	return u32(c[44:]), size, u64(c[48:])
}

// Disconnect fills c with a Disconnect command, which ends an I/O queue.
func (c *Command) Disconnect() {
	*c = Command{0: OpFabrics, 2: c[2], 3: c[3], 4: FabricsDisconnect}
	c.SetSGL(SGLNone())
}

// Authentication is the security fields of Authentication Send and Authentication Receive (Base 6.2).
type Authentication struct {
	SPSP0, SPSP1 uint8
	SECP         uint8  // security protocol; E9h is NVMe in-band authentication, F0h.. vendor specific
	Length       uint32 // TL or AL: bytes of data, or of the buffer
}

// AuthSend fills c with an Authentication Send command; the SGL is the caller's to set.
func (c *Command) AuthSend(a Authentication) { c.auth(FabricsAuthSend, a) }

// AuthReceive fills c with an Authentication Receive command; the SGL is the caller's to set.
func (c *Command) AuthReceive(a Authentication) { c.auth(FabricsAuthReceive, a) }

func (c *Command) auth(fctype uint8, a Authentication) {
	*c = Command{0: OpFabrics, 2: c[2], 3: c[3], 4: fctype, 41: a.SPSP0, 42: a.SPSP1, 43: a.SECP}
	put32(c[44:], a.Length)
}

// AuthFields reads the fields of an authentication command.
func (c *Command) AuthFields() Authentication {
	return Authentication{SPSP0: c[41], SPSP1: c[42], SECP: c[43], Length: u32(c[44:])}
}

// cString reads a NUL terminated string out of a fixed field.
func cString(b []byte) (string, bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return "", false
	}
	return string(b[:i]), true
}

// padded reads an ASCII field that is filled up with blanks (or, from lax senders, NULs).
func padded(b []byte) string {
	return strings.TrimRight(string(b), " \x00")
}

// putPadded writes s to b and fills b up with blanks; a longer s is cut.
func putPadded(b []byte, s string) {
	n := copy(b, s)
	for i := n; i < len(b); i++ {
		b[i] = ' '
	}
}
