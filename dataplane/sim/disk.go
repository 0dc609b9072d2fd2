package sim

import (
	"cmp"
	"hash/crc32"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/guard"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// Disk is a chunk server with one device: what package chunkd is in production, from the same guard and the
// same page map. Do carries a request out at one moment, which is that of its record's durability: what comes
// before a crash is there afterwards, what comes later is not.
type Disk struct {
	guard   *guard.Device
	pages   *pagemap.Map
	data    map[uint64][]byte // by data block
	notes   map[cluster.VolumeKey]*notes
	pageful int           // entries per list at most
	taken   []pagemap.Run // by Fill
	mutant  mutant.Set
	crcs    *crc32.Table
	scratch struct {
		acts     []guard.Act
		versions []pagemap.Version
		runs     []pagemap.Run
		entries  []pagemap.Entry
	}
}

// notes is what a device stores about a volume beside the page map.
type notes struct {
	fence   uint32
	journal map[chunk.Cursor]chunk.JournalEntry // by page and column
}

// NewDisk makes an empty device of so many blocks.
func NewDisk(blocks uint64) (*Disk, error) {
	pages, err := pagemap.New(blocks)
	if err != nil {
		return nil, err
	}
	d := &Disk{pages: pages, data: map[uint64][]byte{}, notes: map[cluster.VolumeKey]*notes{},
		pageful: chunk.MaxEntries, crcs: crc32.MakeTable(crc32.Castagnoli)}
	d.Restart()
	return d, nil
}

// Restart is the start of a process: sessions are over, what is durable is read back.
func (d *Disk) Restart() {
	d.guard = guard.New(guard.Reserve(d.pages.Usage().Total))
	for key, n := range d.notes {
		if d.mutant.Is(mutant.ForgetFence) {
			n.fence = 0
		}
		if d.mutant.Is(mutant.JournalForgets) {
			clear(n.journal)
		}
		d.guard.Volume(key).Restore(n.fence)
	}
}

func (d *Disk) note(key cluster.VolumeKey) *notes {
	n := d.notes[key]
	if n == nil {
		n = &notes{journal: map[chunk.Cursor]chunk.JournalEntry{}}
		d.notes[key] = n
	}
	return n
}

// Do carries a request out.
func (d *Disk) Do(r *chunk.Request) chunk.Status {
	if r.Validate() != nil {
		return chunk.Invalid
	}
	v := d.guard.Volume(r.Vol)
	acts := v.Arrive(r, d.scratch.acts[:0])
	if acts[0].Verdict == guard.Store {
		n := d.note(r.Vol)
		n.fence = max(n.fence, r.Epoch)
		if d.mutant.Is(mutant.SettleIgnored) {
			d.settle(r.Vol, r.Epoch)
		}
		acts = v.Stored(r, true, acts[:0])
	}
	d.scratch.acts = acts
	if acts[0].Verdict == guard.Fenced {
		if d.mutant.Is(mutant.SkipFence) {
			return d.run(r)
		}
		return chunk.Fenced
	}
	if acts[0].Verdict == guard.NoSession {
		return chunk.NotMine
	}
	s := d.run(r)
	free := d.pages.Usage().Free
	if r.Op == chunk.OpFence {
		r.Free = free
	}
	d.scratch.acts = v.Ended(r, free, acts[:0])
	if d.mutant.Is(mutant.CreditIgnored) {
		r.Granted = 1 << 20
	}
	return s
}

func (d *Disk) run(r *chunk.Request) chunk.Status {
	defer d.pages.Purge(4) // a piece with every request
	if r.Stable.Counter() > 0 {
		d.stable(r.Vol, pagemap.Mark{W: r.Stable})
	}
	e := pagemap.Extent{Vol: r.Vol, Page: r.Page, Residency: r.Residency, Column: r.Column, First: r.Block,
		N: r.Count}
	switch r.Op {
	case chunk.OpWrite, chunk.OpTombstone, chunk.OpRead, chunk.OpHead, chunk.OpUndo, chunk.OpDrop,
		chunk.OpRenumber:
		if e = d.misread(e); d.pages.Superseded(e) {
			return chunk.NotMine
		}
	}
	switch r.Op {
	case chunk.OpWrite, chunk.OpTombstone:
		return d.put(r, e)
	case chunk.OpRead, chunk.OpHead:
		d.read(r, e)
	case chunk.OpUndo:
		if !d.mutant.Is(mutant.UndoIgnored) {
			d.pages.Apply(&pagemap.Record{Kind: pagemap.Undo, Extent: e, W: r.W})
		}
	case chunk.OpDrop:
		d.pages.Apply(&pagemap.Record{Kind: pagemap.DropChunk, Extent: e})
	case chunk.OpRenumber:
		d.pages.Apply(&pagemap.Record{Kind: pagemap.Renumber, Extent: e})
	case chunk.OpList:
		d.list(r)
	case chunk.OpFence:
		x, _ := d.pages.Volume(r.Vol)
		r.Settled, r.Viewed = x.Settled, x.View.Version
		r.Mark, r.Holes = 0, r.Holes[:0]
		if n := len(x.Marks); n > 0 {
			r.Mark, r.Holes = x.Marks[n-1].W, append(r.Holes, x.Marks[n-1].Holes...)
		}
	case chunk.OpSettle:
		d.settle(r.Vol, r.Epoch)
	case chunk.OpStable:
		d.stable(r.Vol, pagemap.Mark{W: r.W, Holes: r.Holes})
	case chunk.OpView:
		d.pages.Apply(&pagemap.Record{Kind: pagemap.View, Extent: pagemap.Extent{Vol: r.Vol}, View: r.View})
	default:
		d.journal(r)
	}
	return chunk.OK
}

func (d *Disk) settle(key cluster.VolumeKey, epoch uint32) {
	d.pages.Apply(&pagemap.Record{Kind: pagemap.Settle, Extent: pagemap.Extent{Vol: key}, Epoch: epoch})
}

// misread is an extent with the residency that a planted bug takes it to be under.
func (d *Disk) misread(e pagemap.Extent) pagemap.Extent {
	if !d.mutant.Is(mutant.OldResidency) && !d.mutant.Is(mutant.KeepResidency) {
		return e
	}
	held, ok := d.residency(e.Vol, e.Page, e.Column)
	if ok && (e.Residency < held && d.mutant.Is(mutant.OldResidency) ||
		e.Residency > held && d.mutant.Is(mutant.KeepResidency)) {
		e.Residency = held
	}
	return e
}

func (d *Disk) stable(key cluster.VolumeKey, mark pagemap.Mark) {
	if d.mutant.Is(mutant.HoleIgnored) {
		mark.Holes = nil
	}
	if d.mutant.Is(mutant.MarkOverEpochs) {
		d.settle(key, mark.W.Epoch())
	}
	if d.pages.MarkIsNews(key, mark) {
		d.pages.Apply(&pagemap.Record{Kind: pagemap.Stable, Extent: pagemap.Extent{Vol: key}, W: mark.W,
			Holes: mark.Holes})
	}
}

// put writes versions: as a whole, or not at all if one of them has other content or there is no space.
func (d *Disk) put(r *chunk.Request, e pagemap.Extent) chunk.Status {
	held := d.held(int(r.Count))
	d.pages.Exact(e, r.W, held)
	need, replace := 0, false
	for i := range held {
		crc := r.Blocks[i].CRC
		if r.Op == chunk.OpWrite && crc32.Checksum(blockOf(r, i), d.crcs) != crc {
			return chunk.Invalid
		}
		switch held[i].State {
		case chunk.Absent:
			need++
		case chunk.Bad, chunk.Torn, chunk.Data: // a bad version may be written again, but as what it was
			if r.Op != chunk.OpWrite || held[i].CRC != crc {
				return chunk.Invalid
			}
			if held[i].State.Spoiled() {
				need++
				replace = true
			}
		case chunk.Tombstone:
			if r.Op != chunk.OpTombstone {
				return chunk.Invalid
			}
		}
	}
	if need == 0 {
		return chunk.OK
	}
	return d.apply(r, e, replace)
}

// apply allocates space and adds the versions run by run, for a record has one run.
func (d *Disk) apply(r *chunk.Request, e pagemap.Extent, replace bool) chunk.Status {
	rec := pagemap.Record{Kind: pagemap.Put, Extent: e, W: r.W, Replace: replace,
		Tombstone: r.Op == chunk.OpTombstone}
	runs := d.scratch.runs[:0]
	if rec.Tombstone {
		runs = append(runs, pagemap.Run{N: r.Count})
	} else {
		var ok bool
		if runs, ok = d.pages.Alloc(int(r.Count), runs); !ok {
			return chunk.Full
		}
	}
	at := 0
	for _, run := range runs {
		rec.First, rec.N, rec.Loc = e.First+uint16(at), run.N, run.Loc
		rec.CRC, rec.Columns = nil, nil
		for i := at; i < at+int(run.N); i++ {
			rec.Columns = append(rec.Columns, pagemap.Columns{Set: r.Blocks[i].Set, Mask: r.Blocks[i].Mask})
			if !rec.Tombstone {
				rec.CRC = append(rec.CRC, r.Blocks[i].CRC)
				d.store(run.Loc+uint64(i-at), blockOf(r, i))
			}
		}
		d.pages.Apply(&rec)
		at += int(run.N)
	}
	d.scratch.runs = runs
	if d.mutant.Is(mutant.FreeUnstable) {
		d.stable(r.Vol, pagemap.Mark{W: r.W})
	}
	return chunk.OK
}

// blockOf is the data of one block of a request.
func blockOf(r *chunk.Request, i int) []byte {
	return r.Data[i*cluster.BlockSize : (i+1)*cluster.BlockSize]
}

func (d *Disk) store(loc uint64, block []byte) {
	b := d.data[loc]
	if b == nil {
		b = make([]byte, cluster.BlockSize)
		d.data[loc] = b
	}
	copy(b, block)
}

func (d *Disk) held(n int) []pagemap.Version {
	for len(d.scratch.versions) < n {
		d.scratch.versions = append(d.scratch.versions, pagemap.Version{})
	}
	return d.scratch.versions[:n]
}

func (d *Disk) read(r *chunk.Request, e pagemap.Extent) {
	held := d.held(int(r.Count))
	d.pages.Lookup(e, r.W, held)
	for i, v := range held {
		r.Blocks[i] = chunk.BlockInfo{W: v.W, CRC: v.CRC, Set: v.Set, Mask: v.Mask, State: v.State}
		if r.Op == chunk.OpRead && v.State == chunk.Data {
			copy(blockOf(r, i), d.data[v.Loc])
		}
	}
}

func (d *Disk) list(r *chunk.Request) {
	if r.Mode == chunk.ListBad {
		d.listBad(r)
		return
	}
	kind := [...]pagemap.ListKind{chunk.ListAll: pagemap.ListAll, chunk.ListUnstable: pagemap.ListUnstable,
		chunk.ListChunks: pagemap.ListChunks}[r.Mode]
	for len(d.scratch.entries) < int(r.Count) {
		d.scratch.entries = append(d.scratch.entries, make([]pagemap.Entry, int(r.Count))...)
	}
	buf := d.scratch.entries[:min(int(r.Count), d.pageful)]
	after := pagemap.Cursor{Page: r.After.Page, Column: r.After.Column, Block: r.After.Block, W: r.After.W}
	n, _, more := d.pages.List(r.Vol, kind, after, buf)
	r.Entries, r.More = r.Entries[:0], more
	for _, x := range buf[:n] {
		r.Entries = append(r.Entries, entryOf(x))
	}
}

func entryOf(x pagemap.Entry) chunk.Entry {
	return chunk.Entry{Residency: x.Residency, Set: x.Set, State: x.State,
		Cursor: chunk.Cursor{Page: x.Page, W: x.W, Block: x.Block, Column: x.Column}}
}

// listBad lists what is spoiled. In this world the device knows all of it.
func (d *Disk) listBad(r *chunk.Request) {
	r.Entries, r.More = r.Entries[:0], false
	var piece [64]pagemap.Entry
	after := pagemap.Cursor{Page: r.After.Page, Column: r.After.Column, Block: r.After.Block, W: r.After.W}
	for more := d.bad(r.Vol) > 0; more; {
		var n int
		n, after, more = d.pages.List(r.Vol, pagemap.ListVersions, after, piece[:])
		for _, x := range piece[:n] {
			if !x.State.Spoiled() {
				continue
			}
			if len(r.Entries) == min(int(r.Count), d.pageful) {
				r.More = true
				return
			}
			r.Entries = append(r.Entries, entryOf(x))
		}
	}
}

// bad counts the versions of a volume that are spoiled.
func (d *Disk) bad(key cluster.VolumeKey) uint64 {
	x, _ := d.pages.Volume(key)
	return x.Bad
}

func (d *Disk) journal(r *chunk.Request) {
	n := d.note(r.Vol)
	switch r.Op {
	case chunk.OpJournalPut:
		for _, x := range r.Journal {
			if held, ok := n.journal[x.Cursor()]; !ok || held.Seq < x.Seq {
				x.Places = slices.Clone(x.Places)
				n.journal[x.Cursor()] = x
			}
		}
	case chunk.OpJournalList:
		r.Journal, r.More = r.Journal[:0], false
		for _, x := range n.entries() {
			if compareCursors(x.Cursor(), r.After) <= 0 {
				continue
			}
			if r.More = len(r.Journal) >= min(int(r.Count), d.pageful); r.More {
				break
			}
			x.Places = slices.Clone(x.Places)
			r.Journal = append(r.Journal, x)
		}
	case chunk.OpJournalTrim:
		for k, x := range n.journal {
			if x.Gone && x.Seq <= r.W {
				delete(n.journal, k)
			}
		}
	case chunk.OpJournalWipe:
		clear(n.journal)
	}
}

// entries lists a journal in order.
func (n *notes) entries() []chunk.JournalEntry {
	out := make([]chunk.JournalEntry, 0, len(n.journal))
	for _, x := range n.journal {
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b chunk.JournalEntry) int { return compareCursors(a.Cursor(), b.Cursor()) })
	return out
}

