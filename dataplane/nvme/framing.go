package nvme

// Framing is what the two sides of a connection agreed on with ICReq and ICResp. It knows how long every part
// of a PDU is: it builds headers and judges received ones. It is a value; every copy works.
type Framing struct {
	HeaderDigest bool
	DataDigest   bool
	HPDA         uint8  // alignment of data sent by the controller (C2HData)
	CPDA         uint8  // alignment of data sent by the host (CapsuleCmd, H2CData)
	MaxH2CData   uint32 // most bytes of data in one H2CData PDU
}

// NewFraming combines what was asked for and what was granted.
func NewFraming(q ICReq, p ICResp) Framing {
	return Framing{
		HeaderDigest: p.DGST&DGSTHeader != 0, DataDigest: p.DGST&DGSTData != 0,
		HPDA: q.HPDA, CPDA: p.CPDA, MaxH2CData: p.MAXH2CDATA,
	}
}

// HeaderLen is the bytes of a header of hlen bytes and of its digest.
func (f Framing) HeaderLen(hlen uint32) uint32 {
	if f.HeaderDigest {
		return hlen + DigestSize
	}
	return hlen
}

// dataOffset is the PDO for data after a header of hlen bytes, aligned as pda (HPDA or CPDA) asks.
func (f Framing) dataOffset(hlen uint32, pda uint8) uint32 {
	align := (uint32(pda) + 1) * 4
	return (f.HeaderLen(hlen) + align - 1) / align * align
}

// DataDigestLen is DigestSize when data digests are on, else 0.
func (f Framing) DataDigestLen() uint32 {
	if f.DataDigest {
		return DigestSize
	}
	return 0
}

// put completes a header that the caller filled from byte 8 on: common header, header digest, padding.
// It returns the bytes that precede the data.
func (f Framing) put(b []byte, t PDUType, flags uint8, hlen, dataLen uint32, pda uint8) int {
	h := Header{Type: t, Flags: flags, HLEN: uint8(hlen), PLEN: f.HeaderLen(hlen)}
	n := h.PLEN
	if dataLen > 0 {
		n = f.dataOffset(hlen, pda)
		h.PDO = uint8(n)
		h.PLEN = n + dataLen + f.DataDigestLen()
		h.Flags |= bit(f.DataDigest, FlagDDGST)
	}
	h.Flags |= bit(f.HeaderDigest, FlagHDGST)
	h.Encode(b)
	clear(b[hlen:n])
	if f.HeaderDigest {
		PutDigest(b[hlen:], CRC32C(0, b[:hlen]))
	}
	return int(n)
}

// PutCapsuleCmd writes the header of a command capsule with dataLen bytes of in-capsule data (0: none) to b,
// which has at least MaxHeaderSize bytes. It returns the bytes written; the data and, when on, its digest
// come next.
func (f Framing) PutCapsuleCmd(b []byte, c *Command, dataLen uint32) int {
	copy(b[CommonHeaderSize:CapsuleCmdSize], c[:])
	return f.put(b, PDUCapsuleCmd, 0, CapsuleCmdSize, dataLen, f.CPDA)
}

// PutCapsuleResp writes a whole response capsule PDU to b (28 bytes at most) and returns its length.
func (f Framing) PutCapsuleResp(b []byte, c Completion) int {
	c.Encode(b[CommonHeaderSize:])
	return f.put(b, PDUCapsuleResp, 0, CapsuleRespSize, 0, 0)
}

// PutR2T writes a whole Ready to Transfer PDU to b (28 bytes at most) and returns its length.
func (f Framing) PutR2T(b []byte, r R2T) int {
	putDataFields(b, r.CCCID, r.TTAG, r.R2TO, r.R2TL)
	return f.put(b, PDUR2T, 0, DataHeaderSize, 0, 0)
}

// PutH2CData writes the header of an H2CData PDU to b (MaxHeaderSize bytes) and returns the bytes written;
// DATAL bytes of data (more than 0) and, when on, their digest come next. flags is FlagLast or 0.
func (f Framing) PutH2CData(b []byte, d H2CData, flags uint8) int {
	putDataFields(b, d.CCCID, d.TTAG, d.DATAO, d.DATAL)
	return f.put(b, PDUH2CData, flags, DataHeaderSize, d.DATAL, f.CPDA)
}

