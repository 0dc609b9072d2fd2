package engine

import (
	"flag"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
)

var (
	seedFlag  = flag.Int64("engine.seed", 0, "run only this seed of the random schedules")
	seedsFlag = flag.Int64("engine.seeds", 600, "run so many seeds of the random schedules")
	firstFlag = flag.Int64("engine.first", 1, "first seed of the random schedules")
)

// TestRandomSchedules runs the engine in a world where requests arrive in any order or much later, devices
// crash, hang, fill up and fail, connections break, owners change while the old one goes on, and blocks rot.
// Every answer is checked against the history, every acknowledgement against what the devices hold.
func TestRandomSchedules(t *testing.T) {
	n := *seedsFlag
	if testing.Short() {
		n = min(n, 60)
	}
	tables := map[[2]int]*placement.Table{}
	total := Counters{}
	for seed := *firstFlag; seed < *firstFlag+n; seed++ {
		if *seedFlag != 0 {
			seed, n = *seedFlag, 0
		}
		copies := 2 + int(seed%2)
		if seed%16 == 0 {
			copies = 1
		}
		size := [2]int{copies, copies + int(seed/2%4)}
		if tables[size] == nil {
			var err error
			if tables[size], err = testTable(size[0], size[1]); err != nil {
				t.Fatal(err)
			}
		}
		c, _, err := runSchedule(seed, tables[size], size[1], false)
		if err != nil {
			_, trace, _ := runSchedule(seed, tables[size], size[1], true)
			t.Fatalf("seed %d with %d copies on %d devices: %v\nlast steps:\n%s", seed, copies, size[1], err,
				strings.Join(trace[max(0, len(trace)-300):], "\n"))
		}
		total.Copied += c.Copied
		total.Repaired += c.Repaired
		total.Forward += c.Forward
		total.Undone += c.Undone
		total.Degraded += c.Degraded
	}
	if n >= 300 && (total.Copied == 0 || total.Repaired == 0 || total.Forward == 0 || total.Undone == 0 ||
		total.Degraded == 0) {
		t.Fatalf("the schedules never resynced, repaired, resolved, undid or read elsewhere: %+v", total)
	}
}

// runSchedule plays one seed. The same seed is the same schedule.
func runSchedule(seed int64, table *placement.Table, devices int,
	tracing bool) (c Counters, trace []string, err error) {
	w := newWorld(rand.New(rand.NewSource(seed)), table, devices)
	w.tracing = tracing
	defer func() {
		trace = w.trace
		if p := recover(); p != nil {
			b, ok := p.(broken)
			if !ok && !tracing {
				panic(fmt.Sprintf("seed %d: %v", seed, p))
			}
			err = fmt.Errorf("%v", b)
		}
	}()
	w.takeOver()
	faults := 1 + w.rng.Intn(12) // in a thousand steps
	load := 0
	for i := range 1200 {
		if i%100 == 0 {
			load = w.rng.Intn(3) * 100 // hosts come and go: much needs a quiet volume to happen
		}
		w.step(load, faults)
	}
	w.settleDown()
	for _, e := range w.engines() {
		c.Copied += e.Counters.Copied
		c.Repaired += e.Counters.Repaired
		c.Forward += e.Counters.Forward
		c.Undone += e.Counters.Undone
		c.Degraded += e.Counters.Degraded
	}
	return c, w.trace, nil
}

func (w *world) step(load, faults int) {
	switch r := w.rng.Intn(1000); {
	case r < load:
		w.submitAny()
	case r < 760:
		w.deliverAny()
	case r < 840:
		w.recordAny()
	case r < 940:
		for _, e := range w.engines() {
			e.Tick()
			w.drain(e)
		}
	case r < 944:
		w.renew()
	case r < 960:
		w.rot()
	case r < 975:
		if len(w.ghosts) > 0 {
			w.haunt(w.rng.Intn(len(w.ghosts)))
		}
	case r < 985:
		w.recover()
	case r < 985+faults:
		w.fault()
	}
}

// engines lists the zombies, oldest first, and the current owner.
func (w *world) engines() []*Engine { return append(slices.Clone(w.zombies), w.current) }

// renew replaces the owner, patient or not, and forgets zombies that have noticed.
func (w *world) renew() {
	w.zombies = slices.DeleteFunc(w.zombies, func(e *Engine) bool {
		return e.fenced && e.Idle() && !slices.ContainsFunc(w.net, func(p pending) bool { return p.owner == e })
	})
	w.cfg.Patience = w.rng.Intn(2) * w.rng.Intn(40)
	w.cfg.Awaited, w.cfg.Doubted = map[cluster.DeviceID]bool{}, map[cluster.DeviceID]bool{}
	_, rotten := w.rotten()
	for id := range cluster.DeviceID(len(w.devices)) {
		w.cfg.Awaited[id+1] = w.rng.Intn(2) == 0
		w.cfg.Doubted[id+1] = w.rng.Intn(16) == 0 && !rotten
	}
	w.takeOver()
}

func (w *world) submitAny() {
	e := w.current
	if len(w.zombies) > 0 && w.rng.Intn(8) == 0 {
		e = w.zombies[w.rng.Intn(len(w.zombies))]
	}
	if w.hist.Running() > 12 || e.mode != modeServing {
		return
	}
	sectors := uint32(1 + w.rng.Intn(40))
	if w.rng.Intn(2) == 0 {
		sectors = (sectors + 7) &^ 7
	}
	lba := uint64(w.rng.Intn(testBlocks*sectorsPerBlock - int(sectors) + 1))
	if w.rng.Intn(2) == 0 {
		lba &^= 7
	}
	w.submit(e, Kind(w.rng.Intn(3)), lba, sectors)
}

