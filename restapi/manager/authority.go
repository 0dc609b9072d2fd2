package manager

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Authority is what issues the nodes' certificates. The first node that asks draws it; all get the same.
func (m *Manager) Authority(ctx context.Context) (rec cluster.Authority, err error) {
	err = m.decide(ctx, func() error {
		snap, err := m.store.Read(ctx, store.Key(cluster.KeyAuthority), store.Key(cluster.KeyCluster),
			store.Key(cluster.KeyClusterKeys))
		if err != nil {
			return err
		}
		if it := snap.One(0); it.Rev != 0 {
			rec, err = decode[cluster.Authority](it)
			return err
		}
		if snap.One(1).Rev == 0 {
			return refuse(wire.Unavailable, "", "the cluster is not set up yet")
		}
		info, err := decode[cluster.ClusterInfo](snap.One(1))
		if err != nil {
			return err
		}
		current, err := currentKey(snap.One(2))
		if err != nil {
			return err
		}
		drawn, err := m.draw(ctx, info.ID, current)
		if err != nil {
			return err
		}
		rec.Certificate, rec.AuthorityKey = drawn.Certificate, drawn.AuthorityKey
		_, err = m.store.Commit(ctx, store.Txn{Put: []store.Put{put(cluster.KeyAuthority, rec)},
			If: []store.Cond{{Key: cluster.KeyAuthority}, {Key: cluster.KeyClusterKeys, Rev: snap.One(2).Rev}}})
		return err
	})
	return rec, err
}

// encrypted gives what a node says of its etcd member the scheme that the cluster uses, which the node cannot
// know before it has joined.
func encrypted(c cluster.ClusterInfo, r wire.JoinRequest) wire.JoinRequest {
	if c.EncryptEtcd {
		for _, u := range []*string{&r.EtcdPeerURL, &r.Addresses.Etcd} {
			if rest, ok := strings.CutPrefix(*u, "http://"); ok {
				*u = "https://" + rest
			}
		}
	}
	return r
}

// certify gives a node that joins what it needs to reach an encrypted etcd: a certificate for the addresses
// of its member. The node issues its own as soon as it can read the authority's record.
func (m *Manager) certify(ctx context.Context, r *wire.JoinRequest, res *wire.JoinResult) error {
	if r.CertificateRequest == "" {
		return refuse(wire.InvalidField, "certificate_request", "must be set: this cluster's etcd is encrypted")
	}
	rec, err := m.Authority(ctx)
	if err != nil {
		return err
	}
	issuer, err := OpenAuthority(ctx, m.keys, &rec)
	if err != nil {
		return err
	}
	var hosts []string
	for _, at := range []string{r.EtcdPeerURL, r.Addresses.Etcd} {
		if u, err := url.Parse(at); err == nil && u.Hostname() != "" && !slices.Contains(hosts, u.Hostname()) {
			hosts = append(hosts, u.Hostname())
		}
	}
	if res.Certificate, err = issuer.Sign(r.CertificateRequest, r.Name, hosts, m.now()); err != nil {
		return refuse(wire.InvalidField, "certificate_request", "%v", err)
	}
	res.Authorities = rec.Trusted()
	return nil
}
