package chunkd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
)

// Purge removes everything of volumes that no longer exist from every device of this node. deleted must be
// certain: it sees the records and the VUID counter of one revision. It returns when all of it is durable.
func (s *Server) Purge(ctx context.Context, deleted func(cluster.VolumeKey) bool) (purged int, err error) {
	s.mu.RLock()
	devices := make([]*device, 0, len(s.devices))
	for _, d := range s.devices {
		devices = append(devices, d)
	}
	s.mu.RUnlock()
	var errs []error
	for _, d := range devices {
		n, err := d.purge(ctx, deleted)
		purged += n
		if err != nil {
			errs = append(errs, fmt.Errorf("purge device %d: %w", d.id, err))
		}
	}
	return purged, errors.Join(errs...)
}

// purge drops data, marks and view list first, then the journal, and the fence last: until the rest is gone,
// the fence keeps a late owner away.
func (d *device) purge(ctx context.Context, deleted func(cluster.VolumeKey) bool) (int, error) {
	gone := make(map[cluster.VolumeKey]bool)
	for _, v := range d.store.Volumes() {
		gone[v] = deleted(v)
	}
	for _, v := range d.journals.volumes() {
		gone[v] = deleted(v)
	}
	for key := range d.store.Meta(fencePrefix) {
		if v, err := cluster.ParseVolumeKey(strings.TrimPrefix(key, fencePrefix)); err == nil {
			gone[v] = deleted(v)
		}
	}
	n := 0
	for v, yes := range gone {
		if !yes {
			continue
		}
		if err := d.drop(ctx, v); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func (d *device) drop(ctx context.Context, v cluster.VolumeKey) error {
	if err := await(ctx, func(done func(error)) { d.store.DropVolume(v, done) }); err != nil {
		return fmt.Errorf("drop volume %v: %w", v, err)
	}
	wipe := &chunk.Request{Op: chunk.OpJournalWipe, Vol: v}
	if err := await(ctx, func(done func(error)) { d.journals.change(d.store, wipe, done) }); err != nil {
		return fmt.Errorf("wipe journal of %v: %w", v, err)
	}
	if err := await(ctx, func(done func(error)) {
		d.store.PutMeta(fencePrefix+v.String(), nil, done)
	}); err != nil {
		return fmt.Errorf("forget fence of %v: %w", v, err)
	}
	d.mu.Lock()
	d.guard.Forget(v)
	d.mu.Unlock()
	return nil
}

func await(ctx context.Context, start func(done func(error))) error {
	c := make(chan error, 1)
	start(func(err error) { c <- err })
	select {
	case err := <-c:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Device tells how a device is doing; false when it is not served here.
func (s *Server) Device(id cluster.DeviceID) (pagestore.Stats, bool) {
	d := s.find(id)
	if d == nil {
		return pagestore.Stats{}, false
	}
	return d.store.Stats(), true
}