// compareCursors orders positions of a journal.
func compareCursors(a, b chunk.Cursor) int {
	return cmp.Or(cmp.Compare(a.Page, b.Page), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Block, b.Block))
}

// residency is the number under which a chunk is held; false if none is.
func (d *Disk) residency(key cluster.VolumeKey, page uint64, column uint8) (chunk.Residency, bool) {
	var one [1]pagemap.Entry
	n, _, _ := d.pages.List(key, pagemap.ListVersions, pagemap.Cursor{Page: page, Column: column}, one[:])
	if n == 0 || one[0].Page != page || one[0].Column != column {
		return 0, false
	}
	return one[0].Residency, true
}

// extent is one block, under the residency that is held.
func (d *Disk) extent(key cluster.VolumeKey, page uint64, column uint8, row uint16) pagemap.Extent {
	number, _ := d.residency(key, page, column)
	return pagemap.Extent{Vol: key, Page: page, Residency: number, Column: column, First: row, N: 1}
}

// newest is the newest version of a block with its data, whatever its residency is.
func (d *Disk) newest(key cluster.VolumeKey, page uint64, column uint8,
	row uint16) (pagemap.Version, []byte) {
	v := d.seen(key, page, column, row, 0)
	return v, d.data[v.Loc]
}

// seen is the version of a block that is seen as of a pin, or now when that is 0.
func (d *Disk) seen(key cluster.VolumeKey, page uint64, column uint8, row uint16,
	asOf cluster.Seq) pagemap.Version {
	var v [1]pagemap.Version
	d.pages.Lookup(d.extent(key, page, column, row), asOf, v[:])
	return v[0]
}

