package nvmet_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
)

// TestWhatIsWrittenIsRead moves data in capsules and by R2T, with every combination of digests and alignment.
func TestWhatIsWrittenIsRead(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	for _, v := range []connection{
		{}, {dgst: 1}, {dgst: 2}, {dgst: 3}, {hpda: 31}, {dgst: 3, hpda: 31}, {flow: true}, {dgst: 3, flow: true},
	} {
		t.Run(fmt.Sprintf("dgst=%d,hpda=%d,flow=%v", v.dgst, v.hpda, v.flow), func(t *testing.T) {
			admin, q := w.volume(v)
			for i, n := range []int{512, 4096, 8192, 12288, 65536, 256 << 10} {
				data := pattern(n, byte(i)+v.dgst)
				if st := q.write(uint64(8*i), data); !st.OK() {
					t.Fatalf("write %d bytes: %v", n, st)
				}
				if !bytes.Equal(q.read(uint64(8*i), n), data) {
					t.Fatalf("%d bytes came back changed", n)
				}
			}
			_ = admin
		})
	}
}

// TestManyCommandsAtOnce keeps a whole queue of writes and then of reads outstanding; the answers come in any
// order.
func TestManyCommandsAtOnce(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	_, q := w.volume(connection{sqsize: 127})
	w.ns.Hold()
	data := pattern(128*4096, 1)
	for i := range 128 {
		var cmd nvme.Command
		cmd.ReadWrite(nvme.OpWrite, 1, uint64(8*i), 8)
		q.start(&cmd, data[4096*i:4096*(i+1)], 0)
	}
	w.ns.AwaitHeld(128)
	w.ns.Release()
	for range 128 {
		if c := q.answer(nil, nil); !c.Status.OK() {
			t.Fatal(c.Status)
		}
	}
	if !bytes.Equal(q.read(0, 256<<10), data[:256<<10]) {
		t.Fatal("data came back changed")
	}
}

// TestCommandsThatLook flushes, compares and verifies.
func TestCommandsThatLook(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	_, q := w.volume(connection{})
	data := pattern(64<<10, 3)
	if st := q.write(0, data); !st.OK() {
		t.Fatal(st)
	}
	t.Run("flush", func(t *testing.T) {
		for _, nsid := range []uint32{1, nvme.AllNamespaces} {
			var cmd nvme.Command
			cmd.SetNSID(nsid)
			if st := q.status(&cmd, nil, nil); !st.OK() {
				t.Errorf("flush of %#x: %v", nsid, st)
			}
		}
	})
	t.Run("compare", func(t *testing.T) {
		for _, n := range []int{512, 8192, 64 << 10} {
			var cmd nvme.Command
			cmd.ReadWrite(nvme.OpCompare, 1, 0, uint32(n/512))
			if st := q.status(&cmd, data[:n], nil); !st.OK() {
				t.Errorf("compare %d equal bytes: %v", n, st)
			}
			other := bytes.Clone(data[:n])
			other[n-1]++
			cmd.ReadWrite(nvme.OpCompare, 1, 0, uint32(n/512))
			if st := q.status(&cmd, other, nil); st.Code() != nvme.CompareFailure {
				t.Errorf("compare %d bytes with one changed: %v", n, st)
			}
		}
	})
	t.Run("verify", func(t *testing.T) {
		var cmd nvme.Command
		cmd.ReadWrite(nvme.OpVerify, 1, 0, 128)
		if st := q.status(&cmd, nil, nil); !st.OK() {
			t.Error(st)
		}
	})
}

