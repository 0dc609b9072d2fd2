package engine

import (
	"cmp"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
)

// colKey names a column of a page.
type colKey struct {
	page uint64
	c    int
}

func (k colKey) compare(o colKey) int {
	return cmp.Or(cmp.Compare(k.page, o.page), cmp.Compare(k.c, o.c))
}

// journal is the placement journal: for every (page, column) that does not lie at its home alone an entry,
// kept on a few devices, the members (members.go). An entry counts once a quorum of the members has it.
//
// An open reads so many members that they meet every quorum, and what it has read it brings to a quorum and
// seals there with its epoch: only members that its seal has reached count from then on. Of the members that
// a later open reads only those with the newest seal speak. So what a few members kept of an earlier owner,
// an entry that never counted or a "gone" that did, has no say however late it comes back: an open overrules
// it under a new number, and a member that comes back later is wiped before it is sealed.
type journal struct {
	pages   map[uint64]*[stripeWidth]*chunk.JournalEntry // durable, not gone
	count   int                                          // of entries in pages
	pending map[colKey]*update                           // being written
	gone    map[colKey]*update                           // durable "gone", until every member has it
	members []*member
	joining *member     // being filled; becomes a member with the next record
	leaving *member     // makes room for it; nil: nobody has to
	former  []*member   // not members any more, with requests that may still be carried out
	next    []*member   // the members that the record under way, or the next one, names; nil: no change
	fresh   bool        // the members were just chosen and are not recorded yet
	seq     uint64      // counter of entries
	limit   cluster.Seq // what is gone and not newer is gone everywhere
}

const stripeWidth = cluster.MaxData + cluster.MaxParity

// update is one version of an entry on its way to the members.
type update struct {
	key     colKey
	entry   chunk.JournalEntry
	acked   []*member
	durable bool
	void    bool // replaced by a newer one before it was durable everywhere
	then    []func(ok bool)
	seal    bool // not an entry: everything before it in the queue makes the member count
}

func (j *journal) init() {
	*j = journal{seq: j.seq}
	j.pages = make(map[uint64]*[stripeWidth]*chunk.JournalEntry)
	j.pending = make(map[colKey]*update)
	j.gone = make(map[colKey]*update)
}

// put starts to write an entry; then is called when it counts, or with false when the engine stops.
func (e *Engine) putEntry(x chunk.JournalEntry, then func(ok bool)) *update {
	e.notePresent(x.Page) // a column that goes from device to device may be in no list
	j := &e.jour
	j.seq++
	x.Seq = e.seq(j.seq)
	u := &update{key: colKey{x.Page, int(x.Column)}, entry: x}
	if then != nil {
		u.then = append(u.then, then)
	}
	if old := j.gone[u.key]; old != nil {
		old.void = true
		delete(j.gone, u.key)
	}
	j.pending[u.key] = u
	e.Counters.Entries++
	for _, m := range j.all() {
		if m.synced {
			m.queue = append(m.queue, u)
		}
	}
	return u
}

// sealUpdate is what seals a member.
func (e *Engine) sealUpdate() *update {
	return &update{entry: chunk.Seal(e.cfg.Owner.Epoch), durable: true, seal: true}
}

// all lists the members and the one that is joining.
func (j *journal) all() []*member {
	if j.joining == nil {
		return j.members
	}
	return append(slices.Clone(j.members), j.joining)
}

// flushJournal sends what is queued, one put at a time to each member: what arrives meanwhile goes with the
// next.
func (e *Engine) flushJournal() {
	for _, m := range e.jour.all() {
		if len(m.queue) == 0 && !m.wipe || m.busy || !m.d.usable() {
			continue
		}
		if m.wipe {
			e.wipeMember(m)
			continue
		}
		n := min(len(m.queue), chunk.MaxJournalEntries)
		batch := slices.Clone(m.queue[:n])
		m.queue = m.queue[n:]
		m.busy = true
		r := e.request(chunk.OpJournalPut, m.d, control(func(d *device, r *chunk.Request) {
			m.busy = false
			if !e.lost(d, r) {
				e.acknowledged(m, batch)
			}
		}))
		for _, u := range batch {
			r.Journal = append(r.Journal, u.entry)
		}
		e.send(r)
	}
}

func (e *Engine) wipeMember(m *member) {
	m.busy = true
	e.send(e.request(chunk.OpJournalWipe, m.d, control(func(d *device, r *chunk.Request) {
		m.busy = false
		if !e.lost(d, r) {
			m.wipe = false
			e.joined(m)
		}
	})))
}

