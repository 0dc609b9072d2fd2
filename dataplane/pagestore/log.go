package pagestore

import (
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// The life of a change, in the order of the functions below:
//
//  1. push: it waits. The data of a write is already on its way to blocks that nothing refers to.
//  2. commit: with everything else that waits it becomes a group: the records of one log block, which is as
//     long as they need, written in parallel with the data.
//  3. advance: the data and the log block of the group, and of all groups before it, are written. If the
//     device has a volatile cache, one flush follows.
//  4. settleGroup: the group is durable. Its records are applied to the map, in log order, which makes the
//     versions visible and space free; the requests are reported.
//
// The rules that crash tests prove (package mutant names each, docs/formats.md says how soon its loss shows):
//
//   - Nothing is reported, shown to readers or freed before all data and all log blocks up to and including
//     its own are durable. So recovery may stop at the first log block that is missing.
//   - A data block is allocated again only after the record that freed it is durable: frees happen in step 4.
//   - Every log block says up to where the log was durable when it was made. A missing log block that a later
//     one calls durable is damage; one in flight at the crash is not. Data of groups not called durable is
//     verified at recovery.
//   - A log block is written only into space that a durable superblock, on both copies, has given up.
//   - Log blocks carry the incarnation of their mount; a mount makes a checkpoint and a superblock with a new
//     incarnation durable before anything is written. So remains of another life are never taken for records.

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

// group is a set of requests whose records share a log block.
type group struct {
	s       *Store
	next    *group
	first   uint64 // position of the block
	end     uint64 // position behind it
	records uint64
	waiting int // log operations and requests with data in flight
	reqs    *request
	lastReq *request
	marks   []pagemap.Record // stable marks, after the requests
	prior   prior
	buf     []byte // the block: room for the header, then records
	ops     [2]blockdev.Op
	onLog   func(*blockdev.Op, error)
}

// groupCommit is the log and what is on its way there. Guarded by Store.mu.
type groupCommit struct {
	s       *Store
	ring    ring
	tail    uint64 // position that recovery begins with, per the durable superblock
	next    uint64 // position of the next log block
	durable uint64 // all log blocks before this position, and their data, are durable and applied
	records uint64 // since the last checkpoint began

	waiting, lastWaiting *request // pushed, not in a group
	nWaiting, lastSize   int      // how many; requests of the group before
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
	l.s, l.maxGroup, l.markOf, l.ring = s, maxGroup, map[markKey]int{}, s.lay.log()
	l.flush = blockdev.Op{Kind: blockdev.Flush, Done: func(_ *blockdev.Op, err error) {
		s.locked(func(b *box) { l.flushed(b, err) })
	}}
}

// used is how many bytes of the log no durable checkpoint contains.
func (l *groupCommit) used() uint64 { return (l.next - l.tail) * uint64(l.ring.unit) }

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
	l.nWaiting++
}

func (l *groupCommit) pop() *request {
	r := l.waiting
	l.waiting = r.next
	if l.waiting == nil {
		l.lastWaiting = nil
	}
	r.next = nil
	l.nWaiting--
	return r
}

// A device whose logical block is large writes much for a small group. While it is busy, a group begins when
// the data of its first request is written, or when it fills a logical block: until then others join. On an
// idle device a group never waits.
const (
	busyGroup = 4   // requests of the group before: more are coming
	fullGroup = 128 // requests whose records fill 4 KiB
)

// early tells whether a group is better begun later.
func (l *groupCommit) early() bool {
	return l.ring.unit == BlockSize && l.lastSize >= busyGroup && l.nWaiting < fullGroup && l.waiting != nil &&
		l.waiting.data > 0
}

