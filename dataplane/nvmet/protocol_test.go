package nvmet_test

import (
	"io"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
)

// raw is a PDU header, with zeroes behind it up to n bytes.
func raw(t nvme.PDUType, flags, hlen, pdo uint8, plen uint32, n int) []byte {
	b := make([]byte, n)
	nvme.Header{Type: t, Flags: flags, HLEN: hlen, PDO: pdo, PLEN: plen}.Encode(b)
	return b
}

func badField(offset uint32) nvme.Fault {
	return nvme.Fault{FES: nvme.FESInvalidHeaderField, FEI: offset}
}

// TestBadFirstPDU begins connections wrongly.
func TestBadFirstPDU(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	ic := func(change func(b []byte)) []byte {
		b := make([]byte, nvme.ICSize)
		nvme.ICReq{}.Encode(b)
		change(b)
		return b
	}
	for _, c := range []struct {
		name string
		b    []byte
		want nvme.Fault
	}{
		{"command capsule", raw(nvme.PDUCapsuleCmd, 0, 72, 0, 72, 72), nvme.Fault{FES: nvme.FESSequenceError}},
		{"unknown type", raw(0x77, 0, 128, 0, 128, 128), nvme.Fault{FES: nvme.FESSequenceError}},
		{"header length", ic(func(b []byte) { b[2] = 64 }), badField(2)},
		{"PDU length", ic(func(b []byte) { b[4] = 127 }), badField(4)},
		{"huge PDU", raw(nvme.PDUICReq, 0, 128, 0, 1<<31, 8), badField(4)},
		{"flags", ic(func(b []byte) { b[1] = 1 }), badField(1)},
		{"version", ic(func(b []byte) { b[8] = 1 }), nvme.Fault{FES: nvme.FESUnsupportedParameter, FEI: 8}},
		{"alignment", ic(func(b []byte) { b[10] = 32 }), badField(10)},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), nvme.Fault{FES: nvme.FESSequenceError}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := w.dial()
			h.send(c.b)
			h.ended(c.want)
		})
	}
}

// TestBadPDU sends one bad PDU on a queue that works: the connection ends with the fault of the
// specification, and the target goes on.
func TestBadPDU(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	seq := nvme.Fault{FES: nvme.FESSequenceError}
	for _, c := range []struct {
		name string
		b    []byte
		want nvme.Fault
	}{
		{"unknown type", raw(0x33, 0, 8, 0, 8, 8), badField(0)},
		{"type of the controller", raw(nvme.PDUC2HData, 0, 24, 24, 536, 24), badField(0)},
		{"ICReq again", raw(nvme.PDUICReq, 0, 128, 0, 128, 128), seq},
		{"header too long", raw(nvme.PDUCapsuleCmd, 0, 73, 0, 73, 73), badField(2)},
		{"header too short", raw(nvme.PDUCapsuleCmd, 0, 24, 0, 72, 72), badField(2)},
		{"header digest that was not agreed", raw(nvme.PDUCapsuleCmd, nvme.FlagHDGST, 72, 0, 76, 76), badField(1)},
		{"shorter than its header", raw(nvme.PDUCapsuleCmd, 0, 72, 0, 71, 72), badField(4)},
		{"data inside the header", raw(nvme.PDUCapsuleCmd, 0, 72, 64, 584, 72), badField(3)},
		{"data offset not aligned", raw(nvme.PDUCapsuleCmd, 0, 72, 74, 584, 72), badField(3)},
		{"data far away", raw(nvme.PDUCapsuleCmd, 0, 72, 252, 800, 72), badField(3)},
		{"more than the capsule takes", raw(nvme.PDUCapsuleCmd, 0, 72, 72, 72+8193, 72), badField(4)},
		{"4 GiB capsule", raw(nvme.PDUCapsuleCmd, 0, 72, 72, 1<<32-1, 72), badField(4)},
		{"H2CData without data", raw(nvme.PDUH2CData, 0, 24, 0, 24, 24), badField(3)},
		{"H2CData beyond MAXH2CDATA", raw(nvme.PDUH2CData, 0, 24, 24, 24+(272<<10)+4, 24),
			nvme.Fault{FES: nvme.FESDataLimitExceeded}},
		{"H2CData for no R2T", raw(nvme.PDUH2CData, 0, 24, 24, 536, 536), badField(10)},
		{"H2CData, TTAG out of range", h2c(nvme.H2CData{TTAG: 60000, DATAL: 512}), badField(10)},
		{"termination of odd length", raw(nvme.PDUH2CTermReq, 0, 24, 0, 999, 24), badField(4)},
	} {
		t.Run(c.name, func(t *testing.T) {
			admin, q := w.volume(connection{})
			q.send(c.b)
			q.ended(c.want)
			if !admin.csts().RDY {
				t.Error("the controller is gone")
			}
		})
	}
}

