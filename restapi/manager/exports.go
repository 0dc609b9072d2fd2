package manager

import (
	"context"
	"net"
	"slices"
	"strconv"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Allow lets a host use a volume and says how it reaches it; created is false when it was allowed before.
// ifMatch, when not empty, is the ETag that the volume must still have; so below.
func (m *Manager) Allow(ctx context.Context, id cluster.UUID, host,
	ifMatch string) (exp wire.Export, created bool, err error) {
	if err := cluster.ValidateNQN("host", host); err != nil {
		return exp, false, invalid(err)
	}
	err = m.decide(ctx, func() error {
		it, rec, err := m.readVolume(ctx, id, ifMatch)
		if err != nil {
			return err
		}
		if created = !rec.Allows(host); !created {
			return nil
		}
		if len(rec.Hosts) >= cluster.MaxHosts {
			return refuse(wire.Conflict, "host", "the volume is exported to %d hosts, more are not allowed",
				len(rec.Hosts))
		}
		rec.Hosts = append(rec.Hosts, host)
		slices.Sort(rec.Hosts)
		return m.commitHosts(ctx, it, rec)
	})
	if err != nil {
		return exp, false, err
	}
	exp, err = m.Export(ctx, id, host)
	return exp, created, err
}

// Disallow takes a volume from one host; its connections are closed by the nodes. No error when it was not
// allowed.
func (m *Manager) Disallow(ctx context.Context, id cluster.UUID, host, ifMatch string) error {
	if err := cluster.ValidateNQN("host", host); err != nil {
		return invalid(err)
	}
	return m.removeHosts(ctx, id, ifMatch, func(h string) bool { return h == host })
}

// DisallowAll takes a volume from all hosts.
func (m *Manager) DisallowAll(ctx context.Context, id cluster.UUID, ifMatch string) error {
	return m.removeHosts(ctx, id, ifMatch, func(string) bool { return true })
}

func (m *Manager) removeHosts(ctx context.Context, id cluster.UUID, ifMatch string,
	which func(string) bool) error {
	return m.decide(ctx, func() error {
		it, rec, err := m.readVolume(ctx, id, ifMatch)
		if err != nil {
			return err
		}
		left := slices.DeleteFunc(slices.Clone(rec.Hosts), which)
		if len(left) == len(rec.Hosts) {
			return nil
		}
		rec.Hosts = left
		return m.commitHosts(ctx, it, rec)
	})
}

func (m *Manager) commitHosts(ctx context.Context, it store.Item, rec cluster.Volume) error {
	txn := store.Txn{If: []store.Cond{{Key: it.Key, Rev: it.Rev}}, Put: []store.Put{put(it.Key, rec)}}
	m.note(&txn, wire.Info, "volume.exported", aboutVolume(&rec), rec.Project,
		"hosts that may use volume %s: %v", rec.Name, rec.Hosts)
	_, err := m.store.Commit(ctx, txn)
	return err
}

// Export says how a host reaches a volume it may use.
func (m *Manager) Export(ctx context.Context, id cluster.UUID, host string) (wire.Export, error) {
	all, err := m.Exports(ctx, id)
	if err != nil {
		return wire.Export{}, err
	}
	for _, e := range all {
		if e.Host == host {
			return e, nil
		}
	}
	return wire.Export{}, notFound("export", host)
}

// Exports lists the hosts that may use a volume, by NQN.
func (m *Manager) Exports(ctx context.Context, id cluster.UUID) ([]wire.Export, error) {
	v, err := m.readMap(ctx, store.Key(cluster.KeyVolume(id)))
	if err != nil {
		return nil, err
	}
	it := store.Snapshot{Results: v.extra}.One(0)
	if it.Rev == 0 {
		return nil, notFound("volume", id)
	}
	rec, err := decode[cluster.Volume](it)
	if err != nil {
		return nil, err
	}
	if !sees(ctx, rec.Project) {
		return nil, notFound("volume", id)
	}
	vol, err := m.drawVolume(ctx, it)
	if err != nil {
		return nil, err
	}
	portals, err := v.portals(vol.Owner)
	if err != nil {
		return nil, err
	}
	out := []wire.Export{}
	for _, h := range slices.Sorted(slices.Values(rec.Hosts)) {
		out = append(out, wire.Export{Versioned: vol.Versioned,
			Volume: id, Host: h, NQN: vol.NQN, UUID: id, Portals: portals})
	}
	return out, nil
}

// portals are the host addresses of all storage nodes: the owner's first, because hosts without multipath use
// only the first that answers.
func (v *view) portals(owner *wire.Owner) ([]wire.Portal, error) {
	nodes := v.storageNodes()
	if owner != nil {
		slices.SortStableFunc(nodes, func(a, b *cluster.Node) int {
			switch owner.Gateway {
			case a.Number:
				return -1
			case b.Number:
				return 1
			}
			return 0
		})
	}
	out := []wire.Portal{}
	for _, n := range nodes {
		host, port, err := net.SplitHostPort(n.Addresses.Host)
		if err != nil {
			return nil, err
		}
		number, err := strconv.Atoi(port)
		if err != nil {
			return nil, err
		}
		out = append(out, wire.Portal{Transport: "tcp", Address: host, Port: number, Node: n.Number})
	}
	return out, nil
}
