package pagestore

import (
	"context"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

type (
	writeState struct{}
	readState  struct{}
)

// Store is an open page store. Safe for use by several goroutines.
type Store struct{}

// FormatOptions say whose the device becomes.
type FormatOptions struct {
	ClusterID  cluster.UUID
	DeviceUUID cluster.UUID // new for every format
	LogBlocks  uint64       // 4 KiB blocks of the metadata log; 0: 1 % of the device
	// Force formats a device that holds data of something else, or a page store of this cluster.
	Force bool
	// ForceForeign formats even a device that belongs to another cluster.
	ForceForeign bool
}

// Options say what Open expects.
type Options struct {
	ClusterID  cluster.UUID // must match; zero: any
	DeviceUUID cluster.UUID // must match; zero: any
}

// Format makes an empty page store of a device and returns when it is durable. ErrForeign when the device is not
// empty and the options do not force it.
func Format(ctx context.Context, dev blockdev.Device, o FormatOptions) error { panic("not written yet") }

// Open recovers the store: newest valid checkpoint, then the tail of the log. ErrForeign, ErrDamaged.
// The caller keeps ownership of dev and closes it after Close.
func Open(ctx context.Context, dev blockdev.Device, o Options) (*Store, error) { panic("not written yet") }

// Close waits for what is in flight and stops the store. It does not close the device.
func (s *Store) Close() error { panic("not written yet") }

// Write makes a version durable. See Write for the contract.
func (s *Store) Write(w *Write) { panic("not written yet") }

// Read fetches versions. See Read for the contract.
func (s *Store) Read(r *Read) { panic("not written yet") }

// Undo durably removes version w of the blocks; those that do not hold it are left alone.
func (s *Store) Undo(e pagemap.Extent, w cluster.Seq, done func(error)) { panic("not written yet") }

// SetStable notes that every write of mark's epoch up to mark is complete on all its columns. It is applied, and
// made durable, with the next group, which it starts when nothing else does; losing it in a crash is harmless.
func (s *Store) SetStable(vol cluster.VolumeKey, mark cluster.Seq) { panic("not written yet") }

// Settle durably notes that an open at this owner epoch has judged every version of older epochs that this device
// holds: from now on they are stable, and space below newer stable versions comes back. Until a device is settled
// at an epoch nothing of older epochs is freed.
func (s *Store) Settle(vol cluster.VolumeKey, epoch uint32, done func(error)) { panic("not written yet") }

// DropVolume durably removes everything of a volume, marks included. When done, no version is visible and writes
// begin anew; the space of a large volume comes back in the background.
func (s *Store) DropVolume(vol cluster.VolumeKey, done func(error)) { panic("not written yet") }

// List fills buf with versions behind the cursor (the zero Cursor: from the start), in Cursor order. It returns how
// many, the cursor to go on from, and whether there is more. It is a snapshot only within one call.
func (s *Store) List(vol cluster.VolumeKey, kind ListKind, after pagemap.Cursor, buf []pagemap.Entry) (
	n int, next pagemap.Cursor, more bool) {
	panic("not written yet")
}

// Volumes lists the volumes that the store knows, in key order.
func (s *Store) Volumes() []cluster.VolumeKey { panic("not written yet") }

// Volume tells what the store knows about one volume.
func (s *Store) Volume(vol cluster.VolumeKey) (VolumeInfo, bool) { panic("not written yet") }

// PutMeta durably stores a small record under a key (at most MaxMetaKey and MaxMetaValue bytes), in the order of
// the calls; a nil value deletes it. ErrFull when the room for metadata is used up. Value is copied.
func (s *Store) PutMeta(key string, value []byte, done func(error)) { panic("not written yet") }

// Meta returns the durable records whose key starts with prefix. The values must not be changed.
func (s *Store) Meta(prefix string) map[string][]byte { panic("not written yet") }

// Stats tells how the store is doing.
func (s *Store) Stats() Stats { panic("not written yet") }

// Check verifies the invariants of the map in memory. Bugs of ours are the only reason for an error.
func (s *Store) Check() error { panic("not written yet") }
