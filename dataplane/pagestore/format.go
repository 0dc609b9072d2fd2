package pagestore

import (
	"context"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/blockdev/signature"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// FormatOptions say whose the device becomes.
type FormatOptions struct {
	ClusterID  cluster.UUID
	DeviceUUID cluster.UUID // new for every format
	LogBlocks  uint64       // 4 KiB blocks of the metadata log; 0: 1 % of the device
	// Force formats a device that holds data of something else, or a page store of this cluster. One of another
	// cluster has to be wiped first (Wipe).
	Force bool
}

// Format makes an empty page store of a device and returns when it is durable. ErrForeign when the device is
// not empty and the options do not force it.
//
// The order makes a crash harmless: first the old superblocks go, then the new store is built, its
// superblocks last. A device that lost power in between is not formatted.
func Format(ctx context.Context, dev blockdev.Device, o FormatOptions) error {
	if o.ClusterID.IsZero() || o.DeviceUUID.IsZero() {
		return fmt.Errorf("%w: format needs a cluster and a device UUID", ErrInvalid)
	}
	lay, err := newLayout(uint64(dev.Geometry().Size)/BlockSize, o.LogBlocks, dev.Geometry().LogicalBlock)
	if err != nil {
		return fmt.Errorf("format: %w", err)
	}
	incarnation, err := mayFormat(ctx, dev, o)
	if err != nil {
		return fmt.Errorf("format: %w", err)
	}
	for _, region := range [][2]uint64{{lay.superAt(0), 1}, {lay.superAt(1), 1}, {lay.logStart, lay.logBlocks}} {
		if err := zero(ctx, dev, region[0], region[1]); err != nil {
			return fmt.Errorf("format: %w", err)
		}
	}
	sb := super{id: identity{o.ClusterID, o.DeviceUUID}, incarnation: incarnation, lay: lay}
	m, mem, err := newMap(&lay)
	if err != nil {
		return fmt.Errorf("format: %w", err)
	}
	s := newStore(dev, &sb, Options{}, m, mem)
	if err := s.mount(); err != nil {
		mem.close()
		return fmt.Errorf("format: %w", err)
	}
	return s.Close()
}

// mayFormat decides whether a device may be overwritten. It returns the incarnation to begin with, above any
// that the same device had.
func mayFormat(ctx context.Context, dev blockdev.Device, o FormatOptions) (uint64, error) {
	sb, _, err := readSupers(ctx, dev)
	if err != nil {
		return 0, err
	}
	incarnation := uint64(1)
	for i := range sb {
		if sb[i].id.device.IsZero() {
			continue // not a superblock, or not a whole one: counts as data
		}
		incarnation = max(incarnation, sb[i].incarnation+1)
		switch id := sb[i].id; {
		case id.cluster != o.ClusterID:
			return 0, fmt.Errorf("%w: it belongs to cluster %v, as device %v; if that cluster does not need it any "+
				"more, wipe it first", ErrForeign, id.cluster, id.device)
		case !o.Force:
			return 0, fmt.Errorf("%w: it is device %v of this cluster already", ErrForeign, id.device)
		}
	}
	if o.Force {
		return incarnation, nil
	}
	on, err := signature.Inspect(ctx, dev)
	if err != nil {
		return 0, err
	}
	if !on.Blank() {
		return 0, fmt.Errorf("%w: it is not empty: %v; wipe it, or force the format, if that may be lost",
			ErrForeign, on)
	}
	return incarnation, nil
}

// wiped is how many blocks at the start of a device Wipe overwrites, beside the superblocks.
const wiped = 256

// Wipe makes a page store, of whatever cluster, unreadable for good, so that the device counts as empty.
// device is its UUID: who wipes has to know what. ErrForeign when the device is another one, or none.
func Wipe(ctx context.Context, dev blockdev.Device, device cluster.UUID) error {
	sb, _, err := readSupers(ctx, dev)
	if err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	found := false
	for i := range sb {
		if id := sb[i].id.device; !id.IsZero() && id != device {
			return fmt.Errorf("wipe: %w: it is device %v of cluster %v", ErrForeign, id, sb[i].id.cluster)
		}
		found = found || !sb[i].id.device.IsZero()
	}
	if !found {
		return fmt.Errorf("wipe: %w: there is no page store", ErrForeign)
	}
	for i := range sb { // the second copy is the last block
		if sb[i].id.device.IsZero() {
			continue
		}
		if err := zero(ctx, dev, sb[i].lay.superAt(i), 1); err != nil {
			return fmt.Errorf("wipe: %w", err)
		}
	}
	if err := zero(ctx, dev, 0, min(wiped, uint64(dev.Geometry().Size)/BlockSize)); err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	return nil
}

// zero overwrites blocks with zeros, durably.
func zero(ctx context.Context, dev blockdev.Device, first, n uint64) error {
	const most = readPiece / BlockSize
	buf := make([]byte, min(n, most)*BlockSize)
	for n > 0 {
		piece := min(n, most)
		op := &blockdev.Op{Kind: blockdev.Write, Off: int64(first) * BlockSize, Buf: buf[:piece*BlockSize]}
		if err := transfer(ctx, dev, op); err != nil {
			return err
		}
		first, n = first+piece, n-piece
	}
	return transfer(ctx, dev, &blockdev.Op{Kind: blockdev.Flush})
}
