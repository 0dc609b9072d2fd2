package manager

import (
	"context"
	"slices"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Use narrows lists of volumes and of snapshots by what people and hosts use them for; empty fields do not.
type Use struct {
	Host     string // that may use it: its NQN
	Metadata string // "key=value" or "key", separated by commas: all of them are there
}

func (u Use) validate() error {
	if u.Host != "" {
		if err := cluster.ValidateNQN("host", u.Host); err != nil {
			return invalid(err)
		}
	}
	if u.Metadata == "" {
		return nil
	}
	for pair := range strings.SplitSeq(u.Metadata, ",") {
		if key, _, _ := strings.Cut(pair, "="); key == "" {
			return refuse(wire.InvalidField, "metadata", "%q is neither key=value nor key", pair)
		}
	}
	return nil
}

func (u Use) passes(hosts []string, metadata cluster.Metadata) bool {
	if u.Host != "" && !slices.Contains(hosts, u.Host) {
		return false
	}
	if u.Metadata == "" {
		return true
	}
	for pair := range strings.SplitSeq(u.Metadata, ",") {
		key, want, exact := strings.Cut(pair, "=")
		if have, ok := metadata[key]; !ok || exact && have != want {
			return false
		}
	}
	return true
}

// VolumeFilter narrows a list of volumes; empty fields do not.
type VolumeFilter struct {
	Name    string
	Pool    string
	Project string
	// Snapshot that they began as and share blocks with; zero: any, and none.
	Snapshot cluster.UUID
	Hidden   bool // those that are kept for clones instead; only who sees all projects sees them
	Health   wire.Status
	Use
}

func (f VolumeFilter) validate() error {
	switch f.Health {
	case "", wire.OK, wire.Degraded, wire.OnTheWay, wire.Unknown:
		return f.Use.validate()
	}
	return refuse(wire.InvalidField, "health", "%q is none of %s, %s, %s, %s", f.Health, wire.OK, wire.Degraded,
		wire.OnTheWay, wire.Unknown)
}

// passes tells whether a record passes; its health is looked at by inHealth.
func (f VolumeFilter) passes(rec *cluster.Volume) bool {
	return rec.Hidden == f.Hidden && (f.Name == "" || f.Name == rec.Name) &&
		(f.Pool == "" || f.Pool == rec.Pool) && (f.Project == "" || f.Project == rec.Project) &&
		(f.Snapshot.IsZero() || rec.Parent != nil && rec.Parent.Snapshot == f.Snapshot) &&
		f.Use.passes(rec.Hosts, rec.Metadata)
}

// SnapshotFilter narrows a list of snapshots; empty fields do not.
type SnapshotFilter struct {
	Schedule cluster.UUID // that has made them; zero: any, and people
	Use
}

func (f SnapshotFilter) passes(rec *cluster.Snapshot) bool {
	return (f.Schedule.IsZero() || rec.Schedule == f.Schedule) && f.Use.passes(rec.Hosts, rec.Metadata)
}

// health sorts volumes out by their health. A page that is found among the first ones costs what it costs to
// show them; who has to look further reads once what there is of all volumes.
type health struct {
	looked bool
	*situation
	owners map[string]store.Item // by key
}

// inHealth draws those volumes that are so well, at most so many; any if nothing is wanted.
func (m *Manager) inHealth(ctx context.Context, h *health, items []store.Item, want wire.Status,
	most int) ([]wire.Volume, error) {
	if want == "" {
		return m.drawVolumes(ctx, items[:min(len(items), most)])
	}
	var drawn []wire.Volume
	var err error
	if h.situation == nil && (!h.looked || len(items) <= drawnAtOnce) {
		drawn, err = m.drawVolumes(ctx, items)
		h.looked = true
	} else {
		drawn, err = m.drawFrom(ctx, h, items)
	}
	if err != nil {
		return nil, err
	}
	drawn = slices.DeleteFunc(drawn, func(v wire.Volume) bool { return v.Health != want })
	return drawn[:min(len(drawn), most)], nil
}

// drawFrom draws volumes from what there is of all of them, which is read once.
func (m *Manager) drawFrom(ctx context.Context, h *health, items []store.Item) ([]wire.Volume, error) {
	if h.situation == nil {
		snap, err := m.store.Read(ctx, store.All(cluster.PrefixAlive), store.All(cluster.PrefixPools),
			store.All(cluster.PrefixVolumeStats), store.All(cluster.PrefixOwners))
		if err != nil {
			return nil, err
		}
		if h.situation, err = readSituation(snap.Results[0], snap.Results[1], snap.Results[2]); err != nil {
			return nil, err
		}
		h.owners = make(map[string]store.Item)
		for _, it := range snap.Results[3].Items {
			h.owners[it.Key] = it
		}
	}
	out := make([]wire.Volume, 0, len(items))
	for _, it := range items {
		rec, err := decode[cluster.Volume](it)
		if err != nil {
			return nil, err
		}
		vol, err := h.draw(rec, it.Rev, h.owners[cluster.KeyOwner(rec.Key)])
		if err != nil {
			return nil, err
		}
		out = append(out, vol)
	}
	return out, nil
}