// exact is one version of a block.
func (d *Disk) exact(key cluster.VolumeKey, page uint64, column uint8, row uint16,
	w cluster.Seq) pagemap.Version {
	var v [1]pagemap.Version
	d.pages.Exact(d.extent(key, page, column, row), w, v[:])
	return v[0]
}

// Held is a version of a block on a disk.
type Held struct {
	pagemap.Version
	Data   []byte
	Stable bool
}

// Versions lists what the disk holds of a block, newest first, and the residency that it is under.
func (d *Disk) Versions(key cluster.VolumeKey, page uint64, column uint8,
	row uint16) (number chunk.Residency, out []Held) {
	number, _ = d.residency(key, page, column)
	entries := make([]pagemap.Entry, 64)
	list := func(kind pagemap.ListKind) []pagemap.Entry {
		n, _, _ := d.pages.List(key, kind, pagemap.Cursor{}, entries)
		for n == len(entries) {
			entries = make([]pagemap.Entry, 2*n)
			n, _, _ = d.pages.List(key, kind, pagemap.Cursor{}, entries)
		}
		return slices.DeleteFunc(slices.Clone(entries[:n]), func(x pagemap.Entry) bool {
			return x.Page != page || x.Column != column || x.Block != row
		})
	}
	unstable := list(pagemap.ListUnstable)
	for _, x := range list(pagemap.ListVersions) {
		v := d.exact(key, page, column, row, x.W)
		stable := !slices.ContainsFunc(unstable, func(u pagemap.Entry) bool { return u.W == x.W })
		out = append(out, Held{v, d.data[v.Loc], stable})
	}
	return number, out
}

