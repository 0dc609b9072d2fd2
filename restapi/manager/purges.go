package manager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// What was deleted takes space until devices have given it back. The transaction that removes the record
// leaves a Purge; nodes publish how far their devices are, and who finds that none is left to wait for ends
// it:
//
//	record deleted, Purge written ---> nodes publish Purged ---> no device is waited for: Purge removed, event
//
// So a deletion costs one key in a transaction that is made anyway, and confirming it costs none. A device
// that is away is waited for; one that has failed or was removed comes back blank, and is not.

const (
	// maxPurges is how many purges are followed: while a device is away for long none ends.
	maxPurges = 10_000
	// endedAtOnce is how many purges one transaction ends: two keys are written for each.
	endedAtOnce = store.MaxOps / 2
)

// leavePurge adds to the transaction that removes a volume for good that devices have to give back its space.
func leavePurge(t *store.Txn, rec *cluster.Volume, destroyed *cluster.DestroyedKey) {
	key := cluster.KeyPurge(rec.Key, 0)
	t.Put = append(t.Put, put(key, cluster.Purge{UUID: rec.UUID, Name: rec.Name, Project: rec.Project,
		Volume: rec.UUID, Key: rec.Key, Pool: rec.Pool, Destroyed: destroyed}))
	t.Blind = append(t.Blind, key) // belongs to the volume's key alone, which is given out once
}

// LookAtPurges ends the purges that wait for no device any more, and lists the others. Any number of nodes
// may look.
func (m *Manager) LookAtPurges(ctx context.Context) ([]cluster.PurgeAt, error) {
	return m.lookAtPurges(ctx, maxPurges)
}

