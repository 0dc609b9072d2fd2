package nvme

import "fmt"

// PDUType is the first byte of every PDU (TCP 3.6).
type PDUType uint8

// The PDU types of NVMe/TCP.
const (
	PDUICReq       PDUType = 0x00 // Initialize Connection Request, host to controller
	PDUICResp      PDUType = 0x01 // Initialize Connection Response, controller to host
	PDUH2CTermReq  PDUType = 0x02 // Host to Controller Terminate Connection Request
	PDUC2HTermReq  PDUType = 0x03 // Controller to Host Terminate Connection Request
	PDUCapsuleCmd  PDUType = 0x04 // Command Capsule, host to controller
	PDUCapsuleResp PDUType = 0x05 // Response Capsule, controller to host
	PDUH2CData     PDUType = 0x06 // Host to Controller Data Transfer
	PDUC2HData     PDUType = 0x07 // Controller to Host Data Transfer
	PDUR2T         PDUType = 0x09 // Ready to Transfer, controller to host
)

func (t PDUType) String() string {
	names := [...]string{
		"ICReq", "ICResp", "H2CTermReq", "C2HTermReq", "CapsuleCmd", "CapsuleResp", "H2CData", "C2HData",
		"08h", "R2T",
	}
	if int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("%02Xh", uint8(t))
}

// PDU flags (FLAGS of the common header).
const (
	FlagHDGST   uint8 = 1 << 0 // HDGSTF: a header digest follows the header
	FlagDDGST   uint8 = 1 << 1 // DDGSTF: a data digest follows the data
	FlagLast    uint8 = 1 << 2 // LAST_PDU of H2CData and C2HData
	FlagSuccess uint8 = 1 << 3 // SUCCESS of C2HData: no response capsule follows; needs LAST_PDU
)

// Header lengths (HLEN) and limits, in bytes.
const (
	CommonHeaderSize = 8
	ICSize           = 128 // ICReq and ICResp
	CapsuleCmdSize   = 72
	CapsuleRespSize  = 24
	DataHeaderSize   = 24 // H2CData, C2HData and R2T
	TermReqSize      = 24
	TermReqMaxData   = 128 // at most so many bytes of the offending header come back in a TermReq
	MaxHeaderSize    = 128 // header, digest and padding of any PDU: PDO never exceeds it
	MinMaxH2CData    = 4096
)

// Header is the common header (CH) of a PDU (TCP 3.6.1).
type Header struct {
	Type  PDUType
	Flags uint8
	HLEN  uint8  // header length, bytes, without digest
	PDO   uint8  // data offset from the start of the PDU, bytes; 0 when there is no data
	PLEN  uint32 // length of the whole PDU, bytes
}

// DecodeHeader reads a common header. It checks nothing: that is the task of Framing.CheckHost and
// CheckController.
func DecodeHeader(b []byte) (Header, error) {
	if len(b) < CommonHeaderSize {
		return Header{}, ErrShort
	}
	return Header{Type: PDUType(b[0]), Flags: b[1], HLEN: b[2], PDO: b[3], PLEN: u32(b[4:])}, nil
}

// Encode writes the CommonHeaderSize bytes of h to b.
func (h Header) Encode(b []byte) {
	_ = b[CommonHeaderSize-1]
	b[0], b[1], b[2], b[3] = uint8(h.Type), h.Flags, h.HLEN, h.PDO
	put32(b[4:], h.PLEN)
}

// FES is the Fatal Error Status of a TermReq PDU.
type FES uint16

// Fatal error status values (TCP 3.6.2.3 and 3.6.2.4).
const (
	FESInvalidHeaderField   FES = 1 // FEI: byte offset of the field in the PDU
	FESSequenceError        FES = 2 // FEI: 0
	FESHeaderDigestError    FES = 3 // FEI: the digest received
	FESDataOutOfRange       FES = 4 // FEI: byte offset of the field
	FESDataLimitExceeded    FES = 5 // FEI: 0; host side name: R2T Limit Exceeded
	FESUnsupportedParameter FES = 6 // FEI: byte offset of the field
)

func (f FES) String() string {
	switch f {
	case 0:
		return "no error"
	case FESInvalidHeaderField:
		return "invalid PDU header field"
	case FESSequenceError:
		return "PDU sequence error"
	case FESHeaderDigestError:
		return "header digest error"
	case FESDataOutOfRange:
		return "data transfer out of range"
	case FESDataLimitExceeded:
		return "data transfer or R2T limit exceeded"
	case FESUnsupportedParameter:
		return "unsupported parameter"
	}
	return fmt.Sprintf("fatal error status %d", uint16(f))
}

// Fault is a fatal transport error: what a TermReq PDU tells the other side before the connection is closed.
// The zero value means no fault.
type Fault struct {
	FES FES
	FEI uint32
}

// OK reports that there is no fault.
func (f Fault) OK() bool { return f.FES == 0 }

// Error names the fault, so that it may be returned as an error when it is not OK.
func (f Fault) Error() string {
	return fmt.Sprintf("nvme/tcp fatal error: %s (FEI %#x)", f.FES, f.FEI)
}

// Byte offsets of the common header's fields, for FEI.
const (
	feiType  = 0
	feiFlags = 1
	feiHLEN  = 2
	feiPDO   = 3
	feiPLEN  = 4
)

func badField(offset uint32) Fault { return Fault{FES: FESInvalidHeaderField, FEI: offset} }

