package manager

import (
	"context"
	"slices"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// localityAfter is who serves the volumes of a pool after a change of it. A home has to be one.
func (v *view) localityAfter(p *cluster.Pool, r wire.PoolUpdate) (*cluster.Locality, error) {
	var l cluster.Locality
	if p.Locality != nil {
		l = *p.Locality
	}
	if r.Home != nil {
		if err := v.inhabited(*r.Home); err != nil {
			return nil, err
		}
		l.Home = *r.Home
	}
	if r.Balance != nil {
		l.Balance = *r.Balance
	}
	if l == (cluster.Locality{}) {
		return nil, nil
	}
	return &l, nil
}

// inhabited refuses a home in which no node lies; none is fine.
func (v *view) inhabited(home string) error {
	if home == "" {
		return nil
	}
	if err := cluster.ValidateHome("home", home); err != nil {
		return invalid(err)
	}
	var paths []string
	for _, n := range v.SortedNodes() {
		if cluster.Nearness(home, n.Path()) > strings.Count(home, "/") {
			return nil
		}
		paths = append(paths, n.Path())
	}
	return refuse(wire.InvalidField, "home", "no node lies in %q; a home is the path of one, or begins it: %s",
		home, strings.Join(paths, ", "))
}

// SetVolumeHome says which failure domain's nodes are to serve a volume: empty, none; nil, that of its pool.
// ifMatch, when not empty, is the ETag that the volume must still have.
func (m *Manager) SetVolumeHome(ctx context.Context, id cluster.UUID, home *string, ifMatch string) (
	vol wire.Volume, err error,
) {
	err = m.decide(ctx, func() error {
		it, rec, err := m.readVolume(ctx, id, ifMatch)
		if err != nil {
			return err
		}
		v, err := m.readMap(ctx)
		if err != nil {
			return err
		}
		if home != nil {
			if err := v.inhabited(*home); err != nil {
				return err
			}
		}
		if !same(rec.Home, home) {
			rec.Home = home
			p := put(it.Key, rec)
			txn := store.Txn{If: []store.Cond{{Key: it.Key, Rev: it.Rev}}, Put: []store.Put{p}}
			m.note(&txn, wire.Info, "volume.updated", aboutVolume(&rec), rec.Project,
				"volume %s: its home is %s now", rec.Name, homeText(home))
			if it.Rev, err = m.store.Commit(ctx, txn); err != nil {
				return err
			}
			it.Value = p.Value
		}
		vol, err = m.drawVolume(ctx, it)
		return err
	})
	return vol, err
}

func same[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

func homeText(home *string) string {
	switch {
	case home == nil:
		return "that of its pool"
	case *home == "":
		return "nowhere"
	}
	return *home
}

// nearest are those members of a pool that are nearest to the home of its volumes.
func nearest(p *cluster.Pool) []cluster.Member {
	at := p.HomeOf(&cluster.Volume{})
	members := p.Present()
	most := 0
	for _, x := range members {
		most = max(most, cluster.Nearness(at, x.Domain))
	}
	return slices.DeleteFunc(members, func(x cluster.Member) bool {
		return cluster.Nearness(at, x.Domain) < most
	})
}
