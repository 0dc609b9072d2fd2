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
	// witnessDepth bounds the commands to each area that wait at a node. The more wait, the fewer are sent: a
	// witness of an owner that is cut off, where most commands cannot end, must still ask when somebody else
	// has become the owner.
	witnessDepth = 42
	witnessPace  = 50 * time.Millisecond
	cutPace      = 10 * time.Millisecond // to a node that is cut off
	stormPace    = 2 * time.Millisecond  // to a node that just goes on
	writesEvery  = 3                     // with writing on, one in so many of the commands to the place
)

// area is a part of a volume; witnesses ask about all of them equally often.
type area int

const (
	own      area = iota // the witnesses'
	hot                  // where hosts write most
	anywhere             // hardly ever behind a write
	areas
)

// witness sends reads to one node, whatever ANA says.
type witness struct {
	v    *volume
	name string // of the node
	path *initiator.Path
	rng  *rand.Rand
	free [areas]chan []byte // buffers, as many as commands may be under way
	ends chan struct{}
	wg   sync.WaitGroup

	pace   atomic.Int64 // nanoseconds
	writes atomic.Int64 // so many sectors at the beginning of the witnesses' area

	answered, refused, acked atomic.Int64
}

// testimony is one command of a witness.
type testimony struct {
	initiator.IO
	w    *witness
	op   *history.Op
	area area
	from int
	data []byte
}

func newWitness(v *volume, n *cluster.Node, seed uint64) (*witness, error) {
	w := &witness{v: v, name: n.Name, rng: rand.New(rand.NewPCG(seed, uint64(n.Number))),
		ends: make(chan struct{})}
	w.pace.Store(int64(witnessPace))
	for a := range w.free {
		w.free[a] = make(chan []byte, witnessDepth)
		for range witnessDepth {
			w.free[a] <- make([]byte, 16*sectorSize)
		}
	}
	var err error
	w.path, err = initiator.NewPath(initiator.PathConfig{
		Config: initiator.Config{Addr: portal(n), SubNQN: v.NQN, HostNQN: witnessNQN, HostID: [16]byte{2},
			Depth: int(areas)*witnessDepth + 1, KATO: -1, Timeout: patience, ConnectTimeout: 5 * time.Second},
		Backoff: initiator.Backoff{First: 20 * time.Millisecond, Max: 200 * time.Millisecond},
	})
	if err != nil {
		return nil, err
	}
	w.wg.Add(1)
	go w.run()
	return w, nil
}

// ask sets the witness's pace, and to how many sectors of the witnesses' area it writes, too.
func (w *witness) ask(pace time.Duration, writes int) {
	w.pace.Store(int64(pace))
	w.writes.Store(int64(writes))
}

func (w *witness) run() {
	defer w.wg.Done()
	pace := w.pace.Load()
	tick := time.NewTicker(time.Duration(pace))
	defer tick.Stop()
	for {
		select {
		case <-w.ends:
			return
		case <-tick.C:
		}
		if want := w.pace.Load(); want != pace {
			pace = want
			tick.Reset(time.Duration(pace))
		}
		a := area(w.rng.IntN(int(areas)))
		if w.path.Client() != nil && w.rng.IntN(witnessDepth) < len(w.free[a]) {
			w.send(a, <-w.free[a])
		}
	}
}

func (w *witness) send(a area, data []byte) {
	n := 1 + w.rng.IntN(len(data)/sectorSize)
	c := &testimony{w: w, area: a, data: data[:n*sectorSize]}
	c.Data, c.Done = c.data, c.done
	switch a {
	case own:
		c.from = witnessFirst + w.rng.IntN(witnessSectors-n)
	case hot:
		c.from = hotFirst + w.rng.IntN(hotSectors)
	default:
		c.from = w.rng.IntN(volumeSectors - n)
	}
	opcode := uint8(nvme.OpRead)
	written := witnessFirst + int(w.writes.Load())
	if a == own && c.from+n <= written && w.rng.IntN(writesEvery) == 0 {
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
	defer func() { w.free[c.area] <- io.Data[:cap(io.Data)] }()
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
