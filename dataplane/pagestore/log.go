package pagestore

import (
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// The life of a change, in the order of the functions below:
//
//  1. push: it waits. The data of a write is already on its way to blocks that nothing refers to.
//  2. commit: with everything else that waits it becomes a group: records in consecutive log blocks, written
//     in parallel with the data.
//  3. advance: all data and log blocks of the group, and of all groups before it, are written. If the device
//     has a volatile cache, one flush follows.
//  4. settleGroup: the group is durable. Its records are applied to the map, in log order, which makes the
//     versions visible and space free; the requests are reported.
//
// The rules that crash tests prove (reference: ordering rules of the crash model):
//
//   - Nothing is reported, shown to readers or freed before all data and all log blocks up to and including
//     its own are durable. So recovery may stop at the first missing log block.
//   - A data block is allocated again only after the record that freed it is durable: frees happen in step 4.
//   - Every log block says which sequence was durable when it was made. A missing log block that a later one
//     calls durable is damage; one in flight at the crash is not. Data of groups not called durable is
//     verified at recovery.
//   - A log block is written only into space that a durable superblock, on both copies, has given up.
//   - Log blocks carry the incarnation of their mount; a mount makes a checkpoint and a superblock with a new
//     incarnation durable before anything is written. So remains of another life are never taken for records.

// maxGroupBlocks is the largest number of log blocks of a group.
const maxGroupBlocks = 16

// request is a change on its way.
type request struct {
	next  *request
	recs  []pagemap.Record // map records, in order
	metas []metaEntry      // or metadata records
	room  room             // reserved by admit
	data  int              // data operations in flight
	ioErr error            // of one of them
	gone  bool             // abandoned: report when data is 0
	group *group           // nil while it waits
	w     *Write           // whom to report to
	done  func(error)      // if w is nil
}

func (r *request) report(b *box, err error) {
	b.calls = append(b.calls, call{w: r.w, done: r.done, err: err})
}

// group is a set of requests whose records share consecutive log blocks.
type group struct {
	s       *Store
	next    *group
	first   uint64 // sequence of the first log block
	blocks  uint64
	used    int // payload bytes of the last block
	records uint64
	waiting int // log operations and requests with data in flight
	reqs    *request
	lastReq *request
	marks   []pagemap.Record // stable marks, after the requests
	buf     []byte
	ops     [2]blockdev.Op // two when the ring wraps
	onLog   func(*blockdev.Op, error)
}

// groupCommit is the log and what is on its way there. Guarded by Store.mu.
type groupCommit struct {
	s       *Store
	tail    uint64 // first log block that recovery needs, per the durable superblock
	next    uint64 // sequence of the next log block
	durable uint64 // all log blocks up to here, and their data, are durable and applied

	waiting, lastWaiting *request // pushed, not in a group
	marks                []pagemap.Record
	markOf               map[markKey]int // index in marks

	groups, lastGroup *group // on their way, oldest first
	nGroups, maxGroup int
	spare             *group // reusable, linked by next
	dataOut           int    // requests with data in flight
	flush             blockdev.Op
	flushing          int // groups covered by the flush in flight
}

type markKey struct {
	vol   cluster.VolumeKey
	epoch uint32
}

func (l *groupCommit) init(s *Store, maxGroup int) {
	l.s, l.maxGroup, l.markOf = s, maxGroup, map[markKey]int{}
	l.flush = blockdev.Op{Kind: blockdev.Flush, Done: func(_ *blockdev.Op, err error) {
		s.locked(func(b *box) { l.flushed(b, err) })
	}}
}

func (l *groupCommit) busy() bool {
	return l.groups != nil || l.waiting != nil || l.flushing > 0 || l.dataOut > 0
}

// push lets a request wait for the next group.
func (l *groupCommit) push(r *request) {
	if l.lastWaiting == nil {
		l.waiting = r
	} else {
		l.lastWaiting.next = r
	}
	l.lastWaiting = r
}

func (l *groupCommit) pop() *request {
	r := l.waiting
	l.waiting = r.next
	if l.waiting == nil {
		l.lastWaiting = nil
	}
	r.next = nil
	return r
}

// noteMark remembers a stable mark for the next group, if it is news.
func (s *Store) noteMark(vol cluster.VolumeKey, mark pagemap.Mark) {
	if !s.mu.m.MarkIsNews(vol, mark) {
		return
	}
	l := &s.mu.log
	key := markKey{vol, mark.W.Epoch()}
	if i, ok := l.markOf[key]; ok {
		rec := &l.marks[i]
		all := pagemap.Mark{W: rec.W, Holes: rec.Holes}.Merge(mark)
		s.mu.inFlight.marks += 8 * (len(all.Holes) - len(rec.Holes))
		rec.W, rec.Holes = all.W, all.Holes
		return
	}
	rec := pagemap.Record{Kind: pagemap.Stable, Extent: pagemap.Extent{Vol: vol}, W: mark.W,
		Holes: slices.Clone(mark.Holes)}
	if s.aux()+uint64(recordSize(&rec)) > s.lay.auxBytes() {
		return // space comes back later than it could
	}
	s.mu.inFlight.marks += recordSize(&rec)
	l.markOf[key] = len(l.marks)
	l.marks = append(l.marks, rec)
}

// commit makes groups of what waits, as far as the log has room.
func (s *Store) commit(b *box) {
	l := &s.mu.log
	for s.mu.failed == nil && l.nGroups < l.maxGroup && (l.waiting != nil || len(l.marks) > 0) {
		room := min(l.tail+s.lay.logBlocks-l.next, maxGroupBlocks)
		if room == 0 || s.mu.ckpt.behind() {
			return
		}
		g := l.newGroup()
		for l.waiting != nil && l.take(g, room, b) {
		}
		l.takeMarks(g, room)
		if g.blocks == 0 {
			l.recycle(g)
			if l.waiting != nil {
				return // the next request needs more room than is left
			}
			continue
		}
		l.write(g, b)
	}
}

func (l *groupCommit) newGroup() *group {
	g := l.spare
	if g == nil {
		g = &group{s: l.s, buf: make([]byte, maxGroupBlocks*BlockSize)}
		g.onLog = func(_ *blockdev.Op, err error) { g.s.locked(func(b *box) { g.logWritten(b, err) }) }
	} else {
		l.spare = g.next
	}
	g.next = nil
	g.first, g.blocks, g.used, g.records, g.waiting = l.next, 0, 0, 0, 0
	return g
}

func (l *groupCommit) recycle(g *group) {
	g.reqs, g.lastReq, g.next, g.marks = nil, nil, l.spare, g.marks[:0]
	l.spare = g
}

// take moves the first waiting request into the group; false when it does not fit.
func (l *groupCommit) take(g *group, room uint64, b *box) bool {
	r := l.waiting
	if r.data == 0 && r.ioErr != nil {
		// Its data failed before anything was logged: it never happened.
		l.pop()
		l.s.forget(r)
		r.report(b, r.ioErr)
		return true
	}
	if !g.fits(r, room) {
		return false
	}
	l.pop()
	for i := range r.recs {
		encodeRecord(g.add(recordSize(&r.recs[i])), &r.recs[i])
	}
	for i := range r.metas {
		encodeMeta(g.add(r.metas[i].size()), &r.metas[i])
	}
	r.group = g
	if r.data > 0 {
		g.waiting++
	}
	if g.lastReq == nil {
		g.reqs = r
	} else {
		g.lastReq.next = r
	}
	g.lastReq = r
	return true
}

// takeMarks moves stable marks into the group, as many as fit; the others wait.
func (l *groupCommit) takeMarks(g *group, room uint64) {
	n := 0
	for ; n < len(l.marks); n++ {
		size := recordSize(&l.marks[n])
		if g.blocks >= room && (g.blocks == 0 || g.used+size > payloadSize) {
			break
		}
		encodeRecord(g.add(size), &l.marks[n])
	}
	g.marks = append(g.marks, l.marks[:n]...)
	l.marks = l.marks[:copy(l.marks, l.marks[n:])]
	clear(l.markOf)
	for i := range l.marks {
		l.markOf[markKey{l.marks[i].Vol, l.marks[i].W.Epoch()}] = i
	}
}

// fits tells whether all records of a request fit into room log blocks with what the group holds.
func (g *group) fits(r *request, room uint64) bool {
	blocks, used := g.blocks, g.used
	add := func(n int) {
		if blocks == 0 || used+n > payloadSize {
			blocks, used = blocks+1, 0
		}
		used += n
	}
	for i := range r.recs {
		add(recordSize(&r.recs[i]))
	}
	for i := range r.metas {
		add(r.metas[i].size())
	}
	return blocks <= room
}

// add makes room for a record of n bytes.
func (g *group) add(n int) []byte {
	if g.blocks == 0 || g.used+n > payloadSize {
		g.sealLast()
		g.blocks++
		g.used = 0
		clear(g.last())
	}
	p := g.last()[headerSize+g.used:][:n]
	g.used += n
	g.records++
	return p
}

func (g *group) last() []byte { return g.buf[(g.blocks-1)*BlockSize:][:BlockSize] }

// sealLast writes the header of the last block.
func (g *group) sealLast() {
	if g.blocks == 0 {
		return
	}
	h := header{kind: logBlock, used: uint16(g.used), id: g.s.id, incarnation: g.s.incarnation,
		seq: g.first + g.blocks - 1, aux: g.s.mu.log.durable}
	h.seal(g.last())
}

// write sends a group to the log, around the end of the ring if need be.
func (l *groupCommit) write(g *group, b *box) {
	g.sealLast()
	l.next += g.blocks
	ring := l.s.lay.logBlocks
	head := min(g.blocks, ring-g.first%ring)
	g.ops[0] = blockdev.Op{Kind: blockdev.Write, Off: l.s.lay.logOffset(g.first), Buf: g.buf[:head*BlockSize],
		Done: g.onLog}
	b.ops = append(b.ops, &g.ops[0])
	g.waiting++
	if head < g.blocks {
		g.ops[1] = blockdev.Op{Kind: blockdev.Write, Off: l.s.lay.logOffset(g.first + head),
			Buf: g.buf[head*BlockSize : g.blocks*BlockSize], Done: g.onLog}
		b.ops = append(b.ops, &g.ops[1])
		g.waiting++
	}
	if l.lastGroup == nil {
		l.groups = g
	} else {
		l.lastGroup.next = g
	}
	l.lastGroup = g
	l.nGroups++
	t := &l.s.mu.traffic
	t.LogBytes += g.blocks * BlockSize
	t.Commits++
	t.Records += g.records
}

// logWritten notes that a log operation ended.
func (g *group) logWritten(b *box, err error) {
	g.waiting--
	if err != nil {
		g.s.fail(b, fmt.Errorf("log write: %w", err))
	}
	g.s.mu.log.advance(b)
}

// dataWritten notes that a data operation ended.
func (s *Store) dataWritten(b *box, r *request, err error) {
	r.data--
	if err != nil && r.ioErr == nil {
		r.ioErr = fmt.Errorf("%w: %w", ErrIO, err)
	}
	if r.data > 0 {
		return
	}
	s.mu.log.dataOut--
	if r.gone {
		r.report(b, s.mu.failed)
	} else if r.group != nil {
		r.group.waiting--
		s.mu.log.advance(b)
	}
}

// advance finds the oldest groups that are written, and flushes or ends them.
func (l *groupCommit) advance(b *box) {
	if l.s.mu.failed != nil {
		l.discard()
		return
	}
	if l.flushing > 0 {
		return
	}
	n := 0
	for g := l.groups; g != nil && g.waiting == 0; g = g.next {
		n++
	}
	switch {
	case n == 0:
	case l.s.volatile:
		l.flushing = n
		l.s.mu.traffic.Flushes++
		b.ops = append(b.ops, &l.flush)
	default:
		l.settleGroups(n, b)
	}
}

// flushed ends the groups that a flush covered. A failed flush may have lost any of them.
func (l *groupCommit) flushed(b *box, err error) {
	n := l.flushing
	l.flushing = 0
	if err != nil {
		l.s.fail(b, fmt.Errorf("flush: %w", err))
	}
	if l.s.mu.failed == nil {
		l.settleGroups(n, b)
	}
	l.advance(b)
}

// settleGroups applies and reports the n oldest groups, which are durable.
func (l *groupCommit) settleGroups(n int, b *box) {
	for range n {
		g := l.popGroup()
		l.durable = g.first + g.blocks - 1
		for r := g.reqs; r != nil; {
			next := r.next
			r.next, r.group = nil, nil
			l.s.apply(r)
			r.report(b, r.ioErr)
			r = next
		}
		for i := range g.marks {
			l.s.mu.m.Apply(&g.marks[i])
			l.s.mu.inFlight.marks -= recordSize(&g.marks[i])
		}
		l.recycle(g)
	}
	l.s.purge()
}

func (l *groupCommit) popGroup() *group {
	g := l.groups
	l.groups = g.next
	if l.groups == nil {
		l.lastGroup = nil
	}
	l.nGroups--
	return g
}

// apply carries out a durable request.
func (s *Store) apply(r *request) {
	s.leave(r)
	for _, e := range r.metas {
		s.mu.meta.put(e)
	}
	for i := range r.recs {
		rec := &r.recs[i]
		if rec.Residency != 0 && s.mu.m.Superseded(rec.Extent) {
			r.ioErr = ErrNotMine // by a record that was on its way when this one was admitted
		}
		s.mu.m.Apply(rec)
		if r.ioErr == nil || rec.Kind != pagemap.Put || rec.Tombstone {
			continue
		}
		for j := range rec.N { // the record is durable, its data is not: "w, bad"
			s.mu.m.MarkBad(rec.Extent, rec.First+j, rec.W, rec.Loc+uint64(j))
		}
	}
}

// forget gives back what a request that was never logged holds.
func (s *Store) forget(r *request) {
	s.leave(r)
	for i := range r.recs {
		if rec := &r.recs[i]; rec.Kind == pagemap.Put && !rec.Tombstone {
			s.mu.m.Release(pagemap.Run{Loc: rec.Loc, N: rec.N})
		}
	}
}

// abandon reports everything on its way as failed: whether it is on the device is unknown. Blocks that the
// device may still write to stay pending.
func (l *groupCommit) abandon(b *box) {
	drop := func(r *request) {
		for r != nil {
			next := r.next
			r.next, r.group, r.gone = nil, nil, true
			if r.data == 0 {
				r.report(b, l.s.mu.failed)
			}
			r = next
		}
	}
	for g := l.groups; g != nil; g = g.next {
		for r := g.reqs; r != nil; r = r.next {
			if r.data > 0 {
				g.waiting-- // only its log operations keep the group
			}
		}
		drop(g.reqs)
		g.reqs, g.lastReq = nil, nil
	}
	drop(l.waiting)
	l.waiting, l.lastWaiting, l.marks = nil, nil, nil
	clear(l.markOf)
	l.discard()
}

// discard forgets groups of a failed store whose log operations have ended.
func (l *groupCommit) discard() {
	for l.groups != nil && l.groups.waiting == 0 && l.flushing == 0 {
		l.recycle(l.popGroup())
	}
}
