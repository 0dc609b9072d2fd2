package nvmet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet/memns"
)

const (
	volumeNQN = "nqn.2026-11.io.ashlar:test:vol:1"
	hostNQN   = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555"
	otherNQN  = "nqn.2014-08.org.nvmexpress:uuid:99999999-2222-3333-4444-555555555555"
	blocks    = 1 << 15 // 16 MiB
)

// world is a target on loopback that serves one memory namespace to hostNQN.
type world struct {
	testing.TB
	target *nvmet.Target
	ns     *memns.Namespace
	addr   string
}

func newWorld(t testing.TB, o nvmet.Options) *world {
	t.Helper()
	ns, err := memns.New(uuid.New(), blocks, 2*blocks)
	if err != nil {
		t.Fatal(err)
	}
	target, err := nvmet.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := nvmet.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{TB: t, target: target, ns: ns, addr: ln.Addr().String()}
	served := make(chan error, 1)
	go func() { served <- target.Serve(ln) }()
	w.put(w.config())
	t.Cleanup(func() {
		ns.Release()
		if err := target.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) config() nvmet.SubsystemConfig {
	return nvmet.SubsystemConfig{
		NQN: volumeNQN, Serial: "S1", Model: "Ashlar", Namespace: w.ns, AllowedHosts: []string{hostNQN},
		Portals: []nvmet.Portal{
			{Addr: "192.0.2.1", Port: 4420, PortID: 1}, {Addr: "2001:db8::2", Port: 4420, PortID: 2},
		},
	}
}

func (w *world) put(cfg nvmet.SubsystemConfig) {
	w.Helper()
	if err := w.target.Put(cfg); err != nil {
		w.Fatal(err)
	}
}

type netConn = net.Conn

// host is the other end of a connection, worked by hand: it sends what it is told to, right or wrong.
type host struct {
	*world
	c      net.Conn
	f      nvme.Framing
	cid    uint16
	cntlid uint16
}

// pdu is a received PDU.
type pdu struct {
	nvme.Header
	raw  []byte // all bytes up to PDO, or the whole PDU
	data []byte
}

// dial opens a connection and does nothing with it yet.
func (w *world) dial() *host {
	w.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		w.Fatal(err)
	}
	return &host{world: w, c: c}
}

// greet exchanges ICReq and ICResp.
func (h *host) greet(dgst, hpda uint8) *host {
	h.Helper()
	var b [nvme.ICSize]byte
	req := nvme.ICReq{HPDA: hpda, DGST: dgst}
	req.Encode(b[:])
	h.send(b[:])
	if _, err := io.ReadFull(h.c, b[:]); err != nil {
		h.Fatalf("ICResp: %v", err)
	}
	resp, fault := nvme.DecodeICResp(b[:])
	if !fault.OK() {
		h.Fatalf("ICResp: %v", fault)
	}
	h.f = nvme.NewFraming(req, resp)
	return h
}

// connection is what a test wants of a queue; zero fields get what a good host would send.
type connection struct {
	dgst, hpda uint8
	qid        uint16
	cntlid     uint16
	sqsize     uint16
	kato       uint32
	subnqn     string
	hostnqn    string
	hostid     [16]byte
	recfmt     uint16
	flow       bool
}

func (c connection) fill() connection {
	if c.subnqn == "" {
		c.subnqn = volumeNQN
	}
	if c.hostnqn == "" {
		c.hostnqn = hostNQN
	}
	if c.hostid == [16]byte{} {
		c.hostid = [16]byte{1, 2, 3}
	}
	if c.sqsize == 0 {
		c.sqsize = 31
	}
	if c.cntlid == 0 {
		c.cntlid = nvme.AnyController
	}
	return c
}

// connect sends Connect on a greeted connection.
func (h *host) connect(v connection) nvme.Completion {
	h.Helper()
	v = v.fill()
	data := make([]byte, nvme.ConnectDataSize)
	err := nvme.ConnectData{
		HostID: v.hostid, CNTLID: v.cntlid, SubNQN: v.subnqn, HostNQN: v.hostnqn,
	}.Encode(data)
	if err != nil {
		h.Fatal(err)
	}
	f := nvme.Connect{RECFMT: v.recfmt, QID: v.qid, SQSIZE: v.sqsize, KATO: v.kato}
	if !v.flow {
		f.CATTR = nvme.CATTRDisableSQFlow
	}
	var cmd nvme.Command
	cmd.Connect(f)
	c := h.do(&cmd, data, nil)
	h.cntlid = uint16(c.DW0)
	return c
}

// admin opens an admin queue and enables the controller.
func (w *world) admin(v connection) *host {
	w.Helper()
	h := w.dial().greet(v.dgst, v.hpda)
	if c := h.connect(v); !c.Status.OK() {
		w.Fatalf("connect the admin queue: %v", c.Status)
	}
	h.enable()
	return h
}

func (h *host) enable() {
	h.Helper()
	var cmd nvme.Command
	cmd.PropertySet(nvme.PropertyCC, 4, uint64(nvme.CC{EN: true, IOSQES: 6, IOCQES: 4}.Value()))
	if c := h.do(&cmd, nil, nil); !c.Status.OK() {
		h.Fatalf("enable: %v", c.Status)
	}
	if !h.csts().RDY {
		h.Fatal("the controller is not ready")
	}
}

func (h *host) csts() nvme.CSTS {
	h.Helper()
	var cmd nvme.Command
	cmd.PropertyGet(nvme.PropertyCSTS, 4)
	c := h.do(&cmd, nil, nil)
	if !c.Status.OK() {
		h.Fatalf("read CSTS: %v", c.Status)
	}
	return nvme.ParseCSTS(c.DW0)
}

// io opens I/O queue v.qid (default 1) of the controller behind admin.
func (h *host) io(v connection) *host {
	h.Helper()
	if v.qid == 0 {
		v.qid = 1
	}
	v.cntlid = h.cntlid
	q := h.world.dial().greet(v.dgst, v.hpda)
	if c := q.connect(v); !c.Status.OK() {
		h.Fatalf("connect I/O queue %d: %v", v.qid, c.Status)
	}
	return q
}

// volume opens both queues of a new association.
func (w *world) volume(v connection) (admin, queue *host) {
	w.Helper()
	admin = w.admin(v)
	return admin, admin.io(v)
}

func (h *host) send(b ...[]byte) {
	h.Helper()
	if _, err := h.c.Write(bytes.Join(b, nil)); err != nil {
		h.Fatalf("send: %v", err)
	}
}

// start sends a command: with out in the capsule when it fits (as Linux does), else for the R2T to come; in
// is the length of what is expected back. It returns the CID.
func (h *host) start(cmd *nvme.Command, out []byte, in int) uint16 {
	h.Helper()
	h.cid++
	cmd.SetCID(h.cid)
	var b [nvme.MaxHeaderSize]byte
	switch {
	case len(out) > 8192:
		cmd.SetSGL(nvme.SGL{Length: uint32(len(out)), ID: nvme.SGLTransport})
		h.send(b[:h.f.PutCapsuleCmd(b[:], cmd, 0)])
	case len(out) > 0:
		cmd.SetSGL(nvme.SGL{Length: uint32(len(out)), ID: nvme.SGLInCapsule})
		n := h.f.PutCapsuleCmd(b[:], cmd, uint32(len(out)))
		h.send(b[:n], out, h.digest(out))
	default:
		cmd.SetSGL(nvme.SGL{Length: uint32(in), ID: nvme.SGLTransport})
		h.send(b[:h.f.PutCapsuleCmd(b[:], cmd, 0)])
	}
	return h.cid
}

func (h *host) digest(data []byte) []byte {
	if !h.f.DataDigest {
		return nil
	}
	var d [nvme.DigestSize]byte
	nvme.PutDigest(d[:], nvme.CRC32C(0, data))
	return d[:]
}

// recv reads one PDU and checks its digests.
func (h *host) recv() (p pdu, err error) {
	b := make([]byte, nvme.CommonHeaderSize, 512)
	if _, err := io.ReadFull(h.c, b); err != nil {
		return pdu{}, err
	}
	p.Header, _ = nvme.DecodeHeader(b)
	if fault := h.f.CheckController(p.Header, 1<<30); !fault.OK() {
		return p, fault
	}
	b = append(b, make([]byte, int(p.PLEN)-len(b))...)
	if _, err := io.ReadFull(h.c, b[nvme.CommonHeaderSize:]); err != nil {
		return p, err
	}
	if fault := h.f.CheckHeaderDigest(b, p.Header); !fault.OK() {
		return p, fault
	}
	pre, n := h.f.Prefix(p.Header), h.f.DataLen(p.Header)
	p.raw, p.data = b[:pre], b[pre:pre+n]
	if n > 0 && h.f.DataDigest && nvme.Digest(b[pre+n:]) != nvme.CRC32C(0, p.data) {
		return p, errors.New("data digest of the target is wrong")
	}
	return p, nil
}

// answer serves R2Ts with out, stores read data in in, and returns the completion of one command.
func (h *host) answer(out, in []byte) nvme.Completion {
	h.Helper()
	for {
		p, err := h.recv()
		if err != nil {
			h.Fatalf("receive: %v", err)
		}
		switch p.Type {
		case nvme.PDUCapsuleResp:
			c, err := nvme.DecodeCapsuleResp(p.raw)
			if err != nil {
				h.Fatal(err)
			}
			return c
		case nvme.PDUR2T:
			r, err := nvme.DecodeR2T(p.raw)
			if err != nil {
				h.Fatal(err)
			}
			h.transfer(r, out)
		case nvme.PDUC2HData:
			d, err := nvme.DecodeC2HData(p.raw)
			if err != nil {
				h.Fatal(err)
			}
			if int(d.DATAO)+len(p.data) > len(in) {
				h.Fatalf("data beyond the buffer: %d bytes at %d", len(p.data), d.DATAO)
			}
			copy(in[d.DATAO:], p.data)
			if p.Flags&nvme.FlagSuccess != 0 {
				return nvme.Completion{CID: d.CCCID}
			}
		default:
			h.Fatalf("unexpected PDU %v", p.Type)
		}
	}
}

// transfer answers an R2T in PDUs of 40,000 bytes, so that there are several.
func (h *host) transfer(r nvme.R2T, out []byte) {
	h.Helper()
	const part = 40000
	for off := r.R2TO; off < r.R2TO+r.R2TL; off += part {
		n := min(part, r.R2TO+r.R2TL-off)
		flags := uint8(0)
		if off+n == r.R2TO+r.R2TL {
			flags = nvme.FlagLast
		}
		h.hostData(nvme.H2CData{CCCID: r.CCCID, TTAG: r.TTAG, DATAO: off, DATAL: n}, flags, out[off:off+n])
	}
}

func (h *host) hostData(d nvme.H2CData, flags uint8, data []byte) {
	h.Helper()
	var b [nvme.MaxHeaderSize]byte
	n := h.f.PutH2CData(b[:], d, flags)
	h.send(b[:n], data, h.digest(data))
}

// do carries out one command.
func (h *host) do(cmd *nvme.Command, out, in []byte) nvme.Completion {
	h.Helper()
	cid := h.start(cmd, out, len(in))
	c := h.answer(out, in)
	if c.CID != cid {
		h.Fatalf("the answer is for command %d, not %d", c.CID, cid)
	}
	return c
}

// status is do for tests that look at nothing else.
func (h *host) status(cmd *nvme.Command, out, in []byte) nvme.Status {
	h.Helper()
	return h.do(cmd, out, in).Status
}

func (h *host) write(lba uint64, data []byte) nvme.Status {
	h.Helper()
	var cmd nvme.Command
	cmd.ReadWrite(nvme.OpWrite, 1, lba, uint32(len(data)/nvmet.BlockSize))
	return h.status(&cmd, data, nil)
}

func (h *host) read(lba uint64, n int) []byte {
	h.Helper()
	in := make([]byte, n)
	var cmd nvme.Command
	cmd.ReadWrite(nvme.OpRead, 1, lba, uint32(n/nvmet.BlockSize))
	if st := h.status(&cmd, nil, in); !st.OK() {
		h.Fatalf("read %d bytes at %d: %v", n, lba, st)
	}
	return in
}

// ended wants the connection to be closed by the target, with a C2HTermReq of the given fault first unless
// that is zero.
func (h *host) ended(want nvme.Fault) {
	h.Helper()
	var got nvme.Fault
	for {
		p, err := h.recv()
		if err != nil {
			if got != want {
				h.Errorf("the connection ended (%v) with fault %+v, want %+v", err, got, want)
			}
			return
		}
		if p.Type == nvme.PDUC2HTermReq {
			t, err := nvme.DecodeTermReq(p.raw)
			if err != nil {
				h.Fatal(err)
			}
			got = t.Fault
		}
	}
}

// pattern is n bytes that differ from block to block and from seed to seed.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) + byte(i>>9)*7 + seed
	}
	return b
}