func h2c(d nvme.H2CData) []byte {
	b := make([]byte, nvme.MaxHeaderSize)
	n := nvme.Framing{}.PutH2CData(b, d, 0)
	return append(b[:n], make([]byte, d.DATAL)...)
}

// TestBadTransfer answers an R2T wrongly.
func TestBadTransfer(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	for _, c := range []struct {
		name  string
		spoil func(d *nvme.H2CData, flags *uint8)
		want  nvme.Fault
	}{
		{"another command", func(d *nvme.H2CData, _ *uint8) { d.CCCID++ }, badField(8)},
		{"another tag", func(d *nvme.H2CData, _ *uint8) { d.TTAG ^= 1 }, badField(10)},
		{"a gap", func(d *nvme.H2CData, _ *uint8) { d.DATAO = 512 },
			nvme.Fault{FES: nvme.FESDataOutOfRange, FEI: 12}},
		{"beyond the end", func(d *nvme.H2CData, _ *uint8) { d.DATAO = 1 << 31 },
			nvme.Fault{FES: nvme.FESDataOutOfRange, FEI: 12}},
		{"last too early", func(_ *nvme.H2CData, f *uint8) { *f = nvme.FlagLast }, badField(1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, q := w.volume(connection{})
			d := q.awaitR2T(32)
			flags := uint8(0)
			c.spoil(&d, &flags)
			q.hostData(d, flags, make([]byte, d.DATAL))
			q.ended(c.want)
		})
	}
	t.Run("length that is not the PDU's", func(t *testing.T) {
		_, q := w.volume(connection{})
		d := q.awaitR2T(32)
		b := h2c(d)
		b[16]++ // DATAL
		q.send(b)
		q.ended(badField(16))
	})
	t.Run("more than asked for", func(t *testing.T) {
		_, q := w.volume(connection{})
		d := q.awaitR2T(32)
		d.DATAL = 32*512 + 4
		q.hostData(d, 0, make([]byte, d.DATAL))
		q.ended(nvme.Fault{FES: nvme.FESDataOutOfRange, FEI: 16})
	})
	t.Run("after the end", func(t *testing.T) {
		_, q := w.volume(connection{})
		d := q.awaitR2T(32)
		d.DATAL = 32 * 512
		q.hostData(d, nvme.FlagLast, make([]byte, d.DATAL))
		if c := q.answer(nil, nil); !c.Status.OK() {
			t.Fatal(c.Status)
		}
		q.hostData(d, nvme.FlagLast, make([]byte, d.DATAL))
		q.ended(badField(10))
	})
}

// awaitR2T starts a write of n blocks and returns the H2CData that its R2T asks for first, 4 KiB.
func (h *host) awaitR2T(n uint32) nvme.H2CData {
	h.Helper()
	var cmd nvme.Command
	cmd.ReadWrite(nvme.OpWrite, 1, 0, n)
	h.start(&cmd, make([]byte, n*512), 0)
	p, err := h.recv()
	if err != nil || p.Type != nvme.PDUR2T {
		h.Fatalf("want an R2T: %v, %v", p.Type, err)
	}
	r, err := nvme.DecodeR2T(p.raw)
	if err != nil {
		h.Fatal(err)
	}
	return nvme.H2CData{CCCID: r.CCCID, TTAG: r.TTAG, DATAL: 4096}
}

// TestTooManyCommands sends one command more than the queue holds.
func TestTooManyCommands(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	_, q := w.volume(connection{sqsize: 7})
	w.ns.Hold()
	for i := range 9 {
		var cmd nvme.Command
		cmd.ReadWrite(nvme.OpRead, 1, uint64(i), 1)
		q.start(&cmd, nil, 512)
	}
	q.ended(nvme.Fault{FES: nvme.FESSequenceError})
}

