package manager

import (
	"context"
	"slices"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Volume shows one volume.
func (m *Manager) Volume(ctx context.Context, id cluster.UUID) (wire.Volume, error) {
	it, _, err := m.readVolume(ctx, id, "")
	if err != nil {
		return wire.Volume{}, err
	}
	return m.drawVolume(ctx, it)
}

// drawVolume adds the volume's status to its record.
func (m *Manager) drawVolume(ctx context.Context, it store.Item) (wire.Volume, error) {
	all, err := m.drawVolumes(ctx, []store.Item{it})
	if err != nil {
		return wire.Volume{}, err
	}
	return all[0], nil
}

// drawnAtOnce is how many volumes one read tells the status of: for each its owner and its slice are read,
// and with them who is alive, and the pools.
const drawnAtOnce = (store.MaxOps - 2) / 2

// drawVolumes adds their status to records. Status is read after the records, so it may be newer.
func (m *Manager) drawVolumes(ctx context.Context, items []store.Item) ([]wire.Volume, error) {
	out := make([]wire.Volume, 0, len(items))
	for batch := range slices.Chunk(items, drawnAtOnce) {
		recs := make([]cluster.Volume, len(batch))
		owners := make([]store.Query, len(batch))
		var published []store.Query
		for i, it := range batch {
			var err error
			if recs[i], err = decode[cluster.Volume](it); err != nil {
				return nil, err
			}
			owners[i] = store.Key(cluster.KeyOwner(recs[i].Key))
			slice := store.All(cluster.PrefixVolumeStatsOf(cluster.SliceOf(recs[i].Key)))
			if !slices.Contains(published, slice) {
				published = append(published, slice)
			}
		}
		snap, err := m.store.Read(ctx, slices.Concat([]store.Query{store.All(cluster.PrefixAlive),
			store.All(cluster.PrefixPools)}, owners, published)...)
		if err != nil {
			return nil, err
		}
		s, err := readSituation(snap.Results[0], snap.Results[1], snap.Results[2+len(owners):]...)
		if err != nil {
			return nil, err
		}
		for i, rec := range recs {
			vol, err := s.draw(rec, batch[i].Rev, snap.One(2+i))
			if err != nil {
				return nil, err
			}
			out = append(out, vol)
		}
	}
	return out, nil
}

// draw draws a volume from its record of some revision and from that of its owner, if there is one.
func (s *situation) draw(rec cluster.Volume, rev int64, owned store.Item) (vol wire.Volume, err error) {
	var owner cluster.Owner
	if owned.Rev != 0 {
		if owner, err = decode[cluster.Owner](owned); err != nil {
			return vol, err
		}
	}
	vol = drawVolume(rec, owner, s)
	vol.ETag = etag(rev)
	return vol, nil
}

// readSituation reads which nodes are alive, the pools, and what is published of volumes.
func readSituation(alive, pools store.Result, published ...store.Result) (*situation, error) {
	var all store.Result
	for _, r := range published {
		all.Items = append(all.Items, r.Items...)
	}
	s, err := newSituation(all, alive)
	if err != nil {
		return nil, err
	}
	for _, it := range pools.Items {
		p, err := decode[cluster.Pool](it)
		if err != nil {
			return nil, err
		}
		s.pools[p.Name] = &p
	}
	return s, nil
}

// drawVolume makes the shape of the API from the records and from what the owner published.
func drawVolume(rec cluster.Volume, owner cluster.Owner, s *situation) wire.Volume {
	w := wire.Volume{
		ID: rec.UUID, Name: rec.Name, Belonging: wire.Belonging{Project: rec.Project, Group: rec.Group},
		Pool: rec.Pool, Size: rec.Size,
		VolumeNumbers: wire.VolumeNumbers(rec.Key), NQN: cluster.VolumeNQN(rec.UUID), Description: rec.Description,
		Healing: s.healing(&rec, &owner),
		Hosts:   append([]string{}, rec.Hosts...), Metadata: rec.Metadata, Created: rec.Created,
		Sealing:      wire.Sealing{Encryption: cluster.EncryptionNone},
		VolumePolicy: drawVolumePolicy(&rec),
	}
	if e := rec.Encryption; e != nil {
		w.Encryption, w.ClusterKey = e.Algorithm, e.ClusterKey
	}
	w.Hidden = rec.Hidden
	if p := rec.Parent; p != nil {
		w.Parent = &wire.Parent{Volume: p.Volume, Snapshot: p.Snapshot, Pin: p.Pin.String(), Size: p.Size,
			Flatten: progress(p, &owner, s.pools[rec.Pool])}
	}
	if r := rec.Revert; r != nil {
		w.Revert = &wire.Revert{Snapshot: r.Snapshot, Asked: r.Asked}
	}
	w.Shrink = drawShrink(&rec, owner.Cleared)
	w.Health, w.Reasons = s.judge(&rec, &owner)
	if w.Metadata == nil {
		w.Metadata = cluster.Metadata{}
	}
	if owner.Epoch > 0 {
		w.Owner = &wire.Owner{Gateway: owner.Gateway, Epoch: owner.Epoch}
		if rec.Move.Pending(&owner) {
			w.Owner.MovingTo = rec.Move.Node
		}
	}
	if st := s.of(&rec, &owner); st != nil {
		w.State, w.Stored = st.State, st.Packed
	}
	return w
}

// Volumes lists volumes by id.
func (m *Manager) Volumes(ctx context.Context, p Page, f VolumeFilter) (wire.Page[wire.Volume], error) {
	none := wire.Page[wire.Volume]{}
	after, limit, err := p.after("volumes")
	if err != nil {
		return none, err
	}
	if err := f.validate(); err != nil {
		return none, err
	}
	if f.Project != "" && !sees(ctx, f.Project) || f.Hidden && confinedTo(ctx) != "" {
		return wire.Page[wire.Volume]{Items: []wire.Volume{}}, nil
	}
	if own := confinedTo(ctx); own != "" {
		f.Project = own
	}
	var out wire.Page[wire.Volume]
	if f.Name != "" && !f.Hidden { // who is hidden has no name
		out.Items, err = m.volumesNamed(ctx, f, after, limit+1)
	} else {
		out.Items, err = m.volumesIn(ctx, f, after, limit+1)
	}
	if err != nil {
		return none, err
	}
	if len(out.Items) > limit {
		out.Items = out.Items[:limit]
		out.Next = cursorAfter("volumes", out.Items[limit-1].ID.String())
	}
	return out, nil
}

// volumesIn lists at most so many volumes, skipping those that the filter does not pass.
func (m *Manager) volumesIn(ctx context.Context, f VolumeFilter, after string,
	most int) ([]wire.Volume, error) {
	out := []wire.Volume{}
	var h health
	q := store.Query{Prefix: cluster.PrefixVolumes, Limit: most}
	if after != "" {
		q.After = cluster.PrefixVolumes + after
	}
	for {
		snap, err := m.store.Read(ctx, q)
		if err != nil {
			return nil, err
		}
		r := snap.Results[0]
		var passed []store.Item
		for _, it := range r.Items {
			q.After = it.Key
			rec, err := decode[cluster.Volume](it)
			if err != nil {
				return nil, err
			}
			if f.passes(&rec) {
				passed = append(passed, it)
			}
		}
		drawn, err := m.inHealth(ctx, &h, passed, f.Health, most-len(out))
		if err != nil {
			return nil, err
		}
		if out = append(out, drawn...); len(out) == most || !r.More {
			return out, nil
		}
		if q.Limit = MaxLimit; 2*len(drawn) >= len(r.Items) { // else few pass
			q.Limit = min(q.Limit, 2*(most-len(out)))
		}
	}
}

// volumesNamed looks a name up in one pool or in all of them, and lists at most so many volumes.
func (m *Manager) volumesNamed(ctx context.Context, f VolumeFilter, after string,
	most int) ([]wire.Volume, error) {
	pools := []string{f.Pool}
	if f.Pool == "" {
		v, err := m.readMap(ctx)
		if err != nil {
			return nil, err
		}
		pools = pools[:0]
		for _, p := range v.sortedPools() {
			pools = append(pools, p.Name)
		}
	}
	var out []store.Item
	for batch := range slices.Chunk(pools, store.MaxOps/2) {
		var queries []store.Query
		for _, p := range batch {
			queries = append(queries, store.Key(cluster.KeyVolumeName(p, f.Name, f.Project)))
			if f.Project == "" {
				queries = append(queries, store.All(cluster.PrefixVolumeName(p, f.Name)))
			}
		}
		found, err := m.follow(ctx, queries)
		if err != nil {
			return nil, err
		}
		for _, it := range found {
			rec, err := decode[cluster.Volume](it)
			if err != nil {
				return nil, err
			}
			if it.Key > cluster.PrefixVolumes+after && f.passes(&rec) {
				out = append(out, it)
			}
		}
	}
	slices.SortFunc(out, func(a, b store.Item) int { return strings.Compare(a.Key, b.Key) })
	return m.inHealth(ctx, new(health), out, f.Health, most)
}

// follow reads the volumes that name keys point to. One deleted in between is left out.
func (m *Manager) follow(ctx context.Context, names []store.Query) ([]store.Item, error) {
	snap, err := m.store.Read(ctx, names...)
	if err != nil {
		return nil, err
	}
	var queries []store.Query
	for _, r := range snap.Results {
		for _, it := range r.Items {
			id, err := decode[cluster.UUID](it)
			if err != nil {
				return nil, err
			}
			queries = append(queries, store.Key(cluster.KeyVolume(id)))
		}
	}
	var out []store.Item
	for batch := range slices.Chunk(queries, store.MaxOps) {
		if snap, err = m.store.Read(ctx, batch...); err != nil {
			return nil, err
		}
		for _, r := range snap.Results {
			out = append(out, r.Items...)
		}
	}
	return out, nil
}
