package manager

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Tasks are no records of their own: what they tell follows from the records of what is worked on, and from
// what nodes publish. So a task cannot be lost, forgotten or wrong about its subject; it is there while there
// is something to do, and shown as done as long as its subject exists.

// TaskFilter narrows a list of tasks; empty fields do not.
type TaskFilter struct {
	Kind    wire.TaskKind
	Subject string // the id of what is worked on
}

func (f TaskFilter) admits(t *wire.Task) bool {
	return (f.Kind == "" || f.Kind == t.Kind) && (f.Subject == "" || f.Subject == t.Subject.ID)
}

// Tasks lists the tasks that the caller sees and that are not done, by id.
func (m *Manager) Tasks(ctx context.Context, p Page, f TaskFilter) (wire.Page[wire.Task], error) {
	none := wire.Page[wire.Task]{}
	after, limit, err := p.after("tasks")
	if err != nil {
		return none, err
	}
	all, err := m.allTasks(ctx)
	if err != nil {
		return none, err
	}
	out := wire.Page[wire.Task]{Items: []wire.Task{}}
	for _, t := range all {
		if t.State == wire.TaskDone || t.ID <= after || !f.admits(&t) {
			continue
		}
		if len(out.Items) == limit {
			out.Next = cursorAfter("tasks", out.Items[limit-1].ID)
			break
		}
		out.Items = append(out.Items, t)
	}
	return out, nil
}

// Task shows one task, also when it is done.
func (m *Manager) Task(ctx context.Context, id string) (wire.Task, error) {
	all, err := m.allTasks(ctx)
	if err != nil {
		return wire.Task{}, err
	}
	for _, t := range all {
		if t.ID == id {
			return t, nil
		}
	}
	return wire.Task{}, notFound("task", id)
}

// CancelTask ends a task that can be ended: what a flatten has copied stays copied, scrubbing is paused,
// and a volume whose data is being looked for does not shrink. What is done already stays done.
func (m *Manager) CancelTask(ctx context.Context, id string) (wire.Task, error) {
	t, err := m.Task(ctx, id)
	if err != nil || t.State == wire.TaskDone {
		return t, err
	}
	switch t.Kind {
	case wire.TaskFlatten:
		volume, err := cluster.ParseUUID(t.Subject.ID)
		if err != nil {
			return t, err
		}
		t.State, t.Cancellable = wire.TaskCancelled, false
		return t, m.CancelFlatten(ctx, volume)
	case wire.TaskShrink:
		volume, err := cluster.ParseUUID(t.Subject.ID)
		if err != nil || !t.Cancellable {
			break
		}
		t.State, t.Cancellable = wire.TaskCancelled, false
		return t, m.CancelShrink(ctx, volume)
	case wire.TaskScrub:
		number, err := decode[cluster.DeviceID](store.Item{Value: []byte(t.Subject.ID)})
		if err != nil {
			return t, err
		}
		t.State, t.Cancellable = wire.TaskPaused, false
		_, err = m.ScrubDevice(ctx, number, wire.ScrubRequest{Action: wire.ScrubPause}, "")
		return t, err
	}
	return t, refuse(wire.NotSupported, "", "a %s cannot be cancelled half-way: %s", t.Kind, undone(t.Kind))
}

// undone tells what to do instead of cancelling.
func undone(k wire.TaskKind) string {
	switch k {
	case wire.TaskRebalance:
		return "change the pool's devices again, and its volumes go on from where they are"
	case wire.TaskRotate:
		return "rotate to another key"
	case wire.TaskErase:
		return "the key is destroyed already"
	case wire.TaskPurge:
		return "what it is about is deleted already"
	case wire.TaskShrink:
		return "the volume has its new size already"
	}
	return "it is short; wait for it"
}

