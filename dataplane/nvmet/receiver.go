package nvmet

import (
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// receiver cuts the byte stream of a connection into PDUs. It belongs to the reader goroutine.
type receiver struct {
	buf     []byte // bytes buf[r:w] are not consumed yet
	r, w    int
	framing nvme.Framing
	most    uint32 // in-capsule data that this queue takes
	// offending is the header of the PDU being looked at, for C2HTermReq.
	offending []byte
	payload   payload
}

// payload is the data part of the PDU being received.
type payload struct {
	active bool
	req    *Request // whose data it is; nil: nobody's, it is dropped
	dst    []byte   // where the rest of it goes; empty when dropped
	left   uint32   // bytes of data to come
	digest bool     // a data digest follows
	crc    uint32
}

// fill reads what the socket has: a long payload straight to where it belongs, the rest behind it.
func (in *receiver) fill(sock socket) error {
	in.compact()
	free := in.buf[in.w:]
	if p := &in.payload; p.active && len(p.dst) >= directRead && in.w == in.r {
		n, err := sock.Readv(p.dst, free)
		if err != nil {
			return err
		}
		direct := min(n, len(p.dst))
		p.took(p.dst[:direct])
		in.w += n - direct
		return nil
	}
	n, err := sock.Readv(free, nil)
	in.w += n
	return err
}

// compact moves what is left to the front when little room is behind it.
func (in *receiver) compact() {
	if in.r == in.w {
		in.r, in.w = 0, 0
	} else if len(in.buf)-in.w < len(in.buf)/2 {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
}

// grow moves on to a larger buffer.
func (in *receiver) grow(buf []byte) (old []byte) {
	old = in.buf
	in.w = copy(buf, in.buf[in.r:in.w])
	in.r, in.buf = 0, buf
	return old
}

func (in *receiver) have() []byte { return in.buf[in.r:in.w] }

// took notes that b, the next bytes of the payload, lie at the front of dst.
func (p *payload) took(b []byte) {
	if p.digest {
		p.crc = nvme.CRC32C(p.crc, b)
	}
	p.dst = p.dst[len(b):]
	p.left -= uint32(len(b))
}

// feed takes payload bytes from b and returns how many.
func (p *payload) feed(b []byte) int {
	n := min(len(b), int(p.left))
	if p.req == nil {
		p.left -= uint32(n)
		return n
	}
	copy(p.dst, b[:n])
	p.took(p.dst[:n])
	return n
}

// consume works through the bytes at hand until they end inside a PDU.
func (c *conn) consume() error {
	in := &c.in
	for {
		if c.at() == phaseEnding {
			return errEnd
		}
		more, err := c.step(in)
		if err != nil || !more {
			return err
		}
	}
}

// step consumes one part of a PDU: its header, or data, or data digest. False: more bytes are needed.
func (c *conn) step(in *receiver) (bool, error) {
	p := &in.payload
	switch {
	case p.active && p.left > 0:
		if in.r == in.w {
			return false, nil
		}
		in.r += p.feed(in.have())
		return true, nil
	case p.active:
		if p.digest {
			if len(in.have()) < nvme.DigestSize {
				return false, nil
			}
			if p.req != nil && nvme.Digest(in.have()) != p.crc {
				p.req.fault = nvme.TransientTransportError // not fatal to the connection (TCP 3.3.1.2)
			}
			in.r += nvme.DigestSize
		}
		p.active = false
		if p.req != nil {
			c.received(p.req)
		}
		return true, nil
	case c.at() == phaseInit:
		return c.initialize(in)
	}
	return c.header(in)
}

// initialize answers ICReq (TCP 3.6.2.1).
func (c *conn) initialize(in *receiver) (bool, error) {
	have := in.have()
	h, err := nvme.DecodeHeader(have)
	if err != nil {
		return false, nil // fewer than 8 bytes
	}
	wrong := h.Type != nvme.PDUICReq || h.HLEN != nvme.ICSize || h.PLEN != nvme.ICSize
	if len(have) < nvme.ICSize && !wrong {
		return false, nil
	}
	var pdu [nvme.ICSize]byte
	copy(pdu[:], have)
	in.offending = pdu[:min(len(have), nvme.ICSize)]
	req, fault := nvme.DecodeICReq(pdu[:])
	if !fault.OK() {
		return false, fault
	}
	resp := nvme.ICResp{DGST: req.DGST, MAXH2CDATA: uint32(c.target.maxData())}
	resp.Encode(pdu[:])
	if _, err := c.sock.Writev([][]byte{pdu[:]}, true); err != nil {
		return false, fmt.Errorf("send ICResp: %w", err)
	}
	in.framing, in.most = nvme.NewFraming(req, resp), adminInCapsule
	c.out.agree(in.framing)
	in.r += nvme.ICSize
	c.enter(phaseConnect)
	return true, nil
}

// header judges the next PDU's header and acts on it.
func (c *conn) header(in *receiver) (bool, error) {
	have := in.have()
	h, err := nvme.DecodeHeader(have)
	if err != nil {
		return false, nil // fewer than 8 bytes
	}
	in.offending = have[:min(len(have), max(int(h.HLEN), nvme.CommonHeaderSize), nvme.TermReqMaxData)]
	if fault := in.framing.CheckHost(h, in.most, in.framing.MaxH2CData); !fault.OK() {
		return false, fault
	}
	n := int(in.framing.Prefix(h))
	if len(have) < n {
		return false, nil
	}
	pdu := have[:n]
	if fault := in.framing.CheckHeaderDigest(pdu, h); !fault.OK() {
		return false, fault
	}
	in.r += n
	switch h.Type {
	case nvme.PDUCapsuleCmd:
		return true, c.capsule(pdu, in.framing.DataLen(h))
	case nvme.PDUH2CData:
		return true, c.hostData(pdu, h, in.framing.DataLen(h))
	}
	return false, hostTerminated(pdu)
}

// hostTerminated reports an H2CTermReq: the host found a fault of ours.
func hostTerminated(pdu []byte) error {
	t, err := nvme.DecodeTermReq(pdu)
	if err != nil {
		return fmt.Errorf("host terminated the connection: %w", err)
	}
	return fmt.Errorf("host terminated the connection: %s, FEI %#x", t.Fault.FES, t.Fault.FEI)
}

// expect makes the next n bytes the payload of req, to dst; req nil drops them.
func (in *receiver) expect(req *Request, dst []byte, n uint32) {
	in.payload = payload{active: true, req: req, dst: dst, left: n, digest: in.framing.DataDigest}
}

// capsule starts a command. Its data, if it is in the capsule, comes next in the stream.
func (c *conn) capsule(pdu []byte, data uint32) error {
	r := c.queue.arrive()
	if r == nil {
		// More commands than the queue holds: there is nowhere to put this one, not even to refuse it.
		return nvme.Fault{FES: nvme.FESSequenceError}
	}
	if err := nvme.DecodeCapsuleCmd(pdu, &r.Cmd); err != nil {
		return err
	}
	st := c.prepare(r, data)
	if st.OK() && r.plan.capsule {
		if !c.queue.equipCapsule(r, false) {
			c.flush() // what is ready may be what keeps the memory
			ok := c.queue.equipCapsule(r, true)
			c.queue.beginBatch()
			if !ok && r.fault.OK() {
				return errEnd
			}
		}
		if r.memory != nil {
			c.in.expect(r, r.Data, data)
			return nil
		}
	}
	if data > 0 {
		c.in.expect(nil, nil, data)
	}
	switch {
	case !st.OK():
		c.queue.answer(r, st)
	case !r.fault.OK():
		c.queue.answer(r, r.fault)
	case r.plan.length == 0:
		c.queue.executing.Add(1)
		c.execute(r)
	case c.queue.reserve(r):
		c.start(r)
	}
	return nil
}

// start goes on with a request that has its memory and counts as executing.
func (c *conn) start(r *Request) {
	if r.fault.OK() && r.plan.dir == nvme.HostToController {
		c.queue.ask(r)
		return
	}
	c.execute(r)
}

// hostData takes an H2CData PDU: the next part of the data of a command that was sent an R2T.
func (c *conn) hostData(pdu []byte, h nvme.Header, data uint32) error {
	d, err := nvme.DecodeH2CData(pdu)
	if err != nil {
		return err
	}
	if int(d.TTAG) >= len(c.queue.slots) {
		return nvme.Fault{FES: nvme.FESInvalidHeaderField, FEI: 10}
	}
	r := &c.queue.slots[d.TTAG]
	if !r.is(stateTransfer) {
		return nvme.Fault{FES: nvme.FESInvalidHeaderField, FEI: 10}
	}
	if d.CCCID != r.Cmd.CID() {
		return nvme.Fault{FES: nvme.FESInvalidHeaderField, FEI: 8}
	}
	if fault := nvme.InRange(d.DATAO, d.DATAL, data, r.got, r.plan.length); !fault.OK() {
		return fault
	}
	if d.DATAO != r.got { // PDUs of one R2T come in order, without gaps
		return nvme.Fault{FES: nvme.FESDataOutOfRange, FEI: 12}
	}
	if h.Flags&nvme.FlagLast != 0 && r.got+data != r.plan.length {
		return nvme.Fault{FES: nvme.FESInvalidHeaderField, FEI: 1}
	}
	c.in.expect(r, r.Data[r.got:r.got+data], data)
	r.got += data
	return nil
}

// received goes on with a request when one of its data PDUs is complete.
func (c *conn) received(r *Request) {
	if r.is(stateTransfer) && r.got < r.plan.length {
		return
	}
	c.queue.executing.Add(1)
	c.execute(r)
}
