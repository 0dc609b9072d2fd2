package nvme

import (
	"bytes"
	"encoding/hex"
	"math"
	"reflect"
	"testing"
)

// codec is one structure of the wire seen as a decoder and its encoder: recode decodes b and, if that works,
// gives what the decoded value encodes to.
type codec struct {
	name   string
	size   int // of the structure, or of its shortest form
	sample func() []byte
	recode func(b []byte) ([]byte, error)
}

// fixed builds the codec of a structure whose size never changes.
func fixed[T any](name string, size int, v T, enc func(T, []byte), dec func([]byte) (T, error)) codec {
	return codec{name: name, size: size,
		sample: func() []byte { b := make([]byte, size); enc(v, b); return b },
		recode: func(b []byte) ([]byte, error) {
			v, err := dec(b)
			if err != nil {
				return nil, err
			}
			out := make([]byte, size)
			enc(v, out)
			return out, nil
		}}
}

// sized builds the codec of a structure that tells its size.
func sized[T interface {
	Size() int
	Encode([]byte)
}](name string, smallest int, v T, dec func([]byte) (T, error)) codec {
	enc := func(v T) []byte { b := make([]byte, v.Size()); v.Encode(b); return b }
	return codec{name: name, size: smallest, sample: func() []byte { return enc(v) },
		recode: func(b []byte) ([]byte, error) {
			v, err := dec(b)
			if err != nil {
				return nil, err
			}
			return enc(v), nil
		}}
}

func noFault[T any](dec func([]byte) (T, Fault)) func([]byte) (T, error) {
	return func(b []byte) (T, error) {
		v, f := dec(b)
		if !f.OK() {
			return v, f
		}
		return v, nil
	}
}

// fill sets every field of a struct (and of its slices and arrays) to a value of its own, so that two fields
// that are mixed up or forgotten show.
func fill[T any](v T) T {
	n := uint64(0)
	var walk func(f reflect.Value)
	walk = func(f reflect.Value) {
		switch f.Kind() {
		case reflect.Struct:
			for i := range f.NumField() {
				walk(f.Field(i))
			}
		case reflect.Array, reflect.Slice:
			for i := range f.Len() {
				walk(f.Index(i))
			}
		case reflect.Bool:
			f.SetBool(true)
		case reflect.String:
			n++
			f.SetString("s" + hex.EncodeToString([]byte{byte(n)}))
		default:
			n++
			f.SetUint(n)
		}
	}
	walk(reflect.ValueOf(&v).Elem())
	return v
}

