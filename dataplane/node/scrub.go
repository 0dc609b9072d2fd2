package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
	"github.com/ashlar-storage/ashlar/dataplane/scrub"
)

const (
	// scrubKey is the metadata record of a page store that says where its scrubbing is.
	scrubKey = "scrub"
	// tellEvery is the pause before the owners of volumes with bad blocks are told again: they may have changed,
	// or could not repair everything.
	tellEvery = 10 * time.Second
	// tellPause is the pause when something new was found.
	tellPause = time.Second
	// tellTimeout bounds one message to an owner.
	tellTimeout = 2 * time.Second
)

// scrubber reads what one device holds, at the pace that package scrub plans, and tells owners of volumes
// what is bad. It has a goroutine from the moment that the device is served until stop.
type scrubber struct {
	n      *Node
	id     cluster.DeviceID
	store  *pagestore.Store
	log    logrus.FieldLogger
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	plan     *scrub.Scrub
	verifier *pagestore.Verifier // while a pass runs
	shown    cluster.ScrubStats

	// Of the goroutine.
	told time.Time // when owners were told last
	news uint64    // bad blocks found since
}

// startScrub begins to scrub a device that was just opened.
func (n *Node) startScrub(ctx context.Context, rec *cluster.Device, store *pagestore.Store) *scrubber {
	c := &scrubber{n: n, id: rec.Number, store: store, log: n.log.WithField("device", rec.Number),
		done: make(chan struct{})}
	was, err := scrub.DecodeRecord(store.Meta(scrubKey)[scrubKey])
	if err != nil && store.Meta(scrubKey)[scrubKey] != nil {
		c.log.WithError(err).Warn("where scrubbing was cannot be read, it begins anew")
	}
	c.plan = scrub.New(policy(rec.Scrub), was)
	c.show()
	ctx, c.cancel = context.WithCancel(ctx)
	go c.run(ctx)
	return c
}

// policy is what the device's record wants.
func policy(s *cluster.DeviceScrub) scrub.Policy {
	rate, interval := s.Pace()
	p := scrub.Policy{Rate: rate, Interval: int64(interval) * int64(time.Second)}
	if s != nil {
		p.Paused, p.Wanted = s.Paused, s.Wanted
	}
	return p
}

// follow takes another record of the device.
func (c *scrubber) follow(rec *cluster.Device) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.plan.SetPolicy(policy(rec.Scrub))
	c.show()
}

// stop ends it. A read under way is waited for.
func (c *scrubber) stop() {
	c.cancel()
	<-c.done
}

func (c *scrubber) run(ctx context.Context) {
	defer close(c.done)
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		wait, err := c.step()
		if err != nil {
			if !errors.Is(err, pagestore.ErrClosed) {
				c.log.WithError(err).Warn("scrubbing of the device ends")
			}
			return
		}
		c.tell(ctx)
		t.Reset(wait)
	}
}

// step reads once, if that is due, and says when it is to be called again.
func (c *scrubber) step() (wait time.Duration, err error) {
	c.mu.Lock()
	before := c.plan.Record()
	w := c.plan.Next(time.Now().UnixNano(), c.n.chunks.Requests(c.id))
	now := c.plan.Record()
	if now.Running && !before.Running {
		c.show()
	}
	c.mu.Unlock()
	if now.Running && !before.Running {
		c.log.Info("scrubbing begins")
	}
	if w > 0 {
		return time.Duration(w), c.keep()
	}
	if c.verifier == nil {
		c.verifier = c.store.NewVerifier()
	}
	found, err := c.verifier.Next(now.At)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	c.plan.Done(time.Now().UnixNano(), found)
	after := c.plan.Record()
	if percent(after.Read, c.live()) != c.shown.Percent || found.Bad > 0 || found.End {
		c.show()
	}
	c.mu.Unlock()
	c.news += found.New
	if found.End {
		c.verifier = nil
		c.log.WithFields(logrus.Fields{"bytes": after.Read, "bad": after.Bad,
			"seconds": after.Ended - after.Began}).Info("scrubbing is complete")
	}
	return 0, c.keep()
}

// keep stores the record when it is time to.
func (c *scrubber) keep() error {
	c.mu.Lock()
	r, due := c.plan.Store(time.Now().UnixNano())
	c.mu.Unlock()
	if !due {
		return nil
	}
	done := make(chan error, 1)
	c.store.PutMeta(scrubKey, r.Encode(), func(err error) { done <- err })
	if err := <-done; errors.Is(err, pagestore.ErrClosed) {
		return err
	} else if err != nil { // a full or failed device is reported elsewhere; a pass begins anew after a restart
		c.log.WithError(err).Debug("where scrubbing is cannot be stored")
	}
	return nil
}

// tell has the owners of volumes look at what is bad here, now and again.
func (c *scrubber) tell(ctx context.Context) {
	s, since := c.n.state.Load(), time.Since(c.told)
	if s == nil || since < tellPause || since < tellEvery && c.news == 0 {
		return
	}
	if c.news > 0 {
		c.log.WithField("blocks", c.news).Error("scrubbing has found bad blocks; the owners of their volumes are " +
			"told to repair them")
	}
	c.told, c.news = time.Now(), 0
	for _, vol := range c.store.BadVolumes() {
		o := s.Owners[vol]
		if o == nil {
			continue
		}
		if o.Gateway == c.n.o.Self {
			c.n.gateway.Suspect(vol, c.id)
			continue
		}
		once, cancel := context.WithTimeout(ctx, tellTimeout)
		if err := c.n.peers.Suspect(once, o.Gateway, vol, c.id); err != nil {
			c.log.WithError(err).WithField("volume", vol).Debug("the owner could not be told of bad blocks")
		}
		cancel()
	}
}

// live is how many bytes the device holds, to tell how far a pass is.
func (c *scrubber) live() uint64 { return c.store.Stats().LiveBlocks * cluster.BlockSize }

func percent(part, of uint64) uint8 {
	if of == 0 {
		return 0
	}
	return uint8(min(part*100/of, 99))
}

// show keeps what is published. It changes in steps: what changed all the time would be written to etcd all
// the time. c.mu is held.
func (c *scrubber) show() {
	r := c.plan.Record()
	st := cluster.ScrubStats{State: cluster.ScrubIdle, Began: r.Began, Ended: r.Ended, Read: r.Read, Bad: r.Bad,
		Found: r.Found, Passes: r.Passes}
	if r.Running {
		st.State, st.Percent = cluster.ScrubRunning, percent(r.Read, c.live())
		if t := time.Now().Unix() - r.Began; t > 0 {
			st.Rate = r.Read / uint64(t)
		}
	}
	if c.plan.Paused() {
		st.State, st.Rate = cluster.ScrubPaused, 0
	}
	c.shown = st
}

// stats is what the node publishes of the scrubbing of a device.
func (c *scrubber) stats() *cluster.ScrubStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.shown
	return &st
}
