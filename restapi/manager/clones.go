package manager

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// A clone reads what it does not hold from its parent: a snapshot, which counts its clones. So the snapshot,
// and the volume that it is of, stay as long as there is one; when people delete them they are hidden
// (hidden.go). A clone of a volume is one of a hidden snapshot, taken for it.

// origin is what a clone is made from, as it was read: a snapshot, and the volume that it is of.
type origin struct {
	at     store.Item
	snap   cluster.Snapshot
	volume store.Item
	rec    cluster.Volume
}

// createClone makes a volume that begins as another one was. Its identity is r.ID.
func (m *Manager) createClone(ctx context.Context, r wire.VolumeCreate) (
	vol wire.Volume, created bool, err error,
) {
	request := digest(r)
	read, err := m.store.Read(ctx, store.Key(cluster.KeyVolume(r.ID)))
	if err != nil {
		return vol, false, err
	}
	if read.One(0).Rev != 0 { // its source may be gone since
		vol, err = m.repeated(ctx, read.One(0), request)
		return vol, false, err
	}
	id, err := m.snapshotFor(ctx, &r)
	if err != nil {
		return vol, false, err
	}
	err = m.decide(ctx, func() error {
		from, err := m.readOrigin(ctx, id, !r.Source.Volume.IsZero())
		if err != nil {
			return err
		}
		rec, err := from.clone(r)
		if err != nil {
			return err
		}
		rec.Request = request
		read, err := m.readForCreate(ctx, &rec)
		if err != nil {
			return err
		}
		if it := read.One(0); it.Rev != 0 {
			created = false
			vol, err = m.repeated(ctx, it, request)
			return err
		}
		if err := asProvisioned(read, &rec, r.Provisioning); err != nil {
			return err
		}
		if err := asCompressed(read, &rec, r.Compression); err != nil {
			return err
		}
		created = true
		vol, err = m.makeVolume(ctx, read, rec, from)
		return err
	})
	return vol, created, err
}

// snapshotFor is the snapshot that a clone is to be made from. One of a volume as it is now is taken by this
// call.
func (m *Manager) snapshotFor(ctx context.Context, r *wire.VolumeCreate) (cluster.UUID, error) {
	switch s := r.Source; {
	case s.Snapshot.IsZero() == s.Volume.IsZero():
		return cluster.UUID{}, refuse(wire.InvalidField, "source", "must name either a snapshot or a volume")
	case s.Volume.IsZero():
		return s.Snapshot, nil
	}
	_, rec, err := m.readVolume(ctx, r.Source.Volume, "")
	var none *Error
	if errors.As(err, &none) && none.Code == wire.NotFound {
		err = &Error{Code: wire.InvalidField, Field: "source.volume", Detail: none.Detail}
	}
	if err != nil {
		return cluster.UUID{}, err
	}
	id := derived("source of clone", r.ID)
	now := origin{rec: rec, snap: cluster.Snapshot{UUID: id, Pin: 1, Size: rec.Size}}
	if _, err := now.clone(*r); err != nil { // no snapshot is taken for nothing
		return id, err
	}
	return id, m.takeHidden(ctx, rec.UUID, id)
}

// readOrigin reads a snapshot that clones can be made from, and its volume. People find none that is hidden.
func (m *Manager) readOrigin(ctx context.Context, id cluster.UUID, hidden bool) (*origin, error) {
	missing := refuse(wire.InvalidField, "source.snapshot", "snapshot %s does not exist", id)
	it, err := m.snapshotItem(ctx, id)
	if err != nil {
		return nil, err
	}
	if it.Rev == 0 {
		return nil, missing
	}
	from := &origin{at: it}
	if from.snap, err = decode[cluster.Snapshot](it); err != nil {
		return nil, err
	}
	if !sees(ctx, from.snap.Project) || from.snap.Hidden != hidden {
		return nil, missing
	}
	if from.snap.State != cluster.SnapshotAvailable {
		return nil, refuse(wire.Conflict, "source.snapshot", "snapshot %s is %s", id, from.snap.State)
	}
	read, err := m.store.Read(ctx, store.Key(cluster.KeyVolume(from.snap.Volume)))
	if err != nil {
		return nil, err
	}
	if from.volume = read.One(0); from.volume.Rev == 0 {
		return nil, missing
	}
	if from.rec, err = decode[cluster.Volume](from.volume); err == nil && from.rec.Hidden {
		err = missing
	}
	return from, err
}

