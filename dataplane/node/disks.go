package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/delta"
	"github.com/ashlar-storage/ashlar/dataplane/guard"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
)

const (
	// openRetry is the pause before a device that could not be opened is tried again.
	openRetry = 2 * time.Second
	// watchEvery is how often the open devices are asked whether they still work.
	watchEvery = time.Second
	// purgePace is the pause before a purge that was asked for during another: each looks at all volumes.
	purgePace = time.Second
	// purgeEvery is how long what late writes may have left of deleted volumes stays when no other is deleted.
	purgeEvery = time.Minute
)

// disks opens the devices of this node and attaches them to the chunk server.
type disks struct {
	n      *Node
	wg     sync.WaitGroup
	survey chan struct{} // has one while somebody counts (Space)
	// promised is the state that the last promise was made by. Of the goroutine that follows states.
	promised *cluster.State
	mu       struct {
		sync.Mutex
		open    map[cluster.DeviceID]*disk
		was     *cluster.State // the last one
		owed    promises       // to thick volumes
		purging bool
		again   bool      // purge once more: the state changed meanwhile
		purged  time.Time // when the last one began; zero: it failed
		closed  bool
	}
}

// disk is one device of this node: being opened, or open.
type disk struct {
	rec    *cluster.Device // as it was when the device appeared: what matters of it does not change
	dev    blockdev.Device
	store  *pagestore.Store // nil: not open
	scrub  *scrubber        // of the store
	err    error            // why not
	cancel context.CancelFunc
	newest *cluster.Device // the record as it is: how it is to be scrubbed
}

func (d *disks) init(n *Node) {
	d.n = n
	d.survey = make(chan struct{}, 1)
	d.mu.open = make(map[cluster.DeviceID]*disk)
	d.mu.was = new(cluster.State)
}

// follow opens devices that are new in the map and closes those that are gone from it.
func (d *disks) follow(ctx context.Context, s *cluster.State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, rec := range s.Map.Devices {
		wanted := rec.Node == d.n.o.Self && rec.State == cluster.DeviceOnline
		have := d.mu.open[id]
		switch {
		case wanted && have == nil:
			c, cancel := context.WithCancel(ctx)
			k := &disk{rec: rec, newest: rec, cancel: cancel}
			d.mu.open[id] = k
			d.wg.Add(1)
			go d.attach(c, k)
		case wanted:
			have.newest = rec
			if have.scrub != nil {
				have.scrub.follow(rec)
			}
		case have != nil:
			delete(d.mu.open, id)
			have.cancel()
			d.wg.Add(1)
			go func() {
				defer d.wg.Done()
				d.mu.Lock()
				defer d.mu.Unlock()
				if err := d.detach(have); err != nil {
					d.n.log.WithError(err).WithField("device", id).Warn("closing a device")
				}
			}()
		}
	}
	if d.leaves(s) || time.Since(d.mu.purged) > purgeEvery {
		d.purge(ctx)
	}
	d.mu.was = s
}

// leaves reports that a volume was deleted since the last state, or that it is known now which ones were.
// d.mu is held.
func (d *disks) leaves(s *cluster.State) bool {
	was := d.mu.was
	return was.Unreadable != s.Unreadable ||
		slices.ContainsFunc(delta.Volumes(was, s), func(v cluster.VolumeKey) bool {
			return s.Volumes[v] == nil
		})
}

// attach serves a device until it is not wanted any more: opens it, trying again until that works, and opens
// it again when it has failed. What the cluster thinks of it meanwhile is the engines' business: they have
// recorded it out.
func (d *disks) attach(ctx context.Context, k *disk) {
	defer d.wg.Done()
	for d.bringUp(ctx, k) && d.watch(ctx, k) {
	}
}

// watch returns true when the device has failed and was closed, false when it is not wanted any more.
func (d *disks) watch(ctx context.Context, k *disk) bool {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-t.C:
		}
		err := k.store.Err()
		if err == nil {
			continue
		}
		d.n.log.WithError(err).WithField("device", k.rec.Number).Error("device has failed, closing it")
		d.mu.Lock()
		defer d.mu.Unlock()
		if ctx.Err() != nil {
			return false
		}
		if err2 := d.detach(k); err2 != nil {
			d.n.log.WithError(err2).WithField("device", k.rec.Number).Warn("closing a device")
		}
		k.dev, k.store, k.scrub, k.err = nil, nil, nil, err
		return true
	}
}

