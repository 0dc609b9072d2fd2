// Package nstest is the conformance suite of nvmet.Namespace: whatever serves blocks to hosts runs it. It
// submits requests the way the target does and compares with a plain array.
//
// Contract: Run fails the test when the namespace loses, tears or invents data, does not fill a read buffer,
// or does not complete a request; completing one twice panics. It says nothing about durability or failures.
package nstest

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
)

// Blocks is the least size of a namespace under test, in logical blocks: 8 MiB.
const Blocks = 16384

// patience is how long a request may take before it counts as lost.
const patience = 30 * time.Second

// Run runs the suite. open returns a new namespace of at least Blocks blocks, all zero and accessible.
func Run(t *testing.T, open func(t *testing.T) nvmet.Namespace) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, ns nvmet.Namespace)
	}{
		{"identity", identity},
		{"fresh blocks are zero", fresh},
		{"what is written is read", writeRead},
		{"zeroes and deallocation", zero},
		{"the ends", ends},
		{"as an array", asArray},
		{"many at once", manyAtOnce},
		{"blocks do not tear", noTearing},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// submit carries out one command.
func submit(t testing.TB, ns nvmet.Namespace, cmd nvme.Command, data []byte) nvme.Status {
	t.Helper()
	done := make(chan nvme.Status, 1)
	ns.Submit(nvmet.NewRequest(cmd, data, func(_ *nvmet.Request, st nvme.Status, _, _ uint32) { done <- st }))
	select {
	case st := <-done:
		return st
	case <-time.After(patience):
		t.Fatalf("opcode %02Xh is not completed after %v", cmd.Opcode(), patience)
		return 0
	}
}

func rw(op uint8, lba uint64, blocks int) (cmd nvme.Command) {
	cmd.ReadWrite(op, nvmet.NSID, lba, uint32(blocks))
	return cmd
}

func must(t testing.TB, what string, st nvme.Status) {
	t.Helper()
	if !st.OK() {
		t.Fatalf("%s: %v", what, st)
	}
}

func write(t testing.TB, ns nvmet.Namespace, lba uint64, data []byte) {
	t.Helper()
	own := bytes.Clone(data)
	must(t, "write", submit(t, ns, rw(nvme.OpWrite, lba, len(data)/nvmet.BlockSize), own))
	if !bytes.Equal(own, data) {
		t.Fatal("the namespace changed the data it was to write")
	}
	clear(own) // the namespace must not need it any more
}

// read reads into a buffer full of old bytes, as the target's are.
func read(t testing.TB, ns nvmet.Namespace, lba uint64, blocks int) []byte {
	t.Helper()
	b := bytes.Repeat([]byte{0xa5}, blocks*nvmet.BlockSize)
	must(t, "read", submit(t, ns, rw(nvme.OpRead, lba, blocks), b))
	return b
}

func noise(rnd *rand.Rand, blocks int) []byte {
	b := make([]byte, blocks*nvmet.BlockSize)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

func identity(t *testing.T, ns nvmet.Namespace) {
	id := ns.Identity()
	if id.UUID == [16]byte{} || id.NGUID == [16]byte{} || ns.Identity() != id {
		t.Errorf("identity %x %x", id.UUID, id.NGUID)
	}
	if ns.Blocks() < Blocks || !ns.ANAState().Usable() {
		t.Errorf("%d blocks, %v", ns.Blocks(), ns.ANAState())
	}
}

func fresh(t *testing.T, ns nvmet.Namespace) {
	for lba := uint64(0); lba < Blocks; lba += 512 {
		if !bytes.Equal(read(t, ns, lba, 512), make([]byte, 512*nvmet.BlockSize)) {
			t.Fatalf("block %d or after is not zero", lba)
		}
	}
}

func writeRead(t *testing.T, ns nvmet.Namespace) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for _, c := range []struct {
		lba    uint64
		blocks int
	}{{0, 1}, {7, 1}, {8, 8}, {3, 8}, {1, 15}, {32, 64}, {511, 3}, {512, 512}, {1001, 333}, {5, 2}, {0, 512}} {
		data := noise(rnd, c.blocks)
		write(t, ns, c.lba, data)
		if !bytes.Equal(read(t, ns, c.lba, c.blocks), data) {
			t.Errorf("%d blocks at %d came back changed", c.blocks, c.lba)
		}
	}
	must(t, "flush", submit(t, ns, rw(nvme.OpFlush, 0, 1), nil))
}

func deallocate(t testing.TB, ns nvmet.Namespace, ranges ...nvme.DSMRange) {
	t.Helper()
	var cmd nvme.Command
	cmd.DSM(nvmet.NSID, len(ranges), nvme.DSMDeallocate)
	b := make([]byte, len(ranges)*nvme.DSMRangeSize)
	for i, r := range ranges {
		r.Encode(b[i*nvme.DSMRangeSize:])
	}
	must(t, "deallocate", submit(t, ns, cmd, b))
}

func zero(t *testing.T, ns nvmet.Namespace) {
	rnd := rand.New(rand.NewPCG(2, 2))
	model := noise(rnd, 512)
	write(t, ns, 0, model)
	wipe := func(lba, n int) { clear(model[lba*nvmet.BlockSize : (lba+n)*nvmet.BlockSize]) }
	for i, r := range [][2]int{{0, 8}, {17, 1}, {30, 20}, {100, 64}, {250, 7}} {
		cmd := rw(nvme.OpWriteZeroes, uint64(r[0]), r[1])
		if i%2 == 1 {
			cmd.SetCDW12(cmd.CDW12() | nvme.CDW12Deallocate)
		}
		must(t, "write zeroes", submit(t, ns, cmd, nil))
		wipe(r[0], r[1])
	}
	deallocate(t, ns, nvme.DSMRange{SLBA: 300, Blocks: 8}, nvme.DSMRange{SLBA: 309, Blocks: 30},
		nvme.DSMRange{SLBA: 400}, nvme.DSMRange{SLBA: 301, Blocks: 2})
	wipe(300, 8)
	wipe(309, 30)
	if !bytes.Equal(read(t, ns, 0, 512), model) {
		t.Error("other blocks are zero than should be")
	}
	write(t, ns, 0, model[:64*nvmet.BlockSize])
	if !bytes.Equal(read(t, ns, 0, 512), model) {
		t.Error("a write over zeroes went wrong")
	}
}

func ends(t *testing.T, ns nvmet.Namespace) {
	rnd := rand.New(rand.NewPCG(3, 3))
	size := ns.Blocks()
	data := noise(rnd, 16)
	write(t, ns, size-16, data)
	if !bytes.Equal(read(t, ns, size-16, 16), data) || !bytes.Equal(read(t, ns, size-1, 1), data[15*512:]) {
		t.Error("the last blocks came back changed")
	}
	deallocate(t, ns, nvme.DSMRange{Blocks: uint32(min(size, 1<<30))})
	if !bytes.Equal(read(t, ns, size-16, 16), make([]byte, 16*512)) {
		t.Error("deallocating everything left something")
	}
}

// asArray does random commands one after the other and compares with an array.
func asArray(t *testing.T, ns nvmet.Namespace) {
	const span, rounds = 2048, 400
	rnd := rand.New(rand.NewPCG(4, 4))
	model := make([]byte, span*nvmet.BlockSize)
	for range rounds {
		n := 1 + rnd.IntN(1<<(1+rnd.IntN(7)))
		lba := rnd.IntN(span - n)
		part := model[lba*nvmet.BlockSize : (lba+n)*nvmet.BlockSize]
		switch rnd.IntN(6) {
		case 0, 1:
			copy(part, noise(rnd, n))
			write(t, ns, uint64(lba), part)
		case 2:
			clear(part)
			must(t, "write zeroes", submit(t, ns, rw(nvme.OpWriteZeroes, uint64(lba), n), nil))
		case 3:
			clear(part)
			deallocate(t, ns, nvme.DSMRange{SLBA: uint64(lba), Blocks: uint32(n)})
		default:
			if !bytes.Equal(read(t, ns, uint64(lba), n), part) {
				t.Fatalf("%d blocks at %d differ from what was written", n, lba)
			}
		}
	}
}

// manyAtOnce has sixteen writers, each with places of its own that interleave with the others' inside every 4
// KiB.
func manyAtOnce(t *testing.T, ns nvmet.Namespace) {
	const writers, rounds = 16, 60
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(5, uint64(i)))
			own := map[uint64][]byte{}
			for range rounds {
				lba := uint64(rnd.IntN(Blocks/writers)*writers + i)
				data := noise(rnd, 1)
				write(t, ns, lba, data)
				own[lba] = data
			}
			for lba, data := range own {
				if !bytes.Equal(read(t, ns, lba, 1), data) {
					t.Errorf("writer %d: block %d came back changed", i, lba)
				}
			}
		})
	}
	wg.Wait()
}

// noTearing has writers overwrite the same 4 KiB while readers look: each 4 KiB is always one writer's.
func noTearing(t *testing.T, ns nvmet.Namespace) {
	const writers, rounds = 4, 100
	page := func(v byte) []byte { return bytes.Repeat([]byte{v}, 4096) }
	write(t, ns, 64, page(1))
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for range rounds {
				write(t, ns, 64, page(byte(i+1)))
			}
		})
		wg.Go(func() {
			for range rounds {
				if b := read(t, ns, 64, 8); !bytes.Equal(b, page(b[0])) || b[0] == 0 || b[0] > writers {
					t.Errorf("torn: begins with %d, ends with %d", b[0], b[4095])
					return
				}
			}
		})
	}
	wg.Wait()
}
