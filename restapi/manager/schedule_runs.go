package manager

import (
	"context"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"strings"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/schedule"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Bounds of what is read at once of the schedules that are due, and of the snapshots that one transaction has
// removed: four keys are written for each of them, some for the schedule.
const (
	schedulesAtOnce = 64
	expiredAtOnce   = droppedAtOnce - 4
)

// RunSchedules has snapshots taken that are due, and removed that are not to be kept. Any number of nodes may
// call it, as often as they like: what is done is one transaction with the record that says so, for each of
// the schedules whose time it is. What fails for one of them does not keep it from the others. node is the
// one that calls: its clock counts as far as those of others allow.
func (m *Manager) RunSchedules(ctx context.Context, node cluster.NodeID) error {
	q := store.Query{Prefix: cluster.PrefixScheduleDue, Limit: schedulesAtOnce}
	some, err := m.store.Read(ctx, store.Query{Prefix: q.Prefix, Limit: 1})
	if err != nil || len(some.Results[0].Items) == 0 {
		return err
	}
	now, err := m.agreedTime(ctx, node)
	if err != nil {
		return err
	}
	var failed []error
	for more := true; more; {
		read, err := m.store.Read(ctx, q)
		if err != nil {
			return errors.Join(append(failed, err)...)
		}
		var due []cluster.UUID
		more = read.Results[0].More
		for _, it := range read.Results[0].Items {
			q.After = it.Key
			at, _, _ := strings.Cut(strings.TrimPrefix(it.Key, cluster.PrefixScheduleDue), "/")
			if at > stampOf(now) { // times of one form sort as they follow
				more = false
				break
			}
			id, err := decode[cluster.UUID](it)
			if err != nil {
				failed = append(failed, err)
				continue
			}
			due = append(due, id)
		}
		failed = append(failed, m.runAll(ctx, due, now))
	}
	return errors.Join(failed...)
}

// runAll runs schedules, in another order on every node: they share the work, rather than the conflicts.
func (m *Manager) runAll(ctx context.Context, due []cluster.UUID, now time.Time) error {
	mrand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
	var failed []error
	for _, id := range due {
		if err := m.runSchedule(ctx, id, now); err != nil {
			failed = append(failed, fmt.Errorf("schedule %s: %w", id, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

// runSchedule does what a schedule asks for now, if no other node has done it.
func (m *Manager) runSchedule(ctx context.Context, id cluster.UUID, now time.Time) error {
	fresh, err := m.newUUID(ctx)
	if err != nil {
		return err
	}
	return m.decide(ctx, func() error {
		s, err := m.readSchedule(ctx, id, "")
		if missed(err) {
			return nil
		}
		if err != nil || s.runs.Wake == "" || s.runs.Wake > stampOf(now) {
			return err
		}
		state, err := readState(&s.rec)
		if err != nil {
			return err
		}
		if s.runs.Next != "" {
			if state.Next, err = time.Parse(time.RFC3339, s.runs.Next); err != nil {
				return err
			}
		}
		made, err := m.madeBy(ctx, &s.rec)
		if err != nil {
			return err
		}
		seen := make([]schedule.Snapshot, len(made))
		for i := range made {
			if seen[i], err = made[i].seen(); err != nil {
				return err
			}
		}
		plan := schedule.Decide(state, seen, now)
		if plan.Take {
			return m.takeScheduled(ctx, s, plan, fresh, now)
		}
		return m.expireScheduled(ctx, s, plan, made, now)
	})
}

// planned is the runs of a schedule after a plan.
func planned(runs cluster.ScheduleRuns, p schedule.Plan) cluster.ScheduleRuns {
	runs.Next, runs.Wake = stampOf(p.Next), stampOf(p.Wake)
	return runs
}

// takeScheduled commits a snapshot that is due, for its owner to find; or, if the state of the cluster does
// not allow it, that this is so. It is tried again when the next one is due.
func (m *Manager) takeScheduled(ctx context.Context, s *keptSchedule, p schedule.Plan,
	id cluster.UUID, now time.Time) error {
	var txn store.Txn
	runs := planned(s.runs, p)
	err := m.addScheduled(ctx, &txn, &s.rec, id, now)
	var refused *Error
	switch {
	case errors.As(err, &refused):
		txn = store.Txn{}
		m.failed(&txn, s, &runs, refused.Error())
	case err != nil:
		return err
	default:
		runs.Last, runs.Snapshot, runs.Error = stampOf(now), id, ""
	}
	s.guard(&txn)
	s.set(&txn, runs)
	_, err = m.store.Commit(ctx, txn)
	return err
}

// guard adds to a transaction that a schedule asks for what it has been read to ask for.
func (s *keptSchedule) guard(txn *store.Txn) {
	txn.If = append(txn.If, store.Cond{Key: s.it.Key, Rev: s.it.Rev})
}

// failed notes why a snapshot that is due is not taken. The same reason is news once.
func (m *Manager) failed(txn *store.Txn, s *keptSchedule, runs *cluster.ScheduleRuns, reason string) {
	if runs.Error != reason {
		m.note(txn, wire.Warning, "schedule.failed", about("schedule", s.rec.UUID), s.rec.Project,
			"schedule %s of %s took no snapshot: %s", s.rec.Name, scheduled(&s.rec), reason)
	}
	runs.Error = reason
}

// addScheduled adds to a transaction the snapshot of a schedule, called after the time.
func (m *Manager) addScheduled(ctx context.Context, txn *store.Txn, rec *cluster.Schedule,
	id cluster.UUID, now time.Time) error {
	name := rec.Prefix + now.Format("-20060102T150405Z")
	if rec.Group.IsZero() {
		snap := cluster.Snapshot{UUID: id, Name: name, Volume: rec.Volume, State: cluster.SnapshotCreating,
			Schedule: rec.UUID, Created: stampOf(now)}
		read, err := m.store.Read(ctx, store.Key(cluster.KeySnapshot(id)), store.Key(snap.NameKey()),
			store.Key(cluster.KeyVolume(rec.Volume)))
		if err == nil {
			_, err = m.addSnapshot(ctx, txn, read, snap)
		}
		return err
	}
	snap := cluster.GroupSnapshot{UUID: id, Name: name, Group: rec.Group, Schedule: rec.UUID,
		Created: stampOf(now)}
	read, err := m.store.Read(ctx, store.Key(cluster.KeyGroupSnapshot(id)),
		store.Key(cluster.KeyGroup(rec.Group)), store.Key(cluster.KeyGroupSnapshotName(rec.Group, name)))
	if err == nil {
		_, err = m.addGroupSnapshot(ctx, txn, read, snap)
	}
	return err
}

// expireScheduled has the snapshots of a schedule removed that are not to be kept, as many as one transaction
// takes; the rest at once thereafter.
func (m *Manager) expireScheduled(ctx context.Context, s *keptSchedule, p schedule.Plan,
	made []madeSnapshot, now time.Time) error {
	var txn store.Txn
	runs := planned(s.runs, p)
	for n, i := range p.Expire {
		if n == expiredAtOnce || n > 0 && made[i].set != nil {
			runs.Wake = stampOf(now)
			break
		}
		if err := m.dropMade(&txn, &made[i]); err != nil {
			return err
		}
	}
	if p.Late {
		m.failed(&txn, s, &runs, fmt.Sprintf("snapshot %s, asked for %s, is not taken yet", runs.Snapshot,
			runs.Last))
	}
	if len(p.Held) > runs.Held {
		oldest := &made[p.Held[0]]
		m.note(&txn, wire.Warning, "schedule.held", about("schedule", s.rec.UUID), s.rec.Project,
			"schedule %s of %s: %d snapshots that should be removed are used by hosts or clones, the oldest is %s",
			s.rec.Name, scheduled(&s.rec), len(p.Held), oldest.name())
	}
	runs.Held = len(p.Held)
	s.guard(&txn)
	s.set(&txn, runs)
	_, err := m.store.Commit(ctx, txn)
	return err
}

// madeSnapshot is one that a schedule has made: a snapshot, or a group snapshot.
type madeSnapshot struct {
	it  store.Item
	rec cluster.Snapshot
	set *groupSnapshot // nil: of a single volume
}

// parts are the snapshots that it is.
func (s *madeSnapshot) parts() []cluster.Snapshot {
	if s.set != nil {
		return s.set.parts
	}
	return []cluster.Snapshot{s.rec}
}

func (s *madeSnapshot) name() string {
	if s.set != nil {
		return s.set.rec.Name
	}
	return s.rec.Name
}

// seen is what there is to decide about it.
func (s *madeSnapshot) seen() (out schedule.Snapshot, err error) {
	created := s.rec.Created
	if s.set != nil {
		created = s.set.rec.Created
	}
	for _, p := range s.parts() {
		out.Pending = out.Pending || p.State == cluster.SnapshotCreating
		out.Used = out.Used || len(p.Hosts) > 0 || p.Clones > 0 || p.State == cluster.SnapshotReverting
	}
	out.Taken, err = time.Parse(time.RFC3339, created)
	return out, err
}

// dropMade adds to a transaction that a snapshot of a schedule is to go.
func (m *Manager) dropMade(txn *store.Txn, s *madeSnapshot) (err error) {
	if s.set != nil {
		_, err = m.dropGroupSnapshot(txn, s.set)
	} else {
		_, err = m.dropSnapshot(txn, s.it, s.rec)
	}
	return err
}

// madeBy reads the snapshots that a schedule has made and that are not on their way out.
func (m *Manager) madeBy(ctx context.Context, rec *cluster.Schedule) ([]madeSnapshot, error) {
	if !rec.Group.IsZero() {
		return m.madeOfGroup(ctx, rec)
	}
	read, err := m.store.Read(ctx, store.All(cluster.PrefixSnapshotsOf(rec.Volume)))
	if err != nil {
		return nil, err
	}
	items, err := m.namedSnapshots(ctx, read.Results[0].Items)
	if err != nil {
		return nil, err
	}
	var out []madeSnapshot
	for _, it := range items {
		snap, err := decode[cluster.Snapshot](it)
		if err != nil {
			return nil, err
		}
		if snap.Schedule == rec.UUID && snap.State != cluster.SnapshotDeleting {
			out = append(out, madeSnapshot{it: it, rec: snap})
		}
	}
	return out, nil
}

func (m *Manager) madeOfGroup(ctx context.Context, rec *cluster.Schedule) ([]madeSnapshot, error) {
	read, err := m.store.Read(ctx, store.All(cluster.PrefixGroupSnapshotsOf(rec.Group)))
	if err != nil {
		return nil, err
	}
	var out []madeSnapshot
	for _, name := range read.Results[0].Items {
		id, err := decode[cluster.UUID](name)
		if err != nil {
			return nil, err
		}
		one, err := m.store.Read(ctx, store.Key(cluster.KeyGroupSnapshot(id)))
		if err != nil {
			return nil, err
		}
		it := one.One(0)
		if it.Rev == 0 { // deleted this moment
			continue
		}
		snap, err := decode[cluster.GroupSnapshot](it)
		if err != nil {
			return nil, err
		}
		if snap.Schedule != rec.UUID {
			continue
		}
		set, err := m.withParts(ctx, it, snap)
		if err != nil {
			return nil, err
		}
		out = append(out, madeSnapshot{set: set})
	}
	return out, nil
}