// Fill leaves only so much space free, until Unfill.
func (d *Disk) Fill(free int) {
	if have := int(d.pages.Usage().Free); have > free {
		d.taken, _ = d.pages.Alloc(have-free, d.taken)
	}
}

// Unfill gives the space back.
func (d *Disk) Unfill() {
	for _, r := range d.taken {
		d.pages.Release(r)
	}
	d.taken = nil
}

// Spoil destroys the data of a version.
func (d *Disk) Spoil(key cluster.VolumeKey, page uint64, column uint8, row uint16, w cluster.Seq) bool {
	v := d.exact(key, page, column, row, w)
	e := d.extent(key, page, column, row)
	if v.State == chunk.Data && d.mutant.Is(mutant.BadUncovers) {
		d.pages.Apply(&pagemap.Record{Kind: pagemap.Undo, Extent: e, W: w})
		return true
	}
	return v.State == chunk.Data && d.pages.MarkBad(e, row, w, v.Loc)
}

// Tear leaves a version without its data, which a power failure has cut off.
func (d *Disk) Tear(key cluster.VolumeKey, page uint64, column uint8, row uint16, w cluster.Seq) {
	if d.mutant.Is(mutant.BadUncovers) {
		d.Spoil(key, page, column, row, w)
		return
	}
	v := d.exact(key, page, column, row, w)
	d.pages.MarkTorn(d.extent(key, page, column, row), row, w, v.Loc)
}

// Lose takes a version back, as if it had never come.
func (d *Disk) Lose(key cluster.VolumeKey, page uint64, column uint8, row uint16, w cluster.Seq) {
	d.pages.Apply(&pagemap.Record{Kind: pagemap.Undo, Extent: d.extent(key, page, column, row), W: w})
}

// forget takes a version back and has an older one again.
func (d *Disk) forget(key cluster.VolumeKey, page uint64, column uint8, row uint16, w cluster.Seq,
	old pagemap.Version, data []byte) bool {
	if d.exact(key, page, column, row, old.W).State != chunk.Absent {
		d.Lose(key, page, column, row, w)
		return true
	}
	runs, ok := d.pages.Alloc(1, nil)
	if !ok {
		return false
	}
	e := d.extent(key, page, column, row)
	d.store(runs[0].Loc, data)
	d.Lose(key, page, column, row, w)
	d.pages.Apply(&pagemap.Record{Kind: pagemap.Put, Extent: e, W: old.W, Loc: runs[0].Loc,
		CRC: []uint32{old.CRC}, Columns: []pagemap.Columns{old.Columns}})
	return true
}
