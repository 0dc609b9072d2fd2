package engine

import (
	"flag"
	"slices"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

var seedFlag = flag.Int64("engine.seed", 0, "run only this seed of the random schedules")

// TestRandomSchedules runs the engine in a world where requests arrive in any order, devices vanish and
// return, owners change while the old one goes on, and blocks rot; every read is checked against the history.
func TestRandomSchedules(t *testing.T) {
	n := int64(200)
	if testing.Short() {
		n = 60
	}
	total := Counters{}
	for seed := int64(1); seed <= n; seed++ {
		if *seedFlag != 0 && seed != *seedFlag {
			continue
		}
		w := newWorld(t, seed, 2+int(seed%2))
		runSchedule(w, seed)
		c := w.current.Counters
		total.Copied += c.Copied
		total.Repaired += c.Repaired
		total.Forward += c.Forward
	}
	if *seedFlag == 0 && (total.Copied == 0 || total.Repaired == 0 || total.Forward == 0) {
		t.Fatalf("the schedules never resynced, repaired or resolved: %+v", total)
	}
}

func runSchedule(w *world, seed int64) {
	defer func() {
		if w.t.Failed() {
			w.t.Logf("seed %d, last steps:\n%s", seed, strings.Join(w.trace[max(0, len(w.trace)-400):], "\n"))
		}
	}()
	for step := 0; step < 1500; step++ {
		w.step()
	}
	w.settleDown()
}

func (w *world) step() {
	switch r := w.rng.Intn(100); {
	case r < 20:
		w.submit()
	case r < 78:
		if len(w.net) > 0 {
			w.deliver(w.rng.Intn(len(w.net)))
		}
	case r < 86:
		for _, e := range w.engines() {
			if w.records[e] != nil {
				w.record(e)
				break
			}
		}
	case r < 96:
		for _, e := range w.engines() {
			e.Tick()
			w.drain(e)
		}
	case r < 97:
		if w.rng.Intn(3) == 0 {
			w.takeOver()
		}
	case r < 98:
		w.fault()
	default:
		w.rot()
	}
}

// engines lists the current owner and the zombies, in a fixed order.
func (w *world) engines() []*Engine { return append(slices.Clone(w.zombies), w.current) }

func (w *world) submit() {
	if len(w.hist.running) > 12 || w.current.mode != modeServing {
		return
	}
	op := &Op{Kind: Kind(w.rng.Intn(3)), Sectors: uint32(1 + w.rng.Intn(40))}
	if w.rng.Intn(2) == 0 {
		op.Sectors = (op.Sectors + 7) &^ 7
	}
	op.LBA = uint64(w.rng.Intn(testBlocks*sectorsPerBlock - int(op.Sectors) + 1))
	if w.rng.Intn(2) == 0 {
		op.LBA &^= 7
	}
	if op.Kind != Zero {
		op.Data = make([]byte, op.Sectors*512)
	}
	w.hist.begin(op)
	w.logf("submit %d at %d+%d stamp %d", op.Kind, op.LBA, op.Sectors, w.hist.history.Writes())
	w.current.Submit(op)
	w.drain(w.current)
}

// fault takes one device away when all are up, or brings the missing one back.
func (w *world) fault() {
	for id := cluster.DeviceID(1); int(id) <= len(w.devices); id++ {
		if d := w.devices[id]; !d.up {
			d.up = true
			w.logf("up %d", id)
			return
		}
	}
	if len(w.owner.Out) == 0 && !w.rotten() {
		w.down(cluster.DeviceID(1 + w.rng.Intn(len(w.devices))))
	}
}

// rot spoils one block on one device while all devices are in and up: within the fault budget. Only complete
// rows rot: a copy that is being written is not yet redundant.
func (w *world) rot() {
	if len(w.owner.Out) > 0 || w.current.mode != modeServing ||
		slices.ContainsFunc(w.engines(), func(e *Engine) bool { return e.rs != nil }) {
		return
	}
	for _, d := range w.current.order {
		if !w.devices[d.id].up || d.state != devIn {
			return
		}
	}
	k := rowKey{page: uint64(w.rng.Intn(3)), block: uint16(w.rng.Intn(8))}
	row := w.current.rowOf(k.page)
	victim := w.devices[row[w.rng.Intn(len(row))]]
	for _, id := range row {
		vs := w.devices[id].rows[k]
		if len(vs) != 1 || vs[0].state != chunk.Data || vs[0].w != w.devices[row[0]].rows[k][0].w {
			return
		}
	}
	victim.rows[k][0].state = chunk.Bad
	victim.rows[k][0].data = nil
	w.rotted++
	w.logf("rot page %d block %d", k.page, k.block)
	w.downAllowed(k)
}

// downAllowed repairs at once by a read, so that a later device loss stays within the budget of one loss per
// row.
func (w *world) downAllowed(k rowKey) {
	if w.current.mode != modeServing || len(w.hist.running) > 12 {
		return
	}
	op := &Op{Kind: Read, LBA: (k.page*8 + uint64(k.block)) * 8, Sectors: 8, Data: make([]byte, 4096)}
	w.hist.begin(op)
	w.current.Submit(op)
	w.drain(w.current)
}

// settleDown brings everything up and checks that the volume converges: all operations end, nothing is out,
// and every row is the same on all its devices.
func (w *world) settleDown() {
	for _, d := range w.devices {
		d.up = true
	}
	for i := 0; i < 20000; i++ {
		if len(w.net) > 0 {
			w.deliver(0)
			continue
		}
		if w.records[w.current] != nil {
			w.record(w.current)
			continue
		}
		for _, e := range w.engines() {
			if w.records[e] != nil {
				w.record(e)
			}
			e.Tick()
			w.drain(e)
		}
		if len(w.owner.Out) == 0 && w.current.mode == modeServing && len(w.hist.running) == 0 && i > 300 &&
			len(w.net) == 0 {
			w.checkEqual()
			return
		}
	}
	w.t.Fatalf("did not converge: mode %d, out %v, %d operations left, zombies %d", w.current.mode, w.owner.Out,
		len(w.hist.running), len(w.zombies))
}

// rotten reports whether a bad block is still unrepaired: then losing a device as well would be one fault too
// many.
func (w *world) rotten() bool {
	for _, d := range w.devices {
		for _, vs := range d.rows {
			if vs[len(vs)-1].state == chunk.Bad {
				return true
			}
		}
	}
	return false
}

func (w *world) checkEqual() {
	for page := uint64(0); page < 3; page++ {
		row := w.current.rowOf(page)
		for b := uint16(0); b < 8; b++ {
			k := rowKey{page, b}
			var first version
			for i, id := range row {
				var v version
				if vs := w.devices[id].rows[k]; len(vs) > 0 {
					v = vs[len(vs)-1]
				}
				if v.state == chunk.Bad {
					continue // rot that nobody has read yet
				}
				if v.state == chunk.Tombstone {
					v = version{}
				}
				if i == 0 || first.w == 0 && i == 1 && w.devices[row[0]].rows[k] != nil {
					first = v
					continue
				}
				if v.w != first.w || string(v.data) != string(first.data) {
					w.t.Fatalf("page %d block %d differs between devices of %v: %v and %v", page, b, row, first.w, v.w)
				}
			}
		}
	}
}
