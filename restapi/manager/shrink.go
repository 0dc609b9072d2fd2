package manager

import (
	"context"
	"fmt"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// A shrink cuts off the end of a volume for good. The record of the volume says what (cluster.Cut), its owner
// does it and says in the owner record how far it is, and whoever looks next draws the conclusion: the call
// that waits for it, one that the cut is in the way of, or the sweep.
//
//	asked ----------------> looking (size as before) -- there is something --> refused, all as before
//	  |                        '-- there is nothing --.
//	  '-- data may be lost ------------------------> clearing (size as asked) --> done
//
// While there is a cut the volume has no snapshots, takes none and does not grow; while its owner looks,
// hosts do not get it.

// cutOff is a volume with the cut that a request asks for, or says why there cannot be such a one.
func (m *Manager) cutOff(ctx context.Context, v cluster.Volume, r *wire.VolumeUpdate) (cluster.Volume,
	error) {
	size := *r.Size
	switch {
	case !r.AllowShrink:
		return v, refuse(wire.ShrinkNotAllowed, "size_bytes", "the volume has %d bytes; shrinking it to %d cuts "+
			"off what lies behind for good; say allow_shrink if you want that", v.Size, size)
	case len(v.Hosts) > 0:
		return v, &Error{Code: wire.VolumeExported, Hosts: v.Hosts,
			Detail: fmt.Sprintf("volume %s is exported to %d host(s), which may rely on its size: %v", v.UUID,
				len(v.Hosts), v.Hosts)}
	case v.Parent != nil && size < v.Parent.Size && !r.DiscardData:
		return v, refuse(wire.VolumeHoldsData, "size_bytes", "the volume is a clone, and shows there what its "+
			"parent has; say discard_data if that may go")
	}
	read, err := m.store.Read(ctx, store.Query{Prefix: cluster.PrefixSnapshotsOf(v.UUID), Limit: 1},
		store.Query{Prefix: cluster.PrefixHiddenSnapshotsOf(v.UUID), Limit: 1})
	if err != nil {
		return v, err
	}
	for i, what := range []string{"snapshots", "clones, or snapshots that clones need"} {
		if len(read.Results[i].Items) > 0 {
			return v, refuse(wire.VolumeHasSnapshots, "", "volume %s has %s, which show what is to be cut off; "+
				"delete or flatten them first", v.UUID, what)
		}
	}
	cut := cluster.Cut{From: size, To: v.Size, Asked: m.stamp()}
	if cut.ID, err = m.newUUID(ctx); err != nil {
		return v, err
	}
	v.Cut = &cut
	if r.DiscardData {
		v = shrunk(v)
	}
	return v, nil
}

// shrunk is a volume of which it is decided that it is cut. No more of its parent shows than it has left.
func shrunk(v cluster.Volume) cluster.Volume {
	v.Size = v.Cut.From
	if v.Parent != nil && v.Parent.Size > v.Size {
		parent := *v.Parent
		parent.Size = v.Size
		v.Parent = &parent
	}
	return v
}

// alsoCut adds to the transaction that changes a volume what a cut that begins, goes on or ends is for
// others.
func (m *Manager) alsoCut(t *store.Txn, was, is *cluster.Volume) {
	key := cluster.KeyShrinking(is.UUID) // belongs to the volume alone
	switch {
	case was.Cut == nil && is.Cut != nil:
		t.If = append(t.If, store.Cond{Key: cluster.PrefixSnapshotsOf(is.UUID)},
			store.Cond{Key: cluster.PrefixHiddenSnapshotsOf(is.UUID)})
		t.Put, t.Blind = append(t.Put, put(key, is.UUID)), append(t.Blind, key)
		m.note(t, wire.Info, "volume.shrinking", aboutVolume(is), is.Project,
			"volume %s is to be cut off from %d bytes on; it has %d", is.Name, is.Cut.From, is.Cut.To)
	case was.Cut != nil && is.Cut == nil:
		t.Delete, t.Blind = append(t.Delete, key), append(t.Blind, key)
		what := "what is cut off of volume %s, from %d to %d bytes, is gone"
		if was.Looking() {
			what = "volume %s is not cut off from %d bytes on, it keeps all of its %d"
		}
		m.note(t, wire.Info, "volume.shrink_ended", aboutVolume(is), is.Project, what, is.Name, was.Cut.From,
			was.Cut.To)
	}
}

// advanceCut draws the conclusion from what the owner of a volume has recorded of its cut, if there is one to
// draw. It may be repeated by anybody.
func (m *Manager) advanceCut(ctx context.Context, it store.Item, rec cluster.Volume) (moved bool, err error) {
	read, err := m.store.Read(ctx, store.Key(cluster.KeyOwner(rec.Key)))
	if err != nil || read.One(0).Rev == 0 {
		return false, err
	}
	owner, err := decode[cluster.Owner](read.One(0))
	if err != nil {
		return false, err
	}
	is := rec
	switch done := owner.Cleared; {
	case done.Cut != rec.Cut.ID || done.Look != rec.Looking():
		return false, nil
	case done.Look && done.End:
		is = shrunk(is)
	case done.Look && done.Found, done.End:
		is.Cut = nil
	default:
		return false, nil
	}
	_, err = m.commitVolume(ctx, it, rec, is, store.Cond{Key: read.One(0).Key, Rev: read.One(0).Rev})
	return err == nil, err
}

// endShrink advances the cut of a volume that is listed as being shrunk.
func (m *Manager) endShrink(ctx context.Context, _ string, id cluster.UUID) error {
	it, rec, err := m.sweptVolume(ctx, id)
	if err != nil || rec.Cut == nil {
		return err
	}
	_, err = m.advanceCut(ctx, it, rec)
	return err
}

// refuseShrinking refuses what a volume does not take while something is cut off it.
func (m *Manager) refuseShrinking(ctx context.Context, it store.Item, rec *cluster.Volume) error {
	if rec.Cut == nil {
		return nil
	}
	moved, err := m.advanceCut(ctx, it, *rec)
	switch {
	case err != nil:
		return err
	case moved:
		return cluster.ErrConflict // decide about what it is now
	}
	return refuse(wire.VolumeShrinking, "", "volume %s is being shrunk from %d to %d bytes; task "+
		"shrink-%s tells how far that is", rec.UUID, rec.Cut.To, rec.Cut.From, rec.UUID)
}

// settledCut waits until it is decided whether a volume shrinks, but not for ever: if its owner takes long,
// what is returned is still looking.
func (m *Manager) settledCut(ctx context.Context, id, cut cluster.UUID) (vol wire.Volume, err error) {
	wait, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for {
		var it, ownerAt store.Item
		var rec cluster.Volume
		var owner cluster.Owner
		err := m.decide(ctx, func() error {
			if it, rec, err = m.readVolume(ctx, id, ""); err != nil {
				return err
			}
			read, err := m.store.Read(ctx, store.Key(cluster.KeyOwner(rec.Key)))
			if err != nil {
				return err
			}
			if ownerAt = read.One(0); ownerAt.Rev != 0 {
				if owner, err = decode[cluster.Owner](ownerAt); err != nil {
					return err
				}
			}
			if rec.Cut == nil || rec.Cut.ID != cut {
				return nil
			}
			if moved, err := m.advanceCut(ctx, it, rec); err != nil || !moved {
				return err
			}
			return cluster.ErrConflict // read again
		})
		switch {
		case err != nil:
			return vol, err
		case rec.Cut == nil && owner.Cleared.Cut == cut && owner.Cleared.Found:
			return vol, refuse(wire.VolumeHoldsData, "size_bytes", "the volume holds data in what would be cut off, "+
				"the first of it at %d bytes or a little later; say discard_data if that may go", owner.Cleared.Until)
		case !rec.Looking() || m.store.Await(wait, ownerAt.Key, ownerAt.Rev) != nil:
			return m.drawVolume(ctx, it)
		}
	}
}

// CancelShrink ends a shrink of which it is not decided yet whether it is possible. One that is cannot be
// undone.
func (m *Manager) CancelShrink(ctx context.Context, id cluster.UUID) error {
	return m.decide(ctx, func() error {
		it, rec, err := m.readVolume(ctx, id, "")
		if err != nil || rec.Cut == nil {
			return err
		}
		if !rec.Looking() {
			return refuse(wire.NotSupported, "", "volume %s has %d bytes already, and what it had behind them is "+
				"being cleared", id, rec.Size)
		}
		is := rec
		is.Cut = nil
		_, err = m.commitVolume(ctx, it, rec, is)
		return err
	})
}

// drawShrink tells how far a shrink is; nil: none is under way.
func drawShrink(rec *cluster.Volume, done cluster.Cleared) *wire.Shrink {
	c := rec.Cut
	if c == nil {
		return nil
	}
	s := &wire.Shrink{Size: c.From, State: wire.ShrinkClearing, Total: c.To - c.From, Asked: c.Asked}
	if rec.Looking() {
		s.State = wire.ShrinkLooking
	}
	if done.Cut == c.ID && done.Look == rec.Looking() && done.Until > c.From {
		s.Done = done.Until - c.From
	}
	return s
}

// shrinkTask: when its last cut was carried out a volume is as large as it is to be, whoever notes that in
// its record; of one that came to nothing no task is left.
func shrinkTask(rec *cluster.Volume, done cluster.Cleared) []wire.Task {
	t := task(wire.TaskShrink, aboutVolume(rec), "bytes")
	t.Project = rec.Project
	s := drawShrink(rec, done)
	switch {
	case s != nil && (done.Cut != rec.Cut.ID || done.Look || !done.End):
		t.State, t.Done, t.Total, t.Cancellable = wire.TaskRunning, s.Done, s.Total, rec.Looking()
		t.Detail = fmt.Sprintf("to %d bytes, asked for %s", s.Size, s.Asked)
		if rec.Looking() {
			t.Detail += "; the volume shrinks unless there is data in the rest"
		}
	case !done.End || done.Look: // nothing was cut off
		return nil
	}
	return []wire.Task{t}
}

// shrinking checks that those volumes are listed of which something is cut off, and no others, and that these
// have no snapshots. names holds those of all snapshots, hidden ones too.
func (a *audit) shrinking(volumes, list, names store.Result) error {
	cut := make(map[cluster.UUID]bool)
	for _, it := range volumes.Items {
		rec, err := decode[cluster.Volume](it)
		if err != nil {
			return err
		}
		if rec.Cut == nil {
			continue
		}
		cut[rec.UUID] = true
		for _, name := range names.Items {
			of := strings.HasPrefix(name.Key, cluster.PrefixSnapshotsOf(rec.UUID)) ||
				strings.HasPrefix(name.Key, cluster.PrefixHiddenSnapshotsOf(rec.UUID))
			a.say(!of, "volume %s is being cut, and has the snapshot %s", rec.UUID, name.Key)
		}
	}
	for _, it := range list.Items {
		id, err := decode[cluster.UUID](it)
		if err != nil {
			return err
		}
		a.say(cut[id], "volume %s is listed as being cut, and is not", id)
		delete(cut, id)
	}
	a.say(len(cut) == 0, "volumes %v are being cut, and not listed", cut)
	return nil
}
