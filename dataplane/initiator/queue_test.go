package initiator

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// run submits a command and waits for it.
func run(t testing.TB, c *Client, io *IO) nvme.Status {
	t.Helper()
	done := make(chan struct{})
	io.Done = func(*IO) { close(done) }
	c.Submit(io)
	<-done
	return io.Status()
}

func rw(op uint8, slba uint64, data, tail []byte) *IO {
	io := &IO{Data: data, Tail: tail}
	io.Cmd.ReadWrite(op, 1, slba, uint32((len(data)+len(tail))/512))
	return io
}

// pattern is bytes that differ everywhere.
func pattern(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestTransfers writes and reads back through every way that data can take.
func TestTransfers(t *testing.T) {
	cases := []struct {
		name string
		set  func(*peer, *Config)
	}{
		{"plain", func(*peer, *Config) {}},
		{"success flag", func(p *peer, _ *Config) { p.success = true }},
		{"header digest", func(_ *peer, c *Config) { c.HeaderDigest = true }},
		{"data digest", func(_ *peer, c *Config) { c.DataDigest = true }},
		{"both digests, success, aligned", func(p *peer, c *Config) {
			c.HeaderDigest, c.DataDigest, c.HPDA, p.cpda, p.success = true, true, 15, 7, true
		}},
		{"digests refused", func(p *peer, c *Config) { c.HeaderDigest, c.DataDigest, p.DGST = true, true, 0 }},
		{"no in-capsule data", func(p *peer, _ *Config) { p.inCapsule = 0 }},
		{"small R2Ts", func(p *peer, _ *Config) { p.inCapsule, p.r2t = 0, 3000 }},
		{"many data PDUs", func(p *peer, c *Config) { p.chunk, c.DataDigest = 1000, true }},
		{"byte by byte", func(p *peer, c *Config) { p.dribble, c.DataDigest, c.HeaderDigest = true, true, true }},
		{"with a secret", func(p *peer, c *Config) { p.secret, c.Secret = []byte("s"), []byte("s") }},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			p := newPeer()
			c := p.client(t, func(cfg *Config) { tc.set(p, cfg) })
			for _, n := range []int{512, 4096, 8192, 128 << 10} {
				want := pattern(n)
				cut := n / 3
				if st := run(t, c, rw(nvme.OpWrite, 8, want[:cut], want[cut:])); !st.OK() {
					t.Fatalf("write %d: %v", n, st)
				}
				if !bytes.Equal(p.disk.mem[4096:4096+n], want) {
					t.Fatalf("%d bytes: other bytes arrived", n)
				}
				got := make([]byte, n)
				if st := run(t, c, rw(nvme.OpRead, 8, got[:n-cut], got[n-cut:])); !st.OK() {
					t.Fatalf("read %d: %v", n, st)
				}
				if !bytes.Equal(got, want) {
					t.Fatalf("%d bytes: other bytes came back", n)
				}
			}
		})
	}
}

// TestManyAtOnce submits more than the queue is deep, from many goroutines and from Done itself, and counts.
func TestManyAtOnce(t *testing.T) {
	p := newPeer()
	c := p.client(t, func(cfg *Config) { cfg.Depth, cfg.Queues = 4, 2 })
	const workers, rounds = 16, 50
	var done atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Add(1)
		want := bytes.Repeat([]byte{byte(w + 1)}, 512)
		io := rw(nvme.OpWrite, uint64(w), want, nil)
		left := rounds
		io.Done = func(io *IO) {
			if !io.Status().OK() {
				t.Errorf("worker %d: %v", w, io.Status())
			}
			done.Add(1)
			if left--; left == 0 {
				wg.Done()
				return
			}
			c.Submit(io)
		}
		go c.Submit(io)
	}
	wg.Wait()
	if done.Load() != workers*rounds {
		t.Errorf("%d completions of %d", done.Load(), workers*rounds)
	}
	for w := range workers {
		if p.disk.mem[w*512] != byte(w+1) {
			t.Errorf("block %d holds %d", w, p.disk.mem[w*512])
		}
	}
}

