package initiator

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// script is a connection whose controller takes commands and then says what it was going to say anyway.
type script struct {
	net.Conn // nil: only what is below is used
	ready    chan struct{}

	mu    sync.Mutex
	await int // bytes of commands still to come
	say   []byte
}

func (s *script) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.await > 0 {
		if s.await -= len(b); s.await <= 0 {
			close(s.ready)
		}
	}
	return len(b), nil
}

func (s *script) Read(b []byte) (int, error) {
	<-s.ready
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.say) == 0 {
		return 0, io.EOF
	}
	n := copy(b, s.say)
	s.say = s.say[n:]
	return n, nil
}

func (s *script) Close() error                     { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// FuzzReader lets a controller say anything at all to a queue with a read, a write that waits for an R2T and
// a command without data in flight: nothing panics or hangs, and each command is completed exactly once.
func FuzzReader(f *testing.F) {
	const cid = 1 << slotBits // the first use of slot 0; the others follow
	b := make([]byte, nvme.MaxHeaderSize)
	for flags := range uint8(4) {
		fr := nvme.Framing{HeaderDigest: flags&1 != 0, DataDigest: flags&2 != 0}
		var all []byte
		d := nvme.C2HData{CCCID: cid, DATAL: 512}
		all = append(all, b[:fr.PutC2HData(b, d, nvme.FlagLast|nvme.FlagSuccess)]...)
		all = append(all, make([]byte, 512+fr.DataDigestLen())...)
		all = append(all, b[:fr.PutR2T(b, nvme.R2T{CCCID: cid + 1, TTAG: 3, R2TL: 512})]...)
		all = append(all, b[:fr.PutCapsuleResp(b, nvme.Completion{CID: cid + 1})]...)
		all = append(all, b[:fr.PutCapsuleResp(b, nvme.Completion{CID: cid + 2})]...)
		f.Add(flags, all)
		term := nvme.TermReq{Type: nvme.PDUC2HTermReq, Fault: nvme.Fault{FES: nvme.FESDataOutOfRange}}
		f.Add(flags, append([]byte(nil), b[:term.Encode(b)]...))
	}
	f.Fuzz(func(t *testing.T, flags uint8, say []byte) {
		fr := nvme.Framing{HeaderDigest: flags&1 != 0, DataDigest: flags&2 != 0, MaxH2CData: nvme.MinMaxH2CData}
		conn := &script{ready: make(chan struct{}), await: 3 * int(fr.HeaderLen(nvme.CapsuleCmdSize)), say: say}
		q := newQueue(conn, queueParams{depth: 8, timeout: time.Minute, framing: fr})
		done := make(chan *IO, 6)
		for i, op := range []uint8{nvme.OpRead, nvme.OpWrite, nvme.OpFlush} {
			io := &IO{Done: func(io *IO) { done <- io }, Tag: i}
			io.Cmd.ReadWrite(op, 1, 0, 1)
			if op != nvme.OpFlush {
				io.Data, io.Tail = make([]byte, 100), make([]byte, 412)
			}
			q.Submit(io)
		}
		<-q.Done()
		var times [3]int
		for len(done) > 0 {
			times[(<-done).Tag.(int)]++
		}
		if times != [3]int{1, 1, 1} {
			t.Fatalf("completions: %v", times)
		}
	})
}
