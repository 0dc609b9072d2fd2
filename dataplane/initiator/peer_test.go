package initiator

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// peer is a controller of one namespace in memory, made to be told how to behave, and how to misbehave. It
// answers commands in order, from one goroutine per connection.
type peer struct {
	DGST      uint8  // digests it grants
	inCapsule uint32 // I/O queues
	maxH2C    uint32
	r2t       uint32 // bytes per R2T; 0: all at once
	chunk     uint32 // bytes per C2HData PDU; 0: all at once
	success   bool   // the last C2HData says SUCCESS, no response follows
	dribble   bool   // one byte per write
	cpda      uint8
	refuse    bool // writes by R2T fail as soon as some of their data has come
	secret    []byte
	ana       nvme.ANAState
	uuid      [16]byte
	entries   []nvme.DiscoveryEntry

	// hook sees every command of an I/O queue first, with its data; true means that it has dealt with it.
	hook func(c *peerConn, cmd *nvme.Command, data []byte) bool

	away atomic.Bool // connections are refused

	mu    sync.Mutex
	disk  *disk
	seen  map[uint8]int // I/O commands by opcode
	conns []net.Conn
	aers  []func(nvme.AsyncEvent)
}

// disk is the memory of a namespace; peers that show the same namespace share it.
type disk struct {
	sync.Mutex
	mem []byte
}

func newPeer() *peer {
	return &peer{DGST: 3, inCapsule: 4096, maxH2C: 4096, ana: nvme.ANAOptimized,
		disk: &disk{mem: make([]byte, 1<<20)},
		seen: map[uint8]int{}, uuid: [16]byte{0xa5, 1}}
}

// dial is a Config.Dial that connects to the peer by a pipe.
func (p *peer) dial(context.Context, string) (net.Conn, error) {
	if p.away.Load() {
		return nil, errors.New("connection refused")
	}
	host, ctrl := net.Pipe()
	p.mu.Lock()
	p.conns = append(p.conns, ctrl)
	p.mu.Unlock()
	go p.serve(ctrl)
	return host, nil
}

// drop closes all connections.
func (p *peer) drop() {
	p.mu.Lock()
	conns := p.conns
	p.conns = nil
	p.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}

// setANA changes the access state and tells the hosts that wait for events.
func (p *peer) setANA(s nvme.ANAState) {
	p.mu.Lock()
	p.ana = s
	p.mu.Unlock()
	p.notify(nvme.AsyncEvent{Type: nvme.EventNotice, Info: nvme.NoticeANAChange, LID: nvme.LogANA})
}

// resize changes the size and tells the hosts.
func (p *peer) resize(n int) {
	p.disk.Lock()
	p.disk.mem = append(make([]byte, 0, n), p.disk.mem[:min(n, len(p.disk.mem))]...)[:n]
	p.disk.Unlock()
	p.notify(nvme.AsyncEvent{Type: nvme.EventNotice, Info: nvme.NoticeNamespaceAttr, LID: nvme.LogChangedNS})
}

func (p *peer) notify(e nvme.AsyncEvent) {
	p.mu.Lock()
	aers := p.aers
	p.aers = nil
	p.mu.Unlock()
	for _, f := range aers {
		f(e)
	}
}

func (p *peer) count(op uint8) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[op]
}

// peerConn is one connection to a peer.
type peerConn struct {
	*peer
	conn net.Conn
	fr   nvme.Framing
	qid  uint16
	auth nvme.ClusterAuth
	left int              // steps of the authentication
	xfer map[uint16]*xfer // by TTAG, which is the CID

	out sync.Mutex
}

// xfer is a command whose data comes by R2T.
type xfer struct {
	cmd  nvme.Command
	data []byte
	got  uint32
}