// PutC2HData writes the header of a C2HData PDU to b (MaxHeaderSize bytes) and returns the bytes written;
// DATAL bytes of data (more than 0) and, when on, their digest come next. flags: FlagLast, FlagSuccess.
func (f Framing) PutC2HData(b []byte, d C2HData, flags uint8) int {
	putDataFields(b, d.CCCID, 0, d.DATAO, d.DATAL)
	return f.put(b, PDUC2HData, flags, DataHeaderSize, d.DATAL, f.HPDA)
}

// CheckHost judges the common header of a PDU that a host sent after ICReq: type, HLEN, digest flags, PDO and
// PLEN. maxInCapsule is the in-capsule data that the queue takes and maxData the most data of an H2CData PDU,
// in bytes. When it finds no fault, the data is PLEN-PDO-DataDigestLen bytes long (see DataLen) and within
// those limits.
func (f Framing) CheckHost(h Header, maxInCapsule, maxData uint32) Fault {
	switch h.Type {
	case PDUCapsuleCmd:
		return f.check(h, CapsuleCmdSize, 0, maxInCapsule, f.CPDA, 0)
	case PDUH2CData:
		return f.check(h, DataHeaderSize, 1, maxData, f.CPDA, FlagLast)
	case PDUH2CTermReq:
		return checkTermReq(h)
	case PDUICReq:
		return Fault{FES: FESSequenceError}
	}
	return badField(feiType)
}

// CheckController judges the common header of a PDU that a controller sent after ICResp; maxData is the most
// data that one C2HData PDU may carry.
func (f Framing) CheckController(h Header, maxData uint32) Fault {
	switch h.Type {
	case PDUCapsuleResp:
		return f.check(h, CapsuleRespSize, 0, 0, 0, 0)
	case PDUR2T:
		return f.check(h, DataHeaderSize, 0, 0, 0, 0)
	case PDUC2HData:
		if h.Flags&(FlagSuccess|FlagLast) == FlagSuccess {
			return badField(feiFlags) // SUCCESS belongs to the last PDU of a command
		}
		return f.check(h, DataHeaderSize, 1, maxData, f.HPDA, FlagLast|FlagSuccess)
	case PDUC2HTermReq:
		return checkTermReq(h)
	case PDUICResp:
		return Fault{FES: FESSequenceError}
	}
	return badField(feiType)
}

// check holds a header against the rules of TCP 3.6.1. PDO must be aligned and clear of the header; the
// padding may be longer than needed. Without data, PDO is reserved and PLEN exact.
func (f Framing) check(h Header, hlen, minData, maxData uint32, pda, flags uint8) Fault {
	if uint32(h.HLEN) != hlen {
		return badField(feiHLEN)
	}
	if h.Flags&FlagHDGST != bit(f.HeaderDigest, FlagHDGST) {
		return badField(feiFlags)
	}
	head := f.HeaderLen(hlen)
	if h.PLEN < head {
		return badField(feiPLEN)
	}
	if h.PLEN == head && minData == 0 {
		return Fault{} // no data; DDGSTF means nothing
	}
	if h.Flags&FlagDDGST != bit(f.DataDigest, FlagDDGST) || h.Flags&^(FlagHDGST|FlagDDGST|flags) != 0 {
		return badField(feiFlags)
	}
	pdo := uint32(h.PDO)
	if pdo < head || pdo > MaxHeaderSize || pdo%((uint32(pda)+1)*4) != 0 {
		return badField(feiPDO)
	}
	over := pdo + f.DataDigestLen()
	if h.PLEN <= over {
		return badField(feiPLEN)
	}
	if h.PLEN-over > maxData {
		if h.Type == PDUCapsuleCmd || maxData == 0 { // more than the capsule may hold
			return badField(feiPLEN)
		}
		return Fault{FES: FESDataLimitExceeded}
	}
	return Fault{}
}

func checkTermReq(h Header) Fault {
	if h.HLEN != TermReqSize {
		return badField(feiHLEN)
	}
	if h.PLEN < TermReqSize || h.PLEN > TermReqSize+TermReqMaxData {
		return badField(feiPLEN)
	}
	return Fault{}
}

// DataLen is the number of data bytes of a PDU whose header passed CheckHost or CheckController.
func (f Framing) DataLen(h Header) uint32 {
	if h.PLEN <= f.HeaderLen(uint32(h.HLEN)) || h.Type == PDUH2CTermReq || h.Type == PDUC2HTermReq {
		return 0
	}
	return h.PLEN - uint32(h.PDO) - f.DataDigestLen()
}

