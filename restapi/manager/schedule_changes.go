package manager

import (
	"context"
	"reflect"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/schedule"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// CreateSchedule makes a schedule; created is false when this request made it before. The identity is r.ID,
// else it is drawn.
func (m *Manager) CreateSchedule(ctx context.Context, r wire.ScheduleCreate) (s wire.Schedule, created bool,
	err error) {
	if r.ID.IsZero() {
		if r.ID, err = m.newUUID(ctx); err != nil {
			return s, false, err
		}
	}
	rec := cluster.Schedule{UUID: r.ID, Name: r.Name, Volume: r.Volume, Group: r.Group, Cron: r.Cron,
		Every: r.Every, Keep: r.Keep, Prefix: r.Prefix, Disabled: r.Enabled != nil && !*r.Enabled,
		Description: r.Description, Metadata: r.Metadata, Created: m.stamp(), Request: digest(r)}
	if rec.Prefix == "" {
		rec.Prefix = rec.Name
	}
	state, err := validSchedule(&rec)
	if err != nil {
		return s, false, err
	}
	err = m.decide(ctx, func() error {
		read, err := m.store.Read(ctx, store.Key(cluster.KeySchedule(r.ID)),
			store.Key(cluster.KeyScheduleRuns(r.ID)))
		if err != nil {
			return err
		}
		had, err := decodeSchedule(read.One(0), read.One(1))
		if err != nil {
			return err
		}
		if created = had == nil; created {
			s, err = m.makeSchedule(ctx, rec, state)
		} else {
			s, err = sameSchedule(ctx, had, rec.Request)
		}
		return err
	})
	return s, created, err
}

// validSchedule checks a record and reads what it says of times.
func validSchedule(rec *cluster.Schedule) (schedule.State, error) {
	if err := rec.Validate(); err != nil {
		return schedule.State{}, invalid(err, "uuid", "id")
	}
	return readState(rec)
}

// readState is a schedule as package schedule decides on it; when it is due is not in its record.
func readState(rec *cluster.Schedule) (s schedule.State, err error) {
	s.Enabled = !rec.Disabled
	k := rec.Keep
	s.Keep = schedule.Keep{Last: k.Last, Hourly: k.Hourly, Daily: k.Daily, Weekly: k.Weekly, Monthly: k.Monthly}
	if k.MaxAge != "" {
		if s.Keep.MaxAge, err = schedule.ParsePeriod(k.MaxAge); err != nil {
			return s, refuse(wire.InvalidField, "keep.max_age", "%v", err)
		}
	}
	if rec.Cron != "" {
		if s.Times, err = schedule.Cron(rec.Cron); err != nil {
			return s, refuse(wire.InvalidField, "cron", "%v", err)
		}
		return s, nil
	}
	period, err := schedule.ParsePeriod(rec.Every)
	if err != nil {
		return s, refuse(wire.InvalidField, "every", "%v", err)
	}
	from, err := time.Parse(time.RFC3339, rec.Created)
	if err == nil {
		s.Times, err = schedule.Every(period, from)
	}
	return s, err
}

// sameSchedule answers a create whose identity exists.
func sameSchedule(ctx context.Context, s *keptSchedule, request string) (wire.Schedule, error) {
	if s.rec.Request != request || !sees(ctx, s.rec.Project) {
		return wire.Schedule{}, refuse(wire.Conflict, "id", "schedule %s was created by a different request",
			s.rec.UUID)
	}
	return s.draw(), nil
}

// makeSchedule commits a new schedule of a volume or group that the caller sees.
func (m *Manager) makeSchedule(ctx context.Context, rec cluster.Schedule,
	state schedule.State) (wire.Schedule, error) {
	target, project, err := m.scheduleTarget(ctx, &rec)
	if err != nil {
		return wire.Schedule{}, err
	}
	rec.Project = project
	name, list := cluster.KeyScheduleName(rec.Name, project), rec.SiblingsKey()
	read, err := m.store.Read(ctx, store.Key(name), store.Key(list))
	if err != nil {
		return wire.Schedule{}, err
	}
	siblings, err := readSiblings(read.One(1))
	switch {
	case err != nil:
		return wire.Schedule{}, err
	case read.One(0).Rev != 0:
		return wire.Schedule{}, refuse(wire.Conflict, "name", "there is a schedule of that name: %s",
			read.One(0).Value)
	case len(siblings) >= cluster.MaxSchedules:
		return wire.Schedule{}, refuse(wire.Conflict, "", "%s has %d schedules, and can have no more",
			scheduled(&rec), len(siblings))
	}
	s := &keptSchedule{rec: rec}
	s.it.Key = cluster.KeySchedule(rec.UUID)
	txn := store.Txn{If: []store.Cond{{Key: s.it.Key}, {Key: name}, {Key: list, Rev: read.One(1).Rev},
		{Key: target.Key, Rev: target.Rev}},
		Put: []store.Put{put(s.it.Key, rec), put(name, rec.UUID), put(list, append(siblings, rec.UUID))}}
	s.set(&txn, m.anew(s.runs, state))
	m.note(&txn, wire.Info, "schedule.created", about("schedule", rec.UUID), project,
		"schedule %s of %s created: %s", rec.Name, scheduled(&rec), timing(&rec))
	s.it.Rev, err = m.store.Commit(ctx, txn)
	return s.draw(), err
}

// anew is the runs of a schedule that begins now, or goes on with other times.
func (m *Manager) anew(runs cluster.ScheduleRuns, s schedule.State) cluster.ScheduleRuns {
	runs.Next, runs.Wake = "", ""
	if s.Enabled {
		runs.Next = stampOf(s.Times.Next(m.now()))
		runs.Wake = runs.Next
	}
	return runs
}

// stampOf is a time as records keep it; "" for none.
func stampOf(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// scheduled names what a schedule is of, for people.
func scheduled(rec *cluster.Schedule) string {
	if rec.Group.IsZero() {
		return "volume " + rec.Volume.String()
	}
	return "group " + rec.Group.String()
}

func timing(rec *cluster.Schedule) string {
	if rec.Cron != "" {
		return "cron " + rec.Cron
	}
	return "every " + rec.Every
}

// scheduleTarget reads the volume or group that a schedule is of, and its project.
func (m *Manager) scheduleTarget(ctx context.Context, rec *cluster.Schedule) (it store.Item, project string,
	err error) {
	field, id := "volume", rec.Volume
	if rec.Group.IsZero() {
		var vol cluster.Volume
		it, vol, err = m.readVolume(ctx, rec.Volume, "")
		project = vol.Project
	} else {
		var group cluster.Group
		field, id = "group", rec.Group
		it, group, err = m.readGroup(ctx, rec.Group, "")
		project = group.Project
	}
	if missed(err) {
		err = refuse(wire.InvalidField, field, "%s %s does not exist", field, id)
	}
	return it, project, err
}

// UpdateSchedule changes what r names of a schedule, all of it or nothing. What is so already is left alone,
// so a repetition changes nothing. With other times, or enabled, it begins anew: what it missed is not made
// up for. ifMatch, when not empty, is the ETag that it must still have.
func (m *Manager) UpdateSchedule(ctx context.Context, id cluster.UUID, r wire.ScheduleUpdate,
	ifMatch string) (w wire.Schedule, err error) {
	err = m.decide(ctx, func() error {
		s, err := m.readSchedule(ctx, id, ifMatch)
		if err != nil {
			return err
		}
		was := s.rec
		if s.rec, err = changedSchedule(was, r); err != nil {
			return err
		}
		if !reflect.DeepEqual(was, s.rec) {
			err = m.commitSchedule(ctx, s, &was)
		}
		w = s.draw()
		return err
	})
	return w, err
}

// commitSchedule writes a schedule that is not what it was.
func (m *Manager) commitSchedule(ctx context.Context, s *keptSchedule, was *cluster.Schedule) error {
	is := &s.rec
	state, err := validSchedule(is)
	if err != nil {
		return err
	}
	txn := store.Txn{If: []store.Cond{{Key: s.it.Key, Rev: s.it.Rev}}, Put: []store.Put{put(s.it.Key, is)}}
	next := s.runs
	switch {
	case was.Cron != is.Cron || was.Every != is.Every || was.Disabled != is.Disabled:
		next = m.anew(next, state)
	case was.Keep != is.Keep && state.Enabled:
		next.Wake = m.stamp()
	}
	s.set(&txn, next)
	if was.Name != is.Name {
		if err := m.renameSchedule(ctx, &txn, was, is); err != nil {
			return err
		}
	}
	m.note(&txn, wire.Info, "schedule.updated", about("schedule", is.UUID), is.Project,
		"schedule %s (%s) of %s changed: %s, enabled: %v", is.Name, was.Name, scheduled(is), timing(is),
		state.Enabled)
	s.it.Rev, err = m.store.Commit(ctx, txn)
	return err
}

// changedSchedule is a schedule after a change.
func changedSchedule(s cluster.Schedule, r wire.ScheduleUpdate) (cluster.Schedule, error) {
	if r.Cron != "" && r.Every != "" {
		return s, refuse(wire.InvalidField, "every", "say when either by cron or by every")
	}
	if r.Cron != "" || r.Every != "" {
		s.Cron, s.Every = r.Cron, r.Every
	}
	if r.Name != nil {
		s.Name = *r.Name
	}
	if r.Keep != nil {
		s.Keep = *r.Keep
	}
	if r.Prefix != nil {
		s.Prefix = *r.Prefix
	}
	if r.Enabled != nil {
		s.Disabled = !*r.Enabled
	}
	if r.Description != nil {
		s.Description = *r.Description
	}
	s.Metadata = patched(s.Metadata, r.Metadata)
	return s, nil
}

// renameSchedule adds to a transaction that the name of a schedule moves.
func (m *Manager) renameSchedule(ctx context.Context, txn *store.Txn, was, is *cluster.Schedule) error {
	old, next := cluster.KeyScheduleName(was.Name, was.Project), cluster.KeyScheduleName(is.Name, is.Project)
	read, err := m.store.Read(ctx, store.Key(next))
	if err != nil {
		return err
	}
	if read.One(0).Rev != 0 {
		return refuse(wire.Conflict, "name", "there is a schedule of that name: %s", read.One(0).Value)
	}
	txn.If, txn.Put = append(txn.If, store.Cond{Key: next}), append(txn.Put, put(next, is.UUID))
	txn.Delete, txn.Blind = append(txn.Delete, old), append(txn.Blind, old) // the name is the schedule's alone
	return nil
}