// TestCommandsThatClear zeroes and deallocates.
func TestCommandsThatClear(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	_, q := w.volume(connection{})
	data := pattern(64<<10, 3)
	if st := q.write(0, data); !st.OK() {
		t.Fatal(st)
	}
	t.Run("write zeroes", func(t *testing.T) {
		for i, deac := range []uint32{0, nvme.CDW12Deallocate} {
			var cmd nvme.Command
			cmd.ReadWrite(nvme.OpWriteZeroes, 1, uint64(1+8*i), 7)
			cmd.SetCDW12(cmd.CDW12() | deac)
			if st := q.status(&cmd, nil, nil); !st.OK() {
				t.Fatal(st)
			}
			clear(data[512*(1+8*i) : 512*(8+8*i)])
		}
		if !bytes.Equal(q.read(0, len(data)), data) {
			t.Error("other blocks than those named changed")
		}
	})
	t.Run("deallocate", func(t *testing.T) {
		ranges := make([]byte, 256*nvme.DSMRangeSize) // Linux sends room for 256 whatever it uses
		nvme.DSMRange{SLBA: 16, Blocks: 8}.Encode(ranges)
		nvme.DSMRange{SLBA: 40, Blocks: 3}.Encode(ranges[16:])
		nvme.DSMRange{SLBA: 64, Blocks: 8}.Encode(ranges[32:]) // not counted
		var cmd nvme.Command
		cmd.DSM(1, 2, nvme.DSMDeallocate)
		if st := q.status(&cmd, ranges, nil); !st.OK() {
			t.Fatal(st)
		}
		clear(data[512*16 : 512*24])
		clear(data[512*40 : 512*43])
		cmd.DSM(1, 2, nvme.DSMIntegralRead) // a hint changes nothing
		nvme.DSMRange{SLBA: 0, Blocks: 64}.Encode(ranges)
		if st := q.status(&cmd, ranges, nil); !st.OK() {
			t.Fatal(st)
		}
		if !bytes.Equal(q.read(0, len(data)), data) {
			t.Error("other blocks than those named changed")
		}
	})
}

// rw is a command on n blocks.
func rw(op uint8, nsid uint32, lba uint64, n uint32) (c nvme.Command) {
	c.ReadWrite(op, nsid, lba, n)
	return c
}

// opcode is any command of one block.
func opcode(op uint8) nvme.Command {
	c := rw(nvme.OpRead, 1, 0, 1)
	c.SetOpcode(op)
	return c
}

// dsm deallocates n ranges; ranges are n ranges of which the last is not empty.
func dsm(n int) (c nvme.Command) {
	c.DSM(1, n, nvme.DSMDeallocate)
	return c
}

func ranges(n int, lba uint64, blocks uint32) []byte {
	b := make([]byte, n*nvme.DSMRangeSize)
	nvme.DSMRange{SLBA: lba, Blocks: blocks}.Encode(b[len(b)-nvme.DSMRangeSize:])
	return b
}

func fused() nvme.Command {
	c := rw(nvme.OpCompare, 1, 0, 1)
	c[1] |= 1
	return c
}

