//go:build e2e

package chaos

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/initiator"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/sim/history"
	"github.com/ashlar-storage/ashlar/e2e/cluster"
)

const (
	// witnessDepth bounds the commands of a witness that wait in the sockets of a node that hangs.
	witnessDepth = 120
	witnessPace  = 50 * time.Millisecond
	stormPace    = 2 * time.Millisecond
	writesEvery  = 3 // with writing on, one in so many of the commands to the witnesses' range is a write
)

// witness sends reads to one node, whatever ANA says.
type witness struct {
	v    *volume
	name string // of the node
	path *initiator.Path
	rng  *rand.Rand
	free chan []byte // buffers, as many as commands may be under way
	ends chan struct{}
	wg   sync.WaitGroup

	storm   atomic.Bool // as fast as it goes
	writing atomic.Bool // also write

	answered, refused, acked atomic.Int64
}

// testimony is one command of a witness.
type testimony struct {
	initiator.IO
	w    *witness
	op   *history.Op
	from int
	data []byte
}

func newWitness(v *volume, n *cluster.Node, seed uint64) (*witness, error) {
	w := &witness{v: v, name: n.Name, rng: rand.New(rand.NewPCG(seed, uint64(n.Number))),
		ends: make(chan struct{}), free: make(chan []byte, witnessDepth)}
	for range witnessDepth {
		w.free <- make([]byte, 16*sectorSize)
	}
	var err error
	w.path, err = initiator.NewPath(initiator.PathConfig{
		Config: initiator.Config{Addr: fmt.Sprintf("127.0.0.1:%d", n.Hosts), SubNQN: v.NQN, HostNQN: witnessNQN,
			HostID: [16]byte{2}, Depth: 128, KATO: -1, Timeout: patience, ConnectTimeout: 5 * time.Second},
		Backoff: initiator.Backoff{First: 20 * time.Millisecond, Max: 200 * time.Millisecond},
	})
	if err != nil {
		return nil, err
	}
	w.wg.Add(1)
	go w.run()
	return w, nil
}

func (w *witness) run() {
	defer w.wg.Done()
	pace := witnessPace
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-w.ends:
			return
		case <-tick.C:
		}
		want := witnessPace
		if w.storm.Load() {
			want = stormPace
		}
		if want != pace {
			pace = want
			tick.Reset(pace)
		}
		if w.path.Client() == nil {
			continue
		}
		select {
		case data := <-w.free:
			w.send(data)
		default: // enough wait already
		}
	}
}

func (w *witness) send(data []byte) {
	n := 1 + w.rng.IntN(len(data)/sectorSize)
	c := &testimony{w: w, from: hotFirst + w.rng.IntN(hotSectors), data: data[:n*sectorSize]}
	c.Data, c.Done = c.data, c.done
	if w.rng.IntN(2) == 0 {
		c.from = w.rng.IntN(witnessSectors - n)
	}
	opcode := uint8(nvme.OpRead)
	if w.writing.Load() && c.from < witnessSectors && w.rng.IntN(writesEvery) == 0 {
		opcode, c.op = nvme.OpWrite, w.v.write(c.from, c.data)
	} else {
		c.op = w.v.read(c.from, n)
	}
	c.Cmd.ReadWrite(opcode, 1, uint64(c.from), uint32(n))
	w.path.Submit(&c.IO)
}

// done judges an answer: refused is fine, wrong is not.
func (c *testimony) done(io *initiator.IO) {
	w := c.w
	defer func() { w.free <- io.Data[:cap(io.Data)] }()
	if !io.Status().OK() {
		w.refused.Add(1)
		w.v.abandon(c.op)
		return
	}
	w.answered.Add(1)
	got := c.data
	if io.Cmd.Opcode() == nvme.OpWrite {
		w.acked.Add(1)
		got = nil
	}
	if err := w.v.done(c.op, c.from, got); err != nil {
		w.v.fail(fmt.Errorf("witness at %s: %w", w.name, err))
	}
}

func (w *witness) stop() {
	close(w.ends)
	w.wg.Wait()
	_ = w.path.Close() // it always returns nil
}
