package engine

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
)

// The members of a journal are devices in different failure domains: 2p + 1 and at least 3, or as many as
// there are domains. The owner record names them. Any p of them may be lost at once, with the owner, so an
// entry counts when quorum members have it, and a later owner needs any readable of them:
//
//	members   p = 1: 2  3     p = 2: 3  4  5     p = 3: 4  5  6  7
//	quorum           2  2            3  3  3            4  4  4  4
//	readable         1  2            1  2  3            1  2  3  4
//
// A member that stays away is replaced by a device of a free domain; where there is none the list gets
// shorter, and longer again when there is one. Every new list is recorded by compare-and-swap, and only once
// a quorum of the new members has every entry that counts; from then until it is stored, new entries need a
// quorum of both lists. So the members that a record names meet every quorum that counted before, and what
// a device keeps that is named no more is void. The owner knows all entries: it may change the list even when
// too few of the old members are left to be read.

// member is a device that keeps the journal.
type member struct {
	d        *device
	wipe     bool      // forgets first what it has: it is not of this journal, or of an earlier seal
	sealed   bool      // has the seal of this epoch: its acknowledgements count
	queue    []*update // to be written there, in order
	busy     bool      // a put is under way
	synced   bool      // has, or gets before anything else, all entries
	lostAt   uint64    // tick at which it was lost
	trimming bool
	trimmed  cluster.Seq // forgot what is gone up to here
}

// replaceTicks is how long a member may be away before the list changes, while a quorum is there. Without a
// quorum it changes as soon as an entry waits for that.
const replaceTicks = 100

// memberCount is how many members a volume wants: enough to lose p of them, and a majority of three.
func (e *Engine) memberCount() int {
	if e.p == 0 {
		return 1
	}
	return max(3, 2*e.p+1)
}

// quorum is how many of m members make an entry count: more than the p that may be lost, and a majority.
func quorum(p, m int) int { return max(min(p, m-1)+1, m/2+1) }

// readable is how many of m members meet every quorum.
func readable(p, m int) int { return m - quorum(p, m) + 1 }

// quorate reports whether an entry counts in a list of members.
func (e *Engine) quorate(u *update, members []*member) bool {
	have := 0
	for _, m := range members {
		if m.sealed && slices.Contains(u.acked, m) {
			have++
		}
	}
	need := quorum(e.p, len(members))
	if e.cfg.Mutant.Is(mutant.EntryOfOne) {
		need = 1
	}
	return have >= need
}

// current reports that a member counts and has every entry that does.
func (m *member) current() bool { return m.synced && m.sealed && len(m.queue) == 0 && !m.busy }

// tooFewMembers reports that so many members are away that no entry can count.
func (e *Engine) tooFewMembers() bool {
	there := 0
	for _, m := range e.jour.members {
		if m.synced {
			there++
		}
	}
	return there < quorum(e.p, len(e.jour.members))
}

// tickJournal forgets what is gone everywhere, and keeps the list of members as it should be.
func (e *Engine) tickJournal() {
	e.trim()
	j := &e.jour
	if j.joining != nil || j.next != nil || e.rec.pending != nil {
		return
	}
	short := e.tooFewMembers()
	missed := false
	for _, m := range j.members {
		if m.synced || !short && e.ticks < m.lostAt+replaceTicks || m.d.state == devAdmit {
			continue
		}
		missed = true
		if e.join(m) {
			return
		}
	}
	switch {
	case missed && (!short || len(j.pending) > 0):
		e.shrink()
	case len(j.members) < e.memberCount():
		e.join(nil)
	}
}

// join begins to fill a device that becomes a member, in the place of another one or beside all.
func (e *Engine) join(leaving *member) bool {
	d := e.newMember(leaving)
	if d == nil {
		return false
	}
	j := &e.jour
	j.leaving, j.joining = leaving, &member{d: d}
	e.fill(j.joining)
	e.joined(j.joining)
	return true
}