// TestCommandsRefused goes through the ways to get a command wrong. The queue stays usable after each.
func TestCommandsRefused(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	_, q := w.volume(connection{})
	block := make([]byte, 512)
	for _, c := range []struct {
		name    string
		cmd     nvme.Command
		out, in []byte
		want    nvme.Status
	}{
		{"namespace 0", rw(nvme.OpRead, 0, 0, 1), nil, block, nvme.InvalidNamespaceOrFormat},
		{"namespace 2", rw(nvme.OpRead, 2, 0, 1), nil, block, nvme.InvalidNamespaceOrFormat},
		{"all namespaces", rw(nvme.OpWrite, nvme.AllNamespaces, 0, 1), block, nil, nvme.InvalidNamespaceOrFormat},
		{"flush of namespace 2", rw(nvme.OpFlush, 2, 0, 1), nil, nil, nvme.InvalidNamespaceOrFormat},
		{"read past the end", rw(nvme.OpRead, 1, blocks, 1), nil, block, nvme.LBAOutOfRange},
		{"read over the end", rw(nvme.OpRead, 1, blocks-1, 2), nil, make([]byte, 1024), nvme.LBAOutOfRange},
		{"write at 2^64-1", rw(nvme.OpWrite, 1, ^uint64(0), 2), make([]byte, 1024), nil, nvme.LBAOutOfRange},
		{"zero over the end", rw(nvme.OpWriteZeroes, 1, blocks-1, 2), nil, nil, nvme.LBAOutOfRange},
		{"verify over the end", rw(nvme.OpVerify, 1, blocks-1, 2), nil, nil, nvme.LBAOutOfRange},
		{"read of more than MDTS", rw(nvme.OpRead, 1, 0, 513), nil, make([]byte, 513*512), nvme.InvalidField},
		{"write of more than MDTS", rw(nvme.OpWrite, 1, 0, 1024), make([]byte, 1024*512), nil, nvme.InvalidField},
		{"verify of more than VSL", rw(nvme.OpVerify, 1, 0, 1024), nil, nil, nvme.InvalidField},
		{"zero of more than WZSL", rw(nvme.OpWriteZeroes, 1, 0, 8192), nil, nil, nvme.InvalidField},
		{"read with a short buffer", rw(nvme.OpRead, 1, 0, 2), nil, block, nvme.DataSGLLengthInvalid},
		{"write with too much", rw(nvme.OpWrite, 1, 0, 1), make([]byte, 1024), nil, nvme.DataSGLLengthInvalid},
		{"write with too little", rw(nvme.OpWrite, 1, 0, 64), make([]byte, 16384), nil, nvme.DataSGLLengthInvalid},
		{"fused", fused(), block, nil, nvme.InvalidField},
		{"write uncorrectable", opcode(nvme.OpWriteUncorrect), nil, nil, nvme.InvalidOpcode},
		{"copy", opcode(nvme.OpCopy), block, nil, nvme.InvalidOpcode},
		{"reservation", opcode(nvme.OpReservationReg), block, nil, nvme.InvalidOpcode},
		{"vendor write", opcode(0x81), block, nil, nvme.InvalidOpcode},
		{"vendor read", opcode(0x82), nil, block, nvme.InvalidOpcode},
		{"vendor without data", opcode(0x80), nil, nil, nvme.InvalidOpcode},
		{"ranges cut short", dsm(3), ranges(2, 0, 1), nil, nvme.DataSGLLengthInvalid},
		{"range over the end", dsm(2), ranges(2, blocks-1, 2), nil, nvme.LBAOutOfRange},
		{"range at 2^64-1", dsm(1), ranges(1, ^uint64(0), 9), nil, nvme.LBAOutOfRange},
		{"too many ranges", dsm(256), make([]byte, 8192), nil, nvme.InvalidField},
		{"unknown fabrics command", nvme.Command{0: nvme.OpFabrics, 4: 0x20}, nil, nil, nvme.InvalidOpcode},
		{"authentication without a secret", nvme.Command{0: nvme.OpFabrics, 4: nvme.FabricsAuthSend}, block, nil,
			nvme.InvalidField},
		{"property on an I/O queue", nvme.Command{0: nvme.OpFabrics, 4: nvme.FabricsPropertyGet}, nil, nil,
			nvme.InvalidField},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := q.status(&c.cmd, c.out, c.in)
			if st.Code() != c.want || st.MayRetry() {
				t.Errorf("got %v, want %v, do not retry", st, c.want)
			}
			if st := q.write(0, block); !st.OK() {
				t.Errorf("the next write: %v", st)
			}
		})
	}
	t.Run("connect again", func(t *testing.T) {
		if c := q.connect(connection{qid: 1, cntlid: 1}); c.Status.Code() != nvme.CommandSequenceError {
			t.Error(c.Status)
		}
	})
}