// TestDigestErrors changes a bit on the way. Of data, only the command fails; of a header, the connection.
func TestDigestErrors(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	_, q := w.volume(connection{dgst: 3})
	old := pattern(4096, 1)
	if st := q.write(0, old); !st.OK() {
		t.Fatal(st)
	}
	t.Run("data in the capsule", func(t *testing.T) {
		var cmd nvme.Command
		cmd.ReadWrite(nvme.OpWrite, 1, 0, 8)
		cmd.SetSGL(nvme.SGL{Length: 4096, ID: nvme.SGLInCapsule})
		var b [nvme.MaxHeaderSize]byte
		n := q.f.PutCapsuleCmd(b[:], &cmd, 4096)
		data := pattern(4096, 2)
		digest := q.digest(data)
		data[17] ^= 4
		q.send(b[:n], data, digest)
		if c := q.answer(nil, nil); c.Status.Code() != nvme.TransientTransportError || !c.Status.MayRetry() {
			t.Fatal(c.Status)
		}
	})
	t.Run("data after an R2T", func(t *testing.T) {
		d := q.awaitR2T(32)
		var b [nvme.MaxHeaderSize]byte
		n := q.f.PutH2CData(b[:], d, 0)
		q.send(b[:n], make([]byte, 4096), []byte{1, 2, 3, 4})
		d.DATAO, d.DATAL = 4096, 3*4096
		q.hostData(d, nvme.FlagLast, make([]byte, d.DATAL))
		if c := q.answer(nil, nil); c.Status.Code() != nvme.TransientTransportError {
			t.Fatal(c.Status)
		}
	})
	if got := q.read(0, 4096); string(got) != string(old) {
		t.Error("a write with a wrong digest changed data")
	}
	t.Run("header", func(t *testing.T) {
		var cmd nvme.Command
		cmd.SetSGL(nvme.SGLNone())
		var b [nvme.MaxHeaderSize]byte
		n := q.f.PutCapsuleCmd(b[:], &cmd, 0)
		b[20] ^= 1
		q.send(b[:n])
		q.ended(nvme.Fault{FES: nvme.FESHeaderDigestError, FEI: nvme.Digest(b[nvme.CapsuleCmdSize:])})
	})
}

// TestHostTerminates ends a connection with H2CTermReq: no answer, just the end.
func TestHostTerminates(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	_, q := w.volume(connection{})
	b := make([]byte, 256)
	n := nvme.TermReq{Type: nvme.PDUH2CTermReq, Fault: nvme.Fault{FES: 1, FEI: 2}}.Encode(b)
	q.send(b[:n])
	q.ended(nvme.Fault{})
}

// TestBytesInPieces sends everything one byte at a time: every boundary inside a PDU is met.
func TestBytesInPieces(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	_, q := w.volume(connection{dgst: 3})
	slow := &host{world: w, c: &byteWise{q.c}, f: q.f}
	data := pattern(1024, 5)
	if st := slow.write(3, data); !st.OK() {
		t.Fatal(st)
	}
	if got := slow.read(3, 1024); string(got) != string(data) {
		t.Error("data came back changed")
	}
}

// byteWise writes one byte at a time.
type byteWise struct{ netConn }

func (b *byteWise) Write(p []byte) (int, error) {
	for i := range p {
		if n, err := b.netConn.Write(p[i : i+1]); err != nil || n != 1 {
			return i, err
		}
	}
	return len(p), nil
}

// TestManyPDUsInOneWrite sends a batch of everything at once, its last PDU a bad one: what was right is
// answered.
func TestManyPDUsInOneWrite(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	_, q := w.volume(connection{})
	var all []byte
	for i := range 20 {
		var cmd nvme.Command
		var b [nvme.MaxHeaderSize]byte
		cmd.SetCID(uint16(i))
		data := pattern(4096, byte(i))
		cmd.ReadWrite(nvme.OpWrite, 1, uint64(8*i), 8)
		cmd.SetSGL(nvme.SGL{Length: 4096, ID: nvme.SGLInCapsule})
		all = append(append(all, b[:q.f.PutCapsuleCmd(b[:], &cmd, 4096)]...), data...)
	}
	all = append(all, raw(0x44, 0, 8, 0, 8, 8)...)
	q.send(all)
	for i := range 20 {
		if c := q.answer(nil, nil); !c.Status.OK() || c.CID != uint16(i) {
			t.Fatalf("command %d: %v", c.CID, c.Status)
		}
	}
	q.ended(badField(0))
	_, again := w.volume(connection{})
	if got := again.read(8*19, 4096); string(got) != string(pattern(4096, 19)) {
		t.Error("data came back changed")
	}
}

// TestSilentClients holds all places with clients that say nothing: the next one is turned away, at once.
func TestSilentClients(t *testing.T) {
	w := newWorld(t, nvmet.Options{Connections: 3})
	for range 3 {
		w.dial()
	}
	// The fourth finds no room, as long as the three have their time.
	if n, err := w.dial().c.Read(make([]byte, 1)); err != io.EOF && n != 0 {
		t.Errorf("read %d bytes, %v", n, err)
	}
}
