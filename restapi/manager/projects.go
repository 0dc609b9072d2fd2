package manager

import (
	"context"
	"math"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Projects lists the projects that the caller sees and that have a record, by name.
func (m *Manager) Projects(ctx context.Context, p Page) (wire.Page[wire.Project], error) {
	none := wire.Page[wire.Project]{}
	after, limit, err := p.after("projects")
	if err != nil {
		return none, err
	}
	if own := confinedTo(ctx); own != "" {
		one, err := m.Project(ctx, own)
		return wire.Page[wire.Project]{Items: []wire.Project{one}}, err
	}
	q := store.Query{Prefix: cluster.PrefixProjects, Limit: limit}
	if after != "" {
		q.After = cluster.PrefixProjects + after
	}
	snap, err := m.store.Read(ctx, q)
	if err != nil {
		return none, err
	}
	out := wire.Page[wire.Project]{Items: []wire.Project{}}
	for _, it := range snap.Results[0].Items {
		rec, err := decode[cluster.Project](it)
		if err != nil {
			return none, err
		}
		out.Items = append(out.Items, drawProject(rec, it.Rev))
	}
	if snap.Results[0].More {
		out.Next = cursorAfter("projects", out.Items[len(out.Items)-1].Name)
	}
	return out, nil
}

// Project shows a project. The caller's own exists even before it has anything.
func (m *Manager) Project(ctx context.Context, name string) (wire.Project, error) {
	if cluster.ValidateName("project", name) != nil || !sees(ctx, name) {
		return wire.Project{}, notFound("project", name)
	}
	snap, err := m.store.Read(ctx, store.Key(cluster.KeyProject(name)))
	if err != nil {
		return wire.Project{}, err
	}
	if snap.One(0).Rev == 0 {
		if confinedTo(ctx) == name {
			return wire.Project{Name: name}, nil
		}
		return wire.Project{}, notFound("project", name)
	}
	rec, err := decode[cluster.Project](snap.One(0))
	return drawProject(rec, snap.One(0).Rev), err
}

// SetQuota replaces the quota of a project and makes its record if there is none (created). A quota below
// what the project uses takes nothing away; it only stops growth. ifMatch, when not empty, is the ETag that
// the project must still have.
func (m *Manager) SetQuota(ctx context.Context, name string, q wire.Quota, ifMatch string) (
	p wire.Project, created bool, err error,
) {
	if err := cluster.ValidateName("project", name); err != nil {
		return p, false, invalid(err)
	}
	for _, x := range []struct {
		field string
		value *uint64
	}{{"volumes", q.Volumes}, {"bytes", q.Bytes}} {
		if x.value != nil && *x.value > math.MaxInt64 {
			return p, false, refuse(wire.InvalidField, x.field, "%d is larger than %d", *x.value, math.MaxInt64)
		}
	}
	err = m.decide(ctx, func() error {
		key := cluster.KeyProject(name)
		snap, err := m.store.Read(ctx, store.Key(key))
		if err != nil {
			return err
		}
		if err := matches(ifMatch, snap.One(0).Rev); err != nil {
			return err
		}
		rec := cluster.Project{Name: name}
		if created = snap.One(0).Rev == 0; !created {
			if rec, err = decode[cluster.Project](snap.One(0)); err != nil {
				return err
			}
		}
		rec.Quota = cluster.Quota(q)
		rev, err := m.store.Commit(ctx, store.Txn{If: []store.Cond{{Key: key, Rev: snap.One(0).Rev}},
			Put: []store.Put{put(key, rec)}})
		p = drawProject(rec, rev)
		return err
	})
	return p, created, err
}

func drawProject(rec cluster.Project, rev int64) wire.Project {
	return wire.Project{Versioned: wire.Versioned{ETag: etag(rev)},
		Name: rec.Name, Quota: wire.Quota(rec.Quota), Used: rec.Used}
}