func (p *peer) serve(conn net.Conn) {
	defer conn.Close()
	c := &peerConn{peer: p, conn: conn, xfer: map[uint16]*xfer{}}
	b := make([]byte, nvme.ICSize)
	if _, err := io.ReadFull(conn, b); err != nil {
		return
	}
	req, f := nvme.DecodeICReq(b)
	if !f.OK() {
		return
	}
	resp := nvme.ICResp{CPDA: p.cpda, DGST: req.DGST & p.DGST, MAXH2CDATA: p.maxH2C}
	resp.Encode(b)
	c.write(b)
	c.fr = nvme.NewFraming(req, resp)
	for c.pdu() {
	}
}

// pdu takes one PDU; false ends the connection.
func (c *peerConn) pdu() bool {
	head := make([]byte, nvme.MaxHeaderSize)
	if _, err := io.ReadFull(c.conn, head[:8]); err != nil {
		return false
	}
	h, _ := nvme.DecodeHeader(head)
	if f := c.fr.CheckHost(h, max(c.inCapsule, fabricsInCapsule), c.maxH2C); !f.OK() {
		panic("the host sent a bad header: " + f.Error())
	}
	rest := make([]byte, h.PLEN)
	copy(rest, head[:8])
	if _, err := io.ReadFull(c.conn, rest[8:]); err != nil {
		return false
	}
	if f := c.fr.CheckHeaderDigest(rest, h); !f.OK() {
		panic("the host sent a bad header digest")
	}
	n := c.fr.DataLen(h)
	data := rest[:0]
	if n > 0 {
		data = rest[h.PDO : uint32(h.PDO)+n]
		if c.fr.DataDigest && nvme.Digest(rest[uint32(h.PDO)+n:]) != nvme.CRC32C(0, data) {
			panic("the host sent a bad data digest")
		}
	}
	switch h.Type {
	case nvme.PDUCapsuleCmd:
		var cmd nvme.Command
		_ = nvme.DecodeCapsuleCmd(rest, &cmd)
		if cmd.Direction() == nvme.HostToController && cmd.SGL().ID == nvme.SGLTransport && cmd.SGL().Length > 0 {
			x := &xfer{cmd: cmd, data: make([]byte, cmd.SGL().Length)}
			c.xfer[cmd.CID()] = x
			c.askFor(x)
			return true
		}
		if c.qid > 0 && cmd.Opcode() != nvme.OpFabrics && uint32(len(data)) > c.inCapsule {
			panic("the host sent more data in a capsule than was offered")
		}
		return c.command(&cmd, data)
	case nvme.PDUH2CData:
		d, _ := nvme.DecodeH2CData(rest)
		x := c.xfer[d.TTAG]
		if x == nil && c.refuse {
			return true
		}
		if f := nvme.InRange(d.DATAO, d.DATAL, n, x.got, uint32(len(x.data))); !f.OK() || d.DATAO != x.got {
			panic("the host sent data that nobody asked for")
		}
		copy(x.data[d.DATAO:], data)
		x.got += d.DATAL
		if c.refuse {
			delete(c.xfer, d.TTAG)
			c.answer(&x.cmd, nvme.CapacityExceeded, 0)
			return true
		}
		if int(x.got) == len(x.data) {
			delete(c.xfer, d.TTAG)
			return c.command(&x.cmd, x.data)
		}
		if h.Flags&nvme.FlagLast != 0 {
			c.askFor(x)
		}
		return true
	}
	return false // H2CTermReq
}

func (c *peerConn) askFor(x *xfer) {
	n := uint32(len(x.data)) - x.got
	if c.r2t > 0 {
		n = min(n, c.r2t)
	}
	b := make([]byte, nvme.MaxHeaderSize)
	c.write(b[:c.fr.PutR2T(b, nvme.R2T{CCCID: x.cmd.CID(), TTAG: x.cmd.CID(), R2TO: x.got, R2TL: n})])
}

// command carries a command out and answers it.
func (c *peerConn) command(cmd *nvme.Command, data []byte) bool {
	switch {
	case cmd.Opcode() == nvme.OpFabrics:
		c.fabrics(cmd, data)
	case c.qid == 0:
		c.adminCommand(cmd)
	default:
		c.mu.Lock()
		c.seen[cmd.Opcode()]++
		c.mu.Unlock()
		if c.hook == nil || !c.hook(c, cmd, data) {
			c.io(cmd, data)
		}
	}
	return true
}

