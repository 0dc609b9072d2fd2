package initiator

import (
	"errors"
	"fmt"
	"io"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// Data of this many bytes and more goes from the socket straight to its buffer; less is cheaper to copy out
// of the read buffer, which saves a system call per PDU.
const directRead = 16 << 10

// reader parses what the controller sends. Only its goroutine uses it.
type reader struct {
	q    *Queue
	buf  []byte
	r, w int // buf[r:w] has been read and not yet parsed
}

func (rd *reader) init(q *Queue) {
	rd.q = q
	rd.buf = make([]byte, max(q.p.readSize, directRead+2*nvme.MaxHeaderSize))
}

// run parses PDUs until the connection ends and returns why.
func (rd *reader) run() error {
	for {
		f, err := rd.next()
		if err != nil {
			if !f.OK() {
				rd.q.fail(err, f)
			}
			return err
		}
	}
}

// need waits until n bytes are in buf[r:w], reading whatever else has arrived with them.
func (rd *reader) need(n int) error {
	if rd.w-rd.r >= n {
		return nil
	}
	if rd.r > 0 {
		rd.w = copy(rd.buf, rd.buf[rd.r:rd.w])
		rd.r = 0
	}
	for rd.w < n {
		k, err := rd.q.conn.Read(rd.buf[rd.w:])
		rd.w += k
		if rd.w < n && err != nil {
			return lost(err)
		}
	}
	return nil
}

func lost(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the controller closed the connection")
	}
	return fmt.Errorf("read: %w", err)
}

// next handles one PDU. With a fault, the error says what was wrong.
func (rd *reader) next() (nvme.Fault, error) {
	if err := rd.need(nvme.CommonHeaderSize); err != nil {
		return nvme.Fault{}, err
	}
	h, err := nvme.DecodeHeader(rd.buf[rd.r:rd.w])
	if err != nil {
		return nvme.Fault{}, err
	}
	fr := &rd.q.p.framing
	f := fr.CheckController(h, maxTransfer)
	if f.OK() {
		if err := rd.need(int(fr.Prefix(h))); err != nil {
			return nvme.Fault{}, err
		}
		f = fr.CheckHeaderDigest(rd.buf[rd.r:rd.w], h)
	}
	if !f.OK() {
		return f, protocolError(h.Type.String(), f)
	}
	pdu := rd.buf[rd.r : rd.r+int(fr.Prefix(h))]
	rd.r += len(pdu)
	switch h.Type {
	case nvme.PDUCapsuleResp:
		f = rd.response(pdu)
	case nvme.PDUR2T:
		f = rd.readyToTransfer(pdu)
	case nvme.PDUC2HData:
		f, err = rd.data(h, pdu)
	default: // CheckController lets nothing else pass but C2HTermReq
		return nvme.Fault{}, terminated(pdu)
	}
	if err == nil && !f.OK() {
		err = protocolError(h.Type.String(), f)
	}
	return f, err
}

// terminated words a C2HTermReq.
func terminated(pdu []byte) error {
	t, err := nvme.DecodeTermReq(pdu)
	if err != nil {
		return fmt.Errorf("C2HTermReq: %w", err)
	}
	return fmt.Errorf("the controller ended the connection: %w", t.Fault)
}

// badCID is the fault of a PDU about a command that is not in flight.
func badCID(offset uint32) nvme.Fault {
	return nvme.Fault{FES: nvme.FESInvalidHeaderField, FEI: offset}
}

func (rd *reader) response(pdu []byte) nvme.Fault {
	c, err := nvme.DecodeCapsuleResp(pdu)
	if err != nil {
		return badCID(4)
	}
	return rd.finish(c)
}

// finish completes the command that c answers.
func (rd *reader) finish(c nvme.Completion) nvme.Fault {
	q := rd.q
	q.mu.Lock()
	s := q.find(c.CID)
	if s == nil {
		q.mu.Unlock()
		return badCID(20)
	}
	io := q.finish(s, c)
	q.mu.Unlock()
	if io != nil {
		io.Done(io)
	}
	return nvme.Fault{}
}

// readyToTransfer hands the data that the controller asks for to the writer. We grant one R2T at a time
// (MAXR2T 0), so each must continue where the last one ended.
func (rd *reader) readyToTransfer(pdu []byte) nvme.Fault {
	r, err := nvme.DecodeR2T(pdu)
	if err != nil {
		return badCID(4)
	}
	q := rd.q
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.find(r.CCCID)
	switch {
	case s == nil || s.inCapsule || s.io.Cmd.Direction() != nvme.HostToController:
		return badCID(8)
	case s.due:
		return nvme.Fault{FES: nvme.FESDataLimitExceeded}
	case r.R2TO != s.asked:
		return nvme.Fault{FES: nvme.FESDataOutOfRange, FEI: 12}
	case r.R2TL == 0 || uint64(r.R2TL) > s.io.length()-uint64(r.R2TO):
		return nvme.Fault{FES: nvme.FESDataOutOfRange, FEI: 16}
	}
	s.asked += r.R2TL
	s.due, s.ttag, s.start, s.count = true, r.TTAG, r.R2TO, r.R2TL
	s.refs++
	q.push(sendEntry{slot: r.CCCID & slotMask, data: true})
	return nvme.Fault{}
}

// data takes a C2HData PDU whose header is pdu. The slot stays ours while we read: only this goroutine
// completes commands of a living queue.
func (rd *reader) data(h nvme.Header, pdu []byte) (nvme.Fault, error) {
	fr := &rd.q.p.framing
	d, err := nvme.DecodeC2HData(pdu)
	if err != nil {
		return badCID(4), nil
	}
	rd.q.mu.Lock()
	s := rd.q.find(d.CCCID)
	rd.q.mu.Unlock()
	if s == nil || s.io.Cmd.Direction() != nvme.ControllerToHost {
		return badCID(8), nil
	}
	if f := nvme.InRange(d.DATAO, d.DATAL, fr.DataLen(h), s.got, uint32(s.io.length())); !f.OK() {
		return f, nil
	}
	if d.DATAO != s.got { // data comes in order
		return nvme.Fault{FES: nvme.FESDataOutOfRange, FEI: 12}, nil
	}
	if d.DATAL < directRead { // all of it in one go, if it is not there already
		if err := rd.need(int(d.DATAL + fr.DataDigestLen())); err != nil {
			return nvme.Fault{}, err
		}
	}
	crc := uint32(0)
	s.io.region(d.DATAO, d.DATAL, func(b []byte) {
		if err == nil {
			err = rd.take(b)
		}
		if err == nil && fr.DataDigest {
			crc = nvme.CRC32C(crc, b)
		}
	})
	if err == nil {
		err = rd.need(int(fr.DataDigestLen()))
	}
	if err != nil {
		return nvme.Fault{}, err
	}
	if fr.DataDigest {
		s.badDigest = s.badDigest || nvme.Digest(rd.buf[rd.r:]) != crc
		rd.r += nvme.DigestSize
	}
	s.got += d.DATAL
	if h.Flags&nvme.FlagSuccess != 0 {
		return rd.finish(nvme.Completion{CID: d.CCCID}), nil
	}
	return nvme.Fault{}, nil
}

// take fills b: from the read buffer, then from the connection.
func (rd *reader) take(b []byte) error {
	n := copy(b, rd.buf[rd.r:rd.w])
	rd.r += n
	if n == len(b) {
		return nil
	}
	if _, err := io.ReadFull(rd.q.conn, b[n:]); err != nil {
		return lost(err)
	}
	return nil
}
