package manager

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// A host has no record: what it may attach is in the records of volumes and snapshots, what it is connected
// to nodes know. Of a host the caller sees what is about things that exist for it; a host of which that is
// nothing does not exist for it either.

const (
	// hostScan is how many records are read at a time when all are looked through: 1 to 2 MiB.
	hostScan = 2048
	// revokedAtOnce is how many records one transaction takes a host from: each is a condition, and a write with
	// its event.
	revokedAtOnce = store.MaxOps / 4
	// followTimeout is how long this node's own view of the records may take to catch up.
	followTimeout = 200 * time.Millisecond
)

// access is something that may be shown to hosts, with those that it is.
type access struct {
	of    Exported
	hosts []string
	shape wire.HostAccess
}

// Hosts lists the hosts that may attach something, by NQN, only the one called host when that is not empty.
func (m *Manager) Hosts(ctx context.Context, host string) ([]wire.Host, error) {
	found := make(map[string]*wire.Host)
	err := m.eachAccess(ctx, host, func(a access) {
		for _, nqn := range a.hosts {
			if host != "" && nqn != host {
				continue
			}
			if found[nqn] == nil {
				found[nqn] = &wire.Host{NQN: nqn, Connections: []wire.HostConnection{}}
			}
			found[nqn].Access = append(found[nqn].Access, a.shape)
		}
	})
	if err != nil {
		return nil, err
	}
	out := make([]wire.Host, 0, len(found))
	for _, h := range found {
		out = append(out, *h)
	}
	slices.SortFunc(out, func(a, b wire.Host) int { return strings.Compare(a.NQN, b.NQN) })
	return out, nil
}

// eachAccess looks at all volumes, then at all snapshots, that the caller sees and hosts may attach, or a
// host when it is named; in the order of their ids.
func (m *Manager) eachAccess(ctx context.Context, host string, f func(access)) error {
	st, err := m.followed(ctx)
	if err != nil {
		return err
	}
	if st == nil {
		return m.scanAccess(ctx, host, f)
	}
	shown := func(hosts []string) bool {
		return len(hosts) > 0 && (host == "" || slices.Contains(hosts, host))
	}
	var volumes, snapshots []access
	for _, rec := range st.Volumes {
		if shown(rec.Hosts) {
			volumes = append(volumes, drawVolumeAccess(rec))
		}
	}
	for _, rec := range st.Snapshots {
		if shown(rec.Hosts) {
			snapshots = append(snapshots, drawSnapshotAccess(&rec.Snapshot))
		}
	}
	for _, all := range [][]access{volumes, snapshots} {
		slices.SortFunc(all, func(a, b access) int { return bytes.Compare(a.of.id[:], b.of.id[:]) })
		for _, a := range all {
			visit(ctx, a, f)
		}
	}
	return nil
}

// followed is what this node knows of all records, once it knows all that was written before this call; nil:
// it has to read them.
func (m *Manager) followed(ctx context.Context) (*cluster.State, error) {
	if m.states == nil {
		return nil, nil
	}
	read, err := m.store.Read(ctx, store.Key(cluster.KeyCluster))
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, followTimeout)
	defer cancel()
	st, err := m.states.At(wait, read.Rev)
	if err != nil || st.Unreadable {
		return nil, nil
	}
	return st, nil
}

// scanAccess is eachAccess by reading all records. Decoding them is most of the work: those that name no
// host, or not this one, are left out by their text.
func (m *Manager) scanAccess(ctx context.Context, host string, f func(access)) error {
	named := []byte(`"hosts":[`)
	if host != "" {
		named = put("", host).Value
	}
	volume := func(it store.Item) error {
		if !bytes.Contains(it.Value, named) {
			return nil
		}
		rec, err := decode[cluster.Volume](it)
		if err == nil {
			visit(ctx, drawVolumeAccess(&rec), f)
		}
		return err
	}
	snapshot := func(it store.Item) error {
		if !bytes.Contains(it.Value, named) {
			return nil
		}
		rec, err := decode[cluster.Snapshot](it)
		if err == nil {
			visit(ctx, drawSnapshotAccess(&rec), f)
		}
		return err
	}
	if err := m.scan(ctx, cluster.PrefixVolumes, volume); err != nil {
		return err
	}
	return m.scan(ctx, cluster.PrefixSnapshots, snapshot)
}

func visit(ctx context.Context, a access, f func(access)) {
	if len(a.hosts) > 0 && sees(ctx, a.shape.Project) {
		f(a)
	}
}

// What is hidden is shown to nobody.
func drawVolumeAccess(rec *cluster.Volume) access {
	return access{of: OfVolume(rec.UUID), hosts: rec.Hosts, shape: wire.HostAccess{Volume: rec.UUID,
		Name: rec.Name, Project: rec.Project, NQN: cluster.VolumeNQN(rec.UUID)}}
}

func drawSnapshotAccess(rec *cluster.Snapshot) access {
	return access{of: OfSnapshot(rec.UUID), hosts: rec.Hosts, shape: wire.HostAccess{Volume: rec.Volume,
		Snapshot: rec.UUID, Name: rec.Name, Project: rec.Project, NQN: cluster.SnapshotNQN(rec.UUID)}}
}

// scan reads all records below a prefix, in pieces.
func (m *Manager) scan(ctx context.Context, prefix string, f func(store.Item) error) error {
	q := store.Query{Prefix: prefix, Limit: hostScan}
	for more := true; more; {
		read, err := m.store.Read(ctx, q)
		if err != nil {
			return err
		}
		more = read.Results[0].More
		for _, it := range read.Results[0].Items {
			q.After = it.Key
			if err := f(it); err != nil {
				return err
			}
		}
	}
	return nil
}

