package manager

import (
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// situation is what volumes are judged by: what nodes published, which of them are alive, and the pools. All
// of one revision.
type situation struct {
	published map[ownership]*cluster.VolumeStats
	alive     map[string]bool // by the key that is kept alive
	pools     map[string]*cluster.Pool
}

// ownership is a volume in the words of one node. A former owner's words may be there beside the present
// one's.
type ownership struct {
	node cluster.NodeID
	vol  cluster.VolumeKey
}

// newSituation reads it from slices of volumes, as nodes published them, and from which nodes are alive.
func newSituation(slices, alive store.Result) (*situation, error) {
	s := &situation{published: make(map[ownership]*cluster.VolumeStats), alive: present(alive),
		pools: make(map[string]*cluster.Pool)}
	for _, it := range slices.Items {
		slice, err := decode[cluster.VolumeSlice](it)
		if err != nil {
			return nil, err
		}
		for i := range slice.Volumes {
			s.published[ownership{slice.Node, slice.Volumes[i].Key}] = &slice.Volumes[i]
		}
	}
	return s, nil
}

// present are the keys that are there.
func present(r store.Result) map[string]bool {
	out := make(map[string]bool, len(r.Items))
	for _, it := range r.Items {
		out[it.Key] = true
	}
	return out
}

// of is what the present owner of a volume published of it in this epoch, nil while there is nothing.
func (s *situation) of(rec *cluster.Volume, o *cluster.Owner) *cluster.VolumeStats {
	st := s.published[ownership{o.Gateway, rec.Key}]
	if st == nil || st.Epoch != o.Epoch {
		return nil
	}
	return st
}

// judge tells how well a volume is, and why it is not ok. It is ok only if its present owner says so: figures
// of an earlier epoch, and those of a node that died, tell what was. A volume that nobody has served yet
// holds nothing that could be missing.
func (s *situation) judge(rec *cluster.Volume, o *cluster.Owner) (wire.Status, []string) {
	st := s.of(rec, o)
	if o.Epoch == 0 && (st == nil || st.Reason == "") {
		return wire.OK, []string{}
	}
	if why := s.lacks(o, st); len(why) > 0 {
		return wire.Degraded, why
	}
	if st == nil {
		return wire.Unknown, []string{fmt.Sprintf("its owner, node %d, has not published anything in its epoch %d "+
			"yet", o.Gateway, o.Epoch)}
	}
	if moving := s.moving(rec, o, st); moving != nil {
		return wire.OnTheWay, []string{fmt.Sprintf("moving to group table %d, %d of %d groups done", moving.Table,
			moving.Moved, moving.Groups)}
	}
	return wire.OK, []string{}
}

// lacks lists what is known that a volume lacks of its redundancy or of being served.
func (s *situation) lacks(o *cluster.Owner, st *cluster.VolumeStats) (why []string) {
	say := func(is bool, format string, args ...any) {
		if is {
			why = append(why, fmt.Sprintf(format, args...))
		}
	}
	say(!s.alive[cluster.KeyNodeAlive(o.Gateway)], "its owner, node %d, does not keep itself alive in etcd",
		o.Gateway)
	if st == nil {
		return why
	}
	say(st.Reason != "", "%s", st.Reason)
	say(st.State != stateServing && st.Reason == "",
		"its owner, node %d, is not serving it but %s", o.Gateway, st.State)
	for _, d := range st.Down {
		say(true, "device %d does not answer", d)
	}
	say(st.Stale > 0, "%d chunks missed writes", st.Stale)
	say(st.Unrepaired > 0, "%d bad blocks could not be repaired", st.Unrepaired)
	say(st.Away > 0 && st.MovingTo == 0, "%d chunks are away from home", st.Away)
	return why
}

// stateServing is what an owner publishes of a volume that answers hosts.
const stateServing = "serving"

// moving tells how far a volume is on its way to the newest table of its pool, nil when it is there. The
// record knows before the owner does that there is a way to go.
func (s *situation) moving(rec *cluster.Volume, o *cluster.Owner, st *cluster.VolumeStats) *wire.Moving {
	newest := uint32(0)
	if p := s.pools[rec.Pool]; p != nil {
		newest = uint32(len(p.Changes))
	}
	switch {
	case st.MovingTo != 0:
		return &wire.Moving{Table: st.MovingTo, Moved: st.MovedGroups, Groups: cluster.Groups}
	case len(o.Layout) > 0 && (len(o.Layout) > 1 || o.Layout[0].Table < newest):
		return &wire.Moving{Table: newest, Groups: cluster.Groups}
	}
	return nil
}

// healing is what the present owner published, in the shape of the API.
func (s *situation) healing(rec *cluster.Volume, o *cluster.Owner) *wire.Healing {
	st := s.of(rec, o)
	if o.Epoch == 0 || st == nil {
		return nil
	}
	return &wire.Healing{Down: append([]cluster.DeviceID{}, st.Down...), Away: st.Away, Stale: st.Stale,
		Moving: s.moving(rec, o, st), Copied: st.Copied, Mended: st.RepairedBad,
		Unrepaired: st.Unrepaired, Compared: st.Compared, Disagreed: st.Disagreed, Rebuilt: st.DegradedRead}
}

// judged is a volume with what was found.
type judged struct {
	rec     cluster.Volume
	health  wire.Status
	healing *wire.Healing
}

// judgeAll judges the volumes of whole collections.
func (s *situation) judgeAll(volumes, owners store.Result) ([]judged, error) {
	recorded := make(map[string]store.Item, len(owners.Items))
	for _, it := range owners.Items {
		recorded[it.Key] = it
	}
	out := make([]judged, 0, len(volumes.Items))
	for _, it := range volumes.Items {
		rec, err := decode[cluster.Volume](it)
		if err != nil {
			return nil, err
		}
		var o cluster.Owner
		if it, ok := recorded[cluster.KeyOwner(rec.Key)]; ok {
			if o, err = decode[cluster.Owner](it); err != nil {
				return nil, err
			}
		}
		health, _ := s.judge(&rec, &o)
		out = append(out, judged{rec, health, s.healing(&rec, &o)})
	}
	return out, nil
}