func (c *peerConn) io(cmd *nvme.Command, data []byte) {
	c.mu.Lock()
	st := c.ana.Status()
	c.mu.Unlock()
	if !st.OK() {
		c.answer(cmd, st, 0)
		return
	}
	mem := c.disk
	mem.Lock()
	var read []byte
	off, n := cmd.SLBA()*512, uint64(cmd.NLB())*512
	switch cmd.Opcode() {
	case nvme.OpWrite:
		copy(mem.mem[off:off+n], data)
	case nvme.OpRead:
		read = append(read, mem.mem[off:off+n]...)
	case nvme.OpWriteZeroes:
		clear(mem.mem[off : off+n])
	case nvme.OpDSM:
		r, _ := nvme.DecodeDSMRange(data)
		clear(mem.mem[r.SLBA*512 : (r.SLBA+uint64(r.Blocks))*512])
	}
	mem.Unlock()
	c.reply(cmd, read)
}

// reply sends data, if there is any, and success.
func (c *peerConn) reply(cmd *nvme.Command, data []byte) {
	b := make([]byte, nvme.MaxHeaderSize)
	for off := uint32(0); off < uint32(len(data)); {
		n := uint32(len(data)) - off
		if c.chunk > 0 {
			n = min(n, c.chunk)
		}
		flags := uint8(0)
		if last := int(off+n) == len(data); last {
			flags = nvme.FlagLast
			if c.success {
				flags |= nvme.FlagSuccess
			}
		}
		k := c.fr.PutC2HData(b, nvme.C2HData{CCCID: cmd.CID(), DATAO: off, DATAL: n}, flags)
		pdu := append(append([]byte(nil), b[:k]...), data[off:off+n]...)
		if c.fr.DataDigest {
			pdu = append(pdu, 0, 0, 0, 0)
			nvme.PutDigest(pdu[len(pdu)-4:], nvme.CRC32C(0, data[off:off+n]))
		}
		c.write(pdu)
		if off += n; flags&nvme.FlagSuccess != 0 {
			return
		}
	}
	c.answer(cmd, nvme.Success, 0)
}

func (c *peerConn) answer(cmd *nvme.Command, st nvme.Status, result uint64) {
	b := make([]byte, nvme.MaxHeaderSize)
	n := c.fr.PutCapsuleResp(b, nvme.Completion{
		CID: cmd.CID(), Status: st, DW0: uint32(result), DW1: uint32(result >> 32),
	})
	c.write(b[:n])
}

// write is called from the connection's goroutine and, for events, from others.
func (c *peerConn) write(b []byte) {
	c.out.Lock()
	defer c.out.Unlock()
	for c.dribble && len(b) > 1 {
		_, _ = c.conn.Write(b[:1])
		b = b[1:]
	}
	_, _ = c.conn.Write(b) // an error shows at the next read
}

func (c *peerConn) fabrics(cmd *nvme.Command, data []byte) {
	switch cmd.FCTYPE() {
	case nvme.FabricsConnect:
		d, err := nvme.DecodeConnectData(data)
		if err != nil {
			panic(err)
		}
		c.qid = cmd.ConnectFields().QID
		c.auth = nvme.ClusterAuth{Challenge: [32]byte{7}, HostNQN: d.HostNQN, SubNQN: d.SubNQN, QID: c.qid}
		result := uint64(1)
		if c.secret != nil {
			result |= uint64(nvme.ConnectAuthATR)
		}
		c.answer(cmd, nvme.Success, result)
	case nvme.FabricsPropertyGet:
		off, _, _ := cmd.PropertyFields()
		v := map[uint32]uint64{
			nvme.PropertyCAP:  nvme.CAP{MQES: 127, CQR: true, TO: 2, CSS: 1}.Value(),
			nvme.PropertyCSTS: uint64(nvme.CSTS{RDY: true}.Value()),
		}
		c.answer(cmd, nvme.Success, v[off])
	case nvme.FabricsAuthReceive:
		if c.left++; c.left == 1 {
			c.reply(cmd, c.auth.Challenge[:])
			return
		}
		p := c.auth.ControllerProof(c.secret)
		c.reply(cmd, p[:])
	case nvme.FabricsAuthSend:
		if c.auth.AcceptClusterSend(data, c.secret) {
			c.answer(cmd, nvme.Success, 0)
			return
		}
		c.answer(cmd, nvme.OperationDenied.NoRetry(), 0)
	default:
		c.answer(cmd, nvme.Success, 0)
	}
}

