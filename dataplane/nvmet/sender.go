package nvmet

import (
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

const (
	// maxBatch is the most answers that go out in one Writev, and headSize the bytes for their headers.
	maxBatch = 128
	headSize = 8 << 10
	// maxAnswerHeader bounds the header bytes of one answer: C2HData with its padding, data digest, response.
	maxAnswerHeader = nvme.MaxHeaderSize + nvme.DigestSize + nvme.CapsuleRespSize + nvme.DigestSize
)

// sender turns answers into PDUs and PDUs into as few writes as possible. It belongs to whoever has set
// queue.mu.sending: the reader at the end of a batch or the writer goroutine.
type sender struct {
	framing nvme.Framing
	// flow is SQ flow control: completions carry SQHD, and response capsules follow read data.
	flow   bool
	sqhd   uint16 // head of the submission queue, [0, size)
	size   uint16
	most   int         // answers per batch
	head   []byte      // headers of the batch, headSize bytes
	used   int         // bytes of head
	mark   int         // bytes of head that are in vec already
	vec    [][]byte    // the batch: pieces of head and data of requests
	rest   [][]byte    // what of vec has not been sent
	batch  requestList // what is being encoded
	memory []held      // buffers whose data is in vec
}

// held is a buffer on its way to the socket.
type held struct {
	memory []byte
	booked int64
}

// agree takes over what ICReq and ICResp settled.
func (s *sender) agree(f nvme.Framing) {
	s.framing = f
	each := 2*int(f.HeaderLen(nvme.DataHeaderSize)) + nvme.DigestSize
	if f.HPDA > 0 {
		each = maxAnswerHeader
	}
	s.most = min(maxBatch, headSize/each)
}

// pending reports a batch that was sent in part.
func (s *sender) pending() bool { return len(s.rest) > 0 }

// encode appends the PDUs of one answer to the batch.
func (s *sender) encode(r *Request, qid uint16) {
	f := s.framing
	if r.is(stateAsking) {
		s.used += f.PutR2T(s.head[s.used:], nvme.R2T{
			CCCID: r.Cmd.CID(), TTAG: r.index, R2TL: uint32(len(r.Data)),
		})
		return
	}
	s.sqhd++
	if s.sqhd >= s.size {
		s.sqhd = 0
	}
	if r.booked > 0 && len(r.Data) > 0 {
		var flags = nvme.FlagLast
		success := !s.flow && r.dw0 == 0 && r.dw1 == 0 && r.status == nvme.Success
		if success {
			flags |= nvme.FlagSuccess
		}
		s.used += f.PutC2HData(s.head[s.used:], nvme.C2HData{CCCID: r.Cmd.CID(), DATAL: uint32(len(r.Data))}, flags)
		s.cut()
		s.vec = append(s.vec, r.Data)
		if f.DataDigest {
			nvme.PutDigest(s.head[s.used:], nvme.CRC32C(0, r.Data))
			s.used += nvme.DigestSize
		}
		if success {
			return
		}
	}
	s.used += f.PutCapsuleResp(s.head[s.used:], nvme.Completion{
		DW0: r.dw0, DW1: r.dw1, SQHD: s.sqhd, SQID: qid, CID: r.Cmd.CID(), Status: r.status,
	})
}

// cut moves the headers encoded so far to vec as one piece.
func (s *sender) cut() {
	if s.used > s.mark {
		s.vec = append(s.vec, s.head[s.mark:s.used])
		s.mark = s.used
	}
}

// push sends what rest holds and reports whether all of it went.
func (s *sender) push(sock socket, wait bool) (done bool, err error) {
	n, err := sock.Writev(s.rest, wait)
	if err != nil {
		return false, fmt.Errorf("send: %w", err)
	}
	for len(s.rest) > 0 && n >= len(s.rest[0]) {
		n -= len(s.rest[0])
		s.rest = s.rest[1:]
	}
	if n > 0 {
		s.rest[0] = s.rest[0][n:]
	}
	return len(s.rest) == 0, nil
}

// send runs the sender until nothing is ready. The caller owns it. With wait it returns when it no longer
// does. Without, it may return true: the rest has to wait for the socket, and ownership goes to the writer
// goroutine.
func (c *conn) send(wait bool) (handOver bool) {
	s := &c.out
	for {
		if s.pending() {
			done, err := s.push(c.sock, wait)
			if err != nil {
				c.fail(err)
				s.rest = nil
			} else if !done {
				return true
			}
			c.sent()
		}
		for r := c.queue.admit(); r != nil; r = c.queue.admit() {
			c.start(r)
		}
		if !c.queue.takeReady(&s.batch, s.most) {
			return false
		}
		c.encodeBatch()
	}
}

// encodeBatch fills vec from the answers taken. Their slots are free again before a byte is on the wire: the
// host may use a command's place as soon as it sees the answer.
func (c *conn) encodeBatch() {
	s := &c.out
	s.vec, s.used, s.mark = s.vec[:0], 0, 0
	var done requestList
	for r := s.batch.pop(); r != nil; r = s.batch.pop() {
		s.encode(r, c.qid)
		if r.is(stateAsking) {
			r.enter(stateTransfer)
			continue
		}
		if r.booked > 0 {
			s.memory = append(s.memory, held{r.memory, r.booked})
			r.memory, r.booked = nil, 0
		}
		done.push(r)
	}
	s.cut()
	s.rest = s.vec
	c.queue.recycle(&done)
}

// sent gives the data of a batch back.
func (c *conn) sent() {
	s := &c.out
	if len(s.memory) == 0 {
		return
	}
	var booked int64
	for i := range s.memory {
		c.target.memory.put(s.memory[i].memory)
		booked += s.memory[i].booked
		s.memory[i] = held{}
	}
	s.memory = s.memory[:0]
	c.queue.dataSent(booked)
}