// bringUp opens a device and attaches it, however many attempts that takes; false when it is not wanted any
// more.
func (d *disks) bringUp(ctx context.Context, k *disk) bool {
	log := d.n.log.WithField("device", k.rec.Number).WithField("path", k.rec.Path)
	for {
		dev, store, err := d.openDisk(ctx, k.rec)
		d.mu.Lock()
		if err == nil && ctx.Err() != nil {
			err = errors.Join(ctx.Err(), store.Close(), dev.Close())
		}
		changed := fmt.Sprint(err) != fmt.Sprint(k.err)
		k.err = err
		if err == nil {
			k.dev, k.store = dev, store
			store.Promise(d.mu.owed[k.rec.Number])
			d.n.chunks.Attach(k.rec.Number, store)
			k.scrub = d.n.startScrub(ctx, k.newest, store)
			d.purge(ctx)
		}
		d.mu.Unlock()
		if err == nil {
			g := dev.Geometry()
			log.WithFields(logrus.Fields{"engine": g.Engine, "direct": g.Direct, "volatile_cache": g.VolatileCache,
				"logical_block": g.LogicalBlock}).Info("device is served")
			return true
		}
		if changed && ctx.Err() == nil {
			log.WithError(err).Error("device cannot be opened, trying again")
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(openRetry):
		}
	}
}

func (d *disks) openDisk(ctx context.Context,
	rec *cluster.Device) (blockdev.Device, *pagestore.Store, error) {
	dev, err := d.n.o.OpenDevice(rec.Path)
	if err != nil {
		return nil, nil, err
	}
	store, err := pagestore.Open(ctx, dev, pagestore.Options{ClusterID: d.n.o.ClusterID, DeviceUUID: rec.UUID})
	if err != nil {
		return nil, nil, errors.Join(err, dev.Close())
	}
	return dev, store, nil
}

// detach ends the service of a device. d.mu is held, or nobody else is left.
func (d *disks) detach(k *disk) error {
	d.n.chunks.Detach(k.rec.Number)
	if k.store == nil {
		return nil
	}
	k.scrub.stop()
	return errors.Join(k.store.Close(), k.dev.Close())
}

// purge removes what deleted volumes left on the devices, in the background, one run at a time. d.mu is held.
func (d *disks) purge(ctx context.Context) {
	if d.mu.closed {
		return
	}
	if d.mu.purging {
		d.mu.again = true
		return
	}
	d.mu.purging = true
	d.wg.Add(1)
	go func() {
		defer d.wg.Done()
		for {
			began := time.Now()
			if s := d.n.state.Load(); s != nil {
				n, err := d.n.chunks.Purge(ctx, s.Deleted)
				if n > 0 {
					d.n.log.WithField("volumes", n).Info("deleted volumes purged from the devices of this node")
				}
				if err != nil && ctx.Err() == nil {
					d.n.log.WithError(err).Warn("purge of deleted volumes failed; it is tried again at the next change")
					began = time.Time{}
				}
				d.n.voter.Forget(s.Deleted)
			}
			d.mu.Lock()
			d.mu.purged = began
			if !d.mu.again {
				d.mu.purging = false
				d.mu.Unlock()
				return
			}
			d.mu.again = false
			d.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-time.After(purgePace):
			}
		}
	}()
}

// stats tells how the devices are, by number.
func (d *disks) stats() []cluster.DeviceStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []cluster.DeviceStats
	for id, k := range d.mu.open {
		st := cluster.DeviceStats{Device: id, Healthy: k.store != nil}
		if k.err != nil {
			st.Error = k.err.Error()
		}
		if k.store != nil {
			g := k.dev.Geometry()
			st.Engine, st.VolatileCache = g.Engine.String(), g.VolatileCache
			s := k.store.Stats()
			st.Total, st.Free = s.TotalBlocks*cluster.BlockSize, s.FreeBlocks*cluster.BlockSize
			st.Kept = guard.Reserve(s.TotalBlocks) * cluster.BlockSize
			st.Returning = s.DroppedBlocks * cluster.BlockSize
			st.Bad, st.Scrub = s.BadVersions, k.scrub.stats()
		}
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b cluster.DeviceStats) int { return int(a.Device) - int(b.Device) })
	return out
}

// close closes all devices.
func (d *disks) close() error {
	d.mu.Lock()
	d.mu.closed = true
	all := d.mu.open
	d.mu.open = map[cluster.DeviceID]*disk{}
	d.mu.Unlock()
	for _, k := range all {
		k.cancel()
	}
	d.wg.Wait()
	d.save(all)
	var errs []error
	for _, k := range all {
		errs = append(errs, d.detach(k))
	}
	return errors.Join(errs...)
}

// save takes a checkpoint of every device, so that who opens it next has no log to replay. Nothing is lost
// without it but time.
func (d *disks) save(all map[cluster.DeviceID]*disk) {
	var wg sync.WaitGroup
	for _, k := range all {
		if k.store == nil || k.store.Err() != nil {
			continue
		}
		wg.Go(func() {
			if err := k.store.Checkpoint(); err != nil {
				d.n.log.WithError(err).WithField("device", k.rec.Number).Warn("no checkpoint before the end")
			}
		})
	}
	wg.Wait()
}
