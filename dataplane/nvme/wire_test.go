package nvme

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// golden compares bytes with hex; blanks in want are for the reader.
func golden(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	raw, err := hex.DecodeString(strings.ReplaceAll(want, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, raw) {
		t.Errorf("%s:\n got %x\nwant %x", what, got, raw)
	}
}

// zeroes is n zero bytes in hex.
func zeroes(n int) string { return strings.Repeat("00", n) }

// TestCommandGolden pins commands byte for byte: what a Linux host puts on the wire.
func TestCommandGolden(t *testing.T) {
	var c Command
	c.ReadWrite(OpRead, 1, 0x1122334455, 8)
	c.SetCID(0xabcd)
	c.SetSGL(SGL{Length: 4096, ID: SGLTransport})
	golden(t, "read", c[:], "02 40 cdab 01000000"+zeroes(16)+
		"0000000000000000 00100000 000000 5a 5544332211000000 07000000"+zeroes(12))

	c = Command{}
	c.ReadWrite(OpWrite, 1, 16, 65536)
	c.SetSGL(SGL{Length: 4096, ID: SGLInCapsule})
	golden(t, "write", c[:], "01 40 0000 01000000"+zeroes(16)+
		"0000000000000000 00100000 000000 01 1000000000000000 ffff0000"+zeroes(12))
	if c.NLB() != 65536 || c.SLBA() != 16 {
		t.Errorf("NLB %d, SLBA %d", c.NLB(), c.SLBA())
	}

	c = Command{}
	c.Connect(Connect{QID: 1, SQSIZE: 127, CATTR: CATTRDisableSQFlow, KATO: 5000})
	golden(t, "connect", c[:], "7f 00 0000 01"+zeroes(3)+zeroes(32)+"0000 0100 7f00 04 00 88130000"+zeroes(12))

	c = Command{}
	c.PropertySet(PropertyCC, 4, uint64(CC{EN: true, IOSQES: 6, IOCQES: 4}.Value()))
	golden(t, "property set CC.EN", c[:], "7f 40 0000 00"+zeroes(3)+zeroes(16)+
		zeroes(15)+"5a 00000000 14000000 0100460000000000"+zeroes(8))

	c = Command{}
	c.GetLogPage(AllNamespaces, GetLogPage{LID: LogANA, LSP: 1, RAE: true, Length: 4096, Offset: 8})
	golden(t, "ANA log", c[:], "02 00 0000 ffffffff"+zeroes(32)+"0c81ff03 00000000 0800000000000000"+zeroes(8))
}

// TestPDUGolden pins PDUs byte for byte, without and with digests and alignment.
func TestPDUGolden(t *testing.T) {
	b := make([]byte, 512)
	ICReq{HPDA: 0, DGST: DGSTHeader, MAXR2T: 0}.Encode(b)
	golden(t, "ICReq", b[:ICSize], "00 00 80 00 80000000 0000 00 01 00000000"+zeroes(112))
	ICResp{CPDA: 1, DGST: 3, MAXH2CDATA: 0x20000}.Encode(b)
	golden(t, "ICResp", b[:ICSize], "01 00 80 00 80000000 0000 01 03 00000200"+zeroes(112))

	plain := Framing{MaxH2CData: 4096}
	n := plain.PutCapsuleResp(b, Completion{DW0: 7, SQHD: 3, CID: 0x102, Status: LBAOutOfRange | DNR})
	golden(t, "CapsuleResp", b[:n], "05 00 18 00 18000000 07000000 00000000 0300 0000 0201 0081")
	n = plain.PutR2T(b, R2T{CCCID: 5, TTAG: 9, R2TO: 8192, R2TL: 4096})
	golden(t, "R2T", b[:n], "09 00 18 00 18000000 0500 0900 00200000 00100000 00000000")
	n = plain.PutC2HData(b, C2HData{CCCID: 5, DATAO: 0, DATAL: 512}, FlagLast|FlagSuccess)
	golden(t, "C2HData", b[:n], "07 0c 18 18 18020000 0500 0000 00000000 00020000 00000000")
	var c Command
	n = plain.PutCapsuleCmd(b, &c, 0)
	golden(t, "CapsuleCmd", b[:n], "04 00 48 00 48000000"+zeroes(64))
	n = plain.PutCapsuleCmd(b, &c, 4096)
	golden(t, "CapsuleCmd with data", b[:n], "04 00 48 48 48100000"+zeroes(64))

	both := Framing{HeaderDigest: true, DataDigest: true, HPDA: 7, CPDA: 31, MaxH2CData: 4096}
	n = both.PutH2CData(b, H2CData{CCCID: 5, TTAG: 9, DATAO: 512, DATAL: 512}, FlagLast)
	if n != 128 {
		t.Fatalf("data starts at %d, CPDA 31 wants 128", n)
	}
	// The header digest was computed independently: CRC-32C of the 24 bytes before it.
	golden(t, "H2CData", b[:28], "06 07 18 80 84020000 0500 0900 00020000 00020000 00000000"+
		hex.EncodeToString(leBytes(crcBitwise(b[:24]))))
	n = both.PutC2HData(b, C2HData{CCCID: 5, DATAL: 512}, 0)
	if n != 32 || b[3] != 32 || u32(b[4:]) != 32+512+4 {
		t.Errorf("C2HData with HPDA 7: header %d, PDO %d, PLEN %d", n, b[3], u32(b[4:]))
	}
}

// leBytes gives a digest as it lies on the wire.
func leBytes(v uint32) []byte {
	b := make([]byte, 4)
	PutDigest(b, v)
	return b
}

// crcBitwise is CRC-32C by the book (reflected polynomial 82F63B78h), to check the table driven one.
func crcBitwise(b []byte) uint32 {
	crc := ^uint32(0)
	for _, v := range b {
		crc ^= uint32(v)
		for range 8 {
			crc = crc>>1 ^ 0x82f63b78*(crc&1)
		}
	}
	return ^crc
}

func TestDigestVector(t *testing.T) {
	if got := CRC32C(0, []byte("123456789")); got != 0xe3069283 { // RFC 3720's check value
		t.Errorf("CRC-32C = %08x", got)
	}
	whole := CRC32C(0, []byte("0123456789"))
	if got := CRC32C(CRC32C(0, []byte("0123")), []byte("456789")); got != whole {
		t.Errorf("in two parts %08x, at once %08x", got, whole)
	}
}

// TestStatus pins the split of the status field and its words.
func TestStatus(t *testing.T) {
	s := AsymmetricAccessInaccessible
	if !s.IsPath() || !s.IsANA() || s.Type() != 3 || s.OK() || s.Err() == nil {
		t.Errorf("%v: wrong kind", s)
	}
	if Success.Err() != nil || DNR.Err() != nil {
		t.Error("success is not nil")
	}
	if s := LBAOutOfRange.NoRetry(); s.MayRetry() || s.Code() != LBAOutOfRange {
		t.Errorf("%v: DNR", s)
	}
	if got := LBAOutOfRange.NoRetry().Error(); got != "nvme status 080h: LBA out of range, do not retry" {
		t.Error(got)
	}
	for code := range 0x800 {
		if Status(code).text() == "" {
			t.Errorf("status %03x has no words", code)
		}
	}
}

// TestFramingJudges feeds headers to both checks: one good form of each PDU, then one mistake at a time.
func TestFramingJudges(t *testing.T) {
	plain := Framing{MaxH2CData: 4096}
	digests := Framing{HeaderDigest: true, DataDigest: true, CPDA: 1, HPDA: 1}
	host := func(f Framing, h Header) Fault { return f.CheckHost(h, 8192, 4096) }
	ctrl := func(f Framing, h Header) Fault { return f.CheckController(h, 1<<20) }
	tooMuch := Fault{FES: FESDataLimitExceeded}
	cases := []struct {
		name  string
		f     Framing
		check func(Framing, Header) Fault
		h     Header
		want  Fault
	}{
		{"command", plain, host, Header{PDUCapsuleCmd, 0, 72, 0, 72}, Fault{}},
		{"command, data", plain, host, Header{PDUCapsuleCmd, 0, 72, 72, 72 + 8192}, Fault{}},
		{"command, padded data", plain, host, Header{PDUCapsuleCmd, 0, 72, 76, 76 + 8192}, Fault{}},
		{"command, digests", digests, host, Header{PDUCapsuleCmd, 3, 72, 80, 80 + 512 + 4}, Fault{}},
		{"command, digests, no data", digests, host, Header{PDUCapsuleCmd, 1, 72, 0, 76}, Fault{}},
		{"command too long", plain, host, Header{PDUCapsuleCmd, 0, 72, 72, 72 + 8193}, badField(4)},
		{"command HLEN", plain, host, Header{PDUCapsuleCmd, 0, 24, 0, 72}, badField(2)},
		{"command short PLEN", plain, host, Header{PDUCapsuleCmd, 0, 72, 0, 71}, badField(4)},
		{"command data, no PDO", plain, host, Header{PDUCapsuleCmd, 0, 72, 0, 80}, badField(3)},
		{"command PDO in header", plain, host, Header{PDUCapsuleCmd, 0, 72, 68, 80}, badField(3)},
		{"command PDO unaligned", digests, host, Header{PDUCapsuleCmd, 3, 72, 84, 184}, badField(3)},
		{"command PDO past the limit", plain, host, Header{PDUCapsuleCmd, 0, 72, 132, 184}, badField(3)},
		{"command PDO past the end", plain, host, Header{PDUCapsuleCmd, 0, 72, 80, 76}, badField(4)},
		{"command, digest missing", digests, host, Header{PDUCapsuleCmd, 0, 72, 0, 76}, badField(1)},
		{"command, data digest missing", digests, host, Header{PDUCapsuleCmd, 1, 72, 80, 592}, badField(1)},
		{"H2CData", plain, host, Header{PDUH2CData, FlagLast, 24, 24, 24 + 4096}, Fault{}},
		{"H2CData too long", plain, host, Header{PDUH2CData, 0, 24, 24, 24 + 4100}, tooMuch},
		{"H2CData empty", plain, host, Header{PDUH2CData, 0, 24, 24, 24}, badField(4)},
		{"H2CData success flag", plain, host, Header{PDUH2CData, FlagSuccess, 24, 24, 28}, badField(1)},
		{"a second ICReq", plain, host, Header{PDUICReq, 0, 128, 0, 128}, Fault{FES: FESSequenceError}},
		{"controller's PDU from host", plain, host, Header{PDUR2T, 0, 24, 0, 24}, badField(0)},
		{"unknown type", plain, host, Header{0x42, 0, 24, 0, 24}, badField(0)},
		{"H2CTermReq", plain, host, Header{PDUH2CTermReq, 0, 24, 0, 24 + 72}, Fault{}},
		{"H2CTermReq too long", plain, host, Header{PDUH2CTermReq, 0, 24, 0, 153}, badField(4)},
		{"response", plain, ctrl, Header{PDUCapsuleResp, 0, 24, 0, 24}, Fault{}},
		{"response with data", plain, ctrl, Header{PDUCapsuleResp, 0, 24, 24, 25}, badField(4)},
		{"R2T", digests, ctrl, Header{PDUR2T, 1, 24, 0, 28}, Fault{}},
		{"C2HData", digests, ctrl, Header{PDUC2HData, 0xf, 24, 32, 32 + 512 + 4}, Fault{}},
		{"C2HData success, not last", plain, ctrl, Header{PDUC2HData, FlagSuccess, 24, 24, 536}, badField(1)},
		{"host's PDU from controller", plain, ctrl, Header{PDUCapsuleCmd, 0, 72, 0, 72}, badField(0)},
		{"C2HData of 4 GiB", plain, ctrl, Header{PDUC2HData, 0, 24, 24, 0xffffffff}, tooMuch},
	}
	for _, c := range cases {
		if got := c.check(c.f, c.h); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestDataPDUInRange pins the limits of a transfer, also where sums would overflow 32 bits.
func TestDataPDUInRange(t *testing.T) {
	cases := []struct {
		name             string
		off, n, have     uint32
		start, end, want uint32
	}{
		{"all of it", 0, 4096, 4096, 0, 4096, 0},
		{"its end", 4092, 4, 4, 0, 4096, 0},
		{"past the end", 4093, 4, 4, 0, 4096, 16},
		{"before the start", 0, 4, 4, 4, 4096, 12},
		{"overflow", 4, 0xfffffffe, 0xfffffffe, 0, 4096, 16},
		{"length lies", 0, 8, 4, 0, 4096, 16},
	}
	for _, c := range cases {
		if f := InRange(c.off, c.n, c.have, c.start, c.end); f.OK() != (c.want == 0) || f.FEI != c.want {
			t.Errorf("%s: %v", c.name, f)
		}
	}
	var cmd Command
	cmd.ReadWrite(OpRead, 1, ^uint64(0), 2)
	if cmd.InRange(100) || (DSMRange{SLBA: ^uint64(0), Blocks: 2}).InRange(100) {
		t.Error("a range that wraps around counts as inside")
	}
	cmd.ReadWrite(OpRead, 1, 98, 2)
	if !cmd.InRange(100) || cmd.InRange(99) {
		t.Error("the last block")
	}
}

func TestNQN(t *testing.T) {
	good := []string{
		DiscoveryNQN, "nqn.2014-08.org.nvmexpress:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
		"nqn.2026-11.io.ashlar:0123:vol:x", "nqn.2014-08." + strings.Repeat("a", MaxNQN-12),
	}
	bad := []string{
		"", "nqn.", "nqn.2014-08.", "iqn.2014-08.org", "nqn.20x4-08.org", "nqn.2014-08.o g", "nqn.2014-08.o\x00",
		"nqn.2014-08." + strings.Repeat("a", MaxNQN-11),
	}
	for _, s := range good {
		if err := CheckNQN(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range bad {
		if CheckNQN(s) == nil {
			t.Errorf("%q passes", s)
		}
	}
}

// TestClusterAuth runs the transaction and then every way to spoil it.
func TestClusterAuth(t *testing.T) {
	secret := []byte("correct horse")
	host := ClusterAuth{Challenge: [32]byte{1}, Nonce: [32]byte{2}, HostNQN: "nqn.a", SubNQN: "nqn.b", QID: 3}
	send := make([]byte, ClusterSendSize)
	host.EncodeClusterSend(send, secret)
	ctrl := host
	ctrl.Nonce = [32]byte{}
	if !ctrl.AcceptClusterSend(send, secret) || ctrl.Nonce != host.Nonce {
		t.Fatal("the right proof is refused")
	}
	proof := ctrl.ControllerProof(secret)
	if !host.AcceptController(proof[:], secret) {
		t.Fatal("the controller's proof is refused")
	}
	spoil := map[string]func(a *ClusterAuth, secret, send *[]byte){
		"secret":    func(_ *ClusterAuth, s, _ *[]byte) { *s = []byte("battery staple") },
		"no secret": func(_ *ClusterAuth, s, _ *[]byte) { *s = nil },
		"challenge": func(a *ClusterAuth, _, _ *[]byte) { a.Challenge[31] ^= 1 },
		"queue":     func(a *ClusterAuth, _, _ *[]byte) { a.QID = 4 },
		"host":      func(a *ClusterAuth, _, _ *[]byte) { a.HostNQN = "nqn.c" },
		"names moved across their border": func(a *ClusterAuth, _, _ *[]byte) {
			a.HostNQN, a.SubNQN = "nqn.anqn.", "b"
		},
		"nonce":     func(_ *ClusterAuth, _, b *[]byte) { (*b)[0] ^= 1 },
		"cut short": func(_ *ClusterAuth, _, b *[]byte) { *b = (*b)[:63] },
		"empty":     func(_ *ClusterAuth, _, b *[]byte) { *b = nil },
	}
	for name, f := range spoil {
		a, s, b := host, bytes.Clone(secret), bytes.Clone(send)
		f(&a, &s, &b)
		if a.AcceptClusterSend(b, s) {
			t.Errorf("%s: accepted", name)
		}
	}
	own := host.HostProof(secret)
	if host.AcceptController(own[:], secret) || host.AcceptController(nil, secret) {
		t.Error("the host accepts its own proof as the controller's")
	}
}

// TestHotPathAllocatesNothing covers what runs once per I/O.
func TestHotPathAllocatesNothing(t *testing.T) {
	f := Framing{HeaderDigest: true, DataDigest: true}
	b := make([]byte, 512)
	var c Command
	n := testing.AllocsPerRun(100, func() {
		c.ReadWrite(OpWrite, 1, 8, 8)
		c.SetSGL(SGL{Length: 4096, ID: SGLInCapsule})
		f.PutCapsuleCmd(b, &c, 4096)
		h, _ := DecodeHeader(b)
		_ = f.CheckHost(h, 8192, 4096)
		_ = f.CheckHeaderDigest(b, h)
		_ = DecodeCapsuleCmd(b, &c)
		f.PutCapsuleResp(b, Completion{CID: c.CID()})
		_, _ = DecodeCapsuleResp(b)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
