package engine

import (
	"cmp"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// The open of a volume by a new owner:
//
//	fence, list unstable, read the journal --> journal to a quorum --> renumber what it says
//	  --> resolve row by row --> judge devices that missed an earlier open --> settle --> serve
//
// Any failure on the way starts it again from the fence; every step may be repeated, and nothing that it
// decides counts before the owner record says Served: until then no host has seen any of it, and a later open
// may decide otherwise.

type openPhase uint8

const (
	openGather   openPhase = iota // fences, inventories and the journal are being read
	openJournal                   // the journal is being brought to a quorum, its members recorded
	openRenumber                  // devices are being brought to the numbers that the journal names
	openResolve                   // rows are being completed
	openJudge                     // unstable versions of devices that are behind are being judged
	openSettle                    // devices are being told that they are settled
)

// resolveWidth bounds the rows that are completed at the same time.
const resolveWidth = 32

// openRetryTicks is the longest pause between attempts on devices that the open has to wait for. The first is
// one tick: hosts wait, and what is missing is often just starting.
const openRetryTicks = 5

// opening is the state of the open.
type opening struct {
	phase    openPhase
	round    int    // answers of an earlier round are ignored
	marks    []mark // of the devices
	rows     map[rowKey][]holder
	keys     []rowKey        // rows not yet taken up, ascending
	journals []memberJournal // of the members that were read
	active   int
	waiting  int
	failed   bool // start over as soon as nothing is under way
	stuck    bool // a row cannot be decided with what has answered
	retryAt  uint64
	asked    uint64 // times that too few devices had answered
}

// mark is a stable mark of an earlier owner, as a device has it.
type mark struct {
	w     cluster.Seq
	holes []cluster.Seq
}

// complete reports that a version is known to have been complete: some device heard its owner say so.
func (o *opening) complete(w cluster.Seq) bool {
	return slices.ContainsFunc(o.marks, func(m mark) bool {
		return w.Epoch() == m.w.Epoch() && w <= m.w && !slices.Contains(m.holes, w)
	})
}

type rowKey struct {
	page uint64
	row  uint16
}

func (k rowKey) compare(o rowKey) int {
	return cmp.Or(cmp.Compare(k.page, o.page), cmp.Compare(k.row, o.row))
}

// holder says that a column has version w of a row, unstable.
type holder struct {
	c    int
	w    cluster.Seq
	set  stripe.Cols
	at   chunk.Place
	torn bool
}

// memberJournal is what a member had.
type memberJournal struct {
	m       *member
	seal    uint32 // epoch of the last open that sealed it; 0: none
	entries []chunk.JournalEntry
}

// kept is the newest entry of a (page, column) that an open read, and who had it.
type kept struct {
	entry chunk.JournalEntry
	by    []*member
}

// startOpen begins (again) with fencing every device.
func (e *Engine) startOpen() {
	e.open = opening{round: e.open.round + 1, retryAt: e.open.retryAt, asked: e.open.asked}
	e.jour.init()
	for _, id := range e.rec.have.Journal.Members {
		e.jour.members = append(e.jour.members, &member{d: e.device(id)})
	}
	for _, d := range e.order {
		e.askOpen(d)
	}
	e.gathered()
}

func (e *Engine) askOpen(d *device) {
	if d.condemned {
		d.condemned, d.state = false, devDown
		return
	}
	d.state = devAsked
	round := e.open.round
	e.open.waiting++
	e.send(e.request(chunk.OpFence, d, control(func(d *device, r *chunk.Request) {
		e.openAnswer(round, d, r, func() {
			e.fencedDevice(d, r)
			e.open.marks = append(e.open.marks, mark{r.Mark, slices.Clone(r.Holes)})
			e.openView(round, d)
		})
	})))
}

// openAnswer takes an answer to a question of the gathering.
func (e *Engine) openAnswer(round int, d *device, r *chunk.Request, then func()) {
	if e.mode != modeOpening || round != e.open.round {
		return
	}
	if r.Status == chunk.OK && d.state == devAsked {
		then()
	} else {
		d.state = devDown
	}
	if r.Status != chunk.OK {
		d.full = r.Status == chunk.Full
	}
	e.open.waiting--
	e.gathered()
}

// openView brings the view list before anything else: with a mark that passes a pin, a device that does not
// know the pin would free what it sees.
func (e *Engine) openView(round int, d *device) {
	if d.viewed >= e.cfg.View.Version {
		e.openList(round, d, chunk.Cursor{})
		return
	}
	r := e.request(chunk.OpView, d, control(func(d *device, r *chunk.Request) {
		e.openAnswer(round, d, r, func() {
			d.viewed = e.cfg.View.Version
			e.openList(round, d, chunk.Cursor{})
		})
	}))
	r.View = e.cfg.View
	e.open.waiting++
	e.send(r)
}

func (e *Engine) openList(round int, d *device, after chunk.Cursor) {
	r := e.request(chunk.OpList, d, control(func(d *device, r *chunk.Request) {
		e.openAnswer(round, d, r, func() {
			d.unstable = append(d.unstable, r.Entries...)
			switch n := len(r.Entries); {
			case r.More && n > 0:
				e.openList(round, d, r.Entries[n-1].Cursor)
			case e.memberOf(d) != nil:
				e.openJournalList(round, d, chunk.Cursor{}, memberJournal{m: e.memberOf(d)})
			default:
				d.state = devListed
			}
		})
	}))
	r.Mode, r.Count, r.After = chunk.ListUnstable, chunk.MaxEntries, after
	e.open.waiting++
	e.send(r)
}

func (e *Engine) memberOf(d *device) *member {
	for _, m := range e.jour.members {
		if m.d == d {
			return m
		}
	}
	return nil
}

func (e *Engine) openJournalList(round int, d *device, after chunk.Cursor, have memberJournal) {
	r := e.request(chunk.OpJournalList, d, control(func(d *device, r *chunk.Request) {
		e.openAnswer(round, d, r, func() {
			for _, x := range r.Journal {
				if x.IsSeal() {
					have.seal = x.Seq.Epoch()
					continue
				}
				x.Places = slices.Clone(x.Places)
				for _, at := range x.Places {
					e.device(at.Device)
				}
				have.entries = append(have.entries, x)
			}
			if n := len(r.Journal); r.More && n > 0 {
				last := r.Journal[n-1]
				e.openJournalList(round, d, last.Cursor(), have)
				return
			}
			e.open.journals = append(e.open.journals, have)
			d.state = devListed
		})
	}))
	r.Count, r.After = chunk.MaxJournalEntries, after
	e.open.waiting++
	e.send(r)
}

// gathered goes on once every device has answered or failed: when what is there can decide every row.
func (e *Engine) gathered() {
	o := &e.open
	if o.waiting > 0 || o.phase != openGather || o.failed {
		return
	}
	awaited := false
	for _, d := range e.order {
		awaited = awaited || d.state == devDown && e.cfg.Awaited[d.id]
	}
	if patient := e.ticks < uint64(e.cfg.Patience); awaited && patient || !e.covered() {
		o.asked++
		o.retryAt = max(o.retryAt, e.ticks+min(o.asked, openRetryTicks))
		return
	}
	o.phase = openJournal
	e.adoptJournal()
}

// covered reports whether every group has n columns whose inventory is complete, and enough members of the
// journal were read.
func (e *Engine) covered() bool {
	if len(e.jour.members) > 0 && len(e.open.journals) < readable(e.p, len(e.jour.members)) {
		return false
	}
	for i := range e.layout {
		for _, row := range e.layout[i].table.Rows() {
			listed := 0
			for _, id := range row {
				if e.devices[id].state == devListed {
					listed++
				}
			}
			if listed < e.n && !(listed == e.n-1 && e.cfg.Mutant.Is(mutant.OpenTooFew)) {
				return false
			}
		}
	}
	return true
}

// adoptJournal takes the newest entries of the members with the newest seal over, brings them to all members
// that were read, and seals these. What the others have beyond that is overruled under a new number. Nothing
// is wiped here: until a quorum is sealed, a later open may need what any of them has.
func (e *Engine) adoptJournal() {
	j := &e.jour
	union, rest := e.speakers()
	for _, m := range j.members {
		m.synced, m.lostAt = m.d.state == devListed, e.ticks
	}
	for _, k := range sortedKeys(union) {
		e.adopt(k, union[k])
	}
	for _, k := range sortedKeys(rest) {
		switch have := union[k]; {
		case have == nil:
			e.overrule(k, chunk.JournalEntry{Page: k.page, Column: uint8(k.c), Gone: true})
		case have.entry.Seq < rest[k].entry.Seq:
			e.overrule(k, have.entry)
		}
	}
	for _, m := range j.members {
		if m.synced {
			m.queue = append(m.queue, e.sealUpdate())
		}
	}
	if len(j.members) == 0 {
		e.chooseMembers()
	}
	e.journalSynced()
}

// speakers tells the newest entries of the members with the newest seal, and those that others have. Numbers
// of this epoch that an attempt before this one gave out are not given out again.
func (e *Engine) speakers() (union, rest map[colKey]*kept) {
	seal := uint32(0)
	for _, x := range e.open.journals {
		seal = max(seal, x.seal)
	}
	union, rest = make(map[colKey]*kept), make(map[colKey]*kept)
	for _, x := range e.open.journals {
		into := union
		if x.seal != seal && !e.cfg.Mutant.Is(mutant.SealForgotten) {
			into = rest
		}
		for i := range x.entries {
			keep(into, x.m, x.entries[i])
			if s := x.entries[i].Seq; s.Epoch() == e.cfg.Owner.Epoch {
				e.jour.seq = max(e.jour.seq, s.Counter())
			}
		}
	}
	return union, rest
}

func sortedKeys(m map[colKey]*kept) []colKey {
	keys := make([]colKey, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, colKey.compare)
	return keys
}

// keep takes an entry that a member has.
func keep(union map[colKey]*kept, m *member, x chunk.JournalEntry) {
	key := colKey{x.Page, int(x.Column)}
	k := union[key]
	switch {
	case k == nil || k.entry.Seq < x.Seq:
		union[key] = &kept{entry: x, by: []*member{m}}
	case k.entry.Seq == x.Seq:
		k.by = append(k.by, m)
	}
}

// adopt makes an entry count and queues it for the members that lack it.
func (e *Engine) adopt(k colKey, x *kept) {
	j := &e.jour
	u := &update{key: k, entry: x.entry, durable: true, acked: x.by}
	j.set(&u.entry)
	if u.entry.Gone {
		j.gone[k] = u
	}
	for _, m := range j.members {
		if m.synced && !slices.Contains(x.by, m) {
			m.queue = append(m.queue, u)
		}
	}
}

// overrule makes an entry count under a new number: a member without a say has a higher one than it had.
func (e *Engine) overrule(k colKey, x chunk.JournalEntry) {
	delete(e.jour.gone, k)
	e.jour.seq++
	x.Seq = e.seq(e.jour.seq)
	e.adopt(k, &kept{entry: x})
}

// journalSynced goes on when a quorum of the members has every entry, and the record names the members. Where
// too few members are there for a quorum, those that are become the list.
func (e *Engine) journalSynced() {
	j := &e.jour
	if e.open.phase != openJournal || e.open.failed || j.fresh || e.rec.pending != nil {
		return
	}
	current := 0
	for _, m := range j.members {
		if m.current() {
			current++
		}
	}
	if current < quorum(e.p, len(j.members)) {
		e.shrink()
		return
	}
	o := &e.open
	o.phase = openRenumber
	round := o.round
	o.waiting++
	for _, d := range e.order {
		if d.state == devListed {
			o.waiting++
			e.renumberAll(d, func() { e.renumbered(round) })
		}
	}
	e.renumbered(round)
}

// renumbered goes on when every device that takes part is.
func (e *Engine) renumbered(round int) {
	o := &e.open
	if e.mode != modeOpening || round != o.round || o.failed {
		return
	}
	if o.waiting--; o.waiting > 0 {
		return
	}
	for _, d := range e.order {
		if d.state == devListed {
			e.question(d)
		}
	}
	if !e.pagesCovered() {
		e.openStuck()
		return
	}
	o.phase = openResolve
	if e.cfg.Mutant.Is(mutant.ResolveSkipped) {
		e.settleAll()
		return
	}
	e.startResolve()
}

// pagesCovered is covered for the pages that the journal names: n columns have all their places there.
func (e *Engine) pagesCovered() bool {
	for page := range e.jour.pages {
		there := 0
		for c := range e.n + e.p {
			if !e.stale(page, c) && !slices.ContainsFunc(e.chain(page, c).places, func(at chunk.Place) bool {
				return !e.devices[at.Device].usable()
			}) {
				there++
			}
		}
		if there < e.n {
			return false
		}
	}
	return true
}

// openRecorded goes on after a change of the owner record.
func (e *Engine) openRecorded() { e.journalSynced() }

// tickOpen asks again the devices that the open waits for, or starts over after a failure.
func (e *Engine) tickOpen() {
	o := &e.open
	if len(e.stuck) > 0 && e.quiet() && e.rec.pending == nil { // nothing will bring these on
		o.failed, o.retryAt = true, e.ticks+openRetryTicks
		e.endStuck()
	}
	if e.ticks < o.retryAt || e.rec.pending != nil {
		return
	}
	switch {
	case (o.failed || o.stuck) && o.active == 0 && e.quiet():
		o.retryAt = e.ticks + openRetryTicks
		e.startOpen()
	case o.phase == openGather && !o.failed && o.waiting == 0:
		for _, d := range e.order {
			if d.state == devDown && d.inFlight == 0 {
				e.askOpen(d)
			}
		}
		e.gathered()
	}
}

// quiet reports that no request is outstanding.
func (e *Engine) quiet() bool {
	for _, d := range e.order {
		if d.inFlight > 0 {
			return false
		}
	}
	return true
}

// openFailure notes that a device failed after it had answered: wait for what is outstanding, then start over
// without it.
func (e *Engine) openFailure(d *device, was devState) {
	if was == devAsked && e.open.phase == openGather {
		return // gathered counts it as one that did not answer
	}
	d.condemned = true
	e.open.failed = true
	e.open.retryAt = e.ticks + 1
	e.endStuck()
}

// endStuck ends the completions of rows that wait for something, in an attempt that has failed.
func (e *Engine) endStuck() {
	for _, b := range slices.Clone(e.stuck) {
		if b.inFlight == 0 && slices.Contains(e.stuck, b) {
			e.endBatch(b, PathGone)
		}
	}
}

// settleAll tells every device that all versions of earlier epochs are resolved; then the volume serves.
func (e *Engine) settleAll() {
	o := &e.open
	o.phase = openSettle
	round := o.round
	o.waiting++
	for _, d := range e.order {
		if d.state != devListed || len(d.doubts) > 0 {
			continue
		}
		o.waiting++
		e.settle(d, func() {
			d.questioned = false
			if e.mode == modeOpening && round == o.round {
				e.settledOne()
			}
		})
	}
	e.settledOne()
}

func (e *Engine) settledOne() {
	o := &e.open
	if o.waiting--; o.waiting > 0 || o.failed {
		return
	}
	e.mode = modeServing
	for _, d := range e.order {
		if d.state == devListed {
			d.state = devUp
		}
		if !d.questioned {
			d.unstable = nil
		}
	}
	e.open = opening{round: o.round}
	e.mend.dirty = true
}