func codecs() []codec {
	idns := fill(IdentifyNamespace{LBAF: make([]LBAFormat, 2)})
	idns.FLBAS, idns.LBAF[0].RP, idns.LBAF[1].RP = 1, 1, 3
	idctrl := fill(IdentifyController{})
	smart, effects := fill(SMART{}), fill(Effects{})
	ana := ANALog{ChangeCount: 9, Groups: []ANAGroup{
		{ID: 1, ChangeCount: 8, State: ANAOptimized, NSIDs: []uint32{1, 5}}, {ID: 2, State: ANAChange}}}
	disc := DiscoveryLog{GENCTR: 4, Entries: []DiscoveryEntry{fill(DiscoveryEntry{}), fill(DiscoveryEntry{})}}
	cqe := Completion{1, 2, 3, 4, 5, CompareFailure | DNR | More}
	errEntry := fill(ErrorLogEntry{})
	connect := ConnectData{HostID: [16]byte{1, 2}, CNTLID: 7, SubNQN: DiscoveryNQN, HostNQN: "nqn.2026-11.io:x"}
	return []codec{
		fixed("Header", CommonHeaderSize, fill(Header{}), Header.Encode, DecodeHeader),
		fixed("ICReq", ICSize, ICReq{HPDA: 31, DGST: 3, MAXR2T: 4}, ICReq.Encode, noFault(DecodeICReq)),
		fixed("ICResp", ICSize, ICResp{CPDA: 1, DGST: 3, MAXH2CDATA: 8192}, ICResp.Encode, noFault(DecodeICResp)),
		fixed("Completion", CompletionSize, cqe, Completion.Encode, DecodeCompletion),
		fixed("ConnectData", ConnectDataSize, connect, mustEncode, DecodeConnectData),
		fixed("IdentifyController", IdentifySize, &idctrl, (*IdentifyController).Encode, DecodeIdentifyController),
		fixed("IdentifyNamespace", IdentifySize, &idns, (*IdentifyNamespace).Encode, DecodeIdentifyNamespace),
		fixed("IdentifyControllerNVM", IdentifySize, fill(IdentifyControllerNVM{}), IdentifyControllerNVM.Encode,
			DecodeIdentifyControllerNVM),
		fixed("IdentifyNamespaceNVM", IdentifySize, fill(IdentifyNamespaceNVM{}), IdentifyNamespaceNVM.Encode,
			DecodeIdentifyNamespaceNVM),
		fixed("IdentifyNamespaceIndependent", IdentifySize, fill(IdentifyNamespaceIndependent{}),
			IdentifyNamespaceIndependent.Encode, DecodeIdentifyNamespaceIndependent),
		fixed("NSDescriptors", IdentifySize, fill(NSDescriptors{}), NSDescriptors.Encode, DecodeNSDescriptors),
		fixed("NSList", IdentifySize, []uint32{1, 2, 9}, func(v []uint32, b []byte) { EncodeNSList(b, v) },
			DecodeNSList),
		fixed("ControllerList", IdentifySize, []uint16{1, 2, 9},
			func(v []uint16, b []byte) { EncodeControllerList(b, v) }, DecodeControllerList),
		fixed("ErrorLogEntry", ErrorLogEntrySize, errEntry, ErrorLogEntry.Encode, DecodeErrorLogEntry),
		fixed("SMART", SMARTSize, &smart, (*SMART).Encode, DecodeSMART),
		fixed("Effects", EffectsSize, &effects, (*Effects).Encode, DecodeEffects),
		fixed("DSMRange", DSMRangeSize, fill(DSMRange{}), DSMRange.Encode, DecodeDSMRange),
		sized("ANALog", ANAHeaderSize, &ana, DecodeANALog),
		sized("DiscoveryLog", DiscoveryHeaderSize, &disc, DecodeDiscoveryLog),
		{name: "TermReq", size: TermReqSize, sample: sampleTermReq, recode: recodeTermReq},
		fixed("H2CData", DataHeaderSize, H2CData{1, 2, 3, 4},
			func(v H2CData, b []byte) { putDataFields(b, v.CCCID, v.TTAG, v.DATAO, v.DATAL) }, DecodeH2CData),
		fixed("C2HData", DataHeaderSize, C2HData{1, 3, 4},
			func(v C2HData, b []byte) { putDataFields(b, v.CCCID, 0, v.DATAO, v.DATAL) }, DecodeC2HData),
		fixed("R2T", DataHeaderSize, R2T{1, 2, 3, 4},
			func(v R2T, b []byte) { putDataFields(b, v.CCCID, v.TTAG, v.R2TO, v.R2TL) }, DecodeR2T),
	}
}

func mustEncode(d ConnectData, b []byte) {
	// A decoded NQN may be malformed, which is for CheckNQN to say; then there is nothing to encode.
	_ = d.Encode(b)
}

func sampleTermReq() []byte {
	b := make([]byte, TermReqSize+TermReqMaxData)
	return b[:TermReq{PDUC2HTermReq, Fault{FESDataOutOfRange, 12}, []byte("header at fault")}.Encode(b)]
}

func recodeTermReq(b []byte) ([]byte, error) {
	r, err := DecodeTermReq(b)
	if err != nil {
		return nil, err
	}
	out := make([]byte, TermReqSize+TermReqMaxData)
	return out[:r.Encode(out)], nil
}

// TestCodecs: every structure keeps all its fields through encode and decode, survives every cut and needs
// all of its bytes.
func TestCodecs(t *testing.T) {
	for _, c := range codecs() {
		t.Run(c.name, func(t *testing.T) {
			want := c.sample()
			got, err := c.recode(want)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("comes back as\n%x\nwas\n%x", got, want)
			}
			for n := range c.size {
				if _, err := c.recode(want[:n]); err == nil {
					t.Errorf("%d of %d bytes decode", n, c.size)
					break
				}
			}
		})
	}
}

