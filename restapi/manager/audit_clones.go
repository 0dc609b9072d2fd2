package manager

import (
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
)

// clones checks that every clone has its parent, that snapshots count their clones, and that what is hidden
// is listed, and nothing else.
func (a *audit) clones(volumes, owners, snapshots, hidden, unclaimed store.Result) error {
	snaps := make(map[cluster.UUID]cluster.Snapshot)
	for _, it := range snapshots.Items {
		rec, err := decode[cluster.Snapshot](it)
		if err != nil {
			return err
		}
		snaps[rec.UUID] = rec
	}
	cloned := make(map[string]bool) // by key of the owner record
	for _, it := range owners.Items {
		owner, err := decode[cluster.Owner](it)
		if err != nil {
			return err
		}
		cloned[it.Key] = owner.View.Cloned
	}
	count, hides := make(map[cluster.UUID]uint32), make(map[cluster.UUID]bool)
	for _, it := range volumes.Items {
		rec, err := decode[cluster.Volume](it)
		if err != nil {
			return err
		}
		hides[rec.UUID] = rec.Hidden
		if p := rec.Parent; p != nil {
			count[p.Snapshot]++
			s := snaps[p.Snapshot]
			a.say(s.Volume == p.Volume && s.Key == p.Key && s.Pin == p.Pin && s.Size >= p.Size,
				"the parent of volume %s is %+v, its snapshot %+v", rec.UUID, p, s)
			a.say(cloned[cluster.KeyOwner(rec.Key)], "the owner record of clone %s does not say that it is one",
				rec.UUID)
		}
	}
	for id, s := range snaps {
		a.say(s.Clones == count[id], "snapshot %s counts %d clones and has %d", id, s.Clones, count[id])
		a.say(s.Hidden || !hides[s.Volume], "volume %s is hidden, its snapshot %s is not", s.Volume, id)
	}
	return a.listed(snaps, hides, hidden, unclaimed)
}

// listed checks the lists of what is hidden.
func (a *audit) listed(snaps map[cluster.UUID]cluster.Snapshot, hides map[cluster.UUID]bool,
	hidden, unclaimed store.Result) error {
	for _, it := range hidden.Items {
		id, err := decode[cluster.UUID](it)
		if err != nil {
			return err
		}
		a.say(hides[id], "volume %s is listed as hidden, and is not", id)
		delete(hides, id)
	}
	for id, h := range hides {
		a.say(!h, "volume %s is hidden, and not listed", id)
	}
	waits := make(map[cluster.UUID]bool)
	for _, it := range unclaimed.Items {
		id, err := decode[cluster.UUID](it)
		if err != nil {
			return err
		}
		waits[id] = true
		a.say(snaps[id].Hidden && snaps[id].Clones == 0, "snapshot %s is listed as one that waits for a clone", id)
	}
	for id, s := range snaps {
		a.say(!s.Hidden || s.Clones > 0 || s.State == cluster.SnapshotDeleting || waits[id],
			"snapshot %s is hidden, and nothing needs it", id)
	}
	return nil
}

// flattening checks that those clones are listed which are being flattened, and no others.
func (a *audit) flattening(volumes, list store.Result) error {
	listed := make(map[cluster.UUID]bool)
	for _, it := range list.Items {
		id, err := decode[cluster.UUID](it)
		if err != nil {
			return err
		}
		listed[id] = true
	}
	for _, it := range volumes.Items {
		rec, err := decode[cluster.Volume](it)
		if err != nil {
			return err
		}
		is := rec.Parent != nil && rec.Parent.Flatten
		a.say(listed[rec.UUID] == is, "volume %s is being flattened: %v, is listed: %v", rec.UUID, is,
			listed[rec.UUID])
		delete(listed, rec.UUID)
	}
	a.say(len(listed) == 0, "there are no volumes %v, and they are listed as being flattened", listed)
	return nil
}