// joined asks for the record that makes the joining device a member, once it has everything.
func (e *Engine) joined(m *member) {
	j := &e.jour
	if m != j.joining || len(m.queue) > 0 || m.busy || m.wipe || j.next != nil {
		return
	}
	next := slices.Clone(j.members)
	if i := slices.Index(next, j.leaving); i >= 0 {
		next[i] = m
	} else {
		next = append(next, m)
	}
	e.propose(next)
}

// shrink asks for the record that names only the members that are there, if that helps: an entry that waits
// counts then, or more of those that are left may be lost. It comes back here when one of them lags.
func (e *Engine) shrink() {
	j := &e.jour
	var left []*member
	for _, m := range j.members {
		switch {
		case m.current():
			left = append(left, m)
		case m.synced:
			return
		}
	}
	m, n := len(j.members), len(left)
	if n == 0 || n == m || n >= quorum(e.p, m) && readable(e.p, n) >= readable(e.p, m) {
		return
	}
	e.propose(left)
}

// propose makes a list of members the next one.
func (e *Engine) propose(next []*member) {
	e.jour.next = next
	e.wantRecord()
}

// stopJoining gives a joining device up. Entries that waited for it alone count now.
func (e *Engine) stopJoining() {
	j := &e.jour
	if j.next != nil && e.rec.pending != nil {
		return // it may be recorded any moment: then it is a member that is away
	}
	j.former = append(j.former, j.joining)
	j.joining, j.leaving, j.next = nil, nil, nil
	e.settleUpdates()
}

// wants adds the journal's part to a change of the owner record.
func (j *journal) wants(next *cluster.Owner) bool {
	members := j.next
	if members == nil {
		members = j.members
	}
	if !j.fresh && j.next == nil {
		return false
	}
	next.Journal = cluster.Journal{Version: next.Journal.Version + 1, Members: idsOf(members)}
	return true
}

func idsOf(members []*member) (ids []cluster.DeviceID) {
	for _, m := range members {
		ids = append(ids, m.d.id)
	}
	return ids
}

// recorded is called after every stored change of the owner record.
func (j *journal) recorded(e *Engine) {
	j.fresh = false
	if j.next == nil || !slices.Equal(e.rec.have.Journal.Members, idsOf(j.next)) {
		return
	}
	for _, m := range j.members {
		if !slices.Contains(j.next, m) {
			j.former = append(j.former, m)
		}
	}
	j.members = j.next
	j.joining, j.leaving, j.next = nil, nil, nil
	e.settleUpdates()
}

// lingering reports that a device was a member, and may still carry out what it was sent then: that must not
// come after what it is sent when it is one again.
func (j *journal) lingering(d *device) bool {
	j.former = slices.DeleteFunc(j.former, func(m *member) bool { return !m.busy && !m.trimming })
	return slices.ContainsFunc(j.former, func(m *member) bool { return m.d == d })
}

// newMember finds a device for the journal, perhaps in the place of a member: up, not a member, in a domain
// of its own. A pool that may put several columns of a page into one domain may do so with members.
func (e *Engine) newMember(leaving *member) *device {
	var spare *device
	t := e.layout[0].table
	var others, all []cluster.DeviceID
	for _, m := range e.jour.all() {
		all = append(all, m.d.id)
		if m != leaving {
			others = append(others, m.d.id)
		}
	}
	for _, d := range e.order {
		if !d.usable() || slices.Contains(all, d.id) {
			continue
		}
		if e.jour.lingering(d) && !e.cfg.Mutant.Is(mutant.MemberLingers) {
			continue
		}
		if t.Apart(d.id, others) {
			return d
		}
		if spare == nil && t.PerDomain() > 1 {
			spare = d
		}
	}
	return spare
}

// chooseMembers names the first members of a volume's journal.
func (e *Engine) chooseMembers() {
	j := &e.jour
	for range e.memberCount() {
		d := e.newMember(nil)
		if d == nil {
			break
		}
		m := &member{d: d}
		e.fill(m)
		j.members = append(j.members, m)
	}
	j.fresh = true
	e.wantRecord()
}