// TestFieldsSurvive compares values, not bytes: a field that neither Encode nor Decode knows would pass
// TestCodecs.
func TestFieldsSurvive(t *testing.T) {
	b := make([]byte, IdentifySize)
	want := fill(IdentifyController{})
	want.Encode(b)
	if got, err := DecodeIdentifyController(b); err != nil || *got != want {
		t.Errorf("controller: %v\n got %+v\nwant %+v", err, got, want)
	}
	ns := fill(IdentifyNamespace{LBAF: make([]LBAFormat, 2)})
	ns.FLBAS, ns.LBAF[0].RP, ns.LBAF[1].RP = 1, 1, 3
	ns.Encode(b)
	if got, err := DecodeIdentifyNamespace(b); err != nil || !reflect.DeepEqual(*got, ns) {
		t.Errorf("namespace: %v\n got %+v\nwant %+v", err, got, ns)
	}
	smart := fill(SMART{})
	smart.Encode(b)
	if got, err := DecodeSMART(b); err != nil || *got != smart {
		t.Errorf("SMART: %v %+v", err, got)
	}
	entry := fill(DiscoveryEntry{})
	entry.Encode(b)
	if got, err := DecodeDiscoveryEntry(b); err != nil || got != entry {
		t.Errorf("discovery entry: %v %+v", err, got)
	}
	for _, cap := range []CAP{{}, {MQES: 127, CQR: true, AMS: 3, TO: 1, DSTRD: 2, NSSRS: true, CSS: 0xc1,
		MPSMIN: 4, MPSMAX: 5, CRMS: 3}} {
		if got := ParseCAP(cap.Value()); got != cap {
			t.Errorf("CAP: %+v, want %+v", got, cap)
		}
	}
	cc := CC{EN: true, CSS: 6, MPS: 1, AMS: 7, SHN: 2, IOSQES: 6, IOCQES: 4, CRIME: true}
	if got := ParseCC(cc.Value()); got != cc {
		t.Errorf("CC: %+v", got)
	}
	csts := CSTS{RDY: true, CFS: true, SHST: 2, NSSRO: true, PP: true}
	if got := ParseCSTS(csts.Value()); got != csts {
		t.Errorf("CSTS: %+v", got)
	}
	ev := AsyncEvent{EventNotice, NoticeANAChange, LogANA}
	if got := ParseAsyncEvent(ev.DW0()); got != ev || ev.DW0() != 0x000c0302 {
		t.Errorf("event: %+v %08x", got, ev.DW0())
	}
	if a, b := ParseQueueCounts(QueueCounts(4, 8)); a != 4 || b != 8 {
		t.Errorf("queue counts: %d %d", a, b)
	}
}

// TestCommandFields: what a command constructor writes, its reader reads.
func TestCommandFields(t *testing.T) {
	var c Command
	g := GetLogPage{LID: LogDiscovery, LSP: 0x55, RAE: true, Length: 1 << 30, LSI: 3, Offset: 1 << 40, OT: true,
		CSI: 2}
	if c.GetLogPage(7, g); c.LogPageFields() != g || c.NSID() != 7 {
		t.Errorf("get log page: %+v", c.LogPageFields())
	}
	v := Connect{RECFMT: 0, QID: 3, SQSIZE: 31, CATTR: 4, KATO: 1}
	if c.Connect(v); c.ConnectFields() != v {
		t.Errorf("connect: %+v", c.ConnectFields())
	}
	a := Authentication{1, 2, SECPCluster, 64}
	if c.AuthSend(a); c.AuthFields() != a || c.Direction() != HostToController {
		t.Errorf("auth send: %+v", c.AuthFields())
	}
	if c.AuthReceive(a); c.AuthFields() != a || c.Direction() != ControllerToHost {
		t.Errorf("auth receive: %+v", c.AuthFields())
	}
	if c.PropertySet(PropertyCC, 8, 9); c.Direction() != NoData {
		t.Error("property set has no data")
	}
	if off, size, val := c.PropertyFields(); off != PropertyCC || size != 8 || val != 9 {
		t.Errorf("property: %d %d %d", off, size, val)
	}
	c.Identify(CNSController, 4, 5, 6)
	if c.CNS() != CNSController || c.NSID() != 4 || c.CNTID() != 5 || c.IdentifyCSI() != 6 {
		t.Errorf("identify: %x", c)
	}
	if c.Abort(3, 4); c.CDW10() != 0x00040003 {
		t.Errorf("abort: %x", c)
	}
	if c.DSM(1, 256, DSMDeallocate); c.DSMRanges() != 256 || !c.DSMDeallocates() {
		t.Errorf("dsm: %x", c)
	}
	c.GetFeatures(FeatKeepAlive, SelectSaved, 0)
	if c.FID() != FeatKeepAlive || c.FeatureSelect() != SelectSaved {
		t.Errorf("get features: %x", c)
	}
}

