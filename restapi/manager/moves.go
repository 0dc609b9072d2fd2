package manager

import (
	"context"
	"errors"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// MoveVolume has a node take a volume over from its owner, and waits until it serves it there. When the store
// cannot be followed any more, done is false, and the volume moves when it can. A node that does not take it
// in time is not asked any longer, and the call is refused. Moving a volume to where it is ends what was
// asked before. ifMatch, when not empty, is the ETag that the volume must still have.
func (m *Manager) MoveVolume(ctx context.Context, id cluster.UUID, r wire.VolumeMove, ifMatch string) (
	vol wire.Volume, done bool, err error,
) {
	var it store.Item
	err = m.decide(ctx, func() error {
		var rec cluster.Volume
		if it, rec, err = m.readVolume(ctx, id, ifMatch); err != nil {
			return err
		}
		it, err = m.askMove(ctx, it, rec, r.Node)
		return err
	})
	if err != nil {
		return vol, false, err
	}
	if done, err = m.moved(ctx, it, r.Node); err != nil {
		return vol, false, err
	}
	vol, err = m.Volume(ctx, id)
	return vol, done, err
}

// askMove commits that a node is to take a volume over, for it to find, or refuses.
func (m *Manager) askMove(ctx context.Context, it store.Item, rec cluster.Volume, to cluster.NodeID) (
	store.Item, error,
) {
	v, err := m.readMap(ctx, store.All(cluster.PrefixStats), store.All(cluster.PrefixAlive),
		store.Key(cluster.KeyOwner(rec.Key)))
	if err != nil {
		return it, err
	}
	if len(v.extra[2].Items) == 0 {
		return it, cluster.ErrConflict // it is being deleted
	}
	owner, err := decode[cluster.Owner](v.extra[2].Items[0])
	if err != nil {
		return it, err
	}
	want := &cluster.Move{Node: to, Epoch: owner.Epoch}
	if owner.Gateway == to {
		want = nil
	} else if err := v.refuseMove(&rec, &owner, to); err != nil {
		return it, err
	}
	if rec.Move.Same(want) || want == nil && !rec.Move.Pending(&owner) {
		return it, nil
	}
	rec.Move = want
	p := put(it.Key, rec)
	txn := store.Txn{If: []store.Cond{{Key: it.Key, Rev: it.Rev}}, Put: []store.Put{p}}
	m.note(&txn, wire.Info, "volume.moving", aboutVolume(&rec), rec.Project,
		"volume %s is to be served by node %d", rec.Name, to)
	it.Value = p.Value
	it.Rev, err = m.store.Commit(ctx, txn)
	return it, err
}

// refuseMove refuses what cannot be done now. extra holds what nodes published, and which of them are alive.
func (v *view) refuseMove(rec *cluster.Volume, owner *cluster.Owner, to cluster.NodeID) error {
	n := v.Nodes[to]
	if n == nil {
		return refuse(wire.InvalidField, "node", "node %d does not exist", to)
	}
	stats, err := readStats(v.extra[0])
	if err != nil {
		return err
	}
	e := rec.Encryption
	switch alive := present(v.extra[1]); {
	case !alive[cluster.KeyNodeAlive(to)]:
		return refuse(wire.Conflict, "node", "node %d (%s) does not keep itself alive in etcd", to, n.Name)
	case owner.Epoch == 0:
		return refuse(wire.Conflict, "", "nobody has served the volume yet; node %d is about to", owner.Gateway)
	case e != nil && !slices.Contains(stats[to].Keys, e.ClusterKey):
		return refuse(wire.Conflict, "node", "node %d (%s) has not found cluster key %q, which opens the volume",
			to, n.Name, e.ClusterKey)
	}
	return nil
}

// moved waits until a volume is served by the node that was asked to take it over, but not for ever.
func (m *Manager) moved(ctx context.Context, it store.Item, to cluster.NodeID) (done bool, err error) {
	rec, err := decode[cluster.Volume](it)
	if err != nil {
		return false, err
	}
	wait, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for {
		read, err := m.store.Read(ctx, store.Key(cluster.KeyOwner(rec.Key)))
		if err != nil {
			return false, err
		}
		at := read.One(0)
		if at.Rev == 0 {
			return false, notFound("volume", rec.UUID)
		}
		owner, err := decode[cluster.Owner](at)
		if err != nil {
			return false, err
		}
		switch {
		case owner.Gateway == to && (owner.Served == owner.Epoch || rec.Move == nil):
			return true, nil
		case owner.Gateway != to && !rec.Move.Pending(&owner):
			return false, refuse(wire.Conflict, "", "node %d has taken the volume over in the meantime; repeat the "+
				"call if it is still to move", owner.Gateway)
		}
		if m.store.Await(wait, at.Key, at.Rev) == nil {
			continue
		}
		if wait.Err() == nil || ctx.Err() != nil {
			return false, nil
		}
		if err := m.giveUpMove(ctx, &rec, at); !errors.Is(err, cluster.ErrConflict) {
			return false, err
		}
	}
}

// giveUpMove asks a node no longer to take a volume over, and says so.
func (m *Manager) giveUpMove(ctx context.Context, asked *cluster.Volume, owner store.Item) error {
	it, rec, err := m.readVolume(ctx, asked.UUID, "")
	if err != nil {
		return err
	}
	if rec.Move.Same(asked.Move) {
		rec.Move = nil
		if _, err = m.store.Commit(ctx, store.Txn{Put: []store.Put{put(it.Key, rec)},
			If: []store.Cond{{Key: it.Key, Rev: it.Rev}, {Key: owner.Key, Rev: owner.Rev}}}); err != nil {
			return err
		}
	}
	return refuse(wire.Conflict, "node", "node %d did not take the volume over within %v and is not asked any "+
		"longer: it has to reach every node that is up, the owner first of all, and nothing may wait for a "+
		"snapshot or a revert of the volume; its log tells more", asked.Move.Node, settleTimeout)
}
