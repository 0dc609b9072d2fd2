package manager

import (
	"context"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Tenancy. Who asks is in the context (package auth); without a principal the node itself asks. What belongs
// to another project than the one a principal is confined to does not exist for it: every record that has a
// project is let through by sees, and what sees refuses is answered as if there were nothing. So a stranger's
// name and a free one cannot be told apart. Two things can: an id that a caller chose and that is taken (122
// random bits, which nobody guesses), and how fast VUIDs and ETags grow, which tells how busy a cluster is.

// sees says whether what belongs to project exists for the caller.
func sees(ctx context.Context, project string) bool {
	confined := confinedTo(ctx)
	return confined == "" || confined == project
}

// confinedTo is the project that the caller is confined to; "": none.
func confinedTo(ctx context.Context) string {
	p, _ := auth.Of(ctx)
	return p.Confined()
}

// ownProject settles the project of something new. The caller's own is the default.
func ownProject(ctx context.Context, asked string) (string, error) {
	confined := confinedTo(ctx)
	switch {
	case asked == "":
		return confined, nil
	case !sees(ctx, asked):
		return "", refuse(wire.InvalidField, "project", "%q is not the project that you act for", asked)
	}
	if err := cluster.ValidateName("project", asked); err != nil {
		return "", invalid(err)
	}
	return asked, nil
}

// charge adds a change of what a project uses to a transaction that changes its volumes, and refuses to go
// beyond the quota; less is never refused. it is the project's record as of the transaction's reads. What is
// in no project is not counted.
func charge(txn *store.Txn, it store.Item, project string, volumes, bytes int64) error {
	if project == "" {
		return nil
	}
	p := cluster.Project{Name: project}
	if it.Rev != 0 {
		var err error
		if p, err = decode[cluster.Project](it); err != nil {
			return err
		}
	}
	p.Used = p.Used.Plus(volumes, bytes)
	what, have, most := p.Quota.Exceeds(p.Used)
	if what != "" && (volumes > 0 || bytes > 0) {
		return refuse(wire.QuotaExceeded, "", "project %q would have %d %s, its quota is %d", project, have, what,
			most)
	}
	key := cluster.KeyProject(project)
	txn.If = append(txn.If, store.Cond{Key: key, Rev: it.Rev})
	txn.Put = append(txn.Put, put(key, p))
	return nil
}
