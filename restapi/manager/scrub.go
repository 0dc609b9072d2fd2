package manager

import (
	"context"
	"reflect"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// ScrubDevice asks for a pass over a device, pauses its scrubbing, or changes its pace. Its node follows the
// record, now or when it is back. ifMatch, when not empty, is the ETag that the device must still have.
func (m *Manager) ScrubDevice(ctx context.Context, number cluster.DeviceID, r wire.ScrubRequest,
	ifMatch string) (dev wire.Device, err error) {
	switch {
	case r.Action == "" && r.Rate == nil && r.Interval == nil:
		return dev, refuse(wire.InvalidField, "action", "nothing is asked for: give action, bytes_per_second or "+
			"interval_seconds")
	case r.Action != "" && r.Action != wire.ScrubStart && r.Action != wire.ScrubPause:
		return dev, refuse(wire.InvalidField, "action", "%q is neither %s nor %s", r.Action, wire.ScrubStart,
			wire.ScrubPause)
	case r.Interval != nil && *r.Interval > cluster.MaxScrubInterval:
		return dev, refuse(wire.InvalidField, "interval_seconds", "%d is more than ten years", *r.Interval)
	}
	err = m.decide(ctx, func() error {
		v, err := m.readMap(ctx, store.All(cluster.PrefixStats))
		if err != nil {
			return err
		}
		d := v.Devices[number]
		if d != nil {
			if err := matches(ifMatch, v.revs[cluster.KeyDevice(number)]); err != nil {
				return err
			}
		}
		switch {
		case d == nil:
			return notFound("device", number)
		case d.State != cluster.DeviceOnline:
			return refuse(wire.Conflict, "", "device %d is %s: nothing on it is scrubbed", number, d.State)
		}
		next := *d
		if next.Scrub = wish(d.Scrub, r, m.now().Unix()); reflect.DeepEqual(next.Scrub, d.Scrub) {
			dev, err = v.device(d, v.extra[0])
			return err
		}
		txn := v.change()
		v.set(txn, cluster.KeyDevice(number), next)
		if err := v.commit(ctx, m.store, txn); err != nil {
			return err
		}
		dev, err = v.device(&next, v.extra[0])
		return err
	})
	return dev, err
}

// wish is what is wanted of the scrubbing of a device after a request. Starts within a second are one: a
// client that got no answer asks again.
func wish(was *cluster.DeviceScrub, r wire.ScrubRequest, now int64) *cluster.DeviceScrub {
	next := cluster.DeviceScrub{}
	if was != nil {
		next = *was
	}
	switch r.Action {
	case wire.ScrubStart:
		next.Paused, next.Wanted = false, max(now, next.Wanted)
	case wire.ScrubPause:
		next.Paused = true
	}
	if r.Rate != nil {
		next.Rate = r.Rate
	}
	if r.Interval != nil {
		next.Interval = r.Interval
	}
	return &next
}

func scrubPolicy(s *cluster.DeviceScrub) (p wire.ScrubPolicy) {
	p.Rate, p.Interval = s.Pace()
	p.Paused = s != nil && s.Paused
	return p
}

// scrubbing draws what a node published.
func scrubbing(s *cluster.ScrubStats) *wire.Scrub {
	if s == nil {
		return nil
	}
	return &wire.Scrub{State: string(s.State), Percent: s.Percent, Rate: s.Rate, Began: moment(s.Began),
		Ended: moment(s.Ended), Read: s.Read, Bad: s.Bad, Found: s.Found, Passes: s.Passes}
}

// moment is a time in seconds since 1970, or nothing for never.
func moment(seconds int64) string {
	if seconds == 0 {
		return ""
	}
	return time.Unix(seconds, 0).UTC().Format(time.RFC3339)
}
