package manager

import (
	"context"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/pki"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Authority is what issues the nodes' certificates. The first node that asks draws it; all get the same.
func (m *Manager) Authority(ctx context.Context) (a *pki.Authority, err error) {
	err = m.decide(ctx, func() error {
		snap, err := m.store.Read(ctx, store.Key(cluster.KeyAuthority), store.Key(cluster.KeyCluster))
		if err != nil {
			return err
		}
		if it := snap.One(0); it.Rev != 0 {
			rec, err := decode[cluster.Authority](it)
			if err != nil {
				return err
			}
			a, err = pki.ParseAuthority(rec.Certificate, rec.Key)
			return err
		}
		if snap.One(1).Rev == 0 {
			return refuse(wire.Unavailable, "", "the cluster is not set up yet")
		}
		info, err := decode[cluster.ClusterInfo](snap.One(1))
		if err != nil {
			return err
		}
		if a, err = pki.NewAuthority(info.ID.String(), m.now()); err != nil {
			return err
		}
		var rec cluster.Authority
		if rec.Certificate, rec.Key, err = a.PEM(); err != nil {
			return err
		}
		_, err = m.store.Commit(ctx, store.Txn{If: []store.Cond{{Key: cluster.KeyAuthority}},
			Put: []store.Put{put(cluster.KeyAuthority, rec)}})
		return err
	})
	return a, err
}