func (m *Manager) lookAtPurges(ctx context.Context, most int) ([]cluster.PurgeAt, error) {
	some, err := m.store.Read(ctx, store.Query{Prefix: cluster.PrefixPurges, Limit: 1})
	if err != nil || len(some.Results[0].Items) == 0 {
		return nil, err
	}
	v, err := m.readMap(ctx, store.All(cluster.PrefixPurges), store.All(cluster.PrefixAlive),
		store.All(cluster.PrefixStats))
	if err != nil {
		return nil, err
	}
	stats, err := readStats(v.extra[2])
	if err != nil {
		return nil, err
	}
	p, err := m.followPurges(ctx, v, v.extra[0], v.extra[1], stats)
	if err != nil {
		return nil, err
	}
	var over, rest []cluster.PurgeAt
	for i := range p.list {
		if x := &p.list[i]; x.Ended == "" && len(p.outcome(x).waits()) == 0 {
			over = append(over, *x)
		} else if x.Ended == "" {
			rest = append(rest, *x)
		}
	}
	excess := len(rest) - most
	rest = slices.DeleteFunc(rest, func(x cluster.PurgeAt) bool {
		if excess <= 0 || x.Destroyed != nil { // that has to be proved, however long it takes
			return false
		}
		excess--
		over = append(over, x)
		return true
	})
	for some := range slices.Chunk(over, endedAtOnce) {
		if err := m.endPurges(ctx, p, some); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// endPurges ends purges in one transaction, unless another node is doing so.
func (m *Manager) endPurges(ctx context.Context, p *purging, some []cluster.PurgeAt) error {
	var t store.Txn
	for i := range some {
		x := &some[i]
		key := cluster.KeyPurge(x.Key, x.Pin)
		t.If = append(t.If, store.Cond{Key: key, Rev: x.Revision})
		o := p.outcome(x)
		m.notePurged(&t, x, o)
		if x.Destroyed == nil {
			t.Delete = append(t.Delete, key)
			continue
		}
		x.Ended, x.Confirmed = m.stamp(), len(o.done)
		t.Put = append(t.Put, put(key, x.Purge).Lasting(eventLife))
	}
	_, err := m.store.Commit(ctx, t)
	if errors.Is(err, cluster.ErrConflict) {
		return nil
	}
	return err
}

// notePurged tells that a purge has ended, and where. That of a snapshot whose volume was deleted, too, is a
// part of the volume's.
func (m *Manager) notePurged(t *store.Txn, x *cluster.PurgeAt, o outcome) {
	kind, of, lost := subjectOf(&x.Purge).Type, about("volume", x.Volume), ""
	if len(o.gone) > 0 {
		lost = fmt.Sprintf("; devices %v have failed or were removed", o.gone)
	}
	switch left := o.waits(); {
	case len(left) > 0:
		m.note(t, wire.Warning, kind+".purge_unfollowed", of, x.Project, "too many purges wait for devices, and "+
			"that of %s is not followed any more; devices %v give its space back when they are there",
			called(&x.Purge), left)
	case x.Destroyed != nil:
		m.note(t, wire.Info, "volume.erased", of, x.Project, "%s (%s): data key %s, wrapped by cluster key %q, "+
			"destroyed %s; nothing is left on devices %v, as they confirmed by %s%s", called(&x.Purge), x.Key,
			x.Destroyed.DataKey, x.Destroyed.ClusterKey, x.Destroyed.At, o.done, m.stamp(), lost)
	case !o.covered:
		m.note(t, wire.Info, kind+".purged", of, x.Project, "%s purged: devices %v have given its space back%s",
			called(&x.Purge), o.done, lost)
	}
}

func subjectOf(p *cluster.Purge) wire.Subject {
	if p.Pin != 0 {
		return about("snapshot", p.UUID)
	}
	return about("volume", p.UUID)
}

// called names what is purged for people.
func called(p *cluster.Purge) string {
	if p.Pin != 0 {
		return fmt.Sprintf("snapshot %s (%s)", p.Name, p.UUID)
	}
	return fmt.Sprintf("volume %s of pool %s", p.Name, p.Pool)
}

// purging is what there is to know to tell how far purges are.
type purging struct {
	*view
	list    []cluster.PurgeAt // by age, ended ones, too
	alive   map[string]int64
	devices map[cluster.DeviceID]*cluster.DeviceStats
	pools   map[cluster.UUID]string              // of volumes of which a snapshot was deleted
	members map[string]map[cluster.DeviceID]bool // of pools, ever: whether they still are
}

// followPurges puts together what was read.
func (m *Manager) followPurges(ctx context.Context, v *view, purges, alive store.Result,
	stats map[cluster.NodeID]cluster.NodeStats) (*purging, error) {
	p := &purging{view: v, alive: revisions(alive), devices: make(map[cluster.DeviceID]*cluster.DeviceStats),
		pools: make(map[cluster.UUID]string), members: make(map[string]map[cluster.DeviceID]bool)}
	for _, it := range purges.Items {
		rec, err := decode[cluster.Purge](it)
		if err != nil {
			return nil, err
		}
		p.list = append(p.list, cluster.PurgeAt{Purge: rec, Revision: it.Rev})
	}
	slices.SortFunc(p.list, func(a, b cluster.PurgeAt) int { return cmp.Compare(a.Revision, b.Revision) })
	for _, st := range stats {
		for i := range st.Devices {
			p.devices[st.Devices[i].Device] = &st.Devices[i]
		}
	}
	for name, pool := range v.Pools {
		roster, err := pool.Roster()
		if err != nil {
			return nil, err
		}
		p.members[name] = make(map[cluster.DeviceID]bool)
		for _, member := range roster.Members {
			p.members[name][member.Device] = false
		}
		for _, member := range roster.Present() {
			p.members[name][member.Device] = true
		}
	}
	return p, m.findPools(ctx, p)
}

// findPools reads which pools the volumes are in of which snapshots were deleted.
func (m *Manager) findPools(ctx context.Context, p *purging) error {
	var volumes []store.Query
	for i := range p.list {
		if x := &p.list[i]; x.Pin != 0 && !slices.Contains(volumes, store.Key(cluster.KeyVolume(x.Volume))) {
			volumes = append(volumes, store.Key(cluster.KeyVolume(x.Volume)))
		}
	}
	for some := range slices.Chunk(volumes, store.MaxOps) {
		read, err := m.store.Read(ctx, some...)
		if err != nil {
			return err
		}
		for i := range some {
			if it := read.One(i); it.Rev != 0 {
				rec, err := decode[cluster.Volume](it)
				if err != nil {
					return err
				}
				p.pools[rec.UUID] = rec.Pool
			}
		}
	}
	return nil
}

// outcome is how far a purge is.
type outcome struct {
	done, gone    []cluster.DeviceID // have given the space back; have failed or were removed
	pending, away []cluster.DeviceID // are there and have something to give back; are not there
	left          uint64             // bytes that are known to be still to come back
	covered       bool               // of a snapshot: its volume was deleted, too
}

// waits are the devices that are waited for.
func (o outcome) waits() []cluster.DeviceID {
	return slices.Sorted(slices.Values(slices.Concat(o.pending, o.away)))
}

// outcome sorts the devices that may have something to give back: those that belong to the pool, or ever did.
// What is left of a volume on a device that has left its pool goes with the move, and no snapshot shows it.
func (p *purging) outcome(x *cluster.PurgeAt) (o outcome) {
	pool := x.Pool
	if x.Pin != 0 {
		pool = p.pools[x.Volume]
		o.covered = pool == ""
	}
	for d, present := range p.members[pool] {
		if x.Pin != 0 && !present {
			continue
		}
		rec, st := p.Devices[d], p.devices[d]
		if rec == nil || rec.State != cluster.DeviceOnline {
			o.gone = append(o.gone, d)
			continue
		}
		var left uint64
		var ended bool
		if st != nil {
			left, ended = st.Purged.Ended(x)
		}
		switch {
		case ended:
			o.done = append(o.done, d)
		case st == nil || !st.Healthy || p.alive[cluster.KeyNodeAlive(rec.Node)] == 0:
			o.away = append(o.away, d)
		default:
			o.pending = append(o.pending, d)
			o.left += left
		}
	}
	slices.Sort(o.done)
	slices.Sort(o.gone)
	slices.Sort(o.pending)
	slices.Sort(o.away)
	return o
}

// task draws a purge.
func (p *purging) task(x *cluster.PurgeAt) wire.Task {
	t := task(wire.TaskPurge, subjectOf(&x.Purge), "devices")
	t.Detail = called(&x.Purge)
	if x.Destroyed != nil {
		t = task(wire.TaskErase, subjectOf(&x.Purge), "devices")
		t.Detail = fmt.Sprintf("data key %s destroyed %s", x.Destroyed.DataKey, x.Destroyed.At)
	}
	t.Project = x.Project
	if x.Ended != "" { // its pool may be gone
		t.Done, t.Total = uint64(x.Confirmed), uint64(x.Confirmed)
		return t
	}
	o := p.outcome(x)
	t.Done, t.Total = uint64(len(o.done)), uint64(len(o.done)+len(o.pending)+len(o.away))
	t.State = wire.TaskRunning
	if len(o.pending) > 0 {
		t.Detail += fmt.Sprintf("; devices %v have still to give back its space", o.pending)
	}
	if o.left > 0 {
		t.Detail += fmt.Sprintf(", %d bytes", o.left)
	}
	if len(o.away) > 0 {
		t.Detail += fmt.Sprintf("; devices %v are away", o.away)
		if len(o.pending) == 0 {
			t.State = wire.TaskWaiting
		}
	}
	return t
}