// clone is the record of a clone, or says why there cannot be such a one.
func (f *origin) clone(r wire.VolumeCreate) (cluster.Volume, error) {
	rec := cluster.Volume{UUID: r.ID, Name: r.Name, Project: r.Project, Pool: f.rec.Pool, Size: r.Size,
		Metadata: r.Metadata, Description: r.Description, ReadOnly: r.ReadOnly,
		Key: cluster.VolumeKeyAfter(f.rec.Key.Serial()), // another than its parent's; its own comes later
		Parent: &cluster.Parent{Volume: f.rec.UUID, Key: f.rec.Key, Snapshot: f.snap.UUID, Pin: f.snap.Pin,
			Size: f.snap.Size},
		Encryption: f.rec.Encryption}
	if rec.Size == 0 {
		rec.Size = f.snap.Size
	}
	had := cluster.EncryptionNone
	if f.rec.Encryption != nil {
		had = f.rec.Encryption.Algorithm
	}
	switch {
	case r.Pool != "" && r.Pool != f.rec.Pool:
		return rec, refuse(wire.NotSupported, "pool", "a clone shares blocks with its source, so it is in the "+
			"same pool, %q; copy the data to have them in %q", f.rec.Pool, r.Pool)
	case r.Encryption != "" && r.Encryption != had:
		return rec, refuse(wire.NotSupported, "encryption", "a clone shares blocks with its source, so it is "+
			"encrypted as that is: %s", had)
	case rec.Encryption != nil && len(rec.Encryption.Wrapped) == 0:
		return rec, refuse(wire.Conflict, "source", "the key of volume %s was destroyed", f.rec.UUID)
	case rec.Size < f.snap.Size:
		return rec, refuse(wire.InvalidField, "size_bytes", "%d is less than what the source has: %d bytes",
			rec.Size, f.snap.Size)
	case f.snap.Clones == cluster.MaxClones:
		return rec, refuse(wire.Conflict, "source", "the snapshot has %d clones, more are not possible",
			f.snap.Clones)
	}
	return rec, invalid(rec.Validate(), "size", "size_bytes", "uuid", "id")
}

// claim adds to the transaction that makes a clone that its snapshot has one more.
func (f *origin) claim(t *store.Txn) {
	snap := f.snap
	snap.Clones++
	t.If = append(t.If, store.Cond{Key: f.at.Key, Rev: f.at.Rev},
		store.Cond{Key: f.volume.Key, Rev: f.volume.Rev})
	t.Put = append(t.Put, put(f.at.Key, snap))
	if snap.Hidden {
		unclaimed := cluster.KeyUnclaimed(snap.UUID)
		t.Delete, t.Blind = append(t.Delete, unclaimed), append(t.Blind, unclaimed) // goes with its first clone
	}
}

// letGo adds to the transaction that ends a volume that its parent has one clone less. Without a parent it
// adds nothing.
func (m *Manager) letGo(ctx context.Context, t *store.Txn, p *cluster.Parent) error {
	if p == nil {
		return nil
	}
	it, err := m.snapshotItem(ctx, p.Snapshot)
	if err != nil {
		return err
	}
	snap, err := decode[cluster.Snapshot](it)
	if err != nil {
		return err
	}
	if snap.Clones--; snap.Clones == 0 && snap.Hidden {
		snap.State = cluster.SnapshotDeleting
	}
	t.If = append(t.If, store.Cond{Key: it.Key, Rev: it.Rev})
	t.Put = append(t.Put, put(it.Key, snap))
	return nil
}

// takeHidden takes a snapshot of a volume for a clone of it, or finds the one that an earlier attempt has
// taken, and waits for it.
func (m *Manager) takeHidden(ctx context.Context, volume, id cluster.UUID) error {
	rec := cluster.Snapshot{UUID: id, Name: id.String(), Volume: volume, State: cluster.SnapshotCreating,
		Hidden: true}
	var it store.Item
	err := m.decide(ctx, func() error {
		read, err := m.store.Read(ctx, store.Key(cluster.KeySnapshot(id)), store.Key(rec.NameKey()),
			store.Key(cluster.KeyVolume(volume)))
		if err != nil {
			return err
		}
		if it = read.One(0); it.Rev != 0 {
			return nil // no snapshot of people has such an id; which volume it is of is decided later
		}
		it, err = m.makeSnapshot(ctx, read, rec)
		return err
	})
	if err != nil {
		return err
	}
	snap, gone, err := m.settled(ctx, it)
	switch {
	case err != nil:
		return err
	case gone || snap.State != cluster.SnapshotAvailable:
		return refuse(wire.Unavailable, "", "the owner of volume %s has not taken a snapshot of it yet; "+
			"repeat the call", volume)
	case snap.Volume != volume:
		return refuse(wire.Conflict, "id", "a volume of this id is being created by a different request")
	}
	return nil
}

// derived is an identity that follows from another one (RFC 9562, version 8).
func derived(purpose string, from cluster.UUID) (u cluster.UUID) {
	h := sha256.Sum256(append([]byte(purpose), from[:]...))
	copy(u[:], h[:])
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return u
}
