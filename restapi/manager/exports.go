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

// Exported is what may be shown to hosts.
type Exported struct {
	id       cluster.UUID
	snapshot bool
}

// OfVolume names a volume.
func OfVolume(id cluster.UUID) Exported { return Exported{id: id} }

// OfSnapshot names a snapshot.
func OfSnapshot(id cluster.UUID) Exported { return Exported{id: id, snapshot: true} }

// hostList is the part of a record that says which hosts may use what it describes.
type hostList struct {
	it    store.Item
	hosts []string
	with  func(hosts []string) any // the record with other hosts
	note  func(t *store.Txn, hosts []string)
	ready func() error // refuses another host for now; nil: never
	owner string       // key of the record of who serves it
	shape wire.Export  // of an export, without host and portals
}

func (m *Manager) readHosts(ctx context.Context, x Exported, ifMatch string) (*hostList, error) {
	if x.snapshot {
		it, rec, err := m.readSnapshot(ctx, x.id, ifMatch)
		if err != nil {
			return nil, err
		}
		return &hostList{it: it, hosts: rec.Hosts, owner: cluster.KeyOwner(rec.Key),
			with: func(hosts []string) any { rec.Hosts = hosts; return rec },
			note: func(t *store.Txn, hosts []string) {
				m.note(t, wire.Info, "snapshot.exported", about("snapshot", rec.UUID), rec.Project,
					"hosts that may read snapshot %s: %v", rec.Name, hosts)
			},
			shape: wire.Export{Versioned: wire.Versioned{ETag: etag(it.Rev)}, Volume: rec.Volume, Snapshot: rec.UUID,
				UUID: rec.UUID, NQN: cluster.SnapshotNQN(rec.UUID)}}, nil
	}
	it, rec, err := m.readVolume(ctx, x.id, ifMatch)
	if err != nil {
		return nil, err
	}
	return &hostList{it: it, hosts: rec.Hosts, owner: cluster.KeyOwner(rec.Key),
		with: func(hosts []string) any { rec.Hosts = hosts; return rec },
		ready: func() error {
			if rec.Looking() {
				return m.refuseShrinking(ctx, it, &rec)
			}
			return m.refuseReverting(ctx, &rec)
		},
		note: func(t *store.Txn, hosts []string) {
			m.note(t, wire.Info, "volume.exported", aboutVolume(&rec), rec.Project,
				"hosts that may use volume %s: %v", rec.Name, hosts)
		},
		shape: wire.Export{Versioned: wire.Versioned{ETag: etag(it.Rev)}, Volume: rec.UUID, UUID: rec.UUID,
			NQN: cluster.VolumeNQN(rec.UUID)}}, nil
}

// Allow lets a host use a volume or a snapshot and says how it reaches it; created is false when it was
// allowed before. ifMatch, when not empty, is the ETag that the volume or snapshot must still have; so below.
func (m *Manager) Allow(ctx context.Context, x Exported, host,
	ifMatch string) (exp wire.Export, created bool, err error) {
	if err := cluster.ValidateNQN("host", host); err != nil {
		return exp, false, invalid(err)
	}
	err = m.decide(ctx, func() error {
		l, err := m.readHosts(ctx, x, ifMatch)
		if err != nil {
			return err
		}
		if created = !slices.Contains(l.hosts, host); !created {
			return nil
		}
		if len(l.hosts) >= cluster.MaxHosts {
			return refuse(wire.Conflict, "host", "it is exported to %d hosts, more are not allowed", len(l.hosts))
		}
		if l.ready != nil {
			if err := l.ready(); err != nil {
				return err
			}
		}
		return m.commitHosts(ctx, l, append(slices.Clone(l.hosts), host))
	})
	if err != nil {
		return exp, false, err
	}
	exp, err = m.Export(ctx, x, host)
	return exp, created, err
}

// Disallow takes a volume or a snapshot from one host; its connections are closed by the nodes. No error when
// it was not allowed.
func (m *Manager) Disallow(ctx context.Context, x Exported, host, ifMatch string) error {
	if err := cluster.ValidateNQN("host", host); err != nil {
		return invalid(err)
	}
	return m.removeHosts(ctx, x, ifMatch, func(h string) bool { return h == host })
}

// DisallowAll takes a volume or a snapshot from all hosts.
func (m *Manager) DisallowAll(ctx context.Context, x Exported, ifMatch string) error {
	return m.removeHosts(ctx, x, ifMatch, func(string) bool { return true })
}

func (m *Manager) removeHosts(ctx context.Context, x Exported, ifMatch string,
	which func(string) bool) error {
	return m.decide(ctx, func() error {
		l, err := m.readHosts(ctx, x, ifMatch)
		if err != nil {
			return err
		}
		left := slices.DeleteFunc(slices.Clone(l.hosts), which)
		if len(left) == len(l.hosts) {
			return nil
		}
		return m.commitHosts(ctx, l, left)
	})
}

func (m *Manager) commitHosts(ctx context.Context, l *hostList, hosts []string) error {
	var t store.Txn
	l.set(&t, hosts)
	_, err := m.store.Commit(ctx, t)
	return err
}

// set adds to a transaction that other hosts may use it.
func (l *hostList) set(t *store.Txn, hosts []string) {
	slices.Sort(hosts)
	t.If = append(t.If, store.Cond{Key: l.it.Key, Rev: l.it.Rev})
	t.Put = append(t.Put, put(l.it.Key, l.with(hosts)))
	l.note(t, hosts)
}

// Export says how a host reaches a volume or a snapshot that it may use.
func (m *Manager) Export(ctx context.Context, x Exported, host string) (wire.Export, error) {
	all, err := m.allExports(ctx, x)
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

// Exports lists the hosts that may use a volume or a snapshot, by NQN.
func (m *Manager) Exports(ctx context.Context, x Exported, p Page) (wire.Page[wire.Export], error) {
	out := wire.Page[wire.Export]{Items: []wire.Export{}}
	after, limit, err := p.after("exports")
	if err != nil {
		return out, err
	}
	all, err := m.allExports(ctx, x)
	if err != nil {
		return out, err
	}
	all = slices.DeleteFunc(all, func(e wire.Export) bool { return e.Host <= after })
	if len(all) > limit {
		all = all[:limit]
		out.Next = cursorAfter("exports", all[limit-1].Host)
	}
	out.Items = append(out.Items, all...)
	return out, nil
}

func (m *Manager) allExports(ctx context.Context, x Exported) ([]wire.Export, error) {
	l, err := m.readHosts(ctx, x, "")
	if err != nil {
		return nil, err
	}
	v, err := m.readMap(ctx, store.Key(l.owner))
	if err != nil {
		return nil, err
	}
	var owner cluster.Owner
	if it := (store.Snapshot{Results: v.extra}).One(0); it.Rev != 0 {
		if owner, err = decode[cluster.Owner](it); err != nil {
			return nil, err
		}
	}
	portals, err := v.portals(&owner)
	if err != nil {
		return nil, err
	}
	out := []wire.Export{}
	for _, h := range slices.Sorted(slices.Values(l.hosts)) {
		e := l.shape
		e.Host, e.Portals = h, portals
		out = append(out, e)
	}
	return out, nil
}

// portals are the host addresses of all storage nodes: the owner's first, because hosts without multipath use
// only the first that answers.
func (v *view) portals(owner *cluster.Owner) ([]wire.Portal, error) {
	nodes := v.storageNodes()
	if owner.Epoch > 0 {
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