// Connected says what the connections of hosts are to, by the names of their subsystems, and leaves those out
// that are to nothing that the caller sees.
func (m *Manager) Connected(ctx context.Context, hosts []wire.Host) ([]wire.Host, error) {
	known, err := m.subsystems(ctx, hosts)
	if err != nil {
		return nil, err
	}
	out := []wire.Host{}
	for _, h := range hosts {
		seen := wire.Host{NQN: h.NQN, Access: []wire.HostAccess{}, Connections: []wire.HostConnection{},
			Missing: []cluster.NodeID{}}
		for _, c := range h.Connections {
			if a, ok := known[c.NQN]; ok {
				c.Volume, c.Snapshot = a.Volume, a.Snapshot
				seen.Connections = append(seen.Connections, c)
			}
		}
		if len(seen.Connections) > 0 {
			out = append(out, seen)
		}
	}
	return out, nil
}

// subsystems finds the volumes and snapshots that the caller sees and hosts are connected to.
func (m *Manager) subsystems(ctx context.Context, hosts []wire.Host) (map[string]wire.HostAccess, error) {
	asked := make(map[Exported]bool)
	for _, h := range hosts {
		for _, c := range h.Connections {
			if id, snapshot, ok := cluster.ParseSubsystemNQN(c.NQN); ok {
				asked[Exported{id: id, snapshot: snapshot}] = true
			}
		}
	}
	known := make(map[string]wire.HostAccess)
	note := func(a access) {
		if sees(ctx, a.shape.Project) {
			known[a.shape.NQN] = a.shape
		}
	}
	st, err := m.followed(ctx)
	if err != nil {
		return nil, err
	}
	if st == nil {
		return known, m.readSubsystems(ctx, slices.Collect(maps.Keys(asked)), note)
	}
	for _, rec := range st.Volumes {
		if asked[OfVolume(rec.UUID)] {
			note(drawVolumeAccess(rec))
		}
	}
	for id, rec := range st.Snapshots {
		if asked[OfSnapshot(id)] {
			note(drawSnapshotAccess(&rec.Snapshot))
		}
	}
	return known, nil
}

// readSubsystems reads the records of volumes and snapshots, as far as there are any.
func (m *Manager) readSubsystems(ctx context.Context, asked []Exported, f func(access)) error {
	for batch := range slices.Chunk(asked, store.MaxOps) {
		var queries []store.Query
		for _, x := range batch {
			if x.snapshot {
				queries = append(queries, store.Key(cluster.KeySnapshot(x.id)))
			} else {
				queries = append(queries, store.Key(cluster.KeyVolume(x.id)))
			}
		}
		read, err := m.store.Read(ctx, queries...)
		if err != nil {
			return err
		}
		for i := range batch {
			it := read.One(i)
			if it.Rev == 0 {
				continue
			}
			a, err := readAccess(it)
			if err != nil {
				return err
			}
			f(a)
		}
	}
	return nil
}

// readAccess reads the record of a volume or of a snapshot.
func readAccess(it store.Item) (access, error) {
	if strings.HasPrefix(it.Key, cluster.PrefixSnapshots) {
		rec, err := decode[cluster.Snapshot](it)
		return drawSnapshotAccess(&rec), err
	}
	rec, err := decode[cluster.Volume](it)
	return drawVolumeAccess(&rec), err
}

// HostPage cuts a page out of hosts that are in order.
func HostPage(p Page, hosts []wire.Host) (wire.Page[wire.Host], error) {
	after, limit, err := p.after("hosts")
	if err != nil {
		return wire.Page[wire.Host]{}, err
	}
	for len(hosts) > 0 && hosts[0].NQN <= after {
		hosts = hosts[1:]
	}
	out := wire.Page[wire.Host]{Items: append([]wire.Host{}, hosts[:min(limit, len(hosts))]...)}
	if len(hosts) > limit {
		out.Next = cursorAfter("hosts", hosts[limit-1].NQN)
	}
	return out, nil
}

// Revoke takes everything that the caller sees from a host; its connections are closed by the nodes. What is
// opened to it meanwhile stays open. After an error it has lost a part, and the call may be repeated.
func (m *Manager) Revoke(ctx context.Context, host string) error {
	if err := cluster.ValidateNQN("host", host); err != nil {
		return invalid(err)
	}
	var open []Exported
	if err := m.eachAccess(ctx, host, func(a access) {
		if slices.Contains(a.hosts, host) {
			open = append(open, a.of)
		}
	}); err != nil {
		return err
	}
	for some := range slices.Chunk(open, revokedAtOnce) {
		if err := m.decide(ctx, func() error { return m.revoke(ctx, host, some) }); err != nil {
			return err
		}
	}
	return nil
}

// revoke takes a few volumes and snapshots from a host in one transaction.
func (m *Manager) revoke(ctx context.Context, host string, some []Exported) error {
	var t store.Txn
	for _, x := range some {
		l, err := m.readHosts(ctx, x, "")
		var gone *Error
		if errors.As(err, &gone) && gone.Code == wire.NotFound {
			continue
		}
		if err != nil {
			return err
		}
		left := slices.DeleteFunc(slices.Clone(l.hosts), func(h string) bool { return h == host })
		if len(left) < len(l.hosts) {
			l.set(&t, left)
		}
	}
	if len(t.Put) == 0 {
		return nil
	}
	_, err := m.store.Commit(ctx, t)
	return err
}