// allTasks draws the tasks that the caller sees, by id.
func (m *Manager) allTasks(ctx context.Context) ([]wire.Task, error) {
	v, c, err := m.readPools(ctx, store.All(cluster.PrefixSnapshots), store.Key(cluster.KeyClusterKeys),
		store.All(cluster.PrefixPurges), store.All(cluster.PrefixAlive))
	if err != nil {
		return nil, err
	}
	reverting, err := revertingTo(v.extra[0])
	if err != nil {
		return nil, err
	}
	progressed, err := ownersOf(c.owners)
	if err != nil {
		return nil, err
	}
	var out []wire.Task
	for name, volumes := range c.volumes {
		for i := range volumes {
			rec := &volumes[i].rec
			done := progressed[rec.Key]
			out = append(out, flattenTask(rec, &done, v.Pools[name])...)
			out = append(out, shrinkTask(rec, done.Cleared)...)
			out = append(out, revertTask(rec, reverting)...)
		}
	}
	purging, err := m.followPurges(ctx, v, v.extra[2], v.extra[3], c.stats)
	if err != nil {
		return nil, err
	}
	for i := range purging.list {
		if x := &purging.list[i]; sees(ctx, x.Project) {
			out = append(out, purging.task(x))
		}
	}
	if confinedTo(ctx) == "" {
		for name := range v.Pools {
			out = append(out, rebalanceTask(name, sumUp(c.volumes[name])))
		}
		for _, d := range v.SortedDevices() {
			out = append(out, scrubTask(d, purging.devices[d.Number])...)
		}
		keys, err := currentKey(store.Snapshot{Results: v.extra}.One(1))
		if err != nil {
			return nil, err
		}
		out = append(out, rotateTask(keys.Current, c)...)
	}
	slices.SortFunc(out, func(a, b wire.Task) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// task begins a task; what it is about names it.
func task(kind wire.TaskKind, subject wire.Subject, unit string) wire.Task {
	return wire.Task{ID: string(kind) + "-" + subject.ID, Kind: kind, Subject: subject, Unit: unit,
		State: wire.TaskDone}
}

// flattenTask: a volume that has no parent is flat; what nobody asked to flatten is no task.
func flattenTask(rec *cluster.Volume, owner *cluster.Owner, pool *cluster.Pool) []wire.Task {
	t := task(wire.TaskFlatten, aboutVolume(rec), "bytes")
	t.Project = rec.Project
	if rec.Parent == nil {
		return []wire.Task{t}
	}
	f := progress(rec.Parent, owner, pool)
	if f == nil {
		return nil
	}
	t.State, t.Done, t.Total, t.Cancellable = wire.TaskRunning, f.Done, f.Total, true
	if f.Pinned {
		t.State, t.Detail = wire.TaskWaiting, "all is copied; snapshots from before may still show the parent, "+
			"until they are deleted"
	}
	return []wire.Task{t}
}

// revertTask: a revert is done unless its snapshot is still reverting.
func revertTask(rec *cluster.Volume, reverting map[cluster.UUID]bool) []wire.Task {
	if rec.Revert == nil {
		return nil
	}
	t := task(wire.TaskRevert, aboutVolume(rec), "volumes")
	t.Project, t.Done, t.Total = rec.Project, 1, 1
	t.Detail = fmt.Sprintf("to snapshot %s, asked for %s", rec.Revert.Snapshot, rec.Revert.Asked)
	if reverting[rec.Revert.Snapshot] {
		t.State, t.Done = wire.TaskRunning, 0
	}
	return []wire.Task{t}
}

// rebalanceTask is the way of a pool's volumes to its newest group table, whatever change has made that.
func rebalanceTask(pool string, h wire.PoolHealing) wire.Task {
	t := task(wire.TaskRebalance, about("pool", pool), "groups")
	if h.Moving > 0 {
		t.State, t.Done, t.Total = wire.TaskRunning, h.Moved, h.Groups
		t.Detail = fmt.Sprintf("%d volumes are moving, %d bytes copied", h.Moving, h.Copied)
	}
	return t
}

// scrubTask is a pass over a device that is under way, or asked for. st is what its node published of the
// device, nil while that is nothing.
func scrubTask(d *cluster.Device, st *cluster.DeviceStats) []wire.Task {
	if d.State != cluster.DeviceOnline {
		return nil
	}
	told := st != nil && st.Scrub != nil
	is := &cluster.ScrubStats{}
	if told {
		is = st.Scrub
	}
	t := task(wire.TaskScrub, about("device", d.Number), "percent")
	begun := is.State == cluster.ScrubRunning || is.Began > is.Ended
	paused := is.State == cluster.ScrubPaused || d.Scrub != nil && d.Scrub.Paused
	wanted := d.Scrub != nil && d.Scrub.Wanted > is.Began && !paused
	if !begun && !wanted {
		return []wire.Task{t}
	}
	t.State, t.Total = wire.TaskRunning, 100
	switch {
	case !told:
		t.State, t.Detail = wire.TaskWaiting, fmt.Sprintf("node %d says nothing of it yet", d.Node)
	case begun:
		t.Done = uint64(is.Percent)
		t.Detail = fmt.Sprintf("%d bytes read, %d bad blocks found", is.Read, is.Bad)
	}
	if paused {
		t.State = wire.TaskPaused
	}
	t.Cancellable = t.State != wire.TaskPaused
	return []wire.Task{t}
}

// rotateTask is how far the keys of volumes are wrapped with the current cluster key.
func rotateTask(current string, c *census) []wire.Task {
	if current == "" {
		return nil
	}
	t := task(wire.TaskRotate, about("key", current), "volumes")
	for _, volumes := range c.volumes {
		for i := range volumes {
			e := volumes[i].rec.Encryption
			if e == nil || len(e.Wrapped) == 0 {
				continue
			}
			if t.Total++; e.ClusterKey == current {
				t.Done++
			}
		}
	}
	if t.Done < t.Total {
		t.State = wire.TaskRunning
	}
	return []wire.Task{t}
}

// revertingTo names the snapshots that volumes are being reverted to.
func revertingTo(snapshots store.Result) (map[cluster.UUID]bool, error) {
	out := make(map[cluster.UUID]bool)
	for _, it := range snapshots.Items {
		rec, err := decode[cluster.Snapshot](it)
		if err != nil {
			return nil, err
		}
		if rec.State == cluster.SnapshotReverting {
			out[rec.UUID] = true
		}
	}
	return out, nil
}

// ownersOf are the owner records, in which owners tell how far they are.
func ownersOf(owners store.Result) (map[cluster.VolumeKey]cluster.Owner, error) {
	out := make(map[cluster.VolumeKey]cluster.Owner)
	for _, it := range owners.Items {
		key, err := cluster.ParseOwnerKey(it.Key)
		if err != nil {
			return nil, err
		}
		if out[key], err = decode[cluster.Owner](it); err != nil {
			return nil, err
		}
	}
	return out, nil
}
