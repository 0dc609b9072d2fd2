package nvmet_test

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
)

// FuzzConnection sends bytes that nobody checked, at each stage of a connection's life: as its first bytes,
// after ICReq, on a working admin queue, on a working I/O queue with and without digests, on a discovery
// queue, and in the middle of authentication. Whatever they are, the target closes in the end, holds nothing
// any more, and serves the next host.
func FuzzConnection(f *testing.F) {
	for stage := range byte(stages) {
		for _, b := range seeds() {
			f.Add(stage, b)
		}
	}
	w := newWorld(f, nvmet.Options{Queues: 1024, Memory: 1 << 20})
	cfg := w.config()
	cfg.AllowAny = true
	w.put(cfg)
	guarded := newWorld(f, nvmet.Options{Secret: []byte("s3cret")})
	f.Fuzz(func(t *testing.T, stage byte, b []byte) {
		in := *w
		if stage%stages == stageAuthenticate {
			in = *guarded
		}
		in.TB = t
		admin, h := in.reach(stage % stages)
		deliver(t, h.c, b)
		if admin != nil {
			_ = admin.c.Close()
		}
		in.empty()
	})
}

const (
	stageFirst = iota
	stageGreeted
	stageAdmin
	stageIO
	stageDigests
	stageDiscovery
	stageAuthenticate
	stages
)

// reach opens a connection and takes it to a stage.
func (w *world) reach(stage byte) (admin, h *host) {
	switch stage {
	case stageFirst:
		return nil, w.dial()
	case stageGreeted:
		return nil, w.dial().greet(0, 0)
	case stageAdmin:
		return nil, w.admin(connection{})
	case stageIO:
		return w.volume(connection{})
	case stageDigests:
		return w.volume(connection{dgst: 3})
	case stageDiscovery:
		return nil, w.admin(connection{subnqn: nvme.DiscoveryNQN})
	}
	h = w.dial().greet(0, 0)
	h.connect(connection{})
	return nil, h
}

// deliver sends b, says that no more comes, and wants the connection closed.
func deliver(t *testing.T, c net.Conn, b []byte) {
	got := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, c)
		got <- err
	}()
	if _, err := c.Write(b); err == nil {
		_ = c.(*net.TCPConn).CloseWrite() // fails when the target was faster
	}
	if err := <-got; errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the target did not close the connection")
	} else if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	_ = c.Close()
}

// empty waits until the target holds nothing for anybody.
func (w *world) empty() {
	deadline := time.Now().Add(20 * time.Second)
	for {
		buffers, shared, conns, controllers := w.target.Outstanding()
		if buffers == 0 && shared == 0 && conns == 0 && controllers == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.Fatalf("left behind: %d buffers, %d shared bytes, %d connections, %d controllers",
				buffers, shared, conns, controllers)
		}
		runtime.Gosched()
	}
}

// seeds are streams that go far: commands of every kind, whole and cut.
func seeds() [][]byte {
	var out [][]byte
	add := func(f nvme.Framing, cmd nvme.Command, data []byte) {
		var b [nvme.MaxHeaderSize]byte
		id := nvme.SGLTransport
		if len(data) > 0 {
			id = nvme.SGLInCapsule
		}
		cmd.SetSGL(nvme.SGL{Length: uint32(max(len(data), 4096)), ID: id})
		pdu := append(b[:f.PutCapsuleCmd(b[:], &cmd, uint32(len(data)))], data...)
		if len(data) > 0 && f.DataDigest {
			pdu = append(pdu, 0, 0, 0, 0)
			nvme.PutDigest(pdu[len(pdu)-4:], nvme.CRC32C(0, data))
		}
		out = append(out, pdu, pdu[:len(pdu)-1], append(pdu[:len(pdu):len(pdu)], pdu...))
	}
	for _, f := range []nvme.Framing{{}, {HeaderDigest: true, DataDigest: true}} {
		for _, op := range []uint8{0, 1, 2, 5, 8, 9, 0xc, 0x81} {
			var cmd nvme.Command
			cmd.ReadWrite(op, 1, 0, 8)
			add(f, cmd, nil)
			if op&3 == 1 {
				add(f, cmd, make([]byte, 4096))
			}
		}
		for _, op := range []uint8{2, 6, 8, 9, 10, 12, 24} {
			var cmd nvme.Command
			cmd.SetOpcode(op)
			add(f, cmd, nil)
		}
		for _, t := range []uint8{0, 4, 5, 6, 8} {
			add(f, nvme.Command{0: nvme.OpFabrics, 4: t}, nil)
		}
		var b [nvme.MaxHeaderSize]byte
		n := f.PutH2CData(b[:], nvme.H2CData{DATAL: 4}, nvme.FlagLast)
		out = append(out, append(b[:n:n], 1, 2, 3, 4, 0, 0, 0, 0))
	}
	ic := make([]byte, nvme.ICSize)
	nvme.ICReq{DGST: 3}.Encode(ic)
	term := make([]byte, nvme.TermReqSize)
	nvme.TermReq{Type: nvme.PDUH2CTermReq}.Encode(term)
	return append(out, nil, ic, ic[:9], term, []byte("GET / HTTP/1.1\r\n\r\n"))
}
