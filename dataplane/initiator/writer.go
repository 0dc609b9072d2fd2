package initiator

import (
	"fmt"
	"net"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

const (
	// A batch ends at so many commands or bytes: enough to fill a writev, and an answer is not kept waiting for
	// long.
	batchJobs  = 128
	batchBytes = 1 << 20
	// termTimeout bounds the farewell of a connection that is given up.
	termTimeout = 100 * time.Millisecond
)

// job is an entry of the send ring that the writer has taken, with copies of what it needs from the slot.
type job struct {
	slot  uint16
	data  bool // data for an R2T, else the command
	io    *IO
	caps  bool // the command carries its data
	ttag  uint16
	start uint32
	count uint32
}

// writer sends commands and data. Only its goroutine uses it; all its memory is used again and again.
type writer struct {
	q     *Queue
	jobs  []job
	heads []byte   // headers and digests of the batch
	vec   [][]byte // the batch: pieces of heads and of the IOs' buffers
	start int      // heads[start:] is not in vec yet
	bufs  net.Buffers
	// flat is the batch in one piece, for connections that are no sockets: there every Write costs a record of
	// TLS and a system call.
	flat []byte
}

func (w *writer) init(q *Queue) {
	w.q = q
	w.jobs = make([]job, 0, batchJobs)
	w.heads = make([]byte, 0, batchJobs*nvme.MaxHeaderSize)
	w.vec = make([][]byte, 0, 3*batchJobs)
}

// run sends batches until the queue fails and returns why.
func (w *writer) run() error {
	for {
		if !w.takeBatch() {
			return w.farewell()
		}
		w.build()
		err := w.flush()
		w.returnBatch()
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
}

// takeBatch waits for something to send and takes it; false says that the queue has failed.
func (w *writer) takeBatch() bool {
	q := w.q
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.ring.size == 0 && q.err == nil {
		q.work.Wait()
	}
	if q.err != nil {
		return false
	}
	w.jobs = w.jobs[:0]
	for bytes := uint64(0); q.ring.size > 0 && len(w.jobs) < batchJobs && bytes < batchBytes; {
		e := q.ring.pop()
		s := &q.slots[e.slot]
		j := job{slot: e.slot, data: e.data, io: s.io, caps: s.inCapsule}
		if e.data {
			j.ttag, j.start, j.count = s.ttag, s.start, s.count
			s.due = false
			bytes += uint64(j.count)
		} else {
			s.sent = true
			if j.caps {
				j.count = uint32(s.io.length())
				bytes += uint64(j.count)
			}
		}
		if s.answered { // the controller wants no more: do not send what it asked for before
			j.count = 0
		}
		w.jobs = append(w.jobs, j)
	}
	return true
}

// build lays the batch out in vec.
func (w *writer) build() {
	w.heads, w.vec, w.start = w.heads[:0], w.vec[:0], 0
	for i := range w.jobs {
		j := &w.jobs[i]
		if !j.data {
			n := w.q.p.framing.PutCapsuleCmd(w.room(), &j.io.Cmd, j.count)
			w.heads = w.heads[:len(w.heads)+n]
			w.payload(j.io, 0, j.count)
			continue
		}
		for sent := uint32(0); sent < j.count; {
			n := min(j.count-sent, w.q.p.framing.MaxH2CData)
			flags := uint8(0)
			if sent+n == j.count {
				flags = nvme.FlagLast
			}
			d := nvme.H2CData{CCCID: j.io.Cmd.CID(), TTAG: j.ttag, DATAO: j.start + sent, DATAL: n}
			k := w.q.p.framing.PutH2CData(w.room(), d, flags)
			w.heads = w.heads[:len(w.heads)+k]
			w.payload(j.io, d.DATAO, n)
			sent += n
		}
	}
	w.cut()
}

// room makes sure that a header fits behind heads and returns where it goes.
func (w *writer) room() []byte {
	n := len(w.heads)
	if cap(w.heads)-n < nvme.MaxHeaderSize {
		// Many PDUs per R2T. The pieces in vec keep the old memory; heads[start:] moves along.
		grown := make([]byte, n, 2*cap(w.heads))
		copy(grown, w.heads)
		w.heads = grown
	}
	return w.heads[n : n+nvme.MaxHeaderSize]
}

// cut moves what has been added to heads since the last cut to vec.
func (w *writer) cut() {
	if len(w.heads) > w.start {
		w.vec = append(w.vec, w.heads[w.start:])
		w.start = len(w.heads)
	}
}

// payload adds data of an IO and its digest.
func (w *writer) payload(io *IO, off, n uint32) {
	if n == 0 {
		return
	}
	w.cut()
	crc := uint32(0)
	io.region(off, n, func(b []byte) {
		w.vec = append(w.vec, b)
		if w.q.p.framing.DataDigest {
			crc = nvme.CRC32C(crc, b)
		}
	})
	if w.q.p.framing.DataDigest {
		nvme.PutDigest(w.room(), crc)
		w.heads = w.heads[:len(w.heads)+nvme.DigestSize]
	}
}

func (w *writer) flush() error {
	switch len(w.vec) {
	case 0: // all jobs had been answered already
		return nil
	case 1:
		_, err := w.q.conn.Write(w.vec[0])
		return err
	}
	if _, isSocket := w.q.conn.(*net.TCPConn); !isSocket {
		w.flat = w.flat[:0]
		for _, p := range w.vec {
			w.flat = append(w.flat, p...)
		}
		_, err := w.q.conn.Write(w.flat)
		return err
	}
	w.bufs = w.vec
	_, err := w.bufs.WriteTo(w.q.conn)
	return err
}

// returnBatch lets go of the buffers of the batch and gives back the IOs whose answer has come meanwhile.
func (w *writer) returnBatch() {
	q := w.q
	var done list
	q.mu.Lock()
	for i := range w.jobs {
		s := &q.slots[w.jobs[i].slot]
		s.refs--
		if s.answered && s.refs == 0 {
			done.push(q.release(s))
		}
		w.jobs[i].io = nil
	}
	q.mu.Unlock()
	clear(w.vec)
	for io := done.pop(); io != nil; io = done.pop() {
		io.Done(io)
	}
}

// farewell tells the controller what it did wrong, if that is why the queue ends.
func (w *writer) farewell() error {
	w.q.mu.Lock()
	f := w.q.term
	w.q.mu.Unlock()
	if f.OK() {
		return nil
	}
	b := make([]byte, nvme.TermReqSize+nvme.TermReqMaxData)
	n := nvme.TermReq{Type: nvme.PDUH2CTermReq, Fault: f}.Encode(b)
	if _, err := w.q.conn.Write(b[:n]); err != nil {
		return fmt.Errorf("terminate the connection: %w", err)
	}
	return nil
}