func (c *peerConn) adminCommand(cmd *nvme.Command) {
	b := make([]byte, cmd.SGL().Length)
	c.disk.Lock()
	blocks := uint64(len(c.disk.mem) / 512)
	c.disk.Unlock()
	c.mu.Lock()
	ana := c.ana
	c.mu.Unlock()
	switch cmd.Opcode() {
	case nvme.AdminAsyncEvent:
		c.mu.Lock()
		own := *cmd
		c.aers = append(c.aers, func(e nvme.AsyncEvent) { c.answer(&own, nvme.Success, uint64(e.DW0())) })
		c.mu.Unlock()
		return
	case nvme.AdminIdentify:
		switch cmd.CNS() {
		case nvme.CNSController:
			(&nvme.IdentifyController{
				SN: "1", MN: "peer", VER: nvme.Version20, CNTRLTYPE: nvme.CNTRLTYPEIO, KAS: 1, MDTS: 6, NN: 1,
				OAES: nvme.AECANAChange | nvme.AECNamespaceAttr, CMIC: nvme.CMICANA, ANATT: 10,
				IOCCSZ: (64 + c.inCapsule) / 16, IORCSZ: 1, ONCS: nvme.ONCSDSM | nvme.ONCSWriteZeroes,
			}).Encode(b)
		case nvme.CNSControllerCSI:
			nvme.IdentifyControllerNVM{WZSL: 5}.Encode(b)
		case nvme.CNSActiveNSList:
			nvme.EncodeNSList(b, []uint32{1})
		case nvme.CNSNamespace:
			(&nvme.IdentifyNamespace{NSZE: blocks, LBAF: []nvme.LBAFormat{{LBADS: 9}}, ANAGRPID: 1}).Encode(b)
		case nvme.CNSNSDescriptors:
			nvme.NSDescriptors{UUID: c.uuid}.Encode(b)
		}
	case nvme.AdminGetLogPage:
		g := cmd.LogPageFields()
		page := make([]byte, 64<<10)
		switch g.LID {
		case nvme.LogANA:
			l := nvme.ANALog{Groups: []nvme.ANAGroup{{ID: 1, State: ana, NSIDs: []uint32{1}}}}
			l.Encode(page)
		case nvme.LogChangedNS:
			nvme.EncodeNSList(page, []uint32{1})
		case nvme.LogDiscovery:
			l := nvme.DiscoveryLog{GENCTR: 1, Entries: c.entries}
			l.Encode(page)
		}
		copy(b, page[min(g.Offset, uint64(len(page))):])
	case nvme.AdminSetFeatures:
		if cmd.FID() == nvme.FeatNumberOfQueues {
			c.answer(cmd, nvme.Success, uint64(cmd.CDW11()))
			return
		}
	}
	c.reply(cmd, b)
}

// config is a configuration that reaches the peer.
func (p *peer) config() Config {
	return Config{Addr: "peer:0", SubNQN: "nqn.2026-11.io.ashlar:test", HostNQN: "nqn.2026-11.io.ashlar:host",
		HostID: [16]byte{1}, Dial: p.dial}
}

// client connects, and closes at the end of the test.
func (p *peer) client(t testing.TB, change func(*Config)) *Client {
	t.Helper()
	cfg := p.config()
	if change != nil {
		change(&cfg)
	}
	c, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