// TestOfferedLimits: what a controller offers is used only where it makes sense.
func TestOfferedLimits(t *testing.T) {
	cases := []struct {
		ioccsz    uint32
		icdoff    uint16
		inCapsule uint32
	}{{4, 0, 0}, {260, 0, 4096}, {516, 0, 8192}, {0, 0, 0}, {3, 0, 0}, {260, 1, 0}, {0xffffffff, 0, 0}}
	for _, c := range cases {
		id := IdentifyController{IOCCSZ: c.ioccsz, ICDOFF: c.icdoff}
		if got := id.InCapsule(); got != c.inCapsule {
			t.Errorf("IOCCSZ %d, ICDOFF %d: %d bytes in capsule, want %d", c.ioccsz, c.icdoff, got, c.inCapsule)
		}
	}
	for mdts, want := range map[uint8]uint32{0: 0, 6: 256 << 10, 255: 0} {
		id := IdentifyController{MDTS: mdts}
		if got := id.MaxTransfer(0); got != want {
			t.Errorf("MDTS %d: %d, want %d", mdts, got, want)
		}
	}
	for wzsl, want := range map[uint8]int64{0: math.MaxInt64, 9: 2 << 20, 255: math.MaxInt64} {
		if got := (IdentifyControllerNVM{WZSL: wzsl}).MaxWriteZeroes(0); got != want {
			t.Errorf("WZSL %d: %d, want %d", wzsl, got, want)
		}
	}
	ns := IdentifyNamespace{LBAF: []LBAFormat{{LBADS: 9}, {MS: 8, LBADS: 9}, {LBADS: 63}}}
	for flbas, ok := range []bool{true, false, false, false} {
		ns.FLBAS = uint8(flbas)
		if _, err := ns.BlockShift(); (err == nil) != ok {
			t.Errorf("format %d: %v", flbas, err)
		}
	}
}

// FuzzDecode feeds one input to every decoder: none may panic, and what decodes must encode to something that
// decodes to the same again.
func FuzzDecode(f *testing.F) {
	for i, c := range codecs() {
		f.Add(uint8(i), c.sample())
	}
	all := codecs()
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		c := all[int(which)%len(all)]
		once, err := c.recode(b)
		if err != nil {
			return
		}
		twice, err := c.recode(once)
		if err != nil && c.name != "ConnectData" {
			t.Fatalf("%s: what it encodes does not decode: %v", c.name, err)
		}
		if err == nil && !bytes.Equal(once, twice) {
			t.Fatalf("%s: not stable\n%x\n%x", c.name, once, twice)
		}
	})
}

// FuzzFraming holds every header that passes the checks to what the checks promise: all parts lie inside the
// PDU.
func FuzzFraming(f *testing.F) {
	f.Add([]byte{4, 3, 72, 80, 84, 2, 0, 0}, true, true, uint8(1), false)
	f.Add([]byte{7, 12, 24, 24, 24, 2, 0, 0}, false, false, uint8(0), true)
	f.Fuzz(func(t *testing.T, b []byte, hdgst, ddgst bool, pda uint8, fromController bool) {
		h, err := DecodeHeader(b)
		if err != nil {
			return
		}
		fr := Framing{HeaderDigest: hdgst, DataDigest: ddgst, HPDA: pda & MaxPDA, CPDA: pda & MaxPDA}
		const most = 8192
		fault := fr.CheckHost(h, most, most)
		if fromController {
			fault = fr.CheckController(h, most)
		}
		if !fault.OK() {
			_ = fault.Error()
			return
		}
		n, prefix := uint64(fr.DataLen(h)), uint64(fr.Prefix(h))
		if n > most || prefix > MaxHeaderSize+TermReqMaxData || prefix < uint64(h.HLEN) {
			t.Fatalf("%+v: %d bytes of data after %d", h, n, prefix)
		}
		if total := prefix + n; n > 0 && total+uint64(fr.DataDigestLen()) != uint64(h.PLEN) ||
			n == 0 && total != uint64(h.PLEN) {
			t.Fatalf("%+v: parts do not add up: %d + %d", h, prefix, n)
		}
		_ = fr.CheckHeaderDigest(b, h)
	})
}

func BenchmarkCapsuleCmd(b *testing.B) {
	f := Framing{}
	buf := make([]byte, MaxHeaderSize)
	var c Command
	for b.Loop() {
		c.ReadWrite(OpWrite, 1, 8, 8)
		f.PutCapsuleCmd(buf, &c, 4096)
		h, _ := DecodeHeader(buf)
		if !f.CheckHost(h, 8192, 0).OK() {
			b.Fatal("refused")
		}
	}
}