// noteMark remembers a stable mark for the next group, if it is news.
func (s *Store) noteMark(vol cluster.VolumeKey, mark pagemap.Mark) {
	if !s.mu.m.MarkIsNews(vol, mark) {
		return
	}
	l := &s.mu.log
	key := markKey{vol, mark.W.Epoch()}
	i, ok := len(l.marks)-1, true // most often it is the last one's volume again
	if i < 0 || l.marks[i].Vol != vol || l.marks[i].W.Epoch() != key.epoch {
		i, ok = l.markOf[key]
	}
	if ok {
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
		room := int(min(uint64(l.s.lay.maxGroup()), (l.tail+l.ring.units-l.next)*uint64(l.ring.unit)))
		if room == 0 || s.mu.ckpt.behind() || l.early() {
			return
		}
		g, n := l.newGroup(), l.nWaiting
		for l.waiting != nil && l.take(g, room, b) {
		}
		l.lastSize = n - l.nWaiting
		l.takeMarks(g, room)
		if g.records == 0 {
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
		g = &group{s: l.s, buf: make([]byte, l.s.lay.maxGroup())}
		g.onLog = func(_ *blockdev.Op, err error) { g.s.locked(func(b *box) { g.logWritten(b, err) }) }
	} else {
		l.spare = g.next
	}
	g.next, g.first, g.records, g.waiting, g.prior, g.buf = nil, l.next, 0, 0, prior{}, g.buf[:headerSize]
	return g
}

func (l *groupCommit) recycle(g *group) {
	g.reqs, g.lastReq, g.next, g.marks = nil, nil, l.spare, g.marks[:0]
	l.spare = g
}

// take moves the first waiting request into the group; false when it does not fit.
func (l *groupCommit) take(g *group, room int, b *box) bool {
	r := l.waiting
	if r.data == 0 && r.ioErr != nil {
		// Its data failed before anything was logged: it never happened.
		l.pop()
		l.s.forget(r)
		r.report(b, r.ioErr)
		return true
	}
	if len(g.buf)+r.size() > room {
		return false
	}
	l.pop()
	for i := range r.recs {
		g.buf = g.prior.record(g.buf, &r.recs[i])
	}
	for i := range r.metas {
		g.buf = appendMeta(g.buf, &r.metas[i])
	}
	g.records += uint64(len(r.recs) + len(r.metas))
	switch {
	case r.data == 0:
	case l.s.mutant.Is(mutant.AckBeforeData):
	default:
		r.group = g
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

// size bounds the encoded records of a request.
func (r *request) size() (n int) {
	for i := range r.recs {
		n += recordSize(&r.recs[i])
	}
	for i := range r.metas {
		n += r.metas[i].size()
	}
	return n
}

// takeMarks moves stable marks into the group, as many as fit; the others wait.
func (l *groupCommit) takeMarks(g *group, room int) {
	n := 0
	for ; n < len(l.marks) && len(g.buf)+recordSize(&l.marks[n]) <= room; n++ {
		g.buf = g.prior.record(g.buf, &l.marks[n])
	}
	g.records += uint64(n)
	g.marks = append(g.marks, l.marks[:n]...)
	l.marks = l.marks[:copy(l.marks, l.marks[n:])]
	clear(l.markOf)
	for i := range l.marks {
		l.markOf[markKey{l.marks[i].Vol, l.marks[i].W.Epoch()}] = i
	}
}

// write seals the block of a group and sends it to the log, around the end of the ring if need be.
func (l *groupCommit) write(g *group, b *box) {
	used := len(g.buf) - headerSize
	g.buf = g.buf[:blockSize(used, l.ring.unit)]
	clear(g.buf[headerSize+used:])
	h := header{kind: logBlock, used: used, id: g.s.id, incarnation: g.s.incarnation, seq: g.first,
		aux: l.durable}
	h.seal(g.buf)
	g.end = g.first + l.ring.count(len(g.buf))
	l.next = g.end
	head, tail := l.ring.cut(g.first, g.buf)
	g.ops[0] = l.ring.op(blockdev.Write, g.first, head, g.onLog)
	b.ops = append(b.ops, &g.ops[0])
	g.waiting++
	if len(tail) > 0 {
		g.ops[1] = l.ring.op(blockdev.Write, g.first+l.ring.count(len(head)), tail, g.onLog)
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
	t.LogBytes += uint64(len(g.buf))
	t.Commits++
	t.Records += g.records
	l.records += g.records
	if l.s.mutant.Is(mutant.ApplyEarly) {
		for r := g.reqs; r != nil; r = r.next {
			l.s.apply(r)
		}
	}
}

// overtake reports groups that are written although older ones are not. Only a planted bug does that.
func (l *groupCommit) overtake(b *box) {
	for g := l.groups; g != nil; g = g.next {
		for r := g.reqs; r != nil && g.waiting == 0; r = r.next {
			r.report(b, nil)
			r.w, r.done = nil, nil
		}
	}
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
	if l.s.mutant.Is(mutant.AckOutOfOrder) {
		l.overtake(b)
	}
	switch {
	case n == 0:
	case l.s.volatile && !l.s.mutant.Is(mutant.FlushSkipped):
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
		l.durable = g.end
		for r := g.reqs; r != nil; {
			next := r.next
			r.next, r.group = nil, nil
			if !l.s.mutant.Is(mutant.ApplyEarly) {
				l.s.apply(r)
			}
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
		if !s.mu.m.Apply(rec) {
			r.ioErr = ErrNotMine // by a record that was on its way when this one was admitted
		}
		if r.ioErr == nil || rec.Kind != pagemap.Put || rec.Tombstone {
			continue
		}
		for j := range rec.N { // the record is durable, its data is not: "w, torn"
			s.mu.m.MarkTorn(rec.Extent, rec.First+j, rec.W, rec.Loc+uint64(j))
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
	l.waiting, l.lastWaiting, l.marks, l.nWaiting = nil, nil, nil, 0
	clear(l.markOf)
	l.discard()
}

// discard forgets groups of a failed store whose log operations have ended.
func (l *groupCommit) discard() {
	for l.groups != nil && l.groups.waiting == 0 && l.flushing == 0 {
		l.recycle(l.popGroup())
	}
}