func (e *Engine) acknowledged(m *member, batch []*update) {
	for _, u := range batch {
		if !slices.Contains(u.acked, m) {
			u.acked = append(u.acked, m)
		}
		m.sealed = m.sealed || u.seal
	}
	for _, u := range batch {
		if u.seal {
			e.settleUpdates()
		}
		e.settleUpdate(u)
	}
	e.joined(m)
	if e.mode == modeOpening {
		e.journalSynced()
	}
}

// settleUpdate makes an entry count when enough members have it, and the one that is joining.
func (e *Engine) settleUpdate(u *update) {
	j := &e.jour
	if u.durable || j.pending[u.key] != u {
		return
	}
	if !e.quorate(u, j.members) || j.next != nil && !e.quorate(u, j.next) ||
		j.joining != nil && !slices.Contains(u.acked, j.joining) {
		return
	}
	u.durable = true
	delete(j.pending, u.key)
	if old := e.entry(u.entry.Page, u.key.c); old != nil {
		for _, at := range old.Places { // what it does not name any more is freed, now or by a sweep
			e.devices[at.Device].sweep = e.devices[at.Device].sweep || !slices.Contains(u.entry.Places, at)
		}
	}
	j.set(&u.entry)
	if u.entry.Gone {
		j.gone[u.key] = u
	}
	then := u.then
	u.then = nil
	for _, f := range then {
		f(true)
	}
	e.mend.dirty = e.mend.dirty || e.mendable(u.key)
	e.wake()
}

// settleUpdates looks at all entries under way: another member counts, or one that was waited for does not.
func (e *Engine) settleUpdates() {
	for _, k := range e.jour.pendingKeys() {
		if u := e.jour.pending[k]; u != nil {
			e.settleUpdate(u)
		}
	}
}

// set takes a durable entry over.
func (j *journal) set(x *chunk.JournalEntry) {
	p := j.pages[x.Page]
	if p == nil {
		p = new([stripeWidth]*chunk.JournalEntry)
		j.pages[x.Page] = p
	}
	if p[x.Column] != nil {
		j.count--
	}
	p[x.Column] = nil
	if !x.Gone {
		p[x.Column] = x
		j.count++
	}
	if *p == ([stripeWidth]*chunk.JournalEntry{}) {
		delete(j.pages, x.Page)
	}
}

// abort calls back, when the engine stops, who waits for an entry.
func (j *journal) abort() {
	for _, k := range j.pendingKeys() {
		u := j.pending[k]
		then := u.then
		u.then = nil
		for _, f := range then {
			f(false)
		}
	}
}

func (j *journal) pendingKeys() []colKey {
	keys := make([]colKey, 0, len(j.pending))
	for k := range j.pending {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, colKey.compare)
	return keys
}

// keys lists the durable entries in order.
func (j *journal) keys() []colKey {
	keys := make([]colKey, 0, j.count)
	for page, p := range j.pages {
		for c, x := range p {
			if x != nil {
				keys = append(keys, colKey{page, c})
			}
		}
	}
	slices.SortFunc(keys, colKey.compare)
	return keys
}

// deviceDown: what was under way to a member may or may not be there.
func (j *journal) deviceDown(e *Engine, d *device) {
	for _, m := range j.all() {
		if m.d == d && m.synced {
			m.synced, m.queue, m.lostAt = false, nil, e.ticks
		}
	}
	if j.joining != nil && j.joining.d == d {
		e.stopJoining()
	}
}

// deviceUp fills a member that was away.
func (j *journal) deviceUp(e *Engine, d *device) {
	for _, m := range j.all() { // one that is joining, too, if its record is under way
		if m.d == d && !m.synced {
			e.fill(m)
		}
	}
}

// fill queues everything for a member: what counts, what is gone but not everywhere, the seal, what is under
// way.
func (e *Engine) fill(m *member) {
	j := &e.jour
	m.synced, m.queue, m.trimmed = true, nil, 0
	m.wipe = !m.sealed
	for _, k := range j.keys() {
		m.queue = append(m.queue, &update{key: k, entry: *j.pages[k.page][k.c], durable: true})
	}
	gone := make([]colKey, 0, len(j.gone))
	for k := range j.gone {
		gone = append(gone, k)
	}
	slices.SortFunc(gone, colKey.compare)
	for _, k := range gone {
		m.queue = append(m.queue, j.gone[k])
	}
	if !m.sealed {
		m.queue = append(m.queue, e.sealUpdate())
	}
	for _, k := range j.pendingKeys() {
		m.queue = append(m.queue, j.pending[k])
	}
}

