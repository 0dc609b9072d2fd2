package manager

import (
	"context"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// A schedule is two records: what people ask for, and what has become of it (schedule_runs.go), which changes
// with every run and not the ETag. It is listed beside its volume or group, with which it ends, and by the
// time at which it is looked at next. Snapshots name the schedule that has made them, and outlive it.

// keptSchedule is a schedule as it was read.
type keptSchedule struct {
	it   store.Item // of rec
	rec  cluster.Schedule
	at   store.Item // of runs
	runs cluster.ScheduleRuns
}

// readSchedule reads a schedule; ifMatch, when not empty, is what its ETag must be.
func (m *Manager) readSchedule(ctx context.Context, id cluster.UUID, ifMatch string) (*keptSchedule, error) {
	read, err := m.store.Read(ctx, store.Key(cluster.KeySchedule(id)), store.Key(cluster.KeyScheduleRuns(id)))
	if err != nil {
		return nil, err
	}
	s, err := decodeSchedule(read.One(0), read.One(1))
	if err != nil {
		return nil, err
	}
	if s == nil || !sees(ctx, s.rec.Project) {
		return nil, notFound("schedule", id)
	}
	return s, matches(ifMatch, s.it.Rev)
}

// decodeSchedule reads the records of a schedule; nil if there is none.
func decodeSchedule(it, at store.Item) (*keptSchedule, error) {
	if it.Rev == 0 || at.Rev == 0 {
		return nil, nil
	}
	s := &keptSchedule{it: it, at: at}
	var err error
	if s.rec, err = decode[cluster.Schedule](it); err != nil {
		return nil, err
	}
	s.runs, err = decode[cluster.ScheduleRuns](at)
	return s, err
}

// set adds to a transaction that what has become of a schedule is something else now. When it is looked at
// next is listed, too.
func (s *keptSchedule) set(txn *store.Txn, runs cluster.ScheduleRuns) {
	key := cluster.KeyScheduleRuns(s.rec.UUID)
	txn.If, txn.Put = append(txn.If, store.Cond{Key: key, Rev: s.at.Rev}), append(txn.Put, put(key, runs))
	was, is := s.runs.Wake, runs.Wake
	s.runs = runs
	if was == is {
		return
	}
	if was != "" { // the list follows from the record
		due := cluster.KeyScheduleDue(was, s.rec.UUID)
		txn.Delete, txn.Blind = append(txn.Delete, due), append(txn.Blind, due)
	}
	if is != "" {
		due := put(cluster.KeyScheduleDue(is, s.rec.UUID), s.rec.UUID)
		txn.Put, txn.Blind = append(txn.Put, due), append(txn.Blind, due.Key)
	}
}

func (s *keptSchedule) draw() wire.Schedule {
	rec, runs := &s.rec, &s.runs
	w := wire.Schedule{Versioned: wire.Versioned{ETag: etag(s.it.Rev)}, ID: rec.UUID, Name: rec.Name,
		Project: rec.Project, Volume: rec.Volume, Group: rec.Group, Cron: rec.Cron, Every: rec.Every,
		Keep: rec.Keep, Prefix: rec.Prefix, Enabled: !rec.Disabled,
		ScheduleRuns: wire.ScheduleRuns{NextRun: runs.Next, LastRun: runs.Last, LastSnapshot: runs.Snapshot,
			LastError: runs.Error, Held: runs.Held},
		Description: rec.Description, Metadata: rec.Metadata, Created: rec.Created}
	if w.Metadata == nil {
		w.Metadata = cluster.Metadata{}
	}
	return w
}

// Schedule shows one schedule.
func (m *Manager) Schedule(ctx context.Context, id cluster.UUID) (wire.Schedule, error) {
	s, err := m.readSchedule(ctx, id, "")
	if err != nil {
		return wire.Schedule{}, err
	}
	return s.draw(), nil
}

// ScheduleFilter narrows a list of schedules; empty fields do not.
type ScheduleFilter struct {
	Name          string
	Volume, Group cluster.UUID
}

func (f ScheduleFilter) passes(rec *cluster.Schedule) bool {
	return (f.Name == "" || f.Name == rec.Name) && (f.Volume.IsZero() || f.Volume == rec.Volume) &&
		(f.Group.IsZero() || f.Group == rec.Group)
}

// Schedules lists schedules by id.
func (m *Manager) Schedules(ctx context.Context, p Page, f ScheduleFilter) (wire.Page[wire.Schedule], error) {
	out := wire.Page[wire.Schedule]{Items: []wire.Schedule{}}
	err := m.pageOf(ctx, p, "schedules", cluster.PrefixSchedules, func(it store.Item, full bool) (bool, error) {
		rec, err := decode[cluster.Schedule](it)
		if err != nil || !sees(ctx, rec.Project) || !f.passes(&rec) {
			return false, err
		}
		if full {
			out.Next = cursorAfter("schedules", out.Items[len(out.Items)-1].ID.String())
			return true, nil
		}
		read, err := m.store.Read(ctx, store.Key(cluster.KeyScheduleRuns(rec.UUID)))
		if err != nil {
			return false, err
		}
		s, err := decodeSchedule(it, read.One(0))
		if err != nil || s == nil { // deleted this moment
			return false, err
		}
		out.Items = append(out.Items, s.draw())
		return true, nil
	})
	return out, err
}

// readSiblings is the list of the schedules of one volume or group.
func readSiblings(it store.Item) ([]cluster.UUID, error) {
	if it.Rev == 0 {
		return nil, nil
	}
	return decode[[]cluster.UUID](it)
}

// DeleteSchedule deletes a schedule; its snapshots stay. ifMatch, when not empty, is the ETag that it must
// still have.
func (m *Manager) DeleteSchedule(ctx context.Context, id cluster.UUID, ifMatch string) error {
	return m.decide(ctx, func() error {
		s, err := m.readSchedule(ctx, id, ifMatch)
		if err != nil {
			return err
		}
		list := s.rec.SiblingsKey()
		read, err := m.store.Read(ctx, store.Key(list))
		if err != nil {
			return err
		}
		siblings, err := readSiblings(read.One(0))
		if err != nil {
			return err
		}
		siblings = slices.DeleteFunc(siblings, func(u cluster.UUID) bool { return u == id })
		txn := store.Txn{If: []store.Cond{{Key: list, Rev: read.One(0).Rev}}}
		if len(siblings) == 0 {
			txn.Delete = append(txn.Delete, list)
		} else {
			txn.Put = append(txn.Put, put(list, siblings))
		}
		m.dropSchedule(&txn, s)
		_, err = m.store.Commit(ctx, txn)
		return err
	})
}

// dropSchedule adds to a transaction that nothing is left of a schedule but its snapshots; the list that it
// is in is the caller's.
func (m *Manager) dropSchedule(txn *store.Txn, s *keptSchedule) {
	name := cluster.KeyScheduleName(s.rec.Name, s.rec.Project)
	txn.If = append(txn.If, store.Cond{Key: s.it.Key, Rev: s.it.Rev}, store.Cond{Key: s.at.Key, Rev: s.at.Rev})
	txn.Delete, txn.Blind = append(txn.Delete, s.it.Key, s.at.Key, name), append(txn.Blind, name)
	if s.runs.Wake != "" {
		due := cluster.KeyScheduleDue(s.runs.Wake, s.rec.UUID)
		txn.Delete, txn.Blind = append(txn.Delete, due), append(txn.Blind, due)
	}
	m.note(txn, wire.Info, "schedule.deleted", about("schedule", s.rec.UUID), s.rec.Project,
		"schedule %s of %s deleted; the snapshots that it made stay", s.rec.Name, scheduled(&s.rec))
}

// dropSchedules adds to a transaction that ends a volume or group that its schedules end with it, and that it
// gets no other one meanwhile. list is where they are listed.
func (m *Manager) dropSchedules(ctx context.Context, txn *store.Txn, list string) error {
	read, err := m.store.Read(ctx, store.Key(list))
	if err != nil {
		return err
	}
	siblings, err := readSiblings(read.One(0))
	if err != nil {
		return err
	}
	txn.If = append(txn.If, store.Cond{Key: list, Rev: read.One(0).Rev})
	if len(siblings) == 0 {
		return nil
	}
	txn.Delete = append(txn.Delete, list)
	for _, id := range siblings {
		s, err := m.readSchedule(ctx, id, "")
		if missed(err) { // deleted this moment
			err = cluster.ErrConflict
		}
		if err != nil {
			return err
		}
		m.dropSchedule(txn, s)
	}
	return nil
}