// TestDescriptorsRefused sends SGLs that NVMe/TCP does not have.
func TestDescriptorsRefused(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	_, q := w.volume(connection{})
	for _, c := range []struct {
		name    string
		op      uint8
		sgl     nvme.SGL
		capsule int
		want    nvme.Status
	}{
		{"keyed", nvme.OpRead, nvme.SGL{Length: 512, ID: 0x40}, 0, nvme.SGLDescriptorTypeInvalid},
		{"segment", nvme.OpRead, nvme.SGL{Length: 512, ID: 0x20}, 0, nvme.SGLDescriptorTypeInvalid},
		{"in capsule for a read", nvme.OpRead, nvme.SGL{Length: 512, ID: nvme.SGLInCapsule}, 0,
			nvme.SGLDescriptorTypeInvalid},
		{"offset", nvme.OpWrite, nvme.SGL{Address: 4, Length: 512, ID: nvme.SGLInCapsule}, 512,
			nvme.SGLOffsetInvalid},
		{"in capsule but absent", nvme.OpWrite, nvme.SGL{Length: 512, ID: nvme.SGLInCapsule}, 0,
			nvme.DataSGLLengthInvalid},
		{"in capsule of another length", nvme.OpWrite, nvme.SGL{Length: 512, ID: nvme.SGLInCapsule}, 1024,
			nvme.DataSGLLengthInvalid},
		{"transport with data in the capsule", nvme.OpWrite, nvme.SGL{Length: 512, ID: nvme.SGLTransport}, 512,
			nvme.DataSGLLengthInvalid},
		{"flush with data", nvme.OpFlush, nvme.SGL{Length: 512, ID: nvme.SGLInCapsule}, 512, nvme.InvalidField},
	} {
		t.Run(c.name, func(t *testing.T) {
			var cmd nvme.Command
			cmd.ReadWrite(c.op, 1, 0, 1)
			cmd.SetSGL(c.sgl)
			var b [nvme.MaxHeaderSize]byte
			q.send(b[:q.f.PutCapsuleCmd(b[:], &cmd, uint32(c.capsule))], make([]byte, c.capsule))
			if got := q.answer(nil, nil); got.Status.Code() != c.want {
				t.Errorf("got %v, want %v", got.Status, c.want)
			}
			if st := q.write(0, make([]byte, 512)); !st.OK() {
				t.Errorf("the next write: %v", st)
			}
		})
	}
}

// TestAccessStates sends I/O while the path is not accessible: nothing reaches the namespace.
func TestAccessStates(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	_, q := w.volume(connection{})
	old := pattern(4096, 1)
	if st := q.write(0, old); !st.OK() {
		t.Fatal(st)
	}
	for state, want := range map[nvme.ANAState]nvme.Status{
		nvme.ANAInaccessible:   nvme.AsymmetricAccessInaccessible,
		nvme.ANAChange:         nvme.AsymmetricAccessTransition,
		nvme.ANAPersistentLoss: nvme.AsymmetricAccessPersistent,
		nvme.ANANonOptimized:   nvme.Success,
	} {
		w.ns.SetANAState(state)
		for _, op := range []uint8{nvme.OpRead, nvme.OpFlush, nvme.OpWriteZeroes, nvme.OpVerify} {
			var cmd nvme.Command
			var in []byte
			cmd.ReadWrite(op, 1, 100, 1)
			if op == nvme.OpRead {
				in = make([]byte, 512)
			}
			if st := q.status(&cmd, nil, in); st.Code() != want || !st.MayRetry() {
				t.Errorf("%v, opcode %02Xh: %v", state, op, st)
			}
		}
	}
	// A write whose data is on its way when the state changes is refused as well.
	w.ns.SetANAState(nvme.ANAOptimized)
	var cmd nvme.Command
	cmd.ReadWrite(nvme.OpWrite, 1, 0, 32)
	data := pattern(16384, 9)
	q.start(&cmd, data, 0)
	p, err := q.recv()
	if err != nil || p.Type != nvme.PDUR2T {
		t.Fatalf("%v %v", p.Type, err)
	}
	r, _ := nvme.DecodeR2T(p.raw)
	w.ns.SetANAState(nvme.ANAInaccessible)
	q.transfer(r, data)
	if c := q.answer(nil, nil); c.Status.Code() != nvme.AsymmetricAccessInaccessible {
		t.Error(c.Status)
	}
	w.ns.SetANAState(nvme.ANAOptimized)
	if !bytes.Equal(q.read(0, 4096), old) {
		t.Error("a refused write changed data")
	}
}

// TestResize writes past the old end after a resize.
func TestResize(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	_, q := w.volume(connection{})
	if st := q.write(blocks, make([]byte, 512)); st.Code() != nvme.LBAOutOfRange {
		t.Fatal(st)
	}
	if err := w.ns.Resize(2 * blocks); err != nil {
		t.Fatal(err)
	}
	if st := q.write(2*blocks-1, make([]byte, 512)); !st.OK() {
		t.Fatal(st)
	}
}