// TestVendorCommand: opcode and dwords are the caller's, data goes the way that opcode bits 1:0 say, the
// result comes back.
func TestVendorCommand(t *testing.T) {
	p := newPeer()
	p.hook = func(c *peerConn, cmd *nvme.Command, data []byte) bool {
		switch cmd.Opcode() {
		case 0x81:
			sum := uint64(0)
			for _, b := range data {
				sum += uint64(b)
			}
			c.answer(cmd, nvme.Success, sum<<32|uint64(cmd.CDW10()))
		case 0x82:
			c.reply(cmd, bytes.Repeat([]byte{byte(cmd.CDW15())}, int(cmd.SGL().Length)))
		case 0x80:
			c.answer(cmd, nvme.Status(0x7c1), 9)
		}
		return true
	}
	c := p.client(t, nil)
	send := &IO{Data: []byte{1, 2, 3}, Tail: []byte{4}}
	send.Cmd.SetOpcode(0x81)
	send.Cmd.SetCDW10(77)
	if st := run(t, c, send); !st.OK() || send.Completion.DW0 != 77 || send.Completion.DW1 != 10 {
		t.Errorf("send: %+v", send.Completion)
	}
	recv := &IO{Data: make([]byte, 5)}
	recv.Cmd.SetOpcode(0x82)
	recv.Cmd.SetCDW15(6)
	if st := run(t, c, recv); !st.OK() || !bytes.Equal(recv.Data, []byte{6, 6, 6, 6, 6}) {
		t.Errorf("receive: %v %v", st, recv.Data)
	}
	none := &IO{}
	none.Cmd.SetOpcode(0x80)
	if st := run(t, c, none); st != 0x7c1 || none.Completion.DW0 != 9 {
		t.Errorf("no data: %+v", none.Completion)
	}
	none.Data = make([]byte, 1)
	if st := run(t, c, none); st.Code() != nvme.InvalidField {
		t.Errorf("data for an opcode without: %v", st)
	}
}

// raw sends the header of a PDU with its fields changed, and data.
func raw(c *peerConn, data []byte, build func(b []byte) int) {
	b := make([]byte, nvme.MaxHeaderSize)
	c.write(append(b[:build(b)], data...))
}

// TestBadControllers: whatever the controller sends, each command ends exactly once and nothing panics. Where
// the transport itself is violated, the connection ends with the right words.
func TestBadControllers(t *testing.T) {
	for _, tc := range badControllers() {
		t.Run(tc.name, func(t *testing.T) {
			p := newPeer()
			p.hook = func(c *peerConn, cmd *nvme.Command, _ []byte) bool {
				tc.do(c, cmd)
				return true
			}
			c := p.client(t, nil)
			ended := make(chan *IO, 2)
			io := rw(nvme.OpRead, 0, make([]byte, 4096), nil)
			io.Done = func(io *IO) { ended <- io }
			c.Submit(io)
			<-c.Done()
			if err := c.Err(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("ended with %v, want %q", err, tc.want)
			}
			if st := (<-ended).Status(); tc.name != "answers twice" && st != nvme.HostPathingError {
				t.Errorf("status %v", st)
			}
			if len(ended) != 0 {
				t.Error("completed twice")
			}
			c.Submit(io)
			if st := (<-ended).Status(); st != nvme.HostPathingError {
				t.Errorf("after the end: %v", st)
			}
		})
	}
}

// badController answers a read of 4096 bytes in a wrong way.
type badController struct {
	name string
	do   func(c *peerConn, cmd *nvme.Command)
	want string // what the queue's error says
}