// Prefix is the number of bytes before the data (or of the whole PDU when it has none) that must have arrived
// before a PDU with the checked header h can be decoded.
func (f Framing) Prefix(h Header) uint32 {
	if f.DataLen(h) > 0 {
		return uint32(h.PDO)
	}
	return h.PLEN
}

// CheckHeaderDigest compares the header digest in pdu (HLEN bytes and 4 more) when digests are on.
func (f Framing) CheckHeaderDigest(pdu []byte, h Header) Fault {
	if !f.HeaderDigest || h.Type == PDUH2CTermReq || h.Type == PDUC2HTermReq {
		return Fault{}
	}
	if len(pdu) < int(h.HLEN)+DigestSize {
		return badField(feiPLEN)
	}
	if got := Digest(pdu[h.HLEN:]); got != CRC32C(0, pdu[:h.HLEN]) {
		return Fault{FES: FESHeaderDigestError, FEI: got}
	}
	return Fault{}
}

// H2CData is the Host to Controller Data Transfer PDU.
//
//	0     8       10     12      16      20         24
//	+-----+-------+------+-------+-------+----------+
//	| CH  | CCCID | TTAG | DATAO | DATAL | reserved |
//	+-----+-------+------+-------+-------+----------+
type H2CData struct {
	CCCID uint16 // CID of the command
	TTAG  uint16 // tag of the R2T it answers
	DATAO uint32 // offset of this data within the command's data, bytes
	DATAL uint32 // bytes
}

// C2HData is the Controller to Host Data Transfer PDU; it has no TTAG.
type C2HData struct {
	CCCID        uint16
	DATAO, DATAL uint32
}

// R2T is the Ready to Transfer PDU: R2TO and R2TL take the places of DATAO and DATAL.
type R2T struct {
	CCCID uint16
	TTAG  uint16
	R2TO  uint32 // offset of the wanted data within the command's data, bytes
	R2TL  uint32 // bytes wanted
}

func putDataFields(b []byte, cccid, ttag uint16, off, n uint32) {
	_ = b[DataHeaderSize-1]
	put16(b[8:], cccid)
	put16(b[10:], ttag)
	put32(b[12:], off)
	put32(b[16:], n)
	put32(b[20:], 0)
}

// DecodeH2CData reads an H2CData PDU from its first DataHeaderSize bytes.
func DecodeH2CData(b []byte) (H2CData, error) {
	if len(b) < DataHeaderSize {
		return H2CData{}, ErrShort
	}
	return H2CData{CCCID: u16(b[8:]), TTAG: u16(b[10:]), DATAO: u32(b[12:]), DATAL: u32(b[16:])}, nil
}

// DecodeC2HData reads a C2HData PDU from its first DataHeaderSize bytes.
func DecodeC2HData(b []byte) (C2HData, error) {
	if len(b) < DataHeaderSize {
		return C2HData{}, ErrShort
	}
	return C2HData{CCCID: u16(b[8:]), DATAO: u32(b[12:]), DATAL: u32(b[16:])}, nil
}

// DecodeR2T reads an R2T PDU from its first DataHeaderSize bytes.
func DecodeR2T(b []byte) (R2T, error) {
	if len(b) < DataHeaderSize {
		return R2T{}, ErrShort
	}
	return R2T{CCCID: u16(b[8:]), TTAG: u16(b[10:]), R2TO: u32(b[12:]), R2TL: u32(b[16:])}, nil
}

// DecodeCapsuleCmd copies the submission queue entry of a CapsuleCmd PDU to c.
func DecodeCapsuleCmd(b []byte, c *Command) error {
	if len(b) < CapsuleCmdSize {
		return ErrShort
	}
	copy(c[:], b[CommonHeaderSize:CapsuleCmdSize])
	return nil
}

// DecodeCapsuleResp reads the completion queue entry of a CapsuleResp PDU.
func DecodeCapsuleResp(b []byte) (Completion, error) {
	if len(b) < CapsuleRespSize {
		return Completion{}, ErrShort
	}
	return DecodeCompletion(b[CommonHeaderSize:])
}

// InRange checks that a data PDU of n bytes at off lies inside a transfer that may touch [start, end): the
// fault names DATAO (byte 12) or DATAL (byte 16). n must equal the bytes that the PDU really carries (have).
func InRange(off, n, have, start, end uint32) Fault {
	switch {
	case n != have:
		return badField(16)
	case off < start || off > end:
		return Fault{FES: FESDataOutOfRange, FEI: 12}
	case n > end-off:
		return Fault{FES: FESDataOutOfRange, FEI: 16}
	}
	return Fault{}
}