// deliverAny delivers any request on its way; those to a slow device seldom.
func (w *world) deliverAny() {
	if len(w.net) == 0 {
		return
	}
	i := w.rng.Intn(len(w.net))
	if w.devices[w.net[i].device].slow && w.rng.Intn(20) != 0 {
		return
	}
	w.deliver(i)
}

func (w *world) recordAny() {
	for _, e := range w.engines() {
		if w.records[e] != nil && w.rng.Intn(2) == 0 {
			w.record(e)
			return
		}
	}
}

func (w *world) anyDevice() (cluster.DeviceID, *modelDevice) {
	id := cluster.DeviceID(1 + w.rng.Intn(len(w.devices)))
	return id, w.devices[id]
}

// fault lets one thing go wrong, whatever is wrong already: nothing here destroys what was made durable, so
// nothing may be lost however many devices are away. While a block is rotten nothing else goes wrong: losing
// its other copies too would be one fault too many.
func (w *world) fault() {
	if k, ok := w.rotten(); ok {
		w.readBlock(k)
		return
	}
	id, d := w.anyDevice()
	switch w.rng.Intn(9) {
	case 0, 1:
		w.crash(id)
	case 2: // hangs, or is cut off from everybody: ghosts live on
		d.up = false
		w.logf("hang %d", id)
		w.cut(func(l link) bool { return l.device == id })
	case 3:
		all := w.engines()
		e := all[w.rng.Intn(len(all))]
		w.logf("cut owner %d from %d", e.Epoch(), id)
		w.cut(func(l link) bool { return l == link{e, id} })
	case 4:
		w.logf("part owner %d and %d", w.current.Epoch(), id)
		w.parted[link{w.current, id}] = true
		w.cut(func(l link) bool { return l == link{w.current, id} })
	case 5:
		w.logf("detach %d", id)
		d.served = false
	case 6:
		d.failing = 1 + w.rng.Intn(3)
		w.logf("errors of %d: %d", id, d.failing)
	case 7:
		d.capacity, w.full = d.used()+w.rng.Intn(8), true
		w.logf("capacity of %d: %d", id, d.capacity)
	case 8:
		d.slow = true
	}
}

// recover mends one device, or the network.
func (w *world) recover() {
	id, d := w.anyDevice()
	switch w.rng.Intn(3) {
	case 0:
		clear(w.parted)
	default:
		w.logf("mend %d", id)
		d.mend()
		d.pageSize = 1 + w.rng.Intn(8)
	}
}

func (m *modelDevice) mend() {
	m.up, m.served, m.slow, m.failing, m.capacity = true, true, false, 0, 1000
}

// rot spoils one copy of a block while everything is well. Only complete rows rot: a copy that is being
// written is not yet redundant.
func (w *world) rot() {
	if len(w.owner.Out) > 0 || len(w.parted) > 0 || w.current.mode != modeServing || w.cfg.Table.Width() == 1 {
		return
	}
	for _, d := range w.current.order {
		if m := w.devices[d.id]; !m.up || !m.served || m.failing > 0 || m.capacity < 1000 || d.state != devIn {
			return
		}
	}
	k := rowKey{page: uint64(w.rng.Intn(testPages)), block: uint16(w.rng.Intn(pageBlocks))}
	row := w.current.rowOf(k.page)
	for _, id := range row {
		vs := w.devices[id].rows[k]
		if len(vs) != 1 || vs[0].state != chunk.Data || vs[0].w != w.devices[row[0]].rows[k][0].w {
			return
		}
	}
	v := &w.devices[row[w.rng.Intn(len(row))]].rows[k][0]
	v.state, v.data, v.rotten = chunk.Bad, nil, true
	w.logf("rot page %d block %d", k.page, k.block)
	w.readBlock(k)
}

// readBlock lets a host read a block, which repairs it.
func (w *world) readBlock(k rowKey) {
	if w.current.mode == modeServing && w.hist.Running() <= 12 {
		w.submit(w.current, Read, (k.page*pageBlocks+uint64(k.block))*sectorsPerBlock, sectorsPerBlock)
	}
}

// rotten finds a row with an unrepaired block.
func (w *world) rotten() (rowKey, bool) {
	for page := range uint64(testPages) {
		for b := range uint16(pageBlocks) {
			for id := range cluster.DeviceID(len(w.devices)) {
				if k := (rowKey{page, b}); w.devices[id+1].newest(k).rotten {
					return k, true
				}
			}
		}
	}
	return rowKey{}, false
}

// settleDown mends everything and checks that the volume converges: all operations end, nothing is out, every
// row is the same on all its devices, and what is read fits the history.
func (w *world) settleDown() {
	clear(w.parted)
	for _, d := range w.devices {
		d.mend()
	}
	w.logf("settle down")
	last := (*Op)(nil)
	for i := 0; i < 20000; i++ {
		switch {
		case len(w.net) > 0:
			w.deliver(0)
			continue
		case len(w.ghosts) > 0:
			w.haunt(0)
			continue
		}
		busy := false
		for _, e := range w.engines() {
			if w.records[e] != nil {
				w.record(e)
				busy = true
			}
			e.Tick()
			w.drain(e)
		}
		if busy || len(w.owner.Out) > 0 || w.current.mode != modeServing || w.current.rs != nil ||
			len(w.net) > 0 || w.hist.Running() > 0 {
			continue
		}
		if last != nil {
			w.checkEqual()
			return
		}
		last = w.submit(w.current, Read, 0, testBlocks*sectorsPerBlock)
	}
	w.failf("did not converge: mode %d, out %v, %d operations left, zombies %d", w.current.mode, w.owner.Out,
		w.hist.Running(), len(w.zombies))
}