func badControllers() []badController {
	c2h := func(c *peerConn, d nvme.C2HData, flags uint8, n int) {
		raw(c, make([]byte, n), func(b []byte) int { return c.fr.PutC2HData(b, d, flags) })
	}
	return []badController{
		{"closes", func(c *peerConn, _ *nvme.Command) { c.conn.Close() }, "closed the connection"},
		{"closes inside a header", func(c *peerConn, _ *nvme.Command) {
			c.write([]byte{5, 0, 24})
			c.conn.Close()
		}, "closed the connection"},
		{"closes inside data", func(c *peerConn, cmd *nvme.Command) {
			c2h(c, nvme.C2HData{CCCID: cmd.CID(), DATAL: 4096}, nvme.FlagLast, 100)
			c.conn.Close()
		}, "closed the connection"},
		{"terminates", func(c *peerConn, _ *nvme.Command) {
			raw(c, nil, func(b []byte) int {
				return nvme.TermReq{Type: nvme.PDUC2HTermReq, Fault: nvme.Fault{FES: nvme.FESSequenceError}}.Encode(b)
			})
		}, "PDU sequence error"},
		{"unknown PDU", func(c *peerConn, _ *nvme.Command) {
			c.write([]byte{0x77, 0, 24, 0, 24, 0, 0, 0})
		}, "FEI 0x0"},
		{"PLEN of 4 GiB", func(c *peerConn, _ *nvme.Command) {
			c.write([]byte{7, 0, 24, 24, 255, 255, 255, 255})
		}, "limit exceeded"},
		{"answers another command", func(c *peerConn, cmd *nvme.Command) {
			cmd.SetCID(cmd.CID() ^ 1)
			c.answer(cmd, nvme.Success, 0)
		}, "FEI 0x14"},
		{"answers an old command", func(c *peerConn, cmd *nvme.Command) {
			cmd.SetCID(cmd.CID() - 1<<slotBits)
			c.answer(cmd, nvme.Success, 0)
		}, "FEI 0x14"},
		{"answers twice", func(c *peerConn, cmd *nvme.Command) {
			c.reply(cmd, make([]byte, 4096))
			c.answer(cmd, nvme.Success, 0)
		}, "FEI 0x14"},
		{"data of another command", func(c *peerConn, cmd *nvme.Command) {
			c2h(c, nvme.C2HData{CCCID: cmd.CID() ^ 1, DATAL: 512}, 0, 512)
		}, "FEI 0x8"},
		{"data past the end", func(c *peerConn, cmd *nvme.Command) {
			c2h(c, nvme.C2HData{CCCID: cmd.CID(), DATAO: 4096, DATAL: 512}, 0, 512)
		}, "out of range"},
		{"too much data", func(c *peerConn, cmd *nvme.Command) {
			c2h(c, nvme.C2HData{CCCID: cmd.CID(), DATAL: 8192}, 0, 8192)
		}, "out of range"},
		{"data with a gap", func(c *peerConn, cmd *nvme.Command) {
			c2h(c, nvme.C2HData{CCCID: cmd.CID(), DATAO: 512, DATAL: 512}, 0, 512)
		}, "out of range"},
		{"asks for data of a read", func(c *peerConn, cmd *nvme.Command) {
			raw(c, nil, func(b []byte) int { return c.fr.PutR2T(b, nvme.R2T{CCCID: cmd.CID(), R2TL: 512}) })
		}, "FEI 0x8"},
		{"success before the end", func(c *peerConn, cmd *nvme.Command) {
			c2h(c, nvme.C2HData{CCCID: cmd.CID(), DATAL: 512}, nvme.FlagSuccess, 512)
		}, "FEI 0x1"},
	}
}

// TestMissingData: a read that is answered with success but without all of its data has not succeeded, and
// neither has one whose digest is wrong; the connection goes on.
func TestMissingData(t *testing.T) {
	p := newPeer()
	p.hook = func(c *peerConn, cmd *nvme.Command, _ []byte) bool {
		if cmd.SLBA() == 0 {
			c.answer(cmd, nvme.Success, 0)
			return true
		}
		if cmd.SLBA() == 1 {
			raw(c, make([]byte, 516), func(b []byte) int { // zeroes have another digest than zero
				return c.fr.PutC2HData(b, nvme.C2HData{CCCID: cmd.CID(), DATAL: 512}, nvme.FlagLast)
			})
			c.answer(cmd, nvme.Success, 0)
			return true
		}
		return false
	}
	c := p.client(t, func(cfg *Config) { cfg.DataDigest = true })
	lost := nvme.TransientTransportError
	for lba, want := range []nvme.Status{lost, lost, nvme.Success} {
		if st := run(t, c, rw(nvme.OpRead, uint64(lba), make([]byte, 512), nil)); st != want {
			t.Errorf("block %d: %v", lba, st)
		}
	}
}