// trim has the members forget entries that are gone and that all of them know to be gone.
func (e *Engine) trim() {
	j := &e.jour
	if j.joining != nil {
		return
	}
	if len(j.gone) > 0 {
		limit := e.seq(j.seq)
		for _, u := range j.gone {
			for _, m := range j.members {
				if !slices.Contains(u.acked, m) {
					limit = min(limit, u.entry.Seq-1)
				}
			}
		}
		for k, u := range j.gone {
			if u.entry.Seq <= limit {
				delete(j.gone, k)
				j.limit = max(j.limit, u.entry.Seq)
			}
		}
	}
	for _, m := range j.members {
		if m.trimming || !m.synced || !m.sealed || m.trimmed >= j.limit || !m.d.usable() {
			continue
		}
		m.trimming = true
		r := e.request(chunk.OpJournalTrim, m.d, control(func(d *device, r *chunk.Request) {
			m.trimming = false
			if !e.lost(d, r) {
				m.trimmed = max(m.trimmed, r.W)
			}
		}))
		r.W = j.limit
		e.send(r)
	}
}

// clean reports that nothing that is gone is left anywhere.
func (j *journal) clean() bool {
	for _, m := range j.members {
		if m.trimmed < j.limit || len(m.queue) > 0 || m.busy {
			return false
		}
	}
	return len(j.gone) == 0
}

// cover makes a journal entry for a column that a batch could not write where it belongs: an alternate takes
// its writes from now on, or, when there is none and enough other columns are left, the column is stale.
func (e *Engine) cover(b *batch, c int) {
	key := colKey{b.page, c}
	b.cols[c].full = false
	if e.jour.pending[key] != nil || len(e.jour.members) == 0 {
		return // wake() comes back here
	}
	x := chunk.JournalEntry{Page: b.page, Column: uint8(c)}
	if old := e.entry(b.page, c); old != nil {
		x = *old
		x.Places = slices.Clone(old.Places)
	}
	at, ok := e.drawAlternate(b.page, c)
	// what is completed there would be stable before it is complete
	ok = ok && (!b.given || !e.settledSince(at, b.w) || e.cfg.Mutant.Is(mutant.SettledCovers))
	switch {
	case ok && len(x.Places) < chunk.MaxAlternates:
		x.Places = append(x.Places, at)
	case e.others(b.page, c) < e.n && !e.cfg.Mutant.Is(mutant.StaleUnbounded):
		return // it is needed as it is: the write waits for its device
	case ok: // too many places: begin anew
		x.Stale, x.Places = true, append(x.Places[:based(&x)], at)
	default:
		x.Stale, x.Places = true, x.Places[:based(&x)]
	}
	e.putEntry(x, nil)
}

// others counts the columns of a page beside c that can be relied upon, come what may: neither stale nor
// about to be, nor in question, and every place of theirs is there. One that is away may never come back, and
// then what c has had until now is needed.
func (e *Engine) others(page uint64, c int) (n int) {
	for o := range e.n + e.p {
		u := e.jour.pending[colKey{page, o}]
		if o != c && !e.stale(page, o) && (u == nil || !u.entry.Stale) && e.present(page, o) {
			n++
		}
	}
	return n
}

// present reports that all places of a column of a page are there, and that nothing they have is in question,
// nor will be when there is another owner: their devices took part in the open of this epoch, or hold nothing
// of the page that an open might decide.
func (e *Engine) present(page uint64, c int) bool {
	for _, at := range e.chain(page, c).places {
		d := e.devices[at.Device]
		if !d.usable() && !e.cfg.Mutant.Is(mutant.AbsentCounted) {
			return false
		}
		if d.settled != e.cfg.Owner.Epoch && e.pageUnsettled(at, page, c) {
			return false
		}
	}
	return true
}

// drawAlternate names an alternate for a column of a page.
func (e *Engine) drawAlternate(page uint64, c int) (chunk.Place, bool) {
	g := e.group(page)
	t := e.tableOf(g)
	var used []cluster.DeviceID
	for o := range e.n + e.p {
		if x := e.entry(page, o); x != nil {
			for _, at := range x.Places {
				used = append(used, at.Device)
			}
		}
		if u := e.jour.pending[colKey{page, o}]; u != nil {
			for _, at := range u.entry.Places {
				used = append(used, at.Device)
			}
		}
	}
	id, ok := t.Alternate(g, c, used, func(id cluster.DeviceID) bool {
		d := e.devices[id]
		return d != nil && d.usable() && int32(d.credit.granted-d.credit.sent) > 0
	})
	round := uint16(e.round)
	if e.cfg.Mutant.Is(mutant.ResidencyReused) {
		round = 0
	}
	return chunk.Place{Device: id, Residency: chunk.Alternate(t.Number(), e.cfg.Owner.Epoch, round)}, ok
}
