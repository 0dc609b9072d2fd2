package sim

import (
	"math/rand/v2"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/guard"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// device is a disk on a node: requests wait in its queue, are carried out in any order, and what goes wrong
// with it is here.
type device struct {
	w         *World
	node      *node
	id        cluster.DeviceID
	disk      *Disk
	ready     bool // the process has opened it
	lost      bool // for good
	queue     []*flight
	slowUntil int64
	lateUntil int64                // requests that came while it was slow may take so long
	lazyUntil int64                // takes its time, but less than anybody's patience
	awayUntil int64                // not served
	failing   int                  // requests that will still fail
	written   func(*chunk.Request) // is called after each write
	losing    bool                 // the next write is answered, but its data is not there
	ballast   []pagemap.Run        // space that is not there
	missed    bool                 // a request of an owner has failed: hosts' writes went on without it
	scrubs    chance               // when it is scrubbed
}

// newDevice makes an empty device with room for a few times what the volumes need of it.
func newDevice(w *World, n *node, id cluster.DeviceID) *device {
	blocks := w.shape.Pages * w.shape.ChunkBlocks * uint64(w.shape.width()*(w.plan.Volumes+w.plan.Clones)*4)
	switch {
	case w.plan.Tight:
		blocks = 640
	case !w.plan.Snug:
		blocks += 4096
	}
	disk, err := NewDisk(blocks)
	if err != nil {
		w.failf("device %d: %v", id, err)
	}
	disk.mutant = w.mutant
	if w.rng.IntN(4) == 0 {
		disk.pageful = 1 + w.rng.IntN(8)
	}
	d := &device{w: w, node: n, id: id, disk: disk,
		scrubs: chance{rand.New(rand.NewPCG(w.plan.Seed, 4<<32|uint64(id)))}}
	if w.plan.Snug && w.plan.Volumes > 1 {
		w.faults.everFull = true // what one volume was granted and does not use is not there for another
	}
	if w.plan.Tight {
		w.faults.everFull = true
		spare := guard.Reserve(blocks) + uint64(w.between(4, 30))
		d.ballast, _ = disk.pages.Alloc(int(disk.pages.Usage().Free-spare), nil)
	}
	return d
}

// drop gives the space back that was not there.
func (d *device) drop() {
	for _, r := range d.ballast {
		d.disk.pages.Release(r)
	}
	d.ballast = nil
}

// open begins to serve the device in a new process.
func (d *device) open() {
	if d.lost || d.ready {
		return
	}
	d.disk.Restart()
	d.ready = true
}

// impaired tells whether requests may go unanswered or fail.
func (d *device) impaired() bool {
	w := d.w
	if !d.node.up || !d.ready || d.failing > 0 || len(d.disk.taken) > 0 ||
		w.now < max(d.node.thaw, d.slowUntil, d.lateUntil, d.awayUntil) || d.node.overdue() {
		return true
	}
	for _, m := range []cuts{w.cuts, w.wires} {
		for _, until := range m {
			if until > w.now {
				return true
			}
		}
	}
	return false
}

// mend ends all that is wrong with the device. What hosts wrote without it may be more than it has room for,
// and so may be the row that the border of a cut goes through: then people make room.
func (d *device) mend() {
	if d.missed || slices.ContainsFunc(d.w.volumes, func(v *volume) bool { return v.bounds.cut.To > 0 }) {
		d.drop()
	}
	d.slowUntil, d.lazyUntil, d.awayUntil, d.failing, d.losing = 0, 0, 0, 0, false
	d.written = nil
	d.disk.Unfill()
}

// enqueue takes a request that has arrived.
func (d *device) enqueue(f *flight) {
	if !d.ready || d.w.now < d.awayUntil {
		f.answered(chunk.NotMine)
		return
	}
	d.queue = append(d.queue, f)
	if d.w.mutant.Is(mutant.AnswerTooSoon) && f.r.Op == chunk.OpWrite && !f.c.broken {
		late := *f
		late.c = &conn{gw: f.c.gw, server: f.c.server, broken: true}
		r := *f.r
		r.Data, r.Blocks = slices.Clone(r.Data), slices.Clone(r.Blocks)
		late.r = &r
		d.queue[len(d.queue)-1] = &late
		late.planned(d.w.between(0, 3*millisecond), func() { d.execute(&late) })
		f.answered(chunk.OK)
		return
	}
	took := d.w.between(20*microsecond, 150*microsecond)
	switch {
	case d.w.now < d.slowUntil:
		took = d.w.between(0, 3*second)
		d.lateUntil = max(d.lateUntil, d.w.now+took)
	case d.w.now < d.lazyUntil:
		took = d.w.between(0, 300*millisecond)
	case d.w.rng.IntN(128) == 0:
		took = d.w.between(0, 50*millisecond)
	case d.w.plan.Sluggish && d.w.rng.IntN(2) == 0:
		took = d.w.between(0, 30*millisecond)
	}
	f.planned(took, func() { f.c.server.at(f.c.server.life, func() { d.execute(f) }) })
}

// execute carries a request out.
func (d *device) execute(f *flight) {
	if f.gone || !d.ready {
		return
	}
	if i := slices.Index(d.queue, f); i >= 0 {
		d.queue = slices.Delete(d.queue, i, i+1)
	}
	if d.failing > 0 {
		d.failing--
		d.lateUntil = max(d.lateUntil, d.w.now+second/4) // until its owner has drawn the conclusions
		f.answered(chunk.IOError)
		return
	}
	s := d.disk.Do(f.r)
	if d.w.tracing && f.c.broken {
		d.w.logf("ghost: %s", requestText(f.r))
	}
	if d.losing && s == chunk.OK && f.r.Op == chunk.OpWrite {
		d.lose(f.r)
	}
	if d.written != nil && s == chunk.OK && (f.r.Op == chunk.OpWrite || f.r.Op == chunk.OpTombstone) {
		d.written(f.r)
	}
	f.answered(s)
}

// lose destroys the data of a write that was just answered. Every other time the data went elsewhere: over a
// block of another row.
func (d *device) lose(r *chunk.Request) {
	d.losing = false
	if !d.spoil("lost write", r, r.Block, r.W) || r.W.Counter()%2 == 0 {
		return
	}
	w, vol := d.w, d.w.volumeOf(r.Vol).index
	row := uint16((uint64(r.Block) + 1) % w.shape.ChunkBlocks)
	if x := d.newest(r.Vol, r.Page, r.Column, row); x.State == chunk.Data && w.complete(vol, r.Page, row) {
		d.spoil("misdirected over", r, row, x.W)
	}
}

// spoil destroys the data of a version in a row of the page and column of a request, if that is affordable.
func (d *device) spoil(why string, r *chunk.Request, row uint16, version cluster.Seq) bool {
	w := d.w
	s := spot{d: d, vol: w.volumeOf(r.Vol).index, page: r.Page, column: r.Column, row: row, version: version}
	if !w.affords(s) || !d.disk.Spoil(r.Vol, r.Page, r.Column, row, version) {
		return false
	}
	w.faults.spots = append(w.faults.spots, s)
	w.logf("%s: page %d column %d row %d on device %d: %v", why, r.Page, r.Column, row, d.id, version)
	return true
}

// crash is the end of the process. Of what was under way, a prefix of the log is there afterwards; data that
// was on its way to the medium may be spoiled.
func (d *device) crash() {
	if d.ready {
		there := d.w.rng.IntN(len(d.queue) + 1)
		for _, f := range d.queue[:there] {
			if !f.gone && d.failing == 0 {
				d.tear(f.r)
			}
		}
	}
	for _, f := range d.queue {
		f.gone = true
	}
	d.queue, d.ready = nil, false
}

// tear carries a request out of whose data not all may have reached the medium.
func (d *device) tear(r *chunk.Request) {
	before := make([]pagemap.Version, r.Count)
	for i := range before {
		before[i] = d.disk.exact(r.Vol, r.Page, r.Column, r.Block+uint16(i), r.W)
	}
	s := d.disk.Do(r)
	if s != chunk.OK || r.Op != chunk.OpWrite {
		return
	}
	for i := range before {
		if before[i].State == chunk.Absent && d.w.rng.IntN(3) == 0 {
			d.disk.Tear(r.Vol, r.Page, r.Column, r.Block+uint16(i), r.W)
			d.w.logf("torn: device %d page %d column %d row %d %v", d.id, r.Page, r.Column,
				r.Block+uint16(i), r.W)
		}
	}
}

// newest describes the newest version of a block.
func (d *device) newest(key cluster.VolumeKey, page uint64, column uint8, row uint16) pagemap.Version {
	v, _ := d.disk.newest(key, page, column, row)
	return v
}

// isBad tells whether a version is there and spoiled.
func (d *device) isBad(key cluster.VolumeKey, page uint64, column uint8, row uint16, w cluster.Seq) bool {
	return d.disk.exact(key, page, column, row, w).State.Spoiled()
}

// journal lists the entries that the device keeps for a volume.
func (d *device) journal(key cluster.VolumeKey) []chunk.JournalEntry {
	n := d.disk.notes[key]
	if n == nil {
		return nil
	}
	return n.entries()
}