// TestSecrets: nobody gets through with another secret or without one.
func TestSecrets(t *testing.T) {
	for _, tc := range []struct {
		name, peer, host string
		want             error
	}{
		{"other secret", "a", "b", nvme.OperationDenied.NoRetry()},
		{"no secret", "a", "", nvme.AuthenticationRequired},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPeer()
			p.secret = []byte(tc.peer)
			cfg := p.config()
			cfg.Secret = []byte(tc.host)
			if _, err := Dial(t.Context(), cfg); !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
		})
	}
}

// TestTimeout: a command that is not answered ends the connection when its time is up, not earlier;
// everything that was in flight or waiting completes at that moment, once.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer()
		p.hook = func(_ *peerConn, cmd *nvme.Command, _ []byte) bool { return cmd.SLBA() > 0 }
		c := p.client(t, func(cfg *Config) { cfg.Depth, cfg.Timeout, cfg.KATO = 3, 5*time.Second, -1 })
		if st := run(t, c, rw(nvme.OpRead, 0, make([]byte, 512), nil)); !st.OK() {
			t.Fatal(st)
		}
		begin := time.Now()
		var completions atomic.Int32
		var ios []*IO
		for i := range 6 { // two in flight, four waiting
			io := rw(nvme.OpRead, uint64(i+1), make([]byte, 512), nil)
			io.Done = func(io *IO) {
				completions.Add(1)
				if d := time.Since(begin); d != 2*time.Second {
					t.Errorf("completed after %v", d)
				}
			}
			ios = append(ios, io)
		}
		ios[3].Timeout = 2 * time.Second
		for _, io := range ios {
			c.Submit(io)
		}
		<-c.Done()
		if completions.Load() != 6 || !errors.Is(c.Err(), ErrTimeout) {
			t.Errorf("%d completions, %v", completions.Load(), c.Err())
		}
		for i, io := range ios {
			if io.Status() != nvme.HostPathingError {
				t.Errorf("%d: %v", i, io.Status())
			}
		}
	})
}

// TestKeepAlive: a controller that goes silent is noticed without any I/O.
func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer()
		c := p.client(t, func(cfg *Config) { cfg.KATO = 4 * time.Second })
		<-time.After(time.Minute) // of the bubble's clock: nothing happens to a living association
		if err := c.Err(); err != nil {
			t.Fatalf("after a quiet minute: %v", err)
		}
		p.mu.Lock()
		for _, conn := range p.conns {
			conn.SetWriteDeadline(time.Now()) // answers get lost from now on
		}
		p.mu.Unlock()
		begin := time.Now()
		<-c.Done()
		if d := time.Since(begin); d > 6*time.Second {
			t.Errorf("noticed after %v: %v", d, c.Err())
		}
	})
}

// TestAnswerOvertakesWriter: a controller may fail a write before it has read the data. Done must wait until
// the writer has let go of the buffer, since the caller will use it again.
func TestAnswerOvertakesWriter(t *testing.T) {
	p := newPeer()
	p.inCapsule, p.maxH2C, p.refuse = 0, 4096, true
	c := p.client(t, nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		buf := pattern(64 << 10)
		io := rw(nvme.OpWrite, 0, buf, nil)
		left := 50
		io.Done = func(io *IO) {
			if io.Status() != nvme.CapacityExceeded {
				t.Errorf("%v", io.Status())
			}
			clear(buf) // the race detector watches
			if left--; left == 0 {
				wg.Done()
				return
			}
			c.Submit(io)
		}
		c.Submit(io)
	}
	wg.Wait()
}