// ICReq is the Initialize Connection Request PDU.
//
//	0     8     10     11     12       16            128
//	+-----+-----+------+------+--------+-------------+
//	| CH  | PFV | HPDA | DGST | MAXR2T | reserved    |
//	+-----+-----+------+------+--------+-------------+
type ICReq struct {
	PFV    uint16 // PDU format version, 0
	HPDA   uint8  // alignment the host wants for data it gets, dwords, 0's based, 0..31
	DGST   uint8  // bit 0 header digest, bit 1 data digest
	MAXR2T uint32 // R2Ts outstanding per command that the host supports, 0's based
}

// ICResp is the Initialize Connection Response PDU; MAXH2CDATA takes the place of MAXR2T.
type ICResp struct {
	PFV        uint16
	CPDA       uint8  // alignment the controller wants for data it gets, dwords, 0's based, 0..31
	DGST       uint8  // digests that are on from now on
	MAXH2CDATA uint32 // most bytes of data in one H2CData PDU; multiple of 4, at least 4096
}

// Bits of DGST.
const (
	DGSTHeader uint8 = 1 << 0
	DGSTData   uint8 = 1 << 1
)

// MaxPDA is the largest HPDA or CPDA: data aligned to 128 bytes.
const MaxPDA = 31

// Encode writes the ICSize bytes of the PDU to b.
func (r ICReq) Encode(b []byte) { encodeIC(b, PDUICReq, r.PFV, r.HPDA, r.DGST, r.MAXR2T) }

// Encode writes the ICSize bytes of the PDU to b.
func (r ICResp) Encode(b []byte) { encodeIC(b, PDUICResp, r.PFV, r.CPDA, r.DGST, r.MAXH2CDATA) }

func encodeIC(b []byte, t PDUType, pfv uint16, pda, dgst uint8, max uint32) {
	clear(b[:ICSize])
	Header{Type: t, HLEN: ICSize, PLEN: ICSize}.Encode(b)
	put16(b[8:], pfv)
	b[10], b[11] = pda, dgst
	put32(b[12:], max)
}

// DecodeICReq reads and checks a whole ICReq PDU; the fault is what the controller answers with (TCP
// 3.6.2.1).
func DecodeICReq(b []byte) (ICReq, Fault) {
	if f := checkIC(b, PDUICReq); !f.OK() {
		return ICReq{}, f
	}
	return ICReq{PFV: u16(b[8:]), HPDA: b[10], DGST: b[11] & 3, MAXR2T: u32(b[12:])}, Fault{}
}

// DecodeICResp reads and checks a whole ICResp PDU (TCP 3.6.2.2).
func DecodeICResp(b []byte) (ICResp, Fault) {
	if f := checkIC(b, PDUICResp); !f.OK() {
		return ICResp{}, f
	}
	r := ICResp{PFV: u16(b[8:]), CPDA: b[10], DGST: b[11] & 3, MAXH2CDATA: u32(b[12:])}
	if r.MAXH2CDATA < MinMaxH2CData || r.MAXH2CDATA%4 != 0 {
		return ICResp{}, Fault{FES: FESUnsupportedParameter, FEI: 12}
	}
	return r, Fault{}
}

func checkIC(b []byte, t PDUType) Fault {
	h, err := DecodeHeader(b)
	switch {
	case err != nil:
		return badField(feiPLEN)
	case h.Type != t:
		return Fault{FES: FESSequenceError}
	case h.Flags != 0:
		return badField(feiFlags)
	case h.HLEN != ICSize:
		return badField(feiHLEN)
	case h.PLEN != ICSize || len(b) < ICSize:
		return badField(feiPLEN)
	case u16(b[8:]) != 0:
		return Fault{FES: FESUnsupportedParameter, FEI: 8}
	case b[10] > MaxPDA:
		return badField(10)
	}
	return Fault{}
}

// TermReq is a Terminate Connection Request PDU of either direction. Data is the header of the PDU at fault.
//
//	0     8     10    14             24                 <=152
//	+-----+-----+-----+--------------+------------------+
//	| CH  | FES | FEI | reserved     | header at fault  |
//	+-----+-----+-----+--------------+------------------+
type TermReq struct {
	Type  PDUType // PDUH2CTermReq or PDUC2HTermReq
	Fault Fault
	Data  []byte // at most TermReqMaxData bytes
}

// Encode appends nothing: it writes the PDU to b and returns its length, at most TermReqSize+TermReqMaxData
// bytes. Longer Data is cut.
func (t TermReq) Encode(b []byte) int {
	data := t.Data[:min(len(t.Data), TermReqMaxData)]
	n := TermReqSize + len(data)
	clear(b[:TermReqSize])
	Header{Type: t.Type, HLEN: TermReqSize, PLEN: uint32(n)}.Encode(b)
	put16(b[8:], uint16(t.Fault.FES))
	put32(b[10:], t.Fault.FEI)
	copy(b[TermReqSize:n], data)
	return n
}

// DecodeTermReq reads a whole TermReq PDU; Data points into b.
func DecodeTermReq(b []byte) (TermReq, error) {
	h, err := DecodeHeader(b)
	if err != nil || len(b) < TermReqSize {
		return TermReq{}, ErrShort
	}
	if h.Type != PDUH2CTermReq && h.Type != PDUC2HTermReq || h.HLEN != TermReqSize ||
		h.PLEN < TermReqSize || h.PLEN > TermReqSize+TermReqMaxData {
		return TermReq{}, ErrFormat
	}
	if uint32(len(b)) < h.PLEN {
		return TermReq{}, ErrShort
	}
	return TermReq{
		Type: h.Type, Fault: Fault{FES: FES(u16(b[8:])), FEI: u32(b[10:])}, Data: b[TermReqSize:h.PLEN],
	}, nil
}
